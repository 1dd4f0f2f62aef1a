"""Landing: raw files on their way into Bronze, in one folder per source.

Belongs here: listing, fingerprints, storing and reading of raw files, in a local folder or a bucket.
Does not: the meaning of a file (domains/<domain>/sources.py), tables, or when anything is read.
"""

from lakehouse.landing.files import LandedFile, Landing
from lakehouse.landing.form import Form
from lakehouse.landing.redaction import display_name, redacted
from lakehouse.landing.roots import landing_of, open_landing
from lakehouse.landing.source import CHUNK_ROWS, Partition, Source
from lakehouse.landing.unexpected import Unexpected

__all__ = [
    "CHUNK_ROWS",
    "Form",
    "LandedFile",
    "Landing",
    "Partition",
    "Source",
    "Unexpected",
    "display_name",
    "landing_of",
    "open_landing",
    "redacted",
]
