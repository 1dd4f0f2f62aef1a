"""What a sensor takes for news: other bytes under a name, also of the same size and time."""

from __future__ import annotations

import os
from pathlib import Path

from lakehouse.landing import open_landing
from orchestration.listing import fingerprint


def test_other_bytes_of_the_same_size_and_time_change_a_listing(tmp_path: Path) -> None:
    landing = open_landing(str(tmp_path))

    def put(content: bytes) -> str:
        landing.put("s/a", content)
        os.utime(tmp_path / "s" / "a", (1, 1))
        return fingerprint(landing.list())

    first = put(b"1")
    assert fingerprint(landing.list()) == first
    assert put(b"2") != first
