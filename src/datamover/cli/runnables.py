"""What `datamover run` runs: objects of five kinds, and what they are called. Pure."""

from dataclasses import dataclass
from typing import Any, Final

from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from datamover.api.v1alpha1.restore import DATA_MOVER_RESTORES, DataMoverRestore
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS, ReplicationDestination
from datamover.api.volsync.replication_source import REPLICATION_SOURCES, ReplicationSource
from kubekit.runtime.store import Key, key_of
from kubekit.words.meta import Resource

Replication = ReplicationSource | ReplicationDestination
Ours = DataMover | DataMoverRestore
"""Kinds with a phase and a run of ours in their status, which happen once."""
Runnable = Ours | Replication | DataVolume

RUNNABLES: Final[dict[str, Resource[Any]]] = {
    each.kind: each
    for each in (DATA_VOLUMES, DATA_MOVERS, DATA_MOVER_RESTORES, REPLICATION_SOURCES, REPLICATION_DESTINATIONS)
}
"""The kinds, by name."""


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """What one object is called. Objects of two kinds may have the same name."""

    kind: str
    key: Key

    def __str__(self) -> str:
        return str(self.key) if self.kind == DATA_MOVERS.kind else f"{self.kind} {self.key}"

    @property
    def resource(self) -> Resource[Any]:
        """The kind, as a client asks for it."""
        return RUNNABLES[self.kind]


def name_of(obj: Runnable) -> Name:
    """Return what an object is called."""
    return Name(kind_of(obj), key_of(obj.metadata))


def kind_of(obj: Runnable) -> str:
    """Return the kind of an object."""
    match obj:
        case DataVolume():
            return DATA_VOLUMES.kind
        case DataMover():
            return DATA_MOVERS.kind
        case DataMoverRestore():
            return DATA_MOVER_RESTORES.kind
        case ReplicationSource():
            return REPLICATION_SOURCES.kind
        case ReplicationDestination():
            return REPLICATION_DESTINATIONS.kind
