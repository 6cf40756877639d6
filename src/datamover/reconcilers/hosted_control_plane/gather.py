"""From the caches to one frozen Facts. Reads nothing but caches."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final, TypeVar

from datamover.api.amounts import count
from datamover.api.hosted_control_plane import BACKED_UP_SNAPSHOTS, SELECTOR, STATUS_MAPS, StatusMap, status_name
from datamover.api.hypershift import CONFIG_MAP, HOSTED_CONTROL_PLANES, HostedControlPlane
from datamover.api.velero.backup import Backup
from datamover.api.velero.names import BACKUP_NAME_LABEL
from datamover.api.velero.phases import COLLECTED, OVER
from datamover.api.velero.uploads import DATA_UPLOADS, POD_VOLUME_BACKUPS
from datamover.plans.known import Known
from datamover.reconcilers.cluster import View
from datamover.reconcilers.hosted_control_plane import caches
from datamover.reconcilers.hosted_control_plane.facts import PATIENT, Facts, Hosted, Pace
from datamover.reconcilers.hosted_control_plane.record import PLANES, Record, read
from datamover.reconcilers.hosted_control_plane.standing import is_told, remembered
from datamover.reconcilers.hosted_control_plane.turns import Turns
from datamover.runs.facts import Unread as Absent
from datamover.verdicts.configuration import Configuration, ConfigurationError
from datamover.verdicts.filters import includes
from datamover.verdicts.limits import stamp
from datamover.verdicts.readings import name
from datamover.verdicts.selection import content_name
from datamover.verdicts.verdict import ClusterSnapshot, Kind, Unread
from kubekit.runtime.informer import Informer, State
from kubekit.runtime.store import Key, key_of
from kubekit.words.core import CONFIG_MAPS, PODS, ConfigMap, PersistentVolumeClaim
from kubekit.words.meta import HasMeta
from kubekit.words.snapshot import VOLUME_SNAPSHOT_CONTENTS

T = TypeVar("T", bound=HasMeta)

_SURE: Final = 30.0
"""Seconds after which a kind that was there is believed to be gone: an API server that begins says so of kinds that it is about to serve."""


class Around:
    """What is read beside a Backup. Velero's own kinds are read in its namespace only."""

    def __init__(self, view: View, *, velero: str) -> None:
        """`velero` is Velero's namespace. To be made while kinds are made."""
        cluster = view.cluster
        self.view = view
        self.velero = velero
        self.configuration_key = Key(velero, CONFIG_MAP)
        self.planes = cluster.whole(HOSTED_CONTROL_PLANES, indexes={caches.BY_NAMESPACE: caches.of_namespace})
        self.claims = cluster.claims
        self.snapshots = cluster.whole(
            BACKED_UP_SNAPSHOTS,
            label_selector=BACKUP_NAME_LABEL,
            indexes={caches.BY_BACKUP: caches.of_backup},
            project=caches.project,
        )
        self.contents = cluster.whole(VOLUME_SNAPSHOT_CONTENTS, project=caches.project)
        self.uploads = cluster.whole(
            DATA_UPLOADS,
            within=velero,
            indexes={caches.BY_BACKUP: caches.of_backup, caches.MOVING: caches.if_moving},
            project=caches.project,
        )
        self.pod_volume_backups = cluster.whole(
            POD_VOLUME_BACKUPS,
            within=velero,
            indexes={caches.BY_BACKUP: caches.of_backup, caches.MOVING: caches.if_moving},
            project=caches.project,
        )
        self.pods = cluster.whole(
            PODS, within=velero, indexes={caches.BY_UPLOAD: caches.of_upload}, project=caches.project_pod
        )
        self.statuses = cluster.whole(STATUS_MAPS, within=velero, label_selector=SELECTOR)
        self.configurations = cluster.by_name(CONFIG_MAPS)

    def status_of(self, backup: Backup) -> StatusMap | None:
        """The ConfigMap of a backup's name."""
        return self.statuses.store.get(Key(self.velero, status_name(backup.metadata.name)))

    def kinds(self) -> tuple[tuple[str, Informer[Any]], ...]:
        """The caches that a verdict is read from, each with the kind that it is of."""
        return (
            (Kind.SNAPSHOT, self.snapshots),
            (Kind.CONTENT, self.contents),
            (Kind.UPLOAD, self.uploads),
            (Kind.POD_VOLUME_BACKUP, self.pod_volume_backups),
            (Kind.CLAIM, self.claims),
            (Kind.POD, self.pods),
        )

    def describe(self, backups: Informer[Backup]) -> str:
        """What `/readyz` tells: where backups are followed, and what cannot be read, so that verdicts lack it."""
        decisive = [
            f"{informer.resource.kind}: {informer.problem or 'it may not be read'}, so that nothing is followed"
            for informer in (backups, self.planes)
            if informer.outage is not None and informer.outage[0] is State.FORBIDDEN
        ]
        problems = [*decisive, *(f"{kind}: {reason}" for kind, reason in _unread(self.kinds()) or ())]
        told = f"; cannot be read: {'; '.join(problems)}" if problems else ""
        return f"follows backups of hosted control planes in namespace {self.velero}{told}"


