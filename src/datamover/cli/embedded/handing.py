"""Handing files of the user to the workers that fill DataVolumes with the source `upload`.

On a cluster an upload comes to its worker, behind a Service. Here nobody could send one while the command runs, and there are no Services: the
worker fetches the file on loopback.

Guarantees: nothing listens where there is nothing to hand out; it listens on loopback only, and a file is found by a name that nobody can guess.
"""

import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from aiohttp import web

from datamover.api.cdi.data_volume import HTTPSource, Source
from datamover.api.cdi.names import PopulationReason
from datamover.reconcilers.datavolume.ask import Ask, Kind
from datamover.reconcilers.datavolume.facts import Facts
from datamover.reconcilers.datavolume.filling import UPLOAD, Filler, Filling, Place
from datamover.reconcilers.datavolume.importing import fill_by_import
from datamover.volumes.binding import Obstacle
from kubekit.runtime.listening import Limits, Listener
from kubekit.words.meta import Manifest

_LIMITS: Final = Limits(connections=16)


@asynccontextmanager
async def hand_out(files: Mapping[str, Path]) -> AsyncGenerator[dict[str, str]]:
    """Serve files until left, and give the address of each. Raises OSError when nothing can listen."""
    if not files:
        yield {}
        return
    paths = {f"/{secrets.token_urlsafe(32)}": (name, path) for name, path in files.items()}

    async def answer(request: web.Request) -> web.StreamResponse:
        found = paths.get(request.path)
        return web.Response(status=404) if found is None else web.FileResponse(found[1])

    application = web.Application()
    application.router.add_get("/{name}", answer)
    listener = Listener(application, limits=_LIMITS)
    host, port = await listener.open(("127.0.0.1", 0), tls=None)
    try:
        yield {name: f"http://{host}:{port}{path}" for path, (name, _) in paths.items()}
    finally:
        await listener.close()


def fill_from(addresses: Mapping[str, str]) -> Filler:
    """Return how an upload fills a claim where these are the addresses of the files, by the names of their DataVolumes."""

    def fill(ask: Ask, facts: Facts) -> Filling | Obstacle:
        address = addresses.get(ask.name)
        if address is None:
            message = (
                f"here the upload of a DataVolume is a file of the command: datamover run --upload {ask.name}=FILE"
            )
            return Obstacle(PopulationReason.UNSUPPORTED_SOURCE, message, waits=True)
        fetched = replace(ask, kind=Kind.HTTP, source=Source(http=HTTPSource(url=address)))
        found = fill_by_import(fetched, facts)
        if isinstance(found, Obstacle) or found.build is None:
            return found
        return replace(found, scheduled=UPLOAD[0], running=UPLOAD[1], build=_without_proxies(found.build))

    return fill


def _without_proxies(build: Callable[[Place], Manifest]) -> Callable[[Place], Manifest]:
    """No proxy reaches this machine's loopback."""
    return lambda place: build(replace(place, settings=replace(place.settings, environment=())))
