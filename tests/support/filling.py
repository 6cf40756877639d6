"""Claims that are filled from a ReplicationDestination whose image is made, and whose status is written, by the test."""

from pathlib import Path
from typing import Any

from datamover.api.volsync.names import POPULATING_LABEL_PREFIX
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from localkube.node.kinds import PersistentVolume
from support.scenario import CLASS, Cluster

VOLUMES = Resource("", "v1", "persistentvolumes", "PersistentVolume", PersistentVolume, namespaced=False)
CREATED_BY = {"app.kubernetes.io/created-by": "volsync"}


async def make_image(world: Cluster, name: str = "image-1", *, labels: dict[str, str] | None = None) -> None:
    """Take a snapshot of a volume with files."""
    if await world._get(PERSISTENT_VOLUME_CLAIMS, "restored") is None:
        await world.create_volume("restored")
    spec = {"source": {"persistentVolumeClaimName": "restored"}, "volumeSnapshotClassName": CLASS}
    await world.create(VOLUME_SNAPSHOTS, name, metadata={"labels": CREATED_BY if labels is None else labels}, spec=spec)

    async def ready() -> bool:
        found = await world._get(VOLUME_SNAPSHOTS, name)
        return found is not None and found.status is not None and found.status.ready_to_use is True

    await world.wait_for(ready)


async def publish(world: Cluster, image: str = "image-1") -> None:
    latest = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": image}
    await world.client.patch(
        REPLICATION_DESTINATIONS,
        "restore",
        {"status": {"latestImage": latest}},
        namespace=world.namespace,
        subresource="status",
        field_manager="test",
    )


async def ask(world: Cluster, *, storage_class: str = CLASS, **metadata: Any) -> Any:
    source = {"apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": "restore"}
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": "2Gi"}},
        "dataSourceRef": source,
    }
    return await world.create(PERSISTENT_VOLUME_CLAIMS, "data", metadata=metadata, spec=spec)


async def bound(world: Cluster) -> Path:
    """Wait until the claim is bound and nothing of ours is left; return where its files are."""

    async def done() -> bool:
        claim = await world._get(PERSISTENT_VOLUME_CLAIMS, "data")
        return claim is not None and claim.status is not None and claim.status.phase == "Bound"

    await world.wait_for(done)
    await primes_gone(world)
    claim = await world.client.get(PERSISTENT_VOLUME_CLAIMS, "data", namespace=world.namespace)
    volume = await world.client.get(VOLUMES, claim.spec.volume_name)
    assert volume.metadata.annotation("volsync.backube/populated-from") == f"{world.namespace}/restore"
    return Path(volume.directory)


async def primes_gone(world: Cluster) -> None:
    async def gone() -> bool:
        claims = await world.client.list(PERSISTENT_VOLUME_CLAIMS, namespace=world.namespace)
        images = await world.client.list(VOLUME_SNAPSHOTS, namespace=world.namespace)
        marked = [
            key for each in images for key in each.metadata.labels or {} if key.startswith(POPULATING_LABEL_PREFIX)
        ]
        return not marked and not any(each.metadata.name.startswith("vs-prime-") for each in claims)

    await world.wait_for(gone)
