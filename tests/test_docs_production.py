"""docs/operations/production.md without a cluster or a cloud: what can be typed here is, the rest is checked.

Belongs here: that the page's commands name files, options, Secrets and pods that are there. Does not: what
the charts render (tests/charts), or the overlay (test_compose_config.py).
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkouts import ROOT, clean_env
from docs_blocks import Typed, blocks, commands, steps

import config_docs
from lakehouse.provision.policies import BUCKETS, PRINCIPALS
from odpctl import dotenv

PAGE = ROOT / "docs" / "operations" / "production.md"
HELM = ROOT / "deploy" / "helm"
ROOT_ONLY = {"MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"}
# What the chart dagster names: its release, the name of its part for code locations, and that of ours.
CODE = "dagster-dagster-user-deployments-odp-code"
# Typed where a stack, a cluster or a cloud is, by the word they begin with.
ELSEWHERE = {"aws", "docker", "helm", "kubectl", "make", "for", "done"}


def lines() -> list[str]:
    found = [line for step in steps(PAGE) if isinstance(step, Typed) for line in commands(step.commands)]
    return [line.strip() for line in found]


def starting(*words: str) -> list[list[str]]:
    """The commands of the page that begin with these words, each as its arguments."""
    split = [shlex.split(line) for line in lines()]
    return [argv for argv in split if argv[: len(words)] == list(words)]


def load(path: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HELM / path).read_text(encoding="utf-8"))
    return found


def options(argv: list[str], *names: str) -> list[str]:
    return [value for name, value in pairwise(argv) if name in names]


def test_every_command_is_of_a_kind_that_is_looked_at() -> None:
    here = {"S3_BUCKET_PREFIX=acme-odp-", "mkdir", "python3", "rm"}
    assert {line.split()[0] for line in lines()} == here | ELSEWHERE


def test_policies_are_printed() -> None:
    [argv] = starting("S3_BUCKET_PREFIX=acme-odp-")
    assert argv[1:] == [".venv/bin/python", "-m", "lakehouse.provision", "--policies"]
    done = subprocess.run(
        [sys.executable, *argv[2:]], cwd=ROOT, env=clean_env(S3_BUCKET_PREFIX="acme-odp-"),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    printed = json.loads(done.stdout)
    assert set(printed) == {one.name for one in PRINCIPALS}
    named = set(re.findall(r"arn:aws:s3:::([a-z-]+)", done.stdout))
    assert named == {f"acme-odp-{bucket}" for bucket in BUCKETS}
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"| `{one.name}` |" in text for one in PRINCIPALS)


def test_every_bucket_is_made() -> None:
    [loop] = [line for line in lines() if line.startswith("for ")]
    made = loop.removeprefix("for name in ").removesuffix("; do").split()
    assert made == [*BUCKETS, "dagster-logs"]
    assert load("site/dagster.yaml")["computeLogManager"]["config"]["s3ComputeLogManager"]["bucket"] == (
        "acme-odp-dagster-logs"
    )


def test_secrets_become_the_files_that_the_charts_ask_for(tmp_path: Path) -> None:
    values = {name: dotenv.make_secret(name) for name in dotenv.SECRETS}
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    for argv in [*starting("mkdir"), *starting("python3")]:
        command = [str(ROOT / part) if part.startswith("ops/") else part for part in argv]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    made = {path.name: path.read_text() for path in (tmp_path / ".secrets" / "odp-secrets").iterdir()}
    assert made == {name.lower(): values[name] for name in values if name not in ROOT_ONLY}
    [argv] = [argv for argv in starting("kubectl") if "odp-dagster-postgres" in argv]
    [source] = [part for part in argv if part.startswith("--from-file=")]
    key, _, path = source.removeprefix("--from-file=").partition("=")
    assert key == "postgresql-password"  # what Dagster's chart reads
    assert (tmp_path / path).read_text() == values["DAGSTER_PG_PASSWORD"]


def test_each_secret_that_a_chart_names_is_made() -> None:
    argvs = starting("kubectl", "-n", "data", "create")
    made = {argv[argv.index(kind) + skip] for argv in argvs for kind, skip in KINDS.items() if kind in argv}
    odp, dagster = load("site/odp.yaml"), load("dagster-values.yaml")
    named = {
        odp["secrets"]["provision"], odp["secrets"]["api"], odp["lake"]["postgres"]["caConfigMap"],
        dagster["global"]["postgresqlSecretName"], dagster["dagsterWebserver"]["envSecrets"][0]["name"],
        *re.findall(r"secretName: ([a-z-]+)", (HELM / "dagster-values.yaml").read_text()),
        *re.findall(r"configMap: \{name: ([a-z-]+)", (HELM / "dagster-values.yaml").read_text()),
    }  # fmt: skip
    assert made == named


KINDS = {"generic": 1, "configmap": 1}


def test_helm_is_given_files_that_are_there() -> None:
    releases = {argv[3]: argv for argv in starting("helm", "upgrade", "--install")}
    assert set(releases) == {"odp", "dagster"}
    assert (ROOT / releases["odp"][4] / "Chart.yaml").exists()
    for argv in releases.values():
        files = options(argv, "-f")
        assert files
        assert all((ROOT / file).exists() for file in files)
    pinned = re.search(r'"dagster==([0-9.]+)"', (ROOT / "data/dagster/pyproject.toml").read_text())
    assert pinned
    assert options(releases["dagster"], "--version") == [pinned[1]]


def test_the_image_that_helm_is_told_is_the_one_that_is_pushed() -> None:
    [argv] = [argv for argv in starting("helm") if "dagster/dagster" in argv]
    told = dict(one.split("=", 1) for one in options(argv, "--set-string"))
    place = "dagster-user-deployments.deployments[0].image"
    site = load("site/dagster.yaml")["dagsterDaemon"]["image"]
    assert told == {f"{place}.repository": site["repository"], f"{place}.tag": site["tag"]}
    assert len(load("dagster-values.yaml")["dagster-user-deployments"]["deployments"]) == 1
    pushed = {argv[2] for argv in starting("docker", "push")}
    built = {options(argv, "-t")[0] for argv in starting("docker", "build")}
    assert pushed == built
    assert f"{site['repository']}:{site['tag']}" in pushed


def test_images_are_built_from_files_that_know_the_arguments() -> None:
    for argv in starting("docker", "build"):
        [file] = options(argv, "-f")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert all(f"ARG {one.split('=')[0]}=" in text for one in options(argv, "--build-arg"))


@pytest.mark.parametrize("argv", starting("kubectl", "-n", "data", "exec"), ids=lambda argv: argv[4])
def test_what_is_run_in_a_pod_is_there(argv: list[str]) -> None:
    assert argv[4] in {"deploy/odp-api", f"deploy/{CODE}"}
    command = argv[argv.index("--") + 1 :]
    assert command[:2] == ["python", "-m"]
    module, *verb = command[2:]
    first = [part for part in verb[:1] if not part.startswith("-")]
    done = subprocess.run(
        [sys.executable, "-m", module, *first, "--help"], cwd=ROOT, env=clean_env(), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(part in done.stdout for part in verb if part.startswith("--"))


def test_the_code_locations_pod_has_that_name() -> None:
    [deployment] = load("dagster-values.yaml")["dagster-user-deployments"]["deployments"]
    assert f"dagster-dagster-user-deployments-{deployment['name']}" == CODE


def test_every_line_of_env_is_a_setting() -> None:
    [block] = [block for block in blocks(PAGE) if block.language == "ini"]
    named = set(re.findall(r"^([A-Z0-9_]+)=", block.text, re.MULTILINE))
    groups = config_docs.parse((ROOT / ".env.example").read_text(encoding="utf-8"))
    assert named <= {variable.name for variables in groups.values() for variable in variables}
    assert "COMPOSE_FILE=compose.yml:compose.external.yml" in block.text.splitlines()
    assert (ROOT / "compose.external.yml").exists()


def test_every_value_that_the_page_names_is_one_of_the_chart() -> None:
    schema = json.loads((HELM / "odp" / "values.schema.json").read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    named = re.findall(
        r"`((?:api|dagster|spark|lake|secrets|serviceMonitor|networkPolicy|images)\.[A-Za-z.]+)", text
    )
    assert named
    for path in named:
        place = schema
        for part in path.split("."):
            assert part in place["properties"], path
            place = place["properties"][part]
