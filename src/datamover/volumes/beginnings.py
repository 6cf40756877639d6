"""What a claim was begun as the copy of, and by whom it is filled. Decided once, when the claim is made, and written on it (law L6). Pure.

A DataSource may stand for something else a moment later, or be gone, and another driver may be said to clone: neither changes what was begun. Whoever may
write the claim's annotations can change it. He gains nothing: what is of another namespace needs the permit all the same, and what is of his own he may read.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from datamover.api.cdi import names
from datamover.api.outside import Decoder, Unusable
from datamover.api.validation import is_object_name
from datamover.volumes.permit import CloneSource
from kubekit.words.core import PersistentVolumeClaim
from kubekit.words.meta import Model, ObjectMeta

_WORKER: Final = "worker"
_DRIVER: Final = "driver"
_KINDS: Final = ("pvc", "snapshot")
_LIMIT: Final = 1024
"""Bytes of such an annotation. Two names of Kubernetes have at most 253 each."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """What is copied, and whether a worker does that; else a driver does."""

    source: CloneSource
    by_worker: bool


class _Said(Model, frozen=True):
    kind: str = ""
    namespace: str = ""
    name: str = ""
    by: str = ""


_decode: Final = Decoder(_Said, limit=_LIMIT)


def record(beginning: Beginning) -> str:
    """Return the value of the annotation (`names.COPIES`)."""
    source = beginning.source
    by = _WORKER if beginning.by_worker else _DRIVER
    said = _Said(kind=source.kind, namespace=source.namespace, name=source.name, by=by)
    return msgspec.json.encode(said).decode()


def beginning_of(claim: PersistentVolumeClaim | None, volume: ObjectMeta) -> Beginning | None:
    """Return what a claim was begun as the copy of. None where it was not made for this very DataVolume, or does not say it as we write it."""
    if claim is None or not claim.metadata.owned_by(volume.uid):
        return None
    said = claim.metadata.annotation(names.COPIES)
    if said is None or claim.metadata.annotation(names.CREATED_FOR) != volume.uid:
        return None
    try:
        found = _decode(said.encode())
    except (Unusable, UnicodeEncodeError):
        return None
    right = found.kind in _KINDS and found.by in (_WORKER, _DRIVER)
    if not right or not (is_object_name(found.namespace) and is_object_name(found.name)):
        return None
    return Beginning(CloneSource(found.kind, found.namespace, found.name), found.by == _WORKER)
