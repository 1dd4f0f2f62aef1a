"""Line charts as SVG, the same bytes for the same figures.

Belongs here: drawing. Does not: what is drawn (report.py). No plotting library: its output changes with its
version, and a chart of a few lines is two dozen elements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT = 720, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 190, 36, 46
# Okabe and Ito's colours, which the colour-blind can tell apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999", "#7f3c8d")
Line = Sequence[tuple[float, float]]


def chart(title: str, x: str, y: str, lines: Mapping[str, Line], *, logarithmic: bool = True) -> str:
    """Return the chart of named lines of (x, y); the x axis is always logarithmic."""
    points = [point for line in lines.values() for point in line]
    if not points:
        raise ValueError(f"{title}: nothing to draw")
    across = _Axis([at for at, _ in points], _LEFT, _WIDTH - _RIGHT, logarithmic=True)
    up = _Axis([at for _, at in points], _HEIGHT - _BOTTOM, _TOP, logarithmic=logarithmic)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="11" role="img" aria-label="{escape(title)}">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
        *(_rule(0, at, value) for value, at in up.ticks()),
        *(_rule(1, at, value) for value, at in across.ticks()),
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) // 2}" y="{_HEIGHT - 8}" text-anchor="middle">',
        f"{escape(x)}</text>",
        f'<text transform="translate(14 {(_TOP + _HEIGHT - _BOTTOM) // 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(y)}</text>",
    ]
    for number, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        placed = [(across.place(a), up.place(b)) for a, b in line]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in placed)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in placed]
        at = _TOP + 10 + 18 * number
        parts.append(f'<rect x="{_WIDTH - _RIGHT + 14}" y="{at - 8}" width="12" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{_WIDTH - _RIGHT + 32}" y="{at - 2}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


class _Axis:
    def __init__(self, values: Sequence[float], low: float, high: float, *, logarithmic: bool) -> None:
        self.logarithmic, self.low, self.high = logarithmic, low, high
        if logarithmic:
            self.first = math.floor(math.log10(min(values)) + 1e-9)
            self.last = max(math.ceil(math.log10(max(values)) - 1e-9), self.first + 1)
        else:
            step = 10 ** math.floor(math.log10(max(*values, 1e-9)))
            self.first, self.last = 0, math.ceil(max(values) / step) * step

    def place(self, value: float) -> float:
        at = math.log10(value) if self.logarithmic else value
        return self.low + (self.high - self.low) * (at - self.first) / (self.last - self.first)

    def ticks(self) -> list[tuple[str, float]]:
        if self.logarithmic:
            values = [10.0**power for power in range(int(self.first), int(self.last) + 1)]
        else:
            values = [self.last * part / 4 for part in range(5)]
        return [(_short(value), self.place(value)) for value in values]


def _rule(vertical: int, at: float, text: str) -> str:
    if vertical:
        return (
            f'<line x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{_HEIGHT - _BOTTOM}" stroke="#e5e5e5"/>'
            f'<text x="{at:.1f}" y="{_HEIGHT - _BOTTOM + 14}" text-anchor="middle">{text}</text>'
        )
    return (
        f'<line x1="{_LEFT}" y1="{at:.1f}" x2="{_WIDTH - _RIGHT}" y2="{at:.1f}" stroke="#e5e5e5"/>'
        f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{text}</text>'
    )


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g} {letter}"
    return f"{value:g}"
