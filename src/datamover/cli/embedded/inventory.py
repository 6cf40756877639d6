"""`datamover state`: what a state directory keeps, how much room it takes, and freeing it without losing the directory's identity.

WorldError    the directory cannot be used, or what is to be freed is not there; the message says what to do
"""

import asyncio
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DataMover
from datamover.api.v1alpha1.restore import DataMoverRestore
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.cli import fillings, synchronisations
from datamover.cli.embedded.state import NODE, WorldError, forget_losses, held, read_identity, restore_for_reading
from datamover.cli.embedded.world import EmbeddedWorld, WorldOptions, start_world
from datamover.cli.outcome import LISTS, plain
from datamover.cli.runnables import RUNNABLES, Name, Runnable, name_of
from datamover.reconcilers.replication.order import status_of
from datamover.volumes.handover import read_record
from kubekit.client.client import Client
from kubekit.client.errors import NotFound
from kubekit.runtime.store import Key, key_of
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from kubekit.words.meta import HasMeta, Resource
from localkube.node.adoption import list_adopted
from localkube.node.kinds import VOLUMES, PersistentVolume
from localkube.node.names import ADOPTED
from localkube.node.orphans import SNAPSHOT_PREFIX, VOLUME_PREFIX
from localkube.node.snapshot_kinds import CONTENTS, SNAPSHOTS
from localkube.node.walking import measure_tree, remove_tree
from localkube.store.apiserver import ApiServer
from localkube.transport import LocalTransport

T = TypeVar("T")

_PATIENCE: Final = 60.0
"""Seconds that what is freed may take to go."""
_TICK: Final = 0.1
COLLECTED: Final = "Collected"
"""How a DataVolume is shown that is not there any more, while its disk is."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One directory of the node. `size` is in bytes; `claim` is None when no object refers to it any more."""

    name: str
    claim: str | None
    owner: str
    size: int


@dataclass(frozen=True, slots=True)
class KeptRun:
    """An object that was run, with what its run has left: copies, caches, what was received, and the disks of DataVolumes.

    `started` is of the last run. Of one of replication that is over it is when that ended, for its status has nothing else. A DataVolume that
    was collected is not there any more, and its disk is: `claim` is the claim then.
    """

    name: Name
    phase: str
    started: str
    copies: tuple[Copy, ...]
    claim: PersistentVolumeClaim | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing is lost with what it keeps. What a destination has received is what it is for, and so is a disk that was filled."""
        return self.phase in Phase.TERMINAL and self.name.kind not in (REPLICATION_DESTINATIONS.kind, DATA_VOLUMES.kind)

    @property
    def size(self) -> int:
        """Bytes of its copies."""
        return sum(copy.size for copy in self.copies)


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a state directory keeps. `others` are copies that belong to none of these objects; some still have a claim."""

    state: Path
    identity: str | None
    runs: tuple[KeptRun, ...]
    others: tuple[Copy, ...]
    volumes: Mapping[Key, str]
    """The directories that claims stand for (`--volume`)."""


async def take_inventory(state: Path) -> Inventory:
    """Look at a directory, also while another process uses it. Nothing is written. Raises WorldError."""
    if not await asyncio.to_thread(state.is_dir):
        raise WorldError(f"{state} is not there: nothing was run with it yet")
    identity = read_identity(state)
    server = ApiServer()
    restore_for_reading(server, state)
    client = Client(LocalTransport(server))
    found = [obj for resource in RUNNABLES.values() for obj in await _list_objects(client, resource)]
    copies = await _list_copies(client, state, {obj.metadata.uid: str(name_of(obj)) for obj in found})
    runs = tuple(_describe(obj, copies) for obj in found)
    collected = await _list_collected(client, {run.name for run in runs}, copies)
    disks = {copy.name for run in collected for copy in run.copies}
    adopted = {claim: volume.directory for claim, volume in (await list_adopted(client)).items()}
    others = tuple(copy for copy in copies if not copy.owner and copy.name not in disks)
    return Inventory(state, identity, (*runs, *collected), others, adopted)


async def _list_objects(client: Client, resource: Resource[Any]) -> list[Runnable]:
    try:
        return list(await client.list(resource))
    except NotFound:
        return []  # a directory without objects: nothing was defined yet


