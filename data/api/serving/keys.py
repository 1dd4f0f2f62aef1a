"""API keys: hashed at rest, compared in constant time, with scopes and an end.

Belongs here: making, listing, revoking and finding keys; `python -m serving.keys` does the first three.
Does not: what a scope opens (access.py).

A key is `odp_<id>_<secret>`; the file keeps the id and the SHA-256 of the whole key. Its secret has 256
random bits, so that no slow hash is needed against guessing.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import hmac
import json
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

SCOPES = {
    "ingest": "send data, and see what became of it",
    "read": "read tables, without personal data",
    "sql": "ask one SELECT over what may be read",
    "share": "read through Delta Sharing",
    "pii": "personal data too, in whatever the other scopes open",
}
_MAGIC = "odp"


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key as it is kept: everything but the key."""

    id: str
    name: str
    sha256: str
    scopes: tuple[str, ...]
    created_at: str
    expires_at: str | None = None

    def expired(self, now: datetime) -> bool:
        """Return whether its time is over."""
        return self.expires_at is not None and now >= datetime.fromisoformat(self.expires_at)


class DamagedKeys(Exception):
    """The file of the keys is there and is none: nobody is let in, and no key is added to it."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path.name} cannot be read as the file of the keys; put a copy of it back, or move it away and "
            "make new keys (`make api-key`)"
        )


class Keys:
    """The keys of one file, read again whenever the file has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[str, Key] = {}

    def find(self, text: str) -> Key | None:
        """Return the key that somebody has shown; None for one that is unknown, revoked or expired."""
        magic, _, rest = text.partition("_")
        name, _, secret = rest.partition("_")
        key = self.all().get(name) if magic == _MAGIC and secret else None
        shown = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        is_it = hmac.compare_digest(shown, key.sha256 if key else "0" * 64)
        return key if key is not None and is_it and not key.expired(datetime.now(UTC)) else None

    def all(self) -> dict[str, Key]:
        """Return the keys by id."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            self._seen, self._keys = None, {}
            return self._keys
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen != self._seen:
            self._keys, self._seen = {key.id: key for key in _read(self.path)}, seen
        return self._keys

    def make(self, name: str, scopes: Sequence[str], *, days: int | None = None) -> str:
        """Add a key and return it; it is told this once."""
        now = datetime.now(UTC)
        identity = secrets.token_hex(4)
        text = f"{_MAGIC}_{identity}_{secrets.token_urlsafe(32)}"
        end = (now + timedelta(days=days)).isoformat(timespec="seconds") if days else None
        key = Key(
            id=identity, name=name, sha256=hashlib.sha256(text.encode()).hexdigest(), scopes=tuple(scopes),
            created_at=now.isoformat(timespec="seconds"), expires_at=end,
        )  # fmt: skip
        with self._alone():
            self._write([*_read(self.path), key])
        return text

    def revoke(self, identity: str) -> bool:
        """Remove a key; return whether there was one."""
        with self._alone():
            before = _read(self.path)
            after = [key for key in before if key.id != identity]
            if len(after) != len(before):
                self._write(after)
        return len(after) != len(before)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(f"{self.path}.lock", os.O_WRONLY | os.O_CREAT, 0o600), "w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            yield

    def _write(self, keys: Sequence[Key]) -> None:
        fresh = self.path.with_name(f".{self.path.name}.fresh")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            json.dump([asdict(key) for key in keys], out, indent=1)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(self.path)


def _read(path: Path) -> list[Key]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return [_key(one) for one in (kept if type(kept) is list else [kept])]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError):
        raise DamagedKeys(path) from None


def _key(kept: dict[str, Any]) -> Key:
    """Return a key of the file. Raises ValueError, TypeError, KeyError for what is none."""
    key = Key(**{**kept, "scopes": tuple(kept["scopes"])})
    texts = (key.id, key.name, key.sha256, key.created_at, *key.scopes)
    if type(kept["scopes"]) is not list or not all(type(text) is str for text in texts):
        raise TypeError
    if key.expires_at is not None and datetime.fromisoformat(key.expires_at).tzinfo is None:
        raise ValueError
    return key


def main(argv: Sequence[str] | None = None) -> int:
    """Do what is asked, and return the exit code: 1 where the file of the keys is damaged."""
    try:
        return _run(argv)
    except DamagedKeys as exc:
        print(f"✗ {exc}", file=sys.stderr)
        return 1


def _run(argv: Sequence[str] | None) -> int:
    """`create --name NAME --scopes read,sql [--days N]`, `list` or `revoke ID`; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="api-key",
        description="Keys of the API. A new one is printed once, and kept as a hash alone.",
        epilog="scopes:\n" + "\n".join(f"  {name:<7} {says}" for name, says in SCOPES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    create = verbs.add_parser("create", help="make a key and print it")
    create.add_argument("--name", required=True, help="whose it is, or what for")
    create.add_argument("--scopes", default="read", help="comma-separated (default read)")
    create.add_argument("--days", type=int, help="after so many days it is refused (default: never)")
    verbs.add_parser("list", help="the keys there are, without their secrets")
    verbs.add_parser("revoke", help="refuse a key from now on").add_argument("id", help="as `list` shows it")
    options = parser.parse_args(argv)
    state = os.environ.get("API_STATE")
    if not state:
        print("✗ API_STATE is not set\n  → make api-key", file=sys.stderr)
        return 2
    keys = Keys(Path(state) / "keys.json")
    if options.verb == "create":
        scopes = [scope.strip() for scope in options.scopes.split(",") if scope.strip()]
        if not scopes or (unknown := sorted(set(scopes) - set(SCOPES))):
            parser.error(f"no such scope: {', '.join(unknown) if scopes else '(none)'}; {', '.join(SCOPES)}")
        if options.days is not None and options.days < 1:
            parser.error("--days is a whole number from 1 on")
        print(keys.make(options.name, scopes, days=options.days))
        return 0
    if options.verb == "revoke":
        found = keys.revoke(options.id)
        print(
            f"revoked {options.id}" if found else f"✗ no key {options.id}",
            file=sys.stdout if found else sys.stderr,
        )
        return 0 if found else 1
    for key in keys.all().values():
        print(f"{key.id}  {','.join(key.scopes):<24} until {key.expires_at or 'revoked':<25}  {key.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
