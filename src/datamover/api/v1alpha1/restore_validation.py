"""Checks of a DataMoverRestore's spec that need nothing but the spec. Pure.

The same rules stand in the CRD (schema and CEL); they are checked again here because an object may be older than the CRD, and because
the embedded API server does not evaluate CEL. Each finding carries a reason and a sentence that says the fix.
"""

import re
from datetime import datetime
from typing import Final

from datamover.api import points, reasons, restore
from datamover.api.transfer import path_prefix
from datamover.api.v1alpha1.restore import ACCESS_MODES, VOLUME, Bucket, DataMoverRestoreSpec, NewClaim
from datamover.api.validation import Finding, check_environment, check_image, check_mover, is_object_name, quote
from kubekit.words.quantity import parse_quantity

_VOLUME: Final = re.compile(VOLUME)
_PATH_LIMIT: Final = 4096


def check_spec(spec: DataMoverRestoreSpec, *, now: datetime) -> Finding | None:
    """Return the first thing that only a change of the spec can mend, or None. Ages in its point are reckoned from `now`."""
    return (
        _check_source(spec)
        or _check_name("spec.target.claimName", spec.target.claim_name)
        or (_check_new(spec.target.create) if spec.target.create is not None else None)
        or _check_in_place(spec)
        or _check_wanted(spec, now=now)
        or check_image(spec.image)
        or check_environment(spec.additional_env or ())
        or (check_mover(spec.mover, where="spec.mover.") if spec.mover is not None else None)
    )


def _check_source(spec: DataMoverRestoreSpec) -> Finding | None:
    source = spec.source
    if (source.data_mover is None) == (source.bucket is None):
        both = "both dataMover and bucket" if source.bucket is not None else "neither dataMover nor bucket"
        return _invalid(f"spec.source names {both}: name exactly one of them")
    if source.data_mover is not None:
        return _check_name("spec.source.dataMover", source.data_mover)
    return _check_bucket(source.bucket) if source.bucket is not None else None


def _check_bucket(bucket: Bucket) -> Finding | None:
    finding = _check_name("spec.source.bucket.secretName", bucket.secret_name)
    if finding is not None:
        return finding
    try:
        path_prefix(bucket.prefix or "")
    except ValueError as error:
        return _invalid(f"spec.source.bucket.prefix is {quote(bucket.prefix or '')}: {error}")
    if bucket.source is not None and _VOLUME.fullmatch(bucket.source) is None:
        return _invalid(
            f"spec.source.bucket.source is {quote(bucket.source)}: write whose backup it is as NAMESPACE/PVC, as `datamover points` shows it"
        )
    return None


def _check_new(wanted: NewClaim) -> Finding | None:
    where = "spec.target.create"
    try:
        size = parse_quantity(wanted.storage)
    except (ValueError, ArithmeticError):
        return _invalid(f"{where}.storage is {quote(str(wanted.storage))}, which is no quantity: write one like 10Gi")
    if size <= 0:
        return _invalid(
            f"{where}.storage is {quote(str(wanted.storage))}: write a size like 10Gi, at least what comes back"
        )
    if wanted.storage_class_name is not None:
        finding = _check_name(f"{where}.storageClassName", wanted.storage_class_name)
        if finding is not None:
            return finding
    wrong = [mode for mode in wanted.access_modes or () if mode not in ACCESS_MODES]
    if wrong or wanted.access_modes == ():
        shown = quote(wrong[0]) if wrong else "an empty list"
        return _invalid(
            f"{where}.accessModes has {shown}: into such a claim nothing can be restored; use {', '.join(ACCESS_MODES)}"
        )
    return None


def _check_in_place(spec: DataMoverRestoreSpec) -> Finding | None:
    if not spec.in_place or spec.target.create is None:
        return None
    return _invalid(
        "spec.inPlace restores into a claim that is there, and spec.target.create makes one: remove one of them"
    )


def _check_wanted(spec: DataMoverRestoreSpec, *, now: datetime) -> Finding | None:
    try:
        points.settle(spec.point, now=now)
    except ValueError as error:
        return _invalid(f"spec.point is {quote(spec.point)}, which names no point: {error}")
    path = spec.path or ""
    if path.startswith("/") or ".." in path.split("/"):
        return _invalid(
            f"spec.path is {quote(path)}: write a path within the volume, without a slash at its beginning and without .., as `datamover ls` shows it"
        )
    if "\0" in path or len(path.encode("utf-8", "surrogatepass")) > _PATH_LIMIT:
        return _invalid(f"spec.path is {quote(path)}, which no volume can have: write it as `datamover ls` shows it")
    if spec.on_missing not in (restore.FAIL, restore.EMPTY):
        return _invalid(f"spec.onMissing is {quote(spec.on_missing)}: write {restore.FAIL} or {restore.EMPTY}")
    return None


def _check_name(field: str, value: str) -> Finding | None:
    if is_object_name(value):
        return None
    return _invalid(
        f"{field} is {quote(value)}, which is not an object name: use lower-case letters, digits, '-' and '.', at most 253 characters"
    )


def _invalid(message: str) -> Finding:
    return Finding(reasons.INVALID_SPEC, message)
