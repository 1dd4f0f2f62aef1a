"""The formats of landed files: JSON, NDJSON, CSV or Parquet, each optionally gzipped.

Belongs here: detecting and opening a format, within limits, with errors that never quote content. Does not:
the meaning of records (domains/<domain>/sources.py).
Every fault of a file is a SourceError, whatever the underlying library raises.
"""

from __future__ import annotations

import codecs
import gzip
import json
import re
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from functools import partial
from typing import BinaryIO, cast

import orjson

from lakehouse.errors import SourceError
from lakehouse.landing.files import LandedFile
from lakehouse.landing.form import proposed

MAX_UNZIPPED = 8 << 30  # bytes a gzipped file may unfold to
MAX_DOCUMENT = 256 << 20  # bytes of one JSON document, which is held in memory whole
MAX_LINE = 64 << 20  # bytes of one line of NDJSON
MAX_ROW_GROUP = 2 << 30  # bytes a row group of Parquet may unfold to, which is read whole
_BLOCK = 1 << 20
_MARKUP = 4096  # bytes at the start of a text in which its markup is detected
_BOM = codecs.BOM_UTF8
_BLANK = b" \t\r\n"
_GZIP = b"\x1f\x8b"


class Format(StrEnum):
    """The format of the bytes, independent of the file name."""

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


