"""The orchestrator: adapts the library to Dagster.

Belongs here: assets, checks, metadata, jobs, sensors, and the clients that drive a run.
Does not: what data means or how it is stored (lakehouse). Importing this package imports nothing.
"""

# Tag of a run: the start of the code server it belongs to (jobs.py). Here, for clients without Dagster.
BOOT_TAG = "odp/boot"
