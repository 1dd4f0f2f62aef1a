"""Where a shared file can be fetched: signed addresses that end after a quarter of an hour.

Belongs here: making such an address, and finding the file of one that came back. Does not: who may have it.

    a lake in buckets    a presigned address of the object store: the bytes never pass through here
    a lake in a folder   `/delta-sharing/files/<statement>?sp=r&sig=<signature>` of this server. The statement
                         says table, file, key and end; the signature is over all of it, so that nothing in
                         an address can be chosen by who sends it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from lakehouse.contracts import Contract
from lakehouse.storage.files import FolderFiles
from lakehouse.storage.paths import is_below
from lakehouse.storage.s3 import s3_client
from lakehouse.store import TableStore
from serving.problems import Problem
from serving.settings import ServingSettings

SECONDS = 900
_SECRET_BYTES = 32
# Delta's kernel fetches an address only if its query is that of a known store's: `sp=r` is Azure's "may be
# read". Without it, it looks for a local file (0.22, as in delta-kernel-rust-sharing-wrapper 0.3.3).
_SIGNED = "sp=r&sig="


@dataclass(frozen=True, kw_only=True)
class Link:
    """An address, and when it ends (milliseconds since 1970)."""

    url: str
    expires_ms: int


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What an address of this server says."""

    table: str
    name: str
    key: str
    until: int


class Links:
    """Makes addresses of the files of one lake."""

    def __init__(
        self, settings: ServingSettings, store: TableStore, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings, self._files, self._clock = settings, store.files, clock

    def link(self, table: Contract, name: str, key: str) -> Link:
        """Return where file `name` of a table can be fetched by whoever key `key` belongs to."""
        until = int(self._clock()) + SECONDS
        if isinstance(self._files, FolderFiles):
            said = orjson.dumps([table.path, name, key, until])
            statement = urlsafe_b64encode(said).decode().rstrip("=")
            base = f"{self._settings.public_url}/delta-sharing/files"
            url = f"{base}/{statement}?{_SIGNED}{self._signature(statement)}"
            return Link(url=url, expires_ms=until * 1000)
        layer, folder = table.path.split("/", 1)
        client = self._for_gold if layer == "gold" else self._for_others
        url = client.generate_presigned_url(
            "get_object",
            Params={"Bucket": self._settings.lake.bucket(layer), "Key": f"{folder}/{name}"},
            ExpiresIn=SECONDS,
        )
        return Link(url=str(url), expires_ms=until * 1000)

    def opened(self, statement: str, signature: str) -> Statement:
        """Return what an address says. Raises Problem 403 for one that is not ours or has ended."""
        if not hmac.compare_digest(self._signature(statement).encode(), signature.encode("utf-8", "replace")):
            raise Problem(403, "this address was not made here: query the table for its files")
        try:
            table, name, key, until = orjson.loads(urlsafe_b64decode(statement + "=" * (-len(statement) % 4)))
        except (ValueError, NotBase64):
            raise Problem(403, "this address was not made here: query the table for its files") from None
        if self._clock() >= until:
            raise Problem(403, "this address has ended: query the table again for another")
        return Statement(table=table, name=name, key=key, until=until)

    def path(self, said: Statement) -> Path:
        """Return the file that an address is of. Raises Problem 410 when it is gone, 404 on buckets."""
        if not isinstance(self._files, FolderFiles):
            raise Problem(404, "files of this lake are fetched from its object store")
        folder = Path(self._files.uri(said.table)).resolve()
        found = (folder / said.name).resolve()
        if not is_below(said.name) or not found.is_relative_to(folder) or not found.is_file():
            raise Problem(410, "this file is gone: maintenance has removed it; query the table again")
        return found

    def _signature(self, statement: str) -> str:
        made = hmac.new(self._secret, statement.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
        return urlsafe_b64encode(made).decode().rstrip("=")

    @cached_property
    def _secret(self) -> bytes:
        """The secret that signs addresses: made once, then kept, so that they outlive a restart."""
        path = self._settings.state / "sharing.key"
        try:
            return _whole(path)
        except FileNotFoundError:
            fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                out.write(secrets.token_bytes(_SECRET_BYTES))
                out.flush()
                os.fsync(out.fileno())
            try:
                os.link(fresh, path)  # of two that begin at once, one wins
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
            return _whole(path)

    @cached_property
    def _for_gold(self) -> Any:
        """Signs with the key that reads Gold alone, where there is one."""
        settings, lake = self._settings, self._settings.lake
        own = (lake.s3_access_key, lake.s3_secret_key)
        return self._signer(settings.s3_access_key or own[0], settings.s3_secret_key or own[1])

    @cached_property
    def _for_others(self) -> Any:
        return self._signer(self._settings.lake.s3_access_key, self._settings.lake.s3_secret_key)

    def _signer(self, access_key: str | None, secret_key: str | None) -> Any:
        """Return a client that signs for the endpoint that clients reach. It sends no request."""
        lake = self._settings.lake
        return s3_client(
            endpoint=self._settings.s3_public_endpoint or lake.s3_endpoint,
            access_key=access_key,
            secret_key=secret_key,
            region=lake.s3_region,
            signature="s3v4",
        )


def _whole(path: Path) -> bytes:
    found = path.read_bytes()
    if len(found) < _SECRET_BYTES:  # a short one could be guessed
        raise Problem(
            503, f"{path.name} in the door's folder was cut short: remove it, and a new one is made"
        )
    return found
