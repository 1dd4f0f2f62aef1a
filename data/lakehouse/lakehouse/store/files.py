"""The bytes below the tables: what lies in a folder or in the layers' buckets.

Belongs here: listing and sizes of objects. Does not: what a table is, or its log.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import uuid
from pathlib import Path
from typing import Any, Protocol

from lakehouse.contracts import LAYERS
from lakehouse.errors import StorageUnavailable, plain
from lakehouse.s3 import s3_client
from lakehouse.settings import Settings

_LOOK_SECONDS = 5
OWN = "_odp"  # where the lake keeps what is no table


class Files(Protocol):
    """Where tables live: one folder or one bucket per layer."""

    def uri(self, path: str) -> str:
        """Return the address of table `<layer>/<name>`."""
        ...

    def own_uri(self, name: str) -> str:
        """Return the address of the lake's own file `name`."""
        ...

    def names(self) -> list[str]:
        """Return every `<layer>/<name>` that holds anything, declared or not."""
        ...

    def sizes(self, path: str) -> dict[str, int]:
        """Return size in bytes by file name relative to table `path`."""
        ...

    def read(self, path: str, name: str) -> bytes:
        """Return one file below table `path`. Raises FileNotFoundError, StorageUnavailable."""
        ...

    def put_if(self, name: str, body: bytes, tag: str | None) -> str | None:
        """Write the lake's own file `name` if it still is what `tag` says (None: absent).

        Return its new tag, or None when it is something else.
        """
        ...

    def read_tagged(self, name: str) -> tuple[bytes, str] | None:
        """Return the lake's own file `name` and its tag; None when there is none."""
        ...

    def forget(self, name: str) -> None:
        """Remove the lake's own file `name`; one that is not there is no error."""
        ...

    def drop(self, path: str) -> None:
        """Remove everything below table `path`, its log last: what is left of a half removed one opens."""
        ...


