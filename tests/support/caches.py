"""The caches of a theatre: what the product's informers would hold."""

from typing import TYPE_CHECKING, Any

from datamover.api import names as ours
from datamover.reconcilers.replication.ask import Ask
from datamover.reconcilers.replication.order import copy_of, job_of
from datamover.reconcilers.replication.sharing import sharer_of, writer_of
from datamover.reconcilers.replication.turns import Writer
from datamover.runs.facts import Unread
from datamover.volumes.copy_trigger import Sharer
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, Pod, SecretKeys
from kubekit.words.meta import ObjectMeta, PartialObject, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS, VolumeSnapshotClass
from kubekit.words.storage import StorageClass

if TYPE_CHECKING:
    from support.theatre import Theatre


class Caches:
    """The caches of a theatre."""

    def __init__(self, theatre: "Theatre") -> None:
        self._theatre = theatre

    def claim(self, namespace: str, name: str) -> Any:
        """A claim."""
        del namespace
        return self._theatre.get(PERSISTENT_VOLUME_CLAIMS, name)

    def volume(self, name: str) -> Any:
        """Nobody may read volumes."""
        del name
        return Unread.FORBIDDEN

    def storage_class(self, name: str) -> StorageClass:
        """Every class is there."""
        mode = "WaitForFirstConsumer" if self._theatre.binds_on_use else "Immediate"
        return StorageClass(
            metadata=ObjectMeta(name=name),
            provisioner="csi.example.com",
            volume_binding_mode=mode,
            allow_volume_expansion=self._theatre.expands,
        )

    def snapshot(self, namespace: str, name: str) -> Any:
        """A snapshot."""
        del namespace
        return self._theatre.get(VOLUME_SNAPSHOTS, name)

    def snapshot_classes(self) -> tuple[VolumeSnapshotClass, ...]:
        """The first one is the default."""
        first = {"snapshot.storage.kubernetes.io/is-default-class": "true"}
        return tuple(
            VolumeSnapshotClass(
                metadata=ObjectMeta(name=name, annotations=None if number else first),
                driver="csi.example.com",
                deletion_policy="Delete",
            )
            for number, name in enumerate(self._theatre.snapshot_classes)
        )

    def job(self, namespace: str, name: str) -> Any:
        """A Job."""
        del namespace
        return self._theatre.get(JOBS, name)

    def pods_of(self, owner_uid: str) -> tuple[Pod, ...]:
        """The Pods of a Job."""
        return tuple(pod for pod in self._theatre.pods if pod.metadata.owned_by(owner_uid))

    def pods_of_mover(self, namespace: str, mover_uid: str) -> tuple[Pod, ...]:
        """The Pods of an owner in a namespace."""
        found = (pod for pod in self._theatre.pods if pod.metadata.namespace == namespace)
        return tuple(pod for pod in found if pod.metadata.label(ours.OWNER_UID_LABEL) == mover_uid)

    def volumes_of(self, namespace: str, claim: str) -> tuple[Any, ...]:
        """None is known."""
        del namespace, claim
        return ()

    def secret(self, namespace: str, name: str) -> SecretKeys | Unread:
        """What the user has provided."""
        del namespace
        found = self._theatre.secrets.get(name)
        return Unread.MISSING if found is None else SecretKeys(metadata=ObjectMeta(name=name), keys=found, empty=())

    def config_map(self, namespace: str, name: str) -> SecretKeys | Unread:
        """What the user has provided."""
        del namespace
        found = self._theatre.config_maps.get(name)
        return Unread.MISSING if found is None else SecretKeys(metadata=ObjectMeta(name=name), keys=found, empty=())

    def namespace(self, name: str) -> PartialObject | Unread:
        """The namespace."""
        return self._theatre.namespace_unread or PartialObject(
            metadata=ObjectMeta(
                name=name, annotations=self._theatre.namespace_annotations, labels=self._theatre.namespace_labels
            )
        )

    def child(self, resource: Resource[Any], namespace: str, name: str) -> Any:
        """A lasting child."""
        del namespace
        return self._theatre.get(resource, name)

    def children_of(self, owner_uid: str) -> tuple[Any, ...]:
        """What belongs to the object."""
        resources = {each.kind: each for each in (JOBS, PERSISTENT_VOLUME_CLAIMS, VOLUME_SNAPSHOTS)}
        found = [
            (resources[kind], self._theatre.get(resources[kind], name))
            for kind, name in self._theatre.objects
            if kind in resources
        ]
        return tuple((resource, child) for resource, child in found if child.metadata.owned_by(owner_uid))

    def sharers(self, source: Any, uid: str) -> tuple[Sharer, ...]:
        """Who else copies the source."""
        found = [] if source is None else [self._sharer(each) for each in self._theatre.peers if each.uid != uid]
        return tuple(each for each in found if each is not None)

    def restorers(self, namespace: str, claim: str) -> tuple[str, ...]:
        """What restores into a claim."""
        return self._theatre.restorers.get(f"{namespace}/{claim}", ())

    def writers(self) -> tuple[Writer, ...]:
        """Who else writes the claim of a destination."""
        mine, found = self._theatre.ask, list[Writer | None]()
        for peer in self._theatre.peers:
            ask = peer.ask
            if peer is self._theatre or not isinstance(ask, Ask) or not isinstance(mine, Ask) or ask.is_source:
                continue
            if copy_of(ask).source == copy_of(mine).source:
                found.append(writer_of(ask, self._theatre.get(JOBS, job_of(ask)), peer.pods, now=self._theatre.now))
        return tuple(each for each in found if each is not None)

    def _sharer(self, peer: "Theatre") -> Sharer | None:
        ask = peer.ask
        if not isinstance(ask, Ask) or not ask.is_source:
            return None
        copy = copy_of(ask)
        claim = self.claim("", copy.claim) if copy.claim else None
        snapshot = self.snapshot("", copy.snapshot) if copy.snapshot else None
        return sharer_of(ask, claim=claim, snapshot=snapshot)
