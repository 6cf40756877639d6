"""Backups of hosted control planes in a simulated history: a Velero that goes by a script, and what the operator that follows them may write."""

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from datamover.api.hosted_control_plane import DataKey, status_name
from datamover.api.hypershift import HOSTED_CONTROL_PLANES
from datamover.api.velero.backup import BACKUPS
from datamover.api.velero.names import BACKUP_NAME_LABEL, BACKUP_UID_LABEL
from datamover.api.velero.phases import OVER
from datamover.api.velero.uploads import DATA_UPLOADS, POD_VOLUME_BACKUPS
from datamover.cli.hosted_control_planes import follow_backups
from kubekit.client.transport import Request, Response
from kubekit.words.core import CONFIG_MAPS, NAMESPACE_METAS
from kubekit.words.timestamps import seconds
from support.backup_world import definition
from support.simulation.calls import Call, Tree, read_call
from support.simulation.hand import Refused
from support.simulation.stories import Weather
from support.simulation.trees import look, name_of, owners_of, uid_of
from support.simulation.world import DEFINITIONS, World, simulate
from support.simulation.writes import Writes
from support.virtual_time import LoopClock

VELERO = "velero"
HOSTED = "clusters-a"
MAPS = CONFIG_MAPS.group_resource
MOST = 24
"""Writes of a record by one operator within a minute: one each five seconds, and a few that are not to wait."""


class FollowLedger(Writes):
    """Holds the operators to what they may write of backups: each one's ConfigMap, under its version, and events."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.kept: dict[tuple[str, str], list[float]] = defaultdict(list)
        """When each operator has written each record, by its name, in seconds."""
        self.told: Counter[tuple[str, str]] = Counter()
        """How often each event was stored or counted on, by the Backup's UID and reason."""

    def owns(self, uid: str) -> bool:
        return False

    def makes_claims(self, call: Call) -> bool:
        return False

    def deletes(self, call: Call, target: Tree) -> None:
        """Judged before."""

    def before(self, request: Request) -> None:
        super().before(request)
        call = read_call(request)
        if not call.agent.startswith(self._agent) or not call.writes or call.resource.startswith("events"):
            return
        if (call.verb, call.resource) not in {("create", MAPS), ("patch", MAPS)}:
            self._break("hands off", f"{call} has no business here")
        meta = call.body.get("metadata") or {}
        if call.verb == "patch" and not (meta.get("uid") and meta.get("resourceVersion")):
            self._break("L7", f"{call} is unguarded")
        live = self._objects.find(MAPS, call.name, call.namespace)
        if call.verb == "patch" and live is not None and uid_of(live) == meta.get("uid"):
            backups = {uid_of(each) for each in self._objects.all(BACKUPS)}
            if not backups.intersection(owners_of(live)):
                self._break("hands off", f"{call} writes over what is no living backup's")

    def after(self, request: Request, response: Response) -> None:
        super().after(request, response)
        call = read_call(request)
        if call.writes and call.resource == MAPS and call.agent.startswith(self._agent):
            name = call.name or name_of(call.body)
            times, now = self.kept[call.agent, name], self._history.now()
            times.append(now)
            if sum(now - each < 60 for each in times) > MOST:
                self._break("L9", f"{call.agent} writes {name} more than {MOST} times a minute")

    def written(self, call: Call, answer: Tree) -> None:
        if call.resource.startswith("events"):
            self.told[(answer.get("regarding") or {}).get("uid", ""), answer.get("reason", "")] += 1


def follow(story: Callable[[World], Coroutine[Any, Any, None]], *, seed: object) -> World:
    """Tell a history of backups."""

    async def told(world: World) -> None:
        world.cluster.owners.append(BACKUPS)
        world.cluster.dependents += [CONFIG_MAPS, DATA_UPLOADS]
        await story(world)

    return simulate(told, seed=seed, kinds=(follow_backups,), ledger=FollowLedger)


