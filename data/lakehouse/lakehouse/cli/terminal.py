"""Text on its way to a terminal or a pipe: what comes from data is shown, never obeyed.

Belongs here: escaping, printing. Does not: tables and JSON (output.py). Nothing heavy is imported.
"""

from __future__ import annotations

import json
import re
import sys
from unicodedata import category

_NOT_IN_JSON = re.compile(r"[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]")


def say(text: str, *, error: bool = False) -> None:
    """Print lines of text, to standard error if it is an `error`. Control characters become escapes."""
    print("\n".join(map(printable, text.split("\n"))), file=sys.stderr if error else sys.stdout)


def printable(text: str) -> str:
    """Return the text with every character that a terminal obeys, or does not show, as an escape."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or category(c) == "Zs" else c.encode("unicode_escape").decode() for c in text
    )


def printable_json(text: str) -> str:
    """Return a JSON document of the same values, with what JSON leaves unescaped of these characters."""
    return _NOT_IN_JSON.sub(lambda found: json.dumps(found[0])[1:-1], text)
