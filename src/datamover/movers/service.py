"""The Service by which a mover that listens is reached. Pure."""

from collections.abc import Mapping
from typing import Final

from datamover.api import names
from datamover.api.ownership import Owner
from datamover.api.volsync import names as words
from kubekit.words.meta import Manifest

CLUSTER_IP: Final = "ClusterIP"


def build_service(
    owner: Owner,
    *,
    name: str,
    port_name: str,
    port: int,
    target_port: int,
    selector: Mapping[str, str],
    kind: str | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """Return the Service. `kind` is its type, `ClusterIP` where nothing is said.

    `annotations` are the user's; where there are none, one asks a certain cloud for a load balancer that can carry any TCP (documents).
    """
    metadata = owner.child(name, component=names.COMPONENT_MOVER)
    metadata["annotations"] = dict([words.LOAD_BALANCER_ANNOTATION]) if annotations is None else dict(annotations)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": kind or CLUSTER_IP,
            "selector": dict(selector),
            "ports": [{"name": port_name, "port": port, "targetPort": target_port, "protocol": "TCP"}],
        },
    }


def selector_of(role: str, name: str, *, component: str) -> dict[str, str]:
    """Return the labels by which a Service finds the Pods of a mover; they carry them (documents)."""
    return {
        "app.kubernetes.io/name": words.selector_name(role, name),
        names.COMPONENT_LABEL: component,
        names.PART_OF_LABEL: words.PART_OF_VALUE,
    }
