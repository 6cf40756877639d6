"""`datamover local up`: the embedded world with an HTTP face and a kubeconfig."""

import asyncio
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.cli.embedded.restic import ResticMissing, find_restic, kept_program, provide_restic
from datamover.cli.embedded.state import WorldError
from datamover.cli.embedded.world import (
    LOCAL_MOVER_IMAGE,
    EmbeddedWorld,
    WorldOptions,
    adopt_volume,
    ensure_namespace,
    start_world,
)
from datamover.cli.options import Options
from datamover.cli.runnables import Replication
from datamover.cli.volumes import Volume, find_clash
from kubekit.runtime.signals import stop_on_signals
from localkube.http_server import serve


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What `datamover local up` was asked."""

    state: Path
    port: int
    volumes: tuple[Volume, ...]
    namespace: str
    with_operator: bool


async def serve_world(options: UpOptions, *, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. Raises WorldError, also when a part of the world stops before."""
    clash = find_clash(options.volumes, options.state)
    if clash is not None:
        raise WorldError(clash)
    stop = stop_on_signals()
    operator = Options(progress_interval=2.0) if options.with_operator else None
    restic = await asyncio.to_thread(look_for_restic, say)
    async with start_world(WorldOptions(state=options.state, operator=operator, restic=restic)) as world:
        if options.with_operator:
            fetch_when_needed(world, say=say)
        if options.volumes:
            await ensure_namespace(world.client, options.namespace)
        for volume in options.volumes:
            await adopt_volume(world, volume, namespace=options.namespace)
        try:
            face = await serve(world.server, port=options.port)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise WorldError(f"port {options.port} cannot be listened on: {why}: choose another --port") from error
        kubeconfig = options.state / "kubeconfig"
        try:
            _write_private(kubeconfig, yaml.safe_dump(face.kubeconfig("datamover-local"), sort_keys=False))
            say(f"state: {options.state}")
            say(f"the embedded world listens on {face.url}")
            say(f"export KUBECONFIG={shlex.quote(str(kubeconfig))}")
            if not options.with_operator:
                say(f"datamover operator --kubeconfig {shlex.quote(str(kubeconfig))} --mover-image {LOCAL_MOVER_IMAGE}")
            say("Ctrl-C stops it")
            await world.serve(stop)
        finally:
            kubeconfig.unlink(missing_ok=True)
            await face.close()


def look_for_restic(say: Callable[[str], None]) -> Path | None:
    """Return the restic that is here, or where one would be that is fetched. Nothing is fetched."""
    try:
        return find_restic(os.environ) or kept_program(os.environ)
    except ResticMissing as error:
        say(f"restic: {error}")
        return None


def fetch_when_needed(world: EmbeddedWorld, *, say: Callable[[str], None]) -> None:
    """Fetch restic when the first object that needs it appears, where there is none. A mover that is quicker fails, and is tried again."""
    fetching: list[asyncio.Task[None]] = []

    async def fetch() -> None:
        try:
            await asyncio.to_thread(provide_restic, os.environ)
        except ResticMissing as error:
            say(f"restic: {error}")

    def look(old: Replication | None, new: Replication | None) -> None:
        del old
        if new is not None and new.spec is not None and new.spec.restic is not None and not fetching:
            fetching.append(asyncio.create_task(fetch(), name="restic"))

    for resource in (REPLICATION_SOURCES, REPLICATION_DESTINATIONS):
        world.objects(resource).add_handler(look)


def _write_private(path: Path, text: str) -> None:
    """The kubeconfig holds a token: nobody else may read it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
