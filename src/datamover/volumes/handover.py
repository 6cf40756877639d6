"""Handing a claim over when its DataVolume goes: who owns it afterwards, what is written on it, and whether that is so. Pure.

A claim that its DataVolume owns goes with it, and the disk with the claim. So it is detached first, in one patch, and the DataVolume cannot vanish
before that is seen to hold.

Guarantees: what is patched is safe against an owner that comes back. A CDI judges from a cache in which the DataVolume is still there; on the
very version that the patch makes, `createdForDataVolume` has another controller refuse to adopt the claim, and an empty `populatedFor` is not
copied onto it again.
Assumptions: the patch is sent under the UID and the version of the claim that was judged.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec.structs import replace

from datamover import __version__
from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DataVolume, DataVolumeSpec
from datamover.api.importer import KUBEVIRT
from datamover.api.outside import Decoder, Unusable
from kubekit.words.core import PersistentVolumeClaim
from kubekit.words.meta import ANNOTATIONS_LIMIT, Manifest, Model, ObjectMeta, OwnerReference, bytes_of_annotations

_LONGEST: Final = 512
"""Characters of an address that are recorded at most."""

ANNOTATIONS_ROOM: Final = 4_096
"""Bytes that a handover may write: the record with two names, an address and a digest, and the marks."""


class Record(Model, frozen=True):
    """What is known of a DataVolume that was collected. Written on its claim, as JSON."""

    uid: str
    name: str
    source: str = ""
    """What filled the claim: the name of the source's field, and an address without credentials."""
    digest: str = ""
    """Of all that says what filled it (`digest_source`). Empty in records of before there was one."""
    created: str | None = None
    completed: str | None = None
    collected: str = ""
    by: str = ""
    version: str = ""
    """The version of the DataVolume under which the claim was handed over last, and the only one that may be deleted then."""
    going: bool = False
    """That version was being deleted already."""
    returned: bool = False
    """It was given back in the last moment. Whoever finds its DataVolume going all the same keeps the disk."""


_decode: Final = Decoder(Record)


def transfer_owners(
    claim: Iterable[OwnerReference],
    volume: Iterable[OwnerReference],
    *,
    uid: str,
    demoted: frozenset[str] = frozenset(),
) -> tuple[OwnerReference, ...]:
    """Return who owns a claim when the DataVolume with this UID does no more: its other owners, then those of the DataVolume that are new.

    They are taken over as they are, in their order. Those with a UID in `demoted` are no controllers any more: they still take the claim with
    them, and leave room for a DataVolume that adopts it.
    """
    kept = tuple(each for each in claim if each.uid != uid)
    there = {each.uid for each in kept}
    new = (each for each in volume if each.uid not in there and each.uid != uid)
    return (*kept, *(replace(each, controller=False) if each.uid in demoted else each for each in new))


def is_detached(claim: ObjectMeta, *, uid: str) -> bool:
    """Tell whether a DataVolume with this UID can go without the claim, and nobody will make it the claim's owner again."""
    guarded = claim.annotation(names.CREATED_FOR) == uid and claim.annotation(names.POPULATED_FOR) == ""
    return not claim.owned_by(uid) and guarded


def describe_untouched(claim: ObjectMeta) -> str:
    """Return what is written on a DataVolume before its claim is: which claim, and in which version. As long as the claim is of that very version, no
    handover of it has begun, whatever somebody has taken away from it since (`names.HANDING_OVER`).
    """
    return f"{claim.uid} {claim.resource_version}"


def may_have_begun(claim: ObjectMeta, volume: ObjectMeta, *, deleted: bool) -> bool:
    """Tell whether a DataVolume that is being deleted, and of which its claim has no record, may have been deleted by us, and takes the claim along.

    Somebody may have erased the record, or have put back what the claim was before. Then it names the DataVolume as its owner; or nothing keeps a CDI from
    making it that once more, where no other controller does. Where the claim is as it was before the handover, the DataVolume's user has deleted it.
    `deleted`: it is known that we did.
    """
    said = volume.annotation(names.HANDING_OVER) or ""
    if claim.terminating or (said == describe_untouched(claim) and not deleted):
        return False
    if claim.owned_by(volume.uid):
        return True
    is_safe = is_detached(claim, uid=volume.uid) or any(each.controller for each in claim.owner_references or ())
    return not is_safe and said.startswith(f"{claim.uid} ")


def has_room(claim: ObjectMeta) -> bool:
    """Tell whether a handover can be written on a claim: its annotations must all be known."""
    return bytes_of_annotations(claim.annotations or {}) <= ANNOTATIONS_LIMIT - ANNOTATIONS_ROOM


