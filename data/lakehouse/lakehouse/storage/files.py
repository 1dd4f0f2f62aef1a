"""The bytes below the tables, whatever the store.

Belongs here: what a lake asks of its place, and opening the configured one. Does not: a folder's or a
bucket's way of answering (folder.py, bucket.py), what a table is, or its log.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from lakehouse.settings import Settings
from lakehouse.storage.bucket import BucketFiles
from lakehouse.storage.folder import FolderFiles
from lakehouse.storage.paths import refuse_path, refuse_url

__all__ = ["BucketFiles", "Files", "FolderFiles", "open_files"]


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

    def sha256(self, path: str, name: str) -> tuple[str, int]:
        """Return checksum and size of one file below table `path`, read in pieces. Raises as `read` does."""
        ...

    def own_names(self, folder: str) -> list[str]:
        """Return the names of the lake's own files directly in `folder`, sorted, without the folder."""
        ...

    def written(self, path: str) -> dict[str, datetime]:
        """Return when each file directly in folder `path` of a table was written, by its name there."""
        ...

    def log_entry(self, path: str, version: int) -> tuple[str, bool] | None:
        """Return what tells the entry of `version` in the log of table `path` from another one of that
        number, and whether it is the newest; None where it is not there.
        """
        ...

    def remove(self, path: str, names: Sequence[str]) -> None:
        """Remove files below table `path`; one that is not there is no error. Raises StorageUnavailable."""
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

    def forget_folder(self, folder: str) -> None:
        """Remove all of the lake's own files below `folder`; one that is not there is no error."""
        ...

    def own_files(self, folder: str) -> dict[str, datetime]:
        """Return when each of the lake's own files in `folder` was written, by its name there."""
        ...

    def drop(self, path: str) -> None:
        """Remove everything below table `path`, its log last: what is left of a half removed one opens."""
        ...


def open_files(settings: Settings) -> Files:
    """Return the files of the configured lake."""
    refuse_url(settings.lake_url)
    if settings.on_s3:
        return BucketFiles(settings)
    refuse_path(settings.lake_url)
    return FolderFiles(Path(settings.lake_url))
