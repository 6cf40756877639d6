"""`datamover local up`: the embedded world with an HTTP face and a kubeconfig."""

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from datamover.cli.embedded.state import WorldError
from datamover.cli.embedded.world import LOCAL_MOVER_IMAGE, WorldOptions, adopt_volume, ensure_namespace, start_world
from datamover.cli.options import Options
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
    async with start_world(WorldOptions(state=options.state, operator=operator)) as world:
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


def _write_private(path: Path, text: str) -> None:
    """The kubeconfig holds a token: nobody else may read it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
