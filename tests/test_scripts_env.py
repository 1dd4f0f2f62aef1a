"""The .env: generated, private, completed, never overwritten; and what must never be printed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from odpctl import dotenv
from odpctl.checkout import DEFAULTS, Checkout
from odpctl.errors import REFUSED, Failure
from odpctl.process import Journal, redact


def test_fresh_env_is_private_and_complete(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    added = dotenv.complete(path, Checkout(tmp_path, {}).generated())
    values = dotenv.read(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (
        set(added) == set(values) == {*dotenv.SECRETS, "COMPOSE_PROJECT_NAME", "ODP_IMAGE", "ODP_API_IMAGE"}
    )
    assert dotenv.missing(values) == []
    assert len({values[key] for key in dotenv.PASSWORDS}) == len(dotenv.PASSWORDS)
    assert all(len(values[key]) == 40 for key in dotenv.PASSWORDS)


def test_second_write_changes_no_byte(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    dotenv.complete(path, Checkout(tmp_path, {}).generated())
    before = path.read_bytes()
    assert dotenv.complete(path, Checkout(tmp_path, {}).generated()) == []
    assert path.read_bytes() == before


def test_existing_values_comments_and_order_stay(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# mine\nDAGSTER_PORT=28084\n\nPOSTGRES_PASSWORD='kept as it is'\nMINIO_ROOT_PASSWORD=\n")
    path.chmod(0o644)
    dotenv.complete(path, Checkout(tmp_path, {}).generated())
    assert path.read_text().startswith("# mine\nDAGSTER_PORT=28084\n\nPOSTGRES_PASSWORD='kept as it is'\n")
    assert dotenv.read(path)["POSTGRES_PASSWORD"] == "kept as it is"
    assert len(dotenv.read(path)["MINIO_ROOT_PASSWORD"]) == 40
    assert path.read_text().count("MINIO_ROOT_PASSWORD=") == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=plain", "plain"),
        ("export KEY=exported", "exported"),
        ("KEY = spaced ", "spaced"),
        ("KEY='single # not a comment'", "single # not a comment"),
        ('KEY="double"', "double"),
        ("KEY=value # comment", "value"),
        ("KEY=a#b", "a#b"),
        ("KEY=# only a comment", ""),
        ("KEY=crlf\r", "crlf"),
        ("KEY=", ""),
    ],
)
def test_lines_are_read_as_compose_reads_them(tmp_path: Path, line: str, value: str) -> None:
    (tmp_path / ".env").write_bytes(f"{line}\n".encode())
    assert dotenv.read(tmp_path / ".env") == {"KEY": value}


def test_placeholders_count_as_missing() -> None:
    values = dict.fromkeys(dotenv.SECRETS, "x" * 20) | {
        "POSTGRES_PASSWORD": "ChangeMe",
        "MINIO_ROOT_PASSWORD": "",
    }
    assert dotenv.missing(values) == ["POSTGRES_PASSWORD", "MINIO_ROOT_PASSWORD"]


def test_unknown_keys_are_those_the_example_does_not_list(tmp_path: Path) -> None:
    (tmp_path / ".env.example").write_text("# The port\nDAGSTER_PORT=18084\n# BIND_ADDRESS=127.0.0.1\n")
    found = dotenv.unknown(
        {"DAGSTER_PORT": "1", "BIND_ADDRESS": "", "DAGSTR_PORT": "2"}, tmp_path / ".env.example"
    )
    assert found == ["DAGSTR_PORT"]


def test_environment_beats_env_file_beats_defaults(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DAGSTER_PORT=2\nMINIO_PORT=2\n")
    settings = Checkout(tmp_path, {"DAGSTER_PORT": "3", "POSTGRES_PORT": ""}).settings
    ports = {key: settings[key] for key in DEFAULTS if key.endswith("PORT")}
    assert ports == {
        "API_PORT": "18080",
        "DAGSTER_PORT": "3",
        "MINIO_PORT": "2",
        "MINIO_CONSOLE_PORT": "19001",
        "POSTGRES_PORT": "15432",
    }


def test_a_start_keeps_the_settings_it_was_given(tmp_path: Path) -> None:
    given = {
        "DAGSTER_PORT": "38084",
        "MINIO_IMAGE": "mirror/silo:1",
        "COMPOSE_PROJECT_NAME": "mine",
        "HOME": "/x",
    }
    dotenv.complete(tmp_path / ".env", Checkout(tmp_path, given).generated())
    later = Checkout(tmp_path, {}).settings
    assert {key: later.get(key) for key in given} == {**given, "HOME": None}
    assert later["ODP_IMAGE"] == "odp-platform:mine"


def test_two_checkouts_have_two_names(tmp_path: Path) -> None:
    names = {Checkout(tmp_path / name, {}).default_project for name in ("a", "b")}
    assert len(names) == 2
    assert all(name.startswith("odp-") and len(name) == 12 for name in names)


@pytest.mark.parametrize("value", ["http", "0", "70000", "-1", "²", "٣"])
def test_a_port_that_is_none_is_refused_by_name(tmp_path: Path, value: str) -> None:
    with pytest.raises(Failure, match=f"DAGSTER_PORT={value} is no port") as caught:
        Checkout(tmp_path, {"DAGSTER_PORT": value}).port("DAGSTER_PORT")
    assert caught.value.exit_code == REFUSED


def test_secrets_never_reach_text() -> None:
    text = "password=hunter22hunter22 at postgres://lake:p4ss:w0rd@db:5432/x, user hunter2"
    assert (
        redact(text, ["hunter22hunter22", "ab"])
        == "password=****** at postgres://lake:******@db:5432/x, user hunter2"
    )


def test_kept_log_is_private_redacted_and_limited(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"start-20200101-0000{number:02}.log").write_text("old")
    journal = Journal(tmp_path, ["s3cr3t-value"])
    journal.add("docker compose up → 1", "the key is s3cr3t-value\n")
    path = journal.keep("start")
    assert path.read_text() == "===== docker compose up → 1\nthe key is ******\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(list(tmp_path.glob("start-*.log"))) == 10


def test_state_survives_anything(tmp_path: Path) -> None:
    state = Checkout(tmp_path, {}).state
    state.put(profile="full", stack={"a": 1})
    state.put(stack=None)
    assert Checkout(tmp_path, {}).state.read() == {"profile": "full"}
    state.path.write_text("{half")
    assert state.read() == {}
