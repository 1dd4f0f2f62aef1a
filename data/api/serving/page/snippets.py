"""Code that reads a table, for programs and other tools.

Belongs here: the texts; each is run by a test against a running door. Does not: the calls they make.
"""

from __future__ import annotations

from dataclasses import dataclass

_ASK = """\
import os
import urllib.request

request = urllib.request.Request(
    "{url}/data/{path}?format=parquet",
    headers={{"Authorization": f"Bearer {{os.environ['ODP_KEY']}}"}},
)
"""
_POLARS = (
    """\
import io
"""
    + _ASK
    + """\
with urllib.request.urlopen(request) as answer:
    rows = pl.read_parquet(io.BytesIO(answer.read()))
print(rows)
"""
).replace("import urllib.request\n", "import urllib.request\n\nimport polars as pl\n", 1)
_PANDAS = """\
import os

import pandas as pd

rows = pd.read_parquet(
    "{url}/data/{path}?format=parquet",
    storage_options={{"Authorization": f"Bearer {{os.environ['ODP_KEY']}}"}},
)
print(rows)
"""
_DUCKDB = (
    _ASK.replace("import urllib.request\n", "import urllib.request\n\nimport duckdb\n", 1)
    + """\
with urllib.request.urlopen(request) as answer, open("{name}.parquet", "wb") as file:
    file.write(answer.read())
print(duckdb.read_parquet("{name}.parquet"))
"""
)
_CURL = """\
curl --fail -H "Authorization: Bearer $ODP_KEY" "{url}/data/{path}?format=csv&limit=10"
"""
_LIBRARY = """\
from lakehouse import open_lake
from lakehouse.registry import contracts

table = next(one for one in contracts() if one.path == "{path}")
print(open_lake().store.scan(table).head(10).collect())
"""
_SHARING = """\
import json
import os

import delta_sharing

profile = {{
    "shareCredentialsVersion": 1,
    "endpoint": "{url}/delta-sharing",
    "bearerToken": os.environ["ODP_KEY"],
}}
with open("odp.share", "w") as file:
    json.dump(profile, file)
print(delta_sharing.load_as_pandas("odp.share#odp.{layer}.{name}"))
"""
_POWER_BI = """\
Get data → Delta Sharing
Delta Sharing Server URL: {url}/delta-sharing
Authentication: Key → a key with the scope share
Navigator: odp → {layer} → {name}
"""


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """One way to read a table. `language` is python, sh or text; `scopes` are those that its key needs."""

    name: str
    title: str
    language: str
    needs: str
    code: str


def snippets(layer: str, name: str, *, url: str, pii: bool) -> list[Snippet]:
    """Return ways to read a table of the door at `url`. Shared files cannot be masked, so that tables with
    personal data need the scope `pii` there.
    """
    read = "ODP_KEY holds a key with the scope read."
    share = "ODP_KEY holds a key with the scope share"
    share += ", and pii: shared files cannot be masked." if pii else "."
    made = (
        ("polars", "Python: Polars", "python", read, _POLARS),
        ("pandas", "Python: pandas", "python", read, _PANDAS),
        ("duckdb", "Python: DuckDB", "python", read, _DUCKDB),
        ("curl", "curl", "sh", read, _CURL),
        ("sharing", "Delta Sharing: pandas, Spark", "python", share, _SHARING),
        (
            "power-bi",
            "Delta Sharing: Power BI",
            "text",
            share.replace("ODP_KEY holds", "It takes"),
            _POWER_BI,
        ),
        ("library", "Python: the library, personal data too", "python", "Type it in `make shell`.", _LIBRARY),
    )
    return [
        Snippet(
            name=short, title=title, language=language, needs=needs,
            code=code.format(url=url, path=f"{layer}/{name}", layer=layer, name=name),
        )
        for short, title, language, needs, code in made
    ]  # fmt: skip