# Other formats that people land, by their first bytes; each is named in the error.
_OTHERS = (
    (_GZIP, "gzip within gzip; unfold it once"),
    (b"PK\x03\x04", "a zip archive (or a workbook such as .xlsx); land the files that are in it"),
    (b"PK\x05\x06", "a zip archive with nothing in it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; land the files that are in it"),
    (b"BZh", "a bzip2 file; land it as it is without, or gzipped"),
    (b"\xfd7zXZ", "an xz file; land it as it is without, or gzipped"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file; land it as it is without, or gzipped"),
    (b"\x04\x22\x4d\x18", "an LZ4 file; land it as it is without, or gzipped"),
    (b"\x1f\x9d", "a file of compress (.Z); land it as it is without, or gzipped"),
    (b"Obj\x01", "an Avro file; land it as Parquet or NDJSON"),
    (b"ORC", "an ORC file; land it as Parquet"),
    (b"ARROW1", "an Arrow file; land it as Parquet"),
    (b"SQLite format 3", "an SQLite database; land its tables as Parquet or CSV"),
    (b"%PDF", "a PDF"),
    (b"version https://git-lfs.github.com/", "a Git LFS pointer; land the file it stands for (git lfs pull)"),
)


@contextmanager
def unpacked(file: LandedFile, *, limit: int = MAX_UNZIPPED) -> Iterator[BinaryIO]:
    """Open a file for reading, converted to UTF-8 where it is text and its source declares another encoding.

    A file that is decompressed or decoded goes through a temporary file of at most `limit` bytes.
    """
    with ExitStack() as stack:
        raw = stack.enter_context(file.open())
        if _head(raw, 2) == _GZIP:
            whole = _spool(stack)
            _gunzip(raw, whole, name=file.name, limit=limit)
            raw = whole
        if not file.form.is_utf8 and _head(raw, 4) != b"PAR1" and _foreign(raw) is None:
            whole = _spool(stack)
            _decode(raw, whole, file, limit=limit)
            raw = whole
        yield raw


def _spool(stack: ExitStack) -> BinaryIO:
    return cast(BinaryIO, stack.enter_context(tempfile.SpooledTemporaryFile(max_size=64 << 20)))


def _decode(raw: BinaryIO, whole: BinaryIO, file: LandedFile, *, limit: int) -> None:
    decoder = codecs.getincrementaldecoder(file.form.encoding)()
    done = 0
    try:
        while block := raw.read(_BLOCK):
            whole.write(decoder.decode(block).encode())
            done += len(block)
            if whole.tell() > limit:
                raise SourceError(f"{file.name}: more than {limit} bytes of text; split the file")
        whole.write(decoder.decode(b"", final=True).encode())
    except UnicodeError:
        raise SourceError(
            f"{file.name}: not {file.form.encoding} text, as its source declares (past byte {done})"
        ) from None
    whole.seek(0)


def format_of(name: str, raw: BinaryIO) -> Format:
    """Return the format, by content where that is certain, else by suffix. Raises SourceError otherwise.

    All text is checked to be UTF-8 (a byte order mark is accepted).
    """
    magic = _head(raw, 4)
    if not magic:
        raise SourceError(f"{name}: the file is empty")
    if magic == b"PAR1":
        return Format.PARQUET
    if foreign := _foreign(raw):
        raise SourceError(f"{name}: this is {foreign}")
    if magic == b"PARE":
        raise SourceError(f"{name}: this Parquet file is encrypted; land it decrypted")
    stated = _SUFFIXES.get(_suffix(name))
    if stated is Format.PARQUET and _first_byte(raw) not in b"{[":
        raise SourceError(f"{name}: not a Parquet file (it does not begin with PAR1)")
    check_text(raw, name=name)
    fmt = _text_format(stated, first := _first_byte(raw), name)
    if first == b"<" and (what := _markup(_head(raw, _MARKUP))):
        raise SourceError(f"{name}: this is {what}; this platform reads JSON, NDJSON, CSV and Parquet")
    if fmt is Format.JSON and first in b"{[" and _is_lines(raw):
        return Format.NDJSON
    return fmt


def _foreign(raw: BinaryIO) -> str | None:
    """Return the name of an unsupported format; None where the format may be supported."""
    head = _head(raw, max(len(magic) for magic, _ in _OTHERS))
    return next((what for magic, what in _OTHERS if head.startswith(magic)), None)


def _guessed(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):  # before UTF-16, whose mark begins it
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return {1: "utf-16-le", 0: "utf-16-be"}.get(head[:2].find(b"\0"), "cp1252")


def _markup(head: bytes) -> str | None:
    """Return the markup of a text; None for other text, as a CSV heading may begin with `<` too."""
    if re.search(rb"<log[\s>]", head) or b"xes" in head:
        return "an XES event log (XML)"
    if re.search(rb"<(!doctype\s+)?html[\s>]", head, re.IGNORECASE):
        return "an HTML page"
    marked = head.lstrip(_BOM + _BLANK).startswith((b"<?xml", b"<!")) or re.search(rb"\sxmlns\s*=", head)
    return "XML" if marked else None


def _is_lines(raw: BinaryIO) -> bool:
    """Return whether the first line is a JSON document and another one follows."""
    skip_bom(raw)
    try:
        lines = iter(partial(raw.readline, MAX_LINE + 1), b"")
        filled = (line for line in lines if not line.isspace())
        first = next(filled, b"")
        return len(first) <= MAX_LINE and next(filled, None) is not None and is_json(first)
    finally:
        raw.seek(0)


def is_json(text: bytes) -> bool:
    """Return whether the text is one JSON document."""
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True


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
            f"{name}: not UTF-8 text (near byte {done + exc.start}); save it as UTF-8, or "
            f"{proposed(encoding=_guessed(_head(raw, 4)))}"
        ) from None
    finally:
        raw.seek(0)


def refuse_several(raw: BinaryIO, *, name: str) -> None:
    """Raise SourceError where a text is several JSON documents, one after the other."""
    skip_bom(raw)
    text = raw.read().decode().lstrip()
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return
    if text[:1] in ("{", "[") and text[end:].lstrip()[:1] in ("{", "["):
        raise SourceError(f"{name}: several JSON documents; land it as NDJSON, one on each line (jq -c .)")


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
    """Return the first byte after byte order mark and whitespace; empty at the end of the file."""
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
    except EOFError:
        raise SourceError(f"{name}: not a readable gzip file, for it ends early; land it whole") from None
    except (OSError, zlib.error) as exc:
        raise SourceError(f"{name}: not a readable gzip file ({type(exc).__name__})") from None
    whole.seek(0)
