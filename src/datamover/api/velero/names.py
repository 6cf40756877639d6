"""Labels and annotations of Velero, and how it shortens what is too long for a label. Pure."""

import hashlib
from typing import Final

GROUP: Final = "velero.io"

BACKUP_NAME_LABEL: Final = "velero.io/backup-name"
"""The backup's name, shortened: on uploads, pod volume backups and, for as long as they live, on VolumeSnapshots."""
BACKUP_UID_LABEL: Final = "velero.io/backup-uid"
PVC_UID_LABEL: Final = "velero.io/pvc-uid"
DATA_UPLOAD_LABEL: Final = "velero.io/data-upload"
"""On the mover's Pod: the name of the DataUpload that it works for."""
POD_VOLUME_BACKUP_LABEL: Final = "velero.io/pod-volume-backup"
"""On the mover's Pod: the name of the PodVolumeBackup that it works for."""

CLAIM_NAME_ANNOTATION: Final = "velero.io/pvc-name"
"""On a PodVolumeBackup of a volume that is a claim."""
SKIP_ANNOTATION: Final = "velero.io/skip-from-backup"
"""On an item that an action hands back: Velero leaves it out of the backup."""

EXCLUDE_LABEL: Final = "velero.io/exclude-from-backup"
"""With the value `true` on an object, or on a namespace: Velero leaves it out of backups."""

ALL_NAMESPACES: Final = "*"

LABEL_LIMIT: Final = 63
_HASH_DIGITS: Final = 6


def label_value(name: str) -> str:
    """Return the value that Velero writes into a label for a name: its first 57 characters and six digits of its SHA-256 where it is longer than 63.

    Velero counts bytes. Names of Kubernetes are ASCII; what is not is no name of a backup, and is shortened without a crash.
    """
    raw = name.encode(errors="replace")
    if len(raw) <= LABEL_LIMIT:
        return name
    kept = raw[: LABEL_LIMIT - _HASH_DIGITS].decode(errors="ignore")
    return kept + hashlib.sha256(raw).hexdigest()[:_HASH_DIGITS]
