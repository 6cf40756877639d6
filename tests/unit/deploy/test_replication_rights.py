"""The rights that the chart adds for replication: each is explained, and the real API server finds them enough and not too many."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamover.api.names import CREATED_BY_LABEL, FIELD_MANAGER
from datamover.api.volsync.names import CREATED_BY_VALUE, LEASE_NAME
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.errors import Forbidden, NotFound
from kubekit.client.http import HttpTransport
from kubekit.words.coordination import LEASES
from kubekit.words.core import NAMESPACE_METAS, SECRET_METAS, SERVICE_ACCOUNTS, SERVICES
from kubekit.words.meta import Resource
from kubekit.words.rbac import ROLE_BINDINGS, ROLES
from support.kubernetes import ControlPlane

Render = Callable[..., list[dict[str, Any]]]

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "permissions.md").read_text(encoding="utf-8")
RIGHTS = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
ACCOUNT = "datamover-operator-controller-manager"
API_GROUP = "rbac.authorization.k8s.io"


def added(render: Render) -> list[dict[str, Any]]:
    """Return the rules of the operator's role that replication adds."""
    before, after = (
        next(
            each["rules"]
            # what restores need to hand a volume over is granted once, whoever else needs it
            for each in render("restores.population.enabled=false", *settings)
            if (each["kind"], each["metadata"]["name"]) == ("ClusterRole", "datamover-operator")
        )
        for settings in ((), ("replication.enabled=true",))
    )
    return [rule for rule in after if rule not in before]


def test_every_right_is_explained_and_no_other(render: Render) -> None:
    match = re.search(r"^## Replication\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    assert match
    explained = {
        (resource, verb)
        for resources, words in re.findall(r"^\| ((?:`[\w./]+`(?:, )?)+)([^|]*) \|", match[1], re.MULTILINE)
        for resource in re.findall(r"`([\w./]+)`", resources)
        for verb in re.findall(r"\b(?:get|list|watch|create|update|patch|delete)\b", words)
    }
    granted = {(resource, verb) for rule in added(render) for resource in rule["resources"] for verb in rule["verbs"]}
    assert granted == explained


def children(namespace: str) -> dict[Resource[Any], dict[str, Any]]:
    """Return what a ReplicationSource makes beside claims, snapshots and Jobs."""
    meta = {"name": "volsync-src-app", "namespace": namespace, "labels": {CREATED_BY_LABEL: CREATED_BY_VALUE}}
    account = {"kind": "ServiceAccount", "name": meta["name"], "namespace": namespace}
    role = {"apiGroup": API_GROUP, "kind": "Role", "name": meta["name"]}
    return {
        SERVICE_ACCOUNTS: {"metadata": meta},
        ROLES: {"metadata": meta, "rules": []},
        ROLE_BINDINGS: {"metadata": meta, "roleRef": role, "subjects": [account]},
        SECRET_METAS: {"metadata": meta, "data": {"psk.txt": "aHVzaA=="}},
        SERVICES: {"metadata": meta, "spec": {"ports": [{"name": "rsync-tls", "port": 8000}], "selector": {"a": "b"}}},
    }


@pytest.mark.kubernetes
async def test_the_rights_are_enough_for_what_is_made_and_for_nothing_that_would_grant_more(
    kubernetes: ControlPlane, namespace: str, render: Render
) -> None:
    for each in render("replication.enabled=true", namespace=namespace):
        if each["kind"] in RIGHTS:
            kubernetes.create(each)
    transport = HttpTransport(load_config(kubernetes.service_account_kubeconfig(namespace, ACCOUNT)))
    client = Client(transport)
    try:
        for resource, manifest in children(namespace).items():
            await client.create(resource, manifest)
            # of all namespaces, as the operator does: those of other tests are among them
            found = await client.list(resource, label_selector=f"{CREATED_BY_LABEL}={CREATED_BY_VALUE}")
            here = [each.metadata.name for each in found if each.metadata.namespace == namespace]
            assert here == ["volsync-src-app"]
        for kind in ("LoadBalancer", "ClusterIP"):  # as the object's user says
            patch = {"spec": {"type": kind}}
            await client.patch(SERVICES, "volsync-src-app", patch, namespace=namespace, field_manager=FIELD_MANAGER)
        await client.list(NAMESPACE_METAS, field_selector=f"metadata.name={namespace}")
        with pytest.raises(NotFound):
            await client.get(LEASES, LEASE_NAME, namespace="volsync-system")
        await client.list(LEASES, namespace="volsync-system", field_selector=f"metadata.name={LEASE_NAME}")

        with pytest.raises(Forbidden):
            await client.get(LEASES, "another", namespace="volsync-system")
        generous = {"metadata": {"name": "generous", "namespace": namespace}}
        rule = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["create"]}
        with pytest.raises(Forbidden, match="attempting to grant RBAC permissions not currently held"):
            await client.create(ROLES, {**generous, "rules": [rule]})
        admin = {"apiGroup": API_GROUP, "kind": "ClusterRole", "name": "cluster-admin"}
        with pytest.raises(Forbidden, match="attempting to grant RBAC permissions not currently held"):
            await client.create(ROLE_BINDINGS, {**generous, "roleRef": admin, "subjects": []})
        with pytest.raises(Forbidden):
            await client.delete(SERVICE_ACCOUNTS, "default", namespace=namespace)
        with pytest.raises(Forbidden):
            await client.delete(SECRET_METAS, "volsync-src-app", namespace=namespace)
        patch = {"metadata": {"labels": {"a": "b"}}}
        for resource in (SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, SECRET_METAS):
            with pytest.raises(Forbidden):
                await client.patch(resource, "volsync-src-app", patch, namespace=namespace, field_manager=FIELD_MANAGER)
    finally:
        await transport.close()
