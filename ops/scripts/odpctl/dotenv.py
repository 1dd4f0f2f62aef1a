"""The `.env` of a checkout: completed with generated secrets, never overwritten.

What each variable means stands in `.env.example`, how a line is read in ops/local/envfile.py; here only which
of them are secret and how a secret is made.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path

from envfile import assignment, parse, without_value

from .errors import REFUSED, Failure

PASSWORDS = (
    "POSTGRES_PASSWORD",
    "DAGSTER_PG_PASSWORD",
    "LAKE_PG_PASSWORD",
    "READONLY_PG_PASSWORD",
    "DUCKLAKE_PG_PASSWORD",
    "MART_PG_PASSWORD",
    "MART_READER_PASSWORD",
    "MINIO_ROOT_PASSWORD",
    "S3_PIPELINE_SECRET_KEY",
    "S3_INGEST_SECRET_KEY",
    "S3_SERVING_SECRET_KEY",
    "S3_API_SECRET_KEY",
    "S3_ENGINE_SECRET_KEY",
)
# Names of principals: unlike between two installations, so that a leaked pair fits one lake only.
PRINCIPALS = {
    "MINIO_ROOT_USER": "root",
    "S3_PIPELINE_ACCESS_KEY": "pipeline",
    "S3_INGEST_ACCESS_KEY": "ingest",
    "S3_SERVING_ACCESS_KEY": "serving",
    "S3_API_ACCESS_KEY": "api",
    "S3_ENGINE_ACCESS_KEY": "engine",
}
SECRETS = (*PASSWORDS, *PRINCIPALS)


def read(path: Path) -> dict[str, str]:
    """Key to value; comments, `export`, quotes and CRLF are understood. A missing file is empty.

    Raises Failure for what is there and cannot be read: Docker makes a folder of a file that is missing.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise Failure(
            f"{path} cannot be read: {exc.strerror}", command=f"ls -ld {path}", exit_code=REFUSED
        ) from None
    return parse(text)


def missing(values: Mapping[str, str]) -> list[str]:
    """Secrets that have no value, or one that everybody knows."""
    return without_value(values, SECRETS)


def unknown(values: Mapping[str, str], example: Path) -> list[str]:
    """Keys that `.env.example` does not list: most likely misspelt, and read by nobody."""
    if not example.exists():
        return []
    known = parse(example.read_text().replace("\n#", "\n"))  # also a commented one
    return sorted(set(values) - set(known) - set(SECRETS))


def make_secret(key: str) -> str:
    """A fresh value. Hex, since it travels through YAML, URLs, SQL and shells; 40 digits is the store's own
    limit.
    """
    return f"{PRINCIPALS[key]}-{secrets.token_hex(4)}" if key in PRINCIPALS else secrets.token_hex(20)


def complete(path: Path, wanted: Mapping[str, str]) -> list[str]:
    """Write the wanted keys that have no value yet, keeping every other byte of the file. Returns the keys
    written.

    The file is replaced in one step and is 0600 before the first secret is in it.
    """
    text = (
        path.read_text(encoding="utf-8")
        if path.exists()
        else "# Written by `make start`. Secrets: keep this file, and keep it private.\n"
    )
    have = read(path)
    added = {key: value for key, value in wanted.items() if not have.get(key) or key in missing(have)}
    if added:
        kept = [line for line in text.splitlines() if not ((found := assignment(line)) and found[0] in added)]
        replace(path, "\n".join([*kept, *(f"{key}={value}" for key, value in added.items())]) + "\n")
    elif path.exists():
        path.chmod(0o600)
    return list(added)


def replace(path: Path, text: str) -> None:
    """Write a private file in one step: a reader sees the old one or the new one, never half of one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, 0o600)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
