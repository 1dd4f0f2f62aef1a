"""Copies of the checkout that can start at once.

Belongs here: what needs the scripts' modules. Does not: what other processes than pytest use (checkouts.py).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from checkouts import ROOT, clean_env, copy_checkout

from odpctl.checkout import Checkout
from odpctl.venv import Venv


def ready_checkout(target: Path) -> Path:
    """A copy with its .venv, and what Python has compiled for this checkout: to compile it anew for each copy
    takes longer than most tests. The README's test command in a fresh clone is what starts without.
    """
    copy = copy_checkout(target)
    Venv(Checkout(copy, clean_env())).ensure()
    ours, theirs = (root / ".venv" / "pycache" / str(root).lstrip("/") for root in (ROOT, copy))
    if ours.is_dir():
        shutil.copytree(ours, theirs, copy_function=_share)
    return copy


def _share(source: str, target: str) -> None:
    """Python writes such a file anew instead of into it, at any time."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        pass
    except OSError:  # another file system
        shutil.copy2(source, target)
