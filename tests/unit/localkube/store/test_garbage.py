"""Garbage collection beyond what the conformance suite holds against the real one: decisions, kinds that come and go, restarts."""

import pytest

from localkube.store.apiserver import ApiServer
from localkube.store.garbage import Owner, decide
from support.manifests import config_map, owned_by
from support.widgets import WIDGET_DEFINITION, widget

DEFINITION = WIDGET_DEFINITION["metadata"]["name"]


def owners(**states):
    return [(uid, Owner[state]) for uid, state in states.items()]


@pytest.mark.parametrize(
    ("owners", "finalizers", "dependents", "decision"),
    [
        (owners(), (), False, None),
        (owners(a="SOLID"), (), False, None),
        (owners(a="ABSENT"), (), False, "Background"),
        (owners(a="ABSENT", b="SOLID"), (), False, {"a"}),
        (owners(a="WAITING", b="SOLID"), (), False, {"a"}),
        (owners(a="WAITING"), (), False, "Background"),
        (owners(a="WAITING"), (), True, "Foreground"),
        (owners(a="ABSENT"), (), True, "Background"),
        (owners(a="ABSENT"), ("orphan",), True, "Orphan"),
        (owners(a="ABSENT"), ("foregroundDeletion",), False, "Foreground"),
        (owners(a="ABSENT", b="UNKNOWN"), (), False, None),
    ],
)
def test_owners_decide_about_their_dependents(owners, finalizers, dependents, decision):
    assert decide(finalizers, owners, has_dependents=dependents) == decision


def owned(name, *owners, block=False, **meta):
    references = [owned_by(owner, **({"blockOwnerDeletion": True} if block else {})) for owner in owners]
    return config_map(name, ownerReferences=references, **meta)


def names(api, plural="configmaps"):
    return {item["metadata"]["name"] for item in api.list(plural)["items"]}


async def test_without_collection_nothing_goes_and_with_it_what_is_due_goes_at_once(api):
    a = api.create("configmaps", config_map("a"))
    api.create("configmaps", owned("b", a))
    api.create("configmaps", owned("c", api.create("configmaps", config_map("stays"))))
    api.delete("configmaps", "a").expect(200)
    await api.settle()
    assert names(api) == {"b", "c", "stays"}

    async with api.collecting():
        await api.settle()

    assert names(api) == {"c", "stays"}


async def test_in_the_foreground_the_last_of_a_chain_goes_first(api):
    async with api.collecting():
        a = api.create("configmaps", config_map("a"))
        b = api.create("configmaps", owned("b", a, block=True))
        api.create("configmaps", owned("c", b, block=True, finalizers=["x.io/hold"]))
        api.delete("configmaps", "a", propagationPolicy="Foreground").expect(200)
        await api.settle()
        assert names(api) == {"a", "b", "c"}
        assert "deletionTimestamp" in api.get("configmaps", "c")["metadata"]

        api.merge("configmaps", "c", {"metadata": {"finalizers": None}}).expect(200)
        await api.settle()

    assert names(api) == set()


@pytest.mark.parametrize("policy", ["Foreground", "Orphan"])
async def test_a_server_that_is_opened_again_completes_a_deletion_that_was_begun(api, policy):
    a = api.create("configmaps", config_map("a"))
    api.create("configmaps", owned("b", a, block=True))
    api.delete("configmaps", "a", propagationPolicy=policy).expect(200)
    saved = api.server.snapshot()
    again = type(api)(ApiServer())
    again.server.restore(saved)

    async with again.collecting():
        await again.settle()

    assert names(again) == (set() if policy == "Foreground" else {"b"})
    if policy == "Orphan":
        assert "ownerReferences" not in again.get("configmaps", "b")["metadata"]


async def test_what_is_restored_while_it_collects_is_looked_at(api):
    a = api.create("configmaps", config_map("a"))
    api.create("configmaps", owned("b", a))
    api.delete("configmaps", "a").expect(200)
    saved = api.server.snapshot()
    again = type(api)(ApiServer())

    async with again.collecting():
        await again.settle()
        again.server.restore(saved)
        await again.settle()

    assert names(again) == set()


