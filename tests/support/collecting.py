"""The operator as it collects DataVolumes, on an embedded API server or on a real one; the test plays the CDI beside it by hand.

On a real one Kubernetes binds the claims, and its garbage collector looks after what owns what.
"""

import asyncio
import contextlib
import copy
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from datamover.api.cdi import names
from datamover.api.cdi.config import CDI_CONFIGS, CDIS
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.cdi.definition import MANAGED_BY_LABEL, cdi_config_crd, cdi_crd, data_volume_crd
from datamover.api.crd import crd
from datamover.api.kubevirt import KUBEVIRTS
from datamover.cli.datavolumes import data_volume_kinds
from datamover.cli.disks import MakePopulate
from datamover.cli.operator import Operator, new_metrics
from datamover.cli.options import DataVolumeOptions, Options
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.errors import NotFound
from kubekit.client.http import HttpTransport
from kubekit.client.transport import Transport
from kubekit.words.apiextensions import CUSTOM_RESOURCE_DEFINITIONS
from kubekit.words.core import NAMESPACES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kubekit.words.meta import Manifest, Model, ObjectMeta, Resource
from kubekit.words.timestamps import seconds
from localkube.transport import LocalTransport
from support import cdi
from support.embedded import Embedded, embedded
from support.kubernetes import ControlPlane

KEY: Final = names.DELETE_AFTER_COMPLETION
ASKED: Final = {KEY: "true"}
CLAIM_SPEC: Final = {
    "accessModes": ["ReadWriteOnce"],
    "resources": {"requests": {"storage": "1Gi"}},
    "volumeName": "pv",
}


class Inert(Model, frozen=True):
    """An owner of which nothing is known but that it is there."""

    metadata: ObjectMeta = ObjectMeta()


MACHINES: Final = Resource("kubevirt.io", "v1", "virtualmachines", "VirtualMachine", Inert)
OWNERS: Final = Resource("example.com", "v1", "owners", "Owner", Inert)
COLLECTING: Final = DataVolumeOptions(collection=True, ttl=0, cdi_namespace="default")


def foreign(definition: Manifest) -> Manifest:
    """Return a definition as another project installs it."""
    changed = copy.deepcopy(definition)
    changed["metadata"]["labels"][MANAGED_BY_LABEL] = "cdi-operator"
    return changed


READS: Final = frozenset({"get", "list", "watch"})


