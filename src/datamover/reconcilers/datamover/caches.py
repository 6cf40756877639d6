"""The cache of DataMovers: whose a clone's name is, and whom a change of something else concerns."""

from collections.abc import Iterable

from datamover.api.names import ConditionType, CopyMethod, Phase
from datamover.api.reasons import VERIFICATION_WAITING
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from datamover.reconcilers.cluster import Cluster, View
from datamover.reconcilers.datamover.projection import project_mover
from datamover.reconcilers.datamover.sharing import is_backing_up, sharer_of
from datamover.volumes.copy_trigger import Sharer
from kubekit.client.client import Client
from kubekit.runtime.clock import Clock
from kubekit.runtime.informer import Informer
from kubekit.runtime.instruments import SILENCE, InformerInstruments
from kubekit.runtime.store import Key, key_of

_BY_CLONE = "clone"
_BY_SOURCE = "source"
_BY_SECRET = "secret"  # noqa: S105 - the name of an index
_BY_UID = "uid"


class Caches(View):
    """What decisions about DataMovers read: DataMovers, and what all kinds share."""

    def __init__(
        self,
        client: Client,
        *,
        cluster: Cluster,
        clock: Clock,
        namespace: str | None = None,
        metrics: InformerInstruments = SILENCE,
    ) -> None:
        super().__init__(cluster)
        cluster.copiers.append(self.copiers)
        cluster.readers.append(self._readers)
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

    def clone_holders(self, namespace: str, name: str) -> tuple[DataMover, ...]:
        """The DataMovers whose status names this clone."""
        return self.movers.store.by_index(_BY_CLONE, f"{namespace}/{name}")

    def backups(self, source: str, mover: DataMover) -> tuple[str, ...]:
        """The other DataMovers that back a claim up now, by name."""
        return tuple(
            other.metadata.name
            for other in self.movers.store.by_index(_BY_SOURCE, f"{mover.metadata.namespace}/{source}")
            if other.metadata.uid != mover.metadata.uid and is_backing_up(other)
        )

    def verified_again(self, namespace: str, source: str) -> Iterable[Key]:
        """The DataMovers of a claim that are complete, and whose verification may wait for another one's backup."""
        for mover in self.movers.store.by_index(_BY_SOURCE, f"{namespace}/{source}"):
            record = mover.status.verification if mover.status is not None else None
            if record is not None and record.reason == VERIFICATION_WAITING:
                yield key_of(mover.metadata)

    def movers_of_claim(self, namespace: str, name: str) -> Iterable[Key]:
        """The DataMovers that read or made a claim."""
        for index in (_BY_SOURCE, _BY_CLONE):
            for mover in self.movers.store.by_index(index, f"{namespace}/{name}"):
                yield Key(namespace, mover.metadata.name)

    def copiers(self, namespace: str, source: str) -> Iterable[tuple[str, Sharer]]:
        """The DataMovers that copy a claim now, and what they have told of its copy trigger."""
        for mover in self.movers.store.by_index(_BY_SOURCE, f"{namespace}/{source}"):
            status = mover.status
            run = status.run if status is not None else None
            if status is None or run is None or run.source != source:
                continue
            claim = self.claim(namespace, status.restored_pvc_name) if status.restored_pvc_name else None
            snapshot = self.snapshot(namespace, run.snapshot_name) if run.snapshot_name else None
            sharer = sharer_of(mover, claim=claim, snapshot=snapshot)
            if sharer is not None:
                yield mover.metadata.uid, sharer

    def _readers(self, namespace: str, source: str) -> Iterable[str]:
        """The DataMovers that are recorded to copy or read a claim next, or at work on it: their Jobs and clones may be on their way.

        One that stands still begins nothing before it has looked whether the claim is being restored.
        """
        for mover in self.movers.store.by_index(_BY_SOURCE, f"{namespace}/{source}"):
            status, run = mover.status, mover.status.run if mover.status is not None else None
            if status is None or run is None or run.source != source or mover.metadata.terminating:
                continue
            direct = run.copy_method == CopyMethod.DIRECT
            begins = status.phase == Phase.CREATING_CLONE or (direct and status.phase == Phase.CREATING_POD)
            stalled = status.condition(ConditionType.STALLED)
            held = (stalled is not None and stalled.status == "True") or (mover.spec is not None and mover.spec.suspend)
            if begins and not held:
                yield f"DataMover {mover.metadata.name} {'reads it' if direct else 'is about to copy it'}"

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
