"""Histories of replication from a seed: which objects, what goes wrong, who interferes; and what all of them come to at the end.

However rough it was, people put right in the end what they have taken away, and ask for one more synchronisation: it must be had.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from datamover.api.copy_trigger import USE_ANNOTATION
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PODS, SECRETS, SERVICES
from kubekit.words.meta import Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from support.simulation.calls import Tree
from support.simulation.conduct import CREDENTIALS, IMMEDIATE, KILLED, NETWORK, ON_USE, SUCCESS, Conduct
from support.simulation.replication_ledger import KINDS
from support.simulation.replications import (
    REPOSITORY,
    check_rest,
    end_all,
    furnish,
    give,
    give_repository,
    options_of,
)
from support.simulation.stories import Weather, check_idle
from support.simulation.trees import is_going, name_of, owners_of, uid_of
from support.simulation.triggers import annotate, trigger, want
from support.simulation.troubles import troubles
from support.simulation.world import CLASS, SOURCE, SPACE, World

ENDS = (SUCCESS, SUCCESS, SUCCESS, NETWORK, KILLED, CREDENTIALS)
TRIGGERS: tuple[Tree, ...] = ({}, {"trigger": {"manual": "one"}}, {"trigger": {"schedule": "*/2 * * * *"}})
METHODS = ("restic", "restic", "rsyncTLS", "rsync")


@dataclass
class Tale:
    """What a seed has chosen. Times in seconds from the beginning."""

    conduct: Conduct
    objects: list[tuple[Resource[Any], str, str, Tree, Tree]]
    operators: list[float]
    kills: list[float]
    pause: float
    calm_from: float
    triggered: bool
    interference: list[tuple[float, str]] = field(default_factory=list)


def invent(seed: object, *, rough: bool) -> Tale:
    """Return the tale of a seed."""
    dice = random.Random(f"{seed}/replication")
    conduct = Conduct(
        binding=dice.choice((IMMEDIATE, IMMEDIATE, ON_USE)),
        lag=(0.001, dice.choice((0.01, 0.5))),
        clone=dice.choice((0.05, 1.0, 15.0)),
        snapshot=dice.choice((0.05, 1.0, 15.0)),
        start=dice.choice((0.1, 3.0)),
        run=dice.choice((0.1, 4.0, 25.0)),
        removal=dice.choice((0.05, 1.0, 40.0)),
        backoff=dice.choice((1.0, 10.0)),
        ends=tuple(dice.choice(ENDS) for _ in range(dice.choice((0, 3, 8)))) or (SUCCESS,),
    )
    objects = [_object(dice, number) for number in range(dice.choice((1, 1, 2, 3)))]
    return Tale(
        conduct=conduct,
        objects=objects,
        operators=[dice.uniform(0, 60) for _ in range(dice.choice((0, 0, 1, 2)))],
        kills=sorted(dice.uniform(0, 60) for _ in range(dice.choice((0, 0, 1, 3)))),
        pause=dice.choice((0.0, 0.5, 10.0)),
        calm_from=dice.choice((0.0, 10.0, 90.0)),
        triggered=dice.random() < 0.3,
        interference=_interfere(dice) if rough else [],
    )


def _object(dice: random.Random, number: int) -> tuple[Resource[Any], str, str, Tree, Tree]:
    method, spec = dice.choice(METHODS), dice.choice(TRIGGERS)
    if dice.random() < 0.6:
        return (
            REPLICATION_SOURCES,
            f"up-{number}",
            method,
            {"copyMethod": dice.choice(("Clone", "Snapshot", "Direct"))},
            spec,
        )
    options: Tree = {"copyMethod": dice.choice(("Snapshot", "Snapshot", "Direct")), "storageClassName": CLASS}
    options |= {"capacity": "1Gi", "accessModes": ["ReadWriteOnce"]}
    if method == "restic" and dice.random() < 0.5:
        options |= {"cleanupTempPVC": True, "cleanupCachePVC": True}
    return REPLICATION_DESTINATIONS, f"down-{number}", method, options, spec


def _interfere(dice: random.Random) -> list[tuple[float, str]]:
    acts = [dice.choice(sorted(INTERFERENCE)) for _ in range(dice.choice((1, 2, 4, 8)))]
    return sorted((dice.choice((dice.uniform(0, 6), dice.uniform(0, 90))), act) for act in acts)


async def tell(world: World, tale: Tale, *, weather: Weather | None) -> None:
    """Live through a tale, put right what people have taken away, and check what is left."""
    if weather is not None:
        world.script = weather(world.dice("storm"), world.loop.time, calm_from=tale.calm_from)
    furnish(world)
    if tale.triggered:
        want(world)
        world.spawn(_play_triggers(world))
    world.start_operator()
    for resource, name, method, options, spec in tale.objects:
        give(world, resource, name, method, options, **spec)
    await asyncio.gather(*troubles(world, tale, INTERFERENCE))
    await asyncio.sleep(max(0.0, 150.0 - world.loop.time()))
    while not world.living:
        world.start_operator()
    mend(world)
    end_all(world)
    await world.until_quiet()
    check_rest(world)
    await check_idle(world)


def mend(world: World) -> None:
    """Give back what people have taken away, and let go of copy triggers."""
    source = world.user.find(PERSISTENT_VOLUME_CLAIMS, SOURCE, SPACE)
    if source is None:
        world.give_source()
    elif is_going(source):
        world.loop.call_later(600.0, lambda: mend(world))
    if world.user.find(SECRETS, REPOSITORY, SPACE) is None:
        give_repository(world)
    for snapshot in world.user.all(VOLUME_SNAPSHOTS):
        if not owners_of(snapshot):  # one that was kept holds the name of the next copy, as its owner is told
            world.history.note("user", f"deletes VolumeSnapshot {name_of(snapshot)}, which was kept")
            world.user.delete(VOLUME_SNAPSHOTS, name_of(snapshot), SPACE)
    for secret in world.user.all(SECRETS):
        kin = [each for each in world.user.all(SECRETS) if owners_of(each) == owners_of(secret) != []]
        if "-rsync-" in name_of(secret) and len(kin) == 1 and "-rsync-tls-" not in name_of(secret):
            world.history.note("user", f"deletes Secret {name_of(secret)}, without which the others cannot be made")
            world.user.delete(SECRETS, name_of(secret), SPACE)
    for pod in world.user.all(PODS):
        if not owners_of(pod) and not is_going(
            pod
        ):  # its Job was deleted without it: people are told that it holds the claim
            world.history.note("user", f"deletes Pod {name_of(pod)}, which has no Job")
            world.user.delete(PODS, name_of(pod), SPACE)
    if source is not None:
        annotate(world, {USE_ANNOTATION: None})


async def _play_triggers(world: World) -> None:
    """A user who triggers copies whenever it occurs to him, for a while."""
    dice = world.dice("triggers")
    for number in range(dice.choice((1, 4, 20))):
        await asyncio.sleep(dice.choice((0.5, 5.0, 30.0)))
        if world.user.find(PERSISTENT_VOLUME_CLAIMS, SOURCE, SPACE) is not None:
            trigger(world, f"go{number}")


# --- what people do ---------------------------------------------------------------------------------


def _delete(resource: Resource[Any], **options: Any) -> Callable[[World, random.Random], None]:
    """Delete one of the children."""

    def act(world: World, dice: random.Random) -> None:
        owners = set(world.ledger.rounds) | {uid_of(job) for job in world.user.all(JOBS)}
        found = [obj for obj in world.user.all(resource) if owners & set(owners_of(obj))]
        if found:
            name = name_of(dice.choice(found))
            world.history.note("user", f"deletes {resource.kind} {name} {options or ''}")
            world.ledger.excused.add(name)
            world.user.delete(resource, name, SPACE, **options)

    return act


def _choose(world: World, dice: random.Random) -> tuple[Resource[Any], Tree] | None:
    found = [(kind, obj) for kind in KINDS for obj in world.user.all(kind) if not is_going(obj)]
    return dice.choice(found) if found else None


def _edit(change: Callable[[Tree, random.Random], Tree]) -> Callable[[World, random.Random], None]:
    def act(world: World, dice: random.Random) -> None:
        chosen = _choose(world, dice)
        if chosen is not None:
            resource, obj = chosen
            spec = change(obj["spec"], dice)
            world.history.note("user", f"edits {resource.kind} {name_of(obj)}: {spec}")
            world.user.patch(resource, name_of(obj), {"spec": spec}, SPACE)

    return act


def _delete_object(world: World, dice: random.Random) -> None:
    chosen = _choose(world, dice)
    if chosen is not None:
        resource, obj = chosen
        propagation = dice.choice(("Background", "Foreground"))
        world.history.note("user", f"deletes {resource.kind} {name_of(obj)} ({propagation})")
        world.user.delete(resource, name_of(obj), SPACE, propagation=propagation)
        spec = obj["spec"]
        method = _method_of(spec)
        rest = {key: value for key, value in spec.items() if key not in (method, "sourcePVC")}

        def again() -> None:
            if world.user.find(resource, name_of(obj), SPACE) is None:
                give(world, resource, name_of(obj), method, spec[method], **rest)

        if dice.random() < 0.6:
            world.loop.call_later(dice.uniform(0.1, 30), again)


def _method_of(spec: Tree) -> str:
    return next(method for method in ("restic", "rsyncTLS", "rsync") if spec.get(method))


def _another_method(spec: Tree, dice: random.Random) -> Tree:
    old = _method_of(spec)
    new = dice.choice([method for method in ("restic", "rsyncTLS", "rsync") if method != old])
    kept = ("copyMethod", "capacity", "accessModes", "storageClassName")
    given = {key: value for key, value in spec[old].items() if key in kept}
    return {old: None, new: {**options_of(new, source="sourcePVC" in spec), **given}}


def _another_copy(spec: Tree, dice: random.Random) -> Tree:
    methods = ("Clone", "Snapshot", "Direct") if "sourcePVC" in spec else ("Snapshot", "Direct")
    return {_method_of(spec): {"copyMethod": dice.choice(methods)}}


def _another_trigger(spec: Tree, dice: random.Random) -> Tree:
    wanted = dice.choice(
        (None, {"manual": f"m{dice.randint(1, 3)}"}, {"schedule": "*/3 * * * *"}, {"schedule": "nonsense"})
    )
    return {"trigger": {"manual": None, "schedule": None, **wanted} if wanted else None}


def _pause(world: World, dice: random.Random) -> None:
    chosen = _choose(world, dice)
    if chosen is None:
        return
    resource, obj = chosen
    name = name_of(obj)
    world.history.note("user", f"pauses {resource.kind} {name}")
    world.user.patch(resource, name, {"spec": {"paused": True}}, SPACE)

    def resume() -> None:
        if world.user.find(resource, name, SPACE) is not None:
            world.history.note("user", f"lets {resource.kind} {name} go on")
            world.user.patch(resource, name, {"spec": {"paused": False}}, SPACE)

    world.loop.call_later(dice.uniform(0.1, 60), resume)


def _renew_source(world: World, dice: random.Random) -> None:
    world.history.note("user", f"deletes claim {SOURCE}")
    world.user.delete(PERSISTENT_VOLUME_CLAIMS, SOURCE, SPACE)

    def again() -> None:
        if world.user.find(PERSISTENT_VOLUME_CLAIMS, SOURCE, SPACE) is None:
            world.give_source()

    world.loop.call_later(dice.uniform(1, 60), again)


def _renew_repository(world: World, dice: random.Random) -> None:
    world.history.note("user", f"deletes Secret {REPOSITORY}")
    world.user.delete(SECRETS, REPOSITORY, SPACE)

    def again() -> None:
        if world.user.find(SECRETS, REPOSITORY, SPACE) is None:
            give_repository(world)

    world.loop.call_later(dice.uniform(1, 60), again)


def _quiesce(world: World, dice: random.Random) -> None:
    if dice.random() < 0.5:
        want(world)
    else:
        annotate(world, {USE_ANNOTATION: None})


def _keep_image(world: World, dice: random.Random) -> None:
    found = [each for each in world.user.all(VOLUME_SNAPSHOTS) if not is_going(each)]
    if found:
        name = name_of(dice.choice(found))
        world.history.note("user", f"keeps VolumeSnapshot {name}")
        world.user.patch(VOLUME_SNAPSHOTS, name, {"metadata": {"labels": {"volsync.backube/do-not-delete": ""}}}, SPACE)


INTERFERENCE: dict[str, Callable[[World, random.Random], None]] = {
    "delete object": _delete_object,
    "delete claim": _delete(PERSISTENT_VOLUME_CLAIMS),
    "delete job": _delete(JOBS),
    "delete job, leave its pods": _delete(JOBS, propagation="Orphan"),
    "delete snapshot": _delete(VOLUME_SNAPSHOTS),
    "delete pod": _delete(PODS),
    "delete secret": _delete(SECRETS),
    "delete service": _delete(SERVICES),
    "edit method": _edit(_another_method),
    "edit copy": _edit(_another_copy),
    "edit trigger": _edit(_another_trigger),
    "pause": _pause,
    "renew source": _renew_source,
    "renew repository": _renew_repository,
    "copy triggers": _quiesce,
    "keep image": _keep_image,
}
