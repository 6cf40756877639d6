"""Checks of a DataMover's spec that need nothing but the spec. Pure.

The same rules stand in the CRD (schema and CEL); they are checked again here because an object may be older than the CRD, and because
the embedded API server does not evaluate CEL. Each finding carries a reason and a sentence that says the fix.
"""

import re
from typing import Final

from datamover.api import names, reasons, transfer
from datamover.api.periods import PATTERN, read_period
from datamover.api.v1alpha1.datamover import DataMoverSpec, Verify
from datamover.api.validation import Finding, check_environment, check_image, check_mover, is_object_name, quote

SHORTEST_EVERY: Final = 3600.0
"""Seconds: a store is listed, or read whole, each time."""
LONGEST_EVERY: Final = 5 * 365 * 86_400.0
"""Seconds: who writes more has mistyped it, and moments stay within what dates can say."""


def check_spec(spec: DataMoverSpec) -> Finding | None:
    """Return the first thing that only a change of the spec can mend, or None."""
    for field, value in (("sourcePvc", spec.source_pvc), ("secretName", spec.secret_name)):
        if not is_object_name(value):
            return Finding(
                reasons.INVALID_SPEC,
                f"spec.{field} is {quote(value)}, which is not an object name: use lower-case letters, digits, '-' and '.', "
                "at most 253 characters",
            )
    return (
        _check_copy(spec)
        or check_image(spec.image)
        or check_environment(spec.additional_env or ())
        or check_verify(spec)
        or (check_mover(spec.mover, where="spec.mover.") if spec.mover else None)
    )


def check_verify(spec: DataMoverSpec) -> Finding | None:
    """Return what is wrong with `spec.verify`, or None. What stands in the Secret only the mover sees; it says the same then."""
    verify = spec.verify
    if verify is None:
        return None
    if verify.method not in {None, *transfer.METHOD_NAMES}:
        return Finding(
            reasons.INVALID_SPEC,
            f"spec.verify.method is {quote(verify.method or '')}: use one of {', '.join(transfer.METHOD_NAMES)}",
        )
    sample = verify.method is not None and transfer.METHOD_NAMES[verify.method] == transfer.SAMPLE
    if sample != (verify.sample_percent is not None):
        return Finding(
            reasons.INVALID_SPEC,
            "spec.verify.samplePercent belongs to method Sample, which needs it: set both, or remove samplePercent",
        )
    if verify.sample_percent is not None and not 1 <= verify.sample_percent <= 100:
        return Finding(
            reasons.INVALID_SPEC, f"spec.verify.samplePercent is {verify.sample_percent}: use a number from 1 to 100"
        )
    chosen = verify.chosen
    found = _check_every(verify)
    if found is not None:
        return found
    said = [each for each in spec.additional_env or () if each.name == transfer.VERIFY_BACKUP][-1:]  # the last one wins
    value = said[0].value if said and said[0].value_from is None else None
    if chosen is None or not value or "$(" in value:  # the kubelet puts another variable in
        return None
    contradiction = transfer.contradiction(chosen, value)
    return Finding(reasons.INVALID_SPEC, contradiction) if contradiction else None


def _check_every(verify: Verify) -> Finding | None:
    text = verify.every
    if text is None:
        return None
    if verify.again.name == "":
        return Finding(
            reasons.INVALID_SPEC,
            "spec.verify.every asks for verifications, and spec.verify.method None compares nothing: choose another method, or remove every",
        )
    seconds = read_period(text) if re.fullmatch(PATTERN, text) else None
    if seconds is None or not SHORTEST_EVERY <= seconds <= LONGEST_EVERY:
        return Finding(
            reasons.INVALID_SPEC,
            f"spec.verify.every is {quote(text)}: write how long after each other verifications are made, from 1h to 5y, such as 7d or 168h",
        )
    return None


def _check_copy(spec: DataMoverSpec) -> Finding | None:
    method = spec.copy_method
    if method != names.CopyMethod.SNAPSHOT and spec.volume_snapshot_class_name:
        return Finding(
            reasons.INVALID_SPEC,
            "spec.volumeSnapshotClassName is used with copyMethod Snapshot only: set copyMethod: Snapshot or remove it",
        )
    if method == names.CopyMethod.DIRECT and spec.storage_class_name:
        return Finding(
            reasons.INVALID_SPEC,
            "copyMethod Direct makes no clone, so spec.storageClassName has no effect: remove it, or choose Clone or Snapshot",
        )
    if method == names.CopyMethod.DIRECT and spec.delete_pvc_after_backup:
        return Finding(
            reasons.INVALID_SPEC,
            "copyMethod Direct makes no clone, so there is none to delete: set spec.deletePvcAfterBackup: false",
        )
    return None
