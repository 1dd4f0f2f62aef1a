"""The one way to an S3-compatible store through boto3.

Belongs here: making a client. Does not: what it is asked, nor how long a caller wants to wait (it says so).
boto3 is imported on first use: it takes longer than the rest of the library together.
"""

from __future__ import annotations

from typing import Any


def s3_client(
    *,
    endpoint: str | None,
    access_key: str | None,
    secret_key: str | None,
    region: str | None,
    connect_seconds: float = 5,
    read_seconds: float = 60,
    attempts: int = 3,
    connections: int = 32,
    signature: str | None = None,
) -> Any:
    """Return an S3 client with bounded waits, `attempts` in all. No request is sent.

    Without an endpoint it is AWS, where the bucket is part of the host's name; elsewhere, of the path.
    `signature` is the version of it, as botocore names them; None lets botocore choose.
    """
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=region,
        config=Config(
            s3={"addressing_style": "path" if endpoint else "virtual"},
            retries={"total_max_attempts": attempts, "mode": "standard"},
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            max_pool_connections=connections,
            signature_version=signature,
        ),
    )
