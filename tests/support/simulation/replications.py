"""A world with ReplicationSources and ReplicationDestinations, and what the laws ask of it when it rests."""

import base64
import json
from collections.abc import Callable, Coroutine
from typing import Any

from datamover.api.definitions import replication_crds
from datamover.api.volsync import names as words
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.cli.kinds import REPLICATION_KINDS
from datamover.cli.surroundings import AnyKind, MakeKind, Surroundings
from datamover.movers import rsync_ssh, rsync_tls
from datamover.movers.rsync_ssh import KeyPair
from datamover.reconcilers.replication.kind import ReplicationKind
from datamover.reconcilers.replication.needs import KeyMakers
from kubekit.words.core import NAMESPACE_METAS, PERSISTENT_VOLUME_CLAIMS, PODS, SECRETS
from kubekit.words.meta import Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from support.simulation.calls import Tree
from support.simulation.collector import DEPENDENTS
from support.simulation.conduct import Conduct
from support.simulation.replication_ledger import KINDS, ReplicationLedger
from support.simulation.services import Services, serve
from support.simulation.storage import claims_of
from support.simulation.trees import is_going, label_of, look, name_of, owners_of, uid_of
from support.simulation.world import CANARY, CLASS, DEFINITIONS, SOURCE, SPACE, World, simulate
from support.simulation.writes import condition_of

REPOSITORY = "repository"
KEYS = "keys"
TARGET = "restored"
_OPTIONS = {
    "restic": {"repository": REPOSITORY, "cacheStorageClassName": CLASS},
    "rsyncTLS": {"address": "elsewhere"},
    "rsync": {"address": "elsewhere"},
}


class Seeded:
    """Makes a kind whose keys follow from the seed."""

    def __init__(self, make: MakeKind, counted: list[int]) -> None:
        self.created_by = getattr(make, "created_by", AnyKind.created_by)
        self.children = getattr(make, "children", AnyKind.children)
        self._make = make
        self._counted = counted

    def __call__(self, around: Surroundings) -> AnyKind:
        kind = self._make(around)
        if isinstance(kind, ReplicationKind):
            kind._keys = KeyMakers(psk=self._psk, ssh=self._ssh, read=kind._keys.read)
        return kind

    def _psk(self) -> dict[str, bytes]:
        return dict(rsync_tls.secret_of(self._chance()))

    async def _ssh(self) -> dict[str, bytes]:
        pairs = [KeyPair(private=self._chance(), public=self._chance()) for _ in range(2)]
        return rsync_ssh.secrets_of(source=pairs[0], destination=pairs[1])

    def _chance(self) -> bytes:
        self._counted.append(1)
        return str(len(self._counted)).encode().rjust(rsync_tls.KEY_BYTES, b"0")


def replicate(
    story: Callable[[World], Coroutine[Any, Any, None]], *, seed: object, conduct: Conduct | None = None
) -> World:
    """Tell a history of replication."""
    counted: list[int] = []
    kinds = tuple(Seeded(make, counted) for make in REPLICATION_KINDS)

    async def told(world: World) -> None:
        world.ledger.contents = world.cluster.contents
        world.cluster.owners += KINDS
        serve(world.server)
        world.cluster.add(Services(world.cluster))
        await story(world)

    return simulate(told, seed=seed, conduct=conduct, kinds=kinds, ledger=ReplicationLedger)


def furnish(world: World) -> None:
    """Put in what a cluster has before the first object."""
    world.furnish(secret=False)
    for definition in replication_crds():
        world.user.create(DEFINITIONS, definition)
    if world.user.find(NAMESPACE_METAS, SPACE) is None:
        world.user.create(NAMESPACE_METAS, {"metadata": {"name": SPACE}})
    give_repository(world)


def give_repository(world: World) -> None:
    value = base64.b64encode(CANARY.encode()).decode()
    data = dict.fromkeys(("RESTIC_REPOSITORY", "RESTIC_PASSWORD"), value)
    world.user.create(SECRETS, {"metadata": {"name": REPOSITORY}, "data": data}, SPACE)
    world.history.note("user", f"creates Secret {REPOSITORY}")


def options_of(method: str, *, source: bool) -> Tree:
    """Return what a method needs besides a copy method. Destinations need no address."""
    options = dict(_OPTIONS[method])
    if not source:
        options.pop("address", None)
    return options


def give(world: World, resource: Resource[Any], name: str, method: str, options: Tree, **spec: Any) -> Tree:
    """Create an object of either kind. `options` are those of its method."""
    source = resource is REPLICATION_SOURCES
    wanted: Tree = {method: {**options_of(method, source=source), **options}, **spec}
    if source:
        wanted.setdefault("sourcePVC", SOURCE)
    world.history.note("user", f"creates {resource.kind} {name} {json.dumps(wanted)}")
    made = world.user.create(resource, {"metadata": {"name": name}, "spec": wanted}, SPACE)
    world.ledger.record(uid_of(made), resource)
    return made