async def test_an_owner_that_no_longer_blocks_lets_its_owner_go(api):
    async with api.collecting():
        a = api.create("configmaps", config_map("a"))
        api.create("configmaps", owned("b", a, block=True, finalizers=["x.io/hold"]))
        api.delete("configmaps", "a", propagationPolicy="Foreground").expect(200)
        await api.settle()
        assert names(api) == {"a", "b"}

        api.merge("configmaps", "b", {"metadata": {"ownerReferences": [owned_by(a)]}}).expect(200)
        await api.settle()

    assert names(api) == {"b"}


async def test_a_circle_of_owners_goes_in_the_foreground(api):
    async with api.collecting():
        a = api.create("configmaps", config_map("a"))
        b = api.create("configmaps", owned("b", a, block=True))
        c = api.create("configmaps", owned("c", b, block=True))
        api.merge("configmaps", "a", {"metadata": owned("a", c, block=True)["metadata"]}).expect(200)
        await api.settle()
        assert names(api) == {"a", "b", "c"}

        api.delete("configmaps", "a", propagationPolicy="Foreground").expect(200)
        await api.settle()

    assert names(api) == set()


async def test_a_cluster_scoped_object_with_a_namespaced_owner_is_left_alone(api, caplog):
    async with api.collecting():
        owner = api.create("configmaps", config_map("a"))
        api.create("nodes", {"metadata": {"name": "n", "ownerReferences": [owned_by(owner)]}})
        api.delete("configmaps", "a").expect(200)
        await api.settle()

    assert names(api, "nodes") == {"n"}
    assert "nodes n is cluster-scoped and its owner ConfigMap a is not: it is left alone" in caplog.text


async def test_an_owner_of_an_unknown_kind_keeps_its_dependents_until_the_kind_is_served(api):
    old = api.create("widgets", widget("w"))
    api.send("DELETE", api.path("customresourcedefinitions", DEFINITION)).expect(200)
    async with api.collecting():
        api.create("configmaps", owned("child", old))
        await api.settle()
        assert names(api) == {"child"}

        api.create("customresourcedefinitions", WIDGET_DEFINITION)
        await api.settle()

    assert names(api) == set()


async def test_kinds_that_come_later_take_part_and_take_their_dependents_along(api):
    api.send("DELETE", api.path("customresourcedefinitions", DEFINITION)).expect(200)
    async with api.collecting():
        api.create("customresourcedefinitions", WIDGET_DEFINITION)
        first, second = (api.create("widgets", widget(name)) for name in "ab")
        api.create("configmaps", owned("of-a", first))
        api.create("configmaps", owned("of-b", second))
        api.delete("widgets", "a").expect(200)
        await api.settle()
        assert names(api) == {"of-b"}

        api.send("DELETE", api.path("customresourcedefinitions", DEFINITION)).expect(200)
        await api.settle()

    assert names(api) == set()


async def test_an_object_that_cannot_be_changed_is_tried_again_and_holds_up_no_other(api, clock):
    """A namespace of the system may not be deleted, so its collection is refused each time it is tried."""
    gone = api.create("configmaps", config_map("gone"))
    async with api.collecting():
        reference = {"metadata": {"ownerReferences": [owned_by(gone) | {"kind": "Node", "name": "none"}]}}
        api.merge("namespaces", "kube-public", reference).expect(200)
        api.create("configmaps", owned("child", gone))
        await api.settle()
        api.delete("configmaps", "gone").expect(200)
        await api.settle()
        assert names(api) == set()

        api.merge("namespaces", "kube-public", {"metadata": {"ownerReferences": None}}).expect(200)
        await clock.advance(60)
        await api.settle()

    assert "deletionTimestamp" not in api.get("namespaces", "kube-public")["metadata"]


async def test_nothing_is_written_when_nothing_changes(api):
    a = api.create("configmaps", config_map("a"))
    api.create("configmaps", owned("b", a))
    before = api.server.storage.revision

    async with api.collecting():
        await api.settle()

    assert api.server.storage.revision == before
