"""Applying manifests to the embedded world: all or nothing, and each DataMover as a new run or as the one that was interrupted.

ManifestError    an object cannot be used; the message says where it was read and what to do
"""

import asyncio
import re
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Final

from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from datamover.cli.embedded.world import ensure_namespace
from datamover.cli.manifests import ManifestError, Source
from datamover.cli.resuming import GoOn, Kept, decide
from kubekit.client.client import Client
from kubekit.client.errors import ApiError, Conflict, NotFound
from kubekit.client.requests import APPLY
from kubekit.runtime.clock import Clock
from kubekit.runtime.store import Key
from kubekit.words.meta import Manifest, PartialObject, Resource

_MANAGER: Final = "datamover-run"
_TICK: Final = 0.2
_REMOVAL: Final = 30.0  # seconds that the DataMover of the run before may take to go

_PATCH_OBJECT: Final = re.compile(r"^failed to create typed patch object \([^)]*\): ")
_UNSTRUCTURED: Final = re.compile(r"&?value\.valueUnstructured\{Value:(.*)\}")
_UNDECLARED: Final = ": field not declared in schema"


async def apply(
    client: Client,
    sources: tuple[Source, ...],
    *,
    kept: Mapping[Key, DataMover],
    max_copy_age: timedelta,
    clock: Clock,
    say: Callable[[str], None],
) -> dict[Key, str]:
    """Apply everything, and return the DataMovers with their UIDs. `kept` are those that there were before this world began.

    A DataMover whose run was over, or whose copy of the volume is too old, is created anew, as one would with kubectl; one that was
    interrupted goes on. Everything is rehearsed first: where one object is refused, none is applied and nothing runs.
    """
    wanted: dict[Key, str] = {}
    known = [(source, await _find_resource(client, source.manifest, source.place)) for source in sources]
    for source, resource in known:
        meta = source.manifest["metadata"]
        with _placed(source):
            if resource.namespaced:
                await ensure_namespace(client, meta["namespace"])
            else:
                meta.pop("namespace", None)
            await _rehearse(client, resource, source.manifest)
    for source, resource in known:
        meta = source.manifest["metadata"]
        with _placed(source):
            if source.manifest["kind"] == DATA_MOVERS.kind:
                key = Key(meta["namespace"], meta["name"])
                found = await _find(client, source)
                decision = decide(Kept(before=kept.get(key), now=found), now=clock.now(), max_copy_age=max_copy_age)
                if decision.words:
                    say(f"{key}: {decision.words}")
                if found is not None and not isinstance(decision, GoOn):
                    await _remove(client, source, found)
            applied = await client.apply(resource, source.manifest, field_manager=_MANAGER)
            if source.manifest["kind"] == DATA_MOVERS.kind:
                wanted[Key(meta["namespace"], meta["name"])] = applied.metadata.uid
    return wanted


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


async def _rehearse(client: Client, resource: Resource[PartialObject], manifest: Manifest) -> None:
    """Let the server check an object without keeping it. Raises ApiError."""
    meta = manifest["metadata"]
    await client.request_json(
        "PATCH",
        resource.path(namespace=meta.get("namespace"), name=meta["name"]),
        query=(("fieldManager", _MANAGER), ("force", "true"), ("dryRun", "All")),
        body=manifest,
        content_type=APPLY,
    )


async def _remove(client: Client, source: Source, found: DataMover) -> None:
    """Remove the DataMover of the run before, and wait until it is gone. Raises ManifestError when it stays."""
    meta = source.manifest["metadata"]
    with suppress(NotFound, Conflict):
        await client.delete(DATA_MOVERS, meta["name"], namespace=meta["namespace"], uid=found.metadata.uid)
    end = time.monotonic() + _REMOVAL
    while time.monotonic() < end:
        now = await _find(client, source)
        if now is None or now.metadata.uid != found.metadata.uid:
            return
        found = now
        await asyncio.sleep(_TICK)
    held = ", ".join(found.metadata.finalizers or ()) or "nothing known"
    raise ManifestError(
        f"{source.place}: the DataMover {meta['name']} of the run before does not go away (held by {held}): "
        "whoever set that must let it go; until then give this one another name"
    )


async def _find(client: Client, source: Source) -> DataMover | None:
    meta = source.manifest["metadata"]
    try:
        return await client.get(DATA_MOVERS, meta["name"], namespace=meta["namespace"])
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
        f"{place}: the embedded world has no {kind} of {version}: it knows what a DataMover needs "
        "(Secret, ConfigMap, PersistentVolumeClaim, StorageClass and the like); check the spelling, or leave the object out"
    )
