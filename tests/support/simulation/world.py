"""One simulated history: an API server, a cluster beside it, operators that come and go, and the laws that watch over all."""

import asyncio
import base64
import logging
import random
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any

from datamover.api.definitions import crds
from datamover.api.names import COMPONENT
from datamover.api.transfer import REQUIRED_VARIABLES
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from datamover.cli.kinds import KINDS
from datamover.cli.surroundings import MakeKind
from kubekit.client.transport import Request, Response
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, SECRETS
from kubekit.words.meta import PartialObject, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOT_CLASSES, VOLUME_SNAPSHOTS
from kubekit.words.storage import STORAGE_CLASSES
from localkube.store.apiserver import ApiServer
from support.simulation.calls import Call, Tree, read_call
from support.simulation.cluster import Cluster
from support.simulation.collector import Collector
from support.simulation.conduct import Conduct
from support.simulation.destination import Destination
from support.simulation.faults import Calm, Script
from support.simulation.hand import Hand
from support.simulation.history import History, LawBroken
from support.simulation.jobs import Jobs
from support.simulation.ledger import Ledger
from support.simulation.objects import Objects
from support.simulation.pods import Pods
from support.simulation.replica import Replica
from support.simulation.storage import Storage
from support.simulation.trees import look, uid_of
from support.virtual_time import LoopClock, VirtualLoop, run_virtually

SPACE = "default"
SOURCE = "data"
PRECIOUS = "precious"
"""How the names of the source's volumes begin."""
SECRET = "target"
CLASS = "csi"
CANARY = "canary-8f2c1e"
QUIET = 1200.0
"""Seconds without a change after which nothing more is to come: longer than any pause of the runtime."""

Admission = Callable[[Call], Response | None]
"""Refuses a request of an operator before it takes effect."""

DEFINITIONS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    PartialObject,
    namespaced=False,
)


