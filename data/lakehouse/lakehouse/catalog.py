"""What there is to say of a table, as data: for the orchestrator, the command line and the API alike.

Belongs here: columns, lineage, preview, chart. Does not: how any of them is shown. PII never gets
in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lakehouse.contracts import Chart, Contract, Type
from lakehouse.masking import masked

if TYPE_CHECKING:
    from decimal import Decimal

    import polars as pl

    from lakehouse.landing import Source
    from lakehouse.pipeline import Lake

_PREVIEW_ROWS = 5
_BARS = 12
_LONGEST_CELL = 60
_LONGEST_LABEL = 22
_WIDEST_BAR = 24


def lineage(table: Contract) -> dict[str, list[tuple[Contract, str]]]:
    """Return the source columns that each column is computed from, as pairs of table and column."""
    return {
        column.name: [
            (source, name) for source in table.sources for name in column.sources if name in source.by_name
        ]
        for column in table.columns
        if column.sources
    }


def personal(table: Contract, names: Iterable[str]) -> list[str]:
    """Return those of the columns `names` that hold personal data."""
    return [name for name in names if table.by_name[name].pii]


def rows_by_kind(lake: Lake, source: Source, partitions: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return how many rows Bronze holds of each partition, by the column that its source counts them by."""
    import polars as pl

    within, kind = source.table.files_within, source.partition_by.counted_by if source.partition_by else None
    found: dict[str, dict[str, int]] = {name: {} for name in partitions}
    if within is None or kind is None:
        return found
    rows = lake.store.scan(source.table).filter(pl.col(within).is_in(list(partitions)))
    for name, value, count in rows.group_by(within, kind).len().sort(within, kind).collect().iter_rows():
        found[name][value or "(none)"] = count
    return found


def preview(lake: Lake, table: Contract) -> str:
    """Return up to five rows as Markdown. PII columns are masked, long texts cut.

    Without the columns that say where a row came from: Dagster shows up to 1000 characters in place and hides
    longer texts behind a link, and a fingerprint in every row would fill most of them.
    """
    rows = preview_rows(lake.store.scan(table), table, limit=_PREVIEW_ROWS)
    lines = ["| " + " | ".join(rows.columns) + " |", "|" + "---|" * rows.width]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows.iter_rows()]
    return "\n".join(lines)


def preview_rows(rows: pl.LazyFrame, table: Contract, *, limit: int) -> pl.DataFrame:
    """Return the first of a table's rows as people may see them: PII masked, without the columns that say
    where a row came from.
    """
    from lakehouse.store.values import sayable

    names = [c.name for c in table.columns if not c.name.startswith("_")]
    stored = rows.select(names).head(limit).collect()
    return sayable(table, masked(stored, personal(table, names)))


def chart(lake: Lake, table: Contract, spec: Chart) -> str:
    """Return a bar chart as Markdown: the latest days in their order, or the largest values.

    Bars of block characters, since they are seen at once: Dagster hides longer Markdown, such as an image,
    behind a link.
    """
    points = chart_points(lake.store.scan(table), table, spec, most=_BARS)
    top = max((float(value) for _, value in points), default=0.0) or 1.0
    lines = [f"| {spec.label} | {spec.title} | |", "|---|---|--:|"]
    for label, value in points:
        bar = "█" * max(1, round(_WIDEST_BAR * float(value) / top)) if value > 0 else ""
        lines.append(f"| {_cell(label)[:_LONGEST_LABEL]} | {bar} | {_cell(value)} |")
    return "\n".join(lines)


def chart_points(
    rows: pl.LazyFrame, table: Contract, spec: Chart, *, most: int
) -> list[tuple[Any, int | float | Decimal]]:
    """Return label and summed value of each bar: the latest days in their order, or the largest values.

    A personal label is replaced by its place, as `#1`.
    """
    from lakehouse.store.values import sayable

    sums = rows.select(spec.label, spec.value).drop_nulls().group_by(spec.label).sum()
    if table.by_name[spec.label].type in (Type.DATE, Type.TIMESTAMP):
        chosen = sums.sort(spec.label).tail(most)
    else:
        chosen = sums.sort(spec.value, spec.label, descending=[True, False]).head(most)
    found = sayable(table, chosen.collect()).rows()
    if table.by_name[spec.label].pii:
        return [(f"#{place}", value) for place, (_, value) in enumerate(found, 1)]
    return [(label, value) for label, value in found]


def cell_text(value: Any) -> str:
    """Return a value as one short line of text; long ones are cut."""
    if value is None:
        return "–"
    text = f"{value:.10g}" if isinstance(value, float) else _text(value)
    text = text.replace("\n", " ")
    return text if len(text) <= _LONGEST_CELL else text[:_LONGEST_CELL] + "…"


def _cell(value: Any) -> str:
    return cell_text(value).replace("|", "\\|")


def _text(value: Any) -> str:
    from lakehouse.contracts.encoding import json_text, plain

    return json_text(value) if isinstance(value, list | dict) else plain(value)
