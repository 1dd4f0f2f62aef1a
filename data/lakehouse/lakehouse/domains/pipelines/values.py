"""Text that means a number, a bool or nothing, as one typed value or as none.

Belongs here: which text means what, and the kind of a text that means something else. Does not: which column
is read how (transforms.py), and what becomes of the rest (rules.py).

Blanks around a text and its case do not count. Text columns, as a name or a place, keep such words.
"""

from __future__ import annotations

import narwhals.stable.v2 as nw

NOTHING = ("null", "none", "nil", "nan", "n/a", "na", "undefined", "-")
TRUE = ("true", "t", "yes", "y", "on", "1", "1.0")  # 1.0: a bool among nulls, as pandas writes it
FALSE = ("false", "f", "no", "n", "off", "0", "0.0")
_BOOLS = tuple(word for word in (*TRUE, *FALSE) if word.isalpha())
_NUMBER = r"^[+-]?[0-9]{1,18}(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$"
_ANY_NUMBER = r"^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
_LARGEST = 1e18


def filled(column: str) -> nw.Expr:
    """The trimmed text, null where it is blank."""
    text = nw.col(column).str.strip_chars()
    return nw.when(text != "").then(text)


def given(column: str) -> nw.Expr:
    """The trimmed text, null where it is blank or a word for nothing."""
    text = nw.col(column).str.strip_chars()
    return nw.when(~_is(text, ("", *NOTHING))).then(text)


def whole(column: str) -> nw.Expr:
    """`<column>_text` as a whole number, fractions rounded half up; null where it is no such number.

    A negative fraction goes down, so that -0.4 stays negative and is refused as such.
    """
    text = nw.col(f"{column}_text")
    digits = nw.when(text.str.contains(r"^[+-]?[0-9]{1,18}$")).then(text).cast(nw.Int64)
    number = nw.when(text.str.contains(_NUMBER)).then(text).cast(nw.Float64)
    number = nw.when((number < _LARGEST) & (number > -_LARGEST)).then(number)
    rounded = nw.when(number < 0).then(number.floor()).otherwise((number + 0.5).floor())
    return nw.coalesce(digits, rounded.cast(nw.Int64))


def truth(column: str) -> nw.Expr:
    """`<column>_text` as a bool; null where it says neither."""
    text = nw.col(f"{column}_text")
    no = nw.when(_is(text, FALSE)).then(nw.lit(False))
    return nw.when(_is(text, TRUE)).then(nw.lit(True)).otherwise(no)


def is_bool(column: str) -> nw.Expr:
    """Whether `<column>_text` is a word for true or false; a digit is a number. Null for null."""
    return _is(nw.col(f"{column}_text"), _BOOLS)


def is_number(column: str) -> nw.Expr:
    """Whether `<column>_text` is a decimal number of any size. Null for null."""
    return nw.col(f"{column}_text").str.contains(_ANY_NUMBER)


def _is(text: nw.Expr, words: tuple[str, ...]) -> nw.Expr:
    return text.str.to_lowercase().is_in(words)
