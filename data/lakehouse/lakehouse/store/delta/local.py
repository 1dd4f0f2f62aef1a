"""Delta tables in folders whose path is not the same as a URL.

Belongs here: telling data files by their path. Does not: reading them, or which paths are refused (paths.py).

delta-rs tells the files of a local table under their folder as a URL writes it (`with%20blank`), and Polars
looks for them there. Until both agree (not with deltalake 1.6 and Polars 2.1), a handle says the path.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from deltalake import DeltaTable

_FILE = "file://"


class LocalTable(DeltaTable):
    """A handle that tells the files of a local table by their paths."""

    @property
    def table_uri(self) -> str:
        """The table's address; of a local one, its path."""
        uri = str(super().table_uri)
        return unquote(uri.removeprefix(_FILE)) if uri.startswith(_FILE) else uri

    def file_uris(self, *args: Any, **options: Any) -> list[str]:
        """The addresses of the data files; of local ones, their paths."""
        found = super().file_uris(*args, **options)
        uri = str(super().table_uri)
        escaped = uri.removeprefix(_FILE)
        if not uri.startswith(_FILE) or (root := unquote(escaped)) == escaped:
            return found
        return [root + one.removeprefix(escaped) if one.startswith(escaped) else one for one in found]
