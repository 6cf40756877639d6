"""Every name of group volsync.backube that is visible outside: labels, annotations, condition, event reasons, names of children. Pure.

The group is another project's: its names are an interface that users' manifests and scripts rely on, and never change here.
"""

import zlib
from typing import Final

from datamover.api import names as ours

GROUP: Final = "volsync.backube"

LEASE_NAME: Final = "b95b3104.backube"
"""The Lease of VolSync's own operator, in the namespace that it is installed in."""

CREATED_BY_VALUE: Final = "volsync"
"""The value of the created-by label of all children of these kinds, and of their Pods."""
PART_OF_VALUE: Final = "volsync"
CLEANUP_LABEL: Final = f"{GROUP}/cleanup"
"""Holds the owner's UID: a temporary object of the current synchronisation (law L2)."""
DO_NOT_DELETE_LABEL: Final = f"{GROUP}/do-not-delete"
"""On a VolumeSnapshot, with any value: the operator lets go of it and never deletes it."""
PRIVILEGED_ANNOTATION: Final = f"{GROUP}/privileged-movers"
"""On a Namespace: `true` allows movers to run as root with a few capabilities."""
DEBUG_ANNOTATION: Final = f"{GROUP}/enable-debug-mover"
"""On either kind, with any value: the mover sleeps instead of working."""
POPULATED_FOR_LABEL: Final = f"{GROUP}/populator-pvc-for"
POPULATED_FROM_ANNOTATION: Final = f"{GROUP}/populated-from"
POPULATING_LABEL_PREFIX: Final = f"{GROUP}/volpop-pvc-"
"""Begins a label of a VolumeSnapshot that a volume is being populated from."""
PRIME_PREFIX: Final = "vs-prime-"
"""Begins the name of the temporary claim by which another one is filled; the UID of that one follows."""
POPULATOR_NAME: Final = "volsync-replicationdestination"
"""The VolumePopulator that says that claims are filled from destinations."""
LOAD_BALANCER_ANNOTATION: Final = ("service.beta.kubernetes.io/aws-load-balancer-type", "nlb")
"""What a Service carries unless the object brings annotations of its own."""

# Annotations of ours on these kinds; they follow the names of our own group.
ALLOW_EMPTY_ANNOTATION: Final = ours.ALLOW_EMPTY_ANNOTATION
"""`true`: an empty source may empty its destination (law L3)."""
REMOVE_STALE_LOCKS_ANNOTATION: Final = f"{ours.GROUP}/remove-stale-locks"
"""`true`: a lock that a dead mover of ours has left in a restic repository is removed without being asked again."""
READS_ANNOTATION: Final = f"{ours.GROUP}/claim-uid"
"""On a mover's Job: the UID of the claim that it reads or writes, so that a Job never counts for another one's data."""
FAILURES_ANNOTATION: Final = f"{ours.GROUP}/failures-before"
"""On a mover's Job: how many Jobs of the same synchronisation have failed before it."""
ASKED_ANNOTATION: Final = f"{ours.GROUP}/asked"
"""On a mover's Job and on volumes: a digest of what was asked for when they were made, so that what cannot get ready is made anew when that is mended."""
ACTIONS_ANNOTATION: Final = f"{ours.GROUP}/actions"
"""On a mover's Job: what it was told to do, such as `unlock backup prune`."""
UNLOCK_ANNOTATION: Final = f"{ours.GROUP}/unlock"
"""On a mover's Job that removes stale locks: the value of spec.restic.unlock that asked for it."""


class Synchronizing:
    """The one condition of both kinds, and its reasons."""

    TYPE: Final = "Synchronizing"

    IN_PROGRESS: Final = "SyncInProgress"
    WAITING_FOR_SCHEDULE: Final = "WaitingForSchedule"
    WAITING_FOR_MANUAL: Final = "WaitingForManual"
    CLEANING_UP: Final = "CleaningUp"
    ERROR: Final = "Error"

    MESSAGES: Final = {
        IN_PROGRESS: "Synchronization in-progress",
        WAITING_FOR_SCHEDULE: "Waiting for next scheduled synchronization",
        WAITING_FOR_MANUAL: "Waiting for manual trigger",
        CLEANING_UP: "Cleaning up",
    }


class ConditionType:
    """Conditions of ours, beside the one of the contract. `Ready` and `Stalled` follow kstatus."""

    READY: Final = "Ready"
    STALLED: Final = "Stalled"
    COPY_READY: Final = "CopyReady"
    COPY_TRIGGERED: Final = "CopyTriggered"


class MoverResult:
    """`status.latestMoverStatus.result`."""

    SUCCESSFUL: Final = "Successful"
    FAILED: Final = "Failed"


