"""Whole lifecycles with everything real but the cluster's hardware: the operator, the node, the mover, rclone and an S3 server.

The same scenario runs in two worlds: the embedded API server, and a real one with its controller-manager.
"""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry, generate_latest

from datamover.api import names
from datamover.api.ownership import select_children
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from datamover.cli.embedded.world import PROVISIONER, WorldOptions, install_definitions, start_world
from datamover.cli.kinds import KINDS
from datamover.cli.operator import Operator, find_cluster, new_metrics
from datamover.cli.options import DataVolumeOptions, Options
from datamover.cli.surroundings import MakeKind
from datamover.metrics.runtime import RuntimeMetrics
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.errors import NotFound
from kubekit.client.http import HttpTransport
from kubekit.words.batch import JOBS
from kubekit.words.core import EVENTS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, SECRETS
from kubekit.words.meta import PartialObject, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOT_CLASSES, VOLUME_SNAPSHOTS
from localkube.node.node import LocalNode, NodeOptions
from localkube.node.snapshot_kinds import CONTENTS
from localkube.transport import LocalTransport
from support.beside_kubernetes import beside_kubernetes
from support.kubernetes import ControlPlane
from support.programs import GO

AGENT = ("env", *(f"{name}={value}" for name, value in GO.items()), sys.executable, "-m", "datamover.agent.main")
TALKER = "example.com/talking-mover"
"""Repository of an image of somebody else's: see `support.talking_mover`."""
IMAGES = {
    names.DEFAULT_IMAGE_REPOSITORY: AGENT,
    TALKER: (sys.executable, str(Path(__file__).with_name("talking_mover.py"))),
}
PATIENCE = 30.0
CLASS = "scenario"
NO_DATA_VOLUMES = DataVolumeOptions()
CHILDREN = select_children((names.CREATED_BY_VALUE,))


