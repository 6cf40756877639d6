"""The embedded world put together: API store, controllers, node, and the operator, in one process.

State lives in one directory: what the API server holds (without Secrets), the clones, and the identity of this world, so that a second
run is incremental.

Raises datamover.cli.embedded.state.WorldError when the state directory cannot be used.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry

from datamover.api import names
from datamover.api.definitions import crds, data_volume_crds, replication_crds
from datamover.cli.datavolumes import data_volume_kinds
from datamover.cli.disks import MakePopulate
from datamover.cli.embedded.handing import fill_from, hand_out
from datamover.cli.embedded.restic import VARIABLE as RESTIC_VARIABLE
from datamover.cli.embedded.saving import Saver
from datamover.cli.embedded.state import NODE, OBJECTS, WorldError, held, restore
from datamover.cli.kinds import KINDS, REPLICATION_KINDS
from datamover.cli.operator import Operator, find_cluster, new_metrics
from datamover.cli.options import DataVolumeOptions, Options
from datamover.cli.runnables import RUNNABLES, Name, Runnable, name_of
from datamover.cli.surroundings import MakeKind
from datamover.cli.volumes import Volume
from datamover.reconcilers.datavolume.ask import Kind
from kubekit.client.client import Client
from kubekit.client.errors import AlreadyExists, NotFound
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key
from kubekit.words import snapshot, storage
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import Manifest, PartialObject, Resource
from localkube.controllers.suite import LocalControllers
from localkube.node.adoption import AdoptedElsewhereError, AdoptionError
from localkube.node.node import LocalNode
from localkube.store.apiserver import ApiServer
from localkube.transport import LocalTransport

_log = logging.getLogger(__name__)

STORAGE_CLASS: Final = "local"
SNAPSHOT_CLASS: Final = "local"
LOCAL_MOVER_IMAGE: Final = "datamover.local/mover"
PROVISIONER: Final = "local.datamover.a-cup-of.coffee"
_CRDS: Final = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    PartialObject,
    namespaced=False,
)
_MANAGER: Final = "datamover-local"


KINDS_HERE: Final[tuple[MakeKind, ...]] = (
    *KINDS,
    *REPLICATION_KINDS,
    *data_volume_kinds(Options(data_volumes=DataVolumeOptions(collection=True, population=True))),
)
"""What is reconciled here: all there is."""


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """How the embedded world runs. With `operator` None this process runs no operator: another one does.

    `restic` is the program that movers find, None where there is none. `uploads` are the files that fill DataVolumes of these names.
    """

    state: Path
    operator: Options | None = field(default_factory=Options)
    job_backoff: float = 10.0
    images: Mapping[str, tuple[str, ...]] | None = None
    kinds: tuple[MakeKind, ...] = KINDS_HERE
    restic: Path | None = None
    uploads: Mapping[str, Path] = field(default_factory=dict[str, Path])


class EmbeddedWorld:
    """A running embedded world. `client` may do everything in it."""

    def __init__(
        self,
        *,
        state: Path,
        server: ApiServer,
        client: Client,
        node: LocalNode,
        operator: Operator | None,
        registry: CollectorRegistry,
        kept: Mapping[Name, Runnable],
    ) -> None:
        self.state = state
        self.server = server
        self.client = client
        self.node = node
        self.operator = operator
        self.registry = registry
        self.kept = kept
        """What there was to run before anything ran here."""
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def objects(self, resource: Resource[Any]) -> Informer[Any]:
        """The operator's cache of a kind. Raises RuntimeError where no operator runs."""
        if self.operator is None:
            raise RuntimeError("this world runs no operator")
        return self.operator.objects(resource)

    def watch_over(self, tasks: tuple[asyncio.Task[None], ...]) -> None:
        """Remember the tasks of this world, for `check` and `serve`."""
        self._tasks = tasks

    def check(self) -> None:
        """Raise WorldError when a part of the world has stopped, so that nobody waits for it for ever (law L10)."""
        for task in self._tasks:
            if task.done():
                error = None if task.cancelled() else task.exception()
                raise WorldError(f"the embedded {task.get_name()} stopped: {error or 'no error was given'}") from error

    async def serve(self, stop: asyncio.Event) -> None:
        """Return when `stop` is set. Raises WorldError when a part of the world stops before."""
        waiting = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait((waiting, *self._tasks), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not stop.is_set():
            self.check()


def mover_images(restic: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Return what the node runs in the place of the documented mover images: the agent, with this interpreter.

    A node's programs have a PATH of their own, so `restic` is told by its variable.
    """
    agent = (sys.executable, "-m", "datamover.agent.main")
    if restic is not None:
        agent = ("env", f"{RESTIC_VARIABLE}={restic}", *agent)
    return {LOCAL_MOVER_IMAGE: agent, names.DEFAULT_IMAGE_REPOSITORY: agent, "ttl.sh/rclone_op": agent}


@asynccontextmanager
async def start_world(options: WorldOptions) -> AsyncGenerator[EmbeddedWorld]:
    """Start everything; on leaving, stop it in order and save. Raises WorldError."""
    state = options.state
    with held(state):
        async with hand_out(options.uploads) as addresses, _start_world(options, addresses) as world:
            yield world


@asynccontextmanager
async def _start_world(options: WorldOptions, addresses: Mapping[str, str]) -> AsyncGenerator[EmbeddedWorld]:
    state = options.state
    server = ApiServer()
    restore(server, state)
    saver = Saver(server, state / OBJECTS)
    client = Client(LocalTransport(server), user_agent=_MANAGER)
    await install_basics(client)
    await _save_first(saver, state)
    kept = {name_of(obj): obj for resource in RUNNABLES.values() for obj in await client.list(resource)}
    images = options.images or mover_images(options.restic)
    node = LocalNode(client, state_dir=state / NODE, images=images, settle=saver.settle)
    server.set_log_reader(node.read_log)
    registry, metrics = new_metrics()
    operator = None
    if options.operator is not None:
        counted = Client(LocalTransport(server), observe=metrics.request)
        operator = Operator(
            counted,
            cluster=await find_cluster(client),
            options=_with_image(options.operator),
            registry=registry,
            metrics=metrics,
            kinds=tuple(_with_uploads(make, addresses) for make in options.kinds),
        )
        await install_definitions(client, operator)
    world = EmbeddedWorld(
        state=state, server=server, client=client, node=node, operator=operator, registry=registry, kept=kept
    )
    stop = asyncio.Event()
    controllers = LocalControllers(client, server=server, job_backoff_base=options.job_backoff)
    tasks = [
        asyncio.create_task(node.run(), name="node"),
        asyncio.create_task(controllers.run(), name="controllers"),
        asyncio.create_task(saver.run(), name="saver"),
    ]
    running = [asyncio.create_task(operator.run(stop), name="operator")] if operator is not None else []
    world.watch_over((*tasks, *running))
    try:
        yield world
    finally:
        stop.set()
        await asyncio.gather(*running, return_exceptions=True)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _save_last(saver, state)


def _with_uploads(make: MakeKind, addresses: Mapping[str, str]) -> MakeKind:
    """Where DataVolumes are filled, those that wait for an upload are filled from the files at these addresses."""
    return replace(make, instead={Kind.UPLOAD: fill_from(addresses)}) if isinstance(make, MakePopulate) else make


def _with_image(options: Options) -> Options:
    """Objects that name no image get the documented one, which stands for this package's own mover."""
    return replace(options, mover_image=options.mover_image or names.DEFAULT_IMAGE_REPOSITORY)


async def _save_first(saver: Saver, state: Path) -> None:
    """Save before anything begins: a run must not rely on what cannot be saved. Raises WorldError."""
    try:
        await saver.save()
    except OSError as error:
        raise WorldError(
            f"{state / OBJECTS} cannot be saved: {error.strerror}: nothing was run; mend that, or choose another directory with --state"
        ) from error


async def _save_last(saver: Saver, state: Path) -> None:
    """Save at the end. A failure is logged and does not change the exit code: everything that the run relied on was saved before."""
    try:
        await saver.save()
    except OSError as error:
        _log.error(
            "%s cannot be saved: %s: the next run goes on from what was saved before; the bucket is as it was told here",
            state / OBJECTS,
            error.strerror,
        )


async def adopt_volume(world: EmbeddedWorld, volume: Volume, *, namespace: str, size: str | None = None) -> None:
    """Make a directory the volume of a claim that shows this size, or what the files take. Raises WorldError when it cannot be one."""
    try:
        await world.node.adopt_directory(
            name=volume.name, namespace=namespace, path=volume.path, storage_class=STORAGE_CLASS, size=size
        )
    except AdoptionError as error:
        raise WorldError(tell_adoption(volume, error, claim=Key(namespace, volume.name))) from error


async def find_directory(world: EmbeddedWorld, key: Key) -> Path | None:
    """Return the directory of a claim's volume; None where it has none of the node's own."""
    try:
        claim = await world.client.get(PERSISTENT_VOLUME_CLAIMS, key.name, namespace=key.namespace)
    except NotFound:
        return None
    name = claim.spec.volume_name if claim.spec is not None else None
    return world.state / NODE / "volumes" / name if name else None


def tell_adoption(volume: Volume, error: AdoptionError, *, claim: Key) -> str:
    """Say why a directory cannot be a volume here, with the way out."""
    if isinstance(error, AdoptedElsewhereError):
        return (
            f"--volume {volume.name}: {error}, not for {volume.path}: correct the directory; or, when the files have moved there, let the "
            f"old one go by `datamover state --free-volume {claim}` with the same --state, and run again: no files are touched"
        )
    return f"--volume {volume.name}: {error}; a world of its own begins with another --state"


async def ensure_namespace(client: Client, name: str) -> None:
    """Create a namespace that is not there."""
    resource = Resource("", "v1", "namespaces", "Namespace", PartialObject, namespaced=False)
    try:
        await client.get(resource, name)
    except NotFound:
        await client.apply(resource, {"metadata": {"name": name}}, field_manager=_MANAGER)


async def install_definitions(client: Client, operator: Operator) -> None:
    """Create the definitions of what an operator reconciles, beside those that every world has."""
    present = {crd["metadata"]["name"] for crd in (*crds(), *replication_crds(), *data_volume_crds())}
    for kind in operator.kinds:
        if kind.definition is not None and kind.definition["metadata"]["name"] not in present:
            await client.apply(_CRDS, kind.definition, field_manager=_MANAGER)


async def install_basics(client: Client) -> None:
    """Create what an administrator sets up in a cluster: our definitions, a StorageClass and a VolumeSnapshotClass."""
    for crd in (*crds(), *replication_crds(), *data_volume_crds()):
        await client.apply(_CRDS, crd, field_manager=_MANAGER)
    for resource, manifest in _storage_classes():
        with suppress(AlreadyExists):
            await client.create(resource, manifest, field_manager=_MANAGER)


def _storage_classes() -> tuple[tuple[Resource[PartialObject], Manifest], ...]:
    storage_classes = Resource(
        "storage.k8s.io", "v1", "storageclasses", "StorageClass", PartialObject, namespaced=False
    )
    snapshot_classes = Resource(
        "snapshot.storage.k8s.io", "v1", "volumesnapshotclasses", "VolumeSnapshotClass", PartialObject, namespaced=False
    )
    return (
        (
            storage_classes,
            {
                "metadata": {
                    "name": STORAGE_CLASS,
                    "annotations": {storage.IS_DEFAULT_CLASS: "true"},
                },
                "provisioner": PROVISIONER,
                "reclaimPolicy": "Delete",
                "volumeBindingMode": "Immediate",
            },
        ),
        (
            snapshot_classes,
            {
                "metadata": {
                    "name": SNAPSHOT_CLASS,
                    "annotations": {snapshot.IS_DEFAULT_CLASS: "true"},
                },
                "driver": PROVISIONER,
                "deletionPolicy": "Delete",
            },
        ),
    )
