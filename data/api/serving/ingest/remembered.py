"""What each Idempotency-Key was used for.

Belongs here: keeping it durably. Does not: what a repeat answers (routes.py).

draft-ietf-httpapi-idempotency-key-header: the same key with another request is an error. Keys are each
caller's own, and so lie beside the API keys in the door's state: one small file for each, made with its
content or not at all. They are kept for 30 days.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path

from lakehouse.errors import plain
from serving.problems import Problem

_VISIBLE = re.compile(r"[!-~]{1,255}")
_KEPT_SECONDS = 30 * 86_400
_HALF_MADE = ".part"


class Remembered:
    """The keys that were used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file in folder.iterdir():
            with suppress(FileNotFoundError):
                old = time.time() - file.stat().st_mtime > _KEPT_SECONDS
                if old or file.suffix == _HALF_MADE:
                    file.unlink()

    def use(self, caller: str, key: str, tracking_id: str) -> None:
        """Remember the key for this ingest. Raises Problem 422 where it was used for another, 503."""
        try:
            before = self._used(caller, key, tracking_id)
        except OSError as exc:
            raise Problem(503, f"the Idempotency-Key cannot be kept here: {plain(exc)}") from None
        if before != tracking_id:
            raise Problem(
                422, "this Idempotency-Key was used for other content or another dataset; take a new one"
            )

    def _used(self, caller: str, key: str, tracking_id: str) -> str:
        """Return what the key stands for: the given id if it is new."""
        path = self._folder / hashlib.sha256(f"{caller}\0{key}".encode()).hexdigest()
        part = path.with_suffix(f".{secrets.token_hex(8)}{_HALF_MADE}")
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                out.write(tracking_id)
                out.flush()
                os.fsync(out.fileno())
            with suppress(FileExistsError):
                os.link(part, path)
        finally:
            part.unlink(missing_ok=True)
        return path.read_text()


def key_of(headers: list[str]) -> str | None:
    """Return the key of the headers of that name; None where there is none. Raises Problem 400."""
    if not headers:
        return None
    key = headers[0]
    if len(headers) == 1 and len(key) > 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if len(headers) > 1 or not _VISIBLE.fullmatch(key):
        raise Problem(400, "an Idempotency-Key is 1 to 255 visible ASCII characters, given once")
    return key
