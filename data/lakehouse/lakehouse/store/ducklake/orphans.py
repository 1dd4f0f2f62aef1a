"""Files below a table that no snapshot of the catalog names: left by commits that were killed or lost a race.

Belongs here: finding and removing them. Does not: files that a snapshot has ceased to name; DuckLake removes
those itself. Its own search for orphans is not used: it takes live files (duckdb/ducklake#815).
"""

from __future__ import annotations

from datetime import UTC, datetime

from lakehouse.errors import StorageUnavailable, plain
from lakehouse.storage.files import BucketFiles, Files, FolderFiles

_KEYS_PER_REQUEST = 1000


def remove_orphans(files: Files, path: str, *, known: set[str], before: datetime) -> int:
    """Remove the files below table `path` that are older than `before` and not `known`; return how many."""
    if isinstance(files, FolderFiles):
        return _in_folder(files, path, known, before)
    if isinstance(files, BucketFiles):
        return _in_bucket(files, path, known, before)
    raise TypeError(type(files).__name__)


def _in_folder(files: FolderFiles, path: str, known: set[str], before: datetime) -> int:
    base = files.root / path
    orphans = [
        file
        for file in base.rglob("*")
        if file.is_file()
        and str(file.relative_to(base)) not in known
        and datetime.fromtimestamp(file.stat().st_mtime, tz=UTC) <= before
    ]
    for file in orphans:
        file.unlink()
    return len(orphans)


def _in_bucket(files: BucketFiles, path: str, known: set[str], before: datetime) -> int:
    from botocore.exceptions import BotoCoreError, ClientError

    layer, table = path.split("/", 1)
    bucket = files.bucket(layer)
    try:
        pages = files.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{table}/")
        listed = [item for page in pages for item in page.get("Contents", [])]
        keys = [
            {"Key": item["Key"]}
            for item in listed
            if item["Key"][len(table) + 1 :] not in known and item["LastModified"] <= before
        ]
        for start in range(0, len(keys), _KEYS_PER_REQUEST):
            some = {"Objects": keys[start : start + _KEYS_PER_REQUEST], "Quiet": True}
            files.client.delete_objects(Bucket=bucket, Delete=some)
    except (BotoCoreError, ClientError) as exc:
        raise StorageUnavailable(f"removing orphans below {files.uri(path)}: {plain(exc)}") from None
    return len(keys)
