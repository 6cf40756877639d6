"""The kind Backup as far as hosted control planes are in it: what the reconciler of any kind needs of it. Its status is Velero's."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from datamover.api.hosted_control_plane import Reason
from datamover.api.hypershift import HostedControlPlane
from datamover.api.velero.backup import BACKUPS, Backup, BackupStatus
from datamover.api.velero.phases import OVER
from datamover.plans.kind import Kind
from datamover.plans.known import Known
from datamover.plans.learned import Learned
from datamover.plans.steps import Emit, Plan, Step
from datamover.reconcilers.hosted_control_plane import caches
from datamover.reconcilers.hosted_control_plane.announcements import ACTION
from datamover.reconcilers.hosted_control_plane.counting import Counts, Meter
from datamover.reconcilers.hosted_control_plane.decide import decide
from datamover.reconcilers.hosted_control_plane.facts import PATIENT, Facts, Pace
from datamover.reconcilers.hosted_control_plane.gather import Around, gather
from datamover.reconcilers.hosted_control_plane.record import read
from datamover.reconcilers.hosted_control_plane.turns import Turns
from datamover.verdicts.filters import includes
from kubekit.client.client import Client
from kubekit.runtime.clock import Clock
from kubekit.runtime.controller import Controller
from kubekit.runtime.informer import Informer, State
from kubekit.runtime.instruments import SILENCE, InformerInstruments
from kubekit.runtime.store import Key, key_of
from kubekit.words.core import PersistentVolumeClaim, Pod
from kubekit.words.meta import HasMeta
from kubekit.words.snapshot import VolumeSnapshotContent

_WATCHER: Final = "hosted-control-planes"
"""Who wants the plugin's ConfigMap to be watched: the kind as a whole."""
_HINDRANCES: Final = frozenset({Reason.NAME_TAKEN.value, Reason.CONFIGURATION.value, Reason.DEFECT.value})


