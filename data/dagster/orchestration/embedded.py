"""The platform without containers: the same assets, init and verify, on a folder and SQLite.

Belongs here: where things lie in this profile, running the job in this process, the UI in the background.
Does not: anything about assets. Everything stays below the checkout: .data/ and landing/.

  init       sample into an empty landing; then, where anything is new, one run of what it touches, told line
             by line. --all runs every table
  verify     as in the containers
  prune      remove old runs from Dagster, with their events and logs; init does so once a day
  ui-start   Dagster's UI and sensors in the background, on DAGSTER_PORT (18084)
  ui-stop    end them
  status     whether the UI runs, and where the lake is

Exit codes are those of init-data-layers and verify-data-layers; ui-start: 2 when the UI does not answer.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_client import answers
from dagster_client.progress import limit_exceeded
from orchestration import BOOT_TAG, FULL_REFRESH_TAG, LISTED_TAG
from orchestration.limit import Limit, limited
from orchestration.planning import plan_of_lake, selection
from orchestration.setting import switch, whole_number
from orchestration.workarounds.instance_files import told_by_sqlite

if TYPE_CHECKING:
    from lakehouse.pipeline.plan import Plan

_JOB = "materialize_all"
_UI_DEADLINE_SECONDS = 90
_SENSOR_RUN_DEADLINE_SECONDS = 600
_PRUNED = "pruned"  # a file whose time is that of the last pruning
_DAY_SECONDS = 24 * 3600
_SOURCE_TAG = "odp/source"
_SOURCE = "embedded init"


@dataclass(frozen=True)
class Place:
    """Where the embedded platform keeps its things."""

    data: Path
    landing: Path
    port: int

    @property
    def home(self) -> Path:
        return self.data / "dagster"

    @property
    def pid_file(self) -> Path:
        return self.data / "ui.pid"

    @property
    def log(self) -> Path:
        return self.data / "logs" / "ui.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def env(self) -> dict[str, str]:
        """Return the environment of every process of this profile."""
        return {
            "LAKE_URL": str(self.data / "lake"),
            "LANDING_URL": str(self.landing),
            "DAGSTER_HOME": str(self.home),
            "DAGSTER_PUBLIC_URL": self.url,
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "DAGSTER_RUN_MAX_SECONDS": os.environ.get("DAGSTER_RUN_MAX_SECONDS") or "0",
        }


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments, do the verb, return the exit code."""
    options, rest = _parser().parse_known_args(argv)
    if rest:
        options.usage(f"it takes no {' '.join(rest)}")
    place = Place(
        data=options.data.resolve(),
        landing=options.landing.resolve(),
        port=int(os.environ.get("DAGSTER_PORT") or 18084),
    )
    prepare(place)
    if options.verb == "init":
        return init(place, everything=options.all, full_refresh=options.full_refresh)
    verbs = {"ui-start": ui_start, "ui-stop": ui_stop, "status": status}
    if options.verb == "prune":
        return prune(place, days=options.days, runs=options.runs, as_json=options.json)
    if options.verb == "verify":
        from orchestration import verify

        chosen = {"--json": options.json, "--deep": options.deep}
        return verify.main([name for name, given in chosen.items() if given])
    return verbs[options.verb](place)


