"""Redaction of file names: the name under which a landed file is shown.

Belongs here: keeping names of persons out of output and errors. Does not: masking rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lakehouse.errors import SourceError, StorageUnavailable
from lakehouse.landing.files import LandedFile
from lakehouse.landing.source import Source

_FOLDERS = 2  # the source's, and one below it, such as a cohort's


def display_name(file: LandedFile, sources: Sequence[Source]) -> str:
    """Return the display name of a file: where names are personal, its folder and its fingerprint."""
    return f"{_folder(file)}/{file.identity[:12]}" if _personal(file, sources) else file.name


@contextmanager
def redacted(file: LandedFile, sources: Sequence[Source]) -> Iterator[None]:
    """Redact a personal name in errors of reading the file; causes, which repeat it, are dropped."""
    try:
        yield
    except (SourceError, StorageUnavailable) as exc:
        text = without_name(str(exc), file) if _personal(file, sources) else str(exc)
        if text == str(exc):
            raise
        raise type(exc)(text) from None


def without_name(text: str, file: LandedFile) -> str:
    """Return the text with `…` in place of the file's name, with or without its folders."""
    inside = file.name.split("/")[len(_folder(file).split("/")) :]
    for count in range(len(inside)):
        name = re.escape("/".join(inside[count:]))
        text = re.sub(rf"[^\s'\"]*(?<![\w.]){name}(?![\w.])", f"{_folder(file)}/…", text)
    return text


def _personal(file: LandedFile, sources: Sequence[Source]) -> bool:
    return any(source.folder == file.source and source.names_are_personal for source in sources)


def _folder(file: LandedFile) -> str:
    return "/".join(file.name.split("/")[:-1][:_FOLDERS])
