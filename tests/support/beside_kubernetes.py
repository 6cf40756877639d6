"""What a node needs beside a real API server and is no part of the product: log requests answered as kubelet does, and a Lease that is renewed."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from kubekit.client.client import Client
from kubekit.client.errors import KubeError
from kubekit.runtime.clock import SystemClock
from kubekit.runtime.listening import Limits, Listener
from kubekit.words import timestamps
from kubekit.words.coordination import LEASES
from localkube.node.kinds import NODES
from localkube.node.node import LocalNode
from localkube.store.certificate import self_signed
from localkube.store.pod_logs import LogOptions

LOOPBACK = "127.0.0.1"
LEASE_SECONDS = 40
_MANAGER = "beside-kubernetes"
_TRUE = {"1", "t", "T", "true", "True", "TRUE"}


@asynccontextmanager
async def beside_kubernetes(node: LocalNode, client: Client, *, client_ca: Path) -> AsyncGenerator[None]:
    """Serve a node that runs or is about to; only whom `client_ca` has signed, as the API server, is let in."""
    listener = Listener(_application(node), limits=Limits())
    context = self_signed((LOOPBACK, "localhost"), now=SystemClock().now()).context
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(client_ca)
    _, port = await listener.open((LOOPBACK, 0), tls=context)
    keeping = asyncio.create_task(_keep_known(node, client, port))
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await listener.close()


async def _keep_known(node: LocalNode, client: Client, port: int) -> None:
    """Write where logs are to be had into the Node's status, and renew its Lease."""
    await node.ready.wait()
    status = {"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}}
    await client.patch(NODES, node.name, status, subresource="status", field_manager=_MANAGER)
    while True:
        now = timestamps.micros(SystemClock().now())
        spec = {"holderIdentity": node.name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now}
        with suppress(KubeError):  # the next renewal comes soon
            lease = {"metadata": {"name": node.name, "namespace": "kube-node-lease"}, "spec": spec}
            await client.apply(LEASES, lease, field_manager=_MANAGER)
        await asyncio.sleep(LEASE_SECONDS / 4)


def _application(node: LocalNode) -> web.Application:
    async def serve_log(request: web.Request) -> web.StreamResponse:
        place = (request.match_info["namespace"], request.match_info["pod"], request.match_info["container"])
        try:
            pieces = await node.read_log(*place, read_options(request.query))
        except KeyError as error:
            return web.Response(status=400, text=str(error.args[0]))
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        async for piece in pieces:
            await response.write(piece)
        await response.write_eof()
        return response

    application = web.Application()
    application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", serve_log)
    return application


def read_options(query: Any) -> LogOptions:
    """Return what a kubelet's query asks for."""

    def number(name: str) -> int | None:
        return int(query[name]) if query.get(name) else None

    moment = query.get("sinceTime")
    return LogOptions(
        follow=query.get("follow") in _TRUE,
        previous=query.get("previous") in _TRUE,
        timestamps=query.get("timestamps") in _TRUE,
        tail=number("tailLines"),
        limit=number("limitBytes"),
        since_seconds=number("sinceSeconds"),
        since=timestamps.parse(moment) if moment else None,
    )
