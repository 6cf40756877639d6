"""The chart: its values, its copies of what is elsewhere, and what becomes of its switches."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from datamover import __version__
from datamover.api import names
from datamover.api.pods import LocalObjectReference, PodSecurityContext, ResourceRequirements, Toleration
from datamover.cli.operator import read_mover_defaults
from support.parsing import read_yaml

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy" / "charts" / "datamover"
VALUES: dict[str, Any] = read_yaml((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
SECURE = ("metrics.secure=true", "metrics.tls.secretName=certificate")
DEFINITION_VERSION = "datamover.a-cup-of.coffee/definition-version"
ALERTS: list[dict[str, Any]] = read_yaml((CHART / "files/alerts.yaml").read_text(encoding="utf-8"))["groups"]
REPLICATION = "replication.enabled=true"
COLLECTION = "dataVolumes.collection.enabled=true"
POPULATION = "dataVolumes.population.enabled=true"
HOSTED = "hostedControlPlanes.enabled=true"


FREE = {"resources", "livenessProbe", "readinessProbe", "affinity", "strategy"}
"""Values whose fields are Kubernetes' own: the schema names them, the table and the defaults need not."""


def leaves(schema: dict[str, Any], values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return each value that people set, by its path, with its default: down to where the schema is free or of one kind of thing."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        child = schema["properties"][key]
        whole = "properties" not in child or key in FREE
        found |= {f"{prefix}{key}": value} if whole else leaves(child, value, f"{prefix}{key}.")
    return found


LEAVES = leaves(SCHEMA, VALUES)


# --- one place for each fact --------------------------------------------------------------------------------------


def test_the_versions_are_that_of_the_package() -> None:
    chart = read_yaml((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == __version__
    assert chart["kubeVersion"] == ">=1.29.0-0"
    assert "Kubernetes 1.29 or newer" in PAGE


def test_the_definitions_are_copies_of_the_generated_ones() -> None:
    whole, copy = ROOT / "deploy/crds", CHART / "files/crds"
    generated = {path.relative_to(whole): path.read_bytes() for path in whole.rglob("*.yaml")}
    copied = {path.relative_to(copy): path.read_bytes() for path in copy.rglob("*.yaml")}
    assert copied == generated, "run `make crds`"


def test_the_alert_rules_are_those_of_the_metrics_page() -> None:
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(groups:\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    documented = [group for block in blocks for group in read_yaml(block)["groups"]]
    assert documented == ALERTS


def test_every_value_is_in_the_table_with_its_default() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| `([^`]*)` \| \S.*\|$", PAGE.partition("## Values")[2], re.MULTILINE)
    assert {name: read_yaml(default) for name, default in rows} == LEAVES
    assert len(rows) == len(LEAVES)


def test_the_readme_of_the_chart_has_the_same_table() -> None:
    """It travels without the other pages, so links are only their words there."""
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    assert readme.partition("## Values")[2] == re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", PAGE.partition("## Values")[2])


def test_the_icon_is_a_picture_in_itself() -> None:
    chart = read_yaml((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    kind, _, picture = chart["icon"].partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert ET.fromstring(base64.b64decode(picture, validate=True)).tag.endswith("svg")


def test_every_value_has_a_place_in_the_schema_and_the_schema_no_other() -> None:
    def check(schema: dict[str, Any], values: dict[str, Any], path: str) -> None:
        if "properties" not in schema:
            return
        assert schema["additionalProperties"] is False, path
        assert set(schema["properties"]) - {"global"} == set(values), path
        for key, value in values.items():
            if isinstance(value, dict) and key not in FREE:
                check(schema["properties"][key], value, f"{path}.{key}")

    check(SCHEMA, VALUES, "values")


def test_values_that_the_page_sets_exist() -> None:
    for page in (PAGE, (ROOT / "docs/permissions.md").read_text(encoding="utf-8")):
        names = re.findall(r"--set '?([\w.\[\]]+)=", page)
        assert names
        for name in names:
            bare = re.sub(r"\[\d+\].*", "", name)
            assert any(bare == leaf or bare.startswith(f"{leaf}.") for leaf in LEAVES), name


def test_the_pages_print_only_commands_that_can_be_repeated() -> None:
    """`--reuse-values` lacks what a new version gained; what Helm made is applied over with --force-conflicts only."""
    commands = [
        line
        for path in (ROOT / "docs").glob("*.md")
        for block in re.findall(r"^```sh\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        for line in block.replace("\\\n", "").splitlines()
    ]
    upgrades = [line for line in commands if "helm upgrade" in line]
    assert len(upgrades) >= 5
    assert all("--reset-then-reuse-values" in line for line in upgrades)
    definitions = [line for line in commands if "apply --server-side" in line and "crds" in line]
    assert len(definitions) == 4
    assert all("--force-conflicts" in line for line in definitions)
    assert not any("kubectl" in line and " set " in line for line in commands)


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
    "clusterId=prod #1": "'/clusterId': 'prod #1' does not match pattern",
    "clusterId=a: b": "'/clusterId': 'a: b' does not match pattern",
    "clusterId=a\n--no-leader-elect": "/clusterId",
    "fullnameOverride=a-name-of-more-than-30-characters": "'/fullnameOverride': maxLength",
    "nameOverride=1st": "'/nameOverride': '1st' does not match pattern",
    "rbac.secrets[0].namespace=shop": "at '/rbac/secrets/0': 'oneOf' failed",
    "rbac.secrets[0].namespace=a,rbac.secrets[0].allSecrets=true,rbac.secrets[0].names[0]=s": "at '/rbac/secrets/0': 'oneOf' failed",
    "serviceAccount.create=false": "serviceAccount.create=false needs serviceAccount.name",
    "podLabels.app\\.kubernetes\\.io/instance=x": "podLabels may not have app.kubernetes.io/instance",
    "metrics.service.labels.app\\.kubernetes\\.io/component=x": "metrics.service.labels may not have app.kubernetes.io/component",
    "metrics.enabled=false,metrics.serviceMonitor.enabled=true": "metrics.serviceMonitor.enabled=true needs metrics.enabled=true",
    "metrics.prometheusRule.disabled={DataMoverStuk}": "'/metrics/prometheusRule/disabled/0'",
    "metrics.prometheusRule.stuckHours=0": "minimum",
    "networkPolicy.apiServerPorts=null": "missing property 'apiServerPorts'",
    "networkPolicy.apiServerCIDRs={10.0.0.1}": "'/networkPolicy/apiServerCIDRs/0': '10.0.0.1' does not match pattern",
    "networkPolicy.apiServerCIDRs={10.0.0.256/32}": "does not match pattern",
    "networkPolicy.apiServerCIDRs={10.0.0.0/33}": "does not match pattern",
    "networkPolicy.apiServerCIDRs={fd00::/129}": "does not match pattern",
    "affinity.nodeAfinity.x=y": "additional properties 'nodeAfinity' not allowed",
    "moverDefaults.affinity.podAffinty.x=y": "additional properties 'podAffinty' not allowed",
    "moverDefaults.nodeSelecter.a=b": "additional properties 'nodeSelecter' not allowed",
    "strategy.type=Sometimes": "must be one of",
    "imageRegistry=https://registry.example.com": "'/imageRegistry'",
    "commonLabels.app\\.kubernetes\\.io/name=x": "commonLabels may not have app.kubernetes.io/name: the chart sets it",
    "replication.jitter=soon": "'/replication/jitter': 'soon' does not match pattern",
    "replication.deadline=-5m": "'/replication/deadline'",
    "replication.maxConcurrent=-1": "minimum",
    "replication.volsyncNamespace=": "'/replication/volsyncNamespace': minLength",
    "replication.maxConcurent=1": "additional properties 'maxConcurent' not allowed",
    "livenessProbe=null": "missing property 'livenessProbe'",
    "image=null": "missing property 'image'",
    "log=null": "missing property 'log'",
    "metrics.service=null": "missing property 'service'",
}


