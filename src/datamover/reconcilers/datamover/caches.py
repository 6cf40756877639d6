"""The informers that DataMovers need, and the view that `gather` has of them."""

from collections.abc import Collection, Iterable
from typing import Any

from datamover.api import names
from datamover.api.ownership import select_children
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from datamover.reconcilers.datamover.projection import project_claim, project_mover, project_volume
from datamover.runs.facts import Unread
from kubekit.client.client import Client
from kubekit.runtime.clock import Clock
from kubekit.runtime.informer import Informer, State
from kubekit.runtime.instruments import SILENCE, InformerInstruments
from kubekit.runtime.named import Absence, NamedInformers
from kubekit.runtime.store import Key, key_of
from kubekit.words.batch import JOBS, Job
from kubekit.words.core import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    SECRETS,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    Secret,
    SecretKeys,
    secret_keys,
    without_values,
)
from kubekit.words.snapshot import VOLUME_SNAPSHOT_CLASSES, VOLUME_SNAPSHOTS, VolumeSnapshot, VolumeSnapshotClass
from kubekit.words.storage import STORAGE_CLASSES, StorageClass

_BY_CLONE = "clone"
_BY_SOURCE = "source"
_BY_SECRET = "secret"  # noqa: S105 - the name of an index
_BY_UID = "uid"
_BY_OWNER = "owner"
_BY_MOVER = "mover"
_BY_CLAIM = "claim"

_UNREAD = {
    Absence.MISSING: Unread.MISSING,
    Absence.FORBIDDEN: Unread.FORBIDDEN,
    Absence.UNKNOWN: Unread.NOT_SYNCED,
}


