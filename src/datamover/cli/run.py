"""`datamover run`: apply manifests to the embedded world, wait, show progress, explain what went wrong."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DataMover
from datamover.cli import synchronisations
from datamover.cli.applying import Wanted, apply, name_in
from datamover.cli.display import Display
from datamover.cli.embedded.losses import find_copy_losses
from datamover.cli.embedded.restic import ResticMissing, provide_restic
from datamover.cli.embedded.world import EmbeddedWorld, WorldOptions, adopt_volume, ensure_namespace, start_world
from datamover.cli.manifests import ManifestError, Source, find_claim_size, runnables
from datamover.cli.options import Options
from datamover.cli.outcome import Exit, exit_code, show
from datamover.cli.patience import DEFAULT_PATIENCE, Patience
from datamover.cli.resuming import DEFAULT_MAX_COPY_AGE
from datamover.cli.runnables import Name, Runnable, name_of
from datamover.cli.volumes import Volume, find_clash
from datamover.reconcilers.replication.order import status_of
from datamover.volumes.binding import is_bound
from kubekit.runtime.clock import SystemClock
from kubekit.runtime.store import version_of
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS

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


def _be_silent(line: str) -> None:
    del line


def check_request(sources: tuple[Source, ...], volumes: tuple[Volume, ...], *, state: Path) -> None:
    """Say what is wrong with a request before anything is started. Raises ManifestError."""
    if not runnables(sources):
        found = ", ".join(dict.fromkeys(source.manifest["kind"] for source in sources)) or "nothing"
        raise ManifestError(
            f"no DataMover, ReplicationSource or ReplicationDestination among the objects ({found}), so there is nothing to run: "
            "give the file of one with -f, and check how its kind is spelt"
        )
    clash = find_clash(volumes, state)
    if clash is not None:
        raise ManifestError(clash)


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
    if isinstance(kept, DataMover):
        return kept.status is not None and kept.status.phase in Phase.TERMINAL
    return kept.status == obj.status and synchronisations.is_over(kept)


async def _work(
    world: EmbeddedWorld,
    options: RunOptions,
    *,
    display: Display,
    say: Callable[[str], None],
    on_begin: Callable[[], None],
) -> RunResult:
    await _adopt_volumes(world, options)
    wanted = await apply(
        world.client,
        options.sources,
        kept=world.kept,
        max_copy_age=options.max_copy_age,
        clock=SystemClock(),
        say=say,
    )
    on_begin()
    result = await _wait(world, wanted, options, display=display)
    for loss in await find_copy_losses(world.client):
        say(loss)
    return result


@dataclass(slots=True)
class _Watched:
    """What is waited for, as it was last seen. What has ended stays as it was then: a source without a trigger begins again at once."""

    wanted: Mapping[Name, Wanted]
    seen: dict[Name, Runnable] = field(default_factory=dict[Name, Runnable])

    def see(self, obj: Runnable) -> Runnable | None:
        """Return what is to be shown of a version of an object; None of one that is not waited for, or that is older than what was applied."""
        name = name_of(obj)
        wanted = self.wanted.get(name)
        if wanted is None or obj.metadata.uid != wanted.uid:
            return None
        last = self.seen.get(name)
        if last is not None and (show(last).ended or version_of(last.metadata) > version_of(obj.metadata)):
            return last
        if not isinstance(obj, DataMover) and not _is_of_this_run(obj, wanted):
            return None
        self.seen[name] = obj
        return obj


def _is_of_this_run(obj: Runnable, wanted: Wanted) -> bool:
    if isinstance(obj, DataMover):
        return True
    last = status_of(obj).last_sync_time
    gone_on = wanted.ended_before is not None and last == wanted.ended_before
    return version_of(obj.metadata) >= wanted.version and not (
        gone_on and synchronisations.phase_of(obj) == Phase.COMPLETED
    )


async def _wait(
    world: EmbeddedWorld, wanted: Mapping[Name, Wanted], options: RunOptions, *, display: Display
) -> RunResult:
    """Wait for these objects. Others, such as those of earlier runs that a cache holds a moment longer, are neither shown nor returned."""
    watched = _Watched(wanted)

    def follow(old: Runnable | None, new: Runnable | None) -> None:
        """Show each phase, even a very short one."""
        if new is not None and old is not None and (shown := watched.see(new)) is not None:
            display.update((shown,))

    begun = time.monotonic()
    patience = Patience(limit=options.patience)
    caches = {name: world.objects(name.resource) for name in wanted}
    with display:
        for cache in {id(cache): cache for cache in caches.values()}.values():
            cache.add_handler(follow)
        while True:
            world.check()
            found: dict[Name, Runnable | None] = {}
            for name, cache in caches.items():
                obj = cache.store.get(name.key)
                found[name] = watched.see(obj) if obj is not None else None
            movers = tuple(mover for mover in found.values() if mover is not None)
            display.update(movers)
            now = time.monotonic()
            if patience.is_over(found, now=now):
                return RunResult(exit_code(movers), movers)
            if options.timeout is not None and now - begun > options.timeout:
                return RunResult(exit_code(movers, timed_out=True), movers)
            await asyncio.sleep(_TICK)