class Cluster:
    """What a scenario acts on. Objects go to `namespace` unless they say otherwise."""

    def __init__(
        self,
        *,
        client: Client,
        node: LocalNode,
        registry: CollectorRegistry,
        namespace: str,
        place: Path,
        crew: "Crew | None" = None,
    ) -> None:
        self.client = client
        self.node = node
        self.registry = registry
        self.namespace = namespace
        self.place = place
        self._crew = crew

    @property
    def crew(self) -> "Crew":
        """The operator, where the scenario may kill it."""
        assert self._crew is not None, "this scenario runs its operator itself"
        return self._crew

    async def create(self, resource: Resource[Any], name: str, **fields: Any) -> Any:
        """Create an object from its top-level fields."""
        meta = fields.pop("metadata", {})
        return await self.client.create(
            resource, {"metadata": {"name": name, "namespace": self.namespace, **meta}, **fields}
        )

    async def apply_document(self, path: Path, **changes: Any) -> DataMover:
        """Create a document's DataMover as it is printed; `changes` go into its spec."""
        manifest = yaml.safe_load(path.read_text())
        manifest["metadata"]["namespace"] = self.namespace
        manifest["spec"].update(changes)
        return await self.client.create(DATA_MOVERS, manifest)

    async def create_mover(
        self, name: str, *, source: str = "app-data", secret: str = "storage-credentials", **spec: Any
    ) -> DataMover:
        """Create a DataMover."""
        return await self.create(DATA_MOVERS, name, spec={"sourcePvc": source, "secretName": secret, **spec})

    async def create_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Create a Secret."""
        await self.create(SECRETS, name, stringData=dict(values))

    async def create_volume(self, name: str, files: Mapping[str, bytes] | None = None) -> Path:
        """Make a bound claim over a directory with some files, and return the directory."""
        directory = self.place / "volumes" / name
        directory.mkdir(parents=True, exist_ok=True)
        for path, content in (files if files is not None else TREE).items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(content)
        await self.node.adopt_directory(name=name, namespace=self.namespace, path=directory, storage_class=CLASS)

        async def bound() -> bool:
            claim = await self._get(PERSISTENT_VOLUME_CLAIMS, name)
            return claim is not None and claim.status is not None and claim.status.phase == "Bound"

        await self.wait_for(bound)
        return directory

    async def mover(self, name: str) -> DataMover | None:
        """Return a DataMover, or None."""
        return await self._get(DATA_MOVERS, name)

    async def wait_phase(self, name: str, *phases: str, seconds: float = PATIENCE) -> DataMover:
        """Wait until the DataMover is in one of the phases."""
        return await self.wait_mover(
            name, lambda mover: (mover.status and mover.status.phase) in phases, seconds=seconds
        )

    async def wait_reason(self, name: str, reason: str, *, seconds: float = PATIENCE) -> DataMover:
        """Wait until the Ready condition has this reason."""
        return await self.wait_mover(name, lambda mover: ready_reason(mover) == reason, seconds=seconds)

    async def wait_mover(
        self, name: str, holds: Callable[[DataMover], bool], *, seconds: float = PATIENCE
    ) -> DataMover:
        """Wait until something holds of the DataMover; the last state is the failure's message."""
        end = time.monotonic() + seconds
        mover: DataMover | None = None
        while time.monotonic() < end:
            mover = await self.mover(name)
            if mover is not None and holds(mover):
                return mover
            await asyncio.sleep(0.05)
        raise AssertionError(f"after {seconds} s: {mover.status if mover else 'no such DataMover'}")

    async def wait_gone(self, resource: Resource[Any], name: str, *, seconds: float = PATIENCE) -> None:
        """Wait until an object is gone."""
        end = time.monotonic() + seconds
        while await self._get(resource, name) is not None:
            assert time.monotonic() < end, f"{resource.kind} {name} is still there after {seconds} s"
            await asyncio.sleep(0.05)

    async def wait_for(self, holds: Callable[[], Any], *, seconds: float = PATIENCE) -> None:
        """Wait until an async condition holds."""
        end = time.monotonic() + seconds
        while not await holds():
            assert time.monotonic() < end, f"not within {seconds} s"
            await asyncio.sleep(0.05)

    async def children(self) -> dict[str, list[str]]:
        """Return what there is of our kinds of children, by kind."""
        found: dict[str, list[str]] = {}
        for resource in (PERSISTENT_VOLUME_CLAIMS, JOBS, PODS):
            listed = await self.client.list(resource, namespace=self.namespace, label_selector=CHILDREN)
            if listed:
                found[resource.kind] = sorted(item.metadata.name for item in listed)
        volumes = [
            volume.metadata.name
            for volume in await self.client.list(PERSISTENT_VOLUMES)
            if volume.spec is not None
            and volume.spec.claim_ref is not None
            and volume.spec.claim_ref.namespace == self.namespace
            and (volume.spec.claim_ref.name or "").startswith(names.CLONE_PREFIX)
        ]
        if volumes:
            found["PersistentVolume"] = sorted(volumes)
        with suppress(NotFound):  # not every cluster has the snapshot kinds
            found |= await self._snapshots()
        return found

    async def _snapshots(self) -> dict[str, list[str]]:
        own = await self.client.list(VOLUME_SNAPSHOTS, namespace=self.namespace, label_selector=CHILDREN)
        contents = [
            content.metadata.name
            for content in await self.client.list(CONTENTS)
            if content.spec.volume_snapshot_ref.namespace == self.namespace
        ]
        found = {"VolumeSnapshot": [item.metadata.name for item in own], "VolumeSnapshotContent": contents}
        return {kind: sorted(listed) for kind, listed in found.items() if listed}

    async def events(self, name: str) -> list[tuple[str, str]]:
        """Return type and reason of the events of a DataMover."""
        listed = await self.client.list(EVENTS, namespace=self.namespace)
        return [
            (event.type or "", event.reason or "")
            for event in listed
            if event.involved_object and event.involved_object.name == name
        ]

    def metric(self, name: str, **labels: str) -> float:
        """Return a sample's value, 0 when there is none."""
        return self.registry.get_sample_value(name, {"namespace": self.namespace, **labels}) or 0.0

    def metrics(self) -> str:
        """Return all metrics as text."""
        return generate_latest(self.registry).decode()

    async def _get(self, resource: Resource[Any], name: str) -> Any:
        try:
            return await self.client.get(resource, name, namespace=self.namespace)
        except NotFound:
            return None


TREE = {
    "app/config.json": b'{"answer": 42}\n',
    "data/table-1.bin": bytes(range(256)) * 512,
    "data/empty": b"",
    "logs/2024/august.log": b"line\n" * 1000,
    "odd/na\u00efve r\u00e9sum\u00e9 \U0001f69a.txt": b"unicode",
}


def ready_reason(mover: DataMover) -> str:
    """Return the reason of the Ready condition."""
    ready = mover.status.condition("Ready") if mover.status else None
    return ready.reason if ready else ""