def build_patch(
    claim: PersistentVolumeClaim,
    volume: DataVolume,
    *,
    heirs: Iterable[OwnerReference],
    record: Record,
    demoted: frozenset[str],
) -> Manifest:
    """Return the one merge patch of the claim that detaches it and makes it its own: owners, guard, marks and record.

    `heirs` are the owners of the DataVolume that become the claim's. A claim never becomes its own.
    """
    meta = volume.metadata
    heirs = tuple(each for each in heirs if each.uid != claim.metadata.uid)
    owners = transfer_owners(claim.metadata.owner_references or (), heirs, uid=meta.uid, demoted=demoted)
    annotations = {
        names.CREATED_FOR: meta.uid,
        names.POPULATED_FOR: "",
        names.GARBAGE_COLLECTED: "true",
        # A stamp that came late is not copied to the claim by a CDI, and `virtctl` looks for it there.
        names.DELETE_AFTER_COMPLETION: "true",
        names.RECORD: msgspec.json.encode(record).decode(),
    }
    return {"metadata": {"ownerReferences": msgspec.to_builtins(owners), "annotations": annotations}}


def build_return(claim: PersistentVolumeClaim, volume: DataVolume) -> Manifest:
    """Return the merge patch that gives a claim back to its DataVolume, which stays after all.

    `populatedFor` names it, so that a CDI takes what is in the claim for its data and writes nothing into it. The record stays, for another
    replica may have had the DataVolume deleted in the same moment.
    """
    meta = volume.metadata
    record = read_record(claim.metadata) or record_of(volume, collected="")
    # Owners that came with the handover stay, without control: one owner more only lets a claim live longer.
    kept = [replace(each, controller=False) for each in claim.metadata.owner_references or () if each.uid != meta.uid]
    owner = OwnerReference(
        api_version=f"{names.GROUP}/{names.VERSION}",
        kind="DataVolume",
        name=meta.name,
        uid=meta.uid,
        controller=True,
        block_owner_deletion=True,
    )
    annotations = {
        names.CREATED_FOR: meta.uid,
        names.POPULATED_FOR: meta.name,
        names.GARBAGE_COLLECTED: None,
        names.RECORD: msgspec.json.encode(replace(record, returned=True)).decode(),
    }
    return {"metadata": {"ownerReferences": msgspec.to_builtins([*kept, owner]), "annotations": annotations}}


def was_collected(claim: ObjectMeta, *, uid: str) -> str:
    """Return when another DataVolume than the one with this UID was collected from a claim, as far as it says so; empty when none was."""
    record = read_record(claim)
    if record is not None and (record.uid == uid or record.returned):
        return ""
    if record is not None:
        return record.collected or "some time"
    return "some time" if claim.annotation(names.GARBAGE_COLLECTED) == "true" else ""


def record_of(volume: DataVolume, *, collected: str) -> Record:
    """Return what is to be recorded of a DataVolume. `collected` is the time, RFC 3339."""
    ready = volume.status.condition(names.ConditionType.READY) if volume.status is not None else None
    return Record(
        uid=volume.metadata.uid,
        name=volume.metadata.name,
        source=describe_source(volume.spec),
        digest=digest_source(volume.spec, volume.metadata.uid),
        created=volume.metadata.creation_timestamp,
        completed=ready.last_transition_time if ready is not None else None,
        collected=collected,
        by=f"datamover {__version__}",
        version=volume.metadata.resource_version,
    )


def read_record(claim: ObjectMeta) -> Record | None:
    """Return what a claim says of a DataVolume that was collected; None where it says nothing, or nothing that can be read."""
    said = claim.annotation(names.RECORD)
    try:
        return _decode(said.encode(errors="replace")) if said else None
    except Unusable:
        return None


def describe_source(spec: DataVolumeSpec | None) -> str:
    """Return what fills a claim in a few words: no credentials, no query, nothing that is long."""
    if spec is None:
        return ""
    if spec.source_ref is not None:
        return f"{spec.source_ref.kind} {spec.source_ref.name}"[:_LONGEST]
    fields: dict[str, dict[str, Any]] = msgspec.to_builtins(spec.source) if spec.source is not None else {}
    kind = next(iter(fields), "")
    said = fields.get(kind, {})
    address, name = said.get("url"), said.get("name")
    if isinstance(address, str):
        return f"{kind} {_without_secrets(address)}"[:_LONGEST]
    return f"{kind} {name}"[:_LONGEST] if name else kind


def digest_source(spec: DataVolumeSpec | None, uid: str) -> str:
    """Return a SHA-256 of all that says what fills a claim: its query, checksum, namespace too. Credentials in an address do not count, for another password is no
    other disk, and nobody shall be able to guess one by its digest. The UID of the DataVolume is in it: two claims do not tell that they have the same source.
    """
    if spec is None:
        return ""
    fields: dict[str, Any] = msgspec.to_builtins(
        {"source": spec.source, "sourceRef": spec.source_ref, "contentType": spec.content_type or KUBEVIRT}
    )
    sources: dict[str, dict[str, Any]] = fields["source"] or {}
    for said in sources.values():
        if isinstance(said.get("url"), str):
            said["url"] = _without_credentials(said["url"])
    return hashlib.sha256(msgspec.json.encode([uid, fields], order="sorted")).hexdigest()


def _without_credentials(address: str) -> str:
    try:
        parts = urlsplit(address)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    except ValueError:
        return ""


def _without_secrets(address: str) -> str:
    try:
        parts = urlsplit(address)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    except ValueError:
        return ""
