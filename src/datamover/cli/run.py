"""`datamover run`: apply manifests to the embedded world, wait, show progress, explain what went wrong."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from datamover.api.cdi import names as cdi
from datamover.api.cdi.config import CDI_CONFIGS
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DataMover
from datamover.api.v1alpha1.restore import DataMoverRestore
from datamover.cli import fillings, synchronisations
from datamover.cli.applying import Checked, apply, check, name_in
from datamover.cli.display import Display
from datamover.cli.embedded.losses import find_copy_losses
from datamover.cli.embedded.restic import ResticMissing, provide_restic
from datamover.cli.embedded.world import (
    EmbeddedWorld,
    WorldOptions,
    adopt_volume,
    ensure_namespace,
    find_directory,
    start_world,
)
from datamover.cli.exits import Exit
from datamover.cli.manifests import ManifestError, Source, find_claim_size, is_runnable, runnables
from datamover.cli.options import Options
from datamover.cli.outcome import exit_code
from datamover.cli.patience import DEFAULT_PATIENCE, Patience
from datamover.cli.resuming import DEFAULT_MAX_COPY_AGE
from datamover.cli.runnables import Name, Runnable, name_of
from datamover.cli.sequence import find_waits
from datamover.cli.upload_files import UploadFile
from datamover.cli.volumes import Volume
from datamover.cli.watched import Watched
from datamover.volumes.binding import is_bound
from datamover.volumes.collection_time import Lifetime, find_lifetime
from kubekit.client.errors import NotFound
from kubekit.runtime.clock import SystemClock
from kubekit.words.core import NAMESPACE_METAS, PERSISTENT_VOLUME_CLAIMS

_TICK = 0.2
_BINDING = 10.0  # seconds that a volume may take to be bound before its DataMover comes


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `datamover run` was asked. `timeout` in seconds; None waits as long as it takes. `patience` as in `Patience`.

    A run that was interrupted goes on from its copy of the volume unless that is older than `max_copy_age`.
    """

    sources: tuple[Source, ...]
    volumes: tuple[Volume, ...]
    namespace: str
    state: Path
    uploads: tuple[UploadFile, ...] = ()
    timeout: float | None = None
    patience: float = DEFAULT_PATIENCE
    max_copy_age: timedelta = DEFAULT_MAX_COPY_AGE
    progress_interval: float = 1.0
    job_backoff: float = 2.0

    def with_sources(self, sources: tuple[Source, ...]) -> "RunOptions":
        """Return the same for these objects."""
        return replace(self, sources=sources)


@dataclass(frozen=True, slots=True)
class RunResult:
    """How it ended, with the objects as they are."""

    code: Exit
    movers: tuple[Runnable, ...]
    disks: Mapping[Name, Path] = field(default_factory=dict[Name, Path])
    """Where the disks of DataVolumes are."""


def _be_silent(line: str) -> None:
    del line


async def run(
    options: RunOptions,
    *,
    display: Display,
    say: Callable[[str], None] = _be_silent,
    on_begin: Callable[[], None] = lambda: None,
    on_end: Callable[[EmbeddedWorld], Awaitable[None]] | None = None,
) -> RunResult:
    """Run to the end. Raises ManifestError, WorldError and StartError; an interrupt ends it in order, whatever it is at.

    `say` gets a line for each DataMover that goes on with an earlier run, and for each copy that is not complete. `on_begin` is
    called when everything has been accepted; `on_end` sees the world before it is taken down.
    """
    world_options = WorldOptions(
        state=options.state,
        operator=Options(progress_interval=options.progress_interval),
        job_backoff=options.job_backoff,
        restic=await _find_restic(options.sources),
        uploads={upload.name: upload.path for upload in options.uploads},
    )
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        loop.add_signal_handler(number, interrupted.set)
    try:
        async with start_world(world_options) as world:
            result = await _unless(interrupted, _work(world, options, display=display, say=say, on_begin=on_begin))
            if result is None:
                result = RunResult(Exit.INTERRUPTED, _asked_for(world, options))
            elif on_end is not None:
                await on_end(world)
            return result
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


