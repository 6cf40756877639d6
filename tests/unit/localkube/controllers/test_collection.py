import asyncio

import pytest

from kubekit.words.meta import OwnerReference, PartialObject, Resource
from localkube.controllers.census import CUSTOM_RESOURCE_DEFINITIONS
from localkube.controllers.collection import Delete, Disown, Leave, Owner, decide
from localkube.controllers.suite import LocalControllers
from localkube.node.kinds import CONFIG_MAPS, NODES
from support.widgets import WIDGET_DEFINITION

MAPS = CONFIG_MAPS


def refs(**states):
    return tuple((OwnerReference(uid=uid), Owner[state]) for uid, state in states.items())


@pytest.mark.parametrize(
    ("owners", "finalizers", "dependents", "step"),
    [
        (refs(), (), False, Leave()),
        (refs(a="SOLID"), (), False, Leave()),
        (refs(a="ABSENT"), (), False, Delete("Background")),
        (refs(a="ABSENT", b="SOLID"), (), False, Disown(frozenset({"a"}))),
        (refs(a="WAITING", b="SOLID"), (), False, Disown(frozenset({"a"}))),
        (refs(a="WAITING"), (), False, Delete("Background")),
        (refs(a="WAITING"), (), True, Delete("Foreground")),
        (refs(a="ABSENT"), (), True, Delete("Background")),
        (refs(a="ABSENT"), ("orphan",), True, Delete("Orphan")),
        (refs(a="ABSENT"), ("foregroundDeletion",), False, Delete("Foreground")),
        (refs(a="ABSENT", b="UNKNOWN"), (), False, Leave()),
    ],
)
def test_owners_decide_about_their_dependents(owners, finalizers, dependents, step):
    assert decide(finalizers, owners, has_dependents=dependents) == step


async def make(world, name, *owners, resource=MAPS, block=False, **meta):
    references = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner.metadata.name,
            "uid": owner.metadata.uid,
            "blockOwnerDeletion": block,
        }
        for owner in owners
    ]
    return await world.create(resource, {"metadata": {"name": name, "ownerReferences": references, **meta}})


async def names(world, resource=MAPS):
    return {thing.metadata.name for thing in await world.client.list(resource, namespace="default")}


async def settled(world):
    await world.quiet(0.15)


async def test_dependents_of_dependents_go_with_the_owner(world):
    a = await make(world, "a")
    b = await make(world, "b", a)
    await make(world, "c", b)
    await make(world, "free")
    await settled(world)
    assert await names(world) == {"a", "b", "c", "free"}
    await world.delete(MAPS, "a")
    await world.until_gone(MAPS, "c")
    await settled(world)
    assert await names(world) == {"free"}


async def test_a_dependent_with_another_owner_stays_and_forgets_the_gone_one(world):
    a, b = await make(world, "a"), await make(world, "b")
    await make(world, "child", a, b)
    await settled(world)
    await world.delete(MAPS, "a")

    async def disowned():
        child = await world.get(MAPS, "child")
        return [r.name for r in child.metadata.owner_references or ()] == ["b"]

    await world.until(disowned)


async def test_an_object_that_is_born_orphaned_is_collected(world):
    gone = await make(world, "gone")
    await world.delete(MAPS, "gone")
    await world.until_gone(MAPS, "gone")
    await make(world, "child", gone)
    await world.until_gone(MAPS, "child")


async def test_a_new_object_with_the_owners_name_is_not_the_owner(world):
    first = await make(world, "a")
    await world.delete(MAPS, "a")
    await world.until_gone(MAPS, "a")
    await make(world, "a")
    await make(world, "child", first)
    await world.until_gone(MAPS, "child")
    assert await names(world) == {"a"}


async def test_in_the_foreground_the_owner_goes_last(world):
    a = await make(world, "a")
    b = await make(world, "b", a, block=True)
    await make(world, "c", b, block=True, finalizers=["test/hold"])
    await settled(world)
    await world.delete(MAPS, "a", propagation="Foreground")
    await settled(world)
    assert await names(world) == {"a", "b", "c"}
    assert (await world.get(MAPS, "c")).metadata.terminating
    await world.patch(MAPS, "c", {"metadata": {"finalizers": None}})
    await world.until_gone(MAPS, "a")
    assert await names(world) == set()


async def test_what_does_not_block_is_not_waited_for(world):
    a = await make(world, "a")
    await make(world, "b", a, finalizers=["test/hold"])
    await settled(world)
    await world.delete(MAPS, "a", propagation="Foreground")
    await world.until_gone(MAPS, "a")
    assert await names(world) == {"b"}
    await world.patch(MAPS, "b", {"metadata": {"finalizers": None}})
    await world.until_gone(MAPS, "b")


async def test_orphans_stay_without_the_reference(world):
    a = await make(world, "a")
    await make(world, "b", a)
    await settled(world)
    await world.delete(MAPS, "a", propagation="Orphan")
    await world.until_gone(MAPS, "a")
    await settled(world)
    assert not (await world.get(MAPS, "b")).metadata.owner_references


async def test_a_cluster_scoped_object_with_a_namespaced_owner_is_left_alone_and_told(world):
    owner = await make(world, "a")
    await make(world, "n", owner, resource=NODES)
    await world.delete(MAPS, "a")

    async def told():
        return [e for e in await world.events() if e[1] == "OwnerRefInvalidNamespace"]

    await world.until(told)
    assert await world.get(NODES, "n") is not None


async def test_an_owner_of_an_unknown_kind_keeps_its_dependents(world):
    reference = {"apiVersion": "nowhere.example/v1", "kind": "Thing", "name": "t", "uid": "1"}
    await world.create(MAPS, {"metadata": {"name": "child", "ownerReferences": [reference]}})
    await settled(world)
    assert await names(world) == {"child"}


async def test_kinds_that_come_later_take_part(world):
    await settled(world)
    await world.create(CUSTOM_RESOURCE_DEFINITIONS, WIDGET_DEFINITION)
    widgets = Resource("testing.datamover.example", "v1", "widgets", "Widget", PartialObject)

    async def served():
        try:
            return [await world.client.list(widgets, namespace="default")]
        except Exception:
            return None

    await world.until(served)
    widget = await world.create(widgets, {"metadata": {"name": "w"}, "spec": {"size": 1}})
    reference = {
        "apiVersion": "testing.datamover.example/v1",
        "kind": "Widget",
        "name": "w",
        "uid": widget.metadata.uid,
    }
    await world.create(MAPS, {"metadata": {"name": "child", "ownerReferences": [reference]}})
    await settled(world)
    assert await names(world) == {"child"}
    await world.delete(widgets, "w")
    await world.until_gone(MAPS, "child")


async def test_what_was_orphaned_while_nobody_looked_is_collected_at_the_start(bare):
    a = await make(bare, "a")
    await make(bare, "b", a)
    await make(bare, "c", await make(bare, "stays"))
    await bare.delete(MAPS, "a")
    bare.run(LocalControllers(bare.client).run)
    await bare.until_gone(MAPS, "b")
    await asyncio.sleep(0.1)
    assert await names(bare) == {"stays", "c"}
