"""SQL on FHIR v2: each test of the public suite that lies beside the checkout, and their count on the page.

A test passes, fails, or needs FHIRPath that is not supported; the last is a failure unless it is experimental.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lakehouse.domains.clinical.views import run_view
from lakehouse.errors import Unsupported, ViewError

ROOT = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("ODP_SHARED_DATA") or ROOT.parent / "shared" / "data")
SUITE = SHARED / "sql_on_fhir"
PAGE = ROOT / "docs/operations/clinical.md"

pytestmark = pytest.mark.skipif(
    not SUITE.is_dir(), reason=f"no SQL on FHIR suite at {SUITE} (set ODP_SHARED_DATA)"
)


def cases() -> list[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    found = []
    for path in sorted(SUITE.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        found += [(path.stem, test, document["resources"]) for test in document["tests"]]
    return found


CASES = cases()


def canonical(rows: list[dict[str, Any]]) -> list[str]:
    """Rows in any order; 5 and 5.0 are one JSON number, true and 1 are not."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(one) for one in value]
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    return sorted(json.dumps({k: plain(v) for k, v in row.items()}, sort_keys=True) for row in rows)


def outcome(test: dict[str, Any], resources: list[dict[str, Any]]) -> str:
    """Return pass, fail or not supported."""
    try:
        frame = run_view(test["view"], resources)
    except Unsupported:
        return "not supported"
    except ViewError:
        return "pass" if test.get("expectError") else "fail"
    if test.get("expectError"):
        return "fail"
    right = [
        "expect" not in test or canonical(frame.to_dicts()) == canonical(test["expect"]),
        "expectColumns" not in test or frame.columns == test["expectColumns"],
        "expectCount" not in test or frame.height == test["expectCount"],
    ]
    return "pass" if all(right) else "fail"


@pytest.mark.parametrize(
    ("test", "resources"),
    [pytest.param(test, resources, id=f"{name}: {test['title']}") for name, test, resources in CASES],
)
def test_the_suite(test: dict[str, Any], resources: list[dict[str, Any]]) -> None:
    told = outcome(test, resources)
    if told == "not supported" and "shareable" not in test["tags"]:
        pytest.skip("FHIRPath that is not supported")
    assert told == "pass"


def test_the_page_tells_the_result() -> None:
    counted = Counter(
        (name, tag, outcome(test, resources)) for name, test, resources in CASES for tag in test["tags"]
    )
    rows = []
    for name in sorted({name for name, _, _ in CASES}):
        cells = []
        for tag in ("shareable", "experimental"):
            told = [counted[name, tag, one] for one in ("pass", "fail", "not supported")]
            cells.append(" / ".join(map(str, told)) if any(told) else "–")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    page = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"^\| [a-z_]+ \| [\d/ –]+ \| [\d/ –]+ \|$", page, re.MULTILINE) == rows
