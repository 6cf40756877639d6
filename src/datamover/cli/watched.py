"""What `datamover run` has seen of the objects that it waits for. Pure.

What has ended stays as it was then: a source without a trigger begins again at once, and a DataVolume that was collected is gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from datamover.api.cdi.data_volume import DataVolume
from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DataMover
from datamover.api.v1alpha1.restore import DataMoverRestore
from datamover.cli import fillings, synchronisations
from datamover.cli.applying import Wanted
from datamover.cli.outcome import show
from datamover.cli.runnables import Name, Runnable, name_of
from datamover.reconcilers.replication.order import status_of
from datamover.volumes.collection_time import Lifetime
from kubekit.runtime.store import version_of

_NEVER = Lifetime(None, "nobody")


@dataclass(slots=True)
class Watched:
    """What is waited for, as it was last seen. `lifetimes` say by namespace how long completed DataVolumes stay."""

    wanted: dict[Name, Wanted] = field(default_factory=dict[Name, Wanted])
    lifetimes: Mapping[str, Lifetime] = field(default_factory=dict[str, Lifetime])
    seen: dict[Name, Runnable] = field(default_factory=dict[Name, Runnable])
    _gone: dict[str, DataVolume] = field(default_factory=dict[str, DataVolume])

    def want(self, wanted: Mapping[Name, Wanted]) -> None:
        """Wait for these as well."""
        self.wanted.update(wanted)
        self.seen.update({name: each.recalled for name, each in wanted.items() if each.recalled is not None})

    def see(self, obj: Runnable) -> Runnable | None:
        """Return what is to be shown of a version of an object; None of one that is not waited for, or that is older than what was applied."""
        name = name_of(obj)
        wanted = self.wanted.get(name)
        if wanted is None or obj.metadata.uid != wanted.uid:
            return None
        last = self.seen.get(name)
        if last is not None and (show(last).ended or version_of(last.metadata) > version_of(obj.metadata)):
            return last
        if not _is_of_this_run(obj, wanted):
            return None
        if isinstance(obj, DataVolume):
            obj = fillings.await_collection(obj, self.lifetimes.get(name.key.namespace, _NEVER))
        self.seen[name] = obj
        return obj

    def miss(self, obj: Runnable) -> Runnable | None:
        """Return what is to be shown of an object that is gone, of which this is the last version. One that is waited for later is remembered."""
        if not isinstance(obj, DataVolume) or not fillings.is_filled(obj):
            return None
        name = name_of(obj)
        wanted = self.wanted.get(name)
        if wanted is None:
            self._gone[obj.metadata.uid] = obj
            return None
        if wanted.uid != obj.metadata.uid:
            return None
        self.seen[name] = fillings.collect(obj)
        return self.seen[name]

    def find(self, name: Name, obj: Runnable | None) -> Runnable | None:
        """Return what is to be shown of an object that a cache has, or has no more."""
        if obj is not None:
            return self.see(obj)
        gone = self._gone.get(self.wanted[name].uid)
        return self.miss(gone) if gone is not None else self.seen.get(name)

    def is_filled(self, name: Name) -> bool:
        """Tell whether the disk of a DataVolume is there."""
        seen = self.seen.get(name)
        return isinstance(seen, DataVolume) and fillings.is_filled(seen)


def _is_of_this_run(obj: Runnable, wanted: Wanted) -> bool:
    if isinstance(obj, DataVolume):
        return not wanted.is_stale or version_of(obj.metadata) > wanted.version
    if isinstance(obj, DataMover | DataMoverRestore):
        return True
    last = status_of(obj).last_sync_time
    gone_on = wanted.ended_before is not None and last == wanted.ended_before
    return version_of(obj.metadata) >= wanted.version and not (
        gone_on and synchronisations.phase_of(obj) == Phase.COMPLETED
    )