def gather(
    backup: Backup, *, around: Around, turns: Turns, told: bool, known: Known, now: datetime, pace: Pace = PATIENT
) -> Facts:
    """Return what there is to know about a backup. Of one that is told nothing is looked up: there may be thousands."""
    status = around.status_of(backup)
    record = read(status, of=backup)
    if is_told(backup, record, told=told, now=now, pace=pace):
        return Facts(
            now=now,
            backup=backup,
            planes=(),
            configuration=Configuration(),
            status=status,
            record=record,
            told=told,
            pace=pace,
            known=known,
        )
    unread = _unread(around.kinds())
    configuration, notes, wrong = _configuration(around)
    planes = None
    chosen, left_off = _choose(backup, around, record)
    if unread is not None and configuration is not None and _is_readable(around.planes):
        unread = (*unread, *_garbled(backup, chosen, around))
        planes = _look(backup, chosen, around, unread) if chosen else ()
    return Facts(
        now=now,
        backup=backup,
        planes=planes,
        left_off=left_off,
        configuration=configuration or Configuration(),
        notes=notes,
        misconfigured=wrong,
        moved=turns.at(now) if planes else {},
        status=status,
        record=record,
        told=told,
        pace=pace,
        known=known,
    )


def _choose(backup: Backup, around: Around, record: Record | None) -> tuple[tuple[HostedControlPlane, ...], int]:
    """Return the control planes that are followed, in the order of their namespaces, and how many are left off.

    Those that are written of stay, also when they are gone. Others come in as long as something of them may be backed up.
    """
    told = record.control_planes if record is not None else ()
    # Anybody may have written there: of a namespace that the backup does not include nothing is told.
    written = {each.place: each for each in told if includes(backup, each.namespace)}
    found: dict[tuple[str, str], HostedControlPlane] = {}
    others: dict[tuple[str, str], HostedControlPlane] = {}
    for each in around.planes.store.list():
        meta = each.metadata
        place = (name(meta.namespace), name(meta.name))
        if place in written:
            found[place] = each
        elif includes(backup, meta.namespace or "") and not _is_later(backup, each):
            others[place] = each
    gone = {place: remembered(each) for place, each in written.items() if place not in found}
    room = max(PLANES - len(written), 0)
    taken = dict(sorted(others.items())[:room])
    chosen = {**found, **gone, **taken}
    return tuple(chosen[place] for place in sorted(chosen)), len(others) - len(taken)


def _is_later(backup: Backup, plane: HostedControlPlane) -> bool:
    """Tell whether a control plane came when Velero had collected everything: a restore makes it anew, for instance."""
    if backup.phase not in COLLECTED and backup.phase not in OVER:
        return False
    made, began = stamp(plane.metadata.creation_timestamp), stamp(backup.metadata.creation_timestamp)
    return made is not None and began is not None and made > began


