"""`LocalNode`: one machine as a node of whatever API server it is given a client for.

It registers a Node, schedules Pods to itself, provisions volumes, takes snapshots, and runs Pods as child processes.

Guarantees:
- after `run` returned, nothing that it started still runs, and the state directory can be opened again;
- after a kill -9 the same: the next `run` over the state directory ends what is left before it does anything, and finishes or fails
  what was under way (laws L5, L7).
Assumptions: Linux (or a system that is like it); one node for each state directory.
Caveats: `localkube.node.names.LIMITS` says what is accepted but not enforced.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kubekit.client.client import Client
from kubekit.runtime.clock import Clock, SystemClock
from kubekit.runtime.events import EventRecorder
from kubekit.runtime.informer import Informer
from kubekit.runtime.manager import Manager
from kubekit.runtime.store import Key
from localkube.node.adoption import adopt_directory
from localkube.node.directories import Directories, Settle, settled
from localkube.node.images import Images
from localkube.node.kinds import (
    CLAIMS,
    NODES,
    STORAGE_CLASSES,
    VOLUMES,
    Claim,
    Node,
    PersistentVolume,
    StorageClass,
)
from localkube.node.kubelet import DEFAULT_CRASH_BASE, Kubelet
from localkube.node.launch import Launcher
from localkube.node.leftovers import marker_prefix
from localkube.node.logs import read_log
from localkube.node.matching import class_name, volume_indexes
from localkube.node.names import COMPONENT, DEFAULT_NODE_NAME
from localkube.node.orphans import OrphanRemover
from localkube.node.pod_kinds import PODS, Pod
from localkube.node.process import Supervisor
from localkube.node.provisioner import Provisioner, source_index
from localkube.node.registration import DEFAULT_MAX_PODS, Registration, capacity
from localkube.node.scheduler import Scheduler
from localkube.node.snapshots import Snapshots
from localkube.store.pod_logs import LogOptions


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """What a node can be told. Times in seconds.

    `max_pods`: how many run at once; the others wait. `schedule`: bind Pods to this node (off where a kube-scheduler runs). `stop_grace`: what
    running containers get when the node ends. `environment`: variables of every container.
    """

    name: str = DEFAULT_NODE_NAME
    max_pods: int = DEFAULT_MAX_PODS
    schedule: bool = True
    reflink: bool = True
    crash_base: float = DEFAULT_CRASH_BASE
    stop_grace: float = 10.0
    environment: Mapping[str, str] | None = field(default=None)


class LocalNode:
    """See the module's docstring. `images` says which images it runs, and by which local command; `settle` returns when what the API server told is durable."""

    def __init__(
        self,
        client: Client,
        *,
        state_dir: Path,
        images: Images,
        clock: Clock | None = None,
        options: NodeOptions | None = None,
        settle: Settle = settled,
    ) -> None:
        self._client = client
        self._state_dir = state_dir.absolute()
        self._clock = clock = clock or SystemClock()
        self._options = options = options or NodeOptions()
        self._state_dir.mkdir(parents=True, exist_ok=True)
        self.ready = asyncio.Event()
        """Set while the node is registered and works."""
        offers = capacity(self._state_dir, max_pods=options.max_pods)
        self._events = EventRecorder(client, component=COMPONENT, instance=options.name, clock=clock)
        self._supervisor = Supervisor(self._state_dir, clock=clock, grace=options.stop_grace)
        self._directories = Directories(
            self._state_dir / "volumes",
            reflink=options.reflink,
            settle=settle,
            mark=f"{marker_prefix(self._state_dir)}copy",
        )
        self._registration = Registration(client, name=options.name, offers=offers, clock=clock)
        self._pods: Informer[Pod] = Informer(
            client,
            PODS,
            clock=clock,
            indexes={
                "node": lambda pod: [] if pod.finished else [pod.node],
                "claim": lambda pod: [f"{pod.metadata.namespace}/{claim}" for claim in pod.claims],
            },
        )
        self._claims: Informer[Claim] = Informer(
            client, CLAIMS, clock=clock, indexes={"class": lambda claim: [class_name(claim)], "source": source_index}
        )
        self._volumes: Informer[PersistentVolume] = Informer(client, VOLUMES, clock=clock, indexes=volume_indexes())
        self._classes: Informer[StorageClass] = Informer(client, STORAGE_CLASSES, clock=clock)
        self._nodes: Informer[Node] = Informer(
            client, NODES, clock=clock, field_selector=f"metadata.name={options.name}"
        )
        self._snapshots = Snapshots(
            client,
            directories=self._directories,
            clock=clock,
            events=self._events,
            claims=self._claims,
            volumes=self._volumes,
        )
        self._provisioner = Provisioner(
            client,
            node=options.name,
            directories=self._directories,
            clock=clock,
            events=self._events,
            claims=self._claims,
            volumes=self._volumes,
            classes=self._classes,
            snapshots=self._snapshots,
        )
        self._orphans = OrphanRemover(
            client, directories=self._directories, identity=self._state_dir / "cluster", claims=self._claims
        )
        self._scheduler = Scheduler(
            client,
            node=options.name,
            max_pods=options.max_pods,
            clock=clock,
            events=self._events,
            pods=self._pods,
            claims=self._claims,
            volumes=self._volumes,
            classes=self._classes,
            nodes=self._nodes,
        )
        self._launcher = Launcher(
            client,
            state_dir=self._state_dir,
            images=images,
            clock=clock,
            claims=self._claims,
            volumes=self._volumes,
            allocatable=offers,
            environment=options.environment,
        )
        self._kubelet = Kubelet(
            client,
            node=options.name,
            state_dir=self._state_dir,
            processes=self._supervisor,
            launcher=self._launcher,
            clock=clock,
            events=self._events,
            pods_informer=self._pods,
            crash_base=options.crash_base,
            settle=settle,
        )

    @property
    def name(self) -> str:
        """The Node's name."""
        return self._options.name

    async def run(self) -> None:
        """Work until cancelled. Raises ProcessError when another node serves the state directory, KubeError when it cannot register."""
        registered = False
        try:
            await self._supervisor.open()
            await self._directories.open()
            await self._kubelet.recover()
            await self._registration.register()
            registered = True
            await self._work()
        finally:
            self.ready.clear()
            await asyncio.shield(self._stop(registered=registered))

    async def _work(self) -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(self._manager().run(stop), name=f"node {self._options.name}")
        self.ready.set()
        try:
            await asyncio.shield(running)
        finally:
            stop.set()
            self._directories.call_off()
            await running

    def _manager(self) -> Manager:
        manager = Manager(freeze=False)
        informers = (self._pods, self._claims, self._volumes, self._classes, self._nodes, *self._snapshots.informers)
        for informer in informers:
            manager.add_informer(informer)
        controllers = (
            self._provisioner.claim_controller,
            self._provisioner.volume_controller,
            self._kubelet.controller,
            *self._snapshots.controllers,
            *((self._scheduler.controller,) if self._options.schedule else ()),
        )
        for controller in controllers:
            manager.add_controller(controller)
        manager.add_task("launcher", self._launcher.run)
        manager.add_task("events", self._events.run)
        manager.add_task("orphans", self._orphans.run)
        manager.add_finisher(self._events.flush)
        return manager

    async def _stop(self, *, registered: bool) -> None:
        await self._supervisor.close()
        await self._directories.close()
        if registered:
            await self._registration.sign_off()

    async def adopt_directory(
        self, *, name: str, path: Path, storage_class: str, namespace: str = "default", size: str | None = None
    ) -> Claim:
        """Make a user's directory the volume of a claim: see `localkube.node.adoption`."""
        return await adopt_directory(
            self._client,
            name=name,
            path=path,
            node=self._options.name,
            storage_class=storage_class,
            state_dir=self._state_dir,
            namespace=namespace,
            size=size,
        )

    async def read_log(self, namespace: str, pod: str, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Return a container's log in pieces (`localkube.store.pod_logs.LogReader`). Raises KeyError when there is none yet."""
        log, ended = await self._kubelet.find_log(Key(namespace, pod), container, previous=options.previous)
        return read_log(log, options, clock=self._clock, ended=ended)
