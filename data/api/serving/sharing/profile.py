"""`python -m serving.sharing.profile`: a key, in the file that a client of Delta Sharing reads.

Belongs here: that file. Does not: keys of other kinds (serving.keys).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from lakehouse.errors import LakeError
from serving.keys import DamagedKeys, Keys
from serving.settings import ServingSettings

_VERSION = 1  # of the file's format


def profile(keys: Keys, name: str, *, endpoint: str, pii: bool = False, days: int | None = None) -> str:
    """Make a key and return the profile that holds it, as JSON. It is told this once."""
    scopes = ["share", "pii"] if pii else ["share"]
    text = keys.make(name, scopes, days=days)
    key = keys.find(text)
    found: dict[str, object] = {
        "shareCredentialsVersion": _VERSION, "endpoint": endpoint, "bearerToken": text,
    }  # fmt: skip
    if key is not None and key.expires_at is not None:
        found["expirationTime"] = key.expires_at.replace("+00:00", "Z")
    return json.dumps(found, indent=1)


def main(argv: Sequence[str] | None = None) -> int:
    """`[--name NAME] [--days N] [--pii]`; return the exit code: 0, or 2 when a setting is wrong."""
    parser = argparse.ArgumentParser(
        prog="share-profile",
        description="Make a key for Delta Sharing and print its profile; keep it as odp.share.",
    )
    parser.add_argument("--name", default="delta sharing", help="whose it is, or what for")
    parser.add_argument("--days", type=int, help="after so many days it is refused (default: never)")
    parser.add_argument("--pii", action="store_true", help="tables with personal data too")
    options = parser.parse_args(argv)
    if options.days is not None and not 1 <= options.days <= 36_500:
        parser.error("--days is a whole number from 1 to 36500")
    try:
        settings = ServingSettings.from_env()
    except LakeError as exc:
        print(f"✗ {exc}", file=sys.stderr)
        return 2
    try:
        made = profile(
            Keys(settings.state / "keys.json"), options.name,
            endpoint=f"{settings.public_url}/delta-sharing/", pii=options.pii, days=options.days,
        )  # fmt: skip
    except DamagedKeys as exc:
        print(f"✗ {exc}", file=sys.stderr)
        return 1
    print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
