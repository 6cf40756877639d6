"""Histories from a seed: which cluster, which DataMovers, what goes wrong, who interferes.

A *gentle* story has only what no user can see: a bad network, operators that are killed, several at once. It must end as the calm story of the
same seed does. In a *rough* one people interfere as well, and only the laws say how it may end.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from datamover.api.names import CLONE_PREFIX, RETRY_ANNOTATION
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from kubekit.client.transport import Response
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PODS, SECRETS
from kubekit.words.meta import Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from kubekit.words.timestamps import compact, parse
from support.simulation.calls import Call
from support.simulation.conduct import CREDENTIALS, IMMEDIATE, KILLED, NETWORK, ON_USE, SUCCESS, Conduct
from support.simulation.endings import check_rest, check_telling, ending
from support.simulation.faults import Calm, Script, status
from support.simulation.trees import name_of
from support.simulation.troubles import troubles
from support.simulation.world import SECRET, SOURCE, SPACE, World

_ENDS = (
    (SUCCESS,),
    (SUCCESS,),
    (NETWORK, SUCCESS),
    (KILLED, NETWORK, SUCCESS),
    (NETWORK, NETWORK, NETWORK),
    (KILLED, KILLED, KILLED),
    (CREDENTIALS,),
    (NETWORK, CREDENTIALS),
)


class Weather(Protocol):
    """Makes the script of a network: `time` tells the seconds, and from `calm_from` on all is well."""

    def __call__(self, dice: random.Random, time: Callable[[], float], *, calm_from: float) -> Script: ...


@dataclass
class Tale:
    """What a seed has chosen. Times in seconds from the beginning."""

    conduct: Conduct
    specs: list[dict[str, Any]]
    operators: list[float]
    """When further operators start beside the first."""
    kills: list[float]
    pause: float
    """How long there is no operator after a kill."""
    calm_from: float
    interference: list[tuple[float, str]] = field(default_factory=list)


def invent(seed: object, *, rough: bool) -> Tale:
    """Return the tale of a seed."""
    dice = random.Random(f"{seed}/tale")
    method = dice.choice(("Clone", "Clone", "Snapshot", "Direct"))
    conduct = Conduct(
        binding=dice.choice((IMMEDIATE, IMMEDIATE, ON_USE)),
        reclaim=dice.choice(("Delete", "Delete", "Delete", "Retain")),
        lag=(0.001, dice.choice((0.01, 0.5))),
        clone=dice.choice((0.05, 1.0, 15.0)),
        snapshot=dice.choice((0.05, 1.0, 15.0)),
        start=dice.choice((0.1, 3.0)),
        run=dice.choice((0.5, 4.0, 25.0)),
        removal=dice.choice((0.05, 1.0, 40.0)),
        backoff=dice.choice((1.0, 10.0)),
        ends=dice.choice(_ENDS),
    )
    spec = {
        "copyMethod": method,
        "addTimestampPrefix": dice.random() < 0.5,
        "deletePvcAfterBackup": method != "Direct" and dice.random() < 0.7,
    }
    return Tale(
        conduct=conduct,
        specs=[spec] * dice.choice((1, 1, 1, 2)),
        operators=[dice.uniform(0, 30) for _ in range(dice.choice((0, 0, 1, 2)))],
        kills=sorted(dice.uniform(0, 20) for _ in range(dice.choice((0, 0, 1, 3)))),
        pause=dice.choice((0.0, 0.5, 10.0)),
        calm_from=dice.choice((0.0, 10.0, 60.0)),
        interference=_interfere(dice) if rough else [],
    )


def _interfere(dice: random.Random) -> list[tuple[float, str]]:
    acts = [dice.choice(sorted(INTERFERENCE)) for _ in range(dice.choice((1, 1, 2, 3, 5)))]
    return sorted((dice.choice((0.0, dice.uniform(0, 3), dice.uniform(0, 40))), act) for act in acts)


async def tell(world: World, tale: Tale, *, weather: Weather | None) -> dict[str, Any]:
    """Live through a tale until nothing more happens, check the rest, and return how it ended.

    Without `weather` all trouble is left out, and the tale is only what the cluster and the DataMovers are.
    """
    dice = world.dice("story")
    if weather is not None:
        world.script = weather(world.dice("storm"), world.loop.time, calm_from=tale.calm_from)
    world.furnish()
    world.start_operator()
    await asyncio.sleep(dice.choice((0.0, 0.1)))
    for number, spec in enumerate(tale.specs):
        world.give_mover(f"backup-{number}", **spec)
    helpers = [] if weather is None else [asyncio.create_task(part) for part in _troubles(world, tale)]
    if helpers:
        await asyncio.gather(*helpers)
    while not world.living:
        world.start_operator()
    await world.until_quiet()
    check_rest(world)
    if len(world.living) == len(world.replicas):
        check_telling(world)
    found = ending(world)
    await check_idle(world)
    return found


async def check_idle(world: World, seconds: float = 900.0, *, again: float = 900.0) -> None:
    """Nothing is written while nothing changes, nor by an operator that starts anew over it (law L9)."""
    before = world.ledger.writes
    await asyncio.sleep(seconds)
    if world.ledger.writes != before:
        world.history.breaks("L9", f"{world.ledger.writes - before} requests to write while nothing changes")
    for replica in world.living:
        replica.kill()
    before = world.ledger.writes
    world.script = Calm()
    world.start_operator()
    await asyncio.sleep(again)
    if world.ledger.writes != before:
        world.history.breaks(
            "L9", f"{world.ledger.writes - before} requests to write after a restart over an idle world"
        )


def _troubles(world: World, tale: Tale) -> list[Any]:
    async def shake(at: float) -> None:
        await asyncio.sleep(at)
        world.history.note("server", "forgets its history and cuts all watches")
        world.server.compact()
        world.server.cut_watches()

    shaken = [shake(at) for at in (3.0, 17.0) if tale.calm_from > at]
    return [*troubles(world, tale, INTERFERENCE), *shaken]


# --- what people do ---------------------------------------------------------------------------------


def _victim(world: World, dice: random.Random, resource: Resource[Any]) -> str | None:
    names = [
        name_of(obj)
        for obj in world.user.all(resource)
        if name_of(obj).startswith((CLONE_PREFIX, "verify-", "backup-")) and name_of(obj) != SOURCE
    ]
    return dice.choice(names) if names else None


def _delete(resource: Resource[Any], **options: Any) -> Callable[[World, random.Random], None]:
    def act(world: World, dice: random.Random) -> None:
        name = _victim(world, dice, resource)
        if name is not None:
            world.history.note("user", f"deletes {resource.kind} {name} {options or ''}")
            world.user.delete(resource, name, SPACE, **options)

    return act


def _edit(**spec: Any) -> Callable[[World, random.Random], None]:
    def act(world: World, dice: random.Random) -> None:
        name = _victim(world, dice, DATA_MOVERS)
        if name is not None:
            world.history.note("user", f"edits DataMover {name}: {spec}")
            world.user.patch(DATA_MOVERS, name, {"spec": spec}, SPACE)

    return act


def _retry(world: World, dice: random.Random) -> None:
    name = _victim(world, dice, DATA_MOVERS)
    if name is not None:
        wish = str(dice.randint(1, 3))
        world.history.note("user", f"asks DataMover {name} to try again: {wish}")
        world.user.patch(DATA_MOVERS, name, {"metadata": {"annotations": {RETRY_ANNOTATION: wish}}}, SPACE)


def _pause_run(world: World, dice: random.Random) -> None:
    name = _victim(world, dice, DATA_MOVERS)
    if name is None:
        return
    _edit(suspend=True)(world, dice)

    def resume() -> None:
        if world.mover(name) is not None:
            world.history.note("user", f"lets DataMover {name} go on")
            world.user.patch(DATA_MOVERS, name, {"spec": {"suspend": False}}, SPACE)

    world.loop.call_later(dice.uniform(0.1, 60), resume)


def _renew_source(world: World, dice: random.Random) -> None:
    world.history.note("user", f"deletes claim {SOURCE}")
    world.user.delete(PERSISTENT_VOLUME_CLAIMS, SOURCE, SPACE)

    def again() -> None:
        if world.user.find(PERSISTENT_VOLUME_CLAIMS, SOURCE, SPACE) is None:
            world.give_source()

    world.loop.call_later(dice.uniform(1, 60), again)


def _renew_secret(world: World, dice: random.Random) -> None:
    world.history.note("user", "deletes the Secret")
    world.user.delete(SECRETS, SECRET, SPACE)
    world.loop.call_later(dice.uniform(1, 60), world.give_secret)


def _refuse(code: int, reason: str) -> Callable[[World, random.Random], None]:
    def act(world: World, dice: random.Random) -> None:
        end = world.loop.time() + dice.choice((0.5, 30.0, 300.0))
        verbs = dice.choice((("create",), ("delete",), ("create", "delete")))
        plurals = dice.sample(("persistentvolumeclaims", JOBS.group_resource, VOLUME_SNAPSHOTS.group_resource), k=2)
        world.history.note("user", f"has {verbs} of {plurals} refused with {code} until {end:.1f}")

        def admit(call: Call) -> Response | None:
            if world.loop.time() < end and call.verb in verbs and call.resource in plurals:
                message = f"admission refuses the {call.verb}"
                return Response(code, {"content-type": "application/json"}, status(code, reason, message))
            return None

        world.admission = admit

    return act


def _squat(resource: Resource[Any]) -> Callable[[World, random.Random], None]:
    """Hold the name that the next child will want."""

    def act(world: World, dice: random.Random) -> None:
        name = _victim(world, dice, DATA_MOVERS)
        if name is None:
            return
        created = (world.mover(name) or {})["metadata"]["creationTimestamp"]
        moment = compact(parse(created))
        copy = f"{CLONE_PREFIX}{SOURCE}-{moment}"
        meta: dict[str, Any] = {"name": copy if resource is not JOBS else f"verify-{copy}"}
        if dice.random() < 0.5:
            meta["labels"] = {"app.kubernetes.io/created-by": "datamover-operator"}
        body: dict[str, Any] = {"metadata": meta}
        if resource is PERSISTENT_VOLUME_CLAIMS:
            body["spec"] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        elif resource is VOLUME_SNAPSHOTS:
            body["spec"] = {"source": {"persistentVolumeClaimName": "else"}}
        else:
            pod = {"restartPolicy": "Never", "containers": [{"name": "rclone", "image": "else"}]}
            rules = [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            rules += [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [99]}}]
            body["spec"] = {"suspend": True, "podFailurePolicy": {"rules": rules}, "template": {"spec": pod}}
        world.history.note("user", f"creates a {resource.kind} {meta['name']} of another owner")
        world.user.create(resource, body, SPACE)
        world.loop.call_later(dice.uniform(5, 400), lambda: _leave(world, resource, meta["name"]))

    return act


def _leave(world: World, resource: Resource[Any], name: str) -> None:
    found = world.user.find(resource, name, SPACE)
    if found is not None and not found["metadata"].get("ownerReferences"):
        world.history.note("user", f"removes the {resource.kind} {name} of another owner")
        world.user.delete(resource, name, SPACE)


INTERFERENCE: dict[str, Callable[[World, random.Random], None]] = {
    "delete mover": _delete(DATA_MOVERS),
    "delete mover in the foreground": _delete(DATA_MOVERS, propagation="Foreground"),
    "delete clone": _delete(PERSISTENT_VOLUME_CLAIMS),
    "delete job": _delete(JOBS),
    "delete snapshot": _delete(VOLUME_SNAPSHOTS),
    "delete pod": _delete(PODS),
    "edit environment": _edit(additionalEnv=[{"name": "RCLONE_TRANSFERS", "value": "9"}]),
    "edit source": _edit(sourcePvc="other"),
    "edit cleanup": _edit(deletePvcAfterBackup=True),
    "keep clone": _edit(deletePvcAfterBackup=False),
    "suspend": _pause_run,
    "retry": _retry,
    "renew source": _renew_source,
    "renew secret": _renew_secret,
    "quota": _refuse(403, "Forbidden"),
    "webhook down": _refuse(500, "InternalError"),
    "foreign claim": _squat(PERSISTENT_VOLUME_CLAIMS),
    "foreign job": _squat(JOBS),
    "foreign snapshot": _squat(VOLUME_SNAPSHOTS),
}
