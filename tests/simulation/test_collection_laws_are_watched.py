"""The watch over collections: an operator that breaks a law is caught, and a handover that lacks one of its guards loses a disk in the simulation.

Each misdeed is done with the operator's own name, where it lay dead. Each mutilation takes one guard out of the decision and nothing else: that
the histories notice it is what their silence is worth.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as changed

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.names import FIELD_MANAGER
from datamover.plans.steps import Delete, ProveSame
from datamover.reconcilers.collection import decide as decisions
from datamover.reconcilers.collection import kind, obstacles
from datamover.volumes import handover
from kubekit.client.client import Client
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import ObjectMeta
from localkube.transport import LocalTransport
from support.simulation.calls import Tree
from support.simulation.cdi import Cdi
from support.simulation.collection_moments import (
    MOMENTS,
    Story,
    own_by_the_dead,
    refuse_between,
    return_late,
    return_late_and_delete,
    share_with_the_dead,
)
from support.simulation.data_volumes import (
    ADOPTED,
    COPIED,
    Manner,
    claim_of,
    collect,
    furnish,
    give_owner,
    give_volume,
    volume_of,
)
from support.simulation.history import LawBroken
from support.simulation.trees import uid_of
from support.simulation.world import SPACE, World

Misdeed = Callable[[World, Client], Awaitable[object]]


# --- misdeeds -----------------------------------------------------------------------------------------


async def change(client: Client, resource, target: Tree, metadata: Tree, **more: Any) -> None:
    on = {"uid": uid_of(target), "resourceVersion": target["metadata"]["resourceVersion"]}
    patch: Tree = {"metadata": {**metadata, **on}, **more}
    await client.patch(resource, "disk", patch, namespace=SPACE, field_manager=FIELD_MANAGER)


async def write_status(world: World, client: Client) -> None:
    patch: Tree = {"status": {"phase": "Failed"}}
    await client.patch(DATA_VOLUMES, "disk", patch, namespace=SPACE, subresource="status", field_manager=FIELD_MANAGER)


async def edit_spec(world: World, client: Client) -> None:
    await change(client, DATA_VOLUMES, volume_of(world) or {}, {}, spec={"preallocation": True})


async def label_claim(world: World, client: Client) -> None:
    await change(client, PERSISTENT_VOLUME_CLAIMS, claim_of(world) or {}, {"labels": {"seen": "yes"}})


async def take_owners(world: World, client: Client) -> None:
    owner = give_owner(world, "user")
    world.user.patch(PERSISTENT_VOLUME_CLAIMS, "disk", {"metadata": {"ownerReferences": [owner]}}, SPACE)
    await change(client, PERSISTENT_VOLUME_CLAIMS, claim_of(world) or {}, {"ownerReferences": []})


async def invent_owner(world: World, client: Client) -> None:
    owners = [*(claim_of(world) or {})["metadata"]["ownerReferences"], give_owner(world, "stranger")]
    await change(client, PERSISTENT_VOLUME_CLAIMS, claim_of(world) or {}, {"ownerReferences": owners})


async def take_finalizers(world: World, client: Client) -> None:
    world.user.patch(DATA_VOLUMES, "disk", {"metadata": {"finalizers": ["example.com/wait"]}}, SPACE)
    await change(client, DATA_VOLUMES, volume_of(world) or {}, {"finalizers": None})


async def delete_claim(world: World, client: Client) -> None:
    await client.delete(PERSISTENT_VOLUME_CLAIMS, "disk", namespace=SPACE, uid=uid_of(claim_of(world) or {}))


async def delete_blindly(world: World, client: Client) -> None:
    await client.delete(DATA_VOLUMES, "disk", namespace=SPACE, uid=uid_of(volume_of(world) or {}))


async def delete_unasked(world: World, client: Client) -> None:
    refused: Tree = {"metadata": {"annotations": {names.DELETE_AFTER_COMPLETION_DESIGNED: "false"}}}
    world.user.patch(DATA_VOLUMES, "disk", refused, SPACE)
    await delete_as_seen(world, client)


async def delete_as_seen(world: World, client: Client) -> None:
    found = volume_of(world) or {}
    version = found["metadata"]["resourceVersion"]
    await client.delete(DATA_VOLUMES, "disk", namespace=SPACE, uid=uid_of(found), resource_version=version)


MISDEEDS: dict[str, tuple[str, Misdeed]] = {
    "it writes a status": ("hands off", write_status),
    "it edits a DataVolume": ("hands off", edit_spec),
    "it takes others' finalizers": ("hands off", take_finalizers),
    "it labels a claim": ("claim", label_claim),
    "it takes a claim's owners": ("owners", take_owners),
    "it invents an owner": ("owners", invent_owner),
    "it deletes a claim": ("L2", delete_claim),
    "it deletes without a version": ("L2", delete_blindly),
    "it deletes what is refused": ("asked", delete_unasked),
    "it deletes what still owns its claim": ("handover", delete_as_seen),
}


@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_an_operator_that_breaks_a_law_is_caught(misdeed: str) -> None:
    law, act = MISDEEDS[misdeed]

    async def story(world: World, part: Cdi) -> None:
        furnish(world, ttl=None)
        give_volume(world)
        await world.until_quiet(60.0)
        assert not world.history.broken
        await act(world, Client(LocalTransport(world.server), user_agent=FIELD_MANAGER))

    with pytest.raises(LawBroken, match=rf"(?m)^{law}: "):
        collect(story, seed=misdeed)


# --- mutilations --------------------------------------------------------------------------------------


def without_created_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim does not say which DataVolume it was made for: who may adopt it does."""
    _leave_out(monkeypatch, names.CREATED_FOR, {})


