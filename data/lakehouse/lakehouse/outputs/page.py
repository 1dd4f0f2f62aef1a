"""The quality report as one page that needs nothing else: no script, no font, no address.

Belongs here: HTML, CSS and SVG. Does not: what is reported (quality.py).

Every plot stands beside the figures that it draws, so that who does not see it misses nothing; no state is
told by colour alone. Light and dark follow the reader's setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from lakehouse.contracts import LAYERS
from lakehouse.contracts.encoding import size_text

if TYPE_CHECKING:
    from lakehouse.outputs.quality import Quality, RunRows, TableQuality

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --page: #fff; --bar:
#0969da;
  --good: #116329; --bad: #a40e26; --warn: #7d4e00; --s0: #8a4600; --s1: #57606a; --s2: #9a6700; --s3:
  #a40e26; --s4: #0969da; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --page:
#0d1117;
  --bar: #58a6ff; --good: #56d364; --bad: #ff7b72; --warn: #e3b341; --s0: #f0883e; --s1: #b1bac4; --s2:
  #e3b341; --s3: #ff7b72; --s4: #58a6ff; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p, caption { color: var(--soft); } caption { text-align: left; padding-bottom: .4rem; }
div.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: left; vertical-align: middle;
} td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
svg { display: block; max-width: 100%; height: auto; } svg text { fill: var(--ink); font: 12px system-ui,
sans-serif; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_BAR_WIDTH, _BAR_HEIGHT = 220, 12
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _EDGE = 720, 220, 80, 120, 24
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 4")


def page(found: Quality) -> str:
    """Return the page."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><title>Data quality</title>',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head><body><main>",
        f"<h1>Data quality</h1><p>As of {_time(found.as_of)}. {_summary(found)}</p>",
        *_checks(found.tables),
        *_rejects(found),
        *_freshness(found.tables),
        *_volumes(found.tables),
        *_runs(found.runs),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _summary(found: Quality) -> str:
    held = sum(table.is_held for table in found.tables)
    stale = sum(table.is_fresh is False for table in found.tables)
    refused = sum(table.open_rejects for table in found.tables)
    said = [
        _state(not (found.problems or found.unmade), "every check holds", _failed(found)),
        _state(not held, "no table is held", f"{held} tables are held", bad="warn"),
        _state(not stale, "no table is too old", f"{stale} tables are too old", bad="warn"),
        f"{refused:,} rows and {_known(found.refused_files)} files are refused",
    ]
    return " · ".join(said)


def _failed(found: Quality) -> str:
    told = [(found.problems, "checks do not hold"), (found.unmade, "checks could not be made")]
    return ", ".join(f"{number} {what}" for number, what in told if number)


def _known(count: int | None) -> str:
    return "an unknown number of" if count is None else f"{count:,}"


def _state(holds: bool, good: str, wrong: str, *, bad: str = "bad") -> str:
    mark = {"bad": "✗", "warn": "!"}[bad]
    return f'<span class="good">✓ {good}</span>' if holds else f'<span class="{bad}">{mark} {wrong}</span>'


def _checks(tables: Sequence[TableQuality]) -> Iterable[str]:
    names = sorted({name for table in tables for name in table.checks})
    rows = [
        [_cell(table.table), *(_check(table.checks.get(name, ...)) for name in names),
         _state(not table.is_held, "free", "held", bad="warn")]
        for table in tables
    ]  # fmt: skip
    yield from _table("Checks", "Made when this report was.", ["table", *names, "held"], rows, numbers=())


def _check(passed: object) -> str:
    if passed is ...:
        return "–"
    if passed is None:
        return '<span class="warn">! not made</span>'
    return _state(bool(passed), "holds", "does not hold")


def _rejects(found: Quality) -> Iterable[str]:
    counted = [(t.table, rule, rows) for t in found.tables for rule, rows in t.rejects.items()]
    most = max((rows for _, _, rows in counted), default=0)
    rows = [[_cell(table), _cell(rule), f"{count:,}", _bar(count, most)] for table, rule, count in counted]
    says = "Open rejects. A row that broke two rules counts for both; `odp quarantine show` tells more."
    yield from _table("Refused rows by rule", says, ["table", "rule", "rows", ""], rows, numbers=(2,))


def _freshness(tables: Sequence[TableQuality]) -> Iterable[str]:
    rows = []
    for table in (one for one in tables if one.age_seconds is not None):
        most, age = table.max_age_seconds, table.age_seconds or 0
        state = "no limit" if most is None else _state(bool(table.is_fresh), "fresh", "too old", bad="warn")
        drawn = "" if most is None else _bar(age, max(most, age), mark=most)
        limit = "–" if most is None else _duration(most)
        rows.append([_cell(table.table), _time(table.changed_at), _duration(age), limit, state, drawn])
    says = "The time since rows of the table changed; the line is the limit of its contract."
    head = ["table", "changed", "age", "limit", "state", ""]
    yield from _table("Freshness", says, head, rows, numbers=(2, 3))


