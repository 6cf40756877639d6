"""Children of further kinds, and what is watched by name: only where a kind asks for it, and never with the value of a Secret."""

import asyncio
import json
from typing import Any

import pytest

from datamover.api.names import CREATED_BY_LABEL, CREATED_BY_VALUE
from datamover.cli.kinds import KINDS
from datamover.cli.operator import Operator, new_metrics
from datamover.cli.options import Options
from datamover.cli.surroundings import MakeKind
from datamover.reconcilers.cluster import Cluster, View
from datamover.runs.facts import Unread
from kubekit.client.client import Client
from kubekit.runtime.store import Key
from kubekit.words.core import (
    PERSISTENT_VOLUME_CLAIMS,
    SECRET_METAS,
    SERVICE_ACCOUNTS,
    SERVICES,
    ConfigMap,
    Service,
    config_map_keys,
    without_texts,
)
from kubekit.words.meta import ObjectMeta, PartialObject
from kubekit.words.rbac import ROLE_BINDINGS, ROLES
from support.clock import VirtualClock
from support.errand import ErrandKind
from support.tiny_server import TinyServer

FURTHER = (SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, SERVICES, SECRET_METAS)
TODAY = {
    "/apis/datamover.a-cup-of.coffee/v1alpha1/datamovers",
    "/api/v1/persistentvolumeclaims",
    "/api/v1/persistentvolumes",
    "/api/v1/pods",
    "/apis/batch/v1/jobs",
    "/apis/storage.k8s.io/v1/storageclasses",
    "/apis/snapshot.storage.k8s.io/v1/volumesnapshots",
    "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses",
}
"""What an operator of DataMovers watches: the budget of memory and connections that it has while it idles."""
GATE = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
"""By one object of it is told whether restores are installed: they are watched when they are."""


class Household(ErrandKind):
    """A kind with children of every further kind."""

    children = FURTHER


async def watched(*kinds: MakeKind) -> list[str]:
    """Return what an operator that idles watches."""
    server, (registry, metrics) = TinyServer(), new_metrics()
    client = Client(server.transport())
    operator = Operator(
        client, cluster="c", options=Options(), registry=registry, metrics=metrics, clock=VirtualClock(), kinds=kinds
    )
    stop = asyncio.Event()
    running = asyncio.create_task(operator.run(stop))
    while operator.checks()["started"]() is not None:
        await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    stop.set()
    await running
    return [request.path for request in server.requests if dict(request.query).get("watch")]


async def test_an_operator_of_datamovers_alone_watches_nothing_more_than_it_needs() -> None:
    found = await watched(*KINDS)
    assert sorted(found) == sorted({*TODAY, GATE})


async def test_children_of_further_kinds_are_watched_once_where_a_kind_has_such() -> None:
    found = await watched(*KINDS, Household)
    assert sorted(found) == sorted({*TODAY, GATE, "/apis/example.com/v1/errands", *(each.path() for each in FURTHER)})


def new_cluster(server: TinyServer, **extra: Any) -> Cluster:
    return Cluster(Client(server.transport()), clock=VirtualClock(), created_by=("us",), children=FURTHER, **extra)


def child(server: TinyServer, collection: str, name: str, **fields: Any) -> None:
    server.put(collection, name, metadata={"labels": {CREATED_BY_LABEL: "us"}}, **fields)


async def test_a_child_is_read_by_kind_and_name_and_is_what_was_learnt_of_it_last() -> None:
    server = TinyServer()
    child(server, "/api/v1/namespaces/shop/services", "entry", spec={"clusterIP": "10.0.0.7"})
    cluster = new_cluster(server)
    view = View(cluster)
    services = asyncio.create_task(cluster.children(SERVICES).run())
    await cluster.children(SERVICES).synced.wait()

    found = view.child(SERVICES, "shop", "entry")
    assert found is not None
    assert found.spec is not None
    assert found.spec.cluster_ip == "10.0.0.7"
    assert view.child(SERVICES, "shop", "other") is None

    made = Service(metadata=ObjectMeta(name="made", namespace="shop", uid="u", resource_version="900"))
    assert cluster.observe(SERVICES, made)
    assert view.child(SERVICES, "shop", "made") == made
    services.cancel()
    await asyncio.gather(services, return_exceptions=True)


@pytest.mark.parametrize("resource", FURTHER)
def test_the_watch_of_a_further_kind_shows_only_what_carries_the_label(resource: Any) -> None:
    cluster = new_cluster(TinyServer())
    for value, shown in (("us", True), (CREATED_BY_VALUE, False)):
        assert cluster.shows(resource, PartialObject(metadata=ObjectMeta(labels={CREATED_BY_LABEL: value}))) is shown


def test_what_no_kind_has_asked_for_cannot_be_read_by_mistake() -> None:
    cluster = Cluster(Client(TinyServer().transport()), clock=VirtualClock(), children=(PERSISTENT_VOLUME_CLAIMS,))
    assert len(cluster.informers()) == len(TODAY) - 1, "claims are watched already"
    with pytest.raises(KeyError):
        View(cluster).child(SERVICES, "shop", "entry")


async def test_of_a_secret_among_the_children_the_server_is_asked_for_the_metadata_only() -> None:
    server = TinyServer()
    child(server, "/api/v1/namespaces/shop/secrets", "keys", data={"psk.txt": "aHVzaA=="})
    cluster = new_cluster(server)
    informer = cluster.children(SECRET_METAS)
    task = asyncio.create_task(informer.run())
    await informer.synced.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert View(cluster).child(SECRET_METAS, "shop", "keys") is not None
    assert all("as=PartialObjectMetadata" in request.headers["Accept"] for request in server.requests)
    assert "aHVzaA" not in repr(informer.store.list())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_namespace_and_a_config_map_are_watched_while_somebody_wants_them() -> None:
    server = TinyServer()
    privileged = {"annotations": {"volsync.backube/privileged-movers": "true"}}
    server.put("/api/v1/namespaces", "shop", metadata=privileged)
    server.put("/api/v1/namespaces/shop/configmaps", "ca", data={"ca.crt": "---", "empty": ""})
    cluster = new_cluster(server)
    view = View(cluster)
    tasks = [asyncio.create_task(named.run()) for _, named in cluster.named()]
    assert view.namespace("shop") is Unread.NOT_SYNCED
    cluster.namespaces.want("me", [Key("", "shop"), Key("", "gone")])
    cluster.config_maps.want("me", [Key("shop", "ca")])
    for _ in range(50):
        await asyncio.sleep(0)

    found = view.namespace("shop")
    assert isinstance(found, PartialObject)
    assert found.metadata.annotation("volsync.backube/privileged-movers") == "true"
    assert view.namespace("gone") is Unread.MISSING
    keys = view.config_map("shop", "ca")
    assert not isinstance(keys, Unread)
    assert (keys.keys, keys.empty) == (("ca.crt", "empty"), ("empty",))

    cluster.namespaces.want("me", [])
    assert view.namespace("shop") is Unread.NOT_SYNCED
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_a_config_map_is_kept_without_its_texts_whichever_way_they_are_written() -> None:
    found = json.dumps({"data": {"a": "text"}, "binaryData": {"b": "AAAA"}})
    kept = without_texts(ConfigMap(data=json.loads(found)["data"], binary_data=json.loads(found)["binaryData"]))
    assert config_map_keys(kept).keys == ("a", "b")
    assert "text" not in repr(kept)
    assert "AAAA" not in repr(kept)
    assert without_texts(kept) == kept, "what is kept is kept so"
