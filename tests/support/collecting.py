"""The operator as it collects DataVolumes, on an embedded API server; the test plays the CDI beside it by hand."""

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from datamover.api.cdi import names
from datamover.api.cdi.config import CDI_CONFIGS
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.cdi.definition import MANAGED_BY_LABEL, cdi_config_crd, cdi_crd, data_volume_crd
from datamover.api.crd import crd
from datamover.api.kubevirt import KUBEVIRTS
from datamover.cli.datavolumes import data_volume_kinds
from datamover.cli.operator import Operator, new_metrics
from datamover.cli.options import DataVolumeOptions, Options
from kubekit.client.client import Client
from kubekit.client.errors import NotFound
from kubekit.words.apiextensions import CUSTOM_RESOURCE_DEFINITIONS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import Manifest, Model, ObjectMeta, Resource
from kubekit.words.timestamps import seconds
from localkube.transport import LocalTransport
from support import cdi
from support.embedded import Embedded, embedded

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


class Collecting:
    """A world with DataVolumes, and the operator in it."""

    def __init__(self, world: Embedded) -> None:
        self.world = world
        self.client = world.client
        self.operator: Operator | None = None
        self._task: Any = None

    async def start(self, **wanted: Any) -> None:
        """Start the operator; another one where one runs ends it as a kill would."""
        if self._task is not None:
            await self.world.stop(self._task)
        registry, metrics = new_metrics()
        options = Options(data_volumes=replace(COLLECTING, **wanted))
        assert self.world.server is not None
        client = Client(LocalTransport(self.world.server))
        self.operator = Operator(
            client,
            cluster="c",
            options=options,
            registry=registry,
            metrics=metrics,
            kinds=data_volume_kinds(options),
        )
        stop, operator = asyncio.Event(), self.operator
        self._task = self.world.run(lambda: operator.run(stop))

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
        built = cdi.build_claim({"metadata": {"name": name, "uid": uid}}, CLAIM_SPEC)
        built["metadata"]["ownerReferences"] = [
            *(also or [])[:1],
            *built["metadata"]["ownerReferences"],
            *(also or [])[1:],
        ]
        await self.world.create(PERSISTENT_VOLUME_CLAIMS, built)
        await self.world.patch(PERSISTENT_VOLUME_CLAIMS, name, {"phase": phase}, status=True)

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
        await self.world.quiet(0.15)
        return await self.tree(name)

    async def stays(self, name: str = "disk", *, reason: str | None = None) -> dict[str, Any]:
        """Wait until nothing happens any more; return the claim of a DataVolume that is still there, and has said why."""
        if reason is not None:
            await self.until_told(name, reason)
        await self.world.quiet(0.25)
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
            return await self.client.request_json("GET", PERSISTENT_VOLUME_CLAIMS.path(namespace="default", name=name))
        except NotFound:
            return {}


def owners_of(claim: dict[str, Any]) -> list[Any]:
    """Return the owners of a claim."""
    return claim["metadata"].get("ownerReferences") or []


@asynccontextmanager
async def _open(definitions: list[Manifest]) -> AsyncIterator[Collecting]:
    async with embedded() as world:
        assert world.server is not None
        world.run(world.server.collect)
        for each in definitions:
            await world.create(CUSTOM_RESOURCE_DEFINITIONS, each)
        yield Collecting(world)


def collecting(*, ours: bool = False) -> AbstractAsyncContextManager[Collecting]:
    """A world whose definitions are a CDI's, or ours."""
    made = [each() for each in (data_volume_crd, cdi_config_crd, cdi_crd)]
    others = [crd(each, rules={}, required=()) for each in (KUBEVIRTS, MACHINES, OWNERS)]
    return _open([*(made if ours else map(foreign, made)), *others])
