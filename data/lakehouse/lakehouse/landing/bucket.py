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

from lakehouse.errors import StorageUnavailable, Unreadable, plain
from lakehouse.landing.files import LandedFile, Listing, Names, checked_name, is_listed, natural

_OBJECT_ERRORS = (403, 404, 412)
_NEXT_RUN = "it was refused, removed or changed since it was listed; the next run looks again"
IN_MEMORY = 64 << 20  # bytes of an object that are held in memory before it goes to a temporary file


class BucketLanding:
    """Raw files below `s3://<bucket>/<prefix>`. A zero-length key that ends in `/` is a folder marker."""

    def __init__(self, bucket: str, prefix: str, client: Any) -> None:
        self._bucket, self._client = bucket, client
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def list(self, source: str | None = None) -> Listing:
        below = self._prefix + (f"{source}/" if source else "")
        files = [f for entry in self._entries(below) if (f := self._landed(entry)) is not None]
        return sorted((f for f in files if source is None or f.source == source), key=natural)

    def sources(self) -> Names:
        """Return the source folders that hold files; each is listed up to its first file."""
        found = set()
        for entry in self._entries(self._prefix, delimiter="/"):
            within = [entry] if "Key" in entry else self._entries(entry["Prefix"])
            if (first := next(filter(None, map(self._landed, within)), None)) is not None:
                found.add(first.source)
        return sorted(found)

    def put(self, name: str, data: bytes | BinaryIO) -> LandedFile:
        key = self._prefix + checked_name(name)
        body = io.BytesIO(data) if isinstance(data, bytes) else data
        with self._own_errors("write", name):
            self._client.upload_fileobj(body, self._bucket, key)
            head = self._client.head_object(Bucket=self._bucket, Key=key)
        opener = partial(self._open, key, head["ETag"])
        return LandedFile(name, head["ContentLength"], head["LastModified"], opener, version=head["ETag"])

    def add(self, name: str, data: BinaryIO) -> LandedFile:
        # Two at once may both write: of equal bytes, which then have one ETag.
        return self.find(name) or self.put(name, data)

    def find(self, name: str) -> LandedFile | None:
        # As a listing tells it: the answer to HEAD has another time, in whole seconds, and no reason.
        key = self._prefix + checked_name(name)
        entry = next(self._entries(key), None)
        return self._landed(entry) if entry is not None and entry["Key"] == key else None

    def _entries(self, below: str, *, delimiter: str = "") -> Iterator[dict[str, Any]]:
        with self._own_errors("list", below):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=below, Delimiter=delimiter):
                yield from page.get("Contents", [])
                yield from page.get("CommonPrefixes", [])

    def _landed(self, entry: dict[str, Any]) -> LandedFile | None:
        key, size = str(entry["Key"]), int(entry["Size"])
        name = key.removeprefix(self._prefix)
        if not is_listed(name) or (key.endswith("/") and size == 0):
            return None
        tag = entry["ETag"]
        return LandedFile(name, size, entry["LastModified"], partial(self._open, key, tag), version=tag)

    def _open(self, key: str, etag: str) -> BinaryIO:
        """Fetch the object that was listed, and no newer one: the store compares the ETag."""
        spool = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - the caller closes it
        try:
            with self._own_errors("read", key), _object_errors(key):
                answer = self._client.get_object(Bucket=self._bucket, Key=key, IfMatch=etag)
                shutil.copyfileobj(answer["Body"], spool, 1 << 20)
        except BaseException:
            spool.close()
            raise
        spool.seek(0)
        return cast(BinaryIO, spool)

    @contextmanager
    def _own_errors(self, verb: str, what: str) -> Iterator[None]:
        """Turn errors of the client into StorageUnavailable."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        try:
            yield
        except (BotoCoreError, ClientError, HTTPClientError, Boto3Error, OSError) as exc:
            where = f"s3://{self._bucket}"
            raise StorageUnavailable(f"cannot {verb} {what!r} in {where}: {plain(exc)}; try again") from None


@contextmanager
def _object_errors(key: str) -> Iterator[None]:
    """Raise Unreadable for an object that is refused, removed or replaced; other errors pass."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as exc:
        status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status not in _OBJECT_ERRORS:
            raise
        raise Unreadable(f"{key.rsplit('/', 1)[-1]}: it cannot be read ({plain(exc)}); {_NEXT_RUN}") from None
