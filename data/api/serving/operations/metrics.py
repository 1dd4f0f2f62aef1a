"""Numbers for Prometheus.

Belongs here: which there are, and `/metrics`. Does not: counting rows (describe.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

from lakehouse.errors import LakeError
from serving.access import Caller, may
from serving.rows.describe import Describer

router = APIRouter(tags=["operations"])
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


class Metrics:
    """The numbers of one door."""

    def __init__(self, describer: Describer) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "odp_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "odp_request_seconds",
            "Time until the last byte",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.ingests = Counter(
            "odp_ingests", "Bodies sent to /ingest, by what became of them", ["dataset", "outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.ingested_bytes = Counter(
            "odp_ingested_bytes", "Bytes landed", ["dataset"], registry=self.registry
        )
        self.registry.register(_Tables(describer))

    def text(self) -> bytes:
        """Return all of them in the text format."""
        return generate_latest(self.registry)


class _Tables:
    """Whether the lake is up; rows, versions, age and refused rows of each table: as they are when asked."""

    def __init__(self, describer: Describer) -> None:
        self._describer = describer

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        up = GaugeMetricFamily("odp_lake_up", "Whether the tables can be read")
        try:
            cards = self._describer.catalog()
        except LakeError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        kinds = {
            "rows": GaugeMetricFamily("odp_table_rows", "Rows of the newest version", labels=["table"]),
            "version": GaugeMetricFamily("odp_table_version", "Its version", labels=["table"]),
            "size_bytes": GaugeMetricFamily("odp_table_bytes", "Size of its files", labels=["table"]),
            "age_seconds": GaugeMetricFamily(
                "odp_table_age_seconds", "Since its rows changed", labels=["table"]
            ),
            "open_rejects": GaugeMetricFamily("odp_table_rejects", "Rows in quarantine", labels=["table"]),
        }
        for card in cards:
            for name, family in kinds.items():
                if card.get(name) is not None:
                    family.add_metric([card["table"]], card[name])
        yield from kinds.values()


@router.get("/metrics", summary="Numbers for Prometheus", response_class=Response)
def metrics(request: Request, _: Annotated[Caller, Depends(may("read"))]) -> Response:
    """Requests, latency, ingests, and rows, versions, age and refused rows of each table."""
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE_LATEST)