def give_source(world: World, name: str = "up", method: str = "restic", copy: str = "Clone", **spec: Any) -> Tree:
    return give(world, REPLICATION_SOURCES, name, method, {"copyMethod": copy}, **spec)


def give_destination(
    world: World,
    name: str = "down",
    method: str = "restic",
    copy: str = "Snapshot",
    *,
    options: Tree | None = None,
    **spec: Any,
) -> Tree:
    wanted: Tree = {"copyMethod": copy, "capacity": "1Gi", "accessModes": ["ReadWriteOnce"], "storageClassName": CLASS}
    return give(world, REPLICATION_DESTINATIONS, name, method, {**wanted, **(options or {})}, **spec)


def every(world: World) -> list[Tree]:
    """Return all objects of both kinds."""
    return [obj for kind in KINDS for obj in world.user.all(kind)]


def status_of(world: World, resource: Resource[Any], name: str) -> Tree:
    return look(world.user.find(resource, name, SPACE), "status") or {}


def end_all(world: World, word: str = "end") -> None:
    """Let each object be synchronised once more, and rest then."""
    for kind in KINDS:
        for obj in world.user.all(kind):
            if not is_going(obj):
                world.history.note("user", f"ends {kind.kind} {name_of(obj)}")
                trigger = {"manual": word, "schedule": None}
                world.user.patch(kind, name_of(obj), {"spec": {"trigger": trigger, "paused": None}}, SPACE)


def check_rest(world: World, word: str = "end") -> None:
    """Note what is wrong with a world that rests: what was not synchronised, is left over, or lies about its image (laws L5, L10)."""
    objects = every(world)
    _check_children(world, {uid_of(obj): obj for obj in objects})
    for obj in objects:
        _check_object(world, obj, word)


def _check_children(world: World, living: dict[str, Tree]) -> None:
    pods = world.user.all(PODS)
    for resource in DEPENDENTS:
        for obj in world.user.all(resource):
            owned = [uid for uid in owners_of(obj) if uid in world.ledger.rounds]
            name = f"{resource.kind} {name_of(obj)}"
            if owned and not living.keys() & set(owned):
                world.history.breaks("L5", f"{name} is left over by what is deleted")
            if is_going(obj) and not any(name_of(obj) in claims_of(pod) for pod in pods):
                world.history.breaks("L5", f"{name} does not go")
            owner = living.get(label_of(obj, words.CLEANUP_LABEL))
            if owner is not None and resource is not PODS:
                world.history.breaks("L5", f"{name} is temporary, and there at rest")
            if resource is VOLUME_SNAPSHOTS and owned and owned[0] in living:
                latest = look(living[owned[0]], "status", "latestImage", "name")
                if latest != name_of(obj):
                    world.history.breaks("L5", f"{name} is not the latest image, which is {latest}")


def _check_object(world: World, obj: Tree, word: str) -> None:
    name, status = f"{obj['kind']} {name_of(obj)}", obj.get("status") or {}
    if is_going(obj):
        world.history.breaks("L5", f"{name} does not go")
        return
    if status.get("lastManualSync") != word or status.get("lastSyncStartTime"):
        world.history.breaks("L10", f"{name} rests without being synchronised: {status}")
        return
    told, stalled = condition_of(status, words.Synchronizing.TYPE), condition_of(status, "Stalled")
    if told.get("reason") != words.Synchronizing.WAITING_FOR_MANUAL or stalled.get("status") != "False":
        world.history.breaks("L10", f"{name} is synchronised and says {told} {stalled}")
    image = status.get("latestImage")
    if obj["kind"] == REPLICATION_DESTINATIONS.kind:
        resource = VOLUME_SNAPSHOTS if look(image, "kind") == VOLUME_SNAPSHOTS.kind else PERSISTENT_VOLUME_CLAIMS
        found = world.user.find(resource, look(image, "name") or "", SPACE)
        if found is None or (resource is VOLUME_SNAPSHOTS and not look(found, "status", "readyToUse")):
            world.history.breaks("image", f"{name}: the latest image {image} is not there, or not ready")
    _check_keys(world, obj)


def _check_keys(world: World, obj: Tree) -> None:
    """The Secrets that were generated for an object hold the same keys."""
    known: dict[str, str] = {}
    for secret in world.user.all(SECRETS):
        if uid_of(obj) not in owners_of(secret):
            continue
        for key, value in secret["data"].items():
            if known.setdefault(key, value) != value:
                world.history.breaks("keys", f"{name_of(secret)} holds another key {key} than the others")
