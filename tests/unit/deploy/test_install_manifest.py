"""deploy/install.yaml: rendered from the chart, restricted, and with no right too many."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from datamover import __version__
from datamover.api import names
from datamover.cli.main import main
from support.parsing import read_documents, read_yaml

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "deploy" / "install.yaml").read_text(encoding="utf-8")
OBJECTS: list[dict[str, Any]] = [each for each in read_documents(TEXT) if each]
ROLES = [each for each in OBJECTS if each["kind"] in {"Role", "ClusterRole"}]
BINDINGS = [each for each in OBJECTS if each["kind"] in {"RoleBinding", "ClusterRoleBinding"}]
(DEPLOYMENT,) = [each for each in OBJECTS if each["kind"] == "Deployment"]
POD = DEPLOYMENT["spec"]["template"]["spec"]
VERBS = {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
CLUSTER_WIDE = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
PEOPLE = {"datamover-admin", "datamover-edit", "datamover-view"}


def test_it_is_what_the_chart_gives(render_text: Any) -> None:
    rendered = render_text("namespace.create=true", namespace=names.OPERATOR_NAMESPACE, tests=False)
    assert TEXT.partition("\n")[2] == rendered, "run `make manifests`"


def test_the_documented_names_are_there() -> None:
    found = {(each["kind"], each["metadata"]["name"]) for each in OBJECTS}
    for kind in ("Deployment", "ServiceAccount"):
        assert (kind, "datamover-operator-controller-manager") in found
    assert {("Namespace", "datamover-operator-system"), ("Service", "operator-metrics-service")} <= found


def test_every_object_is_in_the_operators_namespace_or_in_none() -> None:
    for each in OBJECTS:
        expected = None if each["kind"] in CLUSTER_WIDE else names.OPERATOR_NAMESPACE
        assert each["metadata"].get("namespace") == expected, each["metadata"]["name"]


def test_no_object_looks_like_one_that_the_operator_made() -> None:
    assert all(names.CREATED_BY_LABEL not in (each["metadata"].get("labels") or {}) for each in OBJECTS)


@pytest.mark.parametrize("plural", ["datamovers", "datamoverrestores"])
def test_the_definition_is_ours_and_helm_keeps_it(plural: str) -> None:
    definitions = [each for each in OBJECTS if each["kind"] == "CustomResourceDefinition"]
    (found,) = [dict(each) for each in definitions if each["spec"]["names"]["plural"] == plural]
    assert found["metadata"]["annotations"] == {
        "helm.sh/resource-policy": "keep",
        "datamover.a-cup-of.coffee/definition-version": __version__,
    }
    found["metadata"] = {key: value for key, value in found["metadata"].items() if key != "annotations"}
    assert found == read_yaml((ROOT / f"deploy/crds/{plural}.yaml").read_text(encoding="utf-8")), "run `make crds`"


def test_what_kubernetes_1_29_does_not_know_can_be_left_out_as_documented() -> None:
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^(sed .*selectableFields.*) deploy/install.yaml > install-1.29.yaml$", page, re.MULTILINE)
    done = subprocess.run(shlex.split(command), input=TEXT, capture_output=True, text=True, check=True)
    definitions = [each for each in read_documents(done.stdout) if each and each["kind"] == "CustomResourceDefinition"]
    wholes = [each for each in OBJECTS if each["kind"] == "CustomResourceDefinition"]
    assert wholes
    for found, whole in zip(definitions, wholes, strict=True):
        versions = [
            {key: value for key, value in v.items() if key != "selectableFields"} for v in whole["spec"]["versions"]
        ]
        assert found["spec"] == {**whole["spec"], "versions": versions}


def test_what_is_to_be_kept_is_told_by_a_label_from_what_may_go() -> None:
    label = "app.kubernetes.io/managed-by"
    kept = [each["kind"] for each in OBJECTS if label not in (each["metadata"].get("labels") or {})]
    assert sorted(kept) == ["CustomResourceDefinition", "CustomResourceDefinition", "Namespace"]


# --- Pods ---------------------------------------------------------------------------------------------------------


def test_the_namespace_enforces_the_restricted_standard() -> None:
    (namespace,) = [each for each in OBJECTS if each["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_pod_meets_the_restricted_standard() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["runAsUser"] > 0
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(POD)
    assert all(set(volume) <= {"name", "secret", "configMap", "emptyDir"} for volume in POD.get("volumes", ()))
    for container in POD["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        assert container["resources"]["requests"]
        assert all("hostPort" not in port for port in container["ports"])


def test_replicas_elect_a_leader_and_keep_apart() -> None:
    assert DEPLOYMENT["spec"]["replicas"] == 2
    assert "--leader-elect" in POD["containers"][0]["args"]
    assert POD["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    (budget,) = [each for each in OBJECTS if each["kind"] == "PodDisruptionBudget"]
    assert budget["spec"]["maxUnavailable"] == 1


def test_whatever_selects_pods_selects_these() -> None:
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"].items()
    selectors = [each["spec"]["selector"] for each in OBJECTS if each["kind"] in {"Service", "PodDisruptionBudget"}]
    for selector in [*selectors, DEPLOYMENT["spec"]["selector"]]:
        assert selector.get("matchLabels", selector).items() <= labels


def test_probes_and_services_lead_to_the_port_that_is_served() -> None:
    (container,) = POD["containers"]
    ((name, port),) = [(each["name"], each["containerPort"]) for each in container["ports"]]
    assert name == "metrics"
    assert f"--metrics-bind-address=:{port}" in container["args"]
    for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": name, "scheme": "HTTP"}
    services = {each["metadata"]["name"]: each for each in OBJECTS if each["kind"] == "Service"}
    assert all(each["spec"]["ports"][0]["targetPort"] == name for each in services.values())
    assert services["operator-metrics-service"]["spec"]["ports"][0]["port"] == 8080


def test_the_command_and_its_options_and_variables_exist() -> None:
    (container,) = POD["containers"]
    assert container["command"] == ["datamover", "operator"]
    options = main.commands["operator"].params
    known = {spelling for each in options for spelling in (*each.opts, *each.secondary_opts)}
    assert {argument.partition("=")[0] for argument in container["args"]} <= known
    assert {each["name"] for each in container["env"]} <= {each.envvar for each in options}  # type: ignore[attr-defined]


# --- rights -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role["metadata"]["name"])
def test_a_role_names_each_right(role: dict[str, Any]) -> None:
    assert role["rules"]
    for rule in role["rules"]:
        assert set(rule) <= {"apiGroups", "resources", "verbs", "resourceNames"}
        assert all(isinstance(rule[key], list) and rule[key] for key in ("apiGroups", "resources", "verbs"))
        assert set(rule["verbs"]) <= VERBS
        assert not any("*" in word for word in (*rule["apiGroups"], *rule["resources"]))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role["metadata"]["name"])
def test_a_role_gives_no_secrets_no_processes_in_pods_and_no_rights(role: dict[str, Any]) -> None:
    resources = {resource for rule in role["rules"] for resource in rule["resources"]}
    assert not resources & {"secrets", "pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers"}
    assert not resources & {"roles", "rolebindings", "clusterroles", "clusterrolebindings", "serviceaccounts/token"}
    verbs = {verb for rule in role["rules"] for verb in rule["verbs"]}
    assert not verbs & {"escalate", "bind", "impersonate"}


def test_pods_are_only_read_by_the_operator() -> None:
    (role,) = [each for each in ROLES if each["metadata"]["name"] == "datamover-operator"]
    verbs = {verb for rule in role["rules"] if "pods" in rule["resources"] for verb in rule["verbs"]}
    assert verbs == {"list", "watch"}


@pytest.mark.parametrize("binding", BINDINGS, ids=lambda binding: binding["metadata"]["name"])
def test_a_binding_gives_a_role_that_is_there_to_the_operator_alone(binding: dict[str, Any]) -> None:
    reference = binding["roleRef"]
    assert reference["apiGroup"] == "rbac.authorization.k8s.io"
    assert (reference["kind"], reference["name"]) in {(each["kind"], each["metadata"]["name"]) for each in ROLES}
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": POD["serviceAccountName"], "namespace": names.OPERATOR_NAMESPACE}
    ]


def test_every_role_is_bound_or_for_people() -> None:
    bound = {(each["roleRef"]["kind"], each["roleRef"]["name"]) for each in BINDINGS}
    assert {
        each["metadata"]["name"] for each in ROLES if (each["kind"], each["metadata"]["name"]) not in bound
    } == PEOPLE


def test_the_lease_is_the_only_one_that_may_be_changed() -> None:
    (role,) = [each for each in ROLES if each["kind"] == "Role"]
    changing = [rule for rule in role["rules"] if "update" in rule["verbs"]]
    assert [rule["resourceNames"] for rule in changing] == [[names.LEASE_NAME]]


@pytest.mark.parametrize("name", sorted(PEOPLE))
def test_peoples_roles_extend_those_of_the_cluster_and_leave_the_status_alone(name: str) -> None:
    (role,) = [each for each in ROLES if each["metadata"]["name"] == name]
    word = name.removeprefix("datamover-")
    assert role["metadata"]["labels"][f"rbac.authorization.k8s.io/aggregate-to-{word}"] == "true"
    rights = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert ("datamovers", "list") in rights
    assert (("datamovers", "create") in rights) == (word != "view")
    assert {verb for resource, verb in rights if resource == "datamovers/status"} == {"get"}


def test_nothing_is_pulled_from_a_registry_of_somebody_else() -> None:
    images = re.findall(r'(?:image|value): "(\S+/\S+:\S+)"$', TEXT, re.MULTILINE)
    assert len(images) == 2
    assert all(image.startswith("localhost/") for image in images)
