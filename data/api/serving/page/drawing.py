"""Where the parts of a picture stand, in pixels; the templates draw them.

Belongs here: geometry. Does not: colours (the style sheet), or what is drawn (views.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

BOX_WIDTH, BOX_HEIGHT = 184, 38
_GAP_X, _GAP_Y, _EDGE = 56, 10, 4
_MOST_IN_COLUMN = 12
_BAR_AREA_HEIGHT, _AXIS = 150, 26
_CHART_WIDTH = 640
_MOST_LABEL = 14  # characters of a label that are drawn
_CHARACTER, _BETWEEN = 6.7, 4.0  # the widest a digit or letter of 11 pixels is, and the gap


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: its place, and what it stands for."""

    x: float
    y: float
    width: float
    height: float
    label: str
    value: str
    is_labelled: bool


@dataclass(frozen=True, kw_only=True)
class Bars:
    """A bar chart from left to right. `top` is the largest value, as text."""

    width: int
    height: int
    base: float
    top: str
    bars: Sequence[Bar]


def bars(points: Sequence[tuple[str, float, str]]) -> Bars:
    """Place a bar for each (label, value, value as text); a value below 0 is drawn as 0."""
    most = max((value for _, value, _ in points), default=0.0) or 1.0
    step = _CHART_WIDTH / max(len(points), 8)
    widest = max((len(label[:_MOST_LABEL]) for label, _, _ in points), default=0) * _CHARACTER + _BETWEEN
    every = max(1, ceil(len(points) / 6), ceil(widest / step))  # labels that do not touch each other
    last = len(points) - 1
    placed = []
    for number, (label, value, text) in enumerate(points):
        height = max(2.0 if value > 0 else 0.0, _BAR_AREA_HEIGHT * max(value, 0.0) / most)
        placed.append(
            Bar(
                x=round(number * step + step * 0.14, 1), y=round(16 + _BAR_AREA_HEIGHT - height, 1),
                width=round(step * 0.72, 1), height=round(height, 1), label=label, value=text,
                is_labelled=(last - number) % every == 0,
            )
        )  # fmt: skip
    top = max(points, key=lambda point: point[1])[2] if points else ""
    return Bars(
        width=_CHART_WIDTH, height=16 + _BAR_AREA_HEIGHT + _AXIS, base=16.0 + _BAR_AREA_HEIGHT, top=top,
        bars=placed,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Box:
    """A table in a lineage. Without `path` it stands for `name` others that are not drawn."""

    path: str | None
    layer: str
    name: str
    x: int
    y: int
    is_here: bool = False


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Boxes in columns from the sources on the left, and the curves between them."""

    width: int
    height: int
    boxes: Sequence[Box]
    curves: Sequence[str]


def lineage(here: str, above: Mapping[str, Sequence[str]]) -> Lineage:
    """Place a table between all that it is made of and all that is made of it.

    `above` names of each table those that it is made of.
    """
    below: dict[str, list[str]] = {}
    for path, sources in above.items():
        for source in sources:
            below.setdefault(source, []).append(path)
    ranks = {here: 0}
    ranks |= {path: -far for path, far in _distances(here, lambda path: above.get(path, ())).items()}
    ranks |= _distances(here, lambda path: below.get(path, ()))
    columns: dict[int, list[str]] = {}
    for path in [*dict.fromkeys((*below, *above)), here]:
        if path in ranks and path not in columns.get(ranks[path], ()):
            columns.setdefault(ranks[path], []).append(path)
    boxes, places, first = [], {}, min(columns)
    drawn = {rank: _cut(paths) for rank, paths in columns.items()}
    most = max(len(kept) + bool(rest) for kept, rest in drawn.values())
    height = most * (BOX_HEIGHT + _GAP_Y) - _GAP_Y + 2 * _EDGE
    for rank, (kept, rest) in sorted(drawn.items()):
        x = _EDGE + (rank - first) * (BOX_WIDTH + _GAP_X)
        tall = (len(kept) + bool(rest)) * (BOX_HEIGHT + _GAP_Y) - _GAP_Y
        for number, path in enumerate(kept):
            y = (height - tall) // 2 + number * (BOX_HEIGHT + _GAP_Y)
            layer, _, name = path.partition("/")
            boxes.append(Box(path=path, layer=layer, name=name, x=x, y=y, is_here=path == here))
            places[path] = (x, y + BOX_HEIGHT // 2)
        if rest:
            y = (height - tall) // 2 + len(kept) * (BOX_HEIGHT + _GAP_Y)
            boxes.append(Box(path=None, layer="", name=str(rest), x=x, y=y))
    width = 2 * _EDGE + len(columns) * (BOX_WIDTH + _GAP_X) - _GAP_X
    return Lineage(width=width, height=height, boxes=boxes, curves=_curves(above, places))


def _curves(above: Mapping[str, Sequence[str]], places: Mapping[str, tuple[int, int]]) -> list[str]:
    found = []
    for path, sources in above.items():
        for source in sources:
            if path in places and source in places:
                (x1, y1), (x2, y2) = places[source], places[path]
                x1 += BOX_WIDTH
                middle = (x2 - x1) // 2
                found.append(f"M{x1} {y1}C{x1 + middle} {y1} {x2 - middle} {y2} {x2} {y2}")
    return found


def _cut(paths: Sequence[str]) -> tuple[Sequence[str], int]:
    if len(paths) <= _MOST_IN_COLUMN:
        return paths, 0
    return paths[: _MOST_IN_COLUMN - 1], len(paths) - _MOST_IN_COLUMN + 1


def _distances(start: str, following: Callable[[str], Sequence[str]]) -> dict[str, int]:
    """Return the longest way from `start` to each that can be come to; tables have no circles."""
    found: dict[str, int] = {}
    waiting = [(start, 0)]
    while waiting:
        path, far = waiting.pop()
        for other in following(path):
            if found.get(other, 0) < far + 1:
                found[other] = far + 1
                waiting.append((other, far + 1))
    return found
