"""deploy/helm/dagster-values.yaml: keys that the official chart knows, and a Dagster that takes what comes
of them.

The chart itself is not on the package index, so it is not rendered here: what it makes of the values, key by
key, stands in `instance` below, as read in its templates (dagster-io/dagster, helm/dagster/templates).
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkouts import ROOT
from rendering import HELM, KUBERNETES, Object, of_kind, render, restricted, site

from lakehouse.settings import Settings
from odpctl import dotenv

pytestmark = pytest.mark.charts

VALUES = HELM / "dagster-values.yaml"
SITE = HELM / "site" / "dagster.yaml"
# What the chart's values.yaml has at the top, and below what we set. A key it does not know it would ignore.
KNOWN = {
    "global": {"postgresqlSecretName", "dagsterHome", "serviceAccountName", "celeryConfigSecretName"},
    "generatePostgresqlPasswordSecret": None,
    "generateCeleryConfigSecret": None,
    "postgresql": {"enabled", "image", "postgresqlHost", "postgresqlUsername", "postgresqlPassword",
                   "postgresqlDatabase", "postgresqlParams", "postgresqlScheme", "service"},
    "rabbitmq": {"enabled"}, "redis": {"enabled"}, "flower": {"enabled"}, "telemetry": {"enabled"},
    "migrate": {"enabled"},
    "dagsterWebserver": {
        "replicaCount", "image", "nameOverride", "service", "env", "envConfigMaps", "envSecrets", "labels",
        "volumes", "volumeMounts", "podSecurityContext", "securityContext", "resources",
        "initContainerResources", "readinessProbe", "livenessProbe", "startupProbe",
    },
    "dagsterDaemon": {
        "enabled", "image", "heartbeatTolerance", "runCoordinator", "runMonitoring", "runRetries", "sensors",
        "schedules", "env", "envConfigMaps", "envSecrets", "labels", "volumes", "volumeMounts",
        "podSecurityContext", "securityContext", "resources", "initContainerResources", "livenessProbe",
        "readinessProbe", "startupProbe",
    },
    "dagster-user-deployments": {"enabled", "enableSubchart", "imagePullSecrets", "deployments"},
    "runLauncher": {"type", "config"},
    "computeLogManager": {"type", "config"},
    "retention": {"enabled", "schedule", "sensor", "autoMaterialize"},
    "additionalInstanceConfig": {"local_artifact_storage", "nux"},
}  # fmt: skip
DEPLOYMENT = {
    "name", "image", "dagsterApiGrpcArgs", "port", "includeConfigInLaunchedRuns", "env", "envConfigMaps",
    "envSecrets", "labels", "volumes", "volumeMounts", "podSecurityContext", "securityContext", "resources",
    "readinessProbe", "livenessProbe", "startupProbe", "service",
}  # fmt: skip
LAUNCHER = {
    "imagePullPolicy", "loadInclusterConfig", "envConfigMaps", "envSecrets", "envVars", "volumes",
    "volumeMounts", "labels", "resources", "securityContext", "failPodOnRunFailure", "runK8sConfig",
    "jobNamespace",
}  # fmt: skip


def load(path: Path) -> Object:
    found: Object = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def over(base: Any, changes: Any) -> Any:
    """Return values with others laid over them, as Helm does: maps are merged, lists are taken whole."""
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    return {**base, **{name: over(base.get(name), value) for name, value in changes.items()}}


@pytest.fixture(scope="module")
def values() -> Object:
    """The values of an installation: ours, the example's, and the two of the command line."""
    made: Object = over(load(VALUES), load(SITE))
    [deployment] = made["dagster-user-deployments"]["deployments"]
    deployment["image"] = made["dagsterDaemon"]["image"]
    return made


@pytest.fixture(scope="module")
def launcher(values: Object) -> Object:
    found: Object = values["runLauncher"]["config"]["k8sRunLauncher"]
    return found


# Keys


@pytest.mark.parametrize("path", [VALUES, SITE], ids=["ours", "site"])
def test_every_key_is_one_of_the_chart(path: Path) -> None:
    found = load(path)
    assert set(found) <= set(KNOWN)
    for name, value in found.items():
        if (known := KNOWN[name]) is not None:
            assert set(value) <= known, name


