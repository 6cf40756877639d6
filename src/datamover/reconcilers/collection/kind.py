"""The kind DataVolume as far as completed ones are collected: what the reconciler of any kind needs of it.

Its status is a CDI's, or another kind's of ours: nothing of it is written here.
"""

from collections.abc import Hashable, Iterable
from datetime import datetime
from typing import Final, Protocol

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume, DataVolumeStatus
from datamover.api.cdi.definition import data_volume_crd
from datamover.api.names import OPERATOR_DEFECT
from datamover.plans.kind import Kind
from datamover.plans.known import Known
from datamover.plans.learned import Learned
from datamover.plans.steps import Delete, Emit, Patch, Plan, Step
from datamover.reconcilers.collection.decide import ACTION, COLLECTED, GIVEN_BACK, decide
from datamover.reconcilers.collection.facts import Facts, Settings
from datamover.reconcilers.collection.gather import CONFIG, Around, gather
from datamover.reconcilers.collection.obstacles import Reason
from datamover.reconcilers.disks import share_volumes
from kubekit.client.client import Client
from kubekit.runtime.controller import Controller
from kubekit.runtime.part import Part
from kubekit.runtime.store import Key, key_of
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import HasMeta

_BY_NAMESPACE: Final = "namespace"
_COLLECTION: Final = "collection"
"""Who wants the objects that are watched by name: the kind as a whole."""


class Meter(Protocol):
    """What is needed of `datamover.metrics`."""

    def collected(self, result: str) -> None:
        """A collection has come to an end, or to a step that the API server refuses."""
        ...

    def skipped(self, reason: str) -> None:
        """It was told why a DataVolume stays."""
        ...

    def stand(self, reason: str, count: int) -> None:
        """So many DataVolumes stay for a reason."""
        ...


class CollectionKind(Kind[DataVolume, DataVolumeStatus, Facts]):
    """Collects completed DataVolumes that ask for it."""

    resource = DATA_VOLUMES
    optional = True
    to_the_end = True
    name = "datavolume-collection"
    speaks_by_events = True

    def __init__(self, client: Client, *, around: Around, settings: Settings, meter: Meter) -> None:
        volumes = share_volumes(around.view.cluster)
        self.objects = Part(client, volumes, select=_any, indexes={_BY_NAMESPACE: _namespace_of})
        self.definition = data_volume_crd()
        self._around = around
        self._settings = settings
        self._meter = meter
        self._told: dict[Key, str] = {}
        """Where each stands, as it says itself."""
        self._counts: dict[str, int] = {}

    # Deciding.

    def gather(self, obj: DataVolume, *, known: Known, now: datetime) -> Facts:
        """Return what there is to know about a DataVolume."""
        return gather(obj, around=self._around, settings=self._settings, known=known, now=now)

    def decide(self, facts: Facts) -> Plan[DataVolumeStatus]:
        """Return what to do next. Never a status."""
        return decide(facts)

    def broken(self, obj: DataVolume, message: str, *, now: datetime) -> tuple[Step[DataVolumeStatus], ...]:
        """Return the event that tells of a defect of ours."""
        del obj, now
        return (Emit("Warning", OPERATOR_DEFECT, message, ACTION),)

    # Telling.

    def report(self, learned: Learned[DataVolume, DataVolumeStatus], obj: DataVolume, *, now: datetime) -> None:
        """Count what was collected, what was given back, and each step of a handover that was refused."""
        del obj, now
        if learned.told is not None and learned.told.reason in (COLLECTED, GIVEN_BACK):
            self._meter.collected(learned.told.reason)
        step = learned.failed.step if learned.refusal is not None and learned.failed is not None else None
        if isinstance(step, Patch | Delete):
            self._meter.collected(Reason.REQUEST_REFUSED)

    # Coming and going.

    def connect(self, controller: Controller) -> None:
        """Wake a DataVolume when its claim changes or what says when it goes, and all when that is said for all."""
        around = self._around
        controller.watch(around.view.cluster.claims, self._of_claim)
        for made in around.view.cluster.belongings():
            controller.watch(made, self._of_leftover)
        controller.watch(around.spaces, self._of_space)
        controller.watch(around.kubevirts, self._of_neighbour)
        controller.watch(around.cdis, self._of_neighbour)
        around.configs.add_handler(lambda key: self._wake_all(controller) if key == CONFIG else None)
        around.records.add_handler(lambda key: self._wake_all(controller) if key == around.since_key else None)

    def survey(self) -> None:
        """Begin to watch what is watched by name, and learn what was told before: it is not counted again."""
        self._around.configs.want(_COLLECTION, (CONFIG,))
        self._around.records.want(_COLLECTION, (self._around.since_key,))
        for each in self.objects.store.list():
            self._move(key_of(each.metadata), _standing(each))

    def notice(self, key: Key, obj: DataVolume) -> None:
        """Follow what is told of a DataVolume. What was said twice is counted once, whoever of two replicas has said it."""
        standing = _standing(obj)
        if self._move(key, standing) and standing not in ("", _UNDER_WAY):
            self._meter.skipped(standing)

    def forget(self, key: Key) -> None:
        """It is gone."""
        self._move(key, "")

    def _move(self, key: Key, standing: str) -> bool:
        """Note where a DataVolume stands; tell whether it is somewhere else than before."""
        before = self._told.pop(key, "")
        if standing:
            self._told[key] = standing
        if before == standing:
            return False
        for reason, change in ((before, -1), (standing, 1)):
            if reason:
                self._counts[reason] = self._counts.get(reason, 0) + change
                self._meter.stand(reason, self._counts[reason])
        return True

    # Whom a change concerns.

    def _of_claim(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        found = new or old
        key = key_of(found.metadata) if found is not None else None
        return (key,) if key is not None and key in self.objects.store else ()

    def _of_leftover(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        """What fills a claim is the claim's, which is called like its DataVolume."""
        found = new or old
        for reference in (found.metadata.owner_references or ()) if found is not None else ():
            key = Key(found.metadata.namespace or "", reference.name) if found is not None else None
            if reference.kind == PERSISTENT_VOLUME_CLAIMS.kind and key is not None and key in self.objects.store:
                yield key

    def _of_space(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        found = new or old
        if found is None or (old is not None and new is not None and _label_of(old) == _label_of(new)):
            return ()
        return [key_of(each.metadata) for each in self.objects.store.by_index(_BY_NAMESPACE, found.metadata.name)]

    def _of_neighbour(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        del old, new
        return tuple(self.objects.store.keys())

    def _wake_all(self, controller: Controller) -> None:
        for key in tuple(self.objects.store.keys()):
            controller.queue.add(key)


_REASONS: Final = frozenset(Reason)
_UNDER_WAY: Final = "UnderWay"
"""Where a handover is, in the place of a reason why there is none."""


def _standing(volume: DataVolume) -> str:
    """Return where a DataVolume stands, as it says itself: the reason why it stays, or that its claim is being handed over."""
    if names.FINALIZER in (volume.metadata.finalizers or ()):
        return _UNDER_WAY
    reason = (volume.metadata.annotation(names.COLLECTION) or "").partition(":")[0]
    return reason if reason in _REASONS else ""  # anybody may write there


def _any(volume: DataVolume) -> bool:
    del volume
    return True


def _namespace_of(volume: DataVolume) -> Iterable[str]:
    yield volume.metadata.namespace or ""


def _label_of(found: HasMeta) -> Hashable:
    return found.metadata.label(names.TTL_LABEL)
