"""`make bench`: every figure of one machine, each beside what it is judged against, in one run.

make bench                       everything this machine can do
make bench ARGS="pipeline init"  some parts: pipeline, increment, cost, clinical, models, api, init, stack
make bench ARGS="--json"
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import api
import clinical
import cost
import increment
import init
import models
import pipeline
import stack

PARTS = ("pipeline", "increment", "cost", "clinical", "models", "api", "init", "stack")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if strangers := set(options.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(strangers))}; there are {', '.join(PARTS)}")
    chosen = options.parts or PARTS
    results = {"machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"}
    say = (lambda _: None) if options.json else print
    say(results["machine"])
    if "pipeline" in chosen:
        results["pipeline"] = [pipeline.compare(rows, options.repeat) for rows in options.rows]
        say("\n" + pipeline.as_text(results["pipeline"]))
    if "increment" in chosen:
        results["increment"] = increment.measure(increment.ROWS)
        say("\n" + increment.as_text(results["increment"]))
    if "cost" in chosen:
        results["cost"] = cost.measure()
        say("\n" + cost.as_text(results["cost"]))
    if "clinical" in chosen:
        results["clinical"] = clinical.measure(clinical.MEGABYTES, clinical.COHORTS)
        say("\n" + clinical.as_text(results["clinical"]))
    if "models" in chosen:
        results["models"] = [models.measure(rows) for rows in models.ROWS]
        say("\n" + models.as_text(results["models"]))
    if "api" in chosen:
        results["api"] = api.measure(api.ROWS)
        say("\n" + api.as_text(results["api"]))
    if "init" in chosen:
        results["init"] = init.measure(options.repeat)
        say("\n" + init.as_text(results["init"]))
        results["fhir_init"] = init.measure_fhir()
        say("\n" + init.fhir_as_text(results["fhir_init"]))
    if "stack" in chosen and not stack.engine():
        say("\nFull stack: left out, no Docker engine answers")
    elif "stack" in chosen:
        results["stack"] = stack.measure(options.repeat)
        say("\n" + stack.as_text(results["stack"]))
    if options.json:
        print(json.dumps(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