def furnish(world: World) -> None:
    """Put in what a cluster with Velero and HyperShift has before the first backup."""
    world.furnish(secret=False, source=False)
    for each in (BACKUPS, DATA_UPLOADS, POD_VOLUME_BACKUPS, HOSTED_CONTROL_PLANES):
        world.user.create(DEFINITIONS, definition(each))
    for namespace in (VELERO, HOSTED):
        world.user.create(NAMESPACE_METAS, {"metadata": {"name": namespace}})
    plane = {"metadata": {"name": "hosted"}, "spec": {"platform": {"type": "AWS"}}}
    world.user.create(HOSTED_CONTROL_PLANES, plane, HOSTED)


def begin_backup(world: World, name: str = "nightly") -> str:
    """Let Velero begin a backup; return its UID."""
    spec = {"includedNamespaces": [HOSTED], "snapshotMoveData": True}
    made = world.user.create(BACKUPS, {"metadata": {"name": name}, "spec": spec}, VELERO)
    say_of_backup(world, "InProgress", name, startTimestamp=_now(world))
    return uid_of(made)


def say_of_backup(world: World, phase: str, name: str = "nightly", **status: Any) -> None:
    """Let Velero say how far a backup is."""
    world.history.note("velero", f"{name} is {phase}")
    world.user.patch(BACKUPS, name, {"status": {"phase": phase, **status}}, VELERO, "status")


def end_backup(world: World, phase: str = "Completed", name: str = "nightly") -> None:
    """Let Velero be done with a backup."""
    say_of_backup(world, phase, name, completionTimestamp=_now(world))


def move(world: World, claim: str, phase: str, done: int = 0, *, backup: str = "nightly", node: str = "a") -> None:
    """Let a node-agent say how far the upload of a claim is; the first word makes it."""
    name = f"{backup}-{claim}"
    world.history.note("velero", f"{name} is {phase} ({done})")
    if world.user.find(DATA_UPLOADS, name, VELERO) is None:
        owner = world.user.find(BACKUPS, backup, VELERO)
        assert owner is not None
        labels = {BACKUP_NAME_LABEL: backup, BACKUP_UID_LABEL: uid_of(owner)}
        spec = {"sourceNamespace": HOSTED, "csiSnapshot": {"volumeSnapshot": f"velero-{claim}"}}
        meta = {"name": name, "labels": labels, "ownerReferences": [_reference(owner)]}
        world.user.create(DATA_UPLOADS, {"metadata": meta, "spec": spec | {"sourcePVC": claim}}, VELERO)
    told: Tree = {"phase": phase, "node": node, "progress": {"bytesDone": done, "totalBytes": 100}}
    if phase in ("Completed", "Failed"):
        told["completionTimestamp"] = _now(world)
    world.user.patch(DATA_UPLOADS, name, {"status": told}, VELERO, "status")


def record_of(world: World, name: str = "nightly") -> Tree:
    """Return what is written of a backup; empty where nothing is."""
    found = world.user.find(CONFIG_MAPS, status_name(name), VELERO)
    return json.loads(found["data"][DataKey.STATUS]) if found is not None else {}


def state_of(world: World, name: str = "nightly") -> str:
    """Return the state of the control plane, with `, final` where it is."""
    planes = record_of(world, name).get("controlPlanes") or ()
    return ", ".join(each["state"] + (", final" if each.get("final") else "") for each in planes)


# --- stories ------------------------------------------------------------------------------------------------------


@dataclass
class Tale:
    """What a seed has chosen. Times in seconds."""

    ends: list[str]
    """How the uploads end."""
    pace: float
    """The longest pause between two steps of Velero's."""
    kills: list[float]
    operators: list[float]
    """When further operators begin beside the first."""
    interference: list[tuple[float, str]] = field(default_factory=list)
    calm_from: float = 150.0

    @property
    def ending(self) -> str:
        """What is said of it in the end."""
        return "MOVED, final" if set(self.ends) == {"Completed"} else "FAILED, final"


