"""The cache of DataMoverRestores: which restore into a claim, and whom a change of something else concerns."""

from collections.abc import Iterable

from msgspec.structs import replace

from datamover.api.names import RestorePhase
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from datamover.api.v1alpha1.restore import DATA_MOVER_RESTORES, DataMoverRestore
from datamover.reconcilers.cluster import Cluster, View
from datamover.reconcilers.projection import project_conditions, project_meta, share
from datamover.reconcilers.restore.turn import Place, has_left_half, place_of
from datamover.runs.facts import Unread
from kubekit.client.client import Client
from kubekit.runtime.clock import Clock
from kubekit.runtime.informer import Informer
from kubekit.runtime.instruments import SILENCE, InformerInstruments
from kubekit.runtime.store import Key, key_of

_BY_CLAIM = "claim"
_BY_COPY = "copy"
_BY_MOVER = "mover"
_BY_UID = "uid"


class Caches(View):
    """What decisions about DataMoverRestores read: those, what all kinds share, and single DataMovers that are named as a source."""

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
        cluster.restorers.append(self._restorers)
        self.movers = cluster.by_name(DATA_MOVERS)
        self.restores: Informer[DataMoverRestore] = Informer(
            client,
            DATA_MOVER_RESTORES,
            namespace=namespace,
            project=_project,
            indexes={_BY_CLAIM: _claim_index, _BY_COPY: _copy_index, _BY_MOVER: _mover_index, _BY_UID: _uid_index},
            clock=clock,
            metrics=metrics,
            optional=True,
        )

    def mover(self, namespace: str, name: str) -> DataMover | Unread:
        """What is known of a DataMover that a restore names."""
        return self.named(DATA_MOVERS, namespace, name)

    def rivals(self, namespace: str, claim: str) -> tuple[DataMoverRestore, ...]:
        """The restores into a claim."""
        return self.restores.store.by_index(_BY_CLAIM, f"{namespace}/{claim}")

    def restores_of_claim(self, namespace: str, claim: str) -> Iterable[Key]:
        """The restores into a claim, and the one whose safety copy it is, by their keys."""
        copied = self.restores.store.by_index(_BY_COPY, f"{namespace}/{claim}")
        return (key_of(restore.metadata) for restore in (*self.rivals(namespace, claim), *copied))

    def _restorers(self, namespace: str, claim: str) -> Iterable[str]:
        """The restores that write a claim or are about to, and those that have left it as neither what it was nor whole."""
        found = self.claim(namespace, claim)
        uid = found.metadata.uid if found is not None else None
        for restore in self.rivals(namespace, claim):
            if place_of(restore) is not Place.AWAY or has_left_half(restore, claim_uid=uid):
                yield f"{DATA_MOVER_RESTORES.kind} {restore.metadata.name}"

    def restores_of_mover(self, key: Key) -> Iterable[Key]:
        """The restores that name a DataMover as their source."""
        found = self.restores.store.by_index(_BY_MOVER, f"{key.namespace}/{key.name}")
        return (key_of(restore.metadata) for restore in found)

    def restore_of_uid(self, uid: str) -> Iterable[Key]:
        """The restore of a UID."""
        return (key_of(restore.metadata) for restore in self.restores.store.by_index(_BY_UID, uid))

    def unfinished(self) -> Iterable[Key]:
        """The restores that have not ended."""
        return tuple(
            key_of(restore.metadata)
            for restore in self.restores.store.list()
            if (restore.status.phase if restore.status else None) not in RestorePhase.TERMINAL
        )


def _project(restore: DataMoverRestore) -> DataMoverRestore:
    status = restore.status
    kept = status and replace(status, phase=share(status.phase), conditions=project_conditions(status.conditions))
    return replace(restore, metadata=project_meta(restore.metadata), status=kept)


def claim_of(restore: DataMoverRestore) -> str | None:
    """Return the claim that is restored into: the recorded one, else the one that is asked for."""
    status = restore.status
    if status is not None and status.run is not None:
        return status.run.claim
    return restore.spec.target.claim_name if restore.spec is not None else None


def _claim_index(restore: DataMoverRestore) -> Iterable[str]:
    claim = claim_of(restore)
    if claim:
        yield f"{restore.metadata.namespace}/{claim}"


def _copy_index(restore: DataMoverRestore) -> Iterable[str]:
    run = restore.status.run if restore.status is not None else None
    if run is not None and run.safety is not None:
        yield f"{restore.metadata.namespace}/{run.safety.claim_name}"


def _mover_index(restore: DataMoverRestore) -> Iterable[str]:
    if restore.spec is not None and restore.spec.source.data_mover:
        yield f"{restore.metadata.namespace}/{restore.spec.source.data_mover}"


def _uid_index(restore: DataMoverRestore) -> Iterable[str]:
    yield restore.metadata.uid
