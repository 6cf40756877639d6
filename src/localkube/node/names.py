"""Every name that the node shows to the outside: its driver, annotations, reasons, and the list of what it does not enforce."""

from typing import Final

DRIVER: Final = "local.datamover.a-cup-of.coffee"
"""Provisioner of StorageClasses and driver of VolumeSnapshotClasses. Users' own classes name it, so it never changes."""
FIELD_MANAGER: Final = "localkube-node"
COMPONENT: Final = "localkube-node"
DEFAULT_NODE_NAME: Final = "local"

PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"
STORAGE_PROVISIONER: Final = "volume.kubernetes.io/storage-provisioner"
BETA_STORAGE_PROVISIONER: Final = "volume.beta.kubernetes.io/storage-provisioner"
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
BIND_COMPLETED: Final = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER: Final = "pv.kubernetes.io/bound-by-controller"
HOSTNAME_LABEL: Final = "kubernetes.io/hostname"
CLAIM_REF_FINALIZER: Final = "external-provisioner.volume.kubernetes.io/finalizer"
"""On PVs that this node deletes from disk before the object goes, as external-provisioner does."""
PV_PROTECTION: Final = "kubernetes.io/pv-protection"

ADOPTED: Final = f"{DRIVER}/adopted"
"""On the PV of a user's own directory: never written to, never deleted."""
LIMITS_ANNOTATION: Final = f"{DRIVER}/limits"

PATH_ATTRIBUTE: Final = "path"
"""Among the volumeAttributes of a PV of ours: its directory."""

NO_PROVISIONER: Final = "kubernetes.io/no-provisioner"
WAIT_FOR_FIRST_CONSUMER: Final = "WaitForFirstConsumer"

LIMITS: Final = (
    "Pods are child processes of the node, run as the node's user in the host's namespaces: runAsUser, capabilities, seccomp, "
    "read-only mounts and file systems, resource requests and limits, taints, emptyDir size limits and volume capacity are not enforced; "
    "Secret and ConfigMap volumes are written once, at the start; copies of volumes are made file by file, not at one moment."
)
"""Said in the Node's annotation: what a Pod may ask for and is accepted, but not enforced here."""
COPY_NOT_CONSISTENT: Final = "CopyNotConsistent"
"""Reason of an event: files went while they were copied."""
COPY_INCOMPLETE: Final = "CopyIncomplete"
"""Reason of an event: not everything about the files could be kept."""
