"""Which objects belong to this backup of this control plane. Pure.

Uploads and pod volume backups carry the backup's UID: where they do, only that counts. VolumeSnapshots carry the backup's shortened name, which a later
backup may have again: an older one than the Backup is not its own. Contents carry no mark of a backup: they are found through their VolumeSnapshot, and
have to name it in turn. What a restore makes anew has the labels of what was backed up: a younger one than the end of the backup is not its own either. Everything is of the control plane's namespace, and is moved in the backup's.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeVar

from datamover.api.velero import names
from datamover.api.velero.backup import Backup
from datamover.api.velero.phases import ENDED
from datamover.api.velero.uploads import DATA_UPLOADS, POD_VOLUME_BACKUPS, DataUpload, PodVolumeBackup
from datamover.verdicts.limits import SKEW, later, stamp
from datamover.verdicts.verdict import ClusterSnapshot
from kubekit.words.meta import HasMeta, ObjectMeta, Reference
from kubekit.words.snapshot import VolumeSnapshot, VolumeSnapshotContent

T = TypeVar("T", bound=HasMeta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What belongs to the backup of one control plane. `contents` are by the name of their VolumeSnapshot, `uid` is the backup's."""

    uid: str
    snapshots: tuple[VolumeSnapshot, ...]
    contents: Mapping[str, VolumeSnapshotContent]
    uploads: tuple[DataUpload, ...]
    pod_volume_backups: tuple[PodVolumeBackup, ...]

    @property
    def empty(self) -> bool:
        """Tell whether there is nothing."""
        return not (self.snapshots or self.uploads or self.pod_volume_backups)


class Mark(NamedTuple):
    """How the objects of a backup are known: Velero's namespace, the backup's UID, and its name as a label says it."""

    namespace: str | None
    uid: str
    label: str

    @classmethod
    def of(cls, backup: Backup) -> "Mark":
        """Return the mark of a backup."""
        return cls(backup.metadata.namespace, backup.metadata.uid, names.label_value(backup.metadata.name))

    def on(self, meta: ObjectMeta) -> bool:
        """Tell whether an object of Velero's namespace carries it."""
        if meta.namespace != self.namespace:
            return False
        uid = meta.label(names.BACKUP_UID_LABEL)
        if uid and self.uid:
            return uid == self.uid
        return meta.label(names.BACKUP_NAME_LABEL) == self.label


def select(backup: Backup, *, namespace: str, seen: ClusterSnapshot) -> Selection:
    """Return what belongs to the backup in the control plane's `namespace`. Each object is there once, in the order of names."""
    mark = Mark.of(backup)
    begun = stamp(backup.metadata.creation_timestamp)
    ended = stamp(backup.status.completion_timestamp if backup.status is not None else None)
    snapshots = _sorted(
        seen.snapshots,
        lambda each: (
            _is_snapshot_of(each.metadata, mark, namespace)
            and not _is_older(each.metadata, begun)
            and not _is_later(each.metadata, ended)
        ),
    )
    contents = {each.metadata.name: each for each in seen.contents}
    bound = {each.metadata.name: contents.get(content_name(each)) for each in snapshots}
    return Selection(
        uid=mark.uid,
        snapshots=snapshots,
        contents={
            each.metadata.name: content
            for each in snapshots
            if (content := bound[each.metadata.name]) is not None and _is_content_of(content, each.metadata)
        },
        uploads=_sorted(seen.data_uploads, lambda each: is_upload_of(each, mark, namespace)),
        pod_volume_backups=_sorted(
            seen.pod_volume_backups, lambda each: is_pod_volume_backup_of(each, mark, namespace)
        ),
    )


def is_upload_of(upload: DataUpload, mark: Mark, namespace: str) -> bool:
    """Tell whether an upload moves a volume of the control plane for this backup."""
    spec = upload.spec
    return spec is not None and spec.source_namespace == namespace and mark.on(upload.metadata)


def is_pod_volume_backup_of(found: PodVolumeBackup, mark: Mark, namespace: str) -> bool:
    """Tell whether a pod volume backup moves a volume of the control plane for this backup."""
    pod = found.spec.pod if found.spec is not None else None
    return pod is not None and pod.namespace == namespace and mark.on(found.metadata)


def to_cancel(selection: Selection) -> tuple[Reference, ...]:
    """Return the uploads and pod volume backups that have to be told to stop: those that have not ended and were not told so.

    They carry the UID of the backup. A name, which a later backup may have again, is enough to look at something, and not to stop it.
    """
    moves = (
        *((DATA_UPLOADS, each) for each in selection.uploads),
        *((POD_VOLUME_BACKUPS, each) for each in selection.pod_volume_backups),
    )
    return tuple(
        Reference(resource, each.metadata)
        for resource, each in moves
        if each.phase not in ENDED
        and not (each.spec is not None and each.spec.cancel)
        and selection.uid
        and each.metadata.label(names.BACKUP_UID_LABEL) == selection.uid
    )


def _is_snapshot_of(meta: ObjectMeta, mark: Mark, namespace: str) -> bool:
    return meta.namespace == namespace and meta.label(names.BACKUP_NAME_LABEL) == mark.label


def _is_older(meta: ObjectMeta, begun: datetime | None) -> bool:
    """Tell whether a snapshot was there before the backup was: the API server's clock says both."""
    made = stamp(meta.creation_timestamp)
    return made is not None and begun is not None and made < begun


def _is_later(meta: ObjectMeta, ended: datetime | None) -> bool:
    """Tell whether a snapshot was made after the backup had ended: a restore makes them anew, with the labels that they had. Two clocks say so."""
    made, end = stamp(meta.creation_timestamp), later(ended, SKEW)
    return made is not None and end is not None and made > end


def snapshot_of(upload: DataUpload) -> str:
    """Return the name of the snapshot that an upload moves; empty where it says none."""
    taken = upload.spec.csi_snapshot if upload.spec is not None else None
    return (taken.volume_snapshot if taken is not None else None) or ""


def content_name(snapshot: VolumeSnapshot) -> str:
    """Return the name of the content that a snapshot is bound to; empty where it is bound to none."""
    return (snapshot.status.bound_volume_snapshot_content_name if snapshot.status is not None else None) or ""


def _is_content_of(content: VolumeSnapshotContent, snapshot: ObjectMeta) -> bool:
    reference = content.spec.volume_snapshot_ref if content.spec is not None else None
    if reference is None or (reference.namespace, reference.name) != (snapshot.namespace, snapshot.name):
        return False
    return not reference.uid or not snapshot.uid or reference.uid == snapshot.uid


def _sorted(found: Iterable[T], wanted: Callable[[T], bool]) -> tuple[T, ...]:
    once = {each.metadata.name: each for each in found if wanted(each)}
    return tuple(once[name] for name in sorted(once))
