"""`python -m lakehouse.seed`: puts files into landing. Safe to run again: what is there already stays.

Belongs here: the sample files, and an upload as a tar on standard input. Does not: reading what has landed.

    sample [--if-empty]   the sample files of every domain
    upload                regular files of a tar on stdin; a file that is there with the same bytes is left
    alone

Where to: LANDING_URL and S3_ENDPOINT, with S3_INGEST_ACCESS_KEY and S3_INGEST_SECRET_KEY where they are set
(the key that may land files), else with S3_ACCESS_KEY and S3_SECRET_KEY.

Exit codes: 0 landed; 1 the store did not answer, or there is no tar; 2 a setting is missing; 3 some files
were refused, all others have landed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import IO

from lakehouse.errors import LakeError, SettingsError, SourceError, plain
from lakehouse.landing import Landing, open_landing
from lakehouse.landing.files import is_listed
from lakehouse.settings import read

SOME_REFUSED = 3


@dataclass
class Landed:
    """What became of the files."""

    new: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    skipped: str = ""

    def describe(self) -> str:
        """One line for people."""
        if self.skipped:
            return self.skipped
        counts = {"landed": self.new, "there already": self.same, "refused": self.refused}
        parts = [f"{len(names)} {word}" for word, names in counts.items() if names]
        return f"files: {', '.join(parts)}" if parts else "no files"


def land(landing: Landing, files: Iterable[tuple[str, bytes]]) -> Landed:
    """Put files, by name. One of a bad name is refused and reported, and stops no other."""
    landed, known = Landed(), {file.name: file for file in landing.list()}
    for name, data in files:
        there = known.get(name)
        if there and there.size == len(data) and there.fingerprint == sha256(data).hexdigest():
            landed.same.append(name)
            continue
        try:
            landing.put(name, data)
        except SourceError as exc:
            landed.refused.append(plain(exc))
        else:
            landed.new.append(name)
    return landed


def sample(landing: Landing, *, if_empty: bool = False) -> Landed:
    """Land the sample files of every domain; with `if_empty` only where nothing has landed yet."""
    if if_empty and landing.list():
        return Landed(skipped="landing holds files already: left alone")
    from lakehouse.registry import sample_files

    return land(landing, sample_files().items())


def from_tar(stream: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield the regular files of a tar as it arrives; links and devices are passed over.

    So are hidden and unfinished files, as they are in a folder: a file manager or an editor leaves them.
    """
    with tarfile.open(fileobj=stream, mode="r|*") as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            counts = is_listed(name) or ".." in name.split("/")
            content = tar.extractfile(member) if member.isreg() and counts else None
            if content is not None:
                yield name, content.read()


def landing_from_env(env: Mapping[str, str] | None = None) -> Landing:
    """Open LANDING_URL with the key that may land files. Raises SettingsError when it is not set."""
    values = os.environ if env is None else env
    url = read(values, "LANDING_URL")
    if not url:
        raise SettingsError("LANDING_URL is not set: run this through `make seed`")
    ingest = read(values, "S3_INGEST_ACCESS_KEY") is not None
    prefix = "S3_INGEST" if ingest else "S3"
    return open_landing(
        url,
        endpoint=read(values, "S3_ENDPOINT"),
        access_key=read(values, f"{prefix}_ACCESS_KEY"),
        secret_key=read(values, f"{prefix}_SECRET_KEY"),
        region=read(values, "S3_REGION") or "us-east-1",
    )


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments, land, return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lakehouse.seed", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("sample", help="land the sample files").add_argument(
        "--if-empty", action="store_true", help="only if nothing has landed yet"
    )
    verbs.add_parser("upload", help="land the files of a tar on stdin")
    args = parser.parse_args(argv)
    try:
        landing = landing_from_env()
        if args.verb == "sample":
            landed = sample(landing, if_empty=args.if_empty)
        else:
            landed = land(landing, from_tar(sys.stdin.buffer))
    except SettingsError as exc:
        print(f"✗ seed: {exc}", file=sys.stderr)
        return 2
    except (LakeError, tarfile.TarError) as exc:
        print(f"✗ seed: {exc}", file=sys.stderr)
        return 1
    for reason in landed.refused:
        print(f"✗ not landed: {reason}", file=sys.stderr)
    print(f"✓ landing: {landed.describe()}")
    return SOME_REFUSED if landed.refused else 0


if __name__ == "__main__":
    sys.exit(main())
