"""Plain files under stable names, in a folder or in a bucket: what is handed to others.

Belongs here: replacing one whole, reading, removing. Does not: the lake's own bytes (files.py), or what is in
a file.

A reader sees the old bytes or the new ones, never half of them: in a folder by a rename, in a bucket because
an object is there once its last part is.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from lakehouse.errors import Conflict, SettingsError, StorageUnavailable, plain
from lakehouse.settings import Settings
from lakehouse.storage.files import Files
from lakehouse.storage.lease import poll, waiting_lease
from lakehouse.storage.s3 import s3_client

T = TypeVar("T")
_LEASE = timedelta(seconds=60)
_PATIENCE_SECONDS = 120.0
_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{32}\.unfinished")


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written: its name, size in bytes and SHA-256."""

    name: str
    size_bytes: int
    sha256: str


class Objects(Protocol):
    """A place for plain files. Raises StorageUnavailable."""

    def uri(self, name: str) -> str:
        """Return the address of a file."""
        ...

    def put(self, name: str, chunks: Iterable[bytes]) -> Written:
        """Replace a file whole. When `chunks` raises, the old one stays."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return a file; None where there is none."""
        ...

    def size(self, name: str) -> int | None:
        """Return a file's size in bytes; None where there is none."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""
        ...

    def alone(self, files: Files) -> AbstractContextManager[None]:
        """Return a context in which no other process writes here. Raises Conflict."""
        ...


def open_objects(url: str, settings: Settings) -> Objects:
    """Open a folder, made at the first write, or `s3://bucket[/prefix]`. Raises SettingsError."""
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc:
        return BucketObjects(settings, parts.netloc, parts.path.strip("/"))
    if "://" in url or not url:
        raise SettingsError(f"{url!r} is no place for files: give a folder or s3://bucket[/prefix]")
    return FolderObjects(Path(url))


class FolderObjects:
    """Files below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def uri(self, name: str) -> str:
        return str(self._root / name)

    def put(self, name: str, chunks: Iterable[bytes]) -> Written:
        target = self._root / name
        fresh = target.with_name(f".{target.name}.{uuid.uuid4().hex}.unfinished")
        digest, size = hashlib.sha256(), 0
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("wb") as out:
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(target)
        except OSError as exc:
            raise StorageUnavailable(f"writing {target}: {plain(exc)}; the file before it stays") from None
        finally:
            fresh.unlink(missing_ok=True)
        return Written(name=name, size_bytes=size, sha256=digest.hexdigest())

    def read(self, name: str) -> bytes | None:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None

    def size(self, name: str) -> int | None:
        try:
            return (self._root / name).stat().st_size
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    @contextmanager
    def alone(self, files: Files) -> Iterator[None]:  # noqa: ARG002
        with locked(self._root / ".lock"):
            for left in self._root.rglob(".*"):  # of a writer that was killed
                if _UNFINISHED.fullmatch(left.name):
                    left.unlink(missing_ok=True)
            yield


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file; it ends with its process. Raises Conflict when another one keeps it.

    Raises StorageUnavailable where the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("w")
    except OSError as exc:
        raise StorageUnavailable(
            f"writing below {path.parent}: {plain(exc)}; what was there before stays"
        ) from None
    with opened as gate:

        def taken() -> bool:
            try:
                fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not poll(taken, seconds=_PATIENCE_SECONDS, every=(0.1, 0.1)):
            raise Conflict(f"waiting for {path}: another process keeps it. Run it again.")
        yield


class BucketObjects:
    """Objects of a bucket, below a prefix."""

    def __init__(self, settings: Settings, bucket: str, prefix: str) -> None:
        self._settings, self._bucket = settings, bucket
        self._below = f"{prefix}/" if prefix else ""
        self._made: Any = None

    def uri(self, name: str) -> str:
        return f"s3://{self._bucket}/{self._below}{name}"

    def put(self, name: str, chunks: Iterable[bytes]) -> Written:
        body = _Body(chunks)
        self._ask("writing", name, lambda key: self._client.upload_fileobj(body, self._bucket, key))
        return Written(name=name, size_bytes=body.size, sha256=body.digest.hexdigest())

    def read(self, name: str) -> bytes | None:
        def read(key: str) -> bytes:
            return bytes(self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read())

        return self._ask("reading", name, read)

    def size(self, name: str) -> int | None:
        def size(key: str) -> int:
            return int(self._client.head_object(Bucket=self._bucket, Key=key)["ContentLength"])

        return self._ask("looking at", name, size)

    def remove(self, name: str) -> None:
        self._ask("removing", name, lambda key: self._client.delete_object(Bucket=self._bucket, Key=key))

    def alone(self, files: Files) -> AbstractContextManager[None]:
        name = "leases/exports"
        return waiting_lease(files, name, length=_LEASE, seconds=_PATIENCE_SECONDS, every=(1, 1))

    def _ask(self, doing: str, name: str, call: Callable[[str], T]) -> T | None:
        """Return what the store answers; None where there is no such object."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return call(self._below + name)
        except (Boto3Error, BotoCoreError, ClientError) as exc:
            if isinstance(exc, ClientError) and exc.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise StorageUnavailable(
                f"{doing} {self.uri(name)}: {plain(exc)}. Is the object store up? `make status` tells."
            ) from None

    @property
    def _client(self) -> Any:
        if self._made is None:
            self._made = s3_client(
                endpoint=self._settings.s3_endpoint,
                access_key=self._settings.s3_access_key,
                secret_key=self._settings.s3_secret_key,
                region=self._settings.s3_region,
            )
        return self._made


class _Body(io.RawIOBase):
    """Chunks as a file that is read once, hashed on the way."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._rest = iter(chunks), b""
        self.digest, self.size = hashlib.sha256(), 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts, have = [self._rest], len(self._rest)
        while size < 0 or have < size:
            if (chunk := next(self._chunks, None)) is None:
                break
            parts.append(chunk)
            have += len(chunk)
        whole = b"".join(parts)
        cut = len(whole) if size < 0 else size
        found, self._rest = whole[:cut], whole[cut:]
        self.digest.update(found)
        self.size += len(found)
        return found
