"""ODP's door: ingest and reads over HTTP.

Belongs here: everything that speaks HTTP. Does not: Dagster (asked through dagster_client alone), a table
format (the store's), or any rule about data (the contracts').

    settings     what the environment says
    keys         API keys: hashed at rest, scopes, rate limits; `python -m serving.keys`
    access       who calls, and what they may: the dependencies of every route
    problems     every error as application/problem+json (RFC 9457)
    reader       tables at a pinned version, for all routes that read
    app          the application, put together from the rooms below
    ingest/      files of other programs into landing, and what became of them
    data/        rows, the catalog
    sql/         one SELECT in a process of its own
    sharing/     the Delta Sharing protocol
    tools/       the Model Context Protocol
    page/        the lake as a page
    operations/  health, readiness, metrics, logs
"""
