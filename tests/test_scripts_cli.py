"""The verbs as a person types them, in a checkout that has nothing but the scripts."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from checkouts import ROOT, clean_env, wait_until

from odpctl.checkout import Checkout
from odpctl.compose import Compose
from odpctl.data import SOME_REFUSED, Lake, write_tar
from odpctl.dev import Dev
from odpctl.embedded import Embedded
from odpctl.errors import REFUSED, Failure
from odpctl.process import Done, command_line, end_group, read_pid, run, started_at, write_pid
from odpctl.terminal import Terminal

Verb = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def verb(mini: Path) -> Verb:
    def call(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "ops/scripts/odp.py", *args],
            cwd=mini,
            env=clean_env(**env),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return call


def test_unknown_profile_lists_the_valid_ones_and_changes_nothing(
    verb: Verb, mini: Path, no_docker: Path
) -> None:
    done = verb("start", "--profile", "everything")
    assert done.returncode == 2
    assert "unknown profile 'everything'; there are: full, distributed, dev, minimal, embedded" in done.stderr
    assert not (mini / ".env").exists()
    assert not (mini / ".data").exists()


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", "not running"),
        ("permission denied while trying to connect to the Docker daemon socket", "may not use its socket"),
    ],
)
def test_full_without_a_daemon_is_refused_and_writes_no_secret(
    verb: Verb, mini: Path, act_docker: Callable[[str], Path], message: str, says: str
) -> None:
    act_docker(f"echo '{message}' >&2; exit 1")
    done = verb("start", "--profile", "full")
    assert done.returncode == REFUSED
    assert says in done.stderr
    assert done.stderr.splitlines()[-1].startswith("  run:   sudo ")
    assert not (mini / ".env").exists()


@pytest.mark.parametrize("name", ["init-data-layers", "verify-data-layers", "seed", "shell"])
def test_verbs_on_nothing_name_the_first_step(verb: Verb, no_docker: Path, name: str) -> None:
    done = verb(name)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: nothing has been started in this checkout",
        "  run:   make start",
    ]


@pytest.mark.parametrize(
    ("name", "usage"),
    [("stop", "stop [-h]"), ("status", "status [-h] [--json]"), ("nuke", "nuke [-h] [--force [FORCE]]")],
)
def test_usage_is_that_of_the_verb_typed(verb: Verb, no_docker: Path, name: str, usage: str) -> None:
    done = verb(name, "--nope")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [f"usage: odp.py {usage}", f"odp.py {name}: error: it takes no --nope"]


def test_teardown_on_nothing_is_fine(verb: Verb, no_docker: Path) -> None:
    assert verb("stop").stdout == "nothing was running\n"
    assert verb("clean").returncode == 0
    assert verb("nuke", "--force").returncode == 0


def test_nuke_asks_for_the_name_and_keeps_everything_without_it(
    verb: Verb, mini: Path, no_docker: Path
) -> None:
    (mini / ".data" / "lake").mkdir(parents=True)
    done = verb("nuke", "--force", "")
    assert done.returncode == REFUSED
    assert "nothing was deleted" in done.stderr
    assert (mini / ".data" / "lake").is_dir()
    assert verb("nuke", "--force", "1").returncode == 0
    assert not (mini / ".data").exists()


def test_nuke_leaves_an_init_that_goes_on_its_lake(verb: Verb, mini: Path, no_docker: Path) -> None:
    (mini / ".data").mkdir()
    with (mini / ".data" / "init.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = verb("nuke", "--force", "1")
        assert done.returncode == REFUSED
        assert "an init is going on in this checkout; nothing was changed" in done.stderr
        assert (mini / ".data" / "init.lock").exists()
    assert verb("nuke", "--force", "1").returncode == 0
    assert not (mini / ".data").exists()


def test_a_log_is_shown_by_its_name(verb: Verb, mini: Path, no_docker: Path) -> None:
    logs = mini / ".data" / "logs"
    logs.mkdir(parents=True)
    for name in ("ui", "api"):
        (logs / f"{name}.log").write_text(f"line of {name}\n")
    (mini / ".data" / "state.json").write_text('{"profile": "embedded"}')
    for service, name in (("ui", "ui"), ("dagster", "ui"), ("api", "api")):
        assert verb("logs", "--service", service).stdout == f"line of {name}\n"
    done = verb("logs", "--service", "nope")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: no log 'nope'; there are: api, ui")


def test_status_of_nothing(verb: Verb, no_docker: Path) -> None:
    done = verb("status", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout) == {
        "profile": "",
        "project": None,
        "well": False,
        "services": {},
        "urls": {},
        "last_init": None,
        "last_verify": None,
        "landing_waiting": 0,
    }


def test_credentials_are_printed_only_when_asked_for(verb: Verb, mini: Path, no_docker: Path) -> None:
    assert verb("credentials").returncode == 2
    (mini / ".env").write_text("POSTGRES_PASSWORD=0123456789abcdef\n")
    assert "POSTGRES_PASSWORD        0123456789abcdef" in verb("credentials").stdout
    for name in ("status", "doctor", "stop"):
        done = verb(name)
        assert "0123456789abcdef" not in done.stdout + done.stderr


def test_doctor_shows_every_check(verb: Verb, no_docker: Path) -> None:
    done = verb("doctor", "--profile", "full")
    assert done.returncode == REFUSED
    assert "✗ Docker is not installed   (install it: https://docs.docker.com/engine/install/)" in done.stdout


@pytest.mark.parametrize("script", ["init-data-layers.sh", "verify-data-layers.sh"])
def test_named_scripts_explain_themselves_and_pass_exit_codes(
    mini: Path, no_docker: Path, script: str
) -> None:
    path = mini / "ops" / "scripts" / script
    told = subprocess.run([path, "--help"], capture_output=True, text=True, check=False, env=clean_env())
    assert told.returncode == 0
    assert f"usage: ops/scripts/{script} [--help]" in told.stdout
    assert "exit:  0 " in told.stdout
    done = subprocess.run(
        [path], capture_output=True, text=True, check=False, env=clean_env(PYTHON=sys.executable)
    )
    assert done.returncode == 2
    assert "nothing has been started" in done.stderr


def test_one_changing_verb_at_a_time(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, {})
    with checkout.locked(), pytest.raises(Failure, match=f"pid {os.getpid()}"), checkout.locked():
        pass
    with checkout.locked():
        pass


def test_phases_are_finished_lines_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    with terminal.phase("build") as phase:
        phase.note = "unchanged"
    with pytest.raises(ValueError, match="boom"), terminal.phase("up"):
        raise ValueError("boom")
    assert capsys.readouterr().out == "▸ build … 0.0 s  unchanged\n✗ up … 0.0 s\n"


def test_commands_that_hang_or_are_absent_are_results() -> None:
    assert run(["no-such-program-here"]).code == 127
    late = run([sys.executable, "-uc", "print('begun'); import time; time.sleep(60)"], timeout=1.5)
    assert late.code == 124
    assert late.text.startswith("begun\n")


def test_only_the_very_process_is_ended_with_all_its_children(tmp_path: Path) -> None:
    stubborn = "import signal,subprocess,sys,time;signal.signal(signal.SIGINT,signal.SIG_IGN);"
    stubborn += "c=subprocess.Popen(['sleep','600']);print(c.pid,flush=True);time.sleep(600)"
    leader = subprocess.Popen(
        [sys.executable, "-c", stubborn], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert leader.stdout is not None
    child = int(leader.stdout.readline())
    write_pid(tmp_path / "pid", leader.pid)
    assert read_pid(tmp_path / "pid") == leader.pid
    wait_until("the child runs sleep", lambda: command_line(child) == "sleep 600", 5)
    assert end_group(tmp_path / "pid", Path(sys.prefix), patience=8)
    # On a busy machine SIGTERM may take longer than its share of the patience.
    assert leader.wait() in {-signal.SIGTERM, -signal.SIGKILL}
    wait_until("the child is gone", lambda: not started_at(child), 5)
    assert not (tmp_path / "pid").exists()


def test_what_a_killed_leader_has_left_behind_is_ended(tmp_path: Path) -> None:
    code = (
        "import subprocess,sys,time;c=subprocess.Popen([sys.executable,'-c','import time;time.sleep(600)']);"
    )
    leader = subprocess.Popen(
        [sys.executable, "-c", f"{code}print(c.pid,flush=True);time.sleep(600)"],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert leader.stdout is not None
    child, ours = int(leader.stdout.readline()), Path(sys.executable).parent
    write_pid(tmp_path / "pid", leader.pid)
    leader.kill()
    leader.wait()
    wait_until("the child runs Python", lambda: command_line(child).startswith(sys.executable), 5)
    noted = (tmp_path / "pid").read_text()
    assert not end_group(tmp_path / "pid", tmp_path)  # of another program
    assert started_at(child)
    (tmp_path / "pid").write_text(noted)
    assert end_group(tmp_path / "pid", ours, patience=8)
    wait_until("the child is gone", lambda: not started_at(child), 5)
    assert not (tmp_path / "pid").exists()


def test_a_pid_that_is_somebody_else_by_now_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(f"{os.getpid()} another start time\n")
    assert read_pid(tmp_path / "pid") is None
    assert not end_group(tmp_path / "pid", Path(sys.prefix))


def test_upload_takes_files_and_never_what_lies_outside(tmp_path: Path) -> None:
    import io
    import tarfile

    landing = tmp_path / "landing"
    (landing / "github").mkdir(parents=True)
    (landing / "github" / "a.json").write_text("{}")
    (tmp_path / "secret").write_text("no")
    (landing / "link").symlink_to(tmp_path / "secret")
    out = io.BytesIO()
    write_tar(landing, out)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        assert tar.getnames() == ["github/a.json"]


def test_what_of_landing_cannot_be_read_is_named_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rights do not bind root, who runs this in CI: open and stat refuse what a user's would."""
    import io
    import tarfile

    landing = tmp_path / "landing"
    for name in ("github/closed.json", "github/open.json", "github/folder/inside.json"):
        (landing / name).parent.mkdir(parents=True, exist_ok=True)
        (landing / name).write_text("{}")
    really_open, really_stat = Path.open, Path.stat

    def opened(path: Path, mode: str = "r") -> object:
        if path.name == "closed.json":
            raise PermissionError(13, "Permission denied", str(path))
        return really_open(path, mode)

    def known(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path.name == "inside.json":
            raise PermissionError(13, "Permission denied", str(path))
        return really_stat(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(Path, "stat", known)
    out = io.BytesIO()
    unread = write_tar(landing, out)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        assert tar.getnames() == ["github/open.json"]
    assert unread == [
        f"'github/{name}' cannot be read (Permission denied); give this user the right to read it"
        for name in ("folder/inside.json", "closed.json")
    ]
    dropped = Checkout(tmp_path, {}).dropped()
    assert sorted(dropped) == ["github/closed.json", "github/open.json"]


def test_refused_files_of_an_upload_keep_no_run_from_going(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = Checkout(tmp_path, {})
    (checkout.landing / "github").mkdir(parents=True)
    (checkout.landing / "github" / "a.json").write_text("{}")
    embedded = Embedded(checkout)
    lake = Lake(checkout, Compose(checkout), embedded, Dev(checkout, embedded.venv), "full")
    said = "✗ not landed: cannot land 'github/b': it is none\n✓ landing: files: 1 landed, 1 refused\n"
    monkeypatch.setattr(Lake, "upload", lambda _: Done(SOME_REFUSED, said))
    monkeypatch.setattr(Lake, "_run", lambda *_, quiet: Done(0, "✓ success\n"))
    assert lake.init(quiet=True) == Done(0, "✓ success\n✗ not landed: cannot land 'github/b': it is none\n")
    monkeypatch.setattr(Lake, "upload", lambda _: Done(1, "✗ seed: no answer\n"))
    assert lake.init(quiet=True) == Done(1, "✗ seed: no answer\n")


def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    done = subprocess.run(
        ["bash", "-c", "set -o pipefail; python3 ops/scripts/odp.py doctor | true"],
        cwd=ROOT, env=clean_env(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


def test_logs_and_state_are_for_their_user_alone(tmp_path: Path) -> None:
    """Whatever of .data is made first: a log, a lock, or the state."""
    program = (
        "import sys; from pathlib import Path; from odpctl.process import Journal;"
        "journal = Journal(Path(sys.argv[1]) / '.data' / 'logs');"
        "journal.add('x', 'y'); journal.keep('start')"
    )
    env = {"PYTHONPATH": str(ROOT / "ops" / "scripts")}
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, umask=0o022, env=env)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()} == {0o600}