class World:
    """See the module's docstring. Everything random comes from `seed`. `kinds` are those of the operators, `ledger` makes what holds them to the laws."""

    def __init__(
        self,
        loop: VirtualLoop,
        seed: object,
        *,
        conduct: Conduct | None = None,
        kinds: tuple[MakeKind, ...] = KINDS,
        ledger: Callable[..., Any] = Ledger,
    ) -> None:
        self.loop = loop
        self.seed = seed
        self.conduct = conduct or Conduct()
        self.kinds = kinds
        clock = LoopClock(loop)
        self.history = History(clock)
        self.destination = Destination(clock, self.history)
        self.server = ApiServer(clock=clock, random=self.dice("server"))
        self.objects = Objects(self.server)
        self.ledger = ledger(
            self.objects, agent=COMPONENT, canary=CANARY, destination=self.destination, history=self.history
        )
        self.admission: Admission | None = None
        self.script: Script = Calm()
        self.replicas: list[Replica] = []
        self.changed = 0.0
        self.calls = 0
        self.watchers: list[Callable[[str], None]] = []
        """Called after each change, before anything else happens, with the name of who has made it."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.server.intercept = self._before
        self.server.after = self._after
        self.cluster = Cluster(
            loop=loop,
            conduct=self.conduct,
            dice=self.dice("cluster"),
            history=self.history,
            destination=self.destination,
            hand=self.hand,
        )
        self.user = self.hand("user", self.cluster.wake)
        for part in (Collector, Storage, Jobs, Pods):
            self.cluster.add(part(self.cluster))
        loop.set_exception_handler(self._complain)

    def dice(self, what: str) -> random.Random:
        """Return a source of chance of its own, so that one more draw here changes nothing there."""
        return random.Random(f"{self.seed}/{what}")

    # --- furniture --------------------------------------------------------------------------------

    def furnish(self, *, secret: bool = True, source: bool = True) -> None:
        """Put in what a cluster has before the first DataMover."""
        for definition in (*crds(), *_snapshot_definitions()):
            if self.user.find(DEFINITIONS, definition["metadata"]["name"]) is None:
                self.user.create(DEFINITIONS, definition)
        self.user.create(
            STORAGE_CLASSES,
            {
                "metadata": {"name": CLASS},
                "provisioner": "csi.example.com",
                "volumeBindingMode": self.conduct.binding,
                "reclaimPolicy": self.conduct.reclaim,
            },
        )
        self.user.create(
            VOLUME_SNAPSHOT_CLASSES,
            {"metadata": {"name": CLASS}, "driver": "csi.example.com", "deletionPolicy": "Delete"},
        )
        if secret:
            self.give_secret()
        if source:
            self.give_source()

    def give_secret(self) -> None:
        value = base64.b64encode(CANARY.encode()).decode()
        data = dict.fromkeys(REQUIRED_VARIABLES, value)
        self.user.create(SECRETS, {"metadata": {"name": SECRET}, "data": data}, SPACE)
        self.history.note("user", f"creates Secret {SECRET}")

    def give_source(self) -> None:
        """Create the source claim and bind it at once, whatever its class does."""
        spec: Tree = {"accessModes": ["ReadWriteOnce"], "storageClassName": CLASS}
        spec["resources"] = {"requests": {"storage": "1Gi"}}
        uid = uid_of(self.user.create(PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": SOURCE}, "spec": spec}, SPACE))
        volume: Tree = {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": CLASS,
            "csi": {"driver": "csi.example.com", "volumeHandle": PRECIOUS},
            "claimRef": {"kind": "PersistentVolumeClaim", "namespace": SPACE, "name": SOURCE, "uid": uid},
        }
        self.user.create(PERSISTENT_VOLUMES, {"metadata": {"name": f"{PRECIOUS}-{uid}"}, "spec": volume})
        self.user.patch(PERSISTENT_VOLUMES, f"{PRECIOUS}-{uid}", {"status": {"phase": "Bound"}}, subresource="status")
        self.user.patch(PERSISTENT_VOLUME_CLAIMS, SOURCE, {"spec": {"volumeName": f"{PRECIOUS}-{uid}"}}, SPACE)
        bound: Tree = {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}
        self.user.patch(PERSISTENT_VOLUME_CLAIMS, SOURCE, {"status": bound}, SPACE, "status")
        self.history.note("user", f"creates claim {SOURCE}")

    def give_mover(self, name: str = "backup", **spec: Any) -> Tree:
        """Create a DataMover."""
        wanted = {"sourcePvc": SOURCE, "secretName": SECRET, **spec}
        self.history.note("user", f"creates DataMover {name} {spec}")
        created = self.user.create(DATA_MOVERS, {"metadata": {"name": name}, "spec": wanted}, SPACE)
        self.ledger.record(created["metadata"]["uid"])
        return created

    def mover(self, name: str = "backup") -> Tree | None:
        return self.user.find(DATA_MOVERS, name, SPACE)

    def phase(self, name: str = "backup") -> str:
        return look(self.mover(name), "status", "phase") or ""

    # --- operators --------------------------------------------------------------------------------

    def start_operator(self, **options: Any) -> Replica:
        number = len(self.replicas) + 1
        replica = Replica(
            number,
            loop=self.loop,
            server=self.server,
            script=self.script,
            numbers=self._numbers(),
            dice=self.dice(f"operator {number}"),
            history=self.history,
            **{"kinds": self.kinds, **options},
        )
        self.replicas.append(replica)
        replica.start()
        return replica

    @property
    def living(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.alive]

    async def stop_operators(self) -> None:
        for replica in self.living:
            await replica.stop()

    # --- time -------------------------------------------------------------------------------------

    async def until_quiet(self, seconds: float = QUIET, *, at_most: float = 50_000.0) -> None:
        """Wait until nothing has been written for so long. Raises LawBroken when that never comes."""
        begun = self.loop.time()
        end = begun + at_most
        while (left := max(begun, self.changed) + seconds - self.loop.time()) > 0:
            if self.loop.time() > end:
                self.history.breaks("L9", f"there is no rest within {at_most} s")
                self.check()
            await asyncio.sleep(left)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the story."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def entering(self, phase: str, name: str = "backup") -> asyncio.Event:
        """Return what is set when a DataMover enters a phase."""
        entered = asyncio.Event()
        self.ledger.on_phase.append(lambda whose, which: entered.set() if (whose, which) == (name, phase) else None)
        return entered

    async def until(self, holds: Callable[[], bool], *, at_most: float = 3600.0) -> bool:
        """Wait until something holds; tell whether it does."""
        end = self.loop.time() + at_most
        while not holds():
            if self.loop.time() >= end:
                return False
            await asyncio.sleep(0.01)
        return True

    # --- the end ----------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise LawBroken when a law is broken."""
        if self.history.broken:
            broken = "\n".join(dict.fromkeys(self.history.broken))
            raise LawBroken(f"{broken}\nDATAMOVER_SEED={self.seed}\n{self.history.text()}")

    def note_log(self, record: logging.LogRecord) -> None:
        """Take a line of the operators' log: no secret, and no error that nobody thought of."""
        if any(replica.is_current() for replica in self.replicas if not replica.alive):
            return  # it speaks from the grave
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        if record.levelno >= logging.INFO:
            self.history.note("log", text)
        if CANARY in text:
            self.history.breaks("L8", "a secret is in the log")
        if record.exc_info:
            self.history.breaks("crash", f"an error that nobody thought of: {text}")

    # --- inside -----------------------------------------------------------------------------------

    def _numbers(self) -> Generator[int]:
        while True:
            self.calls += 1
            yield self.calls

    def hand(self, who: str, on_change: Callable[[], None]) -> Hand:
        """Return what writes in somebody's name."""

        def changed() -> None:
            self.changed = self.loop.time()
            self._tell_watchers(who)
            on_change()

        return Hand(self.server, self.objects, who, changed)

    def _before(self, request: Request) -> Response | None:
        self.ledger.before(request)
        return self.admission(read_call(request)) if self.admission is not None else None

    def _after(self, request: Request, response: Response) -> Response | None:
        self.ledger.after(request, response)
        if request.method != "GET":
            self.changed = self.loop.time()
            self._tell_watchers(read_call(request).agent)
            self.cluster.wake()
        return None

    def _tell_watchers(self, who: str) -> None:
        for watcher in self.watchers:
            watcher(who)

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, asyncio.CancelledError) and len(self.living) < len(self.replicas):
            return  # what a killed operator still waited for
        self.history.breaks("crash", f"{context['message']}: {error!r}")


