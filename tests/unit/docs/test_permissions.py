"""The permissions page explains every right that the install manifest grants, and no others; and the caches have those they need."""

import re
from pathlib import Path
from typing import Any

import pytest

from datamover.api.v1alpha1.datamover import DATA_MOVERS
from datamover.reconcilers.cluster import Cluster
from datamover.reconcilers.datamover.caches import Caches
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from support.clock import VirtualClock
from support.parsing import read_documents

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "permissions.md").read_text(encoding="utf-8")
OBJECTS: list[dict[str, Any]] = [
    each for each in read_documents((ROOT / "deploy" / "install.yaml").read_text(encoding="utf-8")) if each
]


def rules(kind: str, name: str) -> list[dict[str, Any]]:
    """Return the rules of a role of the install manifest."""
    (role,) = [each for each in OBJECTS if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return role["rules"]


def verbs(group: str, resource: str) -> set[str]:
    """Return what the operator's ClusterRole allows for a resource, whatever its name."""
    return {
        verb
        for rule in rules("ClusterRole", "datamover-operator")
        if group in rule["apiGroups"] and resource in rule["resources"] and "resourceNames" not in rule
        for verb in rule["verbs"]
    }


def granted(found: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Return (resource, verb) pairs, with the group where two groups have a resource of that name."""
    return {
        ("events.k8s.io/events" if "events.k8s.io" in rule["apiGroups"] else resource, verb)
        for rule in found
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def explained(heading: str) -> set[tuple[str, str]]:
    """Return the (resource, verb) pairs that the table below a heading of the page explains."""
    match = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert match
    pairs = set()
    for resources, words in re.findall(r"^\| ((?:`[\w./]+`(?:, )?)+)([^|]*) \|", match[1], re.MULTILINE):
        named = set(re.findall(r"\b(?:get|list|watch|create|update|patch|delete)\b", words))
        for resource in re.findall(r"`([\w./]+)`", resources):
            group = "snapshot.storage.k8s.io"
            pairs |= {(resource, verb) for verb in named or verbs(group, resource)}
    return pairs


def test_every_right_of_the_operator_is_explained_and_no_other() -> None:
    assert explained("The operator") == granted(rules("ClusterRole", "datamover-operator"))


def test_every_right_of_replicas_is_explained_and_no_other() -> None:
    assert explained("Several replicas") == granted(rules("Role", "datamover-operator-leader-election"))


def test_whatever_the_caches_watch_may_be_listed_and_watched() -> None:
    cluster = Cluster(None, clock=VirtualClock())  # type: ignore[arg-type]
    movers = Caches(None, cluster=cluster, clock=VirtualClock()).movers  # type: ignore[arg-type]
    for informer in (movers, *cluster.informers()):
        resource = informer.resource
        assert {"list", "watch"} <= verbs(resource.group, resource.plural), resource.group_resource


@pytest.mark.parametrize("resource", [PERSISTENT_VOLUME_CLAIMS, JOBS, VOLUME_SNAPSHOTS], ids=lambda each: each.plural)
def test_whatever_is_made_may_be_read_back_and_deleted(resource: Any) -> None:
    assert {"get", "create", "delete"} <= verbs(resource.group, resource.plural)


@pytest.mark.parametrize("resource", [DATA_MOVERS, PERSISTENT_VOLUMES], ids=lambda each: each.plural)
def test_what_is_asked_for_when_a_cache_may_lag_may_be_read(resource: Any) -> None:
    assert "get" in verbs(resource.group, resource.plural)
