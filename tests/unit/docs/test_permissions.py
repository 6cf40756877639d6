"""The permissions page: complete objects, and every right that the operator's caches need."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from datamover.api.batch import JOBS
from datamover.api.core import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from datamover.api.snapshot import VOLUME_SNAPSHOTS
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from datamover.reconcilers.datamover.caches import Caches
from support.clock import VirtualClock

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "permissions.md").read_text(encoding="utf-8")
OBJECTS: list[dict[str, Any]] = [
    document
    for block in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for document in yaml.safe_load_all(block)
]
ROLES = [each for each in OBJECTS if each["kind"] in {"Role", "ClusterRole"}]
BINDINGS = [each for each in OBJECTS if each["kind"] in {"RoleBinding", "ClusterRoleBinding"}]
VERBS = {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}


def verbs(group: str, resource: str) -> set[str]:
    """Return what the operator's ClusterRole allows for a resource, whatever its name."""
    (role,) = [each for each in ROLES if each["metadata"]["name"] == "datamover-operator"]
    return {
        verb
        for rule in role["rules"]
        if group in rule["apiGroups"] and resource in rule["resources"] and "resourceNames" not in rule
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role["metadata"]["name"])
def test_a_role_is_well_formed_and_has_no_wildcards(role: dict[str, Any]) -> None:
    assert role["rules"]
    for rule in role["rules"]:
        assert set(rule) <= {"apiGroups", "resources", "verbs", "resourceNames"}
        assert all(isinstance(rule[key], list) and rule[key] for key in ("apiGroups", "resources", "verbs"))
        assert set(rule["verbs"]) <= VERBS
        assert "*" not in {*rule["apiGroups"], *rule["resources"]}
    assert ("namespace" in role["metadata"]) == (role["kind"] == "Role")


@pytest.mark.parametrize("binding", BINDINGS, ids=lambda binding: binding["metadata"]["name"])
def test_a_binding_refers_to_what_is_on_the_page(binding: dict[str, Any]) -> None:
    reference = binding["roleRef"]
    assert reference["apiGroup"] == "rbac.authorization.k8s.io"
    assert (reference["kind"], reference["name"]) in {(each["kind"], each["metadata"]["name"]) for each in ROLES}
    accounts = {
        (each["metadata"]["namespace"], each["metadata"]["name"])
        for each in OBJECTS
        if each["kind"] == "ServiceAccount"
    }
    for subject in binding["subjects"]:
        assert subject["kind"] == "ServiceAccount"
        assert (subject["namespace"], subject["name"]) in accounts


def test_whatever_the_caches_watch_may_be_listed_and_watched() -> None:
    caches = Caches(None, clock=VirtualClock())  # type: ignore[arg-type]
    for informer in caches.informers():
        resource = informer.resource
        assert {"list", "watch"} <= verbs(resource.group, resource.plural), resource.group_resource


@pytest.mark.parametrize("resource", [PERSISTENT_VOLUME_CLAIMS, JOBS, VOLUME_SNAPSHOTS], ids=lambda each: each.plural)
def test_whatever_is_made_may_be_read_back_and_deleted(resource: Any) -> None:
    assert {"get", "create", "delete"} <= verbs(resource.group, resource.plural)


@pytest.mark.parametrize("resource", [DATA_MOVERS, PERSISTENT_VOLUMES], ids=lambda each: each.plural)
def test_what_is_asked_for_when_a_cache_may_lag_may_be_read(resource: Any) -> None:
    assert "get" in verbs(resource.group, resource.plural)


def test_the_operator_has_no_right_to_all_secrets() -> None:
    cluster_wide = [rule for role in ROLES if role["kind"] == "ClusterRole" for rule in role["rules"]]
    assert not any("secrets" in rule["resources"] for rule in cluster_wide)


def test_every_resource_of_the_operator_is_explained_on_the_page() -> None:
    (role,) = [each for each in ROLES if each["metadata"]["name"] == "datamover-operator"]
    rows = "\n".join(re.findall(r"^\|.*\|$", PAGE, re.MULTILINE))
    for rule in role["rules"]:
        for resource in rule["resources"]:
            assert re.search(rf"`(events\.k8s\.io/)?{re.escape(resource)}`", rows), resource
