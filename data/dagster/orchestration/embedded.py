"""The platform without containers: the same assets, init and verify, on a folder and SQLite.

Belongs here: where things lie in this profile, running the job in this process, the UI in the background.
Does not: anything about assets. Everything stays below the checkout: .data/ and landing/.

  init       sample into an empty landing, then one run of materialize_all, told line by line
  verify     as in the containers
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
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from orchestration import BOOT_TAG, FULL_REFRESH_TAG

_JOB = "materialize_all"
_UI_DEADLINE_SECONDS = 90
_SENSOR_RUN_DEADLINE_SECONDS = 600
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
        }


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments, do the verb, return the exit code."""
    parser = argparse.ArgumentParser(
        prog="embedded", description="The platform without containers.", epilog=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("verb", choices=["init", "verify", "ui-start", "ui-stop", "status"])
    parser.add_argument("--data", type=Path, default=Path(".data"), help="where the lake is kept (.data)")
    parser.add_argument("--landing", type=Path, default=Path("landing"), help="where files land (landing)")
    parser.add_argument("--json", action="store_true", help="for machines (verify)")
    parser.add_argument(
        "--full-refresh", action="store_true", help="compute Silver and Gold anew from every row (init)"
    )
    options = parser.parse_args(argv)
    place = Place(
        data=options.data.resolve(),
        landing=options.landing.resolve(),
        port=int(os.environ.get("DAGSTER_PORT") or 18084),
    )
    prepare(place)
    if options.verb == "init":
        return init(place, full_refresh=options.full_refresh)
    verbs = {"ui-start": ui_start, "ui-stop": ui_stop, "status": status}
    if options.verb == "verify":
        from orchestration import verify

        return verify.main(["--json"] if options.json else [])
    return verbs[options.verb](place)


def prepare(place: Place) -> None:
    """Make the folders, put Dagster's settings there, and take the environment over."""
    for folder in (place.data / "lake", place.home, place.landing, place.log.parent):
        folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(__file__).with_name("embedded.yaml"), place.home / "dagster.yaml")
    os.environ.pop("DAGSTER_URL", None)
    os.environ.update(place.env())


def init(place: Place, *, full_refresh: bool = False) -> int:
    """Run the job in this process. Exit codes as in launch.py."""
    import dagster as dg

    from orchestration.definitions import defs
    from orchestration.jobs import NO_BOOT

    _seed()
    with _only_one(place), dg.DagsterInstance.get() as instance:
        _end_orphans(instance)
        _wait_for_sensor_runs(place, instance)
        run_id = str(uuid.uuid4())
        job = defs.resolve_job_def(_JOB)
        with _progress(instance, run_id) as told:
            result = job.execute_in_process(
                instance=instance,
                run_id=run_id,
                raise_on_error=False,
                # The progress lines below tell it; Dagster's own console log would bury them.
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                tags={
                    _SOURCE_TAG: _SOURCE,
                    BOOT_TAG: NO_BOOT,
                    FULL_REFRESH_TAG: "true" if full_refresh else "false",
                },
            )
    return told.end(success=result.success)


def _seed() -> None:
    from lakehouse.domains import sample_files
    from lakehouse.flow import open_lake

    landing = open_lake().landing
    if not landing.list():
        for name, body in sample_files().items():
            landing.put(name, body)


@contextmanager
def _only_one(place: Place) -> Iterator[None]:
    """Hold the lock of this lake's init; a second init waits for the first."""
    with (place.data / "init.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another init is going on here: waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
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


class _Told:
    """The progress lines of a run, as in the containers, and its end."""

    def __init__(self, instance, run_id: str) -> None:  # type: ignore[no-untyped-def]
        self.instance, self.run_id = instance, run_id
        self.seen = self.tables = self.checks = self.failed = self.warned = 0

    def catch_up(self) -> None:
        events = self.instance.all_logs(self.run_id)
        for entry in events[self.seen :]:
            if entry.dagster_event is not None:
                self._tell(entry.dagster_event)
        self.seen = len(events)

    def _tell(self, event) -> None:  # type: ignore[no-untyped-def]
        kind = event.event_type_value
        if kind == "ASSET_MATERIALIZATION":
            self._table(event.materialization)
        elif kind == "ASSET_CHECK_EVALUATION":
            self._check(event.asset_check_evaluation_data)
        elif kind in ("STEP_FAILURE", "STEP_UP_FOR_RETRY"):
            data = event.event_specific_data
            described = getattr(getattr(data, "user_failure_data", None), "description", None)
            cause = (described or data.error.message).strip().splitlines()[0]
            print(f"  {'✗' if kind == 'STEP_FAILURE' else '↻'} {event.step_key}: {cause}", flush=True)

    def _table(self, made) -> None:  # type: ignore[no-untyped-def]
        rows, seconds = (made.metadata[k].value for k in ("dagster/row_count", "seconds"))
        self.tables += 1
        print(f"  ✓ {'/'.join(made.asset_key.path):<30} {rows:>10,} rows  {seconds:>6.2f} s", flush=True)

    def _check(self, check) -> None:  # type: ignore[no-untyped-def]
        self.checks += 1
        error = check.severity.value == "ERROR"
        self.failed += not check.passed and error
        self.warned += not check.passed and not error
        mark = "✓" if check.passed else "✗" if error else "!"
        says = "" if check.passed else f": {check.description or ''}"
        print(f"    {mark} {check.check_name}{says}", flush=True)

    def end(self, *, success: bool) -> int:
        code = 1 if not success else 3 if self.failed else 0
        bad = f", {self.failed} failed" if self.failed else ""
        warned = f", {self.warned} warnings" if self.warned else ""
        verdict = (
            f"{'success' if success else 'failure'}: {self.tables} tables, {self.checks} checks{bad}{warned}"
        )
        print(f"{'✗' if code else '✓'} {verdict}", flush=True)
        return code


@contextmanager
def _progress(instance, run_id: str) -> Iterator[_Told]:  # type: ignore[no-untyped-def]
    """Tell the run's events while it goes on in the main thread."""
    told = _Told(instance, run_id)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.3):
            told.catch_up()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield told
    finally:
        over.set()
        watcher.join()
        told.catch_up()


def ui_start(place: Place) -> int:
    """Start the UI with its daemon in a session of its own, and wait until it answers."""
    if _running(place) is not None and _answers(place):
        print(f"the UI is up: {place.url}")
        return 0
    if _answers(place):
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
        if _answers(place):
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
    """Return the UI's process group, if it is one that this checkout started."""
    try:
        pid = int(place.pid_file.read_text(encoding="utf-8"))
        os.killpg(pid, 0)
        command = _command_line(pid)
    except (OSError, ValueError):
        return None
    return pid if "orchestration.definitions" in command else None


def _command_line(pid: int) -> str:
    """Return a process's whole command line; from /proc where there is one (a slim system has no `ps`)."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").replace("\0", " ")
    except OSError:
        asked = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout  # noqa: S603


def _answers(place: Place) -> bool:
    try:
        with urlopen(f"{place.url}/server_info", timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def status(place: Place) -> int:
    """Print whether the UI runs and where things are."""
    up = _running(place) is not None and _answers(place)
    print(
        f"UI       {place.url if up else 'stopped'}\nlake     {place.data / 'lake'}\nlanding  {place.landing}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
