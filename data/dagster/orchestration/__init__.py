"""The orchestrator: adapts the library to Dagster.

Belongs here: assets, checks, metadata, jobs, sensors, and the clients that drive a run.
Does not: what data means or how it is stored (lakehouse). Importing this package imports nothing.
"""

# Tag of a run: the start of the code server it belongs to (jobs.py). Here, for clients without Dagster.
BOOT_TAG = "odp/boot"
# Tag of a run that computes Silver and Gold anew from every source row; any value but `true` means no.
FULL_REFRESH_TAG = "odp/full_refresh"
# Tag of a planned run: when its plan looked into landing, in seconds since 1970.
LISTED_TAG = "odp/listed_at"
