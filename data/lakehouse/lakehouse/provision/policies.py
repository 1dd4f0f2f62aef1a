"""The principals of the object store and their rights in each bucket, as plain data.

Belongs here: policies. Does not: access to a store.
Bucket rights name the bare bucket, object rights its `/*`: newer servers reject one in place of the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

LANDING = "landing"
TABLES = ("bronze", "silver", "gold", "quarantine", "system")
EXPORTS = "exports"
BUCKETS = (LANDING, *TABLES, EXPORTS)

_BROWSE = ("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads")
_READ = ("s3:GetObject",)
_ADD = ("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject")
_REMOVE = ("s3:DeleteObject",)


@dataclass(frozen=True, kw_only=True)
class Principal:
    """One key pair, by its purpose. `rights` are the object rights in each bucket that it can see."""

    name: str
    rights: tuple[tuple[str, tuple[str, ...]], ...]
    optional: bool = False  # where the keys are somebody else's, this one need not be there

    @property
    def policy_name(self) -> str:
        """Return the name of its policy in the store."""
        return f"odp-{self.name}"

    def policy(self, prefix: str = "") -> dict[str, Any]:
        """Return its policy as a policy document, for buckets whose names begin with `prefix`."""
        buckets = [f"{prefix}{bucket}" for bucket, _ in self.rights]
        objects = (_allow(rights, [f"{prefix}{bucket}/*"]) for bucket, rights in self.rights)
        return {"Version": "2012-10-17", "Statement": [_allow(_BROWSE, buckets), *objects]}


def _allow(actions: Iterable[str], resources: Iterable[str]) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": [f"arn:aws:s3:::{resource}" for resource in resources],
    }


PRINCIPALS = (
    # Runs the assets: reads what landed, owns the tables and exports. Deleting is for vacuum and overwritten
    # files.
    Principal(
        name="pipeline",
        rights=((LANDING, _READ), *((bucket, _READ + _ADD + _REMOVE) for bucket in (*TABLES, EXPORTS))),
    ),
    # Lands files, and cannot read any table.
    Principal(name="ingest", rights=((LANDING, _READ + _ADD),)),
    # The API: reads every table, and lands files.
    Principal(
        name="api",
        rights=((LANDING, _READ + _ADD), *((bucket, _READ) for bucket in TABLES)),
    ),
    # The server of another engine: reads every table. What it computes, the assets write.
    Principal(name="engine", rights=tuple((bucket, _READ) for bucket in TABLES), optional=True),
    # Serves results.
    Principal(name="serving", rights=(("gold", _READ),)),
)