async def _list_collected(client: Client, there: Collection[Name], copies: Collection[Copy]) -> list[KeptRun]:
    """Return DataVolumes that were collected, as their claims tell of them, with their disks."""
    found: list[KeptRun] = []
    for claim in await client.list(PERSISTENT_VOLUME_CLAIMS):
        record, key = read_record(claim.metadata), key_of(claim.metadata)
        if record is None or record.returned:
            continue
        name = Name(DATA_VOLUMES.kind, Key(key.namespace, record.name))
        if name in there:
            continue
        disks = tuple(copy for copy in copies if copy.claim == str(key) and not copy.owner)
        found.append(KeptRun(name, COLLECTED, record.collected, disks, claim))
    return found


def _describe(obj: Runnable, copies: Collection[Copy]) -> KeptRun:
    name = name_of(obj)
    left = tuple(copy for copy in copies if copy.owner == str(name))
    if isinstance(obj, DataVolume):
        return KeptRun(name, fillings.phase_of(obj), obj.metadata.creation_timestamp or "", left)
    if not isinstance(obj, DataMover | DataMoverRestore):
        status = status_of(obj)
        return KeptRun(
            name, synchronisations.phase_of(obj), status.last_sync_start_time or status.last_sync_time or "", left
        )
    started = obj.status.run.started if obj.status is not None and obj.status.run is not None else None
    return KeptRun(name, (obj.status and obj.status.phase) or "Pending", started or "", left)


async def _list_copies(client: Client, state: Path, owners: Mapping[str, str]) -> list[Copy]:
    volumes = {volume.metadata.name: volume for volume in await client.list(VOLUMES)}
    claims = {key_of(claim.metadata): claim for claim in await client.list(PERSISTENT_VOLUME_CLAIMS)}
    contents = await _list_contents(client)
    found: list[Copy] = []
    for name in await asyncio.to_thread(_list_directories, state):
        size = await asyncio.to_thread(measure_tree, state / NODE / "volumes" / name)
        key = _claim_of(volumes.get(name))
        claim = claims.get(key) if key is not None else None
        of = claim if claim is not None else contents.get(name)
        uids = [owner.uid for owner in (of.metadata.owner_references if of is not None else None) or ()]
        owner = next((owners[uid] for uid in uids if uid in owners), "")
        is_held = key is not None and not _is_released(volumes[name], claim=claim)
        known = str(key) if is_held else (name if name in contents else None)
        found.append(Copy(name, known, owner, size))
    return found


async def _list_contents(client: Client) -> dict[str, HasMeta | None]:
    """Return the contents of snapshots by name, each with the snapshot that it is of."""
    try:
        snapshots = {each.metadata.uid: each for each in await client.list(SNAPSHOTS)}
        contents = await client.list(CONTENTS)
    except NotFound:
        return {}
    return {each.metadata.name: snapshots.get(each.spec.volume_snapshot_ref.uid or "") for each in contents}


def _claim_of(volume: PersistentVolume | None) -> Key | None:
    reference = volume.claim_ref if volume is not None else None
    if volume is None or reference is None or volume.metadata.annotation(ADOPTED) is not None:
        return None
    return Key(reference.namespace or "", reference.name or "")


def _is_released(volume: PersistentVolume, *, claim: Any) -> bool:
    """Tell whether the claim is gone and the class retains the volume. Then only a person can remove it."""
    return claim is None and volume.phase == "Released"


def _list_directories(state: Path) -> list[str]:
    """Return the names of the node's own directories. The prefixes are those by which the node finds orphans."""
    try:
        names = [entry.name for entry in (state / NODE / "volumes").iterdir()]
    except OSError:
        return []
    return sorted(name for name in names if name.startswith((VOLUME_PREFIX, SNAPSHOT_PREFIX)))


def choose(inventory: Inventory, *, named: Collection[str], ended: bool) -> tuple[Name, ...]:
    """Return the objects that are to be freed: those that are named, and with `ended` those whose run is over. Raises WorldError."""
    chosen = {run.name for run in inventory.runs if ended and run.is_over}
    known = {run.name: _spell(run.name) for run in inventory.runs}
    chosen |= {_find(name, known, what="object", more="kind and namespace", state=inventory.state) for name in named}
    return tuple(sorted(chosen))


def _spell(name: Name) -> tuple[str, ...]:
    """Return how an object may be called, the whole name first."""
    key = name.key
    return f"{name.kind}/{key}", f"{name.kind}/{key.name}", str(key), key.name


def choose_volumes(inventory: Inventory, *, named: Collection[str]) -> tuple[Key, ...]:
    """Return the claims whose directories are to be let go. Raises WorldError."""
    known = {claim: (str(claim), claim.name) for claim in inventory.volumes}
    return tuple(sorted({_find(name, known, what="volume", more="namespace", state=inventory.state) for name in named}))