class Collecting:
    """A world with DataVolumes, and the operator in it."""

    def __init__(self, world: Embedded, connect: Callable[[], Transport]) -> None:
        """`connect` is the operator's way to the server."""
        self.world = world
        self.client = world.client
        self.operator: Operator | None = None
        self.requests: Counter[tuple[str, str]] = Counter()
        """What operators have asked for: verb and resource."""
        self.survivors: list[Manifest] = []
        """Claims whose DataVolumes were collected."""
        self._connect = connect
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, **wanted: Any) -> None:
        """Start the operator; another one where one runs ends it as a kill would."""
        await self.kill()
        await self.join(**wanted)

    async def kill(self) -> None:
        """End every operator, wherever it is."""
        for task in self._tasks:
            await self.world.stop(task)
        self._tasks.clear()

    async def join(self, *, fills: bool = True, **wanted: Any) -> None:
        """Start one more operator. Without `fills` the test plays who fills the disks, and says so in their status."""
        registry, metrics = new_metrics()
        space = self.world.namespace
        wanted = {"home": space, "cdi_namespace": space, **wanted}
        options = Options(
            data_volumes=replace(COLLECTING, **wanted), namespace=None if self.world.server is not None else space
        )
        operator = self.operator = Operator(
            Client(self._connect(), observe=self._count),
            cluster="c",
            options=options,
            registry=registry,
            metrics=metrics,
            kinds=[make for make in data_volume_kinds(options) if fills or not isinstance(make, MakePopulate)],
        )
        stop = asyncio.Event()
        self._tasks.append(self.world.run(lambda: operator.run(stop)))

    def _count(self, verb: str, resource: str, status: int) -> None:
        del status
        self.requests[verb, resource] += 1

    def writes(self, *, events: bool = False) -> int:
        """How many writes operators have asked for."""
        return sum(
            count
            for (verb, resource), count in self.requests.items()
            if verb not in READS and (events or "events" not in resource)
        )

    async def working(self) -> None:
        """Wait until the operator works."""

        async def works() -> bool:
            assert self.operator is not None
            manager = self.operator.manager
            return not manager.notes() and not any(check() for check in manager.checks().values())

        await self.world.until(works, what="the operator works")

    async def quiet(self, seconds: float = 0.15) -> None:
        """Wait until the operator has written nothing for a while."""
        while True:
            before = self.writes(events=True)
            await asyncio.sleep(seconds)
            if self.writes(events=True) == before:
                return

    def metric(self, name: str, **labels: str) -> float:
        """Return a number of the operator's, 0 where there is none."""
        assert self.operator is not None
        return self.operator.registry.get_sample_value(name, labels) or 0.0

    async def owner(self, resource: Resource[Any], name: str, *, block: bool = False, controller: bool = False) -> Any:
        """Make an owner, and return the reference to it."""
        made = await self.world.create(resource, {"metadata": {"name": name}})
        reference = {"apiVersion": resource.api_version, "kind": resource.kind, "name": name, "uid": made.metadata.uid}
        return {
            **reference,
            **({"blockOwnerDeletion": True} if block else {}),
            **({"controller": True} if controller else {}),
        }

    async def volume(
        self,
        name: str = "disk",
        *,
        phase: str = "Succeeded",
        claim: str | None = "Bound",
        owners: list[Any] | None = None,
        also: list[Any] | None = None,
        ready_since: str = "",
        **meta: Any,
    ) -> Any:
        """Make a DataVolume and its claim, in phases; `also` are further owners of the claim."""
        meta = {"name": name, **meta, **({"ownerReferences": owners} if owners else {})}
        spec = {"source": {"http": {"url": "https://me:secret@images.example/disk.img?key=1"}}, "pvc": CLAIM_SPEC}
        made = await self.world.create(DATA_VOLUMES, {"metadata": meta, "spec": spec})
        if claim is not None:
            await self.claim(name, made.metadata.uid, phase=claim, also=also)
        await self.status(name, phase, ready_since=ready_since)
        return made

    async def claim(self, name: str, uid: str, *, phase: str = "Bound", also: list[Any] | None = None) -> None:
        """Make a claim as a CDI does, and let it be in a phase."""
        spec = {**CLAIM_SPEC, "volumeName": self._volume_of(name), "storageClassName": ""}
        built = cdi.build_claim({"metadata": {"name": name, "uid": uid}}, spec)
        built["metadata"]["ownerReferences"] = [
            *(also or [])[:1],
            *built["metadata"]["ownerReferences"],
            *(also or [])[1:],
        ]
        if phase == "Lost":  # it was bound, to what is not there any more
            built["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = "yes"
        if phase == "Bound" and self.world.server is None:
            await self._place(name)
        await self.world.create(PERSISTENT_VOLUME_CLAIMS, built)
        if self.world.server is not None:
            await self.world.patch(PERSISTENT_VOLUME_CLAIMS, name, {"phase": phase}, status=True)
        await self._until_phase(name, phase)

    def _volume_of(self, claim: str) -> str:
        return f"pv-{self.world.namespace}-{claim}"

    async def bind(self, name: str) -> None:
        """Let a claim become Bound."""
        if self.world.server is not None:
            await self.world.patch(PERSISTENT_VOLUME_CLAIMS, name, {"phase": "Bound"}, status=True)
            return
        await self._place(name)
        # Kubernetes' binder looks at claims every 15 seconds, and when one changes.
        await self.world.patch(PERSISTENT_VOLUME_CLAIMS, name, {"metadata": {"labels": {"look": "again"}}})
        await self._until_phase(name, "Bound")

    async def _place(self, name: str) -> None:
        """Make the volume of a claim, and wait until Kubernetes' binder knows it."""
        spec: dict[str, Any] = {"accessModes": CLAIM_SPEC["accessModes"], "capacity": {"storage": "1Gi"}}
        spec |= {"hostPath": {"path": f"/nowhere/{name}"}, "storageClassName": ""}
        spec["claimRef"] = {"namespace": self.world.namespace, "name": name}
        volume = self._volume_of(name)
        await self.world.create(PERSISTENT_VOLUMES, {"metadata": {"name": volume}, "spec": spec})

        async def is_known() -> bool:
            found = await self.client.request_json("GET", PERSISTENT_VOLUMES.path(name=volume))
            return found["status"]["phase"] == "Available"

        await self.world.until(is_known, what=f"volume {volume} is known")

    async def _until_phase(self, name: str, phase: str) -> None:
        async def reached() -> bool:
            return (await self.tree(name)).get("status", {}).get("phase") == phase

        await self.world.until(reached, what=f"claim {name} is {phase}")

    async def status(self, name: str, phase: str, *, ready: str = "True", ready_since: str = "") -> None:
        """Let the CDI write a status."""
        since = ready_since or seconds(datetime.now(UTC))
        condition = {"type": "Ready", "status": ready, "lastTransitionTime": since, "lastHeartbeatTime": since}
        said = {"phase": phase, "claimName": name, "progress": "N/A", "conditions": [condition]}
        await self.world.patch(DATA_VOLUMES, name, said, status=True)

    async def configure(self, ttl: int | None) -> None:
        """Set the lifetime in CDIConfig."""
        spec = {"dataVolumeTTLSeconds": ttl}
        try:
            await self.world.patch(CDI_CONFIGS, names.CONFIG_NAME, {"spec": spec})
        except NotFound:
            await self.world.create(CDI_CONFIGS, {"metadata": {"name": names.CONFIG_NAME}, "spec": spec})

    async def annotate(self, name: str, **annotations: str | None) -> None:
        """Change what a DataVolume says."""
        await self.world.patch(DATA_VOLUMES, name, {"metadata": {"annotations": annotations}})

    async def collected(self, name: str = "disk") -> dict[str, Any]:
        """Wait until a DataVolume is gone; return what its claim is then. Garbage collection has had its time."""
        await self.world.until_gone(DATA_VOLUMES, name)
        await self.quiet()
        claim = await self.tree(name)
        self.survivors.append(claim)
        return claim

    async def stays(self, name: str = "disk", *, reason: str | None = None) -> dict[str, Any]:
        """Wait until nothing happens any more; return the claim of a DataVolume that is still there, and has said why."""
        if reason is not None:
            await self.until_told(name, reason)
        await self.working()
        await self.quiet(0.25)
        found = await self.world.get(DATA_VOLUMES, name)
        assert found is not None, "it was collected"
        assert not found.metadata.finalizers or names.FINALIZER not in found.metadata.finalizers
        if reason is None:
            assert found.metadata.annotation(names.COLLECTION) is None
        return await self.tree(name)

    async def until_told(self, name: str, reason: str) -> None:
        """Wait until a DataVolume says why it stays."""

        async def told() -> bool:
            found = await self.world.get(DATA_VOLUMES, name)
            return (found.metadata.annotation(names.COLLECTION) or "").startswith(f"{reason}: ")

        await self.world.until(told, what=f"{name} says {reason}")

    async def tree(self, name: str) -> dict[str, Any]:
        """Return a claim as it is stored; empty when it is gone."""
        try:
            return await self.client.request_json(
                "GET", PERSISTENT_VOLUME_CLAIMS.path(namespace=self.world.namespace, name=name)
            )
        except NotFound:
            return {}


def owners_of(claim: dict[str, Any]) -> list[Any]:
    """Return the owners of a claim."""
    return claim["metadata"].get("ownerReferences") or []


def definitions(*, ours: bool = False) -> list[Manifest]:
    """Return the definitions of a world: those of DataVolumes are a CDI's, or ours."""
    made = [each() for each in (data_volume_crd, cdi_config_crd, cdi_crd)]
    others = [crd(each, rules={}, required=()) for each in (KUBEVIRTS, MACHINES, OWNERS)]
    return [*(made if ours else map(foreign, made)), *others]


@asynccontextmanager
async def collecting(*, ours: bool = False) -> AsyncIterator[Collecting]:
    """An embedded world whose definitions are a CDI's, or ours."""
    async with embedded() as world:
        server = world.server
        assert server is not None
        world.run(server.collect)
        for each in definitions(ours=ours):
            await world.create(CUSTOM_RESOURCE_DEFINITIONS, each)
        yield Collecting(world, lambda: LocalTransport(server))


@asynccontextmanager
async def collecting_on(plane: ControlPlane, *, user: str | None = None) -> AsyncIterator[Collecting]:
    """A namespace of its own on a real control plane that has the definitions; operators are this user, or else may do anything."""
    config = load_config(plane.admin_kubeconfig)
    theirs = config if user is None else load_config(plane.user_kubeconfig(user))
    transports = [HttpTransport(config)]
    client = Client(transports[0], user_agent="test")

    def connect() -> Transport:
        transports.append(HttpTransport(theirs))
        return transports[-1]

    world = Embedded(client, namespace=f"case-{secrets.token_hex(4)}")
    try:
        await client.create(NAMESPACES, {"metadata": {"name": world.namespace}})
        yield Collecting(world, connect)
    finally:
        await world.close()
        for resource, name in ((CDI_CONFIGS, names.CONFIG_NAME), (CDIS, "cdi"), (KUBEVIRTS, "kubevirt")):
            with contextlib.suppress(NotFound):
                await world.delete(resource, name)
        for each in transports:
            await each.close()
