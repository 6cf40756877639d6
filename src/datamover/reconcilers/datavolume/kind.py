"""The kind DataVolume where no CDI is: what the reconciler of any kind needs of it."""

import logging
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from datamover.api.cdi.config import CDI_CONFIGS
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume, DataVolumeStatus
from datamover.api.cdi.names import CONFIG_NAME, ConditionType, Phase
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.api.cdi.storage_profile import STORAGE_PROFILES
from datamover.api.names import OWNER_UID_LABEL
from datamover.api.transfer import REASON_INTERNAL_ERROR
from datamover.plans.kind import Kind as AnyKind
from datamover.plans.kind import Line
from datamover.plans.known import Known
from datamover.plans.learned import Learned
from datamover.plans.steps import Plan, Step
from datamover.reconcilers.cluster import View
from datamover.reconcilers.datavolume import cloning, importing
from datamover.reconcilers.datavolume.ask import Ask, Kind
from datamover.reconcilers.datavolume.decide import decide
from datamover.reconcilers.datavolume.facts import Facts, Settings
from datamover.reconcilers.datavolume.filling import Filler
from datamover.reconcilers.datavolume.gather import ask_for, class_of, gather, named_config_maps, named_secrets
from datamover.reconcilers.datavolume.receiving import CHILDREN, MakeKeys, fill_by_upload
from datamover.reconcilers.datavolume.report import Meter, report_present, report_written
from datamover.reconcilers.datavolume.status import Told, says_same, tell
from datamover.reconcilers.disks import Disks
from datamover.volumes.errands import errand_name, errand_of
from kubekit.client.client import Client
from kubekit.runtime.controller import Controller
from kubekit.runtime.part import Part
from kubekit.runtime.store import Key, key_of
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolume, PersistentVolumeClaim, Pod
from kubekit.words.meta import HasMeta, ObjectMeta
from kubekit.words.snapshot import VOLUME_SNAPSHOTS

FILLERS: Final[Mapping[Kind, Filler]] = {**importing.FILLERS, **cloning.FILLERS}
"""How each kind of source that is supported fills a claim. Uploads need keys, which are chance: `fillers_with` adds them."""


def fillers_with(make_keys: MakeKeys) -> Mapping[Kind, Filler]:
    """Return how each kind of source fills a claim, with uploads, whose keys `make_keys` makes."""
    return {**FILLERS, Kind.UPLOAD: fill_by_upload(make_keys)}


@dataclass(frozen=True, slots=True)
class _Wants:
    """Who wants an object to be watched: other kinds may have objects of the same key."""

    key: Key


