"""Applying manifests to the embedded world: all or nothing, and each object that is run as a new run or as the one that was interrupted.

ManifestError    an object cannot be used; the message says where it was read and what to do
"""

import asyncio
import re
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import msgspec

from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from datamover.api.v1alpha1.datamover import DataMover
from datamover.api.v1alpha1.restore import DataMoverRestore
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.cli import fillings
from datamover.cli.embedded.world import ensure_namespace
from datamover.cli.manifests import ManifestError, Source, is_runnable
from datamover.cli.resuming import Begin, GoOn, Kept, decide
from datamover.cli.runnables import Name, Runnable
from datamover.cli.synchronisations import find_fault, status_of
from kubekit.client.client import Client
from kubekit.client.errors import ApiError, Conflict, NotFound
from kubekit.client.requests import APPLY
from kubekit.runtime.clock import Clock
from kubekit.runtime.store import Key, version_of
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import Manifest, PartialObject, Resource

_MANAGER: Final = "datamover-run"
_TICK: Final = 0.2
_REMOVAL: Final = 30.0  # seconds that the DataMover of the run before may take to go

_PATCH_OBJECT: Final = re.compile(r"^failed to create typed patch object \([^)]*\): ")
_UNSTRUCTURED: Final = re.compile(r"&?value\.valueUnstructured\{Value:(.*)\}")
_UNDECLARED: Final = ": field not declared in schema"


_SYNCHRONISED: Final = ("lastSyncTime", "lastSyncStartTime", "lastManualSync", "latestMoverStatus")
"""What a status says of the last synchronisation. Without it there was none, so that one is due."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is waited for: an object by its UID, from the version that was applied on. Caches may hold an older one a moment longer.

    `ended_before` is when the synchronisation before the one that goes on has ended. `recalled` is a DataVolume that was collected in an earlier
    run: it is not there, and does not come back. `is_stale`: what that version says is of an earlier run.
    """

    uid: str
    version: int
    ended_before: str | None = None
    recalled: DataVolume | None = None
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    """An object that the server would take, and its kind as it is served."""

    source: Source
    resource: Resource[PartialObject]


async def check(client: Client, sources: tuple[Source, ...]) -> tuple[Checked, ...]:
    """Rehearse everything: where one object is refused, none is applied and nothing runs. Namespaces are made. Raises ManifestError."""
    known = tuple([Checked(source, await _find_resource(client, source.manifest, source.place)) for source in sources])
    for each in known:
        meta = each.source.manifest["metadata"]
        with _placed(each.source):
            if each.resource.namespaced:
                await ensure_namespace(client, meta["namespace"])
            else:
                meta.pop("namespace", None)
            await _rehearse(client, each.resource, each.source)
    return known


async def apply(
    client: Client,
    checked: Iterable[Checked],
    *,
    kept: Mapping[Name, Runnable],
    max_copy_age: timedelta,
    clock: Clock,
    say: Callable[[str], None],
) -> dict[Name, Wanted]:
    """Apply everything, and return what is to be waited for. `kept` are the objects that there were before this world began.

    A DataMover or DataMoverRestore whose run was over, or whose copy of the volume is too old, is created anew, as one would with kubectl; one that was
    interrupted goes on. A ReplicationSource or -Destination is never created anew, for its cache, its volume and its images would go
    with it: its status is made to say that it was never synchronised, and so it is due, whatever its trigger. A DataVolume is filled once, and
    one that was collected is not made again.
    """
    wanted: dict[Name, Wanted] = {}
    for each in checked:
        source, resource = each.source, each.resource
        with _placed(source):
            if is_runnable(source.manifest):
                name = name_in(source)
                found = await _find(client, name)
                recalled = await _recall(client, source, say=say) if found is None else None
                if recalled is not None:
                    wanted[name] = Wanted(recalled.metadata.uid, 0, recalled=recalled)
                    continue
                decision = decide(Kept(before=kept.get(name), now=found), now=clock.now(), max_copy_age=max_copy_age)
                if decision.words:
                    say(f"{name}: {decision.words}")
                wanted[name] = await _apply_runnable(client, source, found, decision)
            else:
                await client.apply(resource, source.manifest, field_manager=_MANAGER)
    return wanted


def name_in(source: Source) -> Name:
    """Return the name of an object that is run."""
    meta = source.manifest["metadata"]
    return Name(source.manifest["kind"], Key(meta["namespace"], meta["name"]))


async def _apply_runnable(client: Client, source: Source, found: Runnable | None, decision: GoOn | Begin) -> Wanted:
    """Apply an object so that it runs as was decided."""
    name, begins = name_in(source), isinstance(decision, Begin)
    if isinstance(found, DataMover | DataMoverRestore) and begins:
        await _remove(client, source, found)
    applied: Runnable = await client.apply(name.resource, source.manifest, field_manager=_MANAGER)
    if isinstance(found, DataVolume) and fillings.has_failed(found):
        await _forget_worker(client, found)
        return Wanted(applied.metadata.uid, version_of(applied.metadata), is_stale=True)
    if found is None or isinstance(found, DataMover | DataMoverRestore | DataVolume):
        return Wanted(applied.metadata.uid, version_of(applied.metadata))
    if not begins:
        return Wanted(applied.metadata.uid, version_of(applied.metadata), status_of(found).last_sync_time)
    reset = await client.patch(
        name.resource,
        name.key.name,
        {"status": dict.fromkeys(_SYNCHRONISED)},
        namespace=name.key.namespace,
        field_manager=_MANAGER,
        subresource="status",
    )
    return Wanted(reset.metadata.uid, version_of(reset.metadata))


