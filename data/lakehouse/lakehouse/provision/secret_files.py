"""Hands the secrets of `.env` out as files, to each consumer its own: the first thing the stack runs.

Belongs here: reading `.env`, refusing empty secrets, writing the files. Does not: making secrets (`make
start` does), or anything that needs a package: compose.yml runs this file alone, with `python -I -S`.

    secret_files.py --from FILE CONSUMER=VARIABLE[,VARIABLE...] ...

writes OUT/CONSUMER/variable (lower case, 0444) for each, and removes what no longer belongs there. Compose
can give a secret to a read-only container only as a file of the host, with the host's owner and mode; `.env`
is 0600 and its owner's. So one container that may read it writes a volume per consumer, which mounts it
read-only. A variable with a question mark may be empty.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")
PLACEHOLDERS = frozenset(
    {"change-me", "change_me", "changeme", "generated", "password", "placeholder", "secret", "todo"}
)


class SecretsError(Exception):
    """No file was written: which secrets are missing, and what to do."""


def parse(text: str) -> dict[str, str]:
    """Return the variables of a `.env`: comments, `export`, quotes and CRLF as Compose takes them."""
    return {match[1]: unquote(match[2]) for line in text.splitlines() if (match := LINE.match(line))}


def unquote(value: str) -> str:
    """Return a value without its quotes, or without the comment behind it."""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return "" if value.startswith("#") else re.sub(r"\s+#.*$", "", value)


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
    return sorted(name for name in names if values.get(name, "").lower() in PLACEHOLDERS | {""})


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
        count = hand_out(parse(args.source.read_text(encoding="utf-8")), consumers, args.out)
    except (SecretsError, OSError) as exc:
        print(f"✗ secrets: {exc}", file=sys.stderr)
        return 1
    print(f"✓ secrets: {count} files for {len(consumers)} services")
    return 0


if __name__ == "__main__":
    sys.exit(main())
