"""Layers as buckets of an S3-compatible store.

Belongs here: listing, reading and conditionally writing objects. Does not: folders (folder.py), or the client
(storage/s3.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from lakehouse.contracts import LAYERS
from lakehouse.errors import StorageUnavailable, plain
from lakehouse.settings import Settings
from lakehouse.storage.own import OWN, log_last
from lakehouse.storage.s3 import s3_client

_LOOK_SECONDS = 5
_PIECE_BYTES = 1024 * 1024


class BucketFiles:
    """Layers as buckets of an S3-compatible store."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None

    def uri(self, path: str) -> str:
        return f"s3://{self._settings.s3_bucket_prefix}{path}"

    def bucket(self, layer: str) -> str:
        return self._settings.bucket(layer)

    def own_uri(self, name: str) -> str:
        return self.uri(f"system/{OWN}/{name}")

    def names(self) -> list[str]:
        self._look()
        found = []
        for layer in LAYERS:
            for page in self._pages(Bucket=self.bucket(layer), Delimiter="/"):
                found += [f"{layer}/{p['Prefix'].rstrip('/')}" for p in page.get("CommonPrefixes", [])]
        return sorted(name for name in found if not name.endswith(f"/{OWN}"))

    def sizes(self, path: str) -> dict[str, int]:
        layer, name = path.split("/", 1)
        return {
            item["Key"][len(name) + 1 :]: item["Size"]
            for page in self._pages(Bucket=self.bucket(layer), Prefix=f"{name}/")
            for item in page.get("Contents", [])
        }

    def read(self, path: str, name: str) -> bytes:
        from botocore.exceptions import BotoCoreError, ClientError

        layer, table = path.split("/", 1)
        try:
            return bytes(
                self.client.get_object(Bucket=self.bucket(layer), Key=f"{table}/{name}")["Body"].read()
            )
        except (BotoCoreError, ClientError) as exc:
            if isinstance(exc, ClientError) and exc.response["Error"]["Code"] in ("NoSuchKey", "404"):
                raise FileNotFoundError(f"{self.uri(path)}/{name}") from None
            raise StorageUnavailable(
                f"reading {self.uri(path)}/{name}: {plain(exc)}. Is the object store up? `make status` tells."
            ) from None

    def sha256(self, path: str, name: str) -> tuple[str, int]:
        from botocore.exceptions import BotoCoreError, ClientError

        layer, table = path.split("/", 1)
        digest, size = hashlib.sha256(), 0
        try:
            body = self.client.get_object(Bucket=self.bucket(layer), Key=f"{table}/{name}")["Body"]
            for piece in body.iter_chunks(_PIECE_BYTES):
                digest.update(piece)
                size += len(piece)
        except (BotoCoreError, ClientError, OSError) as exc:
            if isinstance(exc, ClientError) and exc.response["Error"]["Code"] in ("NoSuchKey", "404"):
                raise FileNotFoundError(f"{self.uri(path)}/{name}") from None
            raise StorageUnavailable(
                f"reading {self.uri(path)}/{name}: {plain(exc)}. Is the object store up? `make status` tells."
            ) from None
        return digest.hexdigest(), size

    def own_names(self, folder: str) -> list[str]:
        prefix = f"{OWN}/{folder}/"
        pages = self._pages(Bucket=self.bucket("system"), Prefix=prefix, Delimiter="/")
        return sorted(item["Key"][len(prefix) :] for page in pages for item in page.get("Contents", []))

    def written(self, path: str) -> dict[str, datetime]:
        layer, below = path.split("/", 1)
        pages = self._pages(Bucket=self.bucket(layer), Prefix=f"{below}/", Delimiter="/")
        return {
            item["Key"][len(below) + 1 :]: item["LastModified"]
            for page in pages
            for item in page.get("Contents", [])
        }

    def log_entry(self, path: str, version: int) -> tuple[str, bool] | None:
        layer, table = path.split("/", 1)
        log = f"{table}/_delta_log/"
        found = self._pages(
            Bucket=self.bucket(layer),
            Prefix=log,
            StartAfter=f"{log}{version - 1:020d}.json",
            PaginationConfig={"MaxItems": 8, "PageSize": 8},
        )
        tags = {item["Key"][len(log) :]: item["ETag"] for page in found for item in page.get("Contents", [])}
        tag = tags.get(f"{version:020d}.json")
        return None if tag is None else (tag, f"{version + 1:020d}.json" not in tags)

    def remove(self, path: str, names: Sequence[str]) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        layer, table = path.split("/", 1)
        try:
            for name in names:
                self.client.delete_object(Bucket=self.bucket(layer), Key=f"{table}/{name}")
        except (BotoCoreError, ClientError) as exc:
            raise StorageUnavailable(f"removing files of {self.uri(path)}: {plain(exc)}") from None

    def put_if(self, name: str, body: bytes, tag: str | None) -> str | None:
        from botocore.exceptions import ClientError

        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        try:
            bucket = self.bucket("system")
            put = self.client.put_object(Bucket=bucket, Key=f"{OWN}/{name}", Body=body, **condition)
            return str(put["ETag"])
        except ClientError as exc:
            if exc.response["ResponseMetadata"]["HTTPStatusCode"] in (404, 409, 412):
                return None
            raise StorageUnavailable(f"writing {self.own_uri(name)}: {plain(exc)}") from None

    def read_tagged(self, name: str) -> tuple[bytes, str] | None:
        from botocore.exceptions import ClientError

        try:
            found = self.client.get_object(Bucket=self.bucket("system"), Key=f"{OWN}/{name}")
        except ClientError as exc:
            if exc.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise StorageUnavailable(f"reading {self.own_uri(name)}: {plain(exc)}") from None
        return bytes(found["Body"].read()), str(found["ETag"])

    def forget(self, name: str) -> None:
        self.client.delete_object(Bucket=self.bucket("system"), Key=f"{OWN}/{name}")

    def forget_folder(self, folder: str) -> None:
        prefix = f"{OWN}/{folder}/"
        pages = self._pages(Bucket=self.bucket("system"), Prefix=prefix)
        self._remove(
            self.bucket("system"), [item["Key"] for page in pages for item in page.get("Contents", [])]
        )

    def own_files(self, folder: str) -> dict[str, datetime]:
        below = f"{OWN}/{folder}/"
        return {
            item["Key"][len(below) :]: item["LastModified"]
            for page in self._pages(Bucket=self.bucket("system"), Prefix=below)
            for item in page.get("Contents", [])
        }

    def drop(self, path: str) -> None:
        layer, table = path.split("/", 1)
        self._remove(
            self.bucket(layer), [f"{table}/{name}" for name in sorted(self.sizes(path), key=log_last)]
        )

    def _remove(self, bucket: str, names: list[str]) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            for start in range(0, len(names), 1000):
                keys = [{"Key": name} for name in names[start : start + 1000]]
                self.client.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
        except (BotoCoreError, ClientError) as exc:
            raise StorageUnavailable(
                f"removing objects of bucket {bucket!r}: {plain(exc)}. Is the object store up? "
                "`make status` tells."
            ) from None

    def _look(self) -> None:
        """Fail within seconds when nothing answers: the patience of the other calls is for a loaded store."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._connect(read_seconds=_LOOK_SECONDS, attempts=1).head_bucket(Bucket=self.bucket(LAYERS[0]))
        except ClientError:
            return  # it answers; what it says is for the call that needs it
        except BotoCoreError as exc:
            raise StorageUnavailable(
                f"reaching the object store at {self._settings.s3_place}: {plain(exc)}. "
                "Is it up? `make status` tells."
            ) from None

    def _pages(self, **arguments: Any) -> list[dict[str, Any]]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return list(self.client.get_paginator("list_objects_v2").paginate(**arguments))
        except (BotoCoreError, ClientError) as exc:
            raise StorageUnavailable(
                f"listing bucket {arguments['Bucket']!r} at {self._settings.s3_place}: {plain(exc)}. "
                "Is the object store up? `make status` tells."
            ) from None

    def _connect(self, **patience: Any) -> Any:
        return s3_client(
            endpoint=self._settings.s3_endpoint,
            access_key=self._settings.s3_access_key,
            secret_key=self._settings.s3_secret_key,
            region=self._settings.s3_region,
            **patience,
        )

    @property
    def client(self) -> Any:
        if self._client is None:
            self._client = self._connect()
        return self._client
