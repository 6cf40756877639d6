"""Owners are looked up by UID, and what is asked of a kind is asked once."""

from typing import Any

import pytest

from datamover.plans.known import OwnerFound
from datamover.plans.owners import REMEMBERED, Owners
from kubekit.client.client import Client
from kubekit.words.meta import OwnerReference
from support.clock import VirtualClock
from support.scripted_transport import ScriptedTransport, answer, failure

KINDS = {
    "resources": [{"name": "owners/status", "kind": "Owner"}, {"name": "owners", "kind": "Owner", "namespaced": True}]
}


def owner(name: str = "a", uid: str = "u", *, block: bool | None = None, **more: Any) -> OwnerReference:
    given = {"api_version": "example.com/v1", "kind": "Owner", **more}
    return OwnerReference(name=name, uid=uid, block_owner_deletion=block, **given)


def there(uid: str = "u", **meta: Any) -> Any:
    return answer(body={"metadata": {"name": "a", "uid": uid, **meta}})


def allowed(yes: bool) -> Any:
    return answer(201, {"status": {"allowed": yes}})


async def look_up(transport: ScriptedTransport, *references: OwnerReference) -> dict[str, OwnerFound]:
    owners = Owners(Client(transport), clock=VirtualClock())
    return dict((await owners.find(references, namespace="vms")).found)


@pytest.mark.parametrize(
    ("found", "alive"),
    [
        (there(), True),
        (there(uid="another"), False),
        (there(deletionTimestamp="2026-11-30T10:00:00Z"), False),
        (failure(404, "NotFound"), False),
        (failure(403, "Forbidden"), None),
    ],
    ids=["there", "another of its name", "being deleted", "gone", "may not be seen"],
)
async def test_n7_only_its_uid_tells_whether_an_owner_is_alive(found: Any, alive: bool | None) -> None:
    transport = ScriptedTransport(answer(body=KINDS), found)
    seen = (await look_up(transport, owner()))["u"]
    assert seen.alive is alive
    assert transport.requests[-1].path == "/apis/example.com/v1/namespaces/vms/owners/a"


@pytest.mark.parametrize("yes", [True, False])
async def test_n6_whether_its_finalizers_may_be_set_is_asked_where_it_is_held_up(yes: bool) -> None:
    transport = ScriptedTransport(answer(body=KINDS), there(), allowed(yes))
    seen = (await look_up(transport, owner(block=True)))["u"]
    assert (seen.alive, seen.may_block) == (True, yes)
    asked = transport.requests[-1]
    assert asked.path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert b'"subresource":"finalizers"' in (asked.body or b"")


async def test_a_right_that_nobody_tells_of_counts_as_none() -> None:
    transport = ScriptedTransport(answer(body=KINDS), there(), failure(403, "Forbidden"))
    seen = (await look_up(transport, owner(block=True)))["u"]
    assert not seen.may_block
    assert seen.problem


@pytest.mark.parametrize(
    ("reference", "script"),
    [
        (owner(kind="Stranger"), [answer(body=KINDS)]),
        (owner(), [failure(404, "NotFound")]),
        (owner(api_version="../v1"), []),
        (owner(api_version="example.com/v1/x"), []),
        (owner(name="../../secrets/x"), [answer(body=KINDS)]),
        (owner(name=""), [answer(body=KINDS)]),
    ],
    ids=["no such kind", "no such group", "odd group", "odd version", "odd name", "no name"],
)
async def test_n7_what_cannot_be_asked_for_is_neither_alive_nor_gone(
    reference: OwnerReference, script: list[Any]
) -> None:
    seen = (await look_up(ScriptedTransport(*script), reference))["u"]
    assert seen.alive is None
    assert seen.problem


async def test_a_thousand_children_of_one_kind_cost_one_question_about_it_until_that_is_long_ago() -> None:
    transport = ScriptedTransport(answer(body=KINDS), there(), allowed(False), there(uid="v"), there(uid="w"))
    clock = VirtualClock()
    owners = Owners(Client(transport), clock=clock)
    for uid in ("u", "v", "w"):
        found = (await owners.find([owner(uid=uid, block=True)], namespace="vms")).found[uid]
        assert (found.alive, found.may_block) == (True, False)
    await clock.advance(REMEMBERED + 1)
    transport.script = [answer(body=KINDS), there(), allowed(True)]
    assert (await owners.find([owner(block=True)], namespace="vms")).found["u"].may_block