@contextmanager
def _placed(source: Source) -> Generator[None]:
    """Add to what the server refuses the place where the object was read."""
    try:
        yield
    except ApiError as error:
        raise ManifestError(f"{source.place}: {_in_short(error.message)}") from error


def _in_short(message: str) -> str:
    """Return the server's words about an object that does not fit its schema without those about its own workings."""
    text = _UNSTRUCTURED.sub(r"\1", _PATCH_OBJECT.sub("", message))
    if text.endswith(_UNDECLARED):
        return f"{text.removesuffix(_UNDECLARED).removeprefix('.')} is not a field that there is: check the spelling"
    return text


async def _rehearse(client: Client, resource: Resource[PartialObject], source: Source) -> None:
    """Let the server check an object without keeping it. Raises ApiError, and ManifestError for one that cannot be run here."""
    manifest, meta = source.manifest, source.manifest["metadata"]
    checked = await client.request_json(
        "PATCH",
        resource.path(namespace=meta.get("namespace"), name=meta["name"]),
        query=(("fieldManager", _MANAGER), ("force", "true"), ("dryRun", "All")),
        body=manifest,
        content_type=APPLY,
    )
    fault = await _find_fault(client, source, checked)
    if fault is not None:
        raise ManifestError(f"{source.place}: {manifest['kind']} {meta['name']}: {fault}")


async def _find_fault(client: Client, source: Source, checked: Manifest) -> str | None:
    """Return why an object that the server would take cannot be run here."""
    if source.manifest["kind"] in (REPLICATION_SOURCES.kind, REPLICATION_DESTINATIONS.kind):
        return find_fault(msgspec.convert(checked, name_in(source).resource.type))
    if source.manifest["kind"] == DATA_VOLUMES.kind:
        found = await _find(client, name_in(source))
        before = found if isinstance(found, DataVolume) else None
        return fillings.find_fault(msgspec.convert(checked, DataVolume), before=before)
    return None


async def _recall(client: Client, source: Source, *, say: Callable[[str], None]) -> DataVolume | None:
    """Return what is to be remembered of a DataVolume that an earlier run has filled and collected, and say so."""
    if source.manifest["kind"] != DATA_VOLUMES.kind:
        return None
    name = name_in(source)
    try:
        claim = await client.get(PERSISTENT_VOLUME_CLAIMS, name.key.name, namespace=name.key.namespace)
    except NotFound:
        return None
    recalled = fillings.recall(source.manifest, claim)
    if recalled is not None:
        say(f"{name}: {fillings.tell_recalled(claim)}")
    return recalled


async def _forget_worker(client: Client, volume: DataVolume) -> None:
    """Remove the worker that has failed, so that another one is made at once and not after the pause."""
    meta = volume.metadata
    claims = await client.list(PERSISTENT_VOLUME_CLAIMS, namespace=meta.namespace)
    uids = {claim.metadata.uid for claim in claims if claim.metadata.owned_by(meta.uid)}
    for job in await client.list(JOBS, namespace=meta.namespace):
        if any(job.metadata.owned_by(uid) for uid in uids):
            with suppress(NotFound):
                await client.delete(JOBS, job.metadata.name, namespace=meta.namespace, uid=job.metadata.uid)


async def _remove(client: Client, source: Source, found: Runnable) -> None:
    """Remove the object of the run before, and wait until it is gone. Raises ManifestError when it stays."""
    meta = source.manifest["metadata"]
    with suppress(NotFound, Conflict):
        await client.delete(name_in(source).resource, meta["name"], namespace=meta["namespace"], uid=found.metadata.uid)
    end = time.monotonic() + _REMOVAL
    while time.monotonic() < end:
        now = await _find(client, name_in(source))
        if now is None or now.metadata.uid != found.metadata.uid:
            return
        found = now
        await asyncio.sleep(_TICK)
    held = ", ".join(found.metadata.finalizers or ()) or "nothing known"
    raise ManifestError(
        f"{source.place}: the {source.manifest['kind']} {meta['name']} of the run before does not go away (held by {held}): "
        "whoever set that must let it go; until then give this one another name"
    )


async def _find(client: Client, name: Name) -> Runnable | None:
    try:
        return await client.get(name.resource, name.key.name, namespace=name.key.namespace)
    except NotFound:
        return None


async def _find_resource(client: Client, manifest: Manifest, place: str) -> Resource[PartialObject]:
    """Return the kind as the embedded world serves it. Raises ManifestError for one that it does not know."""
    version, kind = manifest["apiVersion"], manifest["kind"]
    group, _, short = version.rpartition("/")
    path = f"/apis/{version}" if group else f"/api/{version}"
    try:
        listed: Manifest = await client.request_json("GET", path)
    except ApiError:
        listed = {}
    entries: list[Manifest] = listed.get("resources", [])
    for entry in entries:
        if entry["kind"] == kind and "/" not in entry["name"]:
            return Resource(group, short, entry["name"], kind, PartialObject, namespaced=entry["namespaced"])
    raise ManifestError(
        f"{place}: the embedded world has no {kind} of {version}: it knows what a mover needs "
        "(Secret, ConfigMap, PersistentVolumeClaim, StorageClass and the like); check the spelling, or leave the object out"
    )
