"""How personal data is kept out of what people see.

Belongs here: the mask, and putting it over columns of rows. Does not: which columns are personal (the
contracts and the views say so), or names of files (landing).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

MASK = "•••"


def masked(rows: pl.DataFrame, personal: Iterable[str]) -> pl.DataFrame:
    """Return the rows with the mask in place of each value of the personal columns; null stays null."""
    import polars as pl  # not for those who want the mask alone

    return rows.with_columns(
        pl.when(pl.col(name).is_not_null()).then(pl.lit(MASK)).alias(name) for name in personal
    )