def invent(seed: object, *, rough: bool = False, race: bool = False) -> Tale:
    """Return the tale of a seed."""
    dice = random.Random(f"tale {seed}")
    ends = [dice.choice(("Completed", "Completed", "Completed", "Failed")) for _ in range(dice.randint(1, 3))]
    tale = Tale(
        ends=ends,
        pace=dice.choice((0.5, 5.0, 40.0)),
        kills=[] if race else sorted(dice.uniform(0, 120) for _ in range(dice.randint(0, 3))),
        operators=[0.1, 2.0] if race else [],
    )
    if rough:
        acts = tuple(ACTS)
        tale.interference = sorted((dice.uniform(0, 140), dice.choice(acts)) for _ in range(dice.randint(1, 6)))
    return tale


async def tell(world: World, tale: Tale, *, weather: Weather | None) -> str:
    """Live through a tale, until there is nothing more to come; return the UID of the backup."""
    dice = world.dice("velero")
    furnish(world)
    if weather is not None:
        world.script = weather(world.dice("storm"), world.loop.time, calm_from=tale.calm_from)
    world.start_operator()
    for at in tale.operators:
        world.spawn(_later(at, world.start_operator))
    for at in tale.kills:
        world.spawn(_later(at, lambda: _replace_operator(world)))
    for at, act in tale.interference:
        world.spawn(_later(at, lambda act=act: _try(world, act)))
    await asyncio.sleep(dice.uniform(0, 5))
    uid = begin_backup(world)
    await asyncio.gather(*(_upload(world, f"data-{number}", end, tale) for number, end in enumerate(tale.ends)))
    await asyncio.sleep(dice.uniform(0, tale.pace))
    say_of_backup(world, "Finalizing")
    await asyncio.sleep(dice.uniform(0, tale.pace))
    end_backup(world, "Completed" if "Failed" not in tale.ends else "PartiallyFailed")
    await asyncio.sleep(max(tale.calm_from - world.loop.time(), 0.0))
    await world.until_quiet()
    return uid


async def _upload(world: World, claim: str, end: str, tale: Tale) -> None:
    dice = world.dice(claim)
    steps = [("New", 0), ("Accepted", 0), ("Prepared", 0)]
    steps += [("InProgress", amount) for amount in sorted(dice.sample(range(100), dice.randint(1, 20)))]
    steps.append((end, 100))
    for number, (phase, done) in enumerate(steps):
        await asyncio.sleep(dice.uniform(0, tale.pace))
        move(world, claim, phase, done)
        if number == 1 and claim == "data-0":
            await asyncio.sleep(tale.pace)  # by then the others are there
            say_of_backup(world, "WaitingForPluginOperations")


def _replace_operator(world: World) -> None:
    world.living[0].kill()
    world.start_operator()


async def _later(at: float, act: Callable[[], object]) -> None:
    await asyncio.sleep(at)
    act()


def _try(world: World, act: str) -> None:
    backup = world.user.find(BACKUPS, "nightly", VELERO)
    if look(backup, "status", "phase") in OVER or world.user.find(CONFIG_MAPS, status_name("nightly"), VELERO) is None:
        return  # of a backup that is over nothing is put right any more
    world.history.note("user", act)
    try:
        ACTS[act](world)
    except Refused as error:
        world.history.note("user", f"is refused: {error}")


def _change(patch: Tree) -> Callable[[World], object]:
    return lambda world: world.user.patch(CONFIG_MAPS, status_name("nightly"), patch, VELERO)


ACTS: dict[str, Callable[[World], object]] = {
    "deletes the record": lambda world: world.user.delete(CONFIG_MAPS, status_name("nightly"), VELERO),
    "empties the record": _change({"data": {DataKey.STATUS: ""}}),
    "writes nonsense": _change({"data": {DataKey.STATUS: '{"controlPlanes": [{"state": "GREAT"}]}'}}),
    "changes the words for people": _change({"data": {DataKey.STATE: "MOVED", "more": "x"}}),
    "adds a control plane": _change(
        {"data": {DataKey.STATUS: '{"controlPlanes": [{"namespace": "kube-system", "name": "x", "state": "WAITING"}]}'}}
    ),
}
"""What people may do to a record."""


def _reference(owner: Tree) -> Tree:
    return {"apiVersion": BACKUPS.api_version, "kind": BACKUPS.kind, "name": name_of(owner), "uid": uid_of(owner)}


def _now(world: World) -> str:
    return seconds(LoopClock(world.loop).now())
