"""A client of a running Dagster webserver: ask, launch a run, follow it to its end.

Belongs here: what is asked of Dagster over HTTP, and how the progress of a run is printed. Does not: Dagster
itself, the lake, or anything outside the standard library; the orchestrator, the scripts (before any package
is installed) and the API import it. Importing it does no I/O.

    client       one question and its answer: Client, Unreachable, answers
    queries      the GraphQL texts
    readiness    can a run of a job start now: Readiness, NotReady, wait_ready
    launch       starting a run, or finding the one that is going on: RunRequest, start_run
    assets       the assets of a job, and the versions last materialised
    runs         a run's status, by id or tag
    progress     the printer of a run's progress, and its exit code: RunProgress
    follow       a run's events, over GraphQL, to the printer
"""

from dagster_client.client import Client, Unreachable, answers

__all__ = ["Client", "Unreachable", "answers"]
