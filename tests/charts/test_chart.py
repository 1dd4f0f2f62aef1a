"""deploy/helm/odp as Helm renders it: the cluster's own schemas, every hardening rule, and our own settings.

Needs no cluster and no network. Does not show that a cluster runs it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from checkouts import ROOT
from rendering import CHART, KUBERNETES, Object, everything, of_kind, pods, render, restricted, site

import lakehouse.outputs.settings as outputs
from lakehouse.provision.settings import ProvisionSettings
from lakehouse.settings import Settings
from odpctl import dotenv
from serving.app import make_app
from serving.settings import LOOPBACK, ServingSettings

pytestmark = pytest.mark.charts

# Read by the C library, libpq, and the programs that are not ours.
OTHERS = {"MALLOC_ARENA_MAX", "PGSSLMODE", "PGSSLROOTCERT", "SAIL_RUNTIME__MEMORY_POOL__TYPE",
          "SAIL_EXECUTION__COLLECT_STATISTICS",
          "SAIL_RUNTIME__MEMORY_POOL__GREEDY__MAX_SIZE", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP",
          "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}  # fmt: skip
# Settings of the engine, which is chosen by name alone here.
ENGINE = {"ODP_ENGINE", "SPARK_REMOTE"}
# No schema of Kubernetes' own.
FOREIGN = {"ServiceMonitor"}


@pytest.fixture(scope="module")
def full() -> list[Object]:
    return render(everything())


# What Helm and Kubernetes say


@pytest.mark.parametrize("values", [site(), everything()], ids=["site", "everything"])
def test_helm_finds_nothing_to_complain_of(values: Object) -> None:
    import helm_python

    report = helm_python.lint(CHART, values, strict=True)
    assert report["errors"] == []
    assert [one for one in report["messages"] if one["severity"] > 1] == []


@pytest.mark.parametrize("kubernetes", KUBERNETES)
@pytest.mark.parametrize(
    "values",
    [
        site(),
        everything(),
        everything(
            lake__format="ducklake", lake__s3__managed=False, lake__s3__endpoint="http://s3.local:9000"
        ),
        site(networkPolicy={"enabled": False}, provision={"enabled": False}),
        site(
            images__pullSecrets=[{"name": "pull"}],
            api__nodeSelector={"disk": "ssd"},
            api__hosts=["a.example.org"],
        ),
    ],
    ids=["site", "everything", "ducklake-minio", "least", "placed"],
)
def test_every_object_is_what_the_cluster_expects(values: Object, kubernetes: str) -> None:
    import kubernetes_validate

    for one in render(values):
        if one["kind"] not in FOREIGN:
            kubernetes_validate.validate(one, kubernetes, strict=True)


def test_a_misspelt_key_would_be_found(full: list[Object]) -> None:
    import kubernetes_validate

    deployment = of_kind(full, "Deployment")["odp-api"]
    wrong = {**deployment, "spec": {**deployment["spec"], "replica": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[0], strict=True)


# What is asked for


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ({"images__registry": ""}, "images.registry is not set"),
        ({"images__tag": ""}, "images.tag is not set"),
        ({"images__tag": "latest"}, "images.tag=latest moves"),
        ({"lake__s3__region": ""}, "lake.s3.region is not set"),
        ({"lake__s3__bucketPrefix": ""}, "lake.s3.bucketPrefix is not set"),
        ({"lake__postgres__host": ""}, "lake.postgres.host is not set"),
        ({"lake__postgres__caConfigMap": ""}, "lake.postgres.caConfigMap is not set"),
        ({"secrets__provision": ""}, "secrets.provision is not set"),
        ({"secrets__api": ""}, "secrets.api is not set"),
        ({"spark__enabled": True}, "secrets.spark is not set"),
        ({"lake__engine": "spark"}, "lake.engine=spark has no server"),
        ({"api__ingress__host": ""}, "api.ingress.host is not set"),
        ({"api__ingress__tlsSecret": ""}, "api.ingress.tlsSecret is not set"),
        ({"networkPolicy__apiFrom": []}, "networkPolicy.apiFrom is empty"),
        ({"serviceMonitor": {"enabled": True}}, "serviceMonitor.keySecret is not set"),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_what_is_missing_is_named(missing: dict[str, Any], says: str) -> None:
    import helm_python

    with pytest.raises(helm_python.HelmRenderError, match=re.escape(says)):
        render(site(**missing))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"image__tag": "1"}, "'image' not allowed"),
        ({"secrets__api_key": "odp"}, "'api_key' not allowed"),
        ({"images__tag": 1.1}, "/images/tag"),
        ({"images__tag": "a b"}, "/images/tag"),
        ({"lake__s3__bucketPrefix": "acme"}, "/lake/s3/bucketPrefix"),
        ({"lake__s3__endpoint": "s3.example.org"}, "/lake/s3/endpoint"),
        ({"lake__postgres__host": "db:5432"}, "/lake/postgres/host"),
        ({"lake__postgres__sslMode": "yes"}, "/lake/postgres/sslMode"),
        ({"lake__format": "iceberg"}, "/lake/format"),
        ({"lake__sparkRemote": "localhost:50051"}, "/lake/sparkRemote"),
        ({"api__sqlRows": "many"}, "/api/sqlRows"),
        ({"api__resources__limits": None}, "/api/resources"),
        ({"fullnameOverride": "o.d.p"}, "/fullnameOverride"),
        ({"spark__memoryPoolBytes": 0}, "/spark/memoryPoolBytes"),
        ({"networkPolicy__egressCidrs": []}, "/networkPolicy/egressCidrs"),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_a_value_of_the_wrong_form_is_named(wrong: dict[str, Any], says: str) -> None:
    import helm_python

    with pytest.raises(helm_python.HelmValuesError, match=re.escape(says)):
        render(site(**wrong))


def test_without_any_values_it_says_what_is_missing() -> None:
    import helm_python

    with pytest.raises(helm_python.HelmRenderError, match="is not set"):
        render({})


# Pods


def test_all_pods_are_there(full: list[Object]) -> None:
    assert set(pods(full)) == {"api", "spark", "provision"}
    assert set(pods(render(site()))) == {"api", "provision"}


@pytest.mark.parametrize("component", ["api", "spark", "provision"])
def test_every_pod_keeps_the_rules(full: list[Object], component: str) -> None:
    pod = pods(full)[component]
    assert restricted(pod.spec, pod.container) == []
    assert pod.spec["automountServiceAccountToken"] is False
    assert pod.spec["serviceAccountName"] in of_kind(full, "ServiceAccount")
    assert pod.spec["enableServiceLinks"] is False
    writable = {m["mountPath"] for m in pod.container["volumeMounts"] if not m.get("readOnly")}
    assert writable == {"/tmp", *(["/var/lib/odp-api"] if component == "api" else [])}
    mounted = {mount["name"] for mount in pod.container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod.spec["volumes"]}


def test_no_service_account_has_a_token(full: list[Object]) -> None:
    accounts = of_kind(full, "ServiceAccount").values()
    assert [one["automountServiceAccountToken"] for one in accounts] == [False] * 3


def test_images_are_those_of_compose(full: list[Object]) -> None:
    compose = (ROOT / "compose.yml").read_text(encoding="utf-8")
    names = set(re.findall(r"\$\{ODP_[A-Z_]*IMAGE:-([a-z-]+):local\}", compose)) | {"odp-spark"}
    used = {pod.container["image"] for pod in pods(full).values()}
    assert used == {f"registry.invalid/data/{name}:set-me" for name in names}


def test_every_pod_has_a_policy_of_its_own(full: list[Object]) -> None:
    policies = {name: one["spec"] for name, one in of_kind(full, "NetworkPolicy").items()}
    for component, pod in pods(full).items():
        mine = [
            spec
            for spec in policies.values()
            if spec["podSelector"]["matchLabels"].items() <= pod.labels.items()
        ]
        assert len(mine) == 1, component
        assert mine[0]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policies["odp-provision"]
    assert policies["odp-spark"]["ingress"][0]["from"] == [
        {"podSelector": {"matchLabels": {"odp/lake": "true"}}}
    ]


def test_the_store_is_reached_at_its_own_port_and_the_nodes_metadata_is_not() -> None:
    objects = render(site(lake__s3__endpoint="http://minio.store.svc:9000"))
    egress = of_kind(objects, "NetworkPolicy")["odp-api"]["spec"]["egress"]
    assert [port["port"] for port in egress[1]["ports"]] == [9000, 5432]
    assert egress[1]["to"] == [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}]


def test_spark_stays_closed_without_the_other_policies() -> None:
    objects = render(everything(networkPolicy={"enabled": False}))
    assert set(of_kind(objects, "NetworkPolicy")) == {"odp-spark"}


def test_dagsters_policies_can_be_left_out_and_let_others_in() -> None:
    ours = {"odp-api", "odp-provision"}
    assert set(of_kind(render(site(networkPolicy__dagster=False)), "NetworkPolicy")) == ours
    proxy = {"podSelector": {"matchLabels": {"app": "oauth2-proxy"}}}
    objects = render(site(networkPolicy__dagsterFrom=[proxy]))
    allowed = of_kind(objects, "NetworkPolicy")["odp-dagster-webserver"]["spec"]["ingress"][0]["from"]
    assert allowed[-1] == proxy


def test_probes_ask_what_the_api_answers(tmp_path: Path, full: list[Object]) -> None:
    from starlette.testclient import TestClient

    lake = Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing"))
    app = make_app(ServingSettings(lake=lake, state=tmp_path / "state"))
    container = pods(full)["api"].container
    with TestClient(app) as client:
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[name]["httpGet"]
            headers = {one["name"]: one["value"] for one in asked["httpHeaders"]}
            assert client.get(asked["path"], headers=headers).status_code == 200, name
            # As the kubelet asks by itself.
            assert client.get(asked["path"], headers={"Host": "10.1.2.3:8080"}).status_code == 400, name
            assert container[name]["timeoutSeconds"] > 3  # as long as it waits for the store


# Secrets


def test_no_object_holds_a_secret(full: list[Object]) -> None:
    assert of_kind(full, "Secret") == {}
    secrets = {*dotenv.SECRETS, "S3_ACCESS_KEY", "S3_SECRET_KEY"}
    for pod in pods(full).values():
        assert not secrets & set(pod.env)
    [lake] = of_kind(full, "ConfigMap").values()
    assert not secrets & set(lake["data"])
    text = "".join(path.read_text(encoding="utf-8") for path in CHART.rglob("*") if path.is_file())
    assert not re.search(r"(?i)(password|secret_key): *[\"']?[A-Za-z0-9]", text)


def test_every_key_of_a_secret_is_one_of_env(full: list[Object]) -> None:
    known = {name.lower() for name in dotenv.SECRETS}
    for component, pod in pods(full).items():
        assert pod.secret_keys <= known, component


def test_each_pod_gets_its_own_secrets_only(full: list[Object]) -> None:
    given = {component: pod.secret_keys for component, pod in pods(full).items()}
    root = {"minio_root_user", "minio_root_password"}
    assert given == {
        "api": {f"s3_{who}_{part}_key" for who in ("api", "serving") for part in ("access", "secret")},
        "spark": {"s3_pipeline_access_key", "s3_pipeline_secret_key"},
        "provision": {name.lower() for name in dotenv.SECRETS} - root,
    }
    minio = pods(render(site(lake__s3__managed=False)))["provision"]
    assert minio.secret_keys == {name.lower() for name in dotenv.SECRETS}
    ducklake = pods(render(site(lake__format="ducklake")))["api"]
    assert ducklake.secret_keys == given["api"] | {"ducklake_pg_password"}


# Our own settings


def names_in_code() -> set[str]:
    """Every word in capitals that the code has in quotes."""
    sources = [
        path for member in ("lakehouse", "api", "dagster") for path in (ROOT / "data" / member).rglob("*.py")
    ]
    texts = [path.read_text(encoding="utf-8") for path in sources if "tests" not in path.parts]
    return {name for text in texts for name in re.findall(r"""["']([A-Z][A-Z0-9_]{2,})["']""", text)}


def test_every_variable_is_read_by_something() -> None:
    values = everything(lake__format="ducklake", api__s3PublicEndpoint="https://s3.example.org")
    objects = render(values)
    [lake] = of_kind(objects, "ConfigMap").values()
    used = {name for pod in pods(objects).values() for name in pod.env_names} | set(lake["data"])
    known = names_in_code() | OTHERS | ENGINE
    assert {name for name in used if name not in known and name.removesuffix("_FILE") not in known} == set()


def at_hand(env: dict[str, str], folder: Path) -> dict[str, str]:
    """Return an environment whose files are in `folder`, each holding its own name."""
    for name, value in env.items():
        if name.endswith("_FILE"):
            (folder / Path(value).name).write_text(f"value of {Path(value).name}", encoding="utf-8")
    return {n: str(folder / Path(v).name) if n.endswith("_FILE") else v for n, v in env.items()}


@pytest.mark.parametrize("lake_format", ["delta", "ducklake"])
def test_the_api_starts_with_the_environment_of_its_pod(tmp_path: Path, lake_format: str) -> None:
    pod = pods(render(site(lake__format=lake_format, api__sqlRows=2_000_000)))["api"]
    settings = ServingSettings.from_env({**at_hand(pod.env, tmp_path), "API_STATE": "/var/lib/odp-api"})
    assert (settings.host, settings.port, settings.sql_rows) == ("0.0.0.0", 8080, 2_000_000)
    assert settings.public_url == "https://odp.example.org"
    assert settings.lake.bucket("gold") == "acme-odp-gold"
    assert settings.lake.landing_url == "s3://acme-odp-landing"
    assert settings.lake.s3_endpoint is None
    assert (settings.lake.s3_access_key, settings.s3_access_key) == (
        "value of s3_api_access_key",
        "value of s3_serving_access_key",
    )
    inside = {"odp-api", "odp-api.data", "odp-api.data.svc", "odp-api.data.svc.cluster.local"}
    assert set(settings.hosts) == {*LOOPBACK, *inside, "odp.example.org"}
    state = [
        mount["name"] for mount in pod.container["volumeMounts"] if mount["mountPath"] == "/var/lib/odp-api"
    ]
    assert state == ["state"]
    assert "API_STATE=/var/lib/odp-api" in (ROOT / "data/api/Dockerfile").read_text(encoding="utf-8")


def test_the_door_never_opens_without_keys(tmp_path: Path) -> None:
    from lakehouse.errors import SettingsError

    pod = pods(render(site()))["api"]
    env = {**at_hand(pod.env, tmp_path), "API_STATE": "/var/lib/odp-api", "API_OPEN_READ": "true"}
    with pytest.raises(SettingsError, match="API_OPEN_READ"):
        ServingSettings.from_env(env)


@pytest.mark.parametrize("managed", [True, False])
def test_lake_init_starts_with_the_environment_of_its_pod(tmp_path: Path, managed: bool) -> None:
    pod = pods(render(site(lake__s3__managed=managed, provision__postgresUser="master")))["provision"]
    for key in pod.secret_keys:
        (tmp_path / key).write_text(f"value of {key}", encoding="utf-8")
    settings = ProvisionSettings.from_env({**pod.env, "SECRETS_DIR": str(tmp_path)})
    assert (settings.s3_root is None) is managed
    assert settings.pg_root.user == "master"
    assert (settings.pg_host, settings.pg_port) == ("postgres.invalid", 5432)
    assert settings.s3_bucket_prefix == "acme-odp-"
    assert settings.sample is False
    compose = (ROOT / "compose.yml").read_text(encoding="utf-8")
    assert f"command: [{', '.join(pod.container['command'])}]" in compose


def test_the_environment_of_the_lake_opens_it(tmp_path: Path) -> None:
    [lake] = of_kind(render(everything(lake__format="ducklake")), "ConfigMap").values()
    env = at_hand(lake["data"], tmp_path)
    settings = Settings.from_env(env)
    assert settings.s3_access_key == "value of s3_pipeline_access_key"
    assert settings.ducklake_pg_password == "value of ducklake_pg_password"
    made = outputs.OutputSettings.from_env(settings, env)
    assert made.exports_url == "s3://acme-odp-exports"
    assert isinstance(made.mart, outputs.PostgresPlace)
    assert made.mart.password == "value of mart_pg_password"
    assert env["ODP_ENGINE"] == "spark"
    assert env["SPARK_REMOTE"] == "sc://odp-spark.data.svc:50051"


def test_spark_connects_where_the_environment_says(full: list[Object]) -> None:
    service = of_kind(full, "Service")["odp-spark"]
    assert service["spec"]["ports"][0]["port"] == 50051
    assert pods(full)["spark"].container["command"] == [
        "sail", "spark", "server", "--ip", "0.0.0.0", "--port", "50051",
    ]  # fmt: skip
    limit = int(pods(full)["spark"].env["SAIL_RUNTIME__MEMORY_POOL__GREEDY__MAX_SIZE"])
    assert 0 < limit < 4 << 30


def test_prometheus_asks_by_a_name_that_the_api_knows(full: list[Object]) -> None:
    [monitor] = of_kind(full, "ServiceMonitor").values()
    [endpoint] = monitor["spec"]["endpoints"]
    [renamed] = endpoint["relabelings"]
    host, _, port = renamed["replacement"].partition(":")
    assert host in pods(full)["api"].env["API_HOSTS"].split(",")
    assert int(port) == of_kind(full, "Service")["odp-api"]["spec"]["ports"][0]["port"]
    assert endpoint["authorization"]["credentials"] == {"name": "odp-metrics", "key": "key"}


# Names, upgrades, neighbours


def identities(objects: list[Object]) -> set[tuple[str, str]]:
    return {(one["kind"], one["metadata"]["name"]) for one in objects}


def test_two_releases_in_a_namespace_share_nothing() -> None:
    one, two = render(everything(), release="odp"), render(everything(), release="odp-test")
    assert identities(one) & identities(two) == set()
    for component, pod in pods(one).items():
        other = pods(two)[component]
        for policy in of_kind(two, "NetworkPolicy").values():
            selected = policy["spec"]["podSelector"]["matchLabels"]
            assert not selected.items() <= pod.labels.items()
        assert pod.labels != other.labels
        assert pod.spec["serviceAccountName"] != other.spec["serviceAccountName"]


LONGEST = "a" * 52  # with its last character, as long as Helm lets a release's name be


def test_the_longest_names_fit_and_stay_two() -> None:
    one, two = (render(everything(), release=f"{LONGEST}{end}") for end in "bc")
    assert identities(one) & identities(two) == set()
    for made in (*one, *two):
        assert len(made["metadata"]["name"]) <= 63
        labels = made["metadata"]["labels"]
        assert all(len(str(value)) <= 63 for value in labels.values())
        assert not made["metadata"]["name"].endswith("-")


@pytest.mark.parametrize("release", ["2026", "odp.test"])
def test_a_name_that_no_service_can_have_is_refused(release: str) -> None:
    import helm_python

    with pytest.raises(helm_python.HelmRenderError, match="cannot begin the names of Services"):
        render(site(), release=release)
    assert {one["metadata"]["name"] for one in render(site(fullnameOverride="odp"), release=release)} >= {
        "odp-api"
    }


@pytest.mark.parametrize("changed", [{"fullnameOverride": "f" * 80}, {"nameOverride": "n" * 63}])
def test_a_name_that_is_given_is_cut_too(changed: dict[str, str]) -> None:
    names = [one["metadata"]["name"] for one in render(everything(**changed))]
    assert max(map(len, names)) <= 63


def test_an_upgrade_changes_nothing_that_cannot_change() -> None:
    before = render(everything())
    after = render(everything(images__tag="next", api__sqlRows=5, lake__s3__region="eu-west-1"), upgrade=True)
    assert identities(before) == identities(after)
    for name, made in of_kind(before, "Deployment").items():
        assert made["spec"]["selector"] == of_kind(after, "Deployment")[name]["spec"]["selector"]
    claims = [of_kind(made, "PersistentVolumeClaim")["odp-api"] for made in (before, after)]
    assert claims[0] == claims[1]
    assert claims[0]["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_one_pod_holds_the_volume_at_a_time(full: list[Object]) -> None:
    for made in of_kind(full, "Deployment").values():
        assert (made["spec"]["replicas"], made["spec"]["strategy"]) == (1, {"type": "Recreate"})


def test_lake_init_comes_before_everything_with_what_it_needs(full: list[Object]) -> None:
    hooks = [one for one in full if "helm.sh/hook" in one["metadata"].get("annotations", {})]
    order = {one["kind"]: int(one["metadata"]["annotations"]["helm.sh/hook-weight"]) for one in hooks}
    assert order == {"ServiceAccount": -5, "NetworkPolicy": -5, "Job": 0}
    assert {one["metadata"]["annotations"]["helm.sh/hook"] for one in hooks} == {"pre-install,pre-upgrade"}
    volumes = pods(full)["provision"].spec["volumes"]
    of_others = [one for one in volumes if "configMap" in one]
    assert [one["configMap"]["name"] for one in of_others] == [
        "odp-postgres-ca"
    ]  # yours, so it is there already


def test_the_chart_has_the_version_of_the_code() -> None:
    import yaml

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{chart["appVersion"]}"' in project
    assert chart["kubeVersion"] == f">={KUBERNETES[0]}.0-0"
