"""Filling a claim from a snapshot by way of a temporary one: the claim that is made for it, and what keeps one from being made. Pure."""

from datamover.api import names
from datamover.api.ownership import Owner
from datamover.api.velero.names import EXCLUDE_LABEL
from datamover.api.volsync import names as volsync
from datamover.volumes.binding import why_not_copied
from datamover.volumes.prime import like
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, SELECTED_NODE, PersistentVolumeClaim
from kubekit.words.meta import Manifest
from kubekit.words.quantity import parse_quantity
from kubekit.words.snapshot import GROUP, VolumeSnapshot
from kubekit.words.storage import StorageClass

SNAPSHOT_KIND = "VolumeSnapshot"


def owner_of(claim: PersistentVolumeClaim) -> Owner:
    """Return a user's claim as the owner of its temporary one: when it is deleted, the garbage collector takes that away as well."""
    labels = {
        names.CREATED_BY_LABEL: volsync.CREATED_BY_VALUE,
        volsync.POPULATED_FOR_LABEL: label_value(claim),
        EXCLUDE_LABEL: "true",
    }
    return Owner(PERSISTENT_VOLUME_CLAIMS, claim.metadata, labels)


def label_value(claim: PersistentVolumeClaim) -> str:
    """Return the claim's name as the value of a label, which may be shorter."""
    return volsync.shorten("", claim.metadata.name)


def build_prime(claim: PersistentVolumeClaim, *, image: str, storage_class: str, node: str | None) -> Manifest:
    """Return the temporary claim that a driver fills from the snapshot `image`: like the user's in all that decides whether a volume fits it.

    `node` is where the user's Pod is to run, for classes that bind on first use: without it the driver waits for ever, for no Pod uses this
    claim.
    """
    owner = owner_of(claim)
    wanted: Manifest = {
        **like(claim),
        "storageClassName": storage_class,
        "dataSource": {"apiGroup": GROUP, "kind": SNAPSHOT_KIND, "name": image},
    }
    metadata = owner.child(volsync.prime_name(claim.metadata.uid), component=names.COMPONENT_COPY)
    if node is not None:
        metadata["annotations"] = {SELECTED_NODE: node}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": wanted}


def names_kind(claim: PersistentVolumeClaim, *, group: str, kind: str) -> bool:
    """Tell whether a claim says in its dataSourceRef that it is filled from an object of this kind."""
    source = claim.spec.data_source_ref if claim.spec is not None else None
    return source is not None and (source.api_group, source.kind) == (group, kind)


def filled_from(claim: PersistentVolumeClaim) -> str:
    """Return the name of the object that a claim is filled from; empty when it is none in its namespace."""
    source = claim.spec.data_source_ref if claim.spec is not None else None
    if source is None or source.namespace not in (None, "", claim.metadata.namespace):
        return ""
    return source.name


def image_of(prime: PersistentVolumeClaim) -> str | None:
    """Return the snapshot that a temporary claim is filled from; None when it would be empty."""
    source = prime.spec.data_source if prime.spec is not None else None
    if source is None or (source.kind, source.api_group) != (SNAPSHOT_KIND, GROUP):
        return None
    return source.name or None


def node_of(claim: PersistentVolumeClaim) -> str | None:
    """Return the node that was found for a claim."""
    return claim.metadata.annotation(SELECTED_NODE) or None


def find_shortage(claim: PersistentVolumeClaim, image: VolumeSnapshot) -> str | None:
    """Return what a claim has to ask for at least, when it asks for less than the image needs; None when it is enough, or nobody knows."""
    resources = claim.spec.resources if claim.spec is not None else None
    asked = ((resources.requests if resources is not None else None) or {}).get("storage")
    needed = image.status.restore_size if image.status is not None else None
    if asked is None or needed is None:
        return None
    try:
        return str(needed) if parse_quantity(asked) < parse_quantity(needed) else None
    except ValueError:
        return None


def find_fault(name: str | None, storage_class: StorageClass | None) -> str | None:
    """Return why no driver can fill a claim of the class `name` from a snapshot, in words that follow "it is not filled: "; None when one can."""
    fault = find_class_fault(name, storage_class)
    if fault is not None or storage_class is None:
        return fault
    why = why_not_copied(storage_class.provisioner)
    if why is not None:
        return f"StorageClass {name} ({storage_class.provisioner}) restores no snapshots: {why}; create the claim with a class of a CSI driver"
    return None


def find_class_fault(name: str | None, storage_class: StorageClass | None) -> str | None:
    """Return why no driver makes a volume for a claim of the class `name`, in such words; None when one does."""
    if name is None:
        return "it names no StorageClass and the cluster has no default one; set spec.storageClassName"
    if not name:
        return 'its spec.storageClassName is "", so that no driver makes a volume for it; create it with a class of a CSI driver'
    if storage_class is None:
        return f"StorageClass {name} does not exist; create it, or create the claim with one that does"
    return None