def storage_classes() -> tuple[dict[str, Any], ...]:
    """The classes of the scenarios: ordinary, binding on first use, without clones."""

    def make(name: str, mode: str, **parameters: str) -> dict[str, Any]:
        return {
            "metadata": {"name": name},
            "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": mode,
            "parameters": parameters,
        }

    return (
        make(CLASS, "Immediate"),
        make(f"{CLASS}-late", "WaitForFirstConsumer"),
        make(f"{CLASS}-no-clones", "Immediate", cloning="false"),
    )


class Crew:
    """The operator of a scenario. It can be killed, and replaced by another one that knows nothing of it."""

    def __init__(
        self, client: Callable[[RuntimeMetrics], Client], *, cluster: str, options: Options, kinds: tuple[MakeKind, ...]
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._options = options
        self._kinds = kinds
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def hire(self) -> Operator:
        """Make an operator, with metrics of its own."""
        registry, metrics = new_metrics()
        return Operator(
            self._client(metrics),
            cluster=self._cluster,
            options=self._options,
            registry=registry,
            metrics=metrics,
            kinds=self._kinds,
        )

    def begin(self, operator: Operator) -> None:
        """Let it work."""
        self._task = asyncio.create_task(operator.run(self._stop))

    async def kill(self) -> None:
        """End it wherever it is."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def end(self) -> None:
        """End it in order."""
        self._stop.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def embedded_cluster(
    place: Path,
    *,
    progress_interval: float = 0.5,
    kinds: tuple[MakeKind, ...] = KINDS,
    images: Mapping[str, tuple[str, ...]] = IMAGES,
) -> AsyncGenerator[Cluster]:
    """A whole embedded world in this process."""
    async with start_world(WorldOptions(state=place / "state", operator=None, job_backoff=0.2, images=images)) as world:
        crew = Crew(
            lambda metrics: Client(LocalTransport(world.server), observe=metrics.request),
            cluster=await find_cluster(world.client),
            options=Options(progress_interval=progress_interval, mover_image=names.DEFAULT_IMAGE_REPOSITORY),
            kinds=kinds,
        )
        operator = crew.hire()
        await install_definitions(world.client, operator)
        await create_classes(world.client)
        crew.begin(operator)
        try:
            yield Cluster(
                client=world.client,
                node=world.node,
                registry=operator.registry,
                namespace="default",
                place=place,
                crew=crew,
            )
        finally:
            await crew.end()


@asynccontextmanager
async def real_cluster(
    plane: ControlPlane,
    namespace: str,
    place: Path,
    *,
    progress_interval: float = 0.5,
    kinds: tuple[MakeKind, ...] = KINDS,
    images: Mapping[str, tuple[str, ...]] = IMAGES,
    data_volumes: DataVolumeOptions = NO_DATA_VOLUMES,
    everywhere: bool = False,
) -> AsyncGenerator[Cluster]:
    """Our operator and our node beside a real API server and controller-manager. `everywhere`: the operator sees all namespaces, else this one alone."""
    config = load_config(plane.admin_kubeconfig)
    ours, theirs, mine = HttpTransport(config), HttpTransport(config), HttpTransport(config)
    client = Client(mine, user_agent="scenario")
    node = LocalNode(
        Client(theirs, user_agent="node"),
        state_dir=place / "node",
        images=images,
        options=NodeOptions(name=f"node-{namespace}"),
    )
    crew = Crew(
        lambda metrics: Client(ours, user_agent="operator", observe=metrics.request),
        cluster=await find_cluster(client),
        options=Options(
            namespace=None if everywhere else namespace,
            progress_interval=progress_interval,
            mover_image=names.DEFAULT_IMAGE_REPOSITORY,
            data_volumes=data_volumes,
        ),
        kinds=kinds,
    )
    operator = crew.hire()
    await install_definitions(client, operator)
    running = asyncio.create_task(node.run())
    crew.begin(operator)
    try:
        await create_classes(client)
        async with beside_kubernetes(node, client, client_ca=plane.directory / "ca.crt"):
            yield Cluster(
                client=client, node=node, registry=operator.registry, namespace=namespace, place=place, crew=crew
            )
    finally:
        await crew.end()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        for transport in (ours, theirs, mine):
            await transport.close()


async def create_classes(client: Client) -> None:
    """Create the scenarios' StorageClasses, and a VolumeSnapshotClass where the cluster has that kind."""
    resource = Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", PartialObject, namespaced=False)
    for manifest in storage_classes():
        await client.apply(resource, manifest, field_manager="scenario")
    snapshots = {"metadata": {"name": CLASS}, "driver": PROVISIONER, "deletionPolicy": "Delete"}
    with suppress(NotFound):
        await client.apply(VOLUME_SNAPSHOT_CLASSES, snapshots, field_manager="scenario")
