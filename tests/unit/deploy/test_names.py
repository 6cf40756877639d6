"""The names that the chart gives: never too long, never shared by two releases, and text wherever Kubernetes wants text."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

NAMES = {
    "datamover": "datamover-operator-controller-manager",
    "datamover-operator": "datamover-operator-controller-manager",
    "nightly": "nightly-datamover-operator-controller-manager",
    "a.b": "a-b-datamover-operator-controller-manager",
    "123": "datamover-123-operator-controller-manager",
    "a" * 53: f"{'a' * 21}-29031db0-operator-controller-manager",
}
AWKWARD = {"release": "1e3", "namespace": "2025"}
"""A release and a namespace that are numbers where nothing quotes them."""
SERVICE_NAME = r"[a-z]([-a-z0-9]*[a-z0-9])?"


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == kind]


@pytest.mark.parametrize("release", NAMES)
def test_names_follow_the_release_and_are_never_too_long(render: Any, release: str) -> None:
    objects = render(release=release)
    assert of_kind(objects, "Deployment")[0]["metadata"]["name"] == NAMES[release]
    for each in objects:
        cluster_wide = each["kind"].startswith("ClusterRole")
        assert len(each["metadata"]["name"]) <= (253 if cluster_wide else 63)
        assert each["kind"] != "Service" or re.fullmatch(SERVICE_NAME, each["metadata"]["name"])
    assert all(len(value) <= 63 for each in objects for value in (each["metadata"].get("labels") or {}).values())


def test_two_releases_of_different_names_share_only_the_definitions_and_the_documented_service(render: Any) -> None:
    first, second = (
        {(each["kind"], each["metadata"]["name"]) for each in render(release=release, namespace="n")}
        for release in ("one", "two")
    )
    assert {name for _, name in first & second} == {
        "datamovers.datamover.a-cup-of.coffee",
        "datamoverrestores.datamover.a-cup-of.coffee",
        "operator-metrics-service",
    }


def test_long_names_that_differ_late_stay_different(render: Any) -> None:
    first, second = (
        render("crds.install=false", release=f"backups-of-the-whole-department-{tail}") for tail in ("one", "two")
    )
    kept = {(each["kind"], each["metadata"]["name"]) for each in first} & {
        (each["kind"], each["metadata"]["name"]) for each in second
    }
    assert kept == {("Service", "operator-metrics-service")}


def test_one_release_name_in_two_namespaces_shares_nothing(render: Any) -> None:
    settings = ("crds.install=false", "watchNamespace=shop", "metrics.secure=true", "metrics.tls.secretName=c",
                "metrics.serviceMonitor.enabled=true", "metrics.serviceMonitor.namespace=monitoring",
                "metrics.prometheusRule.enabled=true", "metrics.prometheusRule.namespace=monitoring",
                "grafanaDashboard.enabled=true", "grafanaDashboard.namespace=monitoring",
                "rbac.secrets[0].namespace=shop", "rbac.secrets[0].names[0]=a")  # fmt: skip
    places = [
        {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects}
        for objects in (render(*settings, namespace=place) for place in ("datamover-operator-system", "a", "b"))
    ]
    assert not places[0] & places[1] | places[0] & places[2] | places[1] & places[2]


def test_each_binding_gives_a_role_that_is_rendered_with_it(render: Any) -> None:
    objects = render(
        "metrics.secure=true",
        "metrics.tls.secretName=c",
        "watchNamespace=shop",
        "rbac.secrets[0].namespace=shop",
        "rbac.secrets[0].names[0]=a",
        **AWKWARD,
    )
    roles = {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects}
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        for binding in of_kind(objects, kind):
            reference = binding["roleRef"]
            assert (reference["kind"], binding["metadata"].get("namespace"), reference["name"]) in roles
            assert binding["subjects"][0]["namespace"] == "2025"


def texts(objects: Any) -> Iterator[Any]:
    """Yield whatever Kubernetes wants as text: names, namespaces, labels, annotations, arguments and environment."""
    if isinstance(objects, dict):
        for key, value in objects.items():
            if key in {"labels", "matchLabels", "annotations", "nodeSelector"} and isinstance(value, dict):
                yield from value.values()
            elif key in {
                "name",
                "namespace",
                "value",
                "secretName",
                "serviceAccountName",
                "priorityClassName",
                "image",
            }:
                yield value
            elif key in {"args", "command", "matchNames", "resourceNames"}:
                yield from value
            else:
                yield from texts(value)
    elif isinstance(objects, list):
        for each in objects:
            yield from texts(each)


def test_whatever_looks_like_a_number_or_a_boolean_stays_text(render_values: Any) -> None:
    objects = render_values(
        {
            "clusterId": "12", "watchNamespace": "2024", "nameOverride": "y", "priorityClassName": "1",
            "image": {"tag": "1.10"}, "moverImage": {"repository": "1", "tag": "2"}, "serviceAccount": {"name": "2023"},
            "metrics": {"secure": True, "tls": {"secretName": "7"}, "serviceMonitor": {"enabled": True, "namespace": "1", "scrapeTimeout": "9s"},
                        "prometheusRule": {"enabled": True, "namespace": "1", "labels": {"on": "1"}}},
            "grafanaDashboard": {"enabled": True, "namespace": "1"},
            "networkPolicy": {"enabled": True}, "namespace": {"create": True},
            "rbac": {"secrets": [{"namespace": "2022", "names": ["3"]}]},
            "podLabels": {"year": "2025"}, "extraEnv": [{"name": "N", "value": "1"}],
        },
        **AWKWARD,
    )  # fmt: skip
    objects = [each for each in objects if each["kind"] != "CustomResourceDefinition"]
    for each in objects:
        found = list(texts(each))
        assert found
        assert all(isinstance(text, str) for text in found), (each["kind"], found)
    (container,) = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"]
    assert "--cluster-id=12" in container["args"]
    assert {"name": "WATCH_NAMESPACE", "value": "2024"} in container["env"]
    assert {each["metadata"].get("namespace", "2025") for each in objects} == {"2025", "2024", "2022", "1"}
