"""The embedded world put together: API store, controllers, node, and the operator, in one process.

State lives in one directory: what the API server holds (without Secrets), the clones, and the identity of this world, so that a second
run is incremental.

WorldError    the state directory cannot be used; the message says what to do
"""

import asyncio
import fcntl
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry

from datamover.api import names
from datamover.api.core import SECRETS
from datamover.api.crd import crds
from datamover.api.meta import Manifest, PartialObject, Resource
from datamover.cli.operator import Operator, Options, find_cluster, new_metrics
from datamover.cli.volumes import Volume
from datamover.kube.client import Client
from datamover.kube.errors import AlreadyExists, NotFound
from datamover.local.controllers.suite import LocalControllers
from datamover.local.node.adoption import AdoptionError
from datamover.local.node.node import LocalNode
from datamover.local.store.apiserver import ApiServer
from datamover.local.transport import LocalTransport

STORAGE_CLASS: Final = "local"
SNAPSHOT_CLASS: Final = "local"
LOCAL_MOVER_IMAGE: Final = "datamover.local/mover"
PROVISIONER: Final = "local.datamover.a-cup-of.coffee"
_SAVE_INTERVAL: Final = 2.0
_OWN_NAMES: Final = frozenset({"lock", "objects", "node"})
"""What a state directory has in it, one or the other, from its first moment on."""
_CRDS: Final = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    PartialObject,
    namespaced=False,
)
_MANAGER: Final = "datamover-local"


class WorldError(Exception):
    """The embedded world cannot be started."""


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """How the embedded world runs. `operator` None runs none: another process will."""

    state: Path
    operator: Options | None = field(default_factory=Options)
    job_backoff: float = 10.0
    images: Mapping[str, tuple[str, ...]] | None = None


class World:
    """A running embedded world. `client` may do everything in it."""

    def __init__(
        self,
        *,
        server: ApiServer,
        client: Client,
        node: LocalNode,
        operator: Operator | None,
        registry: CollectorRegistry,
    ) -> None:
        self.server = server
        self.client = client
        self.node = node
        self.operator = operator
        self.registry = registry
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def watch_over(self, tasks: tuple[asyncio.Task[None], ...]) -> None:
        """Take note of what keeps this world going."""
        self._tasks = tasks

    def check(self) -> None:
        """Raise WorldError when a part of the world has stopped, instead of waiting for it for ever (law L10)."""
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


def default_state() -> Path:
    """Return the directory for state: `$XDG_STATE_HOME/datamover`, by default (and where that is no absolute path) below ~/.local/state."""
    root = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (root if root.is_absolute() else Path("~/.local/state").expanduser()) / "datamover"


def mover_images() -> dict[str, tuple[str, ...]]:
    """Return what the node runs in the place of the documented mover images: the agent, with this interpreter."""
    agent = (sys.executable, "-m", "datamover.agent.main")
    return {LOCAL_MOVER_IMAGE: agent, names.DEFAULT_IMAGE_REPOSITORY: agent, "ttl.sh/rclone_op": agent}


@asynccontextmanager
async def start_world(options: WorldOptions) -> AsyncGenerator[World]:
    """Start everything; on leaving, stop it in order and save. Raises WorldError."""
    state = options.state
    _make_private(state)
    with _locked(state / "lock"):
        server = ApiServer()
        _restore(server, state / "objects")
        client = Client(LocalTransport(server), user_agent=_MANAGER)
        await _furnish(client)
        node = LocalNode(client, state_dir=state / "node", images=options.images or mover_images())
        server.set_log_reader(node.read_log)
        registry, metrics = new_metrics()
        operator = None
        if options.operator is not None:
            counted = Client(LocalTransport(server), observe=metrics.request)
            operator = Operator(
                counted,
                cluster=await find_cluster(client),
                options=options.operator,
                registry=registry,
                metrics=metrics,
            )
        world = World(server=server, client=client, node=node, operator=operator, registry=registry)
        stop = asyncio.Event()
        controllers = LocalControllers(client, job_backoff_base=options.job_backoff)
        tasks = [
            asyncio.create_task(node.run(), name="node"),
            asyncio.create_task(controllers.run(), name="controllers"),
            asyncio.create_task(_save_regularly(server, state / "objects"), name="saver"),
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
            save(server, state / "objects")


async def adopt_volume(world: World, volume: Volume, *, namespace: str) -> None:
    """Make a directory the volume of a claim. Raises WorldError when it cannot be one."""
    try:
        await world.node.adopt_directory(
            name=volume.name, namespace=namespace, path=volume.path, storage_class=STORAGE_CLASS
        )
    except AdoptionError as error:
        raise WorldError(f"--volume {volume.name}: {error}; a world of its own begins with another --state") from error


async def ensure_namespace(client: Client, name: str) -> None:
    """Create a namespace that is not there."""
    resource = Resource("", "v1", "namespaces", "Namespace", PartialObject, namespaced=False)
    try:
        await client.get(resource, name)
    except NotFound:
        await client.apply(resource, {"metadata": {"name": name}}, field_manager=_MANAGER)


def save(server: ApiServer, path: Path) -> None:
    """Write what the server holds but Secrets, whole or not at all: they come with the manifests of each run (law L8)."""
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(server.snapshot(without={SECRETS.group_resource}))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


async def _furnish(client: Client) -> None:
    """Give the world what a cluster's administrator would have set up."""
    for crd in crds():
        await client.apply(_CRDS, crd, field_manager=_MANAGER)
    for resource, manifest in _furniture():
        with suppress(AlreadyExists):
            await client.create(resource, manifest, field_manager=_MANAGER)


def _furniture() -> tuple[tuple[Resource[PartialObject], Manifest], ...]:
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
                    "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
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
                    "annotations": {"snapshot.storage.kubernetes.io/is-default-class": "true"},
                },
                "driver": PROVISIONER,
                "deletionPolicy": "Delete",
            },
        ),
    )


async def _save_regularly(server: ApiServer, path: Path) -> None:
    saved = -1
    while True:
        await asyncio.sleep(_SAVE_INTERVAL)
        if server.storage.revision != saved:
            saved = server.storage.revision
            save(server, path)


def _restore(server: ApiServer, path: Path) -> None:
    if not path.exists():
        return
    try:
        server.restore(path.read_bytes())
    except (ValueError, OSError, EOFError) as error:
        raise WorldError(
            f"{path} cannot be read ({error}): move it away to begin with an empty world; the volumes and buckets are not touched"
        ) from error


def _make_private(state: Path) -> None:
    """Make the directory ours alone. One that holds anything else stays as it is: `--state .` must not close a user's own folder."""
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = {path.name for path in state.iterdir()}
        if found and not found & _OWN_NAMES:
            raise WorldError(f"{state} holds other things than state: choose an empty or new directory with --state")
        state.chmod(0o700)
    except OSError as error:
        raise WorldError(
            f"{state} cannot be used for state: {error.strerror}: choose another directory with --state"
        ) from error


class _locked:  # noqa: N801 - a context manager that reads as a phrase
    """Hold a directory against a second process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None

    def __enter__(self) -> None:
        try:
            self._file = self._path.open("a+")
        except OSError as error:
            raise WorldError(
                f"{self._path} cannot be opened: {error.strerror}: choose another directory with --state"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise WorldError(
                f"{self._path.parent} is used by another datamover (pid {holder}): wait for it, or choose another directory with --state"
            ) from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def __exit__(self, *exc: object) -> None:
        self._file.close()