def simulate(
    story: Callable[[World], Coroutine[Any, Any, None]], *, seed: object, conduct: Conduct | None = None, **options: Any
) -> World:
    """Tell one history; `options` are the world's. Raises LawBroken, with all that happened, when a law is broken or the story's own assertion fails."""
    worlds: list[World] = []

    async def main(loop: VirtualLoop) -> None:
        world = World(loop, seed, conduct=conduct, **options)
        worlds.append(world)
        with _listening(world):
            try:
                await story(world)
            except LawBroken:
                raise
            except Exception as error:
                world.history.breaks("story", f"{type(error).__name__}: {error}")
                world.check()
            finally:
                for replica in world.living:
                    replica.kill()
                await asyncio.sleep(0.1)
        world.check()

    state = random.getstate()
    random.seed(f"{seed}/runtime")  # the jitter of informers
    try:
        run_virtually(main)
    finally:
        random.setstate(state)
    return worlds[0]


@contextmanager
def _listening(world: World) -> Generator[None]:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            world.note_log(record)

    logger = logging.getLogger("datamover")
    level, spread = logger.level, logger.propagate
    handler = Handler()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = spread


def _snapshot_definitions() -> list[Tree]:
    return [_definition(VOLUME_SNAPSHOTS, "Namespaced"), _definition(VOLUME_SNAPSHOT_CLASSES, "Cluster")]


def _definition(resource: Resource[Any], scope: str) -> Tree:
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version: Tree = {"name": resource.version, "served": True, "storage": True, "schema": {"openAPIV3Schema": free}}
    if resource is VOLUME_SNAPSHOTS:
        version["subresources"] = {"status": {}}
    return {
        "metadata": {"name": resource.group_resource},
        "spec": {
            "group": resource.group,
            "scope": scope,
            "names": {"plural": resource.plural, "kind": resource.kind},
            "versions": [version],
        },
    }
