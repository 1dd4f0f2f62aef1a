"""One SELECT over declared tables, in a worker process with limits.

Belongs here: checking a statement, running it, its answer. Does not: formats (rows/formats.py), who may call
(access.py).

    routes      `POST /sql`
    room        one question from its text to its rows
    statement   which statements are let through, and the tables they read (in the worker)
    functions   which functions a statement may call
    worker      the worker process: parses and runs with DuckDB, without access to anything but pinned files
    process     workers as seen from the API: start, time limit, kill, queue
    wire        what goes over the pipes between the two
    files       the files of a pinned version, on this machine
    columns     types of a result: DuckDB's, and those of contracts
"""
