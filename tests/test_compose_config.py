"""compose.yml as Compose resolves it, per profile: every hardening rule, and no drift from .env.example.

Needs the docker command and its compose plugin, no engine.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from checkouts import ROOT, clean_env

import config_docs
from lakehouse.engine.spark import server
from lakehouse.provision.settings import ProvisionSettings
from lakehouse.settings import Settings
from odpctl import dotenv
from odpctl.checkout import CATALOG, CHOICES, DEFAULTS

LONG = {"postgres", "minio", "toolbox"}
ONCE = {"secrets", "lake-init"}
FULL = {"dagster-code", "dagster", "dagster-daemon", "api"}
PROFILES = {
    "minimal": LONG | ONCE,
    "dev": LONG | ONCE,
    "full": LONG | ONCE | FULL,
    "distributed": LONG | ONCE | FULL | {"spark"},
}
PUBLISHED = {"postgres": [15432], "minio": [19000, 19001], "dagster": [18084], "api": [18080]}

# What a service may do that no other may, and why.
EXCEPTIONS = {
    "secrets": {
        "user": "0:0",
        "cap_add": ["DAC_READ_SEARCH"],
    },  # .env is 0600 and its owner's; no network, ends at once
}
# Files that name the words in order to refuse them.
REFUSING = {
    "ops/local/envfile.py",
    "tests/test_secret_files.py",
    "tests/test_scripts_env.py",
    "tests/test_compose_config.py",
}


def compose(*args: str) -> str:
    """`docker compose` on this file, with its defaults alone."""
    argv = ["docker", "compose", "--env-file", "/dev/null", "--project-directory", str(ROOT), *args]
    done = subprocess.run(
        argv, cwd=ROOT, env=clean_env(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def config(profile: str) -> dict[str, Any]:
    try:
        subprocess.run(["docker", "compose", "version"], capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no docker command with the compose plugin here")
    resolved: dict[str, Any] = json.loads(compose("--profile", profile, "config", "--format", "json"))
    return resolved


@pytest.fixture(params=PROFILES)
def profile(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def services(profile: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = config(profile)["services"]
    return found


def test_a_profile_picks_exactly_its_services(profile: str, services: dict[str, Any]) -> None:
    assert set(services) == PROFILES[profile]


def test_without_a_profile_nothing_runs() -> None:
    config("full")  # skips where there is no docker
    assert json.loads(compose("config", "--format", "json"))["services"] == {}


def test_every_container_is_hardened(services: dict[str, Any]) -> None:
    for name, service in services.items():
        allowed = EXCEPTIONS.get(name, {})
        assert service["cap_drop"] == ["ALL"], name
        assert service.get("cap_add", []) == allowed.get("cap_add", []), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert any(mount.startswith("/tmp:") and "size=" in mount for mount in service["tmpfs"]), name
        assert service["init"] is True, name
        uid, gid = service["user"].split(":")
        assert service["user"] == allowed.get("user") or (int(uid) > 0 and int(gid) > 0), name
        assert 0 < service["pids_limit"] <= 1024, name
        assert 0 < int(service["mem_limit"]) <= 4 << 30, name
        assert service["logging"] == {
            "driver": "json-file",
            "options": {"max-size": "10m", "max-file": "3"},
        }, name


def test_nothing_reaches_for_the_host(profile: str, services: dict[str, Any]) -> None:
    refused = {
        "container_name",
        "privileged",
        "pid",
        "ipc",
        "userns_mode",
        "devices",
        "device_cgroup_rules",
        "uts",
    }
    for name, service in services.items():
        assert refused.isdisjoint(key for key, value in service.items() if value), name
        assert service.get("network_mode") in (None, "none"), name
        binds = [mount for mount in service.get("volumes", []) if mount["type"] == "bind"]
        assert all(mount.get("read_only") for mount in binds), name
    assert "docker.sock" not in json.dumps(config(profile))


def test_ports_are_on_loopback_and_no_others(services: dict[str, Any]) -> None:
    published = {
        name: [int(port["published"]) for port in service["ports"]]
        for name, service in services.items()
        if service.get("ports")
    }
    assert published == {name: ports for name, ports in PUBLISHED.items() if name in services}
    assert {port["host_ip"] for service in services.values() for port in service.get("ports", [])} == {
        "127.0.0.1"
    }


def test_ports_are_quoted() -> None:
    text = (ROOT / "compose.yml").read_text()
    published = re.findall(r"^ *(?:ports:|-).*\$\{BIND_ADDRESS.*$", text, re.MULTILINE)
    assert len(published) == sum(map(len, PUBLISHED.values()))
    assert all(re.search(r'"\$\{BIND_ADDRESS:-127\.0\.0\.1\}:[^"]+"', line) for line in published)


def test_a_service_that_publishes_has_a_way_in(profile: str, services: dict[str, Any]) -> None:
    """On internal networks alone, Docker publishes nothing and says nothing."""
    networks = config(profile)["networks"]
    assert networks["data"]["internal"] is True
    assert networks["edge"]["driver_opts"] == {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    for name, service in services.items():
        if service.get("network_mode") == "none":
            continue
        assert "data" in service["networks"], name
        assert ("edge" in service["networks"]) == bool(service.get("ports")), name
        assert ("egress" in service["networks"]) == (name == "dagster-code"), name


def test_every_long_service_is_checked_and_comes_back(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name in ONCE:
            assert service["restart"] == "no", name
            assert "healthcheck" not in service, name
            continue
        assert service["restart"] == "unless-stopped", name
        check = service["healthcheck"]
        assert check["test"][0] == "CMD", name
        assert {"interval", "timeout", "retries", "start_period"} <= set(check), name
        # It would need Engine 25: older ones refuse the whole file.
        assert "start_interval" not in check, name


def test_every_one_shot_is_adopted_by_a_long_service(services: dict[str, Any]) -> None:
    """`up --wait` takes the end of a one-shot that nobody waits for as a failure (docker/compose#10596)."""
    adopted = {
        awaited
        for name, service in services.items()
        if name not in ONCE
        for awaited, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    }
    assert adopted == ONCE


def test_secrets_travel_as_files(services: dict[str, Any]) -> None:
    for name, service in services.items():
        given = service.get("environment") or {}
        assert set(given) & {*dotenv.SECRETS, "ALERT_WEBHOOK_URL"} == set(), name
        holding = [mount for mount in service.get("volumes", []) if mount["target"] == "/run/secrets"]
        assert [(mount["source"], mount["read_only"]) for mount in holding] == (
            [] if name == "secrets" else [(f"secrets-{SHARES.get(name, name)}", True)]
        ), name


SHARES = {"dagster-daemon": "dagster"}  # the same one secret
GRANTS = {
    "postgres": {"POSTGRES_PASSWORD"},
    "minio": {"MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"},
    "lake-init": set(dotenv.SECRETS),
    "spark": {"S3_ENGINE_ACCESS_KEY", "S3_ENGINE_SECRET_KEY"},
    "toolbox": {
        "S3_PIPELINE_ACCESS_KEY",
        "S3_PIPELINE_SECRET_KEY",
        "S3_INGEST_ACCESS_KEY",
        "S3_INGEST_SECRET_KEY",
        "DUCKLAKE_PG_PASSWORD",
        "MART_PG_PASSWORD",
    },
    "dagster-code": {
        "S3_PIPELINE_ACCESS_KEY",
        "S3_PIPELINE_SECRET_KEY",
        "DAGSTER_PG_PASSWORD",
        "ALERT_WEBHOOK_URL?",
        "DUCKLAKE_PG_PASSWORD",
        "MART_PG_PASSWORD",
    },
    "dagster": {"DAGSTER_PG_PASSWORD"},
    "api": {
        "S3_API_ACCESS_KEY",
        "S3_API_SECRET_KEY",
        "S3_SERVING_ACCESS_KEY",
        "S3_SERVING_SECRET_KEY",
        "DUCKLAKE_PG_PASSWORD",
    },
}


def granted() -> dict[str, set[str]]:
    """Who is given which secret, from the command of the service that hands them out."""
    grants: dict[str, set[str]] = {}
    for word in config("full")["services"]["secrets"]["command"]:
        if match := re.fullmatch(r"([a-z-]+)=([A-Z0-9_,?]+)", word):
            grants.setdefault(match[1], set()).update(match[2].split(","))
    return grants


def test_each_service_gets_its_own_secrets_only() -> None:
    assert granted() == GRANTS


def test_every_image_is_one_variable_with_a_tag(services: dict[str, Any]) -> None:
    for name, service in services.items():
        tag = service["image"].rpartition(":")[2]
        assert tag not in ("", "latest"), name
        assert "/" not in tag, f"{name}: {service['image']} has no tag"
    text = (ROOT / "compose.yml").read_text()
    images = re.findall(r"^ *image: (.*)$", text, re.MULTILINE)
    assert len(images) == 4
    assert all(re.fullmatch(r"\$\{[A-Z_]+_IMAGE:-[^{}$]+\}", image) for image in images)


def test_teardown_needs_no_variable() -> None:
    """`${VAR:?}` would fail `down` and `ps` where .env is gone; a bare `${VAR}` would warn."""
    used = re.findall(r"\$\{[^}]*\}", (ROOT / "compose.yml").read_text().split("\nname:", 1)[1])
    assert used
    assert [word for word in used if not re.fullmatch(r"\$\{[A-Z0-9_]+:-[^}]*\}", word)] == []


def test_compose_and_env_example_name_the_same_variables() -> None:
    used = dict(re.findall(r"\$\{([A-Z0-9_]+):-([^}]*)\}", (ROOT / "compose.yml").read_text()))
    external = dict(re.findall(r"\$\{([A-Z0-9_]+):-([^}]*)\}", EXTERNAL.read_text()))
    used = {**external, "COMPOSE_FILE": "", **used}
    secrets = {name.removesuffix("?") for names in granted().values() for name in names}
    described = {
        variable.name: variable.default
        for variables in config_docs.parse((ROOT / ".env.example").read_text()).values()
        for variable in variables
    }
    assert set(described) == {*used, *secrets, *CATALOG}  # containers have a catalog of their own
    assert {name: described[name] for name in used} == used
    assert {described[name] for name in secrets} == {""}


# The overlay for real S3 and Postgres

EXTERNAL = ROOT / "compose.external.yml"
ENV = {
    "COMPOSE_FILE": "compose.yml:compose.external.yml", "S3_BUCKET_PREFIX": "acme-odp-",
    "S3_REGION": "eu-central-1", "POSTGRES_HOST": "db.example.org", "POSTGRES_USER": "master",
}  # fmt: skip


@pytest.fixture(scope="module")
def external(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The services of a `.env` with the overlay's line in it."""
    config("full")  # skips where there is no docker
    env: Path = tmp_path_factory.mktemp("external") / ".env"
    env.write_text("".join(f"{name}={value}\n" for name, value in ENV.items()))
    argv = [
        "docker",
        "compose",
        "--env-file",
        str(env),
        "--project-directory",
        str(ROOT),
        "--profile",
        "distributed",
    ]
    done = subprocess.run(
        [*argv, "config", "--format", "json"], cwd=ROOT, env=clean_env(), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)["services"]
    return found


def test_the_overlay_leaves_store_and_postgres_out(external: dict[str, Any]) -> None:
    assert set(external) == PROFILES["distributed"] - {"postgres", "minio"}
    awaited = {name for service in external.values() for name in service.get("depends_on", {})}
    assert awaited <= set(external)
    texts = [json.dumps({**service, "environment": env(service)}) for service in external.values()]
    assert not [text for text in texts if re.search(r"minio:9000|postgres:5432|minio=|postgres=", text)]


def env(service: dict[str, Any]) -> dict[str, Any]:
    """What a service is told; the names that no proxy is asked for are no addresses."""
    given = service.get("environment") or {}
    return {name: value for name, value in given.items() if name.upper() != "NO_PROXY"}


def test_the_overlay_loosens_nothing(external: dict[str, Any]) -> None:
    plain = config("distributed")["services"]
    kept = ("cap_drop", "cap_add", "security_opt", "read_only", "user", "init", "pids_limit", "mem_limit",
            "tmpfs", "logging", "restart", "ports", "network_mode", "image")  # fmt: skip
    for name, service in external.items():
        assert {key: service.get(key) for key in kept} == {key: plain[name].get(key) for key in kept}, name
        binds = [mount for mount in service.get("volumes", []) if mount["type"] == "bind"]
        assert all(mount["read_only"] for mount in binds), name
        assert not set(env(service)) & {*dotenv.SECRETS, "ALERT_WEBHOOK_URL"}, name
    assert {port["host_ip"] for service in external.values() for port in service.get("ports", [])} == {
        "127.0.0.1"
    }


def test_whoever_asks_the_outside_has_a_way_out_and_the_certificate(external: dict[str, Any]) -> None:
    for name, service in external.items():
        if name == "secrets":
            assert service["network_mode"] == "none"
            continue
        assert "egress" in service["networks"], name
        if name == "spark":  # it knows no Postgres
            continue
        assert env(service)["PGSSLMODE"] == "verify-full", name
        mounted = {mount["target"] for mount in service["volumes"]}
        assert env(service)["PGSSLROOTCERT"] in mounted, name


def test_the_overlay_hands_out_the_same_secrets_less_those_of_what_it_has_not(
    external: dict[str, Any],
) -> None:
    grants: dict[str, set[str]] = {}
    for word in external["secrets"]["command"]:
        if match := re.fullmatch(r"([a-z-]+)=([A-Z0-9_,?]+)", word):
            grants.setdefault(match[1], set()).update(match[2].split(","))
    less = {"MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", *GRANTS["spark"]}
    others = {name: of - less for name, of in GRANTS.items() if name not in ("postgres", "minio", "spark")}
    assert grants == others | {"spark": {f"{name}?" for name in GRANTS["spark"]}}
    targets = {mount["target"].removeprefix("/out/") for mount in external["secrets"]["volumes"]}
    assert targets == set(grants)


def test_our_settings_take_what_the_overlay_says(external: dict[str, Any], tmp_path: Path) -> None:
    def given(name: str) -> dict[str, str]:
        found = {key: str(value) for key, value in env(external[name]).items()}
        for key in [key for key in found if key.endswith("_FILE")]:
            (tmp_path / Path(found[key]).name).write_text(f"value of {key}")
            found[key] = str(tmp_path / Path(found[key]).name)
        return found

    for name in ("toolbox", "dagster-code", "api"):
        lake = Settings.from_env(given(name))
        assert (lake.bucket("gold"), lake.landing_url) == ("acme-odp-gold", "s3://acme-odp-landing"), name
        assert (lake.s3_endpoint, lake.s3_region) == (None, "eu-central-1"), name  # AWS
        assert lake.ducklake_pg_host == "db.example.org", name
    made = server.environment({**given("spark"), "ODP_SCRATCH": str(tmp_path)})
    assert (made["AWS_ACCESS_KEY_ID"], made["AWS_REGION"]) == ("value of S3_ACCESS_KEY_FILE", "eu-central-1")
    assert "AWS_ENDPOINT" not in made
    assert env(external["spark"])["S3_ACCESS_KEY_FILE"] == "/run/secrets/s3_engine_access_key"
    for secret in GRANTS["lake-init"]:
        (tmp_path / secret.lower()).write_text(f"value of {secret}")
    init = ProvisionSettings.from_env({**given("lake-init"), "SECRETS_DIR": str(tmp_path)})
    assert (init.s3_root, init.pg_host, init.pg_root.user) == (None, "db.example.org", "master")
    assert init.sample is False
    for name in ("dagster-code", "dagster", "dagster-daemon"):
        assert env(external[name])["DAGSTER_PG_HOST"] == "db.example.org", name


def test_scripts_and_env_example_agree() -> None:
    groups = config_docs.parse((ROOT / ".env.example").read_text())
    assert {variable.name for variable in groups["Secrets"]} == set(dotenv.SECRETS)
    assert {variable.name: variable.default for variable in groups["Addresses and ports"]} == DEFAULTS


def test_scripts_compose_and_env_example_choose_alike() -> None:
    variables = config_docs.parse((ROOT / ".env.example").read_text())["Behaviour"]
    used = dict(re.findall(r"\$\{([A-Z0-9_]+):-([^}]*)\}", (ROOT / "compose.yml").read_text()))
    for name, default in CHOICES.items():
        assert (
            {variable.default for variable in variables if variable.name == name} == {used[name]} == {default}
        )


def test_configuration_page_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert config_docs.main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["PORT=1\n", "## Group\nPORT=1\n", "## Group\n# Text.\nport 1\n", "## G\n# A.\nA=1\n# A.\nA=1\n"]
)
def test_an_undescribed_variable_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\.env\.example"):
        config_docs.parse(text)


def test_no_default_secret_anywhere() -> None:
    argv = ["git", "grep", "-lIE", "minioadmin|changeme|postgres:postgres@"]
    found = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode in (0, 1), found.stderr
    assert set(found.stdout.split()) <= REFUSING