def _volumes(tables: Sequence[TableQuality]) -> Iterable[str]:
    most = max((table.rows or 0 for table in tables), default=0)
    rows = [
        [
            _cell(t.table),
            "–" if t.rows is None else f"{t.rows:,}",
            _size(t.size_bytes),
            _bar(t.rows or 0, most),
        ]
        for t in tables
    ]
    yield from _table(
        "Rows by table", "As they are now.", ["table", "rows", "size", ""], rows, numbers=(1, 2)
    )
    layers = [layer for layer in LAYERS if any(table.layer == layer for table in tables)]
    sums = {layer: sum(table.rows or 0 for table in tables if table.layer == layer) for layer in layers}
    most = max(sums.values(), default=0)
    rows = [[layer, f"{count:,}", _bar(count, most)] for layer, count in sums.items()]
    yield from _table("Rows by layer", "As they are now.", ["layer", "rows", ""], rows, numbers=(1,))


def _runs(runs: Sequence[RunRows]) -> Iterable[str]:
    layers = [layer for layer in LAYERS if any(layer in run.rows for run in runs)]
    if runs:
        yield f"<h2>Rows by run</h2>{_curves(runs, layers)}"
    rows = [
        [_cell(run.run[:8]), _time(run.at), *(f"{run.rows.get(layer, 0):,}" for layer in layers)]
        for run in reversed(runs)
    ]
    numbers = range(2, 2 + len(layers))
    head, says = ["run", "ended", *layers], "Rows of each layer as the run left them, the newest first."
    yield from _table("" if runs else "Rows by run", says, head, rows, numbers=tuple(numbers))


def _table(
    title: str, says: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int]
) -> Iterable[str]:
    if title:
        yield f"<h2>{title}</h2>"
    if not rows:
        yield "<p>None.</p>"
        return
    kind = ['class="n"' if place in numbers else "" for place in range(len(head))]
    names = "".join(
        f'<th scope="col" {k}>{escape(name)}</th>' if name else '<td aria-hidden="true"></td>'
        for name, k in zip(head, kind, strict=True)
    )
    yield f'<div class="wide"><table><caption>{escape(says)}</caption><thead><tr>{names}</tr></thead><tbody>'
    for row in rows:
        first, *others = (f"{k}>{cell}" for k, cell in zip(kind, row, strict=True))
        yield f'<tr><th scope="row" {first}</th>{"".join(f"<td {cell}</td>" for cell in others)}</tr>'
    yield "</tbody></table></div>"


def _bar(value: float, most: float, *, mark: float | None = None) -> str:
    """Return a bar. Its number stands in the same row, so that a reader of the page aloud passes it over."""
    width = _BAR_WIDTH * value / most if most else 0
    line = ""
    if mark is not None and most:
        at = min(_BAR_WIDTH * mark / most, _BAR_WIDTH - 1)
        line = f'<path d="M{at:.1f} 0V{_BAR_HEIGHT}" stroke="var(--ink)" stroke-width="2"/>'
    drawn = f'<rect width="{width:.1f}" height="{_BAR_HEIGHT}" rx="2" fill="var(--bar)"/>' if value else ""
    size = f'width="{_BAR_WIDTH}" height="{_BAR_HEIGHT}" viewBox="0 0 {_BAR_WIDTH} {_BAR_HEIGHT}"'
    return f'<svg aria-hidden="true" {size}>{drawn}{line}</svg>'


def _curves(runs: Sequence[RunRows], layers: Sequence[str]) -> str:
    """Return one line a layer, told apart by dashes and its name at the end."""
    most = max((run.rows.get(layer, 0) for run in runs for layer in layers), default=0) or 1
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(runs) - 1, 1)
    height = _HEIGHT - 2 * _EDGE

    def y(rows: int) -> float:
        return _EDGE + height * (1 - rows / most)

    parts = [
        f'<path d="M{_LEFT} {y(rows):.1f}H{_WIDTH - _RIGHT}" stroke="var(--line)"/>'
        f'<text x="{_LEFT - 8}" y="{y(rows) + 4:.1f}" text-anchor="end">{rows:,}</text>'
        for rows in dict.fromkeys((0, most // 2, most))
    ]
    ends = _apart([y(runs[-1].rows.get(layer, 0)) for layer in layers])
    for number, (layer, end) in enumerate(zip(layers, ends, strict=True)):
        points = [(_LEFT + step * i, y(run.rows.get(layer, 0))) for i, run in enumerate(runs)]
        colour, dashes = f"var(--s{LAYERS.index(layer)})", _DASHES[number]
        drawn = " ".join(f"{x:.1f},{at:.1f}" for x, at in points)
        line = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"'
        parts.append(f'<polyline points="{drawn}" {line}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{at:.1f}" r="2.5" fill="{colour}"/>' for x, at in points]
        x, rows = points[-1][0] + 8, runs[-1].rows.get(layer, 0)
        parts.append(f'<text x="{x:.1f}" y="{end + 4:.1f}">{layer} {rows:,}</text>')
    says = f"Rows of each layer over the last {len(runs)} runs; the table below has the figures."
    return (
        f'<svg role="img" aria-labelledby="runs-title" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}"><title id="runs-title">{says}</title>{"".join(parts)}</svg>'
    )


def _apart(places: Sequence[float], least: float = 14) -> list[float]:
    """Return the heights of labels, moved so that none lies over another."""
    moved = list(places)
    before = -least
    for number in sorted(range(len(places)), key=lambda i: places[i]):
        before = moved[number] = max(places[number], before + least)
    return moved


def _cell(text: str) -> str:
    return escape(text)


def _time(at: object) -> str:
    return "–" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _duration(seconds: int) -> str:
    for length, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.1f} {name}"
    return f"{seconds} s"


def _size(size: float | None) -> str:
    return "–" if size is None else size_text(size)
