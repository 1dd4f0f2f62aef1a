"""One ingest: which bytes, sent to which dataset. Everything else follows from that.

Belongs here: the tracking id, and the name in landing. Does not: looking either up (tracking.py).

The tracking id is `<dataset>~<sha256>`, or `<dataset>~<cohort>~<sha256>`, of the bytes as they landed: equal
content has one id, and an id says all that is needed to find its rows. No table of ids can be lost, and a
sender knows the id without asking.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

from lakehouse.landing import Source
from lakehouse.registry import sources
from serving.problems import Problem

_COHORT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FOLDER = "api"
EXTENSIONS = ("ndjson", "json", "csv", "parquet")


@dataclass(frozen=True, kw_only=True)
class Ingest:
    """Bytes that were sent to a dataset, by their SHA-256."""

    source: Source
    cohort: str | None
    sha256: str

    @property
    def dataset(self) -> str:
        return self.source.folder

    @cached_property
    def tracking_id(self) -> str:
        """Return the id: letters, digits, `~`, and what a dataset's name has."""
        return "~".join(filter(None, (self.dataset, self.cohort, self.sha256)))

    @property
    def tag(self) -> str:
        """Return the key of the tag that a run has for this ingest; its value is the tracking id."""
        return f"odp.ingest/{hashlib.sha256(self.tracking_id.encode()).hexdigest()[:24]}"

    def name(self, extension: str) -> str:
        """Return the name in landing; nothing of it is the sender's but the cohort."""
        return "/".join(filter(None, (self.dataset, self.cohort, _FOLDER, f"{self.sha256}.{extension}")))

    @property
    def names(self) -> list[str]:
        """Return each name that it may have in landing."""
        return [self.name(extension) for extension in EXTENSIONS]


def source_of(dataset: str) -> Source:
    """Return the source that a dataset is. Raises Problem 404."""
    found = next((source for source in sources() if source.folder == dataset), None)
    if found is None:
        known = ", ".join(source.folder for source in sources())
        raise Problem(404, f"no such dataset is declared; there are {known}")
    return found


def cohort_of(source: Source, given: list[str]) -> str | None:
    """Return the cohort to send to. Raises Problem 422 where one is missing, unwanted or no plain name."""
    if source.partition_by is None:
        if given:
            raise Problem(422, f"{source.folder} has no cohorts: leave `cohort` out")
        return None
    if len(given) != 1:
        raise Problem(
            422, f"{source.folder} lies by {source.partition_by.name}: give one, as `?cohort=<name>`"
        )
    if not _COHORT.fullmatch(given[0]):
        raise Problem(
            422, "a cohort is named by 1 to 64 letters, digits, `.`, `_` and `-`, a letter or digit first"
        )
    return given[0]


def parsed(tracking_id: str) -> Ingest:
    """Return the ingest that an id names, whether or not there ever was one. Raises Problem 404."""
    rest, _, sha256 = tracking_id.rpartition("~")
    for source in sources():
        cohort = rest.removeprefix(f"{source.folder}~") if source.partition_by else None
        is_it = rest == (f"{source.folder}~{cohort}" if source.partition_by else source.folder)
        if is_it and _SHA256.fullmatch(sha256) and (cohort is None or _COHORT.fullmatch(cohort)):
            return Ingest(source=source, cohort=cohort, sha256=sha256)
    raise Problem(404, "no ingest has this tracking id")