def without_populated_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """`populatedFor` is removed rather than emptied: what the DataVolume itself says is copied to the claim again."""
    _leave_out(monkeypatch, names.POPULATED_FOR, {names.POPULATED_FOR: None})


def _leave_out(monkeypatch: pytest.MonkeyPatch, key: str, put: Tree) -> None:
    real = handover.build_patch

    def build_patch(*arguments: Any, **options: Any) -> Tree:
        patch = real(*arguments, **options)
        patch["metadata"]["annotations"].pop(key)
        patch["metadata"]["annotations"].update(put)
        return patch

    def is_detached(claim: ObjectMeta, *, uid: str) -> bool:
        return not claim.owned_by(uid)

    monkeypatch.setattr(decisions, "build_patch", build_patch)
    monkeypatch.setattr(decisions, "is_detached", is_detached)


def _rewrite(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any], *, before: Any = lambda facts: facts
) -> None:
    real = decisions.decide
    monkeypatch.setattr(
        kind,
        "decide",
        lambda facts: replace(
            plan := real(before(facts)), steps=tuple(x for x in map(change, plan.steps) if x is not None)
        ),
    )


def without_finalizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The DataVolume is taken for held: it is gone as soon as it is deleted."""

    def held(facts: Any) -> Any:
        meta = facts.volume.metadata
        there = meta.finalizers or ()
        if names.FINALIZER in there:
            return facts
        return replace(
            facts, volume=changed(facts.volume, metadata=changed(meta, finalizers=(*there, names.FINALIZER)))
        )

    _rewrite(monkeypatch, lambda step: step, before=held)


def without_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the caches show of the claim is believed."""
    _rewrite(monkeypatch, lambda step: None if isinstance(step, ProveSame) else step)


def without_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """The DataVolume is deleted whatever it says by now."""
    _rewrite(monkeypatch, lambda step: replace(step, as_seen=False) if isinstance(step, Delete) else step)


class Whichever(str):
    """A version that is the same as any other."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def without_its_version_in_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handover counts whichever version of the DataVolume it was made for."""

    def read_record(claim: ObjectMeta) -> handover.Record | None:
        record = handover.read_record(claim)
        return record and changed(record, version=Whichever())

    monkeypatch.setattr(decisions, "read_record", read_record)


def without_a_handover_of_what_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is believed that nobody refused before the DataVolume was deleted."""
    _rewrite(monkeypatch, lambda step: step, before=lambda facts: replace(facts, known=replace(facts.known, deleted=True)))  # fmt: skip


def with_every_erased_record_as_a_users_deletion(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not on the claim was never written there."""
    monkeypatch.setattr(decisions, "may_have_begun", lambda *_, **__: False)


def with_heirs_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Owners that the DataVolume got since are given to the claim as well, unasked."""
    real = handover.build_patch

    def build_patch(claim: Any, volume: Any, **options: Any) -> Tree:
        return real(claim, volume, **{**options, "heirs": volume.metadata.owner_references or ()})

    monkeypatch.setattr(decisions, "build_patch", build_patch)


def without_the_claims_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the owners of the DataVolume are asked for."""

    def find_heirs(facts: Any) -> Any:
        return facts.volume.metadata.owner_references or ()

    monkeypatch.setattr(decisions, "find_heirs", find_heirs)
    monkeypatch.setattr(obstacles, "find_heirs", find_heirs)


def collect_one(origin: str) -> Story:
    async def story(world: World, part: Cdi) -> None:
        furnish(world)
        world.start_operator()
        give_volume(world, "disk", origin)
        await world.until(lambda: bool(world.history.broken), at_most=15.0)

    return story


MUTILATIONS: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], None], Story]] = {
    "no createdForDataVolume": ("disk|handover", without_created_for, collect_one(ADOPTED)),
    "no empty populatedFor": ("disk|handover", without_populated_for, collect_one(COPIED)),
    "no finalizer": ("handover", without_finalizer, MOMENTS["between detach and delete"]),
    "no proof": ("handover", without_proof, MOMENTS["between delete and release"]),
    "no version at the deletion": ("asked", without_version, refuse_between),
    "no version in the record": ("disk", without_its_version_in_the_record, return_late),
    "no handover of what goes": ("owners", without_a_handover_of_what_goes, return_late_and_delete),
    "no doubt about an erased record": (
        "disk|handover",
        with_every_erased_record_as_a_users_deletion,
        MOMENTS["put back between delete and release"],
    ),
    "heirs each time": ("story", with_heirs_each_time, own_by_the_dead),
    "no question for the claim's owners": ("story", without_the_claims_owners, share_with_the_dead),
}


@pytest.mark.parametrize("mutilation", MUTILATIONS)
def test_a_handover_that_lacks_a_guard_is_caught(mutilation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    law, mutilate, story = MUTILATIONS[mutilation]
    mutilate(monkeypatch)
    told = []
    for seed in range(24):  # a third of the histories show the rarest one
        try:
            collect(story, seed=f"{mutilation} {seed}", manner=Manner(lag=0.9, eager=0.2))
        except LawBroken as broken:
            told.append(str(broken))
            if re.search(rf"(?m)^({law}): ", str(broken)):
                return
    pytest.fail(f"nothing of {law} in {len(told)} histories:\n" + "\n\n".join(told)[:6000])
