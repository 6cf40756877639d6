"""Single moments of a handover at which somebody acts, while the operator's watches are late."""

from collections.abc import Callable, Coroutine
from typing import Any

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES
from kubekit.words.core import CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS
from support import cdi
from support.simulation.calls import Call, Tree
from support.simulation.cdi import Cdi
from support.simulation.collection_stories import ASKED, REFUSED
from support.simulation.data_volumes import annotate, check_rest, claim_of, furnish, give_owner, give_volume, volume_of
from support.simulation.faults import Calm, Disturbance, Fault
from support.simulation.trees import finalizers_of, is_going, owners_of, uid_of
from support.simulation.world import SPACE, World

_CLAIMS, _VOLUMES = PERSISTENT_VOLUME_CLAIMS.group_resource, DATA_VOLUMES.group_resource

Story = Callable[[World, Cdi], Coroutine[Any, Any, None]]


class LateWatches(Calm):
    """DataVolumes are seen a second late and claims three, but for the answers to one's own writes."""

    def on_watch(self, number: int, call: Call) -> Fault | Disturbance | None:
        late = {_CLAIMS: 3.0, _VOLUMES: 1.0}.get(call.resource)
        return None if late is None else Disturbance(lag=(late, late))


class LateReturn(Calm):
    """The patch that gives a claim back is long on its way; when it is sent, its user acts once more."""

    def __init__(self, world: World, act: Callable[[], object]) -> None:
        self._world = world
        self._act = act
        self.patches = 0

    def on_call(self, number: int, call: Call) -> Fault | None:
        if (call.verb, call.resource) != ("patch", _CLAIMS):
            return None
        self.patches += 1
        if self.patches == 1:
            self._world.loop.call_later(0.0021, lambda: annotate(self._world, "disk", REFUSED))
        elif self.patches == 2:
            self._act()
            return Fault.LATE
        return None


async def return_late(world: World, part: Cdi) -> None:
    """Somebody refuses in the last moment, and asks again while the claim is being given back."""
    await _return(world, LateReturn(world, lambda: annotate(world, "disk", ASKED)))


async def return_late_and_delete(world: World, part: Cdi) -> None:
    """Somebody refuses in the last moment, and deletes the DataVolume while the claim is being given back."""
    await _return(world, LateReturn(world, lambda: world.user.delete(DATA_VOLUMES, "disk", SPACE)))


async def _return(world: World, script: LateReturn) -> None:
    world.script = script
    furnish(world, ttl=0)
    world.start_operator()
    give_volume(world, "disk")
    await world.until_quiet()
    assert script.patches >= 2
    check_rest(world)
    assert claim_of(world) is not None


def own_again(world: World) -> bool:
    """Somebody who respects nothing makes a DataVolume the owner of its claim again; tell whether it could be done."""
    volume, claim = volume_of(world), claim_of(world)
    if volume is None or claim is None or uid_of(volume) in owners_of(claim):
        return False
    owners = claim["metadata"].get("ownerReferences") or []
    patch: Tree = {"metadata": {"ownerReferences": [*owners, cdi.reference_to(volume)]}}
    world.history.note("user", "makes the DataVolume the owner of its claim again")
    world.user.patch(PERSISTENT_VOLUME_CLAIMS, "disk", patch, SPACE)
    return True


WRITTEN = (names.CREATED_FOR, names.POPULATED_FOR, names.GARBAGE_COLLECTED, names.DELETE_AFTER_COMPLETION, names.RECORD)


def put_back(world: World) -> bool:
    """Somebody replaces the claim by what it was before the handover; tell whether it could be done."""
    volume, claim = volume_of(world), claim_of(world)
    if volume is None or claim is None:
        return False
    world.history.note("user", "puts back what the claim was before the handover")
    patch: Tree = {"metadata": {"ownerReferences": [cdi.reference_to(volume)], "annotations": dict.fromkeys(WRITTEN)}}
    world.user.patch(PERSISTENT_VOLUME_CLAIMS, "disk", patch, SPACE)
    return True


def put_back_in_silence(world: World) -> bool:
    """The same, and the DataVolume says nothing of a handover any more either."""
    annotate(world, "disk", {names.HANDING_OVER: None})
    return put_back(world)


def bare(world: World) -> None:
    """Somebody takes away all that was written on the claim, and leaves its owners."""
    world.history.note("user", "takes away what was written on the claim")
    patch: Tree = {"metadata": {"annotations": dict.fromkeys(WRITTEN)}}
    world.user.patch(PERSISTENT_VOLUME_CLAIMS, "disk", patch, SPACE)


def give_to_the_dead(world: World) -> None:
    """Somebody makes the DataVolume the child of an owner that is gone."""
    world.history.note("user", "gives the DataVolume an owner that is gone")
    world.user.patch(DATA_VOLUMES, "disk", {"metadata": {"ownerReferences": [_dead(world)]}}, SPACE)


def give_claim_to_the_dead(world: World) -> None:
    """Somebody gives the claim an owner that is gone, beside the DataVolume."""
    world.history.note("user", "gives the claim an owner that is gone")
    owners = (claim_of(world) or {})["metadata"]["ownerReferences"]
    patch: Tree = {"metadata": {"ownerReferences": [_dead(world), *owners]}}
    world.user.patch(PERSISTENT_VOLUME_CLAIMS, "disk", patch, SPACE)


def _dead(world: World) -> Tree:
    owner = give_owner(world, "dead")
    world.user.delete(CONFIG_MAPS, "dead", SPACE)
    return owner


def _when(reached: Callable[[World], bool], act: Callable[[World], object]) -> Story:
    """Tell a collection in which somebody acts once, as soon as a moment is reached by a write of the operator."""

    async def story(world: World, part: Cdi) -> None:
        done: list[object] = []

        def changed(who: str) -> None:
            if not done and who.startswith("datamover") and reached(world):
                done.append(True)
                act(world)

        world.script = LateWatches()
        world.watchers.append(changed)
        furnish(world, ttl=0)
        world.start_operator()
        give_volume(world, "disk")
        await world.until_quiet()
        assert done
        check_rest(world)
        assert claim_of(world) is not None

    return story


def _is_held(world: World) -> bool:
    volume, claim = volume_of(world), claim_of(world)
    held = volume is not None and names.FINALIZER in finalizers_of(volume)
    return held and claim is not None and uid_of(volume or {}) in owners_of(claim)


def _is_detached(world: World) -> bool:
    volume, claim = volume_of(world), claim_of(world)
    return volume is not None and claim is not None and not is_going(volume) and uid_of(volume) not in owners_of(claim)


def _is_deleted(world: World) -> bool:
    volume = volume_of(world)
    return volume is not None and is_going(volume)


MOMENTS: dict[str, Story] = {
    "between detach and delete": _when(_is_detached, own_again),
    "between delete and release": _when(_is_deleted, own_again),
    "put back between detach and delete": _when(_is_detached, put_back),
    "put back between delete and release": _when(_is_deleted, put_back),
    "put back in silence": _when(_is_deleted, put_back_in_silence),
    "bared between delete and release": _when(_is_deleted, bare),
}
own_by_the_dead: Story = _when(_is_detached, give_to_the_dead)
"""The DataVolume gets an owner that is gone when its claim is handed over."""
share_with_the_dead: Story = _when(_is_held, give_claim_to_the_dead)
"""The claim has an owner that is gone beside the DataVolume when that is to be taken away."""
refuse_between: Story = _when(_is_detached, lambda world: annotate(world, "disk", REFUSED))
"""Somebody refuses when the claim is handed over, and the operator has not seen it yet."""
