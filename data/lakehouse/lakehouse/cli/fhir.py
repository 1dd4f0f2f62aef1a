"""Commands about FHIR resources: fhir view.

Belongs here: calling the library and printing the result. Does not: arguments (commands.py), views
(domains.clinical.views).
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from lakehouse.cli.base import Options
from lakehouse.cli.main import OK
from lakehouse.cli.output import as_json, as_table, lake_of
from lakehouse.cli.terminal import say
from lakehouse.domains.clinical.contracts import FHIR_INDEX, RAW_FHIR_RESOURCES
from lakehouse.domains.clinical.views.definition import View, view_of
from lakehouse.domains.clinical.views.rows import frame
from lakehouse.domains.clinical.views.tables import COHORT, over_lake
from lakehouse.errors import SettingsError, ViewError, plain
from lakehouse.landing.columns import json_value
from lakehouse.masking import masked
from lakehouse.pipeline import Lake
from lakehouse.store.integrity.damage import readable

_SUFFIXES = (".parquet", ".csv", ".ndjson")


def view(options: Options) -> int:
    """Run a ViewDefinition over the lake. A column is personal data unless the view declares otherwise."""
    out = Path(options.out) if options.out else None
    if out is not None and out.suffix not in _SUFFIXES:
        raise SettingsError(f"--out {out.name!r} must end in one of {', '.join(_SUFFIXES)}")
    definition = _view(Path(options.file))
    rows = _rows(lake_of(options), definition, options.cohort)
    if not options.reveal_pii:
        rows = masked(rows, [column.name for column in definition.columns if column.is_personal])
    if out is not None:
        _write(rows, out)
        say(f"{out}: {rows.height} rows")
        return OK
    shown = list(rows.head(options.rows).iter_rows(named=True))
    if options.json:
        as_json(shown)
    else:
        as_table(shown, "no row")
        if rows.height > len(shown):
            say(f"… of {rows.height:,} rows; --rows shows more, --out writes all")
    return OK


def _view(path: Path) -> View:
    try:
        text = path.read_bytes()
    except OSError as exc:
        raise SettingsError(f"{path} cannot be read: {plain(exc)}") from None
    try:
        return view_of(text)
    except ViewError as exc:
        raise ViewError(f"{path.name}: {exc}") from None


def _rows(lake: Lake, definition: View, cohort: str | None) -> pl.DataFrame:
    with readable(lake.store, [RAW_FHIR_RESOURCES, FHIR_INDEX]):
        raw, index = lake.store.scan(RAW_FHIR_RESOURCES), lake.store.scan(FHIR_INDEX)
        if cohort is not None:
            raw, index = raw.filter(pl.col(COHORT) == cohort), index.filter(pl.col(COHORT) == cohort)
        owners, rows, _ = over_lake(definition, raw, index)
    found = frame(definition, rows)
    if COHORT in found.columns:
        return found
    return found.insert_column(0, pl.Series(COHORT, [cohort for cohort, _ in owners], pl.String))


def _write(rows: pl.DataFrame, out: Path) -> None:
    try:
        if out.suffix == ".parquet":
            rows.write_parquet(out)
        elif out.suffix == ".ndjson":
            rows.write_ndjson(out)
        else:
            _flat(rows).write_csv(out)
    except OSError as exc:
        raise SettingsError(f"{out} cannot be written: {plain(exc)}") from None


def _flat(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with lists as JSON text, because CSV has no lists."""
    nested = [name for name, type_ in rows.schema.items() if type_.is_nested()]
    return rows.with_columns(json_value(pl.col(name)).alias(name) for name in nested)