def _look(
    backup: Backup, chosen: tuple[HostedControlPlane, ...], around: Around, unread: tuple[Unread, ...]
) -> tuple[Hosted, ...]:
    marks = caches.marks_of(backup)
    snapshots = _marked(around.snapshots, marks)
    uploads = _marked(around.uploads, marks)
    pod_volume_backups = _marked(around.pod_volume_backups, marks)
    bound = (content for each in snapshots if (content := content_name(each)))
    contents = tuple(found for name in bound if (found := around.contents.store.get(Key("", name))) is not None)
    pods = tuple(
        pod
        for each in (*uploads, *pod_volume_backups)
        for pod in around.pods.store.by_index(caches.BY_UPLOAD, each.metadata.name)
    )
    claims = _claims(around, {each.metadata.namespace or "" for each in chosen})
    return tuple(
        Hosted(
            hcp,
            ClusterSnapshot(
                snapshots=snapshots,
                contents=contents,
                data_uploads=uploads,
                pod_volume_backups=pod_volume_backups,
                claims=tuple(claims.get(hcp.metadata.namespace or "", ())),
                pods=pods,
                unread=unread,
            ),
        )
        for hcp in chosen
    )


def _marked(informer: Informer[T], marks: Iterable[str]) -> tuple[T, ...]:
    found = {key_of(each.metadata): each for mark in marks for each in informer.store.by_index(caches.BY_BACKUP, mark)}
    return tuple(found.values())


def _claims(around: Around, namespaces: set[str]) -> dict[str, list[PersistentVolumeClaim]]:
    found: dict[str, list[PersistentVolumeClaim]] = {}
    for each in around.claims.store.list():  # once for all: claims are kept without an index by namespace
        if each.metadata.namespace in namespaces:
            found.setdefault(each.metadata.namespace, []).append(each)
    return found


def _configuration(around: Around) -> tuple[Configuration | None, tuple[str, ...], bool]:
    """Return the plugin's configuration, what is to be said of it, and whether it is wrong; None while it is not known."""
    found = around.view.named(CONFIG_MAPS, around.velero, CONFIG_MAP)
    if found is Absent.NOT_SYNCED:
        return None, (), False
    if not isinstance(found, ConfigMap):
        forbidden = found is Absent.FORBIDDEN
        return (
            Configuration(),
            (f"ConfigMap {CONFIG_MAP} may not be read, so defaults hold",) if forbidden else (),
            False,
        )
    try:
        configuration = Configuration.read(found.data)
    except ConfigurationError as error:
        return Configuration(), (f"ConfigMap {CONFIG_MAP} cannot be used, so defaults hold: {error}",), True
    return configuration, tuple(f"ConfigMap {CONFIG_MAP}: {each}" for each in configuration.warnings), False


def _unread(kinds: Iterable[tuple[str, Informer[Any]]]) -> tuple[Unread, ...] | None:
    """Return the kinds that cannot be read; None while one of them is being read for the first time, or may only not be served yet."""
    found: list[Unread] = []
    for kind, informer in kinds:
        outage = informer.outage
        if outage is not None and outage[0] in (State.ABSENT, State.FORBIDDEN):
            if outage[0] is State.ABSENT and informer.synced.is_set() and outage[1] < _SURE:
                return None
            found.append(Unread(kind, informer.problem or outage[0].value))
        elif not informer.synced.is_set():
            return None
    return tuple(found)


def _garbled(backup: Backup, chosen: tuple[HostedControlPlane, ...], around: Around) -> Iterator[Unread]:
    """Yield the kinds of which something cannot be understood that may belong to a backup: it is there, and nobody knows how it stands."""
    marks = frozenset(caches.marks_of(backup))
    namespaces = {each.metadata.namespace or "" for each in chosen}
    informers: tuple[tuple[str, Informer[Any]], ...] = (
        (Kind.SNAPSHOT, around.snapshots),
        (Kind.UPLOAD, around.uploads),
        (Kind.POD_VOLUME_BACKUP, around.pod_volume_backups),
    )
    for kind, informer in informers:
        found = sum(not marks.isdisjoint(caches.marks_in(meta)) for meta in informer.store.poisoned().values())
        if found:
            yield Unread(kind, f"{count(found, 'object')} cannot be understood")
    claims = sum((meta.namespace or "") in namespaces for meta in around.claims.store.poisoned().values())
    if claims:
        yield Unread(Kind.CLAIM, f"{count(claims, 'object')} cannot be understood")


def _is_readable(informer: Informer[Any]) -> bool:
    """Tell whether a kind is known: a cluster that does not serve it has none. One that may not be read is told by `/readyz`."""
    outage = informer.outage
    if outage is not None and outage[0] is State.FORBIDDEN:
        return False
    return informer.synced.is_set() or (outage is not None and outage[0] is State.ABSENT)
