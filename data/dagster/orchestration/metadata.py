"""What a run says about a table: Dagster metadata from a contract and a report.

Belongs here: schema, lineage, preview, chart. Does not: computing any of it twice. PII never gets in.
"""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING, Any

import dagster as dg

from lakehouse.contracts import Type

if TYPE_CHECKING:
    from lakehouse.contracts import Chart, Contract
    from lakehouse.flow import Lake

_PREVIEW_ROWS = 5
_BARS = 12
_LONGEST_CELL = 60


def column_schema(table: Contract) -> dg.TableSchema:
    """Return the contract's columns as Dagster shows them, with descriptions and constraints."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=c.name,
                type=c.type.value,
                description=f"{c.description} [{c.unit}]" if c.unit else c.description,
                constraints=dg.TableColumnConstraints(nullable=c.nullable, other=["PII"] if c.pii else []),
                tags={"pii": ""} if c.pii else {},
            )
            for c in table.columns
        ]
    )


def column_lineage(table: Contract) -> dg.TableColumnLineage:
    """Return which source columns each column is computed from."""
    return dg.TableColumnLineage(
        {
            column.name: [
                dg.TableColumnDep(asset_key=dg.AssetKey([source.layer, source.name]), column_name=name)
                for source in table.sources
                for name in column.sources
                if name in source.by_name
            ]
            for column in table.columns
            if column.sources
        }
    )


def static(table: Contract) -> dict[str, Any]:
    """Return the metadata that follows from the contract alone."""
    return {
        "dagster/column_schema": column_schema(table),
        "dagster/table_name": table.path,
        "dagster/storage_kind": "deltalake",
        "contract_version": table.version,
        "key": ", ".join(table.key) or "none (append-only)",
    }


def of_run(lake: Lake, table: Contract, seconds: float) -> dict[str, Any]:
    """Return the metadata of one materialisation: rows, version, bytes, preview, chart."""
    snapshot = lake.store.snapshot(table)
    found: dict[str, Any] = {
        "dagster/row_count": snapshot.rows,
        "dagster/uri": snapshot.uri,
        "dagster/column_schema": column_schema(table),
        "version": snapshot.version,
        "size_bytes": snapshot.size_bytes,
        "files": snapshot.files,
        "seconds": round(seconds, 3),
        "preview": dg.MetadataValue.md(preview(lake, table)),
    }
    if table.sources:
        found["dagster/column_lineage"] = column_lineage(table)
    if table.chart is not None:
        found["chart"] = dg.MetadataValue.md(chart(lake, table, table.chart))
    return found


def preview(lake: Lake, table: Contract) -> str:
    """Return up to five rows as Markdown. PII columns are masked, long texts cut.

    Without the columns that say where a row came from: Dagster shows up to 1000 characters in place and hides
    longer texts behind a link, and a fingerprint in every row would fill most of them.
    """
    names = [c.name for c in table.columns if not c.name.startswith("_")]
    rows = lake.store.scan(table).select(names).head(_PREVIEW_ROWS).collect()
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += [
        "| " + " | ".join(_cell(table, n, row[n]) for n in names) + " |" for row in rows.iter_rows(named=True)
    ]
    return "\n".join(lines)


def _cell(table: Contract, name: str, value: Any) -> str:
    if value is None:
        return "–"
    if table.by_name[name].pii:
        return "•••"
    text = str(value).replace("|", "\\|").replace("\n", " ")
    return text if len(text) <= _LONGEST_CELL else text[:_LONGEST_CELL] + "…"


def chart(lake: Lake, table: Contract, spec: Chart) -> str:
    """Return a bar chart as an image in Markdown: the latest days in their order, or the largest values."""
    sums = lake.store.scan(table).select(spec.label, spec.value).drop_nulls().group_by(spec.label).sum()
    if table.by_name[spec.label].type in (Type.DATE, Type.TIMESTAMP):
        chosen = sums.sort(spec.label).tail(_BARS)
    else:
        chosen = sums.sort(spec.value, spec.label, descending=[True, False]).head(_BARS)
    rows = chosen.collect().rows()
    label_is_pii = table.by_name[spec.label].pii
    bars = [
        (f"#{i}" if label_is_pii else str(label), float(value)) for i, (label, value) in enumerate(rows, 1)
    ]
    image = base64.b64encode(_svg(spec.title, bars).encode()).decode()
    return f"![{spec.title}](data:image/svg+xml;base64,{image})"


def _svg(title: str, bars: list[tuple[str, float]]) -> str:
    top = max((value for _, value in bars), default=0.0) or 1.0
    height = 34 + 22 * max(len(bars), 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="560" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<text x="0" y="16" font-weight="bold">{escape(title)}</text>',
    ]
    for i, (label, value) in enumerate(bars):
        y = 28 + 22 * i
        width = max(2.0, 330 * value / top)
        parts += [
            f'<text x="150" y="{y + 13}" text-anchor="end">{escape(label[:22])}</text>',
            f'<rect x="158" y="{y}" width="{width:.0f}" height="16" rx="2" fill="#4f7cff"/>',
            f'<text x="{164 + width:.0f}" y="{y + 13}">{value:,.10g}</text>',
        ]
    if not bars:
        parts.append('<text x="0" y="44">no rows yet</text>')
    return "".join([*parts, "</svg>"])