def test_the_lists_have_known_keys_too(values: Object, launcher: Object) -> None:
    [deployment] = values["dagster-user-deployments"]["deployments"]
    assert set(deployment) <= DEPLOYMENT
    assert set(launcher) <= LAUNCHER
    assert set(launcher["runK8sConfig"]) <= {"containerConfig", "podSpecConfig", "podTemplateSpecMetadata",
                                             "jobSpecConfig", "jobMetadata"}  # fmt: skip


def test_the_chart_is_that_of_the_pinned_dagster() -> None:
    pinned = re.search(
        r'"dagster==([0-9.]+)"', (ROOT / "data/dagster/pyproject.toml").read_text(encoding="utf-8")
    )
    assert pinned
    named = set(re.findall(r"\b1\.\d+\.\d+\b", VALUES.read_text(encoding="utf-8")))
    assert named == {pinned[1]}


def test_what_is_yours_is_all_in_the_example(values: Object) -> None:
    text = yaml.safe_dump(values)
    assert ".invalid" in VALUES.read_text(encoding="utf-8")
    assert ".invalid" not in text
    assert "set-me" not in text


# The instance


def instance(values: Object) -> Object:
    """Return the dagster.yaml that the chart would write."""
    daemon, postgres = values["dagsterDaemon"], values["postgresql"]
    queue = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    launch = values["runLauncher"]["config"]["k8sRunLauncher"]
    logs = values["computeLogManager"]["config"]["s3ComputeLogManager"]
    monitoring, kubernetes = daemon["runMonitoring"], launch["runK8sConfig"]
    storage = {
        "postgres_db": {
            "username": postgres["postgresqlUsername"], "password": {"env": "DAGSTER_PG_PASSWORD"},
            "hostname": postgres["postgresqlHost"], "db_name": postgres["postgresqlDatabase"],
            "port": postgres["service"]["port"], "params": postgres["postgresqlParams"],
            "scheme": postgres["postgresqlScheme"],
        }
    }  # fmt: skip
    storages = {
        name: {"module": f"dagster_postgres.{module}", "class": kind, "config": storage}
        for name, module, kind in (
            ("run_storage", "run_storage", "PostgresRunStorage"),
            ("event_log_storage", "event_log", "PostgresEventLogStorage"),
            ("schedule_storage", "schedule_storage", "PostgresScheduleStorage"),
        )
    }
    return {
        **storages,
        "scheduler": {"module": "dagster._core.scheduler", "class": "DagsterDaemonScheduler"},
        "run_launcher": {
            "module": "dagster_k8s", "class": values["runLauncher"]["type"],
            "config": {
                "load_incluster_config": launch["loadInclusterConfig"], "job_namespace": "data",
                "image_pull_policy": launch["imagePullPolicy"], "service_account_name": "dagster",
                "dagster_home": values["global"]["dagsterHome"], "instance_config_map": "dagster-instance",
                "postgres_password_secret": values["global"]["postgresqlSecretName"],
                "env_config_maps": [one["name"] for one in launch["envConfigMaps"]],
                "env_secrets": [one["name"] for one in launch["envSecrets"]],
                "env_vars": launch["envVars"], "volumes": launch["volumes"],
                "volume_mounts": launch["volumeMounts"], "labels": launch["labels"],
                "resources": launch["resources"], "security_context": launch["securityContext"],
                "fail_pod_on_run_failure": launch["failPodOnRunFailure"],
                "run_k8s_config": {
                    "pod_spec_config": kubernetes["podSpecConfig"],
                    "job_spec_config": kubernetes["jobSpecConfig"],
                },
            },
        },
        "run_coordinator": {
            "module": "dagster._core.run_coordinator", "class": daemon["runCoordinator"]["type"],
            "config": {
                "max_concurrent_runs": queue["maxConcurrentRuns"],
                "dequeue_interval_seconds": queue["dequeueIntervalSeconds"],
                "dequeue_use_threads": queue["dequeueUseThreads"],
                "dequeue_num_workers": queue["dequeueNumWorkers"],
            },
        },
        "compute_logs": {
            "module": "dagster_aws.s3.compute_log_manager", "class": values["computeLogManager"]["type"],
            "config": {
                "bucket": logs["bucket"], "prefix": logs["prefix"], "local_dir": logs["localDir"],
                "verify": True, "region": logs["region"], "skip_empty_files": logs["skipEmptyFiles"],
                "upload_interval": logs["uploadInterval"],
            },
        },
        "run_monitoring": {
            "enabled": monitoring["enabled"], "start_timeout_seconds": monitoring["startTimeoutSeconds"],
            "max_resume_run_attempts": monitoring["maxResumeRunAttempts"],
            "poll_interval_seconds": monitoring["pollIntervalSeconds"],
            "free_slots_after_run_end_seconds": monitoring["freeSlotsAfterRunEndSeconds"],
        },
        "run_retries": {"enabled": daemon["runRetries"]["enabled"]},
        "telemetry": values["telemetry"],
        "retention": {
            kind: {"purge_after_days": values["retention"][name]["purgeAfterDays"]}
            for kind, name in (
                ("schedule", "schedule"), ("sensor", "sensor"), ("auto_materialize", "autoMaterialize"),
            )
        },
        **values["additionalInstanceConfig"],
    }  # fmt: skip


