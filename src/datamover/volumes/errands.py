"""Temporary claims in another namespace: a copy is made where its source is, and its volume is handed over to the claim that it is made for. Pure.

Nothing there can be owned by a DataVolume, for owners are of the same namespace. So such a claim says itself whom it is made for: the DataVolume's UID and
the claim's are labels, and the claim's is in its name, which nobody can give to a claim that is there already.

Assumptions: whoever may make claims in the source's namespace can make one that says the same. It is of use to nobody: what it is made from is looked at,
its volume is handed over to the one claim that it names, and only when that asks for it; and deleting it deletes what he has made for that.
"""

from dataclasses import dataclass
from typing import Final

from datamover.api import names as ours
from datamover.api.cdi import names
from datamover.api.ownership import labels_of
from datamover.api.validation import is_object_name
from datamover.volumes.prime import like
from datamover.volumes.rebinding import holder_of
from kubekit.words.core import SELECTED_NODE, PersistentVolume, PersistentVolumeClaim
from kubekit.words.meta import Manifest, ObjectMeta

PREFIX: Final = "prime-"


@dataclass(frozen=True, slots=True)
class Errand:
    """Whom a temporary claim is made for: a DataVolume, by its namespace, name and UID, and its claim, which has the same name."""

    namespace: str
    name: str
    volume_uid: str
    claim_uid: str


def errand_name(claim: PersistentVolumeClaim) -> str:
    """Return the name of the temporary claim."""
    return f"{PREFIX}{claim.metadata.uid}"


def errand_of(meta: ObjectMeta) -> Errand | None:
    """Return whom a claim is made for, as it says; None where it does not say so in the form in which we write it."""
    namespace, _, name = (meta.annotation(names.ERRAND) or "").partition("/")
    volume_uid, claim_uid = meta.label(ours.OWNER_UID_LABEL), meta.label(ours.RUN_ID_LABEL)
    if meta.label(ours.CREATED_BY_LABEL) != ours.CREATED_BY_VALUE or meta.owner_references:
        return None
    if not (volume_uid and claim_uid and meta.annotation(names.COPIED_FROM) and meta.name == f"{PREFIX}{claim_uid}"):
        return None
    # an errand of the own namespace there is not: its owner is there
    if namespace == meta.namespace or not (is_object_name(namespace) and is_object_name(name)):
        return None
    return Errand(namespace, name, volume_uid, claim_uid)


def build_errand(
    volume: ObjectMeta, claim: PersistentVolumeClaim, *, origin: ObjectMeta, source: Manifest | None, node: str | None
) -> Manifest:
    """Return the claim beside the source that a driver fills from `source`, or a worker where that is None. `node` is where the user's Pod is to run, for classes that bind on first use."""
    annotations = {names.ERRAND: f"{volume.namespace}/{volume.name}", names.COPIED_FROM: origin.uid}
    if node is not None:
        annotations[SELECTED_NODE] = node
    labels = {**labels_of(volume, run_id=claim.metadata.uid), ours.COMPONENT_LABEL: ours.COMPONENT_COPY}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": errand_name(claim),
            "namespace": origin.namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": like(claim) if source is None else {**like(claim), "dataSource": source},
    }


def is_for(temporary: PersistentVolumeClaim, volume: ObjectMeta, claim: PersistentVolumeClaim) -> bool:
    """Tell whether a temporary claim says that it is made for this very DataVolume and this very claim."""
    wanted = Errand(volume.namespace or "", volume.name, volume.uid, claim.metadata.uid)
    return errand_of(temporary.metadata) == wanted


def is_made_from(temporary: PersistentVolumeClaim, source: Manifest | None) -> bool:
    """Tell whether a claim is made from `source`, or begun empty where that is None. Nobody can change that any more."""
    said = temporary.spec.data_source if temporary.spec is not None else None
    if source is None:
        return said is None and (temporary.spec is None or temporary.spec.data_source_ref is None)
    wanted = (source["kind"], source["name"], source.get("apiGroup") or "")
    return said is not None and (said.kind, said.name, said.api_group or "") == wanted


def mark_of(claim: PersistentVolumeClaim, temporary: PersistentVolumeClaim) -> str:
    """Return what is written on a volume (`names.BROUGHT`) with which it is handed over from a temporary claim to the one that it was made for."""
    return f"{claim.metadata.uid} {temporary.metadata.uid}"


def bringer_of(volume: PersistentVolume, claim: PersistentVolumeClaim) -> str | None:
    """Return the UID of the temporary claim from which a claim was given this volume; None when it was not."""
    said, _, bringer = (volume.metadata.annotation(names.BROUGHT) or "").partition(" ")
    ours = bringer and said == claim.metadata.uid and holder_of(volume) == claim.metadata.uid
    return bringer if ours else None