class FolderFiles:
    """Layers as folders below one root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def uri(self, path: str) -> str:
        return str(self.root / path)

    def own_uri(self, name: str) -> str:
        return str(self.root / OWN / name)

    def names(self) -> list[str]:
        return sorted(
            f"{layer}/{entry.name}"
            for layer in LAYERS
            if (self.root / layer).is_dir()
            for entry in (self.root / layer).iterdir()
            if entry.is_dir() and entry.name != OWN and any(entry.iterdir())
        )

    def sizes(self, path: str) -> dict[str, int]:
        base = self.root / path
        return {str(f.relative_to(base)): f.stat().st_size for f in base.rglob("*") if f.is_file()}

    def read(self, path: str, name: str) -> bytes:
        return (self.root / path / name).read_bytes()

    def put_if(self, name: str, body: bytes, tag: str | None) -> str | None:
        target = self.root / OWN / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with (target.parent / ".lock").open("w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)  # compare and write as one; processes of one machine share it
            found = self.read_tagged(name)
            if (found[1] if found else None) != tag:
                return None
            fresh = target.with_name(f"{target.name}.{uuid.uuid4().hex}")
            fresh.write_bytes(body)
            fresh.replace(target)
        return hashlib.sha256(body).hexdigest()

    def read_tagged(self, name: str) -> tuple[bytes, str] | None:
        try:
            body = (self.root / OWN / name).read_bytes()
        except FileNotFoundError:
            return None
        return body, hashlib.sha256(body).hexdigest()

    def forget(self, name: str) -> None:
        (self.root / OWN / name).unlink(missing_ok=True)

    def drop(self, path: str) -> None:
        for name in sorted(self.sizes(path), key=_log_last):
            (self.root / path / name).unlink()
        shutil.rmtree(self.root / path, ignore_errors=True)


class BucketFiles:
    """Layers as buckets of an S3-compatible store."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None

    def uri(self, path: str) -> str:
        return f"s3://{path}"

    def own_uri(self, name: str) -> str:
        return f"s3://system/{OWN}/{name}"

    def names(self) -> list[str]:
        self._look()
        found = []
        for layer in LAYERS:
            for page in self._pages(Bucket=layer, Delimiter="/"):
                found += [f"{layer}/{p['Prefix'].rstrip('/')}" for p in page.get("CommonPrefixes", [])]
        return sorted(name for name in found if not name.endswith(f"/{OWN}"))

    def sizes(self, path: str) -> dict[str, int]:
        layer, name = path.split("/", 1)
        return {
            item["Key"][len(name) + 1 :]: item["Size"]
            for page in self._pages(Bucket=layer, Prefix=f"{name}/")
            for item in page.get("Contents", [])
        }

    def read(self, path: str, name: str) -> bytes:
        from botocore.exceptions import BotoCoreError, ClientError

        layer, table = path.split("/", 1)
        try:
            return bytes(self.client.get_object(Bucket=layer, Key=f"{table}/{name}")["Body"].read())
        except (BotoCoreError, ClientError) as exc:
            if isinstance(exc, ClientError) and exc.response["Error"]["Code"] in ("NoSuchKey", "404"):
                raise FileNotFoundError(f"s3://{path}/{name}") from exc
            raise StorageUnavailable(
                f"reading s3://{path}/{name}: {plain(exc)}. Is the object store up? `make status` tells."
            ) from exc

    def put_if(self, name: str, body: bytes, tag: str | None) -> str | None:
        from botocore.exceptions import ClientError

        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        try:
            return str(
                self.client.put_object(Bucket="system", Key=f"{OWN}/{name}", Body=body, **condition)["ETag"]
            )
        except ClientError as exc:
            if exc.response["ResponseMetadata"]["HTTPStatusCode"] in (404, 409, 412):
                return None
            raise StorageUnavailable(f"writing s3://system/{OWN}/{name}: {plain(exc)}") from exc

    def read_tagged(self, name: str) -> tuple[bytes, str] | None:
        from botocore.exceptions import ClientError

        try:
            found = self.client.get_object(Bucket="system", Key=f"{OWN}/{name}")
        except ClientError as exc:
            if exc.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise StorageUnavailable(f"reading s3://system/{OWN}/{name}: {plain(exc)}") from exc
        return bytes(found["Body"].read()), str(found["ETag"])

    def forget(self, name: str) -> None:
        self.client.delete_object(Bucket="system", Key=f"{OWN}/{name}")

    def drop(self, path: str) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        layer, table = path.split("/", 1)
        names = sorted(self.sizes(path), key=_log_last)
        try:
            for start in range(0, len(names), 1000):
                keys = [{"Key": f"{table}/{name}"} for name in names[start : start + 1000]]
                self.client.delete_objects(Bucket=layer, Delete={"Objects": keys, "Quiet": True})
        except (BotoCoreError, ClientError) as exc:
            raise StorageUnavailable(
                f"removing s3://{path}: {plain(exc)}. Is the object store up? `make status` tells."
            ) from exc

    def _look(self) -> None:
        """Fail within seconds when nothing answers: the patience of the other calls is for a loaded store."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._connect(read_seconds=_LOOK_SECONDS, attempts=1).head_bucket(Bucket=LAYERS[0])
        except ClientError:
            return  # it answers; what it says is for the call that needs it
        except BotoCoreError as exc:
            raise StorageUnavailable(
                f"reaching the object store at {self._settings.s3_endpoint}: {plain(exc)}. "
                "Is it up? `make status` tells."
            ) from exc

    def _pages(self, **arguments: str) -> list[dict[str, Any]]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return list(self.client.get_paginator("list_objects_v2").paginate(**arguments))
        except (BotoCoreError, ClientError) as exc:
            raise StorageUnavailable(
                f"listing bucket {arguments['Bucket']!r} at {self._settings.s3_endpoint}: {plain(exc)}. "
                "Is the object store up? `make status` tells."
            ) from exc

    def _connect(self, **patience: int) -> Any:
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


def _log_last(name: str) -> tuple[bool, str]:
    return name.startswith("_delta_log/"), name


def open_files(settings: Settings) -> Files:
    """Return the files of the configured lake."""
    return BucketFiles(settings) if settings.on_s3 else FolderFiles(Path(settings.lake_url))
