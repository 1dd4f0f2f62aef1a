"""Opening a landing place by its URL.

Belongs here: the factory over both roots. Does not: the roots themselves.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from lakehouse.errors import SettingsError
from lakehouse.landing.files import Landing
from lakehouse.settings import Settings


def open_landing(
    url: str,
    *,
    endpoint: str | None = None,
    access_key: str | None = None,
    secret_key: str | None = None,
    region: str | None = "us-east-1",
) -> Landing:
    """Open a local folder (created if missing) or `s3://bucket[/prefix]`, without sending a request yet."""
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc:
        from lakehouse.landing.bucket import BucketLanding
        from lakehouse.storage.s3 import s3_client

        client = s3_client(
            endpoint=endpoint, access_key=access_key, secret_key=secret_key, region=region,
            attempts=5, connections=10,
        )  # fmt: skip
        return BucketLanding(parts.netloc, parts.path, client)
    if "://" in url and parts.scheme != "file":
        raise SettingsError(f"landing {url!r}: give a folder or s3://bucket[/prefix]")
    path = unquote(parts.path) if parts.scheme == "file" else url
    if not path:
        raise SettingsError("the landing URL is empty: give a folder or s3://bucket[/prefix]")
    from lakehouse.landing.folder import FolderLanding

    return FolderLanding(Path(path))


def landing_of(settings: Settings) -> Landing:
    """Open the landing place that the settings name."""
    return open_landing(
        settings.landing_url,
        endpoint=settings.s3_endpoint,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key,
        region=settings.s3_region,
    )
