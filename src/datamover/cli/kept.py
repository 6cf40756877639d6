"""`datamover state`: what a state directory keeps, how much room it takes, and freeing it without losing who the directory is.

WorldError    the directory cannot be used, or what is to be freed is not there; the message says what to do
"""

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from datamover.api.core import PERSISTENT_VOLUME_CLAIMS
from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from datamover.cli.outcome import plain
from datamover.cli.state import NODE, WorldError, forget_losses, held, read_identity, restore_for_reading
from datamover.cli.world import WorldOptions, start_world
from datamover.kube.client import Client
from datamover.kube.errors import NotFound
from datamover.local.node.kinds import VOLUMES, PersistentVolume
from datamover.local.node.names import ADOPTED
from datamover.local.node.snapshot_kinds import CONTENTS
from datamover.local.node.sweeping import SNAPSHOT_PREFIX, VOLUME_PREFIX
from datamover.local.node.walking import measure_tree, remove_tree
from datamover.local.store.apiserver import ApiServer
from datamover.local.transport import LocalTransport
from datamover.runtime.store import Key, key_of

_PATIENCE: Final = 60.0
"""Seconds that what is freed may take to go."""
_TICK: Final = 0.1


@dataclass(frozen=True, slots=True)
class Copy:
    """A directory of the node's. `size` is in bytes, `claim` None for what no object knows any more."""

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
    """What a state directory keeps. `others` are copies that belong to no DataMover: somebody's claim, or nobody's."""

    state: Path
    identity: str | None
    runs: tuple[KeptRun, ...]
    others: tuple[Copy, ...]


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
    return Inventory(state, identity, runs, tuple(copy for copy in copies if not copy.owner))


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
        known = str(key) if key is not None else (name if name in contents else None)
        found.append(Copy(name, known, owner, size))
    return found


def _claim_of(volume: PersistentVolume | None) -> Key | None:
    reference = volume.claim_ref if volume is not None else None
    if volume is None or reference is None or volume.metadata.annotation(ADOPTED) is not None:
        return None
    return Key(reference.namespace or "", reference.name or "")


def _list_directories(state: Path) -> list[str]:
    """Return the node's own directories: by their names, as the sweeper knows them."""
    try:
        names = [entry.name for entry in (state / NODE / "volumes").iterdir()]
    except OSError:
        return []
    return sorted(name for name in names if name.startswith((VOLUME_PREFIX, SNAPSHOT_PREFIX)))


def choose(inventory: Inventory, *, named: Collection[str], ended: bool) -> tuple[Key, ...]:
    """Return the DataMovers that are to be freed: those that are named, and with `ended` those whose run is over. Raises WorldError."""
    chosen = {run.key for run in inventory.runs if ended and run.phase in Phase.TERMINAL}
    for name in named:
        fitting = [run.key for run in inventory.runs if name in (str(run.key), run.key.name)]
        if not fitting:
            known = ", ".join(str(run.key) for run in inventory.runs) or "none"
            raise WorldError(f"there is no DataMover {name} in {inventory.state}: it keeps {known}")
        if len(fitting) > 1:
            raise WorldError(f"{name} is {' and '.join(map(str, fitting))}: give the namespace as well, as here")
        chosen.add(fitting[0])
    return tuple(sorted(chosen))


async def free(inventory: Inventory, keys: tuple[Key, ...], *, orphans: bool) -> None:
    """Remove DataMovers with what their runs left, and with `orphans` the directories that no object knows. The identity stays.

    Raises WorldError.
    """
    state = inventory.state
    if orphans:
        with held(state):
            for copy in inventory.others:
                if copy.claim is None:
                    await asyncio.to_thread(remove_tree, state / NODE / "volumes" / copy.name)
            forget_losses(state)
    if not keys:
        return
    going = {copy.name for run in inventory.runs if run.key in keys for copy in run.copies}
    async with start_world(WorldOptions(state=state, operator=None)) as world:
        for key in keys:
            mover = world.kept.get(key)
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
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def _copy_to_tree(copy: Copy) -> dict[str, Any]:
    return {"directory": copy.name, "claim": copy.claim, "bytes": copy.size}
