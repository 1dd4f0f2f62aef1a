"""What a run says about a table: Dagster metadata from a contract and a report.

Belongs here: schema, lineage, preview, chart. Does not: computing any of it twice. PII never gets in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from lakehouse.contracts import Type

if TYPE_CHECKING:
    from lakehouse.contracts import Chart, Contract
    from lakehouse.flow import Lake

_PREVIEW_ROWS = 5
_BARS = 12
_LONGEST_CELL = 60
_LONGEST_LABEL = 22
_WIDEST_BAR = 24


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
    text = f"{value:.10g}" if isinstance(value, float) else str(value)
    text = text.replace("|", "\\|").replace("\n", " ")
    return text if len(text) <= _LONGEST_CELL else text[:_LONGEST_CELL] + "…"


def chart(lake: Lake, table: Contract, spec: Chart) -> str:
    """Return a bar chart as Markdown: the latest days in their order, or the largest values.

    Bars of block characters, since they are seen at once: Dagster hides longer Markdown, such as an image,
    behind a link.
    """
    sums = lake.store.scan(table).select(spec.label, spec.value).drop_nulls().group_by(spec.label).sum()
    if table.by_name[spec.label].type in (Type.DATE, Type.TIMESTAMP):
        chosen = sums.sort(spec.label).tail(_BARS)
    else:
        chosen = sums.sort(spec.value, spec.label, descending=[True, False]).head(_BARS)
    rows = chosen.collect().rows()
    pii = table.by_name[spec.label].pii
    top = max((float(value) for _, value in rows), default=0.0) or 1.0
    lines = [f"| {spec.label} | {spec.title} | |", "|---|---|--:|"]
    for place, (label, value) in enumerate(rows, 1):
        name = f"#{place}" if pii else _cell(table, spec.label, label)[:_LONGEST_LABEL]
        bar = "█" * max(1, round(_WIDEST_BAR * float(value) / top)) if value > 0 else ""
        lines.append(f"| {name} | {bar} | {_cell(table, spec.value, value)} |")
    return "\n".join(lines)
