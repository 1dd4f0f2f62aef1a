"""The steps of LakeBench's ELTBench, light mode, with our store, on the data that its generator made.

Belongs here: those steps. Does not: the yardstick itself (eltbench.py). Frames are Polars', as in its own
Polars engine; each write goes through the store, which checks schemas and keys. Three steps are not quite
its own: a merge first reads what it adds to, for our store replaces rows by key; it takes one row of a
thousand, where LakeBench filters twice and is left with a handful;
and maintenance compacts and removes in one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

TABLES = ("store_sales", "date_dim", "store", "item", "customer")
JOINS = {
    "date_dim": ("ss_sold_date_sk", "d_date_sk"),
    "store": ("ss_store_sk", "s_store_sk"),
    "item": ("ss_item_sk", "i_item_sk"),
    "customer": ("ss_customer_sk", "c_customer_sk"),
}
KEY = ("s_store_id", "i_item_id", "c_customer_id", "sale_date")
SUMS = {"total_quantity": "ss_quantity", "total_net_paid": "ss_net_paid", "total_net_profit": "ss_net_profit"}
SHARE = 1_000  # one row of so many changes in a merge


def measure(data: Path, lake: Path) -> dict[str, Any]:
    """Run the steps once; return seconds by phase, named as ELTBench names them."""
    import polars as pl

    from lakehouse.settings import Settings
    from lakehouse.store import MaintenanceOptions, open_store

    store = open_store(Settings.at(lake))
    loaded = {
        name: contract(name, pl.scan_parquet(data / name / "*.parquet").collect_schema()) for name in TABLES
    }
    steps: dict[str, float] = {}

    def timed(phase: str, do: Callable[[], Any]) -> Any:
        started = time.monotonic()
        found = do()
        steps[phase] = round(steps.get(phase, 0.0) + time.monotonic() - started, 3)
        return found

    def load(name: str) -> None:
        store.ensure(loaded[name])
        store.overwrite(loaded[name], pl.read_parquet(data / name / "*.parquet"))

    def scan(name: str) -> pl.LazyFrame:
        return store.scan(loaded[name])

    def joined() -> pl.LazyFrame:
        sales = scan("store_sales")
        for name, (own, key) in JOINS.items():
            sales = sales.join(scan(name), left_on=own, right_on=key)
        return sales.with_columns(pl.col("d_date").alias("sale_date"))

    def summed(rows: pl.LazyFrame) -> pl.DataFrame:
        sums = [pl.sum(column).cast(facts[name]).alias(name) for name, column in SUMS.items()]
        kept = rows.filter(pl.all_horizontal(pl.col(KEY).is_not_null()))
        return kept.group_by(KEY).agg(sums).collect(engine="streaming")

    money = pl.Decimal(38, 2)
    facts = {"total_quantity": pl.Int64, "total_net_paid": money, "total_net_profit": money}
    keys = {name: pl.Date if name == "sale_date" else pl.String for name in KEY}
    fact = contract("total_sales_fact", pl.Schema(keys | facts), key=KEY)

    def create() -> None:
        store.ensure(fact)
        rows = summed(joined().filter(pl.col("d_year") == 2001))
        store.overwrite(fact, rows.select(fact.column_names).sort("s_store_id", "sale_date"))

    def merge(seed: int) -> None:
        chosen = (pl.col("ss_item_sk") * 1_000_000 + pl.col("ss_ticket_number") + seed).hash() % SHARE == 0
        fresh = summed(joined().filter(chosen))
        before = store.scan(fact).join(fresh.lazy(), on=KEY, how="semi").collect()
        both = pl.concat([fresh.select(fact.column_names), before.select(fact.column_names)])
        store.merge(fact, both.group_by(KEY).agg(pl.sum(*facts)).cast(facts).select(fact.column_names))

    def query() -> Any:
        by_year = store.scan(fact).group_by(pl.col("sale_date").dt.year())
        return by_year.agg(pl.sum("total_net_profit")).collect()

    for name in TABLES:
        timed("Read parquet, write delta (x5)", lambda name=name: load(name))
    timed("Create fact table", create)
    for seed in range(3):
        timed("Merge 0.1% into fact table (3x)", lambda seed=seed: merge(seed))
    timed("OPTIMIZE", lambda: store.maintain(fact, MaintenanceOptions(retain=timedelta(0), orphans=True)))
    timed("Ad-hoc query (small result aggregation)", query)
    return {
        "seconds": round(sum(steps.values()), 3),
        "steps": steps,
        "rows_of_fact": store.snapshot(fact).rows,
    }


def contract(name: str, schema: Any, key: tuple[str, ...] = ()) -> Any:
    """Return a contract of just these columns."""
    import polars as pl

    from lakehouse.contracts import Column, Contract, DecimalType, Materialization, Type

    types = {pl.Int32: Type.INT32, pl.Int64: Type.INT64, pl.String: Type.STRING, pl.Date: Type.DATE}
    columns = tuple(
        Column(
            name=column,
            type=DecimalType(kind.precision, kind.scale) if isinstance(kind, pl.Decimal) else types[kind],
            description=f"{column} of TPC-DS",
            nullable=column not in key,
        )
        for column, kind in schema.items()
    )
    return Contract(
        layer="silver",
        name=name,
        domain="tpcds",
        description="one row of TPC-DS",
        columns=columns,
        materialization=Materialization.FULL,
        key=key,
    )