class EventReason:
    """Reasons of events, as users of the original operator know them."""

    TRANSFER_STARTED: Final = "TransferStarted"
    TRANSFER_FAILED: Final = "TransferFailed"
    CLAIM_CREATED: Final = "PersistentVolumeClaimCreated"
    SNAPSHOT_CREATED: Final = "VolumeSnapshotCreated"
    # These the original means to send as well, but without an action, so that API servers refuse them.
    CLAIM_NOT_BOUND: Final = "PersistentVolumeClaimNotBound"
    SNAPSHOT_NOT_BOUND: Final = "VolumeSnapshotNotBound"
    ADDRESS: Final = "ServiceAddressAssigned"
    NO_ADDRESS: Final = "NoServiceAddressAssigned"


class WaitReason:
    """Reasons of `Ready` that only these kinds have."""

    TURN: Final = "WaitingForTurn"


class EventAction:
    """Actions of events. An event without one never arrives."""

    CREATE_MOVER: Final = "CreateMover"
    DELETE_MOVER: Final = "DeleteMover"
    CREATE_CLAIM: Final = "CreatePersistentVolumeClaim"
    CREATE_SNAPSHOT: Final = "CreateVolumeSnapshot"
    PUBLISH_ADDRESS: Final = "PublishServiceAddress"


class PopulatorReason:
    """Reasons of events about a claim that is filled from a destination."""

    DESTINATION_MISSING: Final = "VolSyncPopulatorReplicationDestinationMissing"
    NO_IMAGE: Final = "VolSyncPopulatorReplicationDestinationNoLatestImage"
    CLAIM_CREATED: Final = "VolSyncPopulatorPVCCreated"
    FINISHED: Final = "VolSyncPopulatorFinished"
    ERROR: Final = "VolSyncPopulatorError"
    # of ours: waits that the original tells in its log only
    IMAGE_NOT_READY: Final = "VolSyncPopulatorImageNotReady"
    WAITING_FOR_CONSUMER: Final = "VolSyncPopulatorWaitingForFirstConsumer"
    NOT_BOUND: Final = "VolSyncPopulatorPVCNotBound"


class Method:
    """The names of the movers: the value of the metrics' label `method`, of the container, and the agent's first argument."""

    RESTIC: Final = "restic"
    RCLONE: Final = "rclone"
    RSYNC_TLS: Final = "rsync-tls"
    RSYNC: Final = "rsync"
    SYNCTHING: Final = "syncthing"


SOURCE: Final = "src"
DESTINATION: Final = "dst"

_LABEL_LIMIT: Final = 63
_JOB_PREFIXES: Final = {
    Method.RESTIC: "volsync-",
    Method.RCLONE: "volsync-rclone-",
    Method.RSYNC_TLS: "volsync-rsync-tls-",
    Method.RSYNC: "volsync-rsync-",
}


def shorten(prefix: str, name: str) -> str:
    """Return `prefix` and `name`; the name's CRC-32 (IEEE, 8 hex digits) instead where both together are no label value."""
    whole = prefix + name
    return whole if len(whole) <= _LABEL_LIMIT else f"{prefix}{zlib.crc32(name.encode()):08x}"


def job_name(method: str, role: str, name: str) -> str:
    """Return the name of a mover's Job; its Service, where it has one, is called the same. `role` is `SOURCE` or `DESTINATION`."""
    return shorten(f"{_JOB_PREFIXES[method]}{role}-", name)


def selector_name(role: str, name: str) -> str:
    """Return the value of the name label by which a Service finds the mover's Pods."""
    return shorten(f"{role}-", name)


def copy_name(name: str) -> str:
    """Return the name of a source's point-in-time copy: the snapshot and the claim are called the same."""
    return f"volsync-{name}-src"


def destination_claim(method: str, name: str) -> str:
    """Return the name of the claim that a destination makes where none is given."""
    return f"volsync-{name}-{'dest' if method in (Method.RESTIC, Method.RCLONE) else 'dst'}"


def cache_claim(role: str, name: str) -> str:
    """Return the name of restic's cache volume."""
    return f"volsync-{role}-{name}-cache"


def old_cache_claim(name: str) -> str:
    """Return the name that restic's cache volume had before a source and a destination of one name had each its own."""
    return f"volsync-{name}-cache"


def account_name(role: str, name: str) -> str:
    """Return the name of the mover's ServiceAccount, Role and RoleBinding."""
    return f"volsync-{role}-{name}"


def prime_name(uid: str) -> str:
    """Return the name of the temporary claim by which the claim with this UID is filled."""
    return f"{PRIME_PREFIX}{uid}"


def in_use_label(uid: str) -> str:
    """Return the key of the label of a snapshot that the claim with this UID is being filled from."""
    return f"{POPULATING_LABEL_PREFIX}{uid}"


def tls_secret(name: str) -> str:
    """Return the name of the Secret with a generated pre-shared key."""
    return f"volsync-rsync-tls-{name}"


def ssh_secret(role: str, part: str, name: str) -> str:
    """Return the name of a Secret with generated SSH keys; `part` is `main`, `src` or `dest`."""
    return f"volsync-rsync-{role}-{part}-{name}"


def image_name(claim: str, stamp: str) -> str:
    """Return the name of the snapshot of a destination's volume; `stamp` is `YYYYMMDDHHMMSS` in UTC."""
    return f"{claim}-{stamp}"
