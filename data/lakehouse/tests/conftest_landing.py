"""What the tests of landing and of the telemetry domain share: files in memory, real data, and the split.

Belongs here: helpers that more than one test module uses. Does not: tests.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import narwhals.stable.v2 as nw
import polars as pl
import pytest

from lakehouse.contracts.model import Contract
from lakehouse.engine.polars import PolarsEngine
from lakehouse.landing import LandedFile
from lakehouse.pipeline.rules import validate

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


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a split gives, its good rows collected."""

    good: pl.DataFrame
    refused: pl.DataFrame
    failures: dict[str, int]
    warnings: dict[str, int]


def parted(table: Contract, frame: pl.DataFrame) -> Parts:
    """Validated rows at hand by the contract's rules, on Polars; each is good or refused."""
    engine = PolarsEngine()
    found = validate(table, engine.scan(frame.lazy()), engine=engine)
    good = engine.stage(found.good)
    assert (found.read, found.kept) == (frame.height, good.height)
    return Parts(good=good, refused=found.refused, failures=found.failures, warnings=found.warnings)


def silver(table: Contract, transform: Callable[..., Any], raw: pl.DataFrame) -> Parts:
    """Run a Silver transform and split its rows by the contract's rules, as a run does."""
    made = nw.to_native(transform(nw.from_native(raw.lazy()))).collect()
    assert made.height == raw.height
    return parted(table, made)


def gold(transform: Callable[..., Any], rows: pl.DataFrame) -> pl.DataFrame:
    return nw.to_native(transform(nw.from_native(rows.lazy()))).collect()
