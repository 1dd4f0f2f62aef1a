"""Which functions a statement may call.

Belongs here: the lists. Does not: finding calls in a statement (statement.py).

Scalar functions, aggregates and scalar macros come from DuckDB's own catalog; what tells of the process, its
settings or other objects is taken out. Table functions are few, since most read files or the catalog.
"""

from __future__ import annotations

import duckdb

TABLE_FUNCTIONS = frozenset(
    {"range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree"}
)
_SYNTAX = frozenset(
    {"unnest", "grouping", "grouping_id", "coalesce", "if", "ifnull", "struct_pack", "row", "columns"}
)
"""What the parser takes for a function although the catalog has none of that name."""
_REFUSED = frozenset(
    {
        "current_catalog", "current_connection_id", "current_database", "current_query", "current_query_id",
        "current_role", "current_schema", "current_schemas", "current_setting", "current_transaction_id",
        "current_user", "currval", "get_block_size", "getenv", "getvariable", "in_search_path",
        "json_deserialize_sql", "json_serialize_plan", "json_serialize_sql", "nextval",
        "parse_duckdb_log_message", "session_user", "setseed", "sleep_ms", "stats", "txid_current", "user",
        "write_log",
    }
)  # fmt: skip
_CATALOG = """
SELECT DISTINCT function_name FROM duckdb_functions()
WHERE schema_name = 'main' AND function_type IN ('scalar', 'aggregate', 'macro')
AND function_name NOT LIKE '\\_\\_%' ESCAPE '\\'
"""


def allowed(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Return the names, in lower case, of functions that an expression may call."""
    found = {str(row[0]).lower() for row in connection.execute(_CATALOG).fetchall()}
    return frozenset((found | _SYNTAX) - _REFUSED)
