"""One hash for the content of a table, independent of its files and the order of its rows.

Belongs here: the content hash. Does not: comparing two of them.
"""

from __future__ import annotations

import hashlib
import io

import polars as pl

from lakehouse.contracts import Contract
from lakehouse.contracts.encoding import canonical, needs_encoding


def content_hash(table: Contract, rows: pl.LazyFrame) -> str:
    """Return the SHA-256 of the sorted rows, without the volatile columns (times of processing, batches).

    Equal content gives equal hashes on every machine; row order and file layout do not matter. What CSV has
    no text for (lists, structs, decimals, bytes) is hashed by its canonical text.
    """
    columns = table.content_columns
    encoded = [
        canonical(pl.col(c.name), c.type).alias(c.name)
        for c in table.columns
        if c.name in columns and needs_encoding(c.type)
    ]
    texts = rows.select(columns).with_columns(encoded)
    frame = texts.collect(engine="streaming").sort(columns, nulls_last=True)
    digest = hashlib.sha256(",".join(columns).encode())
    for part in frame.iter_slices(100_000):
        text = io.BytesIO()
        part.write_csv(text, include_header=False, quote_style="non_numeric", null_value="\\N")
        digest.update(text.getbuffer())
    return digest.hexdigest()