@pytest.mark.parametrize("setting", REFUSED)
def test_a_value_that_cannot_be_right_is_refused(render: Any, setting: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        render(setting)
    assert REFUSED[setting] in refused.value.stderr


def test_an_image_is_named_by_tag_or_by_digest(render: Any) -> None:
    digest = f"sha256:{'0' * 64}"
    objects = render("image.repository=r/o", "image.tag=v2", "moverImage.repository=r/m", f"moverImage.digest={digest}")
    (container,) = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "r/o:v2"
    assert {"name": "MOVER_IMAGE", "value": f"r/m@{digest}"} in container["env"]


def test_definitions_may_be_managed_elsewhere_or_go_with_the_release(render: Any) -> None:
    assert not of_kind(render("crds.install=false"), "CustomResourceDefinition")
    definitions = of_kind(render("crds.keep=false"), "CustomResourceDefinition")
    assert {each["spec"]["names"]["plural"] for each in definitions} == OURS
    for definition in definitions:
        assert definition["metadata"]["annotations"] == {DEFINITION_VERSION: __version__}


OURS = {"datamovers", "datamoverrestores"}


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        ((), OURS),
        (("replication.crds.install=true",), OURS),
        ((REPLICATION,), OURS | {"replicationsources", "replicationdestinations"}),
        ((REPLICATION, "replication.crds.install=false"), OURS),
        ((REPLICATION, "crds.install=false"), set[str]()),
    ],
)
def test_definitions_of_volsync_come_with_replication_unless_somebody_else_brings_them(
    settings: tuple[str, ...], kinds: set[str], render: Any
) -> None:
    found = of_kind(render(*settings), "CustomResourceDefinition")
    assert {each["spec"]["names"]["plural"] for each in found} == kinds