async def _find_restic(sources: tuple[Source, ...]) -> Path | None:
    """Return the restic that these objects need; it is fetched where there is none. Raises ManifestError."""
    needy = [source for source in runnables(sources) if "restic" in (source.manifest.get("spec") or {})]
    if not needy:
        return None
    try:
        return await asyncio.to_thread(provide_restic, os.environ)
    except ResticMissing as error:
        raise ManifestError(f"{needy[0].place}: {name_in(needy[0])} is moved with restic: {error}") from error


async def _adopt_volumes(world: EmbeddedWorld, options: RunOptions) -> None:
    namespaces = {options.namespace} | {
        source.manifest["metadata"].get("namespace", "") for source in runnables(options.sources)
    }
    for namespace in sorted(filter(None, namespaces)):
        await ensure_namespace(world.client, namespace)
        for volume in options.volumes:
            size = find_claim_size(options.sources, volume.name, namespace=namespace)
            await adopt_volume(world, volume, namespace=namespace, size=size)
            await _wait_bound(world, namespace, volume.name)


async def _wait_bound(world: EmbeddedWorld, namespace: str, name: str) -> None:
    """Wait until the volume is bound, so that its DataMover does not begin with a warning. One that stays unbound is reported by the operator."""
    end = time.monotonic() + _BINDING
    while time.monotonic() < end:
        claim = await world.client.get(PERSISTENT_VOLUME_CLAIMS, name, namespace=namespace)
        if is_bound(claim):
            return
        world.check()
        await asyncio.sleep(_TICK / 4)


async def _unless(interrupted: asyncio.Event, work: Coroutine[Any, Any, RunResult]) -> RunResult | None:
    """Return the result of the work, or None when the interrupt comes first. The work has ended in both cases."""
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(interrupted.wait())
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        return None
    finally:
        for task in (working, waiting):
            task.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


def _asked_for(world: EmbeddedWorld, options: RunOptions) -> tuple[Runnable, ...]:
    """Return those of the objects that exist, without runs that were already over before this command."""
    names = [name_in(source) for source in runnables(options.sources)]
    found = {name: world.objects(name.resource).store.get(name.key) for name in names}
    return tuple(obj for name, obj in found.items() if obj is not None and not _is_old(obj, world.kept.get(name)))


def _is_old(obj: Runnable, kept: Runnable | None) -> bool:
    """Tell whether an object is as an earlier command has left it, with nothing under way."""
    if kept is None or kept.metadata.uid != obj.metadata.uid:
        return False
    if isinstance(kept, DataVolume):
        return fillings.phase_of(kept) in Phase.TERMINAL
    if isinstance(kept, DataMover | DataMoverRestore):
        return kept.status is not None and kept.status.phase in Phase.TERMINAL
    return (
        not isinstance(obj, DataMover | DataMoverRestore | DataVolume)
        and kept.status == obj.status
        and synchronisations.is_over(kept)
    )


class _Work:
    """The objects of one command: some are applied at once, others when the DataVolume whose claim they copy is filled."""

    def __init__(
        self, world: EmbeddedWorld, options: RunOptions, *, watched: Watched, say: Callable[[str], None]
    ) -> None:
        self._world = world
        self._options = options
        self._watched = watched
        self._say = say
        manifests = {name_in(source): source.manifest for source in runnables(options.sources)}
        self._waits = find_waits(manifests)
        self._left: dict[Name, Checked] = {}

    async def begin(self) -> None:
        """Check everything, and apply what does not wait. Raises ManifestError."""
        checked = await check(self._world.client, self._options.sources)
        for each in checked:
            if is_runnable(each.source.manifest) and (name := name_in(each.source)) in self._waits:
                self._left[name] = each
        await self._apply(each for each in checked if each not in self._left.values())
        self._watched.lifetimes = await _find_lifetimes(self._world, self._options.sources)

    async def go_on(self) -> bool:
        """Apply what has waited for a DataVolume that is filled now. Return whether there was any."""
        ready = [name for name in self._left if self._watched.is_filled(self._waits[name])]
        await self._apply([self._left.pop(name) for name in ready])
        return bool(ready)

    async def _apply(self, checked: Iterable[Checked]) -> None:
        wanted = await apply(
            self._world.client,
            checked,
            kept=self._world.kept,
            max_copy_age=self._options.max_copy_age,
            clock=SystemClock(),
            say=self._say,
        )
        self._watched.want(wanted)

    def tell_left(self) -> None:
        """Say what was not begun."""
        for name in self._left:
            self._say(f"{name} was not begun: it copies the claim of {self._waits[name]}, which is not filled")


