"""What a landed file holds: JSON, NDJSON, CSV or Parquet, each perhaps gzipped.

Belongs here: recognising a format and reading it, within stated limits, with errors that never quote
content. Does not: what the records mean (domains/<domain>/sources.py).
Every fault of a file is a SourceError, whatever the library underneath would raise.
"""

from __future__ import annotations

import codecs
import gzip
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import BinaryIO, cast

from lakehouse.errors import SourceError
from lakehouse.landing.files import LandedFile

MAX_UNZIPPED = 8 << 30  # bytes a gzipped file may unfold to
MAX_DOCUMENT = 256 << 20  # bytes of one JSON document, which is held in memory whole
MAX_LINE = 64 << 20  # bytes of one line of NDJSON
MAX_ROW_GROUP = 2 << 30  # bytes a row group of Parquet may unfold to, which is read whole
_BLOCK = 1 << 20
_BOM = codecs.BOM_UTF8
_BLANK = b" \t\r\n"


class Format(StrEnum):
    """What the bytes are, whatever the name says."""

    JSON = "JSON"
    NDJSON = "NDJSON"
    CSV = "CSV"
    PARQUET = "Parquet"


_SUFFIXES = {
    ".json": Format.JSON,
    ".geojson": Format.JSON,
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
    ".jsonlines": Format.NDJSON,
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
}


@contextmanager
def unpacked(file: LandedFile, *, limit: int = MAX_UNZIPPED) -> Iterator[BinaryIO]:
    """Open a file for reading; a gzipped one is unfolded into a temporary file of at most `limit` bytes."""
    with file.open() as raw:
        if _head(raw, 2) != b"\x1f\x8b":
            yield raw
            return
        with tempfile.SpooledTemporaryFile(max_size=64 << 20) as spool:
            whole = cast(BinaryIO, spool)
            _gunzip(raw, whole, name=file.name, limit=limit)
            yield whole


def format_of(name: str, raw: BinaryIO) -> Format:
    """Tell the format by content where that is certain, else by suffix. Raise SourceError for neither.

    Text is checked to be UTF-8 throughout (a byte order mark is accepted).
    """
    magic = _head(raw, 4)
    if not magic:
        raise SourceError(f"{name}: the file is empty")
    if magic == b"PAR1":
        return Format.PARQUET
    if magic == b"PARE":
        raise SourceError(f"{name}: this Parquet file is encrypted; land it decrypted")
    stated = _SUFFIXES.get(_suffix(name))
    if stated is Format.PARQUET and _first_byte(raw) not in b"{[":
        raise SourceError(f"{name}: not a Parquet file (it does not begin with PAR1)")
    check_text(raw, name=name)
    return _text_format(stated, _first_byte(raw), name)


def check_text(raw: BinaryIO, *, name: str) -> None:
    """Raise SourceError, with the byte position, where a file is not UTF-8 text."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    done = 0
    raw.seek(0)
    try:
        while block := raw.read(_BLOCK):
            decoder.decode(block)
            done += len(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as exc:
        raise SourceError(
            f"{name}: not UTF-8 text (near byte {done + exc.start}); save it as UTF-8"
        ) from None
    finally:
        raw.seek(0)


def skip_bom(raw: BinaryIO) -> None:
    """Move to the first byte of the text, past a byte order mark if there is one."""
    raw.seek(len(_BOM) if _head(raw, 3) == _BOM else 0)


def _text_format(stated: Format | None, first: bytes, name: str) -> Format:
    if not first:
        raise SourceError(f"{name}: the file holds blanks only")
    if first in b"{[":
        return stated if stated in (Format.JSON, Format.NDJSON) else Format.JSON
    if stated in (Format.JSON, Format.NDJSON):
        return stated
    return Format.CSV


def _suffix(name: str) -> str:
    base = name.lower().removesuffix(".gz").removesuffix(".gzip")
    return "." + base.rsplit(".", 1)[1] if "." in base.rsplit("/", 1)[-1] else ""


def _head(raw: BinaryIO, size: int) -> bytes:
    raw.seek(0)
    head = raw.read(size)
    raw.seek(0)
    return head


def _first_byte(raw: BinaryIO) -> bytes:
    """Return the first byte that is neither blank nor byte order mark; empty at the end of the file."""
    skip_bom(raw)
    try:
        while block := raw.read(_BLOCK):
            if rest := block.lstrip(_BLANK):
                return rest[:1]
        return b""
    finally:
        raw.seek(0)


def _gunzip(raw: BinaryIO, whole: BinaryIO, *, name: str, limit: int) -> None:
    try:
        with gzip.GzipFile(fileobj=raw) as unzipped:
            while block := unzipped.read(_BLOCK):
                if whole.tell() + len(block) > limit:
                    raise SourceError(f"{name}: unfolds to more than {limit} bytes; split the file")
                whole.write(block)
    except (OSError, EOFError, zlib.error) as exc:
        raise SourceError(f"{name}: not a readable gzip file ({type(exc).__name__})") from None
    whole.seek(0)