def test_dagster_takes_the_configuration(values: Object, tmp_path: Path) -> None:
    from dagster._core.instance.config import dagster_instance_config

    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(instance(values)), encoding="utf-8")
    config, _ = dagster_instance_config(str(tmp_path))
    assert config["telemetry"] == {"enabled": False}
    assert config["run_monitoring"]["free_slots_after_run_end_seconds"] == 60


@pytest.mark.parametrize("part", ["run_launcher", "run_coordinator", "compute_logs", "run_storage"])
def test_every_part_takes_its_own(values: Object, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster._config import process_config, resolve_to_config_type

    monkeypatch.setenv("DAGSTER_PG_PASSWORD", "as the chart gives it to every pod")
    made = instance(values)[part]
    kind = getattr(import_module(made["module"]), made["class"])
    done = process_config(resolve_to_config_type(kind.config_type()), made["config"])
    assert done.success, done.errors


def test_a_misspelt_key_would_be_found(values: Object) -> None:
    from dagster._config import process_config, resolve_to_config_type
    from dagster_k8s import K8sRunLauncher

    config = {**instance(values)["run_launcher"]["config"], "env_secret": ["odp"]}
    assert not process_config(resolve_to_config_type(K8sRunLauncher.config_type()), config).success


# The run


@pytest.fixture
def job(values: Object, monkeypatch: pytest.MonkeyPatch) -> Object:
    """The Kubernetes job of a run, as Dagster's own launcher builds it."""
    import kubernetes
    from dagster import DagsterRun
    from dagster._config import process_config, resolve_to_config_type
    from dagster_k8s import K8sRunLauncher
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import construct_dagster_k8s_job

    monkeypatch.setattr(kubernetes.config, "load_incluster_config", lambda: None)
    config = instance(values)["run_launcher"]["config"]
    whole = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), config).value
    launches = K8sRunLauncher.from_config_value(None, whole)
    context = K8sContainerContext.create_for_run(DagsterRun(job_name="all"), launches, include_run_tags=False)
    image = "registry.example.org/data/odp-platform:2026-11-30"
    made = construct_dagster_k8s_job(
        job_config=context.get_k8s_job_config(image, launches),
        args=["dagster", "api", "execute_run"],
        job_name="dagster-run-1",
        component="run_worker",
        user_defined_k8s_config=context.run_k8s_config,
    )
    found: Object = kubernetes.client.ApiClient().sanitize_for_serialization(made)
    return found


@pytest.mark.parametrize("version", KUBERNETES)
def test_a_run_is_what_the_cluster_expects(job: Object, version: str) -> None:
    import kubernetes_validate

    kubernetes_validate.validate(job, version, strict=True)


def test_a_run_keeps_the_rules(job: Object, launcher: Object) -> None:
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    # The configuration of the instance is a ConfigMap that Dagster adds.
    assert restricted(pod, container) == []
    assert container["resources"] == launcher["resources"]
    assert job["spec"]["ttlSecondsAfterFinished"] > 0
    assert job["spec"]["template"]["metadata"]["labels"]["odp/lake"] == "true"


def test_a_runs_memory_is_not_the_code_servers(values: Object, launcher: Object) -> None:
    [deployment] = values["dagster-user-deployments"]["deployments"]
    assert deployment["includeConfigInLaunchedRuns"] == {"enabled": False}
    assert launcher["resources"] != deployment["resources"]


# Pods of the chart


def places(values: Object) -> dict[str, Object]:
    [code] = values["dagster-user-deployments"]["deployments"]
    return {"webserver": values["dagsterWebserver"], "daemon": values["dagsterDaemon"], "code": code}