def test_who_has_a_role_of_the_cluster_may_use_the_kinds_of_replication(render: Any) -> None:
    before, after = render(), render(REPLICATION)
    kinds = {"replicationsources", "replicationdestinations"}
    reading = {"get", "list", "watch"}
    writing = {"create", "update", "patch", "delete", "deletecollection"}
    for word, verbs in {"admin": reading | writing, "edit": reading | writing, "view": reading}.items():
        role = named(after, "ClusterRole", f"datamover-{word}")
        assert role["metadata"]["labels"][f"rbac.authorization.k8s.io/aggregate-to-{word}"] == "true"
        rules = [rule for rule in role["rules"] if rule["apiGroups"] == ["volsync.backube"]]
        granted = {(kind, verb) for rule in rules for kind in rule["resources"] for verb in rule["verbs"]}
        assert granted == {(kind, verb) for kind in kinds for verb in verbs} | {
            (f"{kind}/status", "get") for kind in kinds
        }
        assert "volsync.backube" not in str(named(before, "ClusterRole", f"datamover-{word}"))


def test_with_one_namespace_every_right_to_change_anything_is_in_it(render: Any) -> None:
    """But for what hands volumes over, which are of no namespace: that can be left out."""
    objects = render("watchNamespace=shop", "clusterId=a", "restores.population.enabled=false")
    cluster_wide = named(objects, "ClusterRole", "datamover-operator")["rules"]
    by_default = named(render("watchNamespace=shop", "clusterId=a"), "ClusterRole", "datamover-operator")["rules"]
    changing = [rule for rule in by_default if not {"get", "list", "watch"}.issuperset(rule["verbs"])]
    assert [(rule["resources"], rule["verbs"][-1]) for rule in changing] == [
        (["volumepopulators"], "create"),
        (["persistentvolumes"], "patch"),
    ]
    assert {verb for rule in cluster_wide for verb in rule["verbs"]} == {"get", "list", "watch"}
    for said, told in ((objects, True), (render(), False)):
        (manager,) = of_kind(said, "Deployment")[0]["spec"]["template"]["spec"]["containers"]
        assert ("--no-restore-population" in manager["args"]) is told, "who may not hand volumes over never asks for it"
    assert not any("namespaces" in rule["resources"] for rule in cluster_wide)
    whole = named(render("clusterId=a", "restores.population.enabled=false"), "ClusterRole", "datamover-operator")[
        "rules"
    ]
    local = named(objects, "Role", "datamover-operator")
    assert local["metadata"]["namespace"] == "shop"
    assert local["rules"] + cluster_wide == whole
    assert named(objects, "RoleBinding", "datamover-operator")["metadata"]["namespace"] == "shop"
    (container,) = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"]
    assert {"name": "WATCH_NAMESPACE", "value": "shop"} in container["env"]
    assert "--cluster-id=a" in container["args"]


def operator_arguments(objects: list[dict[str, Any]]) -> list[str]:
    (container,) = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"]
    return container["args"]


def test_replication_is_off_and_then_nothing_of_it_is_granted_told_or_installed(render_text: Any) -> None:
    text = render_text(tests=False)
    assert "replication" not in text.lower()
    assert "backube" not in text
    settings = ("replication.jitter=5m", "replication.maxConcurrent=3", "replication.deadline=1h")
    assert render_text("replication.enabled=false", *settings, tests=False) == text


