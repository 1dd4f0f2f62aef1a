"""What the tests of landing and of the telemetry domain share: files in memory, real data, and the split.

Belongs here: helpers that more than one test module uses. Does not: tests.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import narwhals.stable.v2 as nw
import polars as pl
import pytest

from lakehouse.contracts.model import Contract
from lakehouse.flow.rules import Split, split
from lakehouse.landing import LandedFile

_BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[3].parent / "shared" / "data"


def landed(name: str, content: bytes) -> LandedFile:
    return LandedFile(name, len(content), datetime(2026, 1, 1, tzinfo=UTC), lambda: io.BytesIO(content))


def shared(folder: str) -> list[Path]:
    """The files of one folder of real data, sorted; the test is skipped where it is not there."""
    root = Path(os.environ.get("ODP_SHARED_DATA") or _BESIDE_THE_CHECKOUT) / folder
    if not root.is_dir():
        pytest.skip(f"no real data at {root}; set ODP_SHARED_DATA to the folder that holds {folder}")
    return sorted(p for p in root.rglob("*") if p.is_file() and p.name != "SOURCE.txt")


def bronze(table: Contract, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """A Bronze frame: fields that a row leaves out are null, and every row has its pointer."""
    schema = table.polars_schema()
    base = dict.fromkeys(schema)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    made = [
        {
            **base,
            "_source": "t/f",
            "_fingerprint": "0" * 64,
            "_row": i,
            "_batch_id": 1,
            "_ingested_at": at,
            **row,
        }
        for i, row in enumerate(rows)
    ]
    return pl.DataFrame(made, schema=schema)


def silver(table: Contract, transform: Callable[..., Any], raw: pl.DataFrame) -> Split:
    """Run a Silver transform and split its rows by the contract's rules, as a run does."""
    made = nw.to_native(transform(nw.from_native(raw.lazy()))).collect()
    assert made.height == raw.height
    return split(table, made)


def gold(transform: Callable[..., Any], rows: pl.DataFrame) -> pl.DataFrame:
    return nw.to_native(transform(nw.from_native(rows.lazy()))).collect()