async def _find_lifetimes(world: EmbeddedWorld, sources: tuple[Source, ...]) -> dict[str, Lifetime]:
    """Return by namespace how long completed DataVolumes stay."""
    wanted = {
        name_in(source).key.namespace for source in runnables(sources) if source.manifest["kind"] == DATA_VOLUMES.kind
    }
    if not wanted:
        return {}
    try:
        config = await world.client.get(CDI_CONFIGS, cdi.CONFIG_NAME)
    except NotFound:
        config = None
    found: dict[str, Lifetime] = {}
    for name in wanted:
        namespace = await world.client.get(NAMESPACE_METAS, name)
        found[name] = find_lifetime(label=namespace.metadata.label(cdi.TTL_LABEL), own=None, config=config)
    return found


async def _work(
    world: EmbeddedWorld,
    options: RunOptions,
    *,
    display: Display,
    say: Callable[[str], None],
    on_begin: Callable[[], None],
) -> RunResult:
    await _adopt_volumes(world, options)
    watched = Watched()
    work = _Work(world, options, watched=watched, say=say)
    _remember_gone(world, watched, options.sources)
    await work.begin()
    on_begin()
    result = await _wait(world, watched, options, display=display, go_on=work.go_on)
    work.tell_left()
    for loss in await find_copy_losses(world.client):
        say(loss)
    return replace(result, disks=await _find_disks(world, result.movers))


def _remember_gone(world: EmbeddedWorld, watched: Watched, sources: tuple[Source, ...]) -> None:
    """A DataVolume of an earlier run may be collected as soon as the world is there, before it is waited for."""
    if not any(source.manifest["kind"] == DATA_VOLUMES.kind for source in sources):
        return

    def miss(old: Runnable | None, new: Runnable | None) -> None:
        if old is not None and new is None:
            watched.miss(old)

    world.objects(DATA_VOLUMES).add_handler(miss)


async def _find_disks(world: EmbeddedWorld, objects: Iterable[Runnable]) -> dict[Name, Path]:
    """Return where the disks of DataVolumes that are filled are."""
    found: dict[Name, Path] = {}
    for obj in objects:
        if isinstance(obj, DataVolume) and fillings.is_filled(obj):
            name = name_of(obj)
            place = await find_directory(world, name.key)
            if place is not None:
                found[name] = place / fillings.file_of(obj)
    return found


async def _stand_still() -> bool:
    return False


async def _wait(
    world: EmbeddedWorld,
    watched: Watched,
    options: RunOptions,
    *,
    display: Display,
    go_on: Callable[[], Awaitable[bool]] = _stand_still,
) -> RunResult:
    """Wait for these objects. Others, such as those of earlier runs that a cache holds a moment longer, are neither shown nor returned."""

    def follow(old: Runnable | None, new: Runnable | None) -> None:
        """Show each phase, even a very short one."""
        if old is None:
            return
        shown = watched.see(new) if new is not None else watched.miss(old)
        if shown is not None:
            display.update((shown,))

    begun = time.monotonic()
    patience = Patience(limit=options.patience)
    followed: set[int] = set()
    with display:
        while True:
            world.check()
            caches = {name: world.objects(name.resource) for name in watched.wanted}
            for cache in caches.values():
                if id(cache) not in followed:
                    followed.add(id(cache))
                    cache.add_handler(follow)
            found = {name: watched.find(name, cache.store.get(name.key)) for name, cache in caches.items()}
            movers = tuple(mover for mover in found.values() if mover is not None)
            display.update(movers)
            if await go_on():
                continue
            now = time.monotonic()
            if patience.is_over(found, now=now):
                return RunResult(exit_code(movers), movers)
            if options.timeout is not None and now - begun > options.timeout:
                return RunResult(exit_code(movers, timed_out=True), movers)
            await asyncio.sleep(_TICK)
