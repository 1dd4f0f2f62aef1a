"""Provisioning without servers: what each key may do, how steps wait and fail."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from lakehouse.errors import SettingsError
from lakehouse.provision import __main__ as command
from lakehouse.provision import steps
from lakehouse.provision.object_store import ObjectStore
from lakehouse.provision.policies import BUCKETS, PRINCIPALS
from lakehouse.provision.settings import ProvisionSettings
from lakehouse.provision.steps import NotYet, Refused, Step, StepFailed

SECRETS = [
    "MINIO_ROOT_USER",
    "MINIO_ROOT_PASSWORD",
    "S3_PIPELINE_ACCESS_KEY",
    "S3_PIPELINE_SECRET_KEY",
    "S3_INGEST_ACCESS_KEY",
    "S3_INGEST_SECRET_KEY",
    "S3_SERVING_ACCESS_KEY",
    "S3_SERVING_SECRET_KEY",
    "S3_API_ACCESS_KEY",
    "S3_API_SECRET_KEY",
    "S3_ENGINE_ACCESS_KEY",
    "S3_ENGINE_SECRET_KEY",
    "POSTGRES_PASSWORD",
    "DAGSTER_PG_PASSWORD",
    "LAKE_PG_PASSWORD",
    "READONLY_PG_PASSWORD",
    "DUCKLAKE_PG_PASSWORD",
    "MART_PG_PASSWORD",
    "MART_READER_PASSWORD",
]


@pytest.fixture
def env() -> dict[str, str]:
    return {name: f"value of {name}" for name in SECRETS}


# Who may do what


def allowed(principal: str) -> set[tuple[str, str]]:
    """(action, resource) pairs of a policy, with the service prefixes off."""
    [policy] = [p.policy() for p in PRINCIPALS if p.name == principal]
    return {
        (action.removeprefix("s3:"), resource.removeprefix("arn:aws:s3:::"))
        for statement in policy["Statement"]
        for action in statement["Action"]
        for resource in statement["Resource"]
    }


BROWSE = {"GetBucketLocation", "ListBucket", "ListBucketMultipartUploads"}
WRITE = {"AbortMultipartUpload", "GetObject", "ListMultipartUploadParts", "PutObject"}


def test_serving_reads_gold_alone() -> None:
    assert allowed("serving") == {*((a, "gold") for a in BROWSE), ("GetObject", "gold/*")}


def test_ingest_lands_files_and_sees_nothing_else() -> None:
    assert allowed("ingest") == {*((a, "landing") for a in BROWSE), *((a, "landing/*") for a in WRITE)}


def test_pipeline_reads_landing_and_owns_tables_and_exports() -> None:
    tables = set(BUCKETS) - {"landing"}
    assert allowed("pipeline") == {
        *((action, bucket) for action in BROWSE for bucket in BUCKETS),
        ("GetObject", "landing/*"),
        *((action, f"{table}/*") for action in WRITE | {"DeleteObject"} for table in tables),
    }


def test_the_api_lands_files_and_changes_no_table() -> None:
    tables = set(BUCKETS) - {"landing", "exports"}
    assert allowed("api") == {
        *((action, bucket) for action in BROWSE for bucket in {"landing", *tables}),
        *((action, "landing/*") for action in WRITE),
        *(("GetObject", f"{table}/*") for table in tables),
    }


def test_no_policy_has_a_wildcard_action() -> None:
    assert not [action for p in PRINCIPALS for action, _ in allowed(p.name) if "*" in action]


# Settings


def test_secrets_come_from_the_environment_a_file_or_a_folder(env: dict[str, str], tmp_path: Path) -> None:
    del env["POSTGRES_PASSWORD"], env["LAKE_PG_PASSWORD"]
    (tmp_path / "postgres_password").write_text("from the folder\n")
    (tmp_path / "one").write_text("from a file\n")
    env |= {"SECRETS_DIR": str(tmp_path), "LAKE_PG_PASSWORD_FILE": str(tmp_path / "one")}
    settings = ProvisionSettings.from_env(env)
    assert settings.pg_root.password == "from the folder"
    assert settings.pg_roles["lake"].password == "from a file"
    assert settings.s3_keys["ingest"].user == "value of S3_INGEST_ACCESS_KEY"
    assert "value of" not in repr(settings).replace("user='value of", "")


def test_all_missing_secrets_are_named_at_once(env: dict[str, str]) -> None:
    env["S3_INGEST_SECRET_KEY"] = ""
    del env["POSTGRES_PASSWORD"]
    with pytest.raises(
        SettingsError, match=r"^no value for POSTGRES_PASSWORD, S3_INGEST_SECRET_KEY: run `make"
    ):
        ProvisionSettings.from_env(env)


@pytest.mark.parametrize(
    ("name", "value"), [("ODP_SAMPLE_DATA", "perhaps"), ("PROVISION_DEADLINE_SECONDS", "soon")]
)
def test_a_setting_that_makes_no_sense_is_named(env: dict[str, str], name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}={value} is "):
        ProvisionSettings.from_env({**env, name: value})


def test_missing_settings_end_with_their_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)
    assert command.main([]) == 2
    assert "✗ settings: no value for DAGSTER_PG_PASSWORD, DUCKLAKE_PG_PASSWORD," in capsys.readouterr().err


# Steps


def test_a_step_waits_for_what_is_not_there_yet() -> None:
    calls: list[int] = []

    def third_time() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise NotYet("not yet")
        return "done"

    lines: list[str] = []
    steps.run([Step("patient", third_time)], deadline=time.monotonic() + 30, say=lines.append)
    assert len(calls) == 3
    assert [(line[:9], line[-6:]) for line in lines] == [("✓ patient", "  done")]


def test_a_step_gives_up_at_the_deadline_and_the_later_ones_are_not_tried() -> None:
    def never() -> str:
        raise NotYet("the store at http://minio:9000 does not answer")

    with pytest.raises(StepFailed, match=r"^buckets: the store .* does not answer; gave up after 0 s$"):
        steps.run([Step("buckets", never), Step("keys", pytest.fail)], deadline=time.monotonic() + 0.15)


def test_a_refusal_is_not_repeated() -> None:
    calls: list[int] = []

    def refused() -> str:
        calls.append(1)
        raise Refused("wrong password: put the old .env back")

    with pytest.raises(StepFailed, match=r"^roles: wrong password: put the old \.env back$"):
        steps.run([Step("roles", refused)], deadline=time.monotonic() + 30)
    assert len(calls) == 1


def test_a_surprise_names_the_step_and_itself() -> None:
    def surprise() -> str:
        raise KeyError("Buckets")

    with pytest.raises(StepFailed, match=r"^buckets: KeyError at test_provision:\d+$"):
        steps.run([Step("buckets", surprise)], deadline=time.monotonic() + 30)


# The object store's answers, told apart


def client_error(status: int, code: str) -> Exception:
    from botocore.exceptions import ClientError

    response: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "ListBuckets")


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch"])
def test_wrong_root_credentials_are_a_refusal(env: dict[str, str], code: str) -> None:
    store = ObjectStore(ProvisionSettings.from_env(env))
    with (
        pytest.raises(
            Refused, match=rf"refuses MINIO_ROOT_USER and MINIO_ROOT_PASSWORD: .*{code}.*put the old"
        ),
        store._own_errors(),
    ):
        raise client_error(403, code)


def test_a_store_that_starts_up_is_waited_for(env: dict[str, str]) -> None:
    store = ObjectStore(ProvisionSettings.from_env(env))
    with pytest.raises(NotYet, match="is not ready"), store._own_errors():
        raise client_error(503, "XMinioServerNotInitialized")


def test_a_store_that_is_not_there_is_waited_for(env: dict[str, str]) -> None:
    settings = ProvisionSettings.from_env({**env, "S3_ENDPOINT": "http://127.0.0.1:1"})
    with pytest.raises(NotYet, match=r"the object store at http://127\.0\.0\.1:1 does not answer"):
        ObjectStore(settings).buckets()


def test_both_lanes_report(env: dict[str, str]) -> None:
    settings = ProvisionSettings.from_env(
        {**env, "S3_ENDPOINT": "http://127.0.0.1:1", "POSTGRES_HOST": "127.0.0.1", "POSTGRES_HOST_PORT": "1"}
    )
    told = [str(failure) for failure in command.provision(settings, deadline=time.monotonic() + 0.3)]
    assert [text.split(":")[0] for text in told] == ["buckets", "postgres roles"]
    assert "Postgres at 127.0.0.1:1 does not answer" in told[1]
