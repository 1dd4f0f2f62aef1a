"""The form of a `.env`: read as Compose reads it.

Belongs here: lines, quotes, comments, and the words that count as no secret. Does not: which variables there
are, or writing the file (ops/scripts/odpctl/dotenv.py). Standard library only: the scripts import it on the
host, and secret_files.py in the image, before any package.
"""

import re
from collections.abc import Iterable, Mapping

LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")
PLACEHOLDERS = frozenset(
    {"change-me", "change_me", "changeme", "generated", "password", "placeholder", "secret", "todo"}
)


def parse(text: str) -> dict[str, str]:
    """Return the variables of a `.env`: comments, `export`, quotes and CRLF as Compose takes them."""
    return dict(filter(None, map(assignment, text.splitlines())))


def assignment(line: str) -> tuple[str, str] | None:
    """Return the name and the value of a line; None for one that sets nothing."""
    match = LINE.match(line)
    return (match[1], unquote(match[2])) if match else None


def unquote(value: str) -> str:
    """Return a value without its quotes, or without the comment behind it."""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return "" if value.startswith("#") else re.sub(r"\s+#.*$", "", value)


def without_value(values: Mapping[str, str], names: Iterable[str]) -> list[str]:
    """Return the names that have no value, or a word everybody knows."""
    return [name for name in names if values.get(name, "").lower() in PLACEHOLDERS | {""}]
