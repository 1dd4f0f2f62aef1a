"""Hands the secrets of `.env` out as files, to each consumer its own: the first thing the stack runs.

Belongs here: refusing empty secrets, writing the files. Does not: the form of `.env` (envfile.py), making
secrets (`make start` does), or anything that needs a package: compose.yml runs it with `python -E -s -S`,
which has this folder and the standard library alone.

    secret_files.py --from FILE CONSUMER=VARIABLE[,VARIABLE...] ...

writes OUT/CONSUMER/variable (lower case, 0444) for each, and removes what no longer belongs there. Compose
can give a secret to a read-only container only as a file of the host, with the host's owner and mode; `.env`
is 0600 and its owner's. So one container that may read it writes a volume per consumer, which mounts it
read-only. A variable with a question mark may be empty.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import envfile


class SecretsError(Exception):
    """No file was written: which secrets are missing, and what to do."""


def wanted(grants: Iterable[str]) -> dict[str, list[str]]:
    """Return the variables of each consumer from `CONSUMER=A,B` arguments; a consumer may come twice."""
    consumers: dict[str, list[str]] = {}
    for grant in grants:
        consumer, _, variables = grant.partition("=")
        consumers.setdefault(consumer, []).extend(variables.split(","))
    return consumers


def missing(values: Mapping[str, str], consumers: Mapping[str, list[str]]) -> list[str]:
    """Return the needed variables that are empty, or that hold a word everybody knows."""
    names = {name for names in consumers.values() for name in names if not name.endswith("?")}
    return envfile.without_value(values, sorted(names))


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Make `folder` hold exactly these files, each replaced in one step: no reader sees half of one."""
    for name, value in files.items():
        new = folder / f".{name}.new"
        new.write_text(value, encoding="utf-8")
        new.chmod(0o444)
        os.replace(new, folder / name)
    for path in folder.iterdir():
        if path.name not in files:
            path.unlink()


def hand_out(values: Mapping[str, str], consumers: Mapping[str, list[str]], out: Path) -> int:
    """Write every consumer's files below `out`; return how many. Raises SecretsError before the first one."""
    if empty := missing(values, consumers):
        raise SecretsError(
            f"no value in .env for {', '.join(empty)}: run `make start`, which generates what is missing"
        )
    for consumer, variables in consumers.items():
        names = [variable.removesuffix("?") for variable in variables]
        write(out / consumer, {name.lower(): values.get(name, "") for name in names})
    return sum(map(len, consumers.values()))


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments, hand out, return the exit code."""
    parser = argparse.ArgumentParser(description="Hand the secrets of .env out as files.")
    parser.add_argument("--from", dest="source", type=Path, required=True, help="the .env")
    parser.add_argument("--out", type=Path, default=Path("/out"), help="where each consumer has a folder")
    parser.add_argument("grants", nargs="+", metavar="CONSUMER=VARIABLE,…")
    args = parser.parse_args(argv)
    consumers = wanted(args.grants)
    try:
        count = hand_out(envfile.parse(args.source.read_text(encoding="utf-8")), consumers, args.out)
    except (SecretsError, OSError) as exc:
        print(f"✗ secrets: {exc}", file=sys.stderr)
        return 1
    print(f"✓ secrets: {count} files for {len(consumers)} services")
    return 0


if __name__ == "__main__":
    sys.exit(main())
