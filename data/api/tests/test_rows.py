from fastapi.testclient import TestClient


def test_a_table_is_read(client: TestClient) -> None:
    answer = client.get("/catalog")
    assert answer.status_code == 200
    for card in answer.json()["tables"]:
        rows = client.get(f"/data/{card['table']}", params={"limit": 2})
        assert rows.status_code == 200, rows.text
