"""Restores of hosted control planes: their Pods are not restored, because what owns them makes them anew; nothing is paused, nothing is changed.

Whether a Pod is a hosted control plane's is read off the Pod itself, without a request: HyperShift gives each of them a label, and a toleration for
nodes that are kept for one control plane, and both say the namespace of the control plane. A Pod whose namespace is another one goes back as it came.

Nodes on KubeVirt run in Pods of KubeVirt, which have neither: such a Pod has the labels of its machine, and HyperShift labels the machines of its nodes
with the hosted cluster's id. Restored alone it would start no machine, and hold the volumes of the one that is made anew.
"""

import msgspec

from datamover.velero.actions import Restored, Selector
from datamover.velero.deferred import CONTROL_PLANES, NAME
from datamover.velero.items import Metadata, fits, reader
from datamover.velero.logs import Log

NAMESPACE_LABEL = "hypershift.openshift.io/hosted-control-plane"
NAMESPACE_TAINT = "hypershift.openshift.io/cluster"
CLUSTER_LABEL = "hypershift.openshift.io/infra-id"
MACHINE_LABEL, MACHINE = "kubevirt.io", "virt-launcher"
"""What KubeVirt gives to each Pod in which it runs a machine."""


class _Toleration(msgspec.Struct, frozen=True):
    key: str = ""
    value: str = ""


class _Platform(msgspec.Struct, frozen=True):
    type: str = ""


class _Spec(msgspec.Struct, frozen=True):
    tolerations: tuple[_Toleration, ...] | None = None
    platform: _Platform | None = None


class _Object(msgspec.Struct, frozen=True):
    kind: str = ""
    metadata: Metadata | None = None
    spec: _Spec | None = None


class _RestoreSpec(msgspec.Struct, frozen=True, rename="camel"):
    namespace_mapping: dict[str, str] | None = None


class _Restore(msgspec.Struct, frozen=True):
    metadata: Metadata | None = None
    spec: _RestoreSpec | None = None


_read_object = reader(_Object)
_read_restore = reader(_Restore)


class RestoreHostedControlPlane:
    """Of kind RestoreItemActionV2, for Pods and HostedControlPlanes. Asks the API server nothing."""

    name = NAME
    selector = Selector(resources=("pods", CONTROL_PLANES))

    def __init__(self, log: Log) -> None:
        self._log = log

    def execute(self, item: bytes, restore: bytes, /) -> Restored:
        """Return the item as it came; a Pod of a hosted control plane is skipped. Raises ActionError when it is no JSON object."""
        found = fits(_read_object, item, "item")
        if found is None or found.metadata is None:
            return Restored(item=item)
        if found.kind == "HostedControlPlane":
            platform = found.spec.platform.type if found.spec and found.spec.platform else ""
            self._log.info("A hosted control plane is restored as it was", platform=platform, **_named(found.metadata))
            return Restored(item=item)
        if found.kind != "Pod" or not (_is_node(found.metadata) or _is_member(found, restore)):
            return Restored(item=item)
        self._log.debug("A Pod of a hosted control plane is not restored", **_named(found.metadata))
        return Restored(item=item, skip=True)


def _is_node(pod: Metadata) -> bool:
    """Tell whether a Pod runs a machine that is a node of a hosted cluster."""
    labels = pod.labels or {}
    return labels.get(MACHINE_LABEL) == MACHINE and bool(labels.get(CLUSTER_LABEL))


def _is_member(pod: _Object, restore: bytes) -> bool:
    """Tell whether a Pod belongs to the control plane in whose namespace it is, or was when it was backed up."""
    signs = _signs(pod)
    return bool(signs) and not signs.isdisjoint(_namespaces(pod.metadata.namespace if pod.metadata else "", restore))


def _signs(pod: _Object) -> set[str]:
    """Return the namespaces of control planes that a Pod says it belongs to."""
    labels = (pod.metadata.labels if pod.metadata else None) or {}
    tolerations = (pod.spec.tolerations if pod.spec else None) or ()
    said = {labels.get(NAMESPACE_LABEL, ""), *(t.value for t in tolerations if t.key == NAMESPACE_TAINT)}
    return said - {""}


def _namespaces(namespace: str, restore: bytes) -> set[str]:
    """Return the namespace of an item, and those of the backup that this restore maps to it."""
    found = fits(_read_restore, restore, "restore") if restore else None
    mapping = (found.spec.namespace_mapping if found and found.spec else None) or {}
    return {namespace, *(old for old, new in mapping.items() if new == namespace)} - {""}


def _named(metadata: Metadata) -> dict[str, str]:
    return {"namespace": metadata.namespace, "name": metadata.name}
