"""`datamover run`: apply manifests to the embedded world, wait, show progress, explain what went wrong."""

import asyncio
import re
import signal
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from datamover.api.core import PERSISTENT_VOLUME_CLAIMS
from datamover.api.meta import Manifest, PartialObject, Resource
from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from datamover.cli.display import Display
from datamover.cli.manifests import ManifestError, Source, data_movers
from datamover.cli.operator import Options
from datamover.cli.outcome import Exit, exit_code
from datamover.cli.patience import DEFAULT_PATIENCE, Patience
from datamover.cli.volumes import Volume, find_clash
from datamover.cli.world import World, WorldOptions, adopt_volume, ensure_namespace, start_world
from datamover.kube.client import Client
from datamover.kube.errors import ApiError, NotFound
from datamover.kube.requests import APPLY
from datamover.runtime.store import Key, key_of
from datamover.volumes.binding import is_bound

_MANAGER = "datamover-run"
_TICK = 0.2
_BINDING = 10.0  # seconds that a volume may take to be bound before its DataMover comes
_REMOVAL = 30.0  # seconds that the DataMover of the run before may take to go

_PATCH_OBJECT = re.compile(r"^failed to create typed patch object \([^)]*\): ")
_UNSTRUCTURED = re.compile(r"&?value\.valueUnstructured\{Value:(.*)\}")
_UNDECLARED = ": field not declared in schema"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `datamover run` was asked. `timeout` in seconds; None waits as long as it takes. `patience` as in `Patience`."""

    sources: tuple[Source, ...]
    volumes: tuple[Volume, ...]
    namespace: str
    state: Path
    timeout: float | None = None
    patience: float = DEFAULT_PATIENCE
    progress_interval: float = 1.0
    job_backoff: float = 2.0


@dataclass(frozen=True, slots=True)
class RunResult:
    """How it ended, with the DataMovers as they are."""

    code: Exit
    movers: tuple[DataMover, ...]


def check_request(sources: tuple[Source, ...], volumes: tuple[Volume, ...], *, state: Path) -> None:
    """Say what is wrong with a request before anything is started. Raises ManifestError."""
    if not data_movers(sources):
        raise ManifestError("no DataMover among the objects, so there is nothing to run")
    clash = find_clash(volumes, state)
    if clash is not None:
        raise ManifestError(clash)


async def run(
    options: RunOptions, *, display: Display, on_end: Callable[[World], Awaitable[None]] | None = None
) -> RunResult:
    """Run to the end. Raises ManifestError, WorldError and StartError; an interrupt ends it in order.

    `on_end` sees the world before it is taken down.
    """
    world_options = WorldOptions(
        state=options.state,
        operator=Options(progress_interval=options.progress_interval),
        job_backoff=options.job_backoff,
    )
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    try:
        async with start_world(world_options) as world:
            await _adopt_volumes(world, options)
            wanted = await _apply(world.client, options)
            result = await _wait(world, wanted, options, display=display, interrupted=interrupted)
            if on_end is not None:
                await on_end(world)
            return result
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _adopt_volumes(world: World, options: RunOptions) -> None:
    namespaces = {options.namespace} | {
        source.manifest["metadata"].get("namespace", "") for source in data_movers(options.sources)
    }
    for namespace in sorted(filter(None, namespaces)):
        await ensure_namespace(world.client, namespace)
        for volume in options.volumes:
            await adopt_volume(world, volume, namespace=namespace)
            await _wait_bound(world, namespace, volume.name)


async def _wait_bound(world: World, namespace: str, name: str) -> None:
    """A volume that is bound before its DataMover comes is not complained of; one that does not get bound is."""
    end = time.monotonic() + _BINDING
    while time.monotonic() < end:
        claim = await world.client.get(PERSISTENT_VOLUME_CLAIMS, name, namespace=namespace)
        if is_bound(claim):
            return
        world.check()
        await asyncio.sleep(_TICK / 4)


async def _apply(client: Client, options: RunOptions) -> tuple[Key, ...]:
    """Apply everything; a DataMover whose run is over is created anew, as one would with kubectl.

    Everything is rehearsed first: where one object is refused, none is applied and nothing runs.
    """
    wanted: list[Key] = []
    known = [(source, await _find_resource(client, source.manifest, source.place)) for source in options.sources]
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
                await _remove_finished(client, source)
                wanted.append(Key(meta["namespace"], meta["name"]))
            await client.apply(resource, source.manifest, field_manager=_MANAGER)
    return tuple(wanted)


@contextmanager
def _placed(source: Source) -> Generator[None]:
    """Say where what the server refuses was read."""
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


async def _remove_finished(client: Client, source: Source) -> None:
    meta = source.manifest["metadata"]
    try:
        found = await client.get(DATA_MOVERS, meta["name"], namespace=meta["namespace"])
    except NotFound:
        return
    if not (found.status and found.status.phase in Phase.TERMINAL):
        return
    await client.delete(DATA_MOVERS, meta["name"], namespace=meta["namespace"], uid=found.metadata.uid)
    end = time.monotonic() + _REMOVAL
    while time.monotonic() < end:
        try:
            found = await client.get(DATA_MOVERS, meta["name"], namespace=meta["namespace"])
        except NotFound:
            return
        await asyncio.sleep(_TICK)
    held = ", ".join(found.metadata.finalizers or ()) or "nothing known"
    raise ManifestError(
        f"{source.place}: the DataMover {meta['name']} of the run before does not go away (held by {held}): "
        "whoever set that must let it go; until then give this one another name"
    )


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


async def _wait(
    world: World, wanted: tuple[Key, ...], options: RunOptions, *, display: Display, interrupted: asyncio.Event
) -> RunResult:
    operator = world.operator
    if operator is None:
        raise RuntimeError("datamover run needs the operator")
    store = operator.caches.movers.store
    wanted_keys = frozenset(wanted)

    def follow(old: DataMover | None, new: DataMover | None) -> None:
        """Show each phase as it comes, however short it is."""
        if new is not None and old is not None and key_of(new.metadata) in wanted_keys:
            display.update((new,))

    begun = time.monotonic()
    patience = Patience(limit=options.patience)
    with display:
        operator.caches.movers.add_handler(follow)
        while True:
            world.check()
            found = {key: store.get(key) for key in wanted}
            movers = tuple(mover for mover in found.values() if mover is not None)
            display.update(movers)
            now = time.monotonic()
            if patience.is_over(found, now=now):
                return RunResult(exit_code(movers), movers)
            if options.timeout is not None and now - begun > options.timeout:
                return RunResult(exit_code(movers, timed_out=True), movers)
            if interrupted.is_set():
                return RunResult(Exit.INTERRUPTED, movers)
            try:
                async with asyncio.timeout(_TICK):
                    await interrupted.wait()
            except TimeoutError:
                continue
