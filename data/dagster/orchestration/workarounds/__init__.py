"""What reaches into Dagster, its storage or Python's multiprocessing, apart from everything else.

Belongs here: the only private imports of Dagster, replaced methods, and SQL on its tables. Does not: anything
that a public call does. Each module ends its docstring with four lines, which a test reads:

    Reason: what is missing without it.
    Gain: what was measured.
    Pin: the packages and versions it was written for; at another version the test fails until this is
         looked at again.
    Drop when: what has to happen so that it can go.
"""
