"""`LocalControllers`: what kube-controller-manager does for a small cluster, started together."""

import asyncio

from kubekit.client.client import Client
from kubekit.runtime.clock import Clock, SystemClock
from kubekit.runtime.events import EventRecorder
from kubekit.runtime.manager import Manager
from localkube.controllers.binding import BindingController
from localkube.controllers.constants import COMPONENT
from localkube.controllers.job.controller import JobController
from localkube.controllers.protection import ProtectionController
from localkube.store.apiserver import ApiServer

DEFAULT_JOB_BACKOFF = 10.0
"""Seconds after a Job's first failed Pod; doubled for each further one."""


class LocalControllers:
    """Jobs, volume binding and protection of volumes as clients of `server`; garbage collection and namespace deletion inside it.

    Guarantees: `run` leaves no task behind; it can be started again over the same server and goes on where it stopped.
    Assumptions: `client` talks to `server`; only one of these works for it.
    """

    def __init__(
        self,
        client: Client,
        *,
        server: ApiServer,
        clock: Clock | None = None,
        job_backoff_base: float = DEFAULT_JOB_BACKOFF,
    ) -> None:
        clock = clock or SystemClock()
        self._events = EventRecorder(client, component=COMPONENT, clock=clock)
        binding = BindingController(client, clock=clock, events=self._events)
        protection = ProtectionController(client, clock=clock, claims=binding.claims, volumes=binding.volumes)
        jobs = JobController(client, clock=clock, events=self._events, backoff_base=job_backoff_base)
        self._manager = Manager(freeze=False)
        for informer in (*binding.informers, *protection.informers, *jobs.informers):
            self._manager.add_informer(informer)
        for controller in (*binding.controllers, *protection.controllers, jobs.controller):
            self._manager.add_controller(controller)
        self._manager.add_task("garbage collection", server.collect)
        self._manager.add_task("events", self._events.run)
        self._manager.add_finisher(self._events.flush)

    async def run(self) -> None:
        """Work until cancelled."""
        stop = asyncio.Event()
        running = asyncio.create_task(self._manager.run(stop), name="local controllers")
        try:
            await asyncio.shield(running)
        finally:
            stop.set()
            await running
