"""How a history ended: what of it is the same in every run, and what the laws ask of any end."""

import re
from collections.abc import Iterable
from typing import Any

from datamover.api.names import Phase
from datamover.api.reasons import CANCELLED
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from datamover.api.waits import PLANNED
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from support.simulation.calls import Tree
from support.simulation.storage import claims_of
from support.simulation.trees import is_going, look, name_of, owners_of, uid_of
from support.simulation.world import World

_TIMES = (
    (re.compile(r"\b\d{4}-\d{2}-\d{2}-\d{6}\b"), "FOLDER"),
    (re.compile(r"\b\d{14}-[0-9a-f]{12}\b"), "RUN"),
    (re.compile(r"\b\d{14}(-[0-9a-f]{5})?\b"), "SECOND"),  # who was first gets the name without a suffix
    (re.compile(r"\bverify-(.*)-[g-z]{5}\b"), r"verify-\1-POD"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "UID"),
)
_PASSING = {"lastTransitionTime", "phaseStarted", "started", "finished", "uid"}
_CHILDREN = (PERSISTENT_VOLUME_CLAIMS, VOLUME_SNAPSHOTS, JOBS, PODS)


def ending(world: World) -> dict[str, Any]:
    """Return the end of a history without times, versions and what follows from them."""
    return {
        "movers": {name_of(mover): _timeless(mover.get("status")) for mover in world.user.all(DATA_MOVERS)},
        "objects": sorted(
            _normal(f"{resource.kind} {name_of(obj)} {look(obj, 'status', 'phase') or ''}".strip())
            for resource in (*_CHILDREN, PERSISTENT_VOLUMES)
            for obj in world.user.all(resource)
        ),
        "movements": sorted((mover.succeeded, bool(mover.folder)) for mover in world.destination.movers),
        "folders": len({mover.folder for mover in world.destination.movers}),
    }


def check_rest(world: World) -> None:
    """Note what is wrong with a world that has come to rest: silent waits, leftovers, untold failures (laws L5, L10)."""
    movers = world.user.all(DATA_MOVERS)
    living = {uid_of(mover) for mover in movers}
    pods = world.user.all(PODS)
    for resource in _CHILDREN:
        for obj in world.user.all(resource):
            orphaned = owners_of(obj) and not living.intersection(owners_of(obj)) and resource is not PODS
            held = any(name_of(obj) in claims_of(pod) for pod in pods)  # a person deleted what a finished Pod mounts
            if orphaned or (is_going(obj) and not held):
                world.history.breaks("L5", f"{resource.kind} {name_of(obj)} is left over")
    for mover in movers:
        _check_mover(world, mover)


def _check_mover(world: World, mover: Tree) -> None:
    status, name = mover.get("status") or {}, name_of(mover)
    ready = _condition(status, "Ready")
    phase = status.get("phase") or Phase.NONE
    stalled = _condition(status, "Stalled").get("status") == "True"
    if is_going(mover):
        world.history.breaks("L5", f"{name} does not go")
    elif phase == Phase.COMPLETED:
        if ready.get("status") != "True":
            world.history.breaks("L10", f"{name} is Completed and not Ready: {ready}")
    elif not stalled and ready.get("reason") != "Suspended":
        world.history.breaks("L10", f"{name} rests in phase {phase or 'none'} without a reason: {ready}")


def check_telling(world: World) -> None:
    """Every obstacle has an event and counts as an error (law L10). Only for histories in which no operator was killed."""
    counted = set(_errors(world))
    given_up = sum(_samples(world, "datamover_events_recorded_total", outcome=end) for end in ("failed", "dropped"))
    for uid, record in world.ledger.records.items():
        for phase, reason in record.told:
            if (uid, reason) not in world.ledger.events and not given_up:
                world.history.breaks("L10", f"no event tells {reason}")
            if (reason, phase) not in counted and reason not in {*PLANNED, CANCELLED}:
                world.history.breaks("L10", f"no metric counts {reason} in phase {phase or 'none'}: {counted}")


def _errors(world: World) -> Iterable[tuple[str, str]]:
    for replica in world.replicas:
        for family in replica.registry.collect():
            if family.name == "datamover_errors":
                for sample in family.samples:
                    if sample.name.endswith("_total") and sample.value:
                        yield sample.labels["error_type"], sample.labels["phase"]


def _samples(world: World, name: str, **labels: str) -> float:
    return sum(replica.registry.get_sample_value(name, labels) or 0.0 for replica in world.replicas)


def _condition(status: Tree, kind: str) -> dict[str, Any]:
    return next((found for found in status.get("conditions") or () if found["type"] == kind), {})


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(found) for key, found in value.items() if key not in _PASSING}
    if isinstance(value, list):
        return [_timeless(found) for found in value]
    return _normal(value) if isinstance(value, str) else value


def _normal(text: str) -> str:
    for pattern, word in _TIMES:
        text = pattern.sub(word, text)
    return text