class DataVolumeKind(AnyKind[DataVolume, DataVolumeStatus, Facts]):
    """Makes the claims of DataVolumes and fills them."""

    resource = DATA_VOLUMES
    optional = True
    children = CHILDREN
    speaks_by_events = True  # what may not be removed of one that has succeeded is no matter of its status

    def __init__(
        self,
        client: Client,
        *,
        view: View,
        disks: Disks,
        settings: Settings,
        meter: Meter,
        fillers: Mapping[Kind, Filler] = FILLERS,
        permit_keys: Callable[[], Collection[bytes]] = tuple,
    ) -> None:
        self.objects = Part(client, disks.volumes, select=lambda _: True)
        self._view = view
        self._disks = disks
        self._settings = settings
        self._meter = meter
        self._fillers = fillers
        self._permit_keys = permit_keys
        cluster = view.cluster
        self._singles = {
            CDI_CONFIGS: cluster.by_name(CDI_CONFIGS),
            STORAGE_PROFILES: cluster.by_name(STORAGE_PROFILES),
            VOLUME_SNAPSHOTS: cluster.by_name(VOLUME_SNAPSHOTS),
        }

    # Deciding.

    def gather(self, obj: DataVolume, *, known: Known, now: datetime) -> Facts:
        """Return what there is to know about a DataVolume."""
        return gather(
            obj,
            view=self._view,
            sources=self._disks,
            known=known,
            now=now,
            patience=self._settings.patience,
            permit_keys=self._permit_keys,
        )

    def decide(self, facts: Facts) -> Plan[DataVolumeStatus]:
        """Return what to do next."""
        return decide(facts, settings=self._settings, fillers=self._fillers)

    def broken(self, obj: DataVolume, message: str, *, now: datetime) -> tuple[Step[DataVolumeStatus], ...]:
        """Return the steps that tell of a defect of ours. The phase stays: nothing is known of it."""
        phase = Phase((obj.status.phase if obj.status is not None else None) or Phase.PENDING)
        claim = self._view.claim(obj.metadata.namespace or "", obj.metadata.name)
        return tell(obj, claim, Told(phase, REASON_INTERNAL_ERROR, message), now=now).steps

    def is_over(self, obj: DataVolume) -> bool:
        """Tell whether nothing more is to come by itself."""
        return obj.status is not None and obj.status.phase == Phase.SUCCEEDED

    def stage(self, status: DataVolumeStatus | None) -> str:
        """Return how far it is."""
        if status is None:
            return ""
        ready = status.condition(ConditionType.READY)
        return f"{status.phase} {ready.status if ready is not None else ''} {status.restart_count}"

    def says_same(self, one: DataVolumeStatus | None, other: DataVolumeStatus | None) -> bool:
        """Tell whether two statuses differ in nothing but times."""
        return says_same(one, other)

    # Telling.

    def headline(self, before: DataVolumeStatus | None, status: DataVolumeStatus) -> Line | None:
        """Return the phase where it is another one, and what it waits for."""
        was = before.condition(ConditionType.READY) if before is not None else None
        told = status.condition(ConditionType.READY)
        if told is None or (
            was is not None and before is not None and (was.reason, before.phase) == (told.reason, status.phase)
        ):
            return None
        plain = told.reason in (
            Reason.TRANSFER_RUNNING,
            Reason.POPULATED,
            Reason.CLAIM_PENDING,
            Reason.WAITING_FOR_CONSUMER,
        )
        return Line(
            f"{status.phase}: {told.message}", logging.INFO if plain or told.status == "True" else logging.WARNING
        )

    def is_told(self, obj: DataVolume) -> bool:
        """What is wrong is told with the status."""
        return obj.status is not None

    def report(self, learned: Learned[DataVolume, DataVolumeStatus], obj: DataVolume, *, now: datetime) -> None:
        """Count what was written."""
        namespace = obj.metadata.namespace or ""
        claim = self._view.claim(namespace, obj.metadata.name)
        pods = self._view.pods_of_mover(namespace, claim.metadata.uid) if claim is not None else ()
        report_written(learned.written, pods, meter=self._meter, now=now)

    # Coming and going.

    def connect(self, controller: Controller) -> None:
        """Wake a DataVolume when its claim, the temporary one, their volumes, its worker, or what it is made from changes."""
        cluster = self._view.cluster
        controller.watch(cluster.claims, self._of_claim)
        controller.watch(cluster.volumes, self._of_volume)
        controller.watch(cluster.classes, self._of_class)
        controller.watch(cluster.jobs, self._of_child)
        controller.watch(cluster.pods, self._of_pod)
        controller.watch(self._disks.sources, self._of_source)
        controller.watch(self._disks.volumes, self._of_maker)
        controller.watch(cluster.snapshots, self._of_child)
        controller.watch(cluster.snapshot_classes, self._of_class)
        for resource in CHILDREN:
            controller.watch(cluster.children(resource), self._of_child)
        for named in (cluster.secrets, cluster.config_maps, *self._singles.values()):
            named.add_handler(lambda key, owners=named.owners: _wake(controller, owners(key)))

    def notice(self, key: Key, obj: DataVolume) -> None:
        """Count it, and watch what it points to until it is populated: each such watch is a request that stays open. Where its claim is gone, that is
        made and filled anew, and all of it is needed again.
        """
        report_present(obj, meter=self._meter)
        claim = self._view.claim(key.namespace, key.name)
        ask, _ = ask_for(obj, claim, self._disks, self._permit_keys)
        is_settled = self.is_over(obj) and claim is not None
        if is_settled or obj.metadata.terminating:
            self._want(key, None)
        else:
            self._want(key, ask if isinstance(ask, Ask) else None, configured=True)

    def forget(self, key: Key) -> None:
        """End the watches, and what is counted of it."""
        self._meter.forget(key.namespace, key.name)
        self._want(key, None)

    def _want(self, key: Key, ask: Ask | None, *, configured: bool = False) -> None:
        cluster, who = self._view.cluster, _Wants(key)
        profile = snapshot = None
        if ask is not None:
            profile = class_of(ask, self._view.claim(key.namespace, key.name), self._view.storage_classes())
            snapshot = ask.source.snapshot
        cluster.secrets.want(who, tuple(Key(key.namespace, each) for each in named_secrets(ask)) if ask else ())
        cluster.config_maps.want(who, tuple(Key(key.namespace, each) for each in named_config_maps(ask)) if ask else ())
        # the gate of adoption counts also for one that asks for nothing that can be done
        self._singles[CDI_CONFIGS].want(who, (Key("", CONFIG_NAME),) if configured else ())
        self._singles[STORAGE_PROFILES].want(who, (Key("", profile),) if profile else ())
        wanted = (Key(snapshot.namespace or key.namespace, snapshot.name),) if snapshot is not None else ()
        self._singles[VOLUME_SNAPSHOTS].want(who, wanted)

    # Whom a change concerns.

    def _of_claim(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> Iterable[Key]:
        found = new or old
        if found is None:
            return
        meta = found.metadata
        yield from self._at(Key(meta.namespace or "", meta.name))
        yield from self._of_owner(meta)
        yield from self._of_errand(meta)
        yield from self._readers("pvc", meta)

    def _of_volume(self, old: PersistentVolume | None, new: PersistentVolume | None) -> Iterable[Key]:
        """A volume names the temporary claim, later the DataVolume's."""
        for volume in (old, new):
            reference = volume.spec.claim_ref if volume is not None and volume.spec is not None else None
            if reference is None:
                continue
            key = Key(reference.namespace or "", reference.name or "")
            yield from self._at(key)
            claim = self._view.claim(key.namespace, key.name)
            if claim is not None:
                yield from self._of_owner(claim.metadata)
                yield from self._of_errand(claim.metadata)

    def _of_class(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        del old, new
        return tuple(key_of(each.metadata) for each in self.objects.store.list() if not self.is_over(each))

    def _of_child(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        found = new or old
        return self._of_owner(found.metadata) if found is not None else ()

    def _of_pod(self, old: Pod | None, new: Pod | None) -> Iterable[Key]:
        """A Pod is its Job's, and that the claim's. Its Job may be gone: then somebody may wait for the Pod's own end."""
        found = new or old
        if found is None:
            return
        meta = found.metadata
        jobs = [self._view.job(meta.namespace or "", each.name) for each in meta.owner_references or ()]
        for job in jobs:
            yield from self._of_owner(job.metadata) if job is not None else ()
        if not any(jobs):
            yield from self._of_stray(meta)

    def _of_stray(self, pod: ObjectMeta) -> Iterable[Key]:
        """The label of a worker's Pod is the UID of the claim that it fills, which is called like its DataVolume, or of the temporary one in its namespace."""
        uid, namespace = pod.label(OWNER_UID_LABEL), pod.namespace or ""
        for each in self.objects.store.list() if uid else ():
            meta = each.metadata
            claim = None if self.is_over(each) else self._view.claim(meta.namespace or "", meta.name)
            if claim is not None and meta.namespace != namespace:
                claim = self._view.claim(namespace, errand_name(claim))
            if claim is not None and claim.metadata.uid == uid:
                yield key_of(meta)

    def _of_owner(self, meta: ObjectMeta) -> Iterable[Key]:
        """What is made to fill a claim is that claim's, which is called like its DataVolume; in another namespace it is the temporary one's."""
        for reference in meta.owner_references or ():
            if reference.kind in (PERSISTENT_VOLUME_CLAIMS.kind, DATA_VOLUMES.kind):
                yield from self._at(Key(meta.namespace or "", reference.name))
            if reference.kind == PERSISTENT_VOLUME_CLAIMS.kind:
                temporary = self._view.claim(meta.namespace or "", reference.name)
                yield from self._of_errand(temporary.metadata) if temporary is not None else ()

    def _of_errand(self, meta: ObjectMeta) -> Iterable[Key]:
        """A temporary claim in another namespace names its DataVolume."""
        errand = errand_of(meta)
        if errand is not None:
            yield from self._at(Key(errand.namespace, errand.name))

    def _at(self, key: Key) -> Iterable[Key]:
        return (key,) if self.objects.store.get(key) is not None else ()

    def _of_maker(self, old: DataVolume | None, new: DataVolume | None) -> Iterable[Key]:
        """Whoever copies the claim that a DataVolume fills waits for that to be done."""
        found = new or old
        return tuple(self._readers("pvc", found.metadata)) if found is not None else ()

    def _readers(self, kind: str, meta: ObjectMeta) -> Iterable[Key]:
        """Who copies an object, by its name or by way of a DataSource that stands for it, or for one that does."""
        found = list(self._disks.readers(kind, meta.namespace or "", meta.name))
        for source in self._disks.referrers(kind, meta.namespace or "", meta.name):
            home = source.metadata.namespace or ""
            for each in (source, *self._disks.referrers("dataSource", home, source.metadata.name)):
                found.extend(self._disks.readers("dataSource", home, each.metadata.name))
        return (key_of(each.metadata) for each in found)

    def _of_source(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        found = new or old
        if found is None:
            return ()
        meta = found.metadata
        readers = self._disks.readers("dataSource", meta.namespace or "", meta.name)
        return tuple(key_of(each.metadata) for each in readers)


def _wake(controller: Controller, owners: Iterable[Hashable]) -> None:
    for owner in owners:
        if isinstance(owner, _Wants):
            controller.queue.add(owner.key)