def test_replication_adds_rights_and_takes_none_away(render: Any) -> None:
    before, after = render(), render(REPLICATION)
    roles = of_kind(before, "ClusterRole")
    assert "datamover-operator" in {role["metadata"]["name"] for role in roles}
    for role in roles:
        now = named(after, "ClusterRole", role["metadata"]["name"])
        # a rule that restores need as well may be there twice
        assert all(rule in now["rules"] for rule in role["rules"])
        added = [rule for rule in now["rules"] if rule not in role["rules"]]
        assert added
        for rule in added:
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
            assert "deletecollection" not in rule["verbs"] or role["metadata"]["name"] != "datamover-operator"


def test_replication_in_one_namespace_may_change_nothing_outside_it_but_volumes(render: Any) -> None:
    objects = render(REPLICATION, "watchNamespace=shop", "clusterId=a")
    cluster_wide = named(objects, "ClusterRole", "datamover-operator")["rules"]
    changing = {
        (resource, verb)
        for rule in cluster_wide
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if verb not in ("get", "list", "watch")
    }
    assert changing == {("persistentvolumes", "patch"), ("volumepopulators", "create")}
    assert [rule["resourceNames"] for rule in cluster_wide if rule["resources"] == ["namespaces"]] == [["shop"]]
    assert not any("secrets" in rule["resources"] for rule in cluster_wide)
    local = named(objects, "Role", "datamover-operator")["rules"]
    whole = named(render(REPLICATION, "clusterId=a"), "ClusterRole", "datamover-operator")["rules"]
    assert local == whole[: len(local)]


def test_the_operator_is_told_how_to_replicate(render: Any) -> None:
    said = [each for each in operator_arguments(render(REPLICATION)) if "replication" in each or "volsync" in each]
    assert said == ["--replication", "--volsync-namespace=volsync-system"]
    settings = {
        "replication.volsyncNamespace=elsewhere": "--volsync-namespace=elsewhere",
        "replication.jitter=5m": "--replication-jitter=5m",
        "replication.maxConcurrent=20": "--replication-max-concurrent=20",
        "replication.deadline=1d12h": "--replication-deadline=1d12h",
    }
    arguments = operator_arguments(render(REPLICATION, *settings))
    assert set(settings.values()) <= set(arguments)


def test_a_worker_that_fills_a_disk_has_the_deadline_that_is_wanted(render: Any) -> None:
    population = "dataVolumes.population.enabled=true"
    assert not [each for each in operator_arguments(render(population)) if "deadline" in each]
    assert "--datavolume-deadline=12h" in operator_arguments(render(population, "dataVolumes.population.deadline=12h"))


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


def test_no_names_are_not_all_names(render_values: Any) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        render_values({"rbac": {"secrets": [{"namespace": "shop", "names": []}]}}, release="r", namespace="n")
    assert "'/rbac/secrets/0/names': minItems" in refused.value.stderr


