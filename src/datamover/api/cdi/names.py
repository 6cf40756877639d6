"""Every name of group cdi.kubevirt.io that is visible outside: annotations, phases, conditions. Pure.

The group is another project's: its names are an interface that users' manifests and other controllers rely on, and never change here.
"""

from enum import StrEnum
from typing import Final

from datamover.api import names as ours

GROUP: Final = "cdi.kubevirt.io"
VERSION: Final = "v1beta1"

CONFIG_NAME: Final = "config"
"""The one CDIConfig of a cluster."""

CONTROLLER_LEASE: Final = "cdi-controller-leader-election-helper"
"""The Lease that a CDI's controller holds while it works, in its own namespace."""

# Annotations that ask for a collection, or refuse it.
DELETE_AFTER_COMPLETION: Final = f"{GROUP}/storage.deleteAfterCompletion"
"""`true` asks for the collection of a completed DataVolume, `false` refuses it. This key was shipped, and is the one that is written."""
DELETE_AFTER_COMPLETION_DESIGNED: Final = f"{GROUP}/storage.dv.deleteAfterCompletion"
"""The key of the original design: it is read as well, and `false` under either wins."""
ASKING_KEYS: Final = (DELETE_AFTER_COMPLETION, DELETE_AFTER_COMPLETION_DESIGNED)

# Annotations of claims and DataVolumes.
POPULATED_FOR: Final = f"{GROUP}/storage.populatedFor"
"""On a claim: the DataVolume of this name has filled it. Empty during and after a handover, so that nobody takes the claim back."""
PRE_POPULATED: Final = f"{GROUP}/storage.prePopulated"
"""On a DataVolume: the claim of this name is filled already."""
CREATED_FOR: Final = f"{GROUP}/createdForDataVolume"
"""On a claim: the UID of the DataVolume that it was made for. A claim with another one's is adopted by nobody."""
GARBAGE_COLLECTED: Final = f"{GROUP}/garbageCollected"
"""On a claim: `true` when its DataVolume was collected."""
ALLOW_ADOPTION: Final = f"{GROUP}/allowClaimAdoption"
"""On a DataVolume: `true` lets it take over a claim of its name."""
BIND_IMMEDIATELY: Final = f"{GROUP}/storage.bind.immediate.requested"
"""On a DataVolume: it is populated without waiting for a first consumer."""
CONTENT_TYPE: Final = f"{GROUP}/storage.contentType"
"""On a claim: what is in it, `kubevirt` (a disk) or `archive` (files)."""
POD_PHASE: Final = f"{GROUP}/storage.pod.phase"
"""On a claim: `Succeeded` when it is filled; `virtctl` looks for it there."""
POD_RESTARTS: Final = f"{GROUP}/storage.pod.restarts"
"""On a claim, and on a worker's Job: how often a worker was started again."""
PREALLOCATION: Final = f"{GROUP}/storage.preallocation.requested"
"""On a claim: `true` when all of its space was to be taken."""
USE_POPULATOR: Final = f"{GROUP}/storage.usePopulator"
"""On a DataVolume: `false` has its claim bound first and written afterwards. On a claim: which of the two ways was taken."""
DEFAULT_VIRT_CLASS: Final = "storageclass.kubevirt.io/is-default-virt-class"
"""On a StorageClass: `true` makes it the default one of virtual machines' disks."""
CLAIM_ADOPTION_GATE: Final = "DataVolumeClaimAdoption"
"""Feature gate in CDIConfig: every DataVolume may take over a claim of its name, unless it refuses by annotation."""

# What a DataImportCron writes on what it makes, and reads.
CRON_LABEL: Final = f"{GROUP}/dataImportCron"
"""On DataVolumes, claims and DataSources: the DataImportCron of this namespace that they are of."""
CRON_CLEANUP_LABEL: Final = f"{CRON_LABEL}.cleanup"
"""`true` where they go with the DataImportCron."""
DESIRED_DIGEST: Final = f"{GROUP}/storage.import.sourceDesiredDigest"
"""On a DataImportCron: digest of what there is to import."""
LAST_USE: Final = f"{GROUP}/storage.import.lastUseTime"
"""On a claim: when it was the newest import last. The least recently used ones go first."""
CONFIG_AUTHORITY: Final = f"{GROUP}/configAuthority"
"""On CDIConfig: its spec is that of the CDI object, and changed there."""

READ_ON_CLAIMS: Final = frozenset({*ASKING_KEYS, POPULATED_FOR, CREATED_FOR, GARBAGE_COLLECTED, LAST_USE})
"""What is read of claims that are cached. Whoever reads another one adds it."""

