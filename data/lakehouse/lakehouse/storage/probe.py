"""The question a store must answer before it may hold a lake: does exactly one conditional writer win?

Belongs here: the probe. Does not: any use of its answer. A server that ignores If-None-Match loses
acknowledged commits without an error.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lakehouse.errors import UnsafeStore


def race(put: Callable[[str], bool], *, writers: int = 16, rounds: int = 5) -> None:
    """Let `writers` threads create one key at once, `rounds` times over.

    `put(key)` returns whether it won. Raises UnsafeStore unless exactly one wins every round.
    """
    with ThreadPoolExecutor(writers) as pool:
        for number in range(rounds):
            key = f"_probe/{uuid.uuid4().hex}"
            gate = threading.Barrier(writers)

            def attempt(_: int, key: str = key, gate: threading.Barrier = gate) -> bool:
                gate.wait(timeout=30)
                return put(key)

            winners = sum(pool.map(attempt, range(writers)))
            if winners != 1:
                raise UnsafeStore(
                    f"conditional writes: {winners} of {writers} parallel writers of one key won in round "
                    f"{number + 1}; exactly one may. This store would lose commits: use one that honours "
                    "If-None-Match (MinIO, AWS S3)."
                )


def bucket_put(client: Any, bucket: str) -> Callable[[str], bool]:
    """Return a conditional put into `bucket` for `race`."""
    from botocore.exceptions import ClientError

    def put(key: str) -> bool:
        try:
            client.put_object(Bucket=bucket, Key=key, Body=b"", IfNoneMatch="*")
        except ClientError as exc:
            if exc.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412):
                return False
            raise
        return True

    return put


def clean_bucket(client: Any, bucket: str) -> None:
    """Remove what the probe wrote."""
    page = client.list_objects_v2(Bucket=bucket, Prefix="_probe/")
    for item in page.get("Contents", []):
        client.delete_object(Bucket=bucket, Key=item["Key"])