class Caches:
    """Everything that is watched. Children are watched by their created-by label; Secrets one by one, while a run needs them."""

    def __init__(
        self,
        client: Client,
        *,
        clock: Clock,
        namespace: str | None = None,
        created_by: Collection[str] = (names.CREATED_BY_VALUE,),
        metrics: InformerInstruments = SILENCE,
    ) -> None:
        def children(resource: Any, **extra: Any) -> Any:
            return Informer(
                client,
                resource,
                namespace=namespace,
                label_selector=select_children(created_by),
                clock=clock,
                metrics=metrics,
                **extra,
            )

        self.movers: Informer[DataMover] = Informer(
            client,
            DATA_MOVERS,
            namespace=namespace,
            project=project_mover,
            indexes={
                _BY_UID: _uid_index,
                _BY_CLONE: _clone_index,
                _BY_SOURCE: _source_index,
                _BY_SECRET: _secret_index,
            },
            clock=clock,
            metrics=metrics,
        )
        self.claims: Informer[PersistentVolumeClaim] = Informer(
            client, PERSISTENT_VOLUME_CLAIMS, namespace=namespace, project=project_claim, clock=clock, metrics=metrics
        )
        self.volumes: Informer[PersistentVolume] = Informer(
            client,
            PERSISTENT_VOLUMES,
            project=project_volume,
            indexes={_BY_CLAIM: _claim_index},
            optional=True,
            clock=clock,
            metrics=metrics,
        )
        self.classes: Informer[StorageClass] = Informer(client, STORAGE_CLASSES, clock=clock, metrics=metrics)
        self.jobs: Informer[Job] = children(JOBS)
        self.pods: Informer[Pod] = children(PODS, indexes={_BY_OWNER: _owner_index, _BY_MOVER: _mover_index})
        self.snapshots: Informer[VolumeSnapshot] = children(VOLUME_SNAPSHOTS, optional=True)
        self.snapshot_classes_informer: Informer[VolumeSnapshotClass] = Informer(
            client, VOLUME_SNAPSHOT_CLASSES, optional=True, clock=clock, metrics=metrics
        )
        self.secrets: NamedInformers[Secret] = NamedInformers(client, SECRETS, project=without_values, clock=clock)

    def informers(self) -> tuple[Informer[Any], ...]:
        """All that the manager has to run."""
        return (
            self.movers,
            self.claims,
            self.volumes,
            self.classes,
            self.jobs,
            self.pods,
            self.snapshots,
            self.snapshot_classes_informer,
        )

    # What `gather` reads.

    def claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        """A PersistentVolumeClaim."""
        return self.claims.store.get(Key(namespace, name))

    def volume(self, name: str) -> PersistentVolume | Unread:
        """A PersistentVolume. NOT_SYNCED: its watch has not shown it yet."""
        found = self.volumes.store.get(Key("", name))
        if found is not None:
            return found
        outage = self.volumes.outage
        readable = outage is None or outage[0] not in (State.ABSENT, State.FORBIDDEN)
        return Unread.NOT_SYNCED if readable else Unread.FORBIDDEN

    def storage_class(self, name: str) -> StorageClass | None:
        """A StorageClass."""
        return self.classes.store.get(Key("", name))

    def secret(self, namespace: str, name: str) -> SecretKeys | Unread:
        """What is known of a Secret."""
        found = self.secrets.get(Key(namespace, name))
        if isinstance(found, Secret):
            return secret_keys(found)
        return _UNREAD[found]

    def snapshot(self, namespace: str, name: str) -> VolumeSnapshot | None:
        """A VolumeSnapshot of ours."""
        return self.snapshots.store.get(Key(namespace, name))

    def snapshot_classes(self) -> tuple[VolumeSnapshotClass, ...] | None:
        """All VolumeSnapshotClasses; None when the cluster has no snapshot API."""
        if self.snapshot_classes_informer.state in (State.ABSENT, State.FORBIDDEN):
            return None
        return self.snapshot_classes_informer.store.list()

    def job(self, namespace: str, name: str) -> Job | None:
        """A Job of ours."""
        return self.jobs.store.get(Key(namespace, name))

    def pods_of(self, owner_uid: str) -> tuple[Pod, ...]:
        """The Pods that an owner controls."""
        return self.pods.store.by_index(_BY_OWNER, owner_uid)

    def pods_of_mover(self, mover_uid: str) -> tuple[Pod, ...]:
        """The Pods that carry a DataMover's UID as a label."""
        return self.pods.store.by_index(_BY_MOVER, mover_uid)

    def volumes_of(self, namespace: str, claim: str) -> tuple[PersistentVolume, ...]:
        """The PersistentVolumes bound to a claim of this name."""
        return self.volumes.store.by_index(_BY_CLAIM, f"{namespace}/{claim}")

    def clone_holders(self, namespace: str, name: str) -> tuple[DataMover, ...]:
        """The DataMovers whose status names this clone."""
        return self.movers.store.by_index(_BY_CLONE, f"{namespace}/{name}")

    # Whom a change concerns.

    def movers_of_claim(self, namespace: str, name: str) -> Iterable[Key]:
        """The DataMovers that read or made a claim."""
        for index in (_BY_SOURCE, _BY_CLONE):
            for mover in self.movers.store.by_index(index, f"{namespace}/{name}"):
                yield Key(namespace, mover.metadata.name)

    def movers_of_secret(self, key: Key) -> Iterable[Key]:
        """The DataMovers that point to a Secret."""
        for mover in self.movers.store.by_index(_BY_SECRET, f"{key.namespace}/{key.name}"):
            yield Key(key.namespace, mover.metadata.name)

    def mover_of_uid(self, uid: str) -> Iterable[Key]:
        """The DataMover of a UID."""
        return (key_of(mover.metadata) for mover in self.movers.store.by_index(_BY_UID, uid))


def _uid_index(mover: DataMover) -> Iterable[str]:
    yield mover.metadata.uid


def _clone_index(mover: DataMover) -> Iterable[str]:
    if mover.status is not None and mover.status.restored_pvc_name:
        yield f"{mover.metadata.namespace}/{mover.status.restored_pvc_name}"


def _source_index(mover: DataMover) -> Iterable[str]:
    if mover.spec is not None:
        yield f"{mover.metadata.namespace}/{mover.spec.source_pvc}"
    recorded = mover.status and mover.status.run and mover.status.run.source
    if recorded and (mover.spec is None or mover.spec.source_pvc != recorded):
        yield f"{mover.metadata.namespace}/{recorded}"


def _secret_index(mover: DataMover) -> Iterable[str]:
    if mover.spec is not None:
        yield f"{mover.metadata.namespace}/{mover.spec.secret_name}"


def _owner_index(pod: Pod) -> Iterable[str]:
    return (reference.uid for reference in pod.metadata.owner_references or ())


def _mover_index(pod: Pod) -> Iterable[str]:
    uid = pod.metadata.label(names.OWNER_UID_LABEL)
    if uid:
        yield uid


def _claim_index(volume: PersistentVolume) -> Iterable[str]:
    claim = volume.spec and volume.spec.claim_ref
    if claim and claim.name:
        yield f"{claim.namespace}/{claim.name}"