class HostedControlPlaneKind(Kind[Backup, BackupStatus, Facts]):
    """Follows the Backups that have hosted control planes in them."""

    resource = BACKUPS
    optional = True
    name = "hosted-control-plane"
    speaks_by_events = True

    def __init__(
        self,
        client: Client,
        *,
        around: Around,
        meter: Meter,
        clock: Clock,
        pace: Pace = PATIENT,
        metrics: InformerInstruments = SILENCE,
    ) -> None:
        self.objects = Informer(
            client,
            BACKUPS,
            namespace=around.velero,
            project=caches.project,
            indexes={
                caches.OPEN: caches.if_open,
                caches.BY_BACKUP: caches.marks_of,
                caches.BY_STATUS: caches.status_of,
            },
            optional=True,
            clock=clock,
            metrics=metrics,
        )
        self.note = lambda: around.describe(self.objects)
        self._around = around
        self._counts = Counts(meter)
        self._pace = pace
        self._turns = Turns(around.uploads, around.pod_volume_backups, clock=clock)
        self._undecided: set[Key] = set()
        """Of which it was not known yet what decides. They may be over, so that nothing of theirs changes any more."""

    # Deciding.

    def gather(self, obj: Backup, *, known: Known, now: datetime) -> Facts:
        """Return what there is to know about a backup."""
        told = self._counts.is_told(obj.metadata)
        facts = gather(obj, around=self._around, turns=self._turns, told=told, known=known, now=now, pace=self._pace)
        (self._undecided.add if facts.planes is None else self._undecided.discard)(key_of(obj.metadata))
        return facts

    def decide(self, facts: Facts) -> Plan[BackupStatus]:
        """Return what to do next. Never a status."""
        return decide(facts)

    def broken(self, obj: Backup, message: str, *, now: datetime) -> tuple[Step[BackupStatus], ...]:
        """Return the event that tells of a defect of ours."""
        del obj, now
        return (Emit("Warning", Reason.DEFECT, message, ACTION),)

    def is_over(self, obj: Backup) -> bool:
        """Tell whether Velero is done with it."""
        return obj.phase in OVER

    # Telling.

    def report(self, learned: Learned[Backup, BackupStatus], obj: Backup, *, now: datetime) -> None:
        """Count what is written, and what keeps it from being written or being right."""
        del now
        if learned.refusal is not None:
            self._counts.hinder(learned.refusal.reason)
        if learned.told is not None and learned.told.reason in _HINDRANCES:
            self._counts.hinder(learned.told.reason)
        self._counts.follow(obj.metadata, read(self._around.status_of(obj), of=obj))

    # Coming and going.

    def survey(self) -> None:
        """Begin to watch the plugin's ConfigMap, and learn what was told before: it is not counted again."""
        around = self._around
        around.configurations.want(_WATCHER, (around.configuration_key,))
        for each in self.objects.store.list():
            record = read(around.status_of(each), of=each)
            if record is not None:
                self._counts.learn(each.metadata, record)

    def forget(self, key: Key) -> None:
        """It is gone."""
        self._counts.forget(key)
        self._undecided.discard(key)

    def connect(self, controller: Controller) -> None:
        """Wake a backup when something of it changes, and all that are under way when something changes that concerns all."""
        around = self._around
        controller.watch(around.uploads, self._of_upload)
        controller.watch(around.pod_volume_backups, self._of_upload)
        controller.watch(around.snapshots, self._of_mark)
        controller.watch(around.contents, self._of_content)
        controller.watch(around.pods, self._of_pod)
        controller.watch(around.planes, self._of_plane)
        controller.watch(around.claims, self._of_claim)
        controller.watch(around.statuses, self._of_status)

        def wake() -> None:
            controller.wake({*self._open(), *self._undecided})

        def look_for_the_others(state: State) -> None:
            """What is installed together with Backups is served a moment later, and would otherwise be looked for once a minute."""
            if state is State.WATCHING:
                for informer in (around.uploads, around.pod_volume_backups, around.planes):
                    informer.look_again()

        self.objects.add_state_handler(look_for_the_others)
        around.configurations.add_handler(lambda key: wake() if key == around.configuration_key else None)
        for informer in (around.planes, *(informer for _, informer in around.kinds())):
            informer.add_state_handler(lambda _state: wake())

    # Whom a change concerns.

    def _open(self) -> Iterable[Key]:
        return [key_of(each.metadata) for each in self.objects.store.by_index(caches.OPEN, caches.YES)]

    def _of_mark(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        found = new or old
        marks = caches.of_backup(found) if found is not None else ()
        return {key_of(each.metadata) for mark in marks for each in self.objects.store.by_index(caches.BY_BACKUP, mark)}

    def _of_upload(self, old: caches.Upload | None, new: caches.Upload | None) -> Iterable[Key]:
        """What begins or ends to be moved gives others their turn."""
        before, after = (each.phase if each is not None else None for each in (old, new))
        others = self._open() if before != after else ()
        return {*self._of_mark(old, new), *others}

    def _of_content(self, old: VolumeSnapshotContent | None, new: VolumeSnapshotContent | None) -> Iterable[Key]:
        found = new or old
        reference = found.spec.volume_snapshot_ref if found is not None and found.spec is not None else None
        if reference is None or not reference.name:
            return ()
        snapshot = self._around.snapshots.store.get(Key(reference.namespace or "", reference.name))
        return self._of_mark(None, snapshot)

    def _of_pod(self, old: Pod | None, new: Pod | None) -> Iterable[Key]:
        found = new or old
        around = self._around
        for name in caches.of_upload(found) if found is not None else ():
            key = Key(around.velero, name)
            yield from self._of_mark(around.uploads.store.get(key), around.pod_volume_backups.store.get(key))

    def _of_plane(self, old: HostedControlPlane | None, new: HostedControlPlane | None) -> Iterable[Key]:
        found = new or old
        if found is None or (old is not None and new is not None and old.spec == new.spec):
            return ()  # its status changes all the time
        return self._including(found.metadata.namespace or "")

    def _of_claim(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> Iterable[Key]:
        """Claims that come and go, or by which it is told now otherwise whether a backup takes them in."""
        found = new or old
        namespace = found.metadata.namespace or "" if found is not None else ""
        if caches.standing_of(old) == caches.standing_of(new) or not self._around.planes.store.by_index(
            caches.BY_NAMESPACE, namespace
        ):
            return ()
        return self._including(namespace)

    def _of_status(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        """By its name alone: whosever it is, it stands in the way of that backup."""
        found = new or old
        name = found.metadata.name if found is not None else ""
        return [key_of(each.metadata) for each in self.objects.store.by_index(caches.BY_STATUS, name)]

    def _including(self, namespace: str) -> Iterable[Key]:
        return [
            key_of(each.metadata)
            for each in self.objects.store.by_index(caches.OPEN, caches.YES)
            if includes(each, namespace)
        ]
