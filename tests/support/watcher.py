"""The operator's watcher in a thread beside tests that wait without a loop."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datamover.cli.hosted_control_planes import follow_backups
from datamover.cli.operator import Operator, new_metrics
from datamover.cli.options import HostedControlPlaneOptions, Options
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.http import HttpTransport

FAREWELL = 1.0
"""Seconds in which TLS ends its connections, after they have been closed: what a loop leaves open at its end is told as a leak, in any later test."""


@contextmanager
def watching(kubeconfig: Path, velero: str) -> Iterator[None]:
    """Follow the backups of the Velero in this namespace, as whoever the kubeconfig is of. What ends it early is raised at the end."""
    begun, failures = threading.Event(), list[BaseException]()
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def work() -> None:
        stop = asyncio.Event()
        ends.append((asyncio.get_running_loop(), stop))
        registry, metrics = new_metrics()
        transport = HttpTransport(load_config(kubeconfig))
        options = Options(hosted_control_planes=HostedControlPlaneOptions(enabled=True, velero_namespace=velero))
        try:
            operator = Operator(
                Client(transport, user_agent="watcher", observe=metrics.request),
                cluster="test",
                options=options,
                registry=registry,
                metrics=metrics,
                kinds=(follow_backups,),
            )
            begun.set()
            await operator.run(stop)
        finally:
            await transport.close()
            await asyncio.sleep(FAREWELL)

    def run() -> None:
        try:
            asyncio.run(work())
        except BaseException as failure:
            failures.append(failure)
        finally:
            begun.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        for loop, stop in ends:
            if not loop.is_closed():
                loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=30)
    for failure in failures:
        raise failure
