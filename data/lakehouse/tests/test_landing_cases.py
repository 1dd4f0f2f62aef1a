"""Small real-world cases of files, each landed as it is: the very values, or a refusal by name.

Belongs here: the cases of formats in shared data, `cases/SOURCE.txt`. Does not: cases of what records mean.
"""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from conftest_landing import shared

from lakehouse.domains.pipelines.contracts import RAW_CRAWLER_RESULTS, RAW_PIPELINE_EVENTS
from lakehouse.domains.pipelines.sources import SOURCES
from lakehouse.pipeline import open_lake
from lakehouse.pipeline.ingest import ingest
from lakehouse.settings import Settings

GOOD = b'{"pipeline_id": "good", "event_type": "started", "raw_data": {}}\n'
CASES: dict[str, list[tuple[str | None, ...]] | str] = {
    "bare_quotes.csv": "line 2: broken quoting",
    "cr_only.csv": [(f"cr{i}", f"2026-02-0{i}T00:00:00Z", f'{{"duration_ms": {i}}}') for i in range(1, 6)],
    "int96.parquet": [
        ("far", "9999-12-31T23:59:59.000000Z", '{"duration_ms":1}'),
        ("old", "1600-01-01T00:00:00.000000Z", '{"duration_ms":1}'),
        ("now", "2026-01-01T00:00:00.000000Z", '{"duration_ms":1}'),
    ],
    "time64.parquet": [("p", "2026-01-01T00:00:00Z", '{"duration_ms":1}')],
    "binary_in_struct.parquet": "column raw_data holds bytes within nested values",
}


@pytest.mark.parametrize("name", CASES)
def test_a_case_lands_with_its_very_values_or_is_refused_by_name(name: str, tmp_path: Path) -> None:
    [path] = [p for p in shared("cases") if p.name == name]
    lake = open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))
    table = RAW_CRAWLER_RESULTS if name.startswith("bare") else RAW_PIPELINE_EVENTS
    source = next(source for source in SOURCES if source.table == table)
    file = lake.landing.put(f"{source.folder}/{name}", path.read_bytes())
    if table == RAW_PIPELINE_EVENTS:
        lake.landing.put(f"{source.folder}/good.ndjson", GOOD)
    report = ingest(lake, table, [source])
    told, wanted = {one.file: one.reason for one in report.refused}, CASES[name]
    if isinstance(wanted, str):
        assert wanted in told[file.name]
        assert list(told) == [file.name], "the others land"
        assert report.rows == (table == RAW_PIPELINE_EVENTS)
        return
    assert told == {}
    rows = lake.store.scan(table).collect().filter(_source=file.name).sort("_row")
    if name == "time64.parquet":  # the column that no contract names is kept beside the payload
        kept = orjson.loads(rows["raw_data"][0])
        assert (kept["duration_ms"], kept["_extra"]) == (1, {"clock": "10:00:00.123456"})
        return
    assert rows.select("pipeline_id", "timestamp", "raw_data").rows() == wanted
