"""Where frames are computed. Transforms import narwhals and xp, nothing else.

    protocol.py   what the flow asks of an engine
    polars/       in this process: what production runs, and the reference of the others
    duckdb/       the same on DuckDB: the proof that the flow and the transforms know no engine
    xp.py         operations that differ from engine to engine, under one name
    frames.py     frames at the edge: pandas, Polars, Arrow

Each engine is a folder with the same file names inside: engine.py and functions.py.
"""
