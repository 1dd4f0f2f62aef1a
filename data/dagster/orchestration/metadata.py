"""What a run says about a table, as Dagster metadata.

Belongs here: translating what the library says of a table (lakehouse.catalog). Does not: computing any of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from lakehouse import catalog

if TYPE_CHECKING:
    from lakehouse.contracts import Contract
    from lakehouse.pipeline import Lake

LINEAGE = "dagster/column_lineage"


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
            name: [
                dg.TableColumnDep(asset_key=dg.AssetKey([source.layer, source.name]), column_name=column)
                for source, column in pairs
            ]
            for name, pairs in catalog.lineage(table).items()
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
        "preview": dg.MetadataValue.md(catalog.preview(lake, table)),
    }
    if table.sources:
        found[LINEAGE] = column_lineage(table)
    if table.chart is not None:
        found["chart"] = dg.MetadataValue.md(catalog.chart(lake, table, table.chart))
    return found
