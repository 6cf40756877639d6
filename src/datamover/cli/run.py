"""`datamover run`: apply manifests to the embedded world, wait, show progress, explain what went wrong."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DataMover
from datamover.cli.applying import apply
from datamover.cli.display import Display
from datamover.cli.embedded.losses import find_copy_losses
from datamover.cli.embedded.world import EmbeddedWorld, WorldOptions, adopt_volume, ensure_namespace, start_world
from datamover.cli.manifests import ManifestError, Source, data_movers
from datamover.cli.options import Options
from datamover.cli.outcome import Exit, exit_code
from datamover.cli.patience import DEFAULT_PATIENCE, Patience
from datamover.cli.resuming import DEFAULT_MAX_COPY_AGE
from datamover.cli.volumes import Volume, find_clash
from datamover.volumes.binding import is_bound
from kubekit.runtime.clock import SystemClock
from kubekit.runtime.store import Key, key_of
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
    """How it ended, with the DataMovers as they are."""

    code: Exit
    movers: tuple[DataMover, ...]


def _be_silent(line: str) -> None:
    del line


def check_request(sources: tuple[Source, ...], volumes: tuple[Volume, ...], *, state: Path) -> None:
    """Say what is wrong with a request before anything is started. Raises ManifestError."""
    if not data_movers(sources):
        found = ", ".join(dict.fromkeys(source.manifest["kind"] for source in sources)) or "nothing"
        raise ManifestError(
            f"no DataMover among the objects ({found}), so there is nothing to run: give the file of one with -f, and check how its kind is spelt"
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


async def _adopt_volumes(world: EmbeddedWorld, options: RunOptions) -> None:
    namespaces = {options.namespace} | {
        source.manifest["metadata"].get("namespace", "") for source in data_movers(options.sources)
    }
    for namespace in sorted(filter(None, namespaces)):
        await ensure_namespace(world.client, namespace)
        for volume in options.volumes:
            await adopt_volume(world, volume, namespace=namespace)
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


def _asked_for(world: EmbeddedWorld, options: RunOptions) -> tuple[DataMover, ...]:
    """Return those of the DataMovers that exist, without runs that were already over before this command."""
    store = world.movers.store
    keys = [
        Key(source.manifest["metadata"]["namespace"], source.manifest["metadata"]["name"])
        for source in data_movers(options.sources)
    ]
    over = {
        mover.metadata.uid for mover in world.kept.values() if mover.status and mover.status.phase in Phase.TERMINAL
    }
    return tuple(mover for key in keys if (mover := store.get(key)) is not None and mover.metadata.uid not in over)


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
    before = frozenset(mover.metadata.uid for mover in world.kept.values()) - frozenset(wanted.values())
    result = await _wait(world, tuple(wanted), options, display=display, before=before)
    for loss in await find_copy_losses(world.client):
        say(loss)
    return result


async def _wait(
    world: EmbeddedWorld, wanted: tuple[Key, ...], options: RunOptions, *, display: Display, before: frozenset[str]
) -> RunResult:
    """Wait for these DataMovers. Those with the UIDs `before` belong to earlier runs: the cache may hold them a moment longer than the
    server, so they are neither shown nor returned.
    """
    movers_seen = world.movers
    store = movers_seen.store

    def follow(old: DataMover | None, new: DataMover | None) -> None:
        """Show each phase, even a very short one."""
        if new is not None and old is not None and key_of(new.metadata) in wanted and new.metadata.uid not in before:
            display.update((new,))

    begun = time.monotonic()
    patience = Patience(limit=options.patience)
    with display:
        movers_seen.add_handler(follow)
        while True:
            world.check()
            seen = {key: store.get(key) for key in wanted}
            found = {
                key: mover if mover is not None and mover.metadata.uid not in before else None
                for key, mover in seen.items()
            }
            movers = tuple(mover for mover in found.values() if mover is not None)
            display.update(movers)
            now = time.monotonic()
            if patience.is_over(found, now=now):
                return RunResult(exit_code(movers), movers)
            if options.timeout is not None and now - begun > options.timeout:
                return RunResult(exit_code(movers, timed_out=True), movers)
            await asyncio.sleep(_TICK)
