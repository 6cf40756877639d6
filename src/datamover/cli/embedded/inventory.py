"""`datamover state`: what a state directory keeps, how much room it takes, and freeing it without losing the directory's identity.

WorldError    the directory cannot be used, or what is to be freed is not there; the message says what to do
"""

import asyncio
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from datamover.cli.embedded.state import NODE, WorldError, forget_losses, held, read_identity, restore_for_reading
from datamover.cli.embedded.world import EmbeddedWorld, WorldOptions, start_world
from datamover.cli.outcome import plain
from datamover.cli.runnables import Name
from kubekit.client.client import Client
from kubekit.client.errors import NotFound
from kubekit.runtime.store import Key, key_of
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from localkube.node.adoption import list_adopted
from localkube.node.kinds import VOLUMES, PersistentVolume
from localkube.node.names import ADOPTED
from localkube.node.orphans import SNAPSHOT_PREFIX, VOLUME_PREFIX
from localkube.node.snapshot_kinds import CONTENTS
from localkube.node.walking import measure_tree, remove_tree
from localkube.store.apiserver import ApiServer
from localkube.transport import LocalTransport

_PATIENCE: Final = 60.0
"""Seconds that what is freed may take to go."""
_TICK: Final = 0.1


@dataclass(frozen=True, slots=True)
class Copy:
    """One directory of the node. `size` is in bytes; `claim` is None when no object refers to it any more."""

    name: str
    claim: str | None
    owner: str
    size: int


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A DataMover, with the copies that its run has left."""

    key: Key
    phase: str
    started: str
    copies: tuple[Copy, ...]

    @property
    def size(self) -> int:
        """Bytes of its copies."""
        return sum(copy.size for copy in self.copies)


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a state directory keeps. `others` are copies that belong to no DataMover; some still have a claim."""

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
    movers = await _list_movers(client)
    owners = {mover.metadata.uid: key_of(mover.metadata) for mover in movers}
    copies = await _list_copies(client, state, owners)
    runs = tuple(
        KeptRun(
            key=(key := key_of(mover.metadata)),
            phase=(mover.status.phase if mover.status else None) or "Pending",
            started=(mover.status.run.started if mover.status and mover.status.run else None) or "",
            copies=tuple(copy for copy in copies if copy.owner == str(key)),
        )
        for mover in movers
    )
    adopted = {claim: volume.directory for claim, volume in (await list_adopted(client)).items()}
    return Inventory(state, identity, runs, tuple(copy for copy in copies if not copy.owner), adopted)


async def _list_movers(client: Client) -> list[DataMover]:
    try:
        return list(await client.list(DATA_MOVERS))
    except NotFound:
        return []  # a directory without objects: nothing was defined yet


async def _list_copies(client: Client, state: Path, owners: dict[str, Key]) -> list[Copy]:
    volumes = {volume.metadata.name: volume for volume in await client.list(VOLUMES)}
    claims = {key_of(claim.metadata): claim for claim in await client.list(PERSISTENT_VOLUME_CLAIMS)}
    try:
        contents = {content.metadata.name for content in await client.list(CONTENTS)}
    except NotFound:
        contents = set[str]()
    found: list[Copy] = []
    for name in await asyncio.to_thread(_list_directories, state):
        size = await asyncio.to_thread(measure_tree, state / NODE / "volumes" / name)
        key = _claim_of(volumes.get(name))
        claim = claims.get(key) if key is not None else None
        uids = [owner.uid for owner in (claim.metadata.owner_references if claim else None) or ()]
        owner = next((str(owners[uid]) for uid in uids if uid in owners), "")
        is_held = key is not None and not _is_released(volumes[name], claim=claim)
        known = str(key) if is_held else (name if name in contents else None)
        found.append(Copy(name, known, owner, size))
    return found


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


def choose(inventory: Inventory, *, named: Collection[str], ended: bool) -> tuple[Key, ...]:
    """Return the DataMovers that are to be freed: those that are named, and with `ended` those whose run is over. Raises WorldError."""
    chosen = {run.key for run in inventory.runs if ended and run.phase in Phase.TERMINAL}
    known = [run.key for run in inventory.runs]
    chosen |= {_find(name, known, what="DataMover", state=inventory.state) for name in named}
    return tuple(sorted(chosen))


def choose_volumes(inventory: Inventory, *, named: Collection[str]) -> tuple[Key, ...]:
    """Return the claims whose directories are to be let go. Raises WorldError."""
    return tuple(sorted({_find(name, inventory.volumes, what="volume", state=inventory.state) for name in named}))


def _find(name: str, known: Collection[Key], *, what: str, state: Path) -> Key:
    fitting = [key for key in known if name in (str(key), key.name)]
    if not fitting:
        raise WorldError(f"there is no {what} {name} in {state}: it keeps {', '.join(map(str, known)) or 'none'}")
    if len(fitting) > 1:
        raise WorldError(f"{name} is {' and '.join(map(str, fitting))}: give the namespace as well, as here")
    return fitting[0]


async def free(inventory: Inventory, keys: tuple[Key, ...], *, orphans: bool, volumes: tuple[Key, ...] = ()) -> None:
    """Remove DataMovers with what their runs left, and with `orphans` the directories that no object knows. The identity stays.

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
    if not keys and not volumes and not nobodys:
        return
    going = {copy.name for run in inventory.runs if run.key in keys for copy in run.copies}
    async with start_world(WorldOptions(state=state, operator=None)) as world:
        for key in keys:
            mover = world.kept.get(Name(DATA_MOVERS.kind, key))
            if mover is None:
                continue
            try:
                await world.client.delete(DATA_MOVERS, key.name, namespace=key.namespace, uid=mover.metadata.uid)
            except NotFound:
                continue
        end = time.monotonic() + _PATIENCE
        while left := sorted(going & set(await asyncio.to_thread(_list_directories, state))):
            world.check()
            if time.monotonic() > end:
                raise WorldError(
                    f"{', '.join(left)} in {state / NODE / 'volumes'} did not go: its class retains it, or something holds its claim; "
                    "datamover local up and kubectl describe pvc show what"
                )
            await asyncio.sleep(_TICK)
        for name in nobodys:  # a class that retains leaves the object as well
            with suppress(NotFound):
                await world.client.delete(VOLUMES, name)
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
        "dataMovers": [
            {
                "name": run.key.name,
                "namespace": run.key.namespace,
                "phase": run.phase,
                "started": run.started,
                "bytes": run.size,
                "copies": [_copy_to_tree(copy) for copy in run.copies],
            }
            for run in inventory.runs
        ],
        "others": [_copy_to_tree(copy) for copy in inventory.others],
        "volumes": [
            {"name": claim.name, "namespace": claim.namespace, "directory": plain(directory)}
            for claim, directory in sorted(inventory.volumes.items())
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def _copy_to_tree(copy: Copy) -> dict[str, Any]:
    return {"directory": copy.name, "claim": copy.claim, "bytes": copy.size}
