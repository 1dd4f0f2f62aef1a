"""The page: what stands on it, and what must not.

Belongs here: pages as text. Does not: what a browser makes of them (tests/browser/test_catalog_page.py).
"""

from __future__ import annotations

from fastapi.testclient import TestClient

from lakehouse.registry import contracts


def test_each_table_has_a_page(client: TestClient) -> None:
    first = client.get("/")
    assert first.status_code == 200
    for table in contracts():
        assert f'href="/tables/{table.path}"' in first.text
        page = client.get(f"/tables/{table.path}")
        assert page.status_code == 200, page.text
        for column in table.columns:
            assert f"<code>{column.name}</code>" in page.text
