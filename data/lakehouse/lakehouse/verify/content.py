"""One hash for all that a table says, whatever files and order its rows lie in.

Belongs here: the content hash. Does not: comparing two of them.
"""

from __future__ import annotations

import hashlib
import io

import polars as pl

from lakehouse.contracts import Contract


def content_hash(table: Contract, rows: pl.LazyFrame) -> str:
    """Return the SHA-256 of the rows, sorted, without the volatile columns (when and in which batch).

    Equal content gives equal hashes on every machine; row order and file layout do not matter.
    """
    columns = table.content_columns
    frame = rows.select(columns).collect(engine="streaming").sort(columns, nulls_last=True)
    digest = hashlib.sha256(",".join(columns).encode())
    for part in frame.iter_slices(100_000):
        text = io.BytesIO()
        part.write_csv(text, include_header=False, quote_style="non_numeric", null_value="\\N")
        digest.update(text.getbuffer())
    return digest.hexdigest()
