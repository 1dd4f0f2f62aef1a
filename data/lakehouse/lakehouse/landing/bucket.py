"""Landing in an S3-compatible bucket.

Belongs here: listing, fetching and storing objects below one prefix. Does not: file formats.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, BinaryIO, cast

from lakehouse.errors import StorageUnavailable, plain
from lakehouse.landing.files import Files, LandedFile, Names, checked_name, is_listed, source_of

IN_MEMORY = 64 << 20  # bytes of an object that are held in memory before it goes to a temporary file


class BucketLanding:
    """Raw files below `s3://<bucket>/<prefix>`. A zero-length key that ends in `/` is a folder marker."""

    def __init__(self, bucket: str, prefix: str, client: Any) -> None:
        self._bucket, self._client = bucket, client
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def list(self, source: str | None = None) -> Files:
        below = self._prefix + (f"{source}/" if source else "")
        files = [f for entry in self._entries(below) if (f := self._landed(entry)) is not None]
        return sorted((f for f in files if source is None or f.source == source), key=lambda f: f.name)

    def sources(self) -> Names:
        return sorted({source_of(f.name) for f in self.list()})

    def put(self, name: str, data: bytes | BinaryIO) -> LandedFile:
        key = self._prefix + checked_name(name)
        body = io.BytesIO(data) if isinstance(data, bytes) else data
        with self._answering("write", name):
            self._client.upload_fileobj(body, self._bucket, key)
            head = self._client.head_object(Bucket=self._bucket, Key=key)
        opener = partial(self._open, key, head["ETag"])
        return LandedFile(name, head["ContentLength"], head["LastModified"], opener)

    def _entries(self, below: str) -> Iterator[dict[str, Any]]:
        with self._answering("list", below):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=below):
                yield from page.get("Contents", [])

    def _landed(self, entry: dict[str, Any]) -> LandedFile | None:
        key, size = str(entry["Key"]), int(entry["Size"])
        name = key.removeprefix(self._prefix)
        if not is_listed(name) or (key.endswith("/") and size == 0):
            return None
        return LandedFile(name, size, entry["LastModified"], partial(self._open, key, entry["ETag"]))

    def _open(self, key: str, etag: str) -> BinaryIO:
        """Fetch the object that was listed, and no newer one: the store compares the tag."""
        spool = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - the caller closes it
        try:
            with self._answering("read", key):
                answer = self._client.get_object(Bucket=self._bucket, Key=key, IfMatch=etag)
                shutil.copyfileobj(answer["Body"], spool, 1 << 20)
        except BaseException:
            spool.close()
            raise
        spool.seek(0)
        return cast(BinaryIO, spool)

    @contextmanager
    def _answering(self, verb: str, what: str) -> Iterator[None]:
        """Turn whatever the store's client raises into StorageUnavailable."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        try:
            yield
        except (BotoCoreError, ClientError, HTTPClientError, Boto3Error, OSError) as exc:
            where = f"s3://{self._bucket}"
            raise StorageUnavailable(f"cannot {verb} {what!r} in {where}: {plain(exc)}; try again") from exc
