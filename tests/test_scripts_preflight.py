"""The preflight: what it finds before anything is changed, with a real busy socket and pretended dockers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from checkouts import free_ports

from dagster_client import answers
from lakehouse.errors import SettingsError
from lakehouse.storage.paths import refuse_path
from odpctl import host, preflight
from odpctl.checkout import Checkout
from odpctl.compose import Compose
from odpctl.data import Lake
from odpctl.dev import Dev
from odpctl.embedded import Embedded
from odpctl.engine import Engine, numbers, probe
from odpctl.errors import NOT_READY, REFUSED, Failure
from odpctl.start import Start, choose
from odpctl.terminal import Terminal
from odpctl.venv import Venv

GOOD = """case "$*" in
  "version --format {{json .Server}}") echo '{"Version":"ENGINE"}' ;;
  "compose version --short") echo COMPOSE ;;
  *) exit 1 ;;
esac"""


def good(engine: str = "20.10.24+dfsg1", compose: str = "2.26.1-4") -> str:
    return GOOD.replace("ENGINE", engine).replace("COMPOSE", compose)


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_busy_port_is_named_with_variable_pid_and_a_free_one(
    tmp_path: Path, busy: int, no_docker: Path
) -> None:
    checkout = Checkout(tmp_path, {"DAGSTER_PORT": str(busy)})
    findings = preflight.check(checkout, "embedded", probe())
    [found] = [finding for finding in findings if finding.level == "error"]
    assert found.text.startswith(f"port {busy} (DAGSTER_PORT) is taken by pid {os.getpid()} (")
    variable, _, port = found.fix.split()[0].partition("=")
    assert variable == "DAGSTER_PORT"
    assert not host.port_is_busy("127.0.0.1", int(port))
    with pytest.raises(Failure, match=f"port {busy}") as caught:
        preflight.refuse(findings, "embedded")
    assert caught.value.exit_code == REFUSED
    assert caught.value.command == found.fix


def test_free_port_passes_also_right_after_its_last_user() -> None:
    [port] = free_ports(1)
    assert not host.port_is_busy("127.0.0.1", port)
    with socket.create_server(("127.0.0.1", port)) as server, socket.create_connection(("127.0.0.1", port)):
        server.accept()[0].close()
        assert host.port_is_busy("127.0.0.1", port)
    assert not host.port_is_busy("127.0.0.1", port)


def test_one_port_for_two_services_is_an_error(tmp_path: Path, no_docker: Path) -> None:
    [port] = free_ports(1)
    checkout = Checkout(tmp_path, {"MINIO_PORT": str(port), "POSTGRES_PORT": str(port)})
    errors = [one.text for one in preflight.ports(checkout, "minimal", None) if one.level == "error"]
    assert f"POSTGRES_PORT and MINIO_PORT are both {port}" in errors


def level(checkout: Checkout) -> str:
    found = preflight.ports(checkout, "embedded", None)
    return next(one.level for one in found if one.name == "DAGSTER_PORT")


def test_our_own_ui_is_no_conflict_and_another_program_on_its_port_is(
    tmp_path: Path, busy: int, no_docker: Path
) -> None:
    checkout = Checkout(tmp_path, {"DAGSTER_PORT": str(busy)})
    checkout.ui_pid.parent.mkdir()
    checkout.ui_pid.write_text("1")
    assert level(checkout) == "error"
    checkout.ui_pid.write_text(str(os.getpgid(0)))
    assert level(checkout) == "ok"


@pytest.mark.parametrize(
    ("body", "reason", "fix"),
    [
        (
            "echo 'Cannot connect to the Docker daemon at unix:///x. Is it running?' >&2; exit 1",
            "the Docker daemon is not running",
            "systemctl start docker",
        ),
        (
            "echo 'permission denied while trying to connect to the Docker daemon socket' >&2; exit 1",
            "the Docker daemon runs, but this user may not use its socket",
            "usermod -aG docker",
        ),
        ("echo weird; exit 3", "docker does not answer: weird", "docker info"),
        ("echo '{}'", "does not speak to Docker", "docker version"),
        (good(engine="19.03.1"), "Docker Engine 19.03.1 is older than 20.10", "upgrade Docker"),
        (good(compose="v2.20.3"), "Docker Compose v2.20.3 is older than 2.26", "Compose plugin"),
        (good(compose=""), "the Compose plugin of Docker is not installed", "Compose plugin"),
    ],
)
def test_each_unusable_engine_is_told_apart(
    act_docker: Callable[[str], Path], body: str, reason: str, fix: str
) -> None:
    act_docker(body)
    engine = probe()
    assert not engine.usable
    assert reason in engine.reason
    assert fix in engine.fix


def test_no_docker_command(no_docker: Path) -> None:
    assert probe().reason == "Docker is not installed"


@pytest.mark.parametrize(("engine", "compose"), [("20.10.24+dfsg1", "2.26.1-4"), ("28.5.1", "v5.0.0")])
def test_usable_engines(act_docker: Callable[[str], Path], engine: str, compose: str) -> None:
    act_docker(good(engine, compose))
    assert probe() == Engine(engine, compose)


def test_version_numbers() -> None:
    assert [numbers(text) for text in ("v2.26.1-4", "20.10.24+dfsg1", "5.0", "")] == [
        (2, 26),
        (20, 10),
        (5, 0),
        (),
    ]


def test_profile_follows_the_engine() -> None:
    assert choose("", Engine("28.0", "2.40")) == ("full", "Docker Engine 28.0 answers")
    assert choose("", Engine(reason="Docker is not installed")) == (
        "embedded",
        "no containers: Docker is not installed",
    )
    assert choose("dev", Engine(reason="x")) == ("dev", "as asked")
    with pytest.raises(
        Failure, match="unknown profile 'huge'; there are: full, distributed, dev, minimal, embedded"
    ) as caught:
        choose("huge", Engine())
    assert caught.value.exit_code == NOT_READY


def test_volumes_without_their_secrets_stop_the_start(
    tmp_path: Path, act_docker: Callable[[str], Path]
) -> None:
    act_docker('case "$*" in "volume ls"*) echo odp-x_postgres-data ;; *) exit 0 ;; esac')
    checkout = Checkout(tmp_path, {"COMPOSE_PROJECT_NAME": "odp-x"})
    from odpctl.compose import Compose

    [found] = preflight.identity(checkout, Compose(checkout))
    assert found.level == "error"
    assert found.text == "odp-x has volumes with data, but .env has not the secrets they were made with"


@pytest.mark.parametrize(
    ("address", "level"), [("127.0.0.1", "ok"), ("0.0.0.0", "warning"), ("192.168.0.7", "warning")]
)
def test_an_open_bind_address_is_told(tmp_path: Path, address: str, level: str) -> None:
    assert preflight.bind(Checkout(tmp_path, {"BIND_ADDRESS": address})).level == level


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("MART_PII", "yess", "true"),
        ("API_OPEN_READ", "ja", "FALSE"),
        ("ODP_SAMPLE_DATA", "maybe", "no"),
        ("DAGSTER_KEEP_DAYS", "-1", "0"),
        ("API_MAX_BODY_MB", "0", "1"),
        ("API_SQL_SECONDS", "1.5", "2"),
        ("API_SQL_ROWS", "²", "7"),
        ("API_SQL_MEMORY", "lots", "1GiB"),
        ("DAGSTER_CODE_MEMORY", "lots", "1.5g"),
        ("LAKE_FORMAT", "iceberg", "ducklake"),
        ("ODP_ENGINE", "pandas", "duckdb"),
        ("COMPOSE_PROJECT_NAME", "Bad Name", "odp-1"),
    ],
)
def test_a_value_that_is_none_is_refused_before_anything_starts(
    tmp_path: Path, no_docker: Path, name: str, wrong: str, right: str
) -> None:
    findings = preflight.check(Checkout(tmp_path, {name: wrong}), "embedded", probe())
    [found] = [one for one in findings if one.level == "error"]
    assert (found.name, found.fix) == (name, "correct it in .env")
    assert found.text.startswith(f"{name}={wrong} is not ")
    for text in (right, ""):
        assert list(preflight.values(Checkout(tmp_path, {name: text}))) == []


def test_every_default_is_a_value(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parents[1] / ".env.example", tmp_path / ".env")
    assert list(preflight.values(Checkout(tmp_path, {}))) == []


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    findings = preflight.check(Checkout(tmp_path, {"BIND_ADDRESS": "999.1.1.1"}), "full", probe())
    assert "BIND_ADDRESS=999.1.1.1 is no address" in [one.text for one in findings if one.level == "error"]


def test_an_env_file_that_is_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(Failure, match=r"\.env cannot be read: Is a directory") as caught:
        _ = Checkout(tmp_path, {}).settings
    assert caught.value.exit_code == REFUSED


def test_little_memory_warns_and_no_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "free_memory_mb", lambda: 100)
    monkeypatch.setattr(host, "free_disk_mb", lambda _: 100)
    assert preflight.memory("full").level == "warning"
    [found] = preflight.disk(Checkout(tmp_path, {}), "embedded")
    assert (found.level, found.text) == (
        "error",
        f"100 MB are free for the checkout ({tmp_path}), a first start of embedded takes about 1500",
    )


def test_machine_facts_are_known_here(tmp_path: Path) -> None:
    assert (host.free_memory_mb() or 0) > 50
    assert (host.free_disk_mb(tmp_path / "not" / "there") or 0) > 50


def test_an_env_file_that_others_read_and_a_misspelt_key_warn(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DAGSTR_PORT=1\n")
    (tmp_path / ".env").chmod(0o644)
    (tmp_path / ".env.example").write_text("DAGSTER_PORT=18084\n")
    texts = [one.text for one in preflight.env_file(Checkout(tmp_path, {}), "full") if one.level == "warning"]
    assert texts[0] == ".env can be read by others; the start makes it 0600"
    assert texts[1] == ".env sets DAGSTR_PORT, which nothing reads: is it misspelt?"
    assert texts[2].startswith(".env lacks POSTGRES_PASSWORD, ")


def wrong(checkout: Checkout, profile: str) -> list[str]:
    return [one.name for one in preflight.external(checkout, profile) if one.level == "error"]


def test_the_overlay_asks_for_what_it_needs_before_anything_starts(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, {"COMPOSE_FILE": "compose.yml:compose.external.yml"})
    assert not checkout.external  # Compose is given nothing of the environment but of .env
    env = tmp_path / ".env"
    env.write_text("COMPOSE_FILE=compose.yml:compose.external.yml\n")
    assert checkout.external
    needed = ["POSTGRES_HOST", "S3_BUCKET_PREFIX", "POSTGRES_CA_FILE"]
    assert wrong(checkout, "full") == needed
    assert wrong(checkout, "distributed") == needed
    assert wrong(checkout, "dev") == ["PROFILE", *needed]
    found = {one.name for one in preflight.check(checkout, "full", Engine("28.0", "2.40", "none", "none"))}
    assert set(needed) <= found
    env.write_text(env.read_text() + "POSTGRES_HOST=db\nS3_BUCKET_PREFIX=acme-\nPOSTGRES_CA_FILE=ca.pem\n")
    assert wrong(checkout, "full") == ["POSTGRES_CA_FILE"]
    (tmp_path / "ca.pem").write_text("")
    assert wrong(checkout, "full") == []


def test_without_the_overlay_nothing_of_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("COMPOSE_FILE=\n")
    checkout = Checkout(tmp_path, {})
    found = {one.name for one in preflight.check(checkout, "full", Engine("28.0", "2.40", "none", "none"))}
    assert not found & {"POSTGRES_HOST", "S3_BUCKET_PREFIX", "POSTGRES_CA_FILE"}


def test_old_python_is_refused_in_one_line(mini: Path) -> None:
    entry = mini / "ops" / "scripts" / "odp.py"
    entry.write_text(
        entry.read_text().replace("MINIMUM = (3, 11)", "MINIMUM = (9, 9)").replace("python3.1", "absent3.1")
    )
    done = subprocess.run([sys.executable, entry, "help"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: Python 9.9 or newer is needed, and ")
    assert shutil.which("absent3.13") is None


@pytest.mark.parametrize("name", ["[a]", "a|b", "a\\b", "a%20b", "a#b", "a?b", "a=b", "a^b", "a:b", "a\tb"])
def test_a_checkout_where_no_table_can_lie_is_refused_before_anything_is_written(
    name: str, tmp_path: Path, no_docker: Path
) -> None:
    checkout = Checkout(tmp_path / name, {})
    with pytest.raises(Failure, match="in a path does not work") as caught:
        preflight.refuse(preflight.check(checkout, "embedded", probe()), "embedded")
    assert caught.value.exit_code == REFUSED
    with pytest.raises(Failure, match="in a path does not work"):
        Start(checkout, Terminal()).run("embedded")
    assert not checkout.root.exists()
    if name != "a:b":  # a lake of its own may lie there
        with pytest.raises(SettingsError):
            refuse_path(str(checkout.root))


@pytest.mark.parametrize("name", ["a b", "ümläut", "50% off", "a{b}", "a'b", "$HOME", "日本"])
def test_a_checkout_in_any_other_folder_passes(name: str, tmp_path: Path) -> None:
    assert preflight.place(Checkout(tmp_path / name, {})).level == "ok"
    refuse_path(str(tmp_path / name))


def test_a_user_without_home_and_name_is_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.setattr(host.pwd, "getpwuid", nobody)
    assert host.home({}) is None
    assert host.home({"HOME": "/x"}) == Path("/x")
    assert Venv(Checkout(tmp_path, {}))._cache() == tmp_path / ".tools" / "cache"
    assert Venv(Checkout(tmp_path, {"UV_CACHE_DIR": "/c"}))._cache() == Path("/c")


def test_the_dagster_of_another_checkout_is_not_ours(tmp_path: Path) -> None:
    """Somebody's Dagster answers on our port: it is ours only if a process that we started holds it."""
    with DagsterLike() as port:
        checkout = Checkout(tmp_path, {"DAGSTER_PORT": str(port)})
        embedded = Embedded(checkout)
        assert answers(f"http://127.0.0.1:{port}")
        assert not embedded.ui_answers()
        checkout.ui_pid.parent.mkdir()
        for noted, ours in (("", False), ("1 5", False), (f"{os.getpgid(0)} 5", True)):
            checkout.ui_pid.write_text(noted)
            assert embedded.ui_answers() is ours


class DagsterLike:
    """A server that answers as Dagster does."""

    def __enter__(self) -> int:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"dagster_version": "1"}')

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self.server.server_address[1]

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_other_bytes_of_the_same_size_and_time_wait_in_landing(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, {})
    path = checkout.landing / "s" / "a"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"1")
    os.utime(path, (1, 1))
    lake = Lake(checkout, Compose(checkout), Embedded(checkout), Dev(checkout, Venv(checkout)), "embedded")
    for noted in (checkout.dropped(), {"s/a": checkout.dropped()["s/a"][:2]}):  # as now, and as before
        checkout.state.put(landing=noted)
        assert lake.waiting() == []
    checkout.state.put(landing=checkout.dropped())
    path.with_name("b").write_bytes(b"2")
    os.utime(path.with_name("b"), (1, 1))
    path.with_name("b").replace(path)
    assert lake.waiting() == ["s/a"]
