"""Landing: raw files on their way into Bronze, in one folder per source.

Belongs here: listing, fingerprints, storing and reading of raw files, on a local folder or in a bucket.
Does not: what a file means (domains/<domain>/sources.py), tables, or when anything is read.
"""

from lakehouse.landing.files import LandedFile, Landing
from lakehouse.landing.roots import landing_of, open_landing
from lakehouse.landing.source import CHUNK_ROWS, Source
from lakehouse.landing.telling import shown, unnamed
from lakehouse.landing.unexpected import Unexpected

__all__ = [
    "CHUNK_ROWS",
    "LandedFile",
    "Landing",
    "Source",
    "Unexpected",
    "landing_of",
    "open_landing",
    "shown",
    "unnamed",
]
