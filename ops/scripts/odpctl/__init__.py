"""What `make` calls. Standard library only: it runs on the system's Python before anything is installed.

Belongs here: preparing, starting, watching and ending the platform, and saying clearly what went wrong.
Does not belong here: anything about tables. That is asked of the library, inside a container or the venv.

    main        verbs and their arguments          errors      the one failure a person sees
    checkout    places, settings, remembered state dotenv      .env and its secrets
    process     running commands, redacted         terminal    one line per phase
    host        ports, memory, disk                engine      the Docker engine: there? new enough?
    preflight   every check before a change        compose     a thin runner of `docker compose`
    diagnose    from raw text to a cause           venv        uv and .venv, from nothing
    wheel       uv for a Python without pip
    containers, embedded, dev                      the three ways the platform runs
    data        init, verify and seed              start       the phases of `make start`
    operate     stop, status, logs, nuke…          quality     lint and test
"""

import sys
from pathlib import Path

# What the scripts share with others: the client of Dagster with the orchestrator, the form of a .env with the
# containers. From their folders in this checkout, since the scripts run before anything is installed.
_ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(_ROOT / "data" / "dagster_client"), str(_ROOT / "ops" / "local")]
