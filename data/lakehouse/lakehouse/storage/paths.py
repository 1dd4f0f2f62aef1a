"""Which folders a lake may lie in, and which names lie below a table.

Belongs here: refusing a path before anything is written or read. Does not: addresses of tables (files.py).
"""

from __future__ import annotations

import os
import re
import stat
from urllib.parse import unquote

from lakehouse.errors import SettingsError, plain

# To delta-rs, brackets and bars are a panic, `%20` is a blank, a backslash a slash, and controls are nothing.
# Below `#` and `?` it finds no history. To Polars, a folder with `=` in its name is a partition.
_REFUSED = re.compile(r"[\[\]|\\^=#?\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}")


def refuse_url(url: str) -> None:
    """Raise SettingsError for an address that is neither `s3://` nor a folder.

    It would pass for an empty lake in another place.
    """
    if url.startswith("s3://"):
        if url.strip("/") != "s3:":
            raise SettingsError(
                f"LAKE_URL={url!r} names a bucket, but each layer has one of its own: give `s3://`, and "
                "S3_BUCKET_PREFIX for what their names begin with."
            )
    elif "://" in url:
        raise SettingsError(f"LAKE_URL={url!r} is no place for a lake: give `s3://` or an absolute folder.")


def refuse_path(path: str) -> None:
    """Raise SettingsError for a folder that no table can lie in, by whatever links it is reached.

    delta-rs follows them, and a relative path, before it makes an address of the folder. One that is no
    folder, or that nobody may look into, would pass for an empty lake.
    """
    _refuse(path)
    _refuse(os.path.realpath(path))
    try:
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)
    except FileNotFoundError:  # the first write makes it
        return
    except OSError as exc:
        raise SettingsError(f"the lake's folder {path!r} cannot be opened: {plain(exc)}.") from None
    if not is_folder:
        raise SettingsError(f"the lake's folder {path!r} is no folder. Nothing was written: choose another.")
    if not os.access(path, os.R_OK | os.X_OK):
        raise SettingsError(f"the lake's folder {path!r} may not be read: let the platform's user do it.")


def _refuse(path: str) -> None:
    if found := _REFUSED.search(path):
        raise SettingsError(
            f"the lake's folder {path!r} holds {found[0]!r}, below which no table can lie. Nothing was "
            "written: choose a path without [ ] | \\ ^ = # ? and control characters, and without %-escapes."
        )
    try:
        path.encode()
    except UnicodeEncodeError:
        raise SettingsError(
            f"the lake's folder {path!r} is not UTF-8. Nothing was written: choose another."
        ) from None


def refuse_lake_in_landing(lake: str, landing: str) -> None:
    """Raise SettingsError where files of the lake would be taken for landed ones. Both are folders."""
    folder = unquote(landing.removeprefix("file://")) if landing.startswith("file://") else landing
    place, landed = os.path.realpath(lake), os.path.realpath(folder)
    if os.path.commonpath([place, landed]) == landed:
        raise SettingsError(
            f"the lake's folder {lake!r} lies in landing, {landing!r}: its own files would be taken for "
            "landed ones. Nothing was written: choose folders beside each other."
        )


def is_below(name: str) -> bool:
    """Return whether a file's name is a path below its table: neither absolute, nor a URL, nor out of it."""
    parts = name.split("/")
    return bool(name) and "\0" not in name and "://" not in name and not {"", ".", ".."} & set(parts)