def test_no_secrets_are_granted_but_those_that_are_named_or_all_on_purpose(render: Any) -> None:
    entries = [("shop", "names[0]=b"), ("shop", "names[0]=a"), ("open", "allSecrets=true"), ("open", "names[0]=c")]
    settings = [
        part
        for number, (namespace, grant) in enumerate(entries)
        for part in (f"rbac.secrets[{number}].namespace={namespace}", f"rbac.secrets[{number}].{grant}")
    ]
    roles = [each for each in of_kind(render(*settings), "Role") if each["metadata"]["name"].endswith("-preflight")]
    granted = {each["metadata"]["namespace"]: each["rules"][0].get("resourceNames") for each in roles}
    assert granted == {"shop": ["a", "b"], "open": None}
    assert len(roles) == 2


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
    assert {service["spec"]["ports"][0]["appProtocol"] for service in of_kind(objects, "Service")} == {"https"}
    rules = named(objects, "ClusterRole", "datamover-operator-metrics-auth")["rules"]
    assert {rule["resources"][0]: rule["verbs"] for rule in rules} == {
        "tokenreviews": ["create"],
        "subjectaccessreviews": ["create"],
    }
    reader = named(objects, "ClusterRole", "datamover-metrics-reader")
    assert reader["rules"] == [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]
    (endpoint,) = of_kind(objects, "ServiceMonitor")[0]["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["scheme"]) == ("metrics", "https")
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
    assert endpoint["port"] == selected[0]["spec"]["ports"][0]["name"] == "metrics"
    assert endpoint["honorLabels"] is True
    assert monitor["metadata"]["labels"]["release"] == "p"


def test_alert_rules_arrive_as_they_are_written_but_those_that_are_switched_off(render: Any) -> None:
    rule = "metrics.prometheusRule"
    both = (f"{rule}.enabled=true", REPLICATION, COLLECTION, POPULATION, HOSTED)
    (found,) = of_kind(render(*both), "PrometheusRule")
    assert found["spec"]["groups"] == ALERTS
    (found,) = of_kind(render(*both, f"{rule}.disabled={{DataMoverCleanupFailing}}"), "PrometheusRule")
    assert found["spec"]["groups"] == ALERTS[1:]


def test_rules_and_panels_of_replication_arrive_only_where_it_is_enabled(render: Any) -> None:
    objects = render("metrics.prometheusRule.enabled=true", "grafanaDashboard.enabled=true")
    (found,) = of_kind(objects, "PrometheusRule")
    switched = ("replication", "datavolumes", "population", "images", "hosted-control-planes", "webhook")
    others = {f"datamover.{each}" for each in switched}
    assert found["spec"]["groups"] == [group for group in ALERTS if group["name"] not in others]
    assert "eplication" not in str(of_kind(objects, "ConfigMap"))


def test_the_hours_of_the_alert_rules_are_values(render: Any) -> None:
    rule = "metrics.prometheusRule"
    objects = render(
        f"{rule}.enabled=true", f"{rule}.stuckHours=12", f"{rule}.noSuccessHours=170", f"{rule}.verificationDays=8"
    )
    (found,) = of_kind(objects, "PrometheusRule")
    by_name = {each["alert"]: each for group in found["spec"]["groups"] for each in group["rules"]}
    assert by_name["DataMoverStuck"]["for"] == "12h"
    assert by_name["DataMoverStuck"]["annotations"]["summary"].endswith("has not ended for 12 hours")
    assert by_name["DataMoverNoRecentSuccess"]["expr"].endswith("> 170 * 3600")
    assert by_name["DataMoverNoRecentSuccess"]["annotations"]["summary"].endswith("completed for 170 hours")
    assert by_name["DataMoverVerificationOld"]["expr"].endswith("> 8 * 86400")
    assert by_name["DataMoverVerificationOld"]["annotations"]["summary"].endswith("verified for 8 days")
    written = {each["alert"]: each for group in ALERTS for each in group["rules"]}
    assert {name for name, each in by_name.items() if each != written[name]} == {
        "DataMoverStuck",
        "DataMoverNoRecentSuccess",
        "DataMoverVerificationOld",
    }


def test_runbooks_lead_to_where_the_page_is_served(render: Any) -> None:
    rule, page = "metrics.prometheusRule", "https://docs.example.com/failures"
    settings = (f"{rule}.enabled=true", f"{rule}.runbookPage={page}", REPLICATION, COLLECTION, POPULATION, HOSTED)
    (found,) = of_kind(render(*settings), "PrometheusRule")
    rules = [each for group in found["spec"]["groups"] for each in group["rules"]]
    written = [each for group in ALERTS for each in group["rules"]]
    assert [each["annotations"]["runbook_url"] for each in rules] == [
        each["annotations"]["runbook_url"].replace("docs/failures.md", page) for each in written
    ]


def test_only_rules_that_exist_can_be_left_out() -> None:
    rule = SCHEMA["properties"]["metrics"]["properties"]["prometheusRule"]["properties"]
    assert rule["disabled"]["items"]["enum"] == [each["alert"] for group in ALERTS for each in group["rules"]]


def test_a_network_policy_lets_in_the_metrics_and_out_to_the_api_server(render: Any) -> None:
    (found,) = of_kind(
        render("networkPolicy.enabled=true", "networkPolicy.apiServerCIDRs={10.0.0.1/32}"), "NetworkPolicy"
    )
    spec = found["spec"]
    assert spec["ingress"] == [{"ports": [{"port": 8082, "protocol": "TCP"}]}]
    (egress,) = spec["egress"]
    assert [each["port"] for each in egress["ports"]] == [443, 6443]
    assert egress["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]


BUDGETS = {
    "podDisruptionBudget.maxUnavailable=null": {"maxUnavailable": 1},
    "podDisruptionBudget.maxUnavailable=0": {"maxUnavailable": 0},
    "podDisruptionBudget.maxUnavailable=null,podDisruptionBudget.minAvailable=1": {"minAvailable": 1},
    "podDisruptionBudget.minAvailable=0": {"minAvailable": 0},
    "podDisruptionBudget.minAvailable=null,podDisruptionBudget.maxUnavailable=50%": {"maxUnavailable": "50%"},
}


@pytest.mark.parametrize("setting", BUDGETS)
def test_a_disruption_budget_has_one_of_the_two(render: Any, setting: str) -> None:
    (found,) = of_kind(render(setting), "PodDisruptionBudget")
    assert {key: found["spec"][key] for key in found["spec"] if key.endswith(("Available", "Unavailable"))} == BUDGETS[
        setting
    ]


def test_a_value_without_which_nothing_can_be_rendered_cannot_be_taken_away() -> None:
    """Null in somebody's values takes a default away; the values that are empty by default may be."""

    def check(schema: dict[str, Any], values: dict[str, Any], path: str) -> None:
        for key, value in values.items():
            child = schema["properties"][key]
            may_miss = value in ("", [], {}) or (isinstance(value, dict) and "properties" not in child)
            if not (may_miss and value is not False) and key not in {"resources", "maxUnavailable"}:
                assert key in schema.get("required", ()), f"{path}{key}"
            if "properties" in child and key not in FREE:
                check(child, value, f"{path}{key}.")

    check(SCHEMA, VALUES, "")


def test_what_is_empty_by_default_may_be_null(render: Any) -> None:
    empty = [name for name, default in LEAVES.items() if default in ("", [], {}) and default is not False]
    assert render(*(f"{name}=null" for name in empty)) == render()


@pytest.fixture
def notes(helm: str, tmp_path: Path) -> Callable[..., str]:
    """Returns what Helm prints after an installation. Only an installation does, so the notes are rendered as an object here."""
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    text = (chart / "templates/NOTES.txt").read_text(encoding="utf-8")
    (chart / "templates/_notes.tpl").write_text(f'{{{{- define "notes" -}}}}\n{text}\n{{{{- end }}}}', encoding="utf-8")
    (chart / "templates/notes.yaml").write_text('notes: {{ include "notes" . | quote }}\n', encoding="utf-8")

    def run(*settings: str, **where: str) -> str:
        flags = [flag for setting in settings for flag in ("--set", setting)]
        command = [helm, "template", where.get("release", "datamover"), chart, "--kube-version", "v1.29.0",
                   "--namespace", where.get("namespace", names.OPERATOR_NAMESPACE), "--show-only", "templates/notes.yaml", *flags]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return read_yaml(done.stdout)["notes"]

    return run


def test_the_notes_speak_only_of_roles_that_are_there(notes: Callable[..., str]) -> None:
    made = notes(*SECURE)
    assert "kubectl create clusterrolebinding datamover-metrics-reader" in made
    assert "create clusterrole " not in made
    assert "kubectl create clusterrolebinding datamover-backup-metrics-reader" in notes(*SECURE, namespace="backup")
    theirs = notes(*SECURE, "rbac.create=false")
    assert "kubectl create clusterrole datamover-metrics-reader --verb=get --non-resource-url=/metrics" in theirs
    assert "docs/permissions.md" in theirs


SWITCHES = {
    "serviceAccount.create=false,serviceAccount.name=mine": ("ServiceAccount", 0),
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


# --- what belongs to all ------------------------------------------------------------------------------------------


def test_common_labels_are_on_every_object_and_select_nothing(render: Any) -> None:
    everything = ("metrics.serviceMonitor.enabled=true", "metrics.prometheusRule.enabled=true", "grafanaDashboard.enabled=true",
                  "networkPolicy.enabled=true", "namespace.create=true")  # fmt: skip
    objects = render("commonLabels.team=storage", *everything)
    without = [each for each in objects if (each["metadata"].get("labels") or {}).get("team") != "storage"]
    assert not [f"{each['kind']} {each['metadata']['name']}" for each in without]
    (deployment,) = of_kind(objects, "Deployment")
    assert deployment["spec"]["template"]["metadata"]["labels"]["team"] == "storage"
    assert "team" not in deployment["spec"]["selector"]["matchLabels"]
    assert not any("team" in each["spec"]["selector"] for each in of_kind(objects, "Service"))


def test_labels_of_pods_and_services_win_over_the_common_ones(render: Any) -> None:
    objects = render("commonLabels.team=storage", "podLabels.team=backup")
    assert of_kind(objects, "Deployment")[0]["spec"]["template"]["metadata"]["labels"]["team"] == "backup"


REGISTRIES = {
    ("localhost/datamover/operator", "r.example.com"): "r.example.com/datamover/operator",
    ("quay.io/team/operator", "r.example.com:5000/mirror"): "r.example.com:5000/mirror/team/operator",
    ("registry:5000/operator", "r.example.com"): "r.example.com/operator",
    ("team/operator", "r.example.com"): "r.example.com/team/operator",
    ("operator", "r.example.com"): "r.example.com/operator",
    ("quay.io/team/operator", ""): "quay.io/team/operator",
}


@pytest.mark.parametrize(("repository", "registry"), REGISTRIES)
def test_one_registry_serves_both_images(render: Any, repository: str, registry: str) -> None:
    objects = render(
        f"image.repository={repository}", f"moverImage.repository={repository}", f"imageRegistry={registry}"
    )
    (container,) = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"]
    wanted = f"{REGISTRIES[repository, registry]}:{__version__}"
    assert container["image"] == wanted
    assert {"name": "MOVER_IMAGE", "value": wanted} in container["env"]


def test_more_objects_are_installed_as_objects_or_as_text(render_values: Any) -> None:
    extra = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-a"}},
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: b\n",
    ]
    objects = render_values({"extraObjects": extra}, release="r", namespace="n")
    assert named(objects, "ConfigMap", "r-a")
    assert named(objects, "Secret", "b")


def test_a_strategy_replaces_the_rolling_one(render: Any) -> None:
    assert "strategy" not in of_kind(render(), "Deployment")[0]["spec"]
    (deployment,) = of_kind(render("strategy.type=Recreate"), "Deployment")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def defaults_of(objects: list[dict[str, Any]]) -> str:
    (container,) = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"]
    (found,) = [each["value"] for each in container["env"] if each["name"] == "MOVER_DEFAULTS"]
    return found


def test_the_operator_reads_what_the_chart_says_of_movers(render: Any) -> None:
    as_shipped = read_mover_defaults(defaults_of(render()))
    assert as_shipped.resources == ResourceRequirements(requests={"cpu": "50m", "memory": "128Mi"})
    set_ = "moverDefaults"
    found = read_mover_defaults(
        defaults_of(
            render(
                f"{set_}.tolerations[0].key=backup", f"{set_}.tolerations[0].operator=Exists", f"{set_}.nodeSelector.pool=x",
                f"{set_}.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].key=k",
                f"{set_}.priorityClassName=low", f"{set_}.imagePullSecrets[0].name=r", f"{set_}.securityContext.runAsUser=1000",
                f"{set_}.labels.team=storage", f"{set_}.annotations.a\\.b/c=d", f"{set_}.resources.limits.memory=1Gi",
            )
        )
    )  # fmt: skip
    assert found.tolerations == (Toleration(key="backup", operator="Exists"),)
    assert found.node_selector == {"pool": "x"}
    assert found.priority_class_name == "low"
    assert found.image_pull_secrets == (LocalObjectReference(name="r"),)
    assert found.security_context == PodSecurityContext(run_as_user=1000)
    assert (found.labels, found.annotations) == ({"team": "storage"}, {"a.b/c": "d"})
    assert found.affinity
    assert found.resources is not None
    assert found.resources.limits == {"memory": "1Gi"}


def test_no_defaults_are_no_variable(render: Any) -> None:
    (container,) = of_kind(render("moverDefaults.resources=null"), "Deployment")[0]["spec"]["template"]["spec"][
        "containers"
    ]
    assert not [each for each in container["env"] if each["name"] == "MOVER_DEFAULTS"]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_helm_test_asks_the_service_of_the_metrics(render: Any, scheme: str) -> None:
    objects = render(*(SECURE if scheme == "https" else ()))
    (test,) = [each for each in of_kind(objects, "Pod") if each["metadata"]["annotations"]["helm.sh/hook"] == "test"]
    (container,) = test["spec"]["containers"]
    service = named(objects, "Service", "datamover-operator-controller-manager-metrics-service")
    assert container["args"][-1] == f"{scheme}://{service['metadata']['name']}.datamover-operator-system:8082"
    assert not service["spec"]["selector"].items() <= test["metadata"]["labels"].items(), "it would be asked itself"
    compile(container["args"][0], "the test", "exec")
    assert not of_kind(render("metrics.enabled=false"), "Pod")
