"""`python -m lakehouse.provision`: prepares the object store and Postgres for the lake. Safe to run at any
time.

Belongs here: the order of the steps. Does not: the steps.

Exit codes:
  0  everything is provisioned
  1  a step failed: the line with ✗ says which, why, and what to do next
  2  a setting is missing or wrong
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from lakehouse.errors import LakeError, SettingsError
from lakehouse.provision import steps
from lakehouse.provision.policies import PRINCIPALS
from lakehouse.provision.settings import ProvisionSettings
from lakehouse.settings import bucket_prefix


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments, provision, return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lakehouse.provision",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument(
        "--policies",
        action="store_true",
        help="print the policy of each key as JSON, for a store that makes its users itself; change nothing",
    )
    options = parser.parse_args(argv)
    begin = time.monotonic()
    try:
        if options.policies:
            print(policies(bucket_prefix(os.environ)))
            return 0
        settings = ProvisionSettings.from_env()
    except SettingsError as exc:
        print(f"✗ settings: {exc}", file=sys.stderr)
        return 2
    failures = provision(settings, deadline=begin + settings.deadline_seconds)
    for failure in failures:
        print(f"✗ {failure}", file=sys.stderr)
    if not failures:
        print(f"✓ the lake is ready        {time.monotonic() - begin:.2f} s in all", flush=True)
    return 1 if failures else 0


def policies(prefix: str) -> str:
    """Return the policy document of each principal by its name, as JSON."""
    return json.dumps({one.name: one.policy(prefix) for one in PRINCIPALS}, indent=2)


def provision(settings: ProvisionSettings, *, deadline: float) -> list[LakeError]:
    """Set up the object store and Postgres in parallel; return the errors."""
    from lakehouse.provision.object_store import ObjectStore
    from lakehouse.provision.postgres import Postgres

    store = [*ObjectStore(settings).steps()]
    if settings.sample:
        store.append(steps.Step("sample", partial(_sample, settings)))
    lanes = (store, Postgres(settings).steps())
    say = partial(print, flush=True)
    with ThreadPoolExecutor(len(lanes)) as pool:
        running = [pool.submit(steps.run, lane, deadline=deadline, say=say) for lane in lanes]
        errors = [future.exception() for future in running]
    unexpected = [error for error in errors if error and not isinstance(error, LakeError)]
    if unexpected:
        raise unexpected[0]
    return [error for error in errors if isinstance(error, LakeError)]


def _sample(settings: ProvisionSettings) -> str:
    """Land the sample files with the ingest key, if nothing has landed yet."""
    from lakehouse import seed
    from lakehouse.landing import open_landing

    key = settings.s3_keys["ingest"]
    landing = open_landing(
        f"s3://{settings.s3_bucket_prefix}landing",
        endpoint=settings.s3_endpoint,
        access_key=key.user,
        secret_key=key.password,
        region=settings.s3_region,
    )
    return seed.sample(landing, if_empty=True).describe()


if __name__ == "__main__":
    sys.exit(main())
