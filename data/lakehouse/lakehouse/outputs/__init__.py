"""What the lake hands to others: Gold as files, Gold as a database of plain tables, and a report on its
quality.

    selection.py      which tables, at which version, which of their columns, and their rows
    values.py         values as text: of a CSV file, and of Postgres
    exports.py        CSV and Parquet
    mart.py           the mart, wherever it lies
    postgres_mart.py  the mart in Postgres
    duckdb_mart.py    the mart as a DuckDB file
    lag.py            which of them are behind
    quality.py        the report as data
    page.py           the report as a page
    settings.py       where all of it goes

Belongs here: copies of what lies in the lake. Does not: changing the lake, or an orchestrator.

Each output is a copy: it can be removed, and is made again from the lake. Personal data is left out unless it
is asked for. An output whose tables have not changed is not touched.
"""
