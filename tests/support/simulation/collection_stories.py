"""Histories of collection from a seed: which DataVolumes, what goes wrong, who interferes; and what all of them come to at the end.

Whatever happens, no disk is lost that no person has thrown away. In a gentle story, without people, each DataVolume is collected.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES
from kubekit.words.core import CONFIG_MAPS, NAMESPACE_METAS, PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import Resource
from support import cdi
from support.simulation.calls import Tree
from support.simulation.cdi import Cdi
from support.simulation.conduct import Conduct
from support.simulation.data_volumes import (
    FOREIGN,
    ORIGINS,
    Manner,
    annotate,
    check_rest,
    furnish,
    give_claim,
    give_owner,
    give_volume,
    set_ttl,
    volume_of,
)
from support.simulation.faults import Calm
from support.simulation.stories import Weather, check_idle
from support.simulation.trees import finalizers_of, is_going, name_of, owners_of, uid_of
from support.simulation.troubles import troubles, try_to
from support.simulation.world import SPACE, World

REFUSED: Tree = {names.DELETE_AFTER_COMPLETION: "false"}
ASKED: Tree = {names.DELETE_AFTER_COMPLETION: "true", names.DELETE_AFTER_COMPLETION_DESIGNED: None}
OWNERS = ("rack", "shelf")


@dataclass
class Tale:
    """What a seed has chosen. Times in seconds from the beginning."""

    conduct: Conduct
    manner: Manner
    volumes: list[tuple[str, str, tuple[str, ...]]]
    ttl: int
    operators: list[float]
    kills: list[float]
    pause: float
    calm_from: float
    interference: list[tuple[float, str]] = field(default_factory=list)


def invent(seed: object, *, rough: bool) -> Tale:
    """Return the tale of a seed."""
    dice = random.Random(f"{seed}/collection")
    return Tale(
        conduct=Conduct(
            lag=(0.001, dice.choice((0.01, 0.5))),
            clone=dice.choice((0.05, 1.0)),
            run=dice.choice((0.1, 4.0)),
            removal=dice.choice((0.05, 1.0, 10.0)),
        ),
        manner=Manner(
            lag=dice.choice((0.0, 0.5, 0.9)), eager=dice.choice((0.0, 0.5, 1.0)), adoption=dice.random() < 0.5
        ),
        volumes=[
            (f"disk-{number}", dice.choice(ORIGINS), OWNERS[: dice.choice((0, 0, 1, 2))])
            for number in range(dice.choice((1, 2, 3)))
        ],
        ttl=dice.choice((0, 0, 5)),
        operators=[dice.uniform(0, 30) for _ in range(dice.choice((0, 0, 1, 2)))],
        kills=sorted(dice.uniform(0, 15) for _ in range(dice.choice((0, 0, 1, 3)))),
        pause=dice.choice((0.0, 0.5, 10.0)),
        calm_from=dice.choice((0.0, 10.0, 60.0)),
        interference=_interfere(dice) if rough else [],
    )


def _interfere(dice: random.Random) -> list[tuple[float, str]]:
    acts = [dice.choice(sorted(INTERFERENCE)) for _ in range(dice.choice((1, 2, 4, 8)))]
    return sorted((dice.choice((dice.uniform(0, 8), dice.uniform(0, 40))), act) for act in acts)


async def tell(world: World, part: Cdi, tale: Tale, *, weather: Weather | None) -> None:
    """Live through a tale and check what is left."""
    if weather is not None:
        world.script = weather(world.dice("storm"), world.loop.time, calm_from=tale.calm_from)
    furnish(world, ttl=tale.ttl)
    world.start_operator()
    _reflex(world, tale)
    for name, origin, owners in tale.volumes:
        give_volume(world, name, origin, owners=owners)
    await asyncio.gather(*troubles(world, tale, INTERFERENCE))
    await asyncio.sleep(max(0.0, 120.0 - world.loop.time()))
    world.script = Calm()
    mend(world)
    part.lag = 0.0
    while not world.living:
        world.start_operator()
    await world.until_quiet()
    check_rest(world)
    if not tale.interference:
        left = [name_of(each) for each in world.user.all(DATA_VOLUMES)]
        if left:
            world.history.breaks("L5", f"{left} were not collected")
        if len(world.user.all(PERSISTENT_VOLUME_CLAIMS)) != len(tale.volumes):
            world.history.breaks("disk", "there is not a claim for each DataVolume that was collected")
    await check_idle(world)


def mend(world: World) -> None:
    """Let go of what people hold, so that what is half done can be ended."""
    for volume in world.user.all(DATA_VOLUMES):
        if FOREIGN in finalizers_of(volume):
            kept = [each for each in finalizers_of(volume) if each != FOREIGN]
            world.user.patch(DATA_VOLUMES, name_of(volume), {"metadata": {"finalizers": kept}}, SPACE)


def _reflex(world: World, tale: Tale) -> None:
    """A person whose hand is quick: does something right after an operator has written, in the middle of a handover."""
    acts = [act for _, act in tale.interference if act in QUICK]
    dice = world.dice("reflex")

    def changed(who: str) -> None:
        if acts and who.startswith("datamover") and dice.random() < 0.3:
            act = acts.pop()
            world.cluster.soon(lambda: _try(world, act))

    world.watchers.append(changed)


def _try(world: World, act: str) -> None:
    try_to(world, act, INTERFERENCE[act], world.dice(f"{act} {world.loop.time()}"))


# --- what people do ---------------------------------------------------------------------------------


def _choose(world: World, dice: random.Random, resource: Resource[Any] = DATA_VOLUMES) -> Tree | None:
    found = [each for each in world.user.all(resource) if not is_going(each)]
    return dice.choice(found) if found else None


def _delete_volume(world: World, dice: random.Random) -> None:
    volume = _choose(world, dice)
    if volume is None:
        return
    name = name_of(volume)
    propagation = dice.choice(("Background", "Background", "Foreground", "Orphan"))
    world.history.note("user", f"deletes DataVolume {name} ({propagation})")
    world.user.delete(DATA_VOLUMES, name, SPACE, propagation=propagation)
    if dice.random() < 0.7:
        world.loop.call_later(dice.choice((0.01, 0.3, 5.0)), lambda: _again(world, name, dice, 40))


def _again(world: World, name: str, dice: random.Random, tries: int) -> None:
    """Create a DataVolume of the same name as soon as the first one is gone."""
    if volume_of(world, name) is None:
        give_volume(world, name, dice.choice(ORIGINS[:-1]), asked=dice.choice(("true", None)))
    elif tries:
        world.loop.call_later(0.1, lambda: _again(world, name, dice, tries - 1))


def _recreate_collected(world: World, dice: random.Random) -> None:
    """A program that wants its DataVolume back, of a claim that is there."""
    for claim in world.user.all(PERSISTENT_VOLUME_CLAIMS):
        if volume_of(world, name_of(claim)) is None and not is_going(claim):
            give_volume(world, name_of(claim), dice.choice(ORIGINS[:-1]))
            return


def _refuse(world: World, dice: random.Random) -> None:
    volume = _choose(world, dice)
    if volume is None:
        return
    name = name_of(volume)
    key = dice.choice(names.ASKING_KEYS)
    annotate(world, name, {key: "false"})
    if dice.random() < 0.7:
        world.loop.call_later(dice.choice((0.001, 0.01, 0.05, 3.0)), lambda: annotate(world, name, ASKED))


def _delete_claim(world: World, dice: random.Random) -> None:
    claim = _choose(world, dice, PERSISTENT_VOLUME_CLAIMS)
    if claim is None:
        return
    name = name_of(claim)
    world.history.note("user", f"deletes claim {name}")
    world.user.delete(PERSISTENT_VOLUME_CLAIMS, name, SPACE)

    def again() -> None:
        if world.user.find(PERSISTENT_VOLUME_CLAIMS, name, SPACE) is None:
            world.history.note("user", f"creates claim {name} again")
            give_claim(world, name, dice.choice(({}, {names.POPULATED_FOR: name})))

    if dice.random() < 0.5:
        world.loop.call_later(dice.uniform(0.1, 20), again)


def _change_ttl(world: World, dice: random.Random) -> None:
    if dice.random() < 0.5:
        set_ttl(world, dice.choice((None, -1, 0, 3, 60)))
        world.loop.call_later(60.0, lambda: set_ttl(world, 0))
        return
    label = dice.choice(("never", "0", "5", "soon"))
    world.history.note("user", f"labels the namespace with the TTL {label}")
    world.user.patch(NAMESPACE_METAS, SPACE, {"metadata": {"labels": {names.TTL_LABEL: label}}})
    back: Tree = {"metadata": {"labels": {names.TTL_LABEL: None}}}
    world.loop.call_later(30.0, lambda: world.user.patch(NAMESPACE_METAS, SPACE, back))


def _add_finalizer(world: World, dice: random.Random) -> None:
    volume = _choose(world, dice)
    if volume is not None and FOREIGN not in finalizers_of(volume):
        name = name_of(volume)
        world.history.note("user", f"adds a finalizer to DataVolume {name}")
        patch: Tree = {"metadata": {"finalizers": [*finalizers_of(volume), FOREIGN]}}
        world.user.patch(DATA_VOLUMES, name, patch, SPACE)
        world.loop.call_later(dice.uniform(0.1, 30.0), lambda: mend(world))


def _strip_finalizer(world: World, dice: random.Random) -> None:
    """Somebody in a hurry takes away every finalizer there is."""
    held = [each for each in world.user.all(DATA_VOLUMES) if names.FINALIZER in finalizers_of(each)]
    if held:
        name = name_of(dice.choice(held))
        world.history.note("user", f"takes the finalizers from DataVolume {name}")
        world.user.patch(DATA_VOLUMES, name, {"metadata": {"finalizers": None}}, SPACE)


def _give_owner(world: World, dice: random.Random) -> None:
    resource = dice.choice((DATA_VOLUMES, PERSISTENT_VOLUME_CLAIMS))
    chosen = _choose(world, dice, resource)
    if chosen is not None:
        owner = give_owner(world, f"late-{dice.randint(1, 3)}")
        world.history.note("user", f"gives {resource.kind} {name_of(chosen)} the owner {owner['name']}")
        owners = chosen["metadata"].get("ownerReferences") or []
        if owner["uid"] not in [each["uid"] for each in owners]:
            patch: Tree = {"metadata": {"ownerReferences": [*owners, owner]}}
            world.user.patch(resource, name_of(chosen), patch, SPACE)


def _delete_owner(world: World, dice: random.Random) -> None:
    owner = _choose(world, dice, CONFIG_MAPS)
    if owner is not None:
        world.history.note("user", f"deletes ConfigMap {name_of(owner)} {uid_of(owner)[:8]}")
        world.user.delete(CONFIG_MAPS, name_of(owner), SPACE)


def _erase_record(world: World, dice: random.Random) -> None:
    """Somebody tidies up annotations that he does not know."""
    for claim in world.user.all(PERSISTENT_VOLUME_CLAIMS):
        if names.RECORD in (claim["metadata"].get("annotations") or {}) and dice.random() < 0.5:
            world.history.note("user", f"erases the record on claim {name_of(claim)}")
            patch: Tree = {"metadata": {"annotations": {names.RECORD: None}}}
            world.user.patch(PERSISTENT_VOLUME_CLAIMS, name_of(claim), patch, SPACE)


def _put_back(world: World, dice: random.Random) -> None:
    """Somebody replaces a claim by what it was before its handover. Of a DataVolume that is being deleted already nothing can keep that from costing the
    disk: it may go in the same moment.
    """
    for volume in world.user.all(DATA_VOLUMES):
        claim = world.user.find(PERSISTENT_VOLUME_CLAIMS, name_of(volume), SPACE)
        if claim is None or is_going(volume) or names.FINALIZER not in finalizers_of(volume):
            continue
        said = claim["metadata"].get("annotations") or {}
        if names.RECORD in said and uid_of(volume) not in owners_of(claim):
            world.history.note("user", f"puts back claim {name_of(claim)}")
            owners = [cdi.reference_to(volume)]
            erased = dict.fromkeys((names.RECORD, names.CREATED_FOR, names.POPULATED_FOR, names.GARBAGE_COLLECTED))
            patch: Tree = {"metadata": {"ownerReferences": owners, "annotations": erased}}
            world.user.patch(PERSISTENT_VOLUME_CLAIMS, name_of(claim), patch, SPACE)
            return


def _touch(world: World, dice: random.Random) -> None:
    """Another program writes about the DataVolume or its claim what concerns nobody."""
    resource = dice.choice((DATA_VOLUMES, PERSISTENT_VOLUME_CLAIMS))
    chosen = _choose(world, dice, resource)
    if chosen is not None:
        patch: Tree = {"metadata": {"labels": {"touched": str(dice.randint(1, 999))}}}
        world.user.patch(resource, name_of(chosen), patch, SPACE)


INTERFERENCE: dict[str, Callable[[World, random.Random], None]] = {
    "delete volume": _delete_volume,
    "create again": _recreate_collected,
    "refuse": _refuse,
    "delete claim": _delete_claim,
    "change TTL": _change_ttl,
    "add finalizer": _add_finalizer,
    "strip finalizer": _strip_finalizer,
    "give owner": _give_owner,
    "delete owner": _delete_owner,
    "touch": _touch,
    "erase record": _erase_record,
    "put back": _put_back,
}
QUICK = (
    "delete volume",
    "refuse",
    "delete claim",
    "add finalizer",
    "strip finalizer",
    "give owner",
    "delete owner",
    "touch",
    "erase record",
    "put back",
)
"""What is also done in the middle of a handover."""
