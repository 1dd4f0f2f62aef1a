"""Which formats a body may have: by Content-Type and Content-Encoding.

Belongs here: the headers, and the file extension by which a source's reader knows the format. Does not:
reading a format (the sources).
"""

from __future__ import annotations

import codecs

from starlette.datastructures import Headers

from lakehouse.landing import Source
from serving.problems import Problem

MEDIA_TYPES = {
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/x-jsonlines": "ndjson",
    "application/fhir+ndjson": "ndjson",
    "application/json": "json",
    "application/fhir+json": "json",
    "text/csv": "csv",
    "application/csv": "csv",
    "text/tab-separated-values": "csv",
    "application/vnd.apache.parquet": "parquet",
    "application/x-parquet": "parquet",
    "application/parquet": "parquet",
}
"""Media type -> extension."""

_ACCEPT = {"Accept": ", ".join(MEDIA_TYPES), "Accept-Encoding": "gzip"}


def extension_of(headers: Headers, source: Source) -> str:
    """Return the extension for the stated media type. Raises Problem 415."""
    stated = headers.getlist("content-type")
    media, *parameters = (stated[0] if len(stated) == 1 else "").split(";")
    found = MEDIA_TYPES.get(media.strip().lower())
    if found is None:
        raise Problem(
            415,
            "give the format as Content-Type: application/x-ndjson, application/json, text/csv or "
            "application/vnd.apache.parquet",
            headers=_ACCEPT,
        )
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and not _fits(value.strip().strip('"'), source.form.encoding):
            raise Problem(415, f"{source.folder} takes text as {source.form.encoding}", headers=_ACCEPT)
    return found


def is_gzipped(headers: Headers) -> bool:
    """Return whether the body is compressed. Raises Problem 415 for a coding other than gzip."""
    codings = [one.strip().lower() for text in headers.getlist("content-encoding") for one in text.split(",")]
    codings = [one for one in codings if one not in ("", "identity")]
    if codings in ([], ["gzip"], ["x-gzip"]):
        return bool(codings)
    raise Problem(415, "the Content-Encoding may be gzip, once", headers=_ACCEPT)


def _fits(charset: str, encoding: str) -> bool:
    try:
        named = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return False
    return named in ("ascii", codecs.lookup(encoding).name)