@pytest.mark.parametrize("name", ["webserver", "daemon", "code"])
def test_every_pod_keeps_the_rules(values: Object, name: str) -> None:
    one = places(values)[name]
    pod = {"securityContext": one["podSecurityContext"], "volumes": one["volumes"]}
    assert restricted(pod, one) == []
    assert {mount["name"] for mount in one["volumeMounts"]} == {volume["name"] for volume in one["volumes"]}
    assert {"/tmp", "/var/lib/dagster"} <= {mount["mountPath"] for mount in one["volumeMounts"]}
    if name != "code":
        assert restricted(pod, {**one, "resources": one["initContainerResources"]}) == []


def test_one_image_for_all_and_it_is_that_of_the_chart_odp(values: Object) -> None:
    images = [one["image"] for one in places(values).values()]
    assert len({yaml.safe_dump(image) for image in images}) == 1
    assert images[0]["repository"].rpartition("/")[2] == site().get("images", {}).get(
        "platform", "odp-platform"
    )
    made = {one["pullPolicy"] for one in images}
    assert made == {"IfNotPresent"}  # the tag is of one build


def test_the_lake_is_that_of_the_chart_odp(values: Object, launcher: Object, tmp_path: Path) -> None:
    [lake] = of_kind(render(site()), "ConfigMap").values()
    code = places(values)["code"]
    for taker in (code, launcher):
        assert [one["name"] for one in taker["envConfigMaps"]] == [lake["metadata"]["name"]]
        assert not {one["name"] for one in taker.get("env", [])} & set(lake["data"])
        mounted = {mount["name"]: mount["mountPath"] for mount in taker["volumeMounts"]}
        given = {
            f"{mounted[volume['name']]}/{item['path']}"
            for volume in taker["volumes"]
            for item in volume.get("secret", {}).get("items", [])
        }
        # Every file that the environment names is there.
        assert {value for name, value in lake["data"].items() if name.endswith("_FILE")} <= given
        assert lake["data"]["PGSSLROOTCERT"].startswith(mounted["postgres-ca"])
    env = {n: v for n, v in lake["data"].items() if not n.endswith("_FILE")}
    assert (
        Settings.from_env({**env, "S3_ACCESS_KEY": "k", "S3_SECRET_KEY": "s"}).bucket("gold")
        == "acme-odp-gold"
    )


def test_the_api_finds_the_webserver(values: Object) -> None:
    port = values["dagsterWebserver"]["service"]["port"]
    assert values["dagsterWebserver"]["readinessProbe"]["httpGet"]["port"] == port > 1024
    assert site()["dagster"]["url"] == f"http://dagster-dagster-webserver:{port}"  # release `dagster`


def test_the_policies_select_the_pods_of_the_chart(values: Object) -> None:
    """The labels are those of the chart's templates: `component` of a part, `deployment` of a location."""
    objects = render(site())
    policies = {name: one["spec"] for name, one in of_kind(objects, "NetworkPolicy").items()}
    code, web = policies["odp-dagster-code"], policies["odp-dagster-webserver"]
    location = {"component": "user-deployments", "deployment": places(values)["code"]["name"]}
    assert code["podSelector"] == {"matchLabels": location}
    assert code["ingress"][0]["ports"] == [{"port": places(values)["code"]["port"], "protocol": "TCP"}]
    callers = [one["podSelector"]["matchLabels"] for one in code["ingress"][0]["from"]]
    assert callers == [{"component": "dagster-webserver"}, {"component": "dagster-daemon"}]
    port = places(values)["webserver"]["service"]["port"]
    assert web["ingress"][0]["ports"] == [{"port": port, "protocol": "TCP"}]
    assert location in [one["podSelector"]["matchLabels"] for one in web["ingress"][0]["from"]]
    api = of_kind(objects, "Deployment")["odp-api"]["spec"]["template"]["metadata"]["labels"]
    assert any(one["podSelector"]["matchLabels"].items() <= api.items() for one in web["ingress"][0]["from"])


def test_no_value_is_a_secret() -> None:
    text = VALUES.read_text(encoding="utf-8") + SITE.read_text(encoding="utf-8")
    assert not re.search(r"(?im)^\s*(\w*password|\w*secret_key|aws_\w+):", text)
    keys = set(re.findall(r"\{key: ([a-z0-9_]+)", text))
    assert keys <= {name.lower() for name in dotenv.SECRETS}
