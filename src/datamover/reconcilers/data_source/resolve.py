"""What a DataSource comes to in the end. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from datamover.api.cdi.data_source import DataSource, DataSourceSource
from datamover.api.cdi.data_volume import ObjectSource
from datamover.api.validation import is_object_name
from datamover.runs.facts import Unread


class Reason(StrEnum):
    """Why a DataSource is ready or is not. Stable: programs rely on them."""

    READY = "Ready"
    NOT_FOUND = "NotFound"
    NO_SOURCE = "NoSource"
    AMBIGUOUS = "AmbiguousSource"
    SELF_REFERENCE = "SelfReference"
    CROSS_NAMESPACE = "CrossNamespaceReference"
    TOO_DEEP = "MaxReferenceDepthReached"
    LOST = "Lost"
    NOT_SUCCEEDED = "DataVolumeNotSucceeded"
    SNAPSHOT_NOT_READY = "SnapshotNotReady"
    FORBIDDEN = "Forbidden"
    INTERNAL = "InternalError"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A claim or a snapshot by its whole name."""

    source: DataSourceSource
    namespace: str
    name: str

    @property
    def is_snapshot(self) -> bool:
        """Whether it is a VolumeSnapshot."""
        return self.source.snapshot is not None


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Why it comes to nothing. `waits`: what it needs has not been seen yet."""

    reason: Reason
    message: str
    waits: bool = False


def resolve(found: DataSource, *, look_up: Callable[[str, str], DataSource | Unread | None]) -> Resolved | Unresolved:
    """Return what a DataSource stands for. `look_up` returns another one by namespace and name."""
    first = _one_of(found)
    if isinstance(first, Unresolved) or first.data_source is None:
        return first if isinstance(first, Unresolved) else _whole(first, found)
    there, meta = first.data_source, found.metadata
    namespace = there.namespace or meta.namespace or ""
    if (namespace, there.name) == (meta.namespace, meta.name):
        return Unresolved(Reason.SELF_REFERENCE, "it stands for itself: let spec.source name a claim or a snapshot")
    if namespace != meta.namespace:
        return Unresolved(
            Reason.CROSS_NAMESPACE,
            f"it stands for DataSource {there.name} of namespace {namespace}: only one of its own namespace can be named",
        )
    other = look_up(namespace, there.name)
    if other is Unread.NOT_SYNCED:
        return Unresolved(Reason.NOT_FOUND, "", waits=True)
    if other is None or isinstance(other, Unread):
        return Unresolved(
            Reason.NOT_FOUND, f"DataSource {there.name} does not exist: create it, or correct spec.source"
        )
    second = _one_of(other)
    if isinstance(second, Unresolved):
        return Unresolved(second.reason, f"DataSource {there.name}: {second.message}")
    if second.data_source is not None:
        return Unresolved(
            Reason.TOO_DEEP,
            f"DataSource {there.name} stands for another DataSource itself: name that one, or a claim or a snapshot",
        )
    return _whole(second, other)


def _one_of(found: DataSource) -> DataSourceSource | Unresolved:
    source = found.spec.source if found.spec is not None else DataSourceSource()
    given = [each for each in (source.pvc, source.snapshot, source.data_source) if each is not None]
    if not given:
        return Unresolved(Reason.NO_SOURCE, "it stands for nothing: set spec.source.pvc, snapshot or dataSource")
    if len(given) > 1:
        return Unresolved(Reason.AMBIGUOUS, "it stands for several things: leave one of spec.source")
    if not is_object_name(given[0].name):
        return Unresolved(Reason.NO_SOURCE, "spec.source has no name that an object can have")
    return source


def _whole(source: DataSourceSource, of: DataSource) -> Resolved | Unresolved:
    """Return a claim or a snapshot with the namespace that is meant."""
    given = source.pvc or source.snapshot
    if given is None:
        return Unresolved(Reason.NO_SOURCE, "it stands for nothing")
    namespace = given.namespace or of.metadata.namespace or ""
    if not is_object_name(namespace):
        return Unresolved(Reason.NO_SOURCE, "spec.source has no namespace that there can be")
    whole = ObjectSource(name=given.name, namespace=namespace)
    made = DataSourceSource(snapshot=whole) if source.snapshot is not None else DataSourceSource(pvc=whole)
    return Resolved(made, namespace, given.name)
