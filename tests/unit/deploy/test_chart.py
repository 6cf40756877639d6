"""The chart: its values, its copies of what is elsewhere, and what becomes of its switches."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from datamover import __version__
from datamover.metrics.datamover import DataMoverMetrics
from datamover.metrics.exposition import new_registry
from datamover.metrics.runtime import RuntimeMetrics

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy" / "charts" / "datamover"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
DASHBOARD: dict[str, Any] = json.loads((CHART / "files/dashboards/datamover.json").read_text(encoding="utf-8"))
SECURE = ("metrics.secure=true", "metrics.tls.secretName=certificate")


def leaves(schema: dict[str, Any], values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return each value that people set, by its path, with its default: down to where the schema is free or of one kind of thing."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        child = schema["properties"][key]
        whole = "properties" not in child or key in {"resources", "livenessProbe", "readinessProbe"}
        found |= {f"{prefix}{key}": value} if whole else leaves(child, value, f"{prefix}{key}.")
    return found


LEAVES = leaves(SCHEMA, VALUES)


# --- one place for each fact --------------------------------------------------------------------------------------


def test_the_versions_are_that_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == __version__
    assert chart["kubeVersion"] == ">=1.29.0-0"
    assert "Kubernetes 1.29 or newer" in PAGE


def test_the_definitions_are_copies_of_the_generated_ones() -> None:
    generated = {path.name: path.read_bytes() for path in (ROOT / "deploy/crds").glob("*.yaml")}
    copied = {path.name: path.read_bytes() for path in (CHART / "files/crds").glob("*.yaml")}
    assert copied == generated, "run `make crds`"


def test_the_alert_rules_are_those_of_the_metrics_page() -> None:
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(groups:\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    documented = [group for block in blocks for group in yaml.safe_load(block)["groups"]]
    assert yaml.safe_load((CHART / "files/alerts.yaml").read_text(encoding="utf-8"))["groups"] == documented


def test_every_value_is_in_the_table_with_its_default() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| `([^`]*)` \| \S.*\|$", PAGE.partition("## Values")[2], re.MULTILINE)
    assert {name: yaml.safe_load(default) for name, default in rows} == LEAVES
    assert len(rows) == len(LEAVES)


def test_every_value_has_a_place_in_the_schema_and_the_schema_no_other() -> None:
    def check(schema: dict[str, Any], values: dict[str, Any], path: str) -> None:
        if "properties" not in schema:
            return
        assert schema["additionalProperties"] is False, path
        named = set(schema["properties"]) - {"global", "claims", "successThreshold", "terminationGracePeriodSeconds"}
        assert named - {"terminationGracePeriodSeconds"} == set(values) - {"terminationGracePeriodSeconds"}, path
        for key, value in values.items():
            if isinstance(value, dict):
                check(schema["properties"][key], value, f"{path}.{key}")

    check(SCHEMA, VALUES, "values")


def test_values_that_the_page_sets_exist() -> None:
    for page in (PAGE, (ROOT / "docs/permissions.md").read_text(encoding="utf-8")):
        for name in re.findall(r"--set '?([\w.\[\]]+)=", page):
            bare = re.sub(r"\[\d+\].*", "", name)
            assert any(bare == leaf or bare.startswith(f"{leaf}.") for leaf in LEAVES), name


# --- dashboard ----------------------------------------------------------------------------------------------------


def exposed() -> set[str]:
    """Return the name of every series that the operator may expose."""
    registry = new_registry()
    RuntimeMetrics(registry)
    DataMoverMetrics(registry)
    found = set()
    for family in registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [""])
        found |= {f"{family.name}{suffix}" for suffix in suffixes}
    return found


def expressions() -> list[str]:
    targets = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    return [*targets, *(each["definition"] for each in DASHBOARD["templating"]["list"] if "definition" in each)]


@pytest.mark.parametrize("expression", expressions())
def test_a_panel_shows_metrics_that_exist(expression: str) -> None:
    named = set(re.findall(r"\b(?:datamover|workqueue|leader_election|process|python)_\w+", expression))
    assert named
    assert named <= exposed()
    assert expression.count("(") == expression.count(")")
    grouped = {
        word for words in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for word in re.findall(r"\w+", words)
    }
    matched = set(re.findall(r"(\w+)(?:=|!=|=~)\"", expression))
    assert grouped | matched <= {
        "namespace", "source", "status", "phase", "error_type", "le", "outcome", "name", "verb", "resource", "code",
        "state", "instance",
    }  # fmt: skip


def test_the_panels_have_their_own_places_and_numbers() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


# --- what Helm makes of it ----------------------------------------------------------------------------------------


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == kind]


def named(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in of_kind(objects, kind) if each["metadata"]["name"] == name]
    return found


def test_helm_finds_nothing_to_complain_of(helm: str) -> None:
    command = [helm, "lint", "--strict", "--kube-version", "v1.29.0", CHART]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


REFUSED = {
    "image.tga=1": "additional properties 'tga' not allowed",
    "image.repository=": "minLength",
    "image.digest=latest": "does not match pattern",
    "replicaCount=-1": "minimum",
    "workers=65": "maximum",
    "log.level=loud": "must be one of",
    "watchNamespace=Shop": "does not match pattern",
    "rbac.secrets[0].names[0]=a": "missing property 'namespace'",
    "leaderElection.enabled=false": "several replicas need leaderElection.enabled=true",
    "metrics.secure=true": "needs metrics.tls.secretName",
}


@pytest.mark.parametrize("setting", REFUSED)
def test_a_value_that_cannot_be_right_is_refused(render: Any, setting: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        render(setting)
    assert REFUSED[setting] in refused.value.stderr


NAMES = {
    "datamover": "datamover-operator-controller-manager",
    "datamover-operator": "datamover-operator-controller-manager",
    "nightly": "nightly-datamover-operator-controller-manager",
    "a" * 53: f"{'a' * 30}-operator-controller-manager",
}


@pytest.mark.parametrize("release", NAMES)
def test_names_follow_the_release_and_are_never_too_long(render: Any, release: str) -> None:
    objects = render(release=release)
    assert of_kind(objects, "Deployment")[0]["metadata"]["name"] == NAMES[release]
    assert all(len(each["metadata"]["name"]) <= 63 for each in objects)
    assert all(len(value) <= 63 for each in objects for value in (each["metadata"].get("labels") or {}).values())


def test_two_releases_of_different_names_share_only_the_definition_and_the_documented_service(render: Any) -> None:
    first, second = (
        {(each["kind"], each["metadata"]["name"]) for each in render(release=release, namespace="n")}
        for release in ("one", "two")
    )
    assert {name for _, name in first & second} == {"datamovers.datamover.a-cup-of.coffee", "operator-metrics-service"}


def test_an_image_is_named_by_tag_or_by_digest(render: Any) -> None:
    digest = f"sha256:{'0' * 64}"
    objects = render("image.repository=r/o", "image.tag=v2", "moverImage.repository=r/m", f"moverImage.digest={digest}")
    (container,) = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "r/o:v2"
    assert {"name": "MOVER_IMAGE", "value": f"r/m@{digest}"} in container["env"]


def test_definitions_may_be_managed_elsewhere_or_go_with_the_release(render: Any) -> None:
    assert not of_kind(render("crds.install=false"), "CustomResourceDefinition")
    (definition,) = of_kind(render("crds.keep=false"), "CustomResourceDefinition")
    assert "annotations" not in definition["metadata"]


def test_with_one_namespace_every_right_to_change_anything_is_in_it(render: Any) -> None:
    objects = render("watchNamespace=shop", "clusterId=a")
    cluster_wide = named(objects, "ClusterRole", "datamover-operator")["rules"]
    assert {verb for rule in cluster_wide for verb in rule["verbs"]} == {"get", "list", "watch"}
    assert not any("namespaces" in rule["resources"] for rule in cluster_wide)
    whole = named(render("clusterId=a"), "ClusterRole", "datamover-operator")["rules"]
    local = named(objects, "Role", "datamover-operator")
    assert local["metadata"]["namespace"] == "shop"
    assert local["rules"] + cluster_wide == whole
    assert named(objects, "RoleBinding", "datamover-operator")["metadata"]["namespace"] == "shop"
    (container,) = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"]
    assert {"name": "WATCH_NAMESPACE", "value": "shop"} in container["env"]
    assert "--cluster-id=a" in container["args"]


def test_secrets_are_granted_by_namespace_and_name(render: Any) -> None:
    entry = "rbac.secrets[0]"
    objects = render(f"{entry}.namespace=shop", f"{entry}.names[0]=storage-credentials")
    role = named(objects, "Role", "datamover-operator-preflight")
    assert role["metadata"]["namespace"] == "shop"
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": ["storage-credentials"],
            "verbs": ["list", "watch"],
        }
    ]
    assert named(objects, "RoleBinding", "datamover-operator-preflight")["metadata"]["namespace"] == "shop"


def test_secure_metrics_have_certificate_rights_and_https_everywhere(render: Any) -> None:
    objects = render(*SECURE, "metrics.serviceMonitor.enabled=true")
    pod = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert "--metrics-auth" in container["args"]
    (mount,) = container["volumeMounts"]
    for option, key in (("cert", "crt"), ("key", "key")):
        assert f"--metrics-tls-{option}={mount['mountPath']}/tls.{key}" in container["args"]
    assert pod["volumes"] == [{"name": mount["name"], "secret": {"secretName": "certificate", "defaultMode": 0o440}}]
    assert (
        container["livenessProbe"]["httpGet"]["scheme"] == container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    )
    assert {service["spec"]["ports"][0]["name"] for service in of_kind(objects, "Service")} == {"https"}
    rules = named(objects, "ClusterRole", "datamover-operator-metrics-auth")["rules"]
    assert {rule["resources"][0]: rule["verbs"] for rule in rules} == {
        "tokenreviews": ["create"],
        "subjectaccessreviews": ["create"],
    }
    reader = named(objects, "ClusterRole", "datamover-metrics-reader")
    assert reader["rules"] == [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]
    (endpoint,) = of_kind(objects, "ServiceMonitor")[0]["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["scheme"]) == ("https", "https")
    assert endpoint["bearerTokenFile"]


def test_open_metrics_need_no_right_to_ask_about_tokens(render: Any) -> None:
    resources = {
        resource
        for each in of_kind(render(), "ClusterRole")
        for rule in each["rules"]
        for resource in rule["resources"]
    }
    assert not resources & {"tokenreviews", "subjectaccessreviews"}


def test_each_pod_is_scraped_once_and_keeps_its_own_namespaces(render: Any) -> None:
    objects = render("metrics.serviceMonitor.enabled=true", "metrics.serviceMonitor.labels.release=p")
    (monitor,) = of_kind(objects, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    selected = [each for each in of_kind(objects, "Service") if wanted <= each["metadata"]["labels"].items()]
    assert len(selected) == 1
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] == selected[0]["spec"]["ports"][0]["name"] == "http"
    assert endpoint["honorLabels"] is True
    assert monitor["metadata"]["labels"]["release"] == "p"


def test_alert_rules_arrive_as_they_are_written_but_those_that_are_switched_off(render: Any) -> None:
    written = yaml.safe_load((CHART / "files/alerts.yaml").read_text(encoding="utf-8"))["groups"]
    rule = "metrics.prometheusRule"
    (found,) = of_kind(render(f"{rule}.enabled=true"), "PrometheusRule")
    assert found["spec"]["groups"] == written
    (found,) = of_kind(render(f"{rule}.enabled=true", f"{rule}.disabled={{DataMoverCleanupFailing}}"), "PrometheusRule")
    assert found["spec"]["groups"] == written[1:]


def test_the_dashboard_arrives_as_it_is_written(render: Any) -> None:
    (found,) = of_kind(render("grafanaDashboard.enabled=true"), "ConfigMap")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["datamover.json"]) == DASHBOARD


def test_a_network_policy_lets_in_the_metrics_and_out_to_the_api_server(render: Any) -> None:
    (found,) = of_kind(
        render("networkPolicy.enabled=true", "networkPolicy.apiServerCIDRs={10.0.0.1/32}"), "NetworkPolicy"
    )
    spec = found["spec"]
    assert spec["ingress"] == [{"ports": [{"port": 8082, "protocol": "TCP"}]}]
    (egress,) = spec["egress"]
    assert [each["port"] for each in egress["ports"]] == [443, 6443]
    assert egress["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]


SWITCHES = {
    "serviceAccount.create=false": ("ServiceAccount", 0),
    "rbac.create=false": ("ClusterRole", 0),
    "rbac.aggregateClusterRoles=false": ("ClusterRole", 1),
    "metrics.enabled=false": ("Service", 0),
    "metrics.documentedService.enabled=false": ("Service", 1),
    "podDisruptionBudget.enabled=false": ("PodDisruptionBudget", 0),
    "namespace.create=true": ("Namespace", 1),
}


@pytest.mark.parametrize("setting", SWITCHES)
def test_a_switch_switches(render: Any, setting: str) -> None:
    kind, count = SWITCHES[setting]
    assert len(of_kind(render(setting), kind)) == count


def test_what_is_given_for_the_pod_arrives_there(render: Any) -> None:
    objects = render(
        "priorityClassName=high", "nodeSelector.a=b", "tolerations[0].key=k", "imagePullSecrets[0].name=s",
        "extraEnv[0].name=E", "extraEnv[0].value=v", "extraArgs={--log-level=debug}", "podLabels.l=1x", "podAnnotations.n=2x",
        "terminationGracePeriodSeconds=40", "topologySpreadConstraints[0].maxSkew=1", "affinity.nodeAffinity.x=y",
        "extraVolumes[0].name=w", "extraVolumeMounts[0].name=w", "podSecurityContext.runAsUser=null",
        "podDisruptionBudget.minAvailable=50%",
    )  # fmt: skip
    template = of_kind(objects, "Deployment")[0]["spec"]["template"]
    pod = template["spec"]
    (container,) = pod["containers"]
    assert pod["priorityClassName"] == "high"
    assert pod["nodeSelector"] == {"a": "b"}
    assert pod["tolerations"] == [{"key": "k"}]
    assert pod["imagePullSecrets"] == [{"name": "s"}]
    assert pod["terminationGracePeriodSeconds"] == 40
    assert pod["topologySpreadConstraints"] == [{"maxSkew": 1}]
    assert pod["affinity"] == {"nodeAffinity": {"x": "y"}}
    assert pod["volumes"] == container["volumeMounts"] == [{"name": "w"}]
    assert "runAsUser" not in pod["securityContext"]
    assert {"name": "E", "value": "v"} in container["env"]
    assert container["args"][-1] == "--log-level=debug"
    assert template["metadata"]["labels"]["l"] == "1x"
    assert template["metadata"]["annotations"]["n"] == "2x"
    assert of_kind(objects, "PodDisruptionBudget")[0]["spec"]["minAvailable"] == "50%"