def _find(name: str, known: Mapping[T, tuple[str, ...]], *, what: str, more: str, state: Path) -> T:
    fitting = [each for each, spellings in known.items() if name.lower() in map(str.lower, spellings)]
    if not fitting:
        kept = ", ".join(known[each][0] for each in known) or "none"
        raise WorldError(f"there is no {what} {name} in {state}: it keeps {kept}")
    if len(fitting) > 1:
        several = " and ".join(known[each][0] for each in fitting)
        raise WorldError(f"{name} is {several}: give the {more} as well, as here")
    return fitting[0]


async def free(inventory: Inventory, names: tuple[Name, ...], *, orphans: bool, volumes: tuple[Key, ...] = ()) -> None:
    """Remove objects with what their runs left, and with `orphans` the directories that no object knows. The identity stays.

    `volumes` are claims that stand for somebody's own directories: the claims go, the directories are not touched (law L1).
    Raises WorldError.
    """
    state = inventory.state
    nobodys = [copy.name for copy in inventory.others if orphans and copy.claim is None]
    if nobodys:
        with held(state):
            for name in nobodys:
                await asyncio.to_thread(remove_tree, state / NODE / "volumes" / name)
            forget_losses(state)
    if not names and not volumes and not nobodys:
        return
    going = {copy.name for run in inventory.runs if run.name in names for copy in run.copies}
    claims = {run.name: run.claim for run in inventory.runs if run.claim is not None}
    async with start_world(WorldOptions(state=state, operator=None)) as world:
        for name in names:
            obj, key = world.kept.get(name), name.key
            if obj is None and (claim := claims.get(name)) is not None:
                with suppress(NotFound):
                    await world.client.delete(
                        PERSISTENT_VOLUME_CLAIMS, claim.metadata.name, namespace=key.namespace, uid=claim.metadata.uid
                    )
            if obj is None:
                continue
            with suppress(NotFound):
                await world.client.delete(name.resource, key.name, namespace=key.namespace, uid=obj.metadata.uid)
        end = time.monotonic() + _PATIENCE
        while left := sorted(going & set(await asyncio.to_thread(_list_directories, state))):
            world.check()
            if time.monotonic() > end:
                raise WorldError(
                    f"{', '.join(left)} in {state / NODE / 'volumes'} did not go: its class retains it, or something holds its claim; "
                    "datamover local up and kubectl describe pvc show what"
                )
            await asyncio.sleep(_TICK)
        for nobody in nobodys:  # a class that retains leaves the object as well
            with suppress(NotFound):
                await world.client.delete(VOLUMES, nobody)
        await _let_go(world, volumes)


async def _let_go(world: EmbeddedWorld, volumes: tuple[Key, ...]) -> None:
    adopted = await list_adopted(world.client)
    going = {claim: adopted[claim] for claim in volumes if claim in adopted}
    for claim, volume in going.items():
        with suppress(NotFound):
            await world.client.delete(PERSISTENT_VOLUME_CLAIMS, claim.name, namespace=claim.namespace)
        with suppress(NotFound):
            await world.client.delete(VOLUMES, volume.metadata.name, uid=volume.metadata.uid)
    end = time.monotonic() + _PATIENCE
    while left := sorted(going.keys() & (await list_adopted(world.client)).keys()):
        world.check()
        if time.monotonic() > end:
            raise WorldError(
                f"the volume {', '.join(map(str, left))} is still in use by a run that is under way: let that end, or free it first with --free"
            )
        await asyncio.sleep(_TICK)


def inventory_to_json(inventory: Inventory) -> bytes:
    """Return an inventory as a JSON document; sizes in bytes."""
    document: dict[str, Any] = {
        "state": plain(str(inventory.state)),
        "identity": inventory.identity,
        **{
            where: [_run_to_tree(run) for run in inventory.runs if run.name.kind == kind]
            for kind, where in LISTS.items()
        },
        "others": [_copy_to_tree(copy) for copy in inventory.others],
        "volumes": [
            {"name": claim.name, "namespace": claim.namespace, "directory": plain(directory)}
            for claim, directory in sorted(inventory.volumes.items())
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def _run_to_tree(run: KeptRun) -> dict[str, Any]:
    return {
        "name": run.name.key.name,
        "namespace": run.name.key.namespace,
        "phase": run.phase,
        "started": run.started,
        "bytes": run.size,
        "copies": [_copy_to_tree(copy) for copy in run.copies],
    }


def _copy_to_tree(copy: Copy) -> dict[str, Any]:
    return {"directory": copy.name, "claim": copy.claim, "bytes": copy.size}
