"""A status as it goes to the server: by PUT on the subresource, under the version that the decision was made on. Pure."""

from typing import Any

import msgspec

from datamover.plans.kind import HasStatus
from kubekit.words.meta import Manifest, Resource
from kubekit.words.unknown import KeepsUnknown, restore


def to_manifest(resource: Resource[Any], obj: HasStatus, status: Any) -> Manifest:
    """Return the object to PUT. What another version has written into the status, and we do not know, goes back as it was read."""
    tree: dict[str, Any] = {} if status is None else msgspec.to_builtins(status)
    if status is not None and isinstance(obj, KeepsUnknown):
        tree = restore(tree, obj.unknown, type(status))
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": obj.metadata.name,
            "namespace": obj.metadata.namespace,
            "uid": obj.metadata.uid,
            "resourceVersion": obj.metadata.resource_version,
        },
        "status": tree,
    }
