"""The Model Context Protocol: read-only tools for agents, made from the contracts.

Belongs here: what an agent may ask. Does not: reading (reader.py, rows/describe.py, sql/), who may call
(access.py).

    catalog   the tools, their arguments and answers
    server    the protocol at `/mcp`
"""
