"""The lake's own files beside its tables: leases, checksums, records.

Belongs here: where they lie, and what is removed last. Does not: what is in them.
"""

OWN = "_odp"  # where the lake keeps what is no table


def log_last(name: str) -> tuple[bool, str]:
    return name.startswith("_delta_log/"), name
