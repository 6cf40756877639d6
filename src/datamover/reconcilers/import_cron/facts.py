"""Everything that one decision about a DataImportCron may know, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final

from datamover.api.cdi import names
from datamover.api.cdi.data_import_cron import DataImportCron
from datamover.api.cdi.data_source import DataSource
from datamover.api.cdi.data_volume import DataVolume
from datamover.api.cdi.names import Phase
from datamover.movers.defaults import NONE, MoverDefaults
from datamover.plans.known import UNKNOWN, Known
from datamover.volumes.binding import is_bound, is_lost
from kubekit.words.batch import Job
from kubekit.words.core import PersistentVolumeClaim, Pod
from kubekit.words.meta import Manifest, ObjectMeta
from kubekit.words.timestamps import moment_of


class State(Enum):
    """How far an import is."""

    MISSING = "neither DataVolume nor claim is there"
    WORKING = "it is under way"
    GOING = "it is being deleted"
    DONE = "the disk is there"
    LOST = "its claim has lost its volume"


@dataclass(frozen=True, slots=True)
class Import:
    """A DataVolume and the claim of its name, one of which may be gone."""

    name: str
    volume: DataVolume | None = None
    claim: PersistentVolumeClaim | None = None

    @property
    def state(self) -> State:
        """How far it is. A claim that is bound and has no DataVolume was imported by one that was collected."""
        volume, claim = self.volume, self.claim
        if volume is None and claim is None:
            return State.MISSING
        if any(each is not None and each.metadata.terminating for each in (volume, claim)):
            return State.GOING
        if claim is not None and is_lost(claim):
            return State.LOST
        if volume is not None:
            phase = volume.status.phase if volume.status is not None else None
            return State.DONE if phase == Phase.SUCCEEDED and claim is not None else State.WORKING
        return State.DONE if claim is not None and is_bound(claim) else State.WORKING

    @property
    def is_writing(self) -> bool:
        """Whether a worker is at it, and none of its workers has failed so far."""
        status = self.volume.status if self.volume is not None else None
        return (
            self.state is State.WORKING
            and status is not None
            and status.phase == Phase.IMPORT_IN_PROGRESS
            and not status.restart_count
        )

    @property
    def metas(self) -> tuple[ObjectMeta, ...]:
        """The metadata of what is there, the claim's first."""
        return tuple(each.metadata for each in (self.claim, self.volume) if each is not None)

    @property
    def used_at(self) -> float:
        """When it was the newest last, in seconds since 1970; 0 where nobody has said so."""
        return max((moment_of(meta.annotation(names.LAST_USE), default=0.0) for meta in self.metas), default=0.0)

    def is_labelled(self, label: str) -> bool:
        """Tell whether all that is there of it bears this label."""
        return bool(self.metas) and all(meta.label(names.CRON_LABEL) == label for meta in self.metas)


@dataclass(frozen=True, slots=True)
class Reader:
    """A DataVolume that is filled from one of the imports and has not ended. `claim` is the import, None where the DataSource says it."""

    since: float
    claim: str | None = None


@dataclass(frozen=True, slots=True)
class Worker:
    """How Jobs of the operator run. `environment` are variables that each gets, such as proxies."""

    image: str = ""
    pull_policy: str | None = None
    defaults: MoverDefaults = NONE
    environment: tuple[Manifest, ...] = ()


PLAIN: Final = Worker()


@dataclass(frozen=True, slots=True)
class Facts:
    """A DataImportCron, its imports by name, and what has the name of its DataSource.

    `imports` are those with its label, that of the digest that is wanted, and that which the status says is the current one, whether they bear
    it or not. `rivals` are the UIDs of the other DataImportCrons of the namespace. `poll` is what has the name of the Job that asks the server, and `pods` are that one's.
    """

    now: datetime
    cron: DataImportCron
    imports: Mapping[str, Import] = field(default_factory=dict[str, Import])
    source: DataSource | None = None
    readers: tuple[Reader, ...] = ()
    rivals: frozenset[str] = frozenset()
    poll: Job | None = None
    pods: tuple[Pod, ...] = ()
    worker: Worker = PLAIN
    known: Known = UNKNOWN

    def find(self, name: str) -> Import:
        """Return an import by its name; an empty one where nothing is there."""
        return self.imports.get(name) or Import(name)