def _parser() -> argparse.ArgumentParser:
    """Return the parser: each verb has its own options, and usage under the name that people type."""
    parser = argparse.ArgumentParser(
        prog="embedded", description="The platform without containers.", epilog=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("--data", type=Path, default=Path(".data"), help="where the lake is kept (.data)")
    place.add_argument("--landing", type=Path, default=Path("landing"), help="where files land (landing)")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def add(verb: str, says: str, typed: str | None = None) -> argparse.ArgumentParser:
        own = verbs.add_parser(
            verb, help=says, description=says, prog=typed or f"embedded {verb}", parents=[place]
        )
        own.set_defaults(usage=own.error)
        return own

    made = add("init", "bring every layer up to date with what is new in landing", "init-data-layers")
    made.add_argument("--full-refresh", action="store_true",
                      help="compute Silver and Gold anew from every row of Bronze")  # fmt: skip
    made.add_argument("--all", action="store_true", help="run every table, whatever is new")
    read = add("verify", "read the lake and say whether it is complete and sound", "verify-data-layers")
    read.add_argument("--json", action="store_true", help="one JSON object")
    read.add_argument("--deep", action="store_true", help="compare every byte with its checksum")
    old = add("prune", "remove old runs, their events and logs", "prune")
    old.add_argument("--days", type=int, help="keep runs of the last days")
    old.add_argument("--runs", type=int, help="and at most so many")
    old.add_argument("--json", action="store_true", help="one JSON object")
    add("ui-start", "start Dagster's pages and daemon")
    add("ui-stop", "end them")
    add("status", "say whether they run")
    return parser


def prepare(place: Place) -> None:
    """Make the folders, put Dagster's settings there, and take the environment over."""
    place.landing.mkdir(parents=True, exist_ok=True)  # others may drop files there
    os.umask(0o077)  # rows, previews and what a step printed are for this user alone
    for folder in (place.data, place.data / "lake", place.home, place.log.parent):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    for log in (*place.log.parent.glob("*"), *place.home.glob("alerts.log")):
        log.chmod(0o600)
    shutil.copyfile(Path(__file__).with_name("embedded.yaml"), place.home / "dagster.yaml")
    os.environ.pop("DAGSTER_URL", None)
    os.environ.update(place.env())


def init(place: Place, *, everything: bool = False, full_refresh: bool = False) -> int:
    """Bring the lake up to what has landed. Exit codes as in launch.py.

    Looks first, without Dagster: where nothing is new and no run was left behind, that is all.
    """
    from lakehouse.errors import LakeError

    try:
        _seed()
        if not everything and not full_refresh:
            told = told_by_sqlite(place.home)
            found = plan_of_lake(told.known)
            if found.nothing and not told.unfinished:
                return _say(found)
        return _init(place, everything=everything or full_refresh, full_refresh=full_refresh)
    except LakeError as exc:
        print(f"✗ not ready: {exc}\n  → make status", file=sys.stderr)
        return 2


def _init(place: Place, *, everything: bool, full_refresh: bool) -> int:
    """Run the job in this process, or the part of it that has something to do."""
    import dagster as dg

    from orchestration.definitions import defs
    from orchestration.jobs import NO_BOOT
    from orchestration.run_events import following

    job = defs.resolve_job_def(_JOB)
    with _only_one(place), dg.DagsterInstance.get() as instance:
        _end_orphans(instance)
        _wait_for_sensor_runs(place, instance)
        chosen, listed_at = None, time.time()
        if not everything:  # planned again: another run may have done it meanwhile
            found = plan_of_lake(told_by_sqlite(place.home).known)
            _say(found)
            if found.nothing:
                return 0
            chosen = _assets(defs, job, found.reasons)
        run_id = str(uuid.uuid4())
        tags = {} if everything else {LISTED_TAG: f"{listed_at:.3f}"}
        seconds = whole_number("DAGSTER_RUN_MAX_SECONDS", 0)
        with following(instance, run_id) as progress, _ended_by(seconds, instance, run_id) as limit:
            result = job.execute_in_process(
                instance=instance,
                run_id=run_id,
                raise_on_error=False,
                asset_selection=chosen,
                # The progress lines below tell it; Dagster's own console log would bury them.
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                tags={
                    **tags,
                    _SOURCE_TAG: _SOURCE,
                    BOOT_TAG: NO_BOOT,
                    FULL_REFRESH_TAG: "true" if full_refresh else "false",
                },
            )
        if limit.struck:
            print(f"✗ {limit_exceeded(f'exceeded maximum runtime of {seconds} seconds')}", file=sys.stderr)
            return 1
        _prune_daily(place, instance)
    return progress.finish("SUCCESS" if result.success else "FAILURE")


@contextmanager
def _ended_by(seconds: int, instance: Any, run_id: str) -> Iterator[Limit]:
    """End the run inside when its time is up, and say so in its log too."""
    import dagster as dg

    with limited(seconds) as limit:
        try:
            yield limit
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            if not limit.struck:
                raise
    run = instance.get_run_by_id(run_id)
    if limit.struck and run is not None:
        instance.report_run_failed(run, f"Exceeded maximum runtime of {seconds} seconds.")


def prune(place: Place, *, days: int | None = None, runs: int | None = None, as_json: bool = False) -> int:
    """Remove old runs from Dagster."""
    from orchestration import retention

    given = {"--days": days, "--runs": runs}
    argv = [part for name, n in given.items() if n is not None for part in (name, str(n))]
    done = retention.main([*argv, "--json"] if as_json else argv)
    (place.home / _PRUNED).touch()
    return done


def _prune_daily(place: Place, instance: Any) -> None:
    """Remove old runs where no daemon does: at the end of a run, once a day."""
    from orchestration.retention import prune as prune_now

    mark = place.home / _PRUNED
    if not mark.exists() or time.time() - mark.stat().st_mtime > _DAY_SECONDS:
        prune_now(instance)
        mark.touch()


def _say(found: Plan) -> int:
    for line in found.lines():
        print(line, flush=True)
    return 0


def _assets(defs: Any, job: Any, paths: Iterable[str]) -> list[Any]:
    """Return the keys of the job's assets that a plan's tables call for."""
    import dagster as dg

    from lakehouse.registry import contracts

    graph = defs.resolve_asset_graph()
    made_from = {
        tuple(key.path): {tuple(parent.path) for parent in graph.get(key).parent_keys}
        for key in job.asset_layer.executable_asset_keys
    }
    keys = selection(paths, {table.path for table in contracts()}, made_from)
    return [dg.AssetKey(key) for key in keys]


def _seed() -> None:
    from lakehouse.pipeline import open_lake
    from lakehouse.registry import sample_files

    landing = open_lake().landing
    if switch("ODP_SAMPLE_DATA", default=True) and not landing.list():
        for name, body in sample_files().items():
            landing.put(name, body)


@contextmanager
def _only_one(place: Place) -> Iterator[None]:
    """Hold the lock of this lake's init; a second init waits for the first.

    Raises StorageUnavailable where the lake was removed meanwhile.
    """
    from lakehouse.errors import StorageUnavailable

    with (place.data / "init.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another init is going on here: waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.fstat(lock.fileno()).st_nlink:
            raise StorageUnavailable("the lake was removed while this waited for its turn")
        yield


def _end_orphans(instance) -> None:  # type: ignore[no-untyped-def]
    """Mark runs of a killed init as failed: whoever holds the lock is the only one alive."""
    import dagster as dg

    going = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags={_SOURCE_TAG: _SOURCE})
    for run in instance.get_runs(going):
        instance.report_run_failed(
            run, "The process was killed. Nothing is lost: this run goes on from there."
        )
        print(f"run {run.run_id[:8]} was killed: ended it, starting over", flush=True)


def _wait_for_sensor_runs(place: Place, instance) -> None:  # type: ignore[no-untyped-def]
    """Let a run that the UI's sensor has started come to its end: two at once would only conflict."""
    import dagster as dg

    going = dg.RunsFilter(job_name=_JOB, statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
    deadline = time.monotonic() + _SENSOR_RUN_DEADLINE_SECONDS
    said = False
    while _running(place) is not None and instance.get_runs_count(going) and time.monotonic() < deadline:
        if not said:
            print("the sensor has started a run: waiting for its end", flush=True)
            said = True
        time.sleep(0.5)


def ui_start(place: Place) -> int:
    """Start the UI with its daemon in a session of its own, and wait until it answers."""
    if _running(place) is not None and answers(place.url):
        print(f"the UI is up: {place.url}")
        return 0
    if answers(place.url):
        print(
            f"✗ port {place.port} is taken by something else\n  → DAGSTER_PORT=… make start", file=sys.stderr
        )
        return 2
    ui_stop(place)
    command = [sys.executable, "-m", "dagster", "dev", "-m", "orchestration.definitions",
               "-h", "127.0.0.1", "-p", str(place.port)]  # fmt: skip
    with place.log.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=_environment(place),
        )
    place.pid_file.write_text(str(process.pid), encoding="utf-8")
    deadline = time.monotonic() + _UI_DEADLINE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if answers(place.url):
            print(f"the UI is up: {place.url}")
            return 0
        time.sleep(0.2)
    print(f"✗ the UI did not answer on port {place.port}\n  → tail {place.log}", file=sys.stderr)
    ui_stop(place)
    return 2


def _environment(place: Place) -> Mapping[str, str]:
    return {**os.environ, **place.env(), "PYTHONWARNINGS": "ignore"}


def ui_stop(place: Place) -> int:
    """End the UI and everything it started. Fine when nothing runs."""
    pid = _running(place)
    if pid is not None:
        for sign, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
            try:
                os.killpg(pid, sign)
            except ProcessLookupError:
                break
            if _gone(pid, patience):
                break
        print("the UI has ended")
    place.pid_file.unlink(missing_ok=True)
    return 0


def _gone(group: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def _running(place: Place) -> int | None:
    """Return the UI's process group, if it is one that this checkout started.

    A leader that was killed leaves the webserver and the daemon behind: the group is the UI's still.
    """
    try:
        group = int(place.pid_file.read_text(encoding="utf-8"))
        os.killpg(group, 0)
    except (OSError, ValueError):
        return None
    if leader := _command_line(group):
        return group if "orchestration.definitions" in leader else None
    left = (_command_line(pid) for pid in _members(group))
    return group if any(line.startswith(sys.executable) and "dagster" in line for line in left) else None


def _members(group: int) -> list[int]:
    """Return the processes of a group but its leader."""
    found = []
    for pid in (int(entry.name) for entry in Path("/proc").glob("[0-9]*")):
        try:
            if pid != group and os.getpgid(pid) == group:
                found.append(pid)
        except ProcessLookupError:  # it has just ended
            continue
    if found or Path("/proc/self").exists():
        return found
    asked = ["ps", "-A", "-o", "pgid=", "-o", "pid="]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout  # noqa: S603
    pairs = (line.split() for line in told.splitlines())
    return [int(pid) for of, pid in pairs if of == str(group) and pid != of]


def _command_line(pid: int) -> str:
    """Return a process's whole command line; from /proc where there is one (a slim system has no `ps`)."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").replace("\0", " ")
    except OSError:
        asked = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout  # noqa: S603


def status(place: Place) -> int:
    """Print whether the UI runs and where things are."""
    up = _running(place) is not None and answers(place.url)
    print(
        f"UI       {place.url if up else 'stopped'}\nlake     {place.data / 'lake'}\nlanding  {place.landing}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
