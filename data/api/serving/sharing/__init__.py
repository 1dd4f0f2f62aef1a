"""The Delta Sharing protocol, read-only, under `/delta-sharing`: for Power BI, Spark, pandas and others.

Belongs here: the protocol's calls, answers and errors. Does not: which files make up a version (the store's).

    routes   the calls
    shares   what is shared, and with whom
    actions  the lines of an answer, in the two formats
    hints    which files a predicate and a limit leave
    urls     where a file can be fetched, for a quarter of an hour
    errors   every error as the protocol has it
    profile  `python -m serving.sharing.profile`: the file that a recipient is given
"""
