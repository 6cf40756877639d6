"""Claims, volumes, classes, nodes, Secrets and ConfigMaps, in wider views than the operator needs. Pods are in `pod_kinds`.

Still only what is read. Parts that are passed on or only refused stay plain JSON.
"""

from typing import Any

from kubekit.words.core import ObjectReference, TypedLocalReference, VolumeResources
from kubekit.words.meta import Model, ObjectMeta, Resource
from kubekit.words.selectors import Selector
from localkube.node.names import DRIVER, PATH_ATTRIBUTE
from localkube.node.path_text import path_from_text

Quantities = dict[str, str | int | float]


class ClaimSpec(Model, frozen=True):
    """What a claim asks for. `data_source_ref` equals `data_source` where both are set."""

    access_modes: tuple[str, ...] | None = None
    resources: VolumeResources | None = None
    storage_class_name: str | None = None
    volume_mode: str | None = None
    volume_name: str | None = None
    selector: Selector | None = None
    data_source: TypedLocalReference | None = None
    data_source_ref: TypedLocalReference | None = None


class ClaimStatus(Model, frozen=True):
    """What a claim has got."""

    phase: str | None = None
    access_modes: tuple[str, ...] | None = None
    capacity: Quantities | None = None


class Claim(Model, frozen=True):
    """A PersistentVolumeClaim."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ClaimSpec | None = None
    status: ClaimStatus | None = None

    @property
    def request(self) -> str | int | float:
        """Storage asked for, as a quantity."""
        resources = self.spec.resources if self.spec else None
        return ((resources.requests if resources else None) or {}).get("storage", 0)

    @property
    def volume_name(self) -> str:
        """Name of the volume that it is bound to, or asks for."""
        return (self.spec.volume_name if self.spec else None) or ""

    @property
    def phase(self) -> str:
        """Pending, Bound or Lost."""
        return (self.status.phase if self.status else None) or "Pending"


class NodeSelectorTerm(Model, frozen=True):
    """A conjunction over a node's labels and fields."""

    match_expressions: tuple[dict[str, Any], ...] | None = None
    match_fields: tuple[dict[str, Any], ...] | None = None


class NodeSelector(Model, frozen=True):
    """A disjunction of terms."""

    node_selector_terms: tuple[NodeSelectorTerm, ...] | None = None


class VolumeNodeAffinity(Model, frozen=True):
    """The nodes that can reach a volume."""

    required: NodeSelector | None = None


class HostDirectory(Model, frozen=True):
    """A directory of a node."""

    path: str = ""


class CSIVolume(Model, frozen=True):
    """A volume of a CSI driver."""

    driver: str = ""
    volume_handle: str = ""
    volume_attributes: dict[str, str] | None = None


class VolumeSpec(Model, frozen=True):
    """A volume of the cluster."""

    capacity: Quantities | None = None
    access_modes: tuple[str, ...] | None = None
    claim_ref: ObjectReference | None = None
    persistent_volume_reclaim_policy: str | None = None
    storage_class_name: str | None = None
    volume_mode: str | None = None
    local: HostDirectory | None = None
    host_path: HostDirectory | None = None
    csi: CSIVolume | None = None
    node_affinity: VolumeNodeAffinity | None = None


class VolumeStatus(Model, frozen=True):
    """Pending, Available, Bound, Released or Failed."""

    phase: str | None = None


class PersistentVolume(Model, frozen=True):
    """A PersistentVolume."""

    metadata: ObjectMeta = ObjectMeta()
    spec: VolumeSpec | None = None
    status: VolumeStatus | None = None

    @property
    def claim_ref(self) -> ObjectReference | None:
        """The claim that it belongs to."""
        return self.spec.claim_ref if self.spec else None

    @property
    def capacity(self) -> str | int | float:
        """Size, as a quantity."""
        return ((self.spec.capacity if self.spec else None) or {}).get("storage", 0)

    @property
    def directory(self) -> str:
        """The directory behind it; empty when it is of another type or driver."""
        if self.spec is None:
            return ""
        if self.spec.csi is not None:
            ours = self.spec.csi.driver == DRIVER
            return path_from_text((self.spec.csi.volume_attributes or {}).get(PATH_ATTRIBUTE, "")) if ours else ""
        source = self.spec.local or self.spec.host_path
        return path_from_text(source.path) if source else ""

    @property
    def phase(self) -> str:
        """Pending, Available, Bound, Released or Failed."""
        return (self.status.phase if self.status else None) or "Pending"


class StorageClass(Model, frozen=True):
    """A class of volumes."""

    metadata: ObjectMeta = ObjectMeta()
    provisioner: str = ""
    volume_binding_mode: str | None = None
    reclaim_policy: str | None = None
    parameters: dict[str, str] | None = None

    @property
    def waits(self) -> bool:
        """Tell whether volumes are bound only when a Pod needs them."""
        return self.volume_binding_mode == "WaitForFirstConsumer"


class Secret(Model, frozen=True, repr_omit_defaults=True):
    """A Secret with its values. Only the kubelet part holds these, and only for Pods that it runs (law L8)."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, bytes] | None = None  # base64 on the wire

    def __repr__(self) -> str:
        return f"Secret({self.metadata.namespace}/{self.metadata.name})"


class ConfigMap(Model, frozen=True):
    """A ConfigMap with its values."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] | None = None
    binary_data: dict[str, bytes] | None = None


class Node(Model, frozen=True):
    """A node, by its labels."""

    metadata: ObjectMeta = ObjectMeta()


CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", Claim)
VOLUMES = Resource("", "v1", "persistentvolumes", "PersistentVolume", PersistentVolume, namespaced=False)
STORAGE_CLASSES = Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", StorageClass, namespaced=False)
SECRETS = Resource("", "v1", "secrets", "Secret", Secret)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", ConfigMap)
NODES = Resource("", "v1", "nodes", "Node", Node, namespaced=False)
