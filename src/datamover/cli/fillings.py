"""What a DataVolume says of its filling, and of its collection, both of which `datamover run` waits for. Pure.

The words `Completed` and `Failed` are this command's: one is Completed when its disk is there, and when it was collected where that was asked for.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DataVolume, DataVolumeStatus
from datamover.api.cdi.names import ConditionType
from datamover.api.cdi.names import PopulationReason as Population
from datamover.api.importer import ARCHIVE, BLOCK, DISK
from datamover.api.names import Phase
from datamover.api.transfer import REASON_SOURCE_NOT_FOUND
from datamover.api.waits import WAITS
from datamover.reconcilers.collection.obstacles import Reason
from datamover.volumes.asking import Asked, who_asks
from datamover.volumes.collection_time import Lifetime
from datamover.volumes.handover import Record, read_record
from kubekit.words.core import PersistentVolumeClaim
from kubekit.words.meta import Manifest

PENDING: Final = "Pending"
COLLECTING: Final = "Collecting"
"""Its disk is there, and it goes when its time has come."""
_AWAITED: Final = "datamover.local/awaits-collection"
"""On what this command remembers of a DataVolume, and nowhere else: its collection is waited for."""
_AT_WORK: Final = frozenset(
    {Population.TRANSFER_RUNNING, Population.POPULATED, Population.ADOPTED, Population.PRE_POPULATED}
)
_PASSING: Final = frozenset({Population.CLAIM_PENDING, Population.CLAIM_TERMINATING, Population.DATA_SOURCE_NOT_READY})
"""What a driver, or another object of the same command, may end."""
ENDED_BY_A_PERSON: Final = frozenset(
    {*Reason, *Population} - _AT_WORK - _PASSING - {Reason.TTL, Reason.NOT_SUCCEEDED, Reason.NOT_READY}
)
"""Reasons that nobody but a person can end while this command runs."""
_NOT_IN_THE_WAY: Final = frozenset({Reason.TTL, Reason.NOT_SUCCEEDED, Reason.NOT_READY})
"""Reasons that it stays for, which end by themselves."""


_SCHEDULED: Final = frozenset({names.Phase.IMPORT_SCHEDULED, names.Phase.CLONE_SCHEDULED, names.Phase.UPLOAD_SCHEDULED})


def status_of(volume: DataVolume) -> DataVolumeStatus:
    """Return its status, an empty one where there is none yet."""
    return volume.status or DataVolumeStatus()


def is_filled(volume: DataVolume) -> bool:
    """Tell whether its disk is there."""
    return status_of(volume).phase == names.Phase.SUCCEEDED


def phase_of(volume: DataVolume) -> str:
    """Return `Completed`, `Failed`, `Collecting` while its collection is waited for, or its own phase while it is filled."""
    phase = status_of(volume).phase or PENDING
    if phase == names.Phase.FAILED or has_failed(volume):
        return Phase.FAILED
    if not is_filled(volume):
        return phase
    return (
        COLLECTING if volume.metadata.annotation(_AWAITED) is not None and not is_collected(volume) else Phase.COMPLETED
    )


def has_failed(volume: DataVolume) -> bool:
    """Tell whether its worker has failed for good. On a cluster another one is made after a pause, and so on; here the next command makes it."""
    reason = "" if is_filled(volume) else reason_of(volume)
    if reason == REASON_SOURCE_NOT_FOUND and status_of(volume).phase in _SCHEDULED:
        return True  # the worker's word for what its server does not have; before there is a worker it is a claim that is missing
    known = reason in WAITS or reason in _AT_WORK or reason in _PASSING or reason in ENDED_BY_A_PERSON
    return bool(reason) and not known


def await_collection(volume: DataVolume, lifetime: Lifetime) -> DataVolume:
    """Return the DataVolume with the mark that its collection is waited for, where it is asked for and will come."""
    asked = who_asks(volume.metadata.annotations or {})
    if lifetime.seconds is None or asked in (Asked.NO, Asked.REFUSED):
        return volume
    return _annotate(volume, {_AWAITED: ""})


def collect(volume: DataVolume) -> DataVolume:
    """Return what is remembered of a DataVolume that is gone: it was collected."""
    return _annotate(volume, {names.GARBAGE_COLLECTED: "true"})


def is_collected(volume: DataVolume) -> bool:
    """Tell whether it was collected."""
    return volume.metadata.annotation(names.GARBAGE_COLLECTED) == "true"


def _annotate(volume: DataVolume, more: dict[str, str]) -> DataVolume:
    return replace(
        volume, metadata=replace(volume.metadata, annotations={**(volume.metadata.annotations or {}), **more})
    )


def recall(manifest: Manifest, claim: PersistentVolumeClaim) -> DataVolume | None:
    """Return what is to be remembered of a DataVolume that was collected in an earlier run; None where its claim does not say so."""
    record = read_record(claim.metadata)
    if record is None or record.returned or record.name != manifest["metadata"]["name"]:
        return None
    volume = msgspec.convert({"metadata": manifest["metadata"], "spec": manifest.get("spec")}, DataVolume)
    status = DataVolumeStatus(claim_name=record.name, phase=names.Phase.SUCCEEDED, progress="100.0%")
    return collect(replace(volume, metadata=replace(volume.metadata, uid=record.uid), status=status))


def tell_recalled(claim: PersistentVolumeClaim) -> str:
    """Return the sentence about such a one."""
    record = read_record(claim.metadata) or Record("", claim.metadata.name)
    source = f" from {record.source}" if record.source else ""
    return (
        f"it was filled{source} and collected at {record.collected} in an earlier run, and its claim is there: nothing is done. To fill it anew, "
        f"free it first: datamover state --free DataVolume/{record.name}"
    )


def find_fault(volume: DataVolume, *, before: DataVolume | None) -> str | None:
    """Return why a DataVolume cannot be filled in the embedded world, with the way out; None when it can. `before` is the one that is there."""
    spec = volume.spec
    if before is not None and before.spec != spec:
        return (
            "it was made with another spec, and that of a DataVolume cannot be changed: give it another name, or free it with its disk first: "
            f"datamover state --free DataVolume/{volume.metadata.name}"
        )
    claim = (spec.storage or spec.pvc) if spec is not None else None
    if claim is not None and claim.volume_mode == BLOCK:
        return "the embedded world has no Block volumes: leave volumeMode out, or fill it on a cluster"
    return None


def file_of(volume: DataVolume) -> str:
    """Return what its data are in its volume: the disk; empty for the files of an archive, which are all of it."""
    spec = volume.spec
    return "" if spec is not None and spec.content_type == ARCHIVE else DISK


def progress_of(volume: DataVolume) -> str:
    """Return how much of it is there, as it says."""
    said = status_of(volume).progress or ""
    return "" if said == "N/A" else said


def message_of(volume: DataVolume) -> str:
    """Return what goes on, or what came of it."""
    if phase_of(volume) == Phase.COMPLETED:
        return "it was collected; its claim stays" if is_collected(volume) else ""
    if is_filled(volume):
        return _said_of_collection(volume)[1] or "it is filled, and is collected next"
    for wanted in (ConditionType.READY, ConditionType.RUNNING, ConditionType.BOUND):
        condition = status_of(volume).condition(wanted)
        if condition is not None and condition.message:
            return condition.message
    return ""


def reason_of(volume: DataVolume) -> str:
    """Return the reason of that."""
    if is_filled(volume):
        return _said_of_collection(volume)[0]
    ready = status_of(volume).condition(ConditionType.READY)
    return (ready.reason or "") if ready is not None else ""


def _said_of_collection(volume: DataVolume) -> tuple[str, str]:
    """Return reason and sentence of why it is not collected (yet)."""
    reason, _, sentence = (volume.metadata.annotation(names.COLLECTION) or "").partition(": ")
    return reason, sentence


def hold_of(volume: DataVolume) -> str | None:
    """Return the reason why it gets no further; None while it works, when it only waits for its time, and when it is over."""
    if phase_of(volume) in Phase.TERMINAL:
        return None
    reason = reason_of(volume)
    if is_filled(volume):
        return reason if reason and reason not in _NOT_IN_THE_WAY else None
    return reason if reason in ENDED_BY_A_PERSON or reason in _PASSING or reason in WAITS else None
