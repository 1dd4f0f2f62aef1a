"""`verify-data-layers` against real damage: each kind fails, names its table, and passes again once repaired.

Damage is done behind the platform's back, with the store's root key. The lake is put back object by object.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from stacks import Stack

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

LAYERS = ("bronze", "silver", "gold", "quarantine", "system")
EVENTS, RAW, METRICS = "silver/pipeline_events", "bronze/raw_pipeline_events", "gold/pipeline_metrics"


class Lake:
    """The layers' objects, and ways to damage them."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.s3 = stack, stack.s3()
        self.options = {
            "AWS_ENDPOINT_URL": stack.url("MINIO_PORT"),
            "AWS_ACCESS_KEY_ID": stack.env["MINIO_ROOT_USER"],
            "AWS_SECRET_ACCESS_KEY": stack.env["MINIO_ROOT_PASSWORD"],
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def keys(self, table: str) -> list[str]:
        """All object names below a table (or a layer), without the bucket."""
        layer, _, name = table.partition("/")
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=layer, Prefix=f"{name}/" if name else ""
        )
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    def delete(self, table: str, keys: list[str] | None = None) -> None:
        """Remove objects of a table; all of them by default."""
        for key in self.keys(table) if keys is None else keys:
            self.s3.delete_object(Bucket=table.partition("/")[0], Key=key)

    def data_files(self, table: str) -> list[str]:
        """The Parquet files its current version is made of."""
        name = table.partition("/")[2]
        return [
            f"{name}/{path}"
            for path in self.open(table).file_uris()
            for path in [path.partition(f"{name}/")[2]]
        ]

    def open(self, table: str) -> DeltaTable:
        """The table as any Delta reader sees it."""
        return DeltaTable(f"s3://{table}", storage_options=self.options)

    def append(self, table: str, rows: pl.DataFrame) -> None:
        """Write rows as somebody who does not know the platform."""
        write_deltalake(f"s3://{table}", rows.to_arrow(), mode="append", storage_options=self.options)

    def rows(self, table: str) -> pl.DataFrame:
        """All rows of a table."""
        return pl.DataFrame(pl.from_arrow(self.open(table).to_pyarrow_table()))

    def save(self) -> dict[str, dict[str, bytes]]:
        """Every object of every layer."""
        return {
            layer: {key: self.s3.get_object(Bucket=layer, Key=key)["Body"].read() for key in self.keys(layer)}
            for layer in LAYERS
        }

    def put_back(self, saved: dict[str, dict[str, bytes]]) -> None:
        """Make the layers hold exactly what was saved."""
        for layer, objects in saved.items():
            self.delete(layer, [key for key in self.keys(layer) if key not in objects])
            for key, body in objects.items():
                self.s3.put_object(Bucket=layer, Key=key, Body=body)


@pytest.fixture(scope="module")
def saved(stack: Stack) -> dict[str, dict[str, bytes]]:
    stack.hashes()
    return Lake(stack).save()


@pytest.fixture
def lake(stack: Stack, saved: dict[str, dict[str, bytes]]) -> Iterator[Lake]:
    lake = Lake(stack)
    yield lake
    lake.put_back(saved)
    code, report = stack.verify()
    assert code == 0, report["problems"]


def problems(stack: Stack) -> dict[str, set[str]]:
    """Table to the checks that found something; the verb must have failed."""
    code, report = stack.verify()
    assert code == 1
    assert report["ok"] is False
    assert all(one["message"] and one["fix"] for one in report["problems"])
    found: dict[str, set[str]] = {}
    for one in report["problems"]:
        found.setdefault(one["table"], set()).add(one["check"])
    return found


def test_each_kind_of_damage_is_named_with_its_table(stack: Stack, lake: Lake) -> None:
    """Every table another kind, all at once: nothing hides behind the first."""
    lake.delete(EVENTS, lake.data_files(EVENTS)[:1])
    lake.s3.put_object(Bucket="gold", Key=lake.data_files(METRICS)[0], Body=b"PAR1")
    lake.delete("gold/user_profiles")
    lake.append("silver/nobody_declared_me", pl.DataFrame({"a": [1]}))
    lake.append(RAW, lake.rows(RAW).head(1))
    lake.append("silver/patient", lake.rows("silver/patient"))
    lake.open("silver/loans").delete("loan_key IS NOT NULL")
    changed = "gold/borrower_segments"
    rows = lake.rows(changed).with_columns(pl.lit("x").alias("surprise"))
    options = lake.options
    write_deltalake(
        f"s3://{changed}", rows.to_arrow(), mode="overwrite", schema_mode="overwrite", storage_options=options
    )
    torn = "silver/observation"
    lake.delete(torn, [max(key for key in lake.keys(torn) if key.endswith(".json") and "_delta_log/" in key)])
    found = problems(stack)
    assert "files" in found[EVENTS]
    assert "present" in found["gold/user_profiles"]
    assert found["silver/nobody_declared_me"] == {"declared"}
    assert {METRICS, RAW, "silver/patient", "silver/loans", changed, torn} <= set(found)


def test_deleted_layer(stack: Stack, lake: Lake) -> None:
    lake.delete("gold")
    assert {METRICS, "gold/user_profiles"} <= set(problems(stack))


def test_empty_lake(stack: Stack, lake: Lake) -> None:
    for layer in LAYERS:
        lake.delete(layer)
    assert len(problems(stack)) >= 6


def test_text_names_the_table_and_what_to_do(stack: Stack, lake: Lake) -> None:
    lake.delete(EVENTS)
    done = stack.run("ops/scripts/verify-data-layers.sh")
    assert done.returncode == 1
    assert f"✗ {EVENTS}: present: the table is missing" in done.stdout
    assert "→ make init-data-layers" in done.stdout


def test_init_rebuilds_tables_that_are_gone(stack: Stack) -> None:
    """Repaired by the platform itself, so nothing is put back."""
    before = stack.hashes()
    for table in (EVENTS, "gold/user_profiles"):
        Lake(stack).delete(table)
    found = problems(stack)
    assert "present" in found[EVENTS]
    assert "present" in found["gold/user_profiles"]
    done = stack.make("init-data-layers")
    assert done.returncode == 0, done.stdout + done.stderr
    assert stack.hashes() == before


def test_a_store_that_is_away_is_no_empty_lake(stack: Stack) -> None:
    assert stack.run("docker", "kill", "-s", "KILL", stack.containers()["minio"]["Id"]).returncode == 0
    done = stack.run("ops/scripts/verify-data-layers.sh")
    assert done.returncode == 2, done.stdout
    assert "✗ not verified: " in done.stderr
    done = stack.make("start", "PROFILE=full")
    assert done.returncode == 0, done.stdout + done.stderr
