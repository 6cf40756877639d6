"""What the watcher of hosted control planes' backups writes: the ConfigMap beside each Backup, its names, and the reasons of events. Pure."""

import hashlib
from enum import StrEnum
from typing import Final

from datamover.api import names
from datamover.api.reasons import NAME_TAKEN
from datamover.api.velero.names import EXCLUDE_LABEL, label_value
from kubekit.words.meta import Model, ObjectMeta, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS, VolumeSnapshot

NAME_PREFIX: Final = "hosted-control-planes-"
"""Before the backup's name, in that of its ConfigMap."""
COMPONENT: Final = "hosted-control-planes"
BACKUP_LABEL: Final = f"{names.GROUP}/backup"
"""The backup's name, shortened as Velero shortens it in labels."""
SELECTOR: Final = f"{names.COMPONENT_LABEL}={COMPONENT},{names.CREATED_BY_LABEL}={names.CREATED_BY_VALUE}"
"""Which ConfigMaps are read."""

_LONGEST: Final = 253
_DIGITS: Final = 10


class DataKey:
    """Keys of the ConfigMap. All but `STATUS` are for people."""

    STATE: Final = "state"
    MESSAGE: Final = "message"
    STATUS: Final = "status.json"


class Reason(StrEnum):
    """Reasons of events on a Backup; what is counted goes by them."""

    MOVED = "Moved"
    NOTHING_TO_MOVE = "NothingToMove"
    FAILED = "Failed"
    TIMED_OUT = "TimedOut"
    UNSUPPORTED = "UnsupportedPlatform"
    UNKNOWN = "Unknown"
    STALLED = "Stalled"
    CONFIGURATION = "InvalidConfiguration"
    NAME_TAKEN = NAME_TAKEN
    DEFECT = names.OPERATOR_DEFECT


class StatusMap(Model, frozen=True):
    """Such a ConfigMap. It is a type of its own, so that no other ConfigMap is ever taken for one."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] | None = None


STATUS_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap", StatusMap)
BACKED_UP_SNAPSHOTS: Final = Resource(
    VOLUME_SNAPSHOTS.group, VOLUME_SNAPSHOTS.version, VOLUME_SNAPSHOTS.plural, VOLUME_SNAPSHOTS.kind, VolumeSnapshot
)
"""VolumeSnapshots that a backup has taken, which have a cache of their own."""


def status_name(backup: str) -> str:
    """Return what the ConfigMap of a backup of this name is called: what is too long ends with digits of its SHA-256."""
    name = NAME_PREFIX + backup
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - _DIGITS - 1].rstrip('.-')}-{hashlib.sha256(backup.encode()).hexdigest()[:_DIGITS]}"


def status_labels(backup: str) -> dict[str, str]:
    """Return the labels of the ConfigMap of a backup of this name. Velero leaves it out of backups: it says nothing where it is restored."""
    return {
        names.CREATED_BY_LABEL: names.CREATED_BY_VALUE,
        names.MANAGED_BY_LABEL: names.CREATED_BY_VALUE,
        names.PART_OF_LABEL: names.PART_OF_VALUE,
        names.COMPONENT_LABEL: COMPONENT,
        EXCLUDE_LABEL: "true",
        BACKUP_LABEL: label_value(backup),
    }