# Annotations of ours on these kinds; they follow the names of our own group.
STAMPED: Final = f"{ours.GROUP}/stamped"
"""On a DataVolume: the asking annotation is our stamp, not the user's own word."""
COLLECTION: Final = f"{ours.GROUP}/collection"
"""On a DataVolume: why it is not collected, as `REASON: sentence`."""
RECORD: Final = f"{ours.GROUP}/collected-datavolume"
"""On a claim: what is to be known of the DataVolume that was collected, as JSON."""
FULL: Final = f"{ours.GROUP}/annotations-full"
"""On a claim in the caches, which do not keep all annotations: there are so many that nothing can be recorded on it. Nobody writes it."""
IMPORT_OF: Final = f"{ours.GROUP}/import-of"
"""On DataVolumes and claims: the UID of the DataImportCron whose import it is."""
POLL_READ: Final = f"{ours.GROUP}/poll-read"
"""On a DataImportCron: the UID of the last Job that asked its server, when what that one says was read."""
COPIED_LABELS: Final = f"{ours.GROUP}/copied-labels"
"""On a DataSource: the labels that it has from its claim, separated by commas. All others are its user's."""
POPULATED: Final = f"{ours.GROUP}/populated"
"""On a claim: the UID of the DataVolume that has filled it; on a volume: the UID of the claim that it was filled for. Written by us alone, and
never copied from anywhere: it is the proof that the data are there."""
BROUGHT: Final = f"{ours.GROUP}/brought-for"
"""On a volume that was filled in another namespace: the UIDs of the claim that it was filled for, and of the temporary one there, with a space between.
It is not called populated before that one is gone, by which others could use it."""
ERRAND: Final = f"{ours.GROUP}/copied-for"
"""On a temporary claim in another namespace: the DataVolume that is copied for, as `namespace/name`. Its UID is a label."""
COPIED_FROM: Final = f"{ours.GROUP}/copied-from"
"""On a temporary claim in another namespace: the UID of what it is copied from."""
COPIES: Final = f"{ours.GROUP}/copies"
"""On a claim: what it is the copy of, and who copies, as JSON: decided when it was made."""
GROW_TO: Final = f"{ours.GROUP}/grow-to"
"""On a claim: the size that it is to have when its driver has filled it, for a driver's copy is as large as its source."""
ADOPTED: Final = f"{ours.GROUP}/adopted"
"""On a claim: the UID of the DataVolume that took it over as it was."""
FINALIZER: Final = f"{ours.GROUP}/handover"
"""On a DataVolume while its claim is handed over: it cannot vanish while the claim names it."""
HANDING_OVER: Final = f"{ours.GROUP}/handing-over"
"""On a DataVolume beside the finalizer: the claim that is to be handed over, by UID and version, as it was before anything was written on it."""
CLONE_PERMIT: Final = f"{ours.GROUP}/clone-permit"
"""On a DataVolume: the webhook's word that whoever made it may copy from the other namespace. Signed; what users write there is no such word."""
TTL_LABEL: Final = f"{ours.GROUP}/datavolume-ttl-seconds"
"""On a Namespace: seconds after which its completed DataVolumes are collected; `never` is what a negative number is elsewhere."""


class Phase(StrEnum):
    """How far a DataVolume is, as `status.phase` says it. Unset is the beginning."""

    UNSET = ""
    PENDING = "Pending"
    PVC_BOUND = "PVCBound"
    IMPORT_SCHEDULED = "ImportScheduled"
    IMPORT_IN_PROGRESS = "ImportInProgress"
    CLONE_SCHEDULED = "CloneScheduled"
    CLONE_IN_PROGRESS = "CloneInProgress"
    SNAPSHOT_FOR_SMART_CLONE = "SnapshotForSmartCloneInProgress"
    CLONE_FROM_SNAPSHOT = "CloneFromSnapshotSourceInProgress"
    SMART_CLONE = "SmartClonePVCInProgress"
    CSI_CLONE = "CSICloneInProgress"
    EXPANSION = "ExpansionInProgress"
    NAMESPACE_TRANSFER = "NamespaceTransferInProgress"
    PREPARE_CLAIM = "PrepClaimInProgress"
    REBIND = "RebindInProgress"
    UPLOAD_SCHEDULED = "UploadScheduled"
    UPLOAD_READY = "UploadReady"
    WAIT_FOR_FIRST_CONSUMER = "WaitForFirstConsumer"
    PENDING_POPULATION = "PendingPopulation"
    PAUSED = "Paused"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


UNDER_WAY: Final = frozenset(
    {
        Phase.IMPORT_SCHEDULED,
        Phase.IMPORT_IN_PROGRESS,
        Phase.CLONE_SCHEDULED,
        Phase.CLONE_IN_PROGRESS,
        Phase.UPLOAD_SCHEDULED,
        Phase.UPLOAD_READY,
    }
)
"""Phases in which a worker was started."""


class PopulationReason(StrEnum):
    """Why a DataVolume is not populated yet, in its conditions and events."""

    UNSUPPORTED_SOURCE = "UnsupportedSource"
    NO_SOURCE = "NoSource"
    SEVERAL_SOURCES = "SeveralSources"
    INVALID_SPEC = "InvalidSpec"
    SIZE_INVALID = "SizeInvalid"
    DATA_SOURCE_NOT_READY = "DataSourceNotReady"
    CLAIM_EXISTS = "ClaimExists"
    CLAIM_OWNED = "ClaimOwned"
    CLAIM_TERMINATING = "ClaimTerminating"
    CLAIM_LOST = "ClaimLost"
    CLAIM_PENDING = "ClaimPending"
    CLAIM_MISSING = "ClaimMissing"
    NOT_OURS_TO_WRITE = "ClaimNotOursToWrite"
    VOLUME_TAKEN = "VolumeTaken"
    VOLUME_KEPT = "VolumeKept"
    NO_STORAGE_CLASS = "NoStorageClass"
    WAITING_FOR_CONSUMER = "WaitForFirstConsumer"
    TRANSFER_RUNNING = "TransferRunning"
    POPULATED = "Populated"
    ADOPTED = "Adopted"
    PRE_POPULATED = "PrePopulated"
    COLLECTED_ALREADY = "CollectedAlready"


class ConditionType(StrEnum):
    """The conditions of a DataVolume."""

    READY = "Ready"
    BOUND = "Bound"
    RUNNING = "Running"
