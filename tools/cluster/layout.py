"""Where everything of the cluster lies. One place for each path, address and port.

Errors: ClusterError < LayoutError (here), DirectoryError, MachineError, DaemonError, RigError.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DEFAULT_DIRECTORY = "/var/lib/datamover-cluster"

NODE = "datamover-node"
BRIDGE = "datamover0"
"""The bridge of the Pods. Its address is the node's and the API server's, because Pods reach it without routing."""
NODE_ADDRESS = "10.213.0.1"
POD_NETWORK = "10.213.0.0/24"
NETWORK = "datamover"
"""The name of the Pods' network, by which CNI plugins keep what they know of it."""
SERVICE_NETWORK = "10.214.0.0/16"
API_SERVICE = "10.214.0.1"
DNS_SERVICE = "10.214.0.10"
DOMAIN = "cluster.local"

API_PORT = 6443
ETCD_PORT = 23790
ETCD_PEER_PORT = 23800
CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259
KUBELET_PORT = 10250
KUBELET_HEALTH_PORT = 10248
PROXY_HEALTH_PORT = 10256
PROXY_METRICS_PORT = 10249
DNS_PORT = 53
DNS_HEALTH_PORT = 18080

PORTS: Mapping[str, Sequence[tuple[str, int]]] = {
    "etcd": (("127.0.0.1", ETCD_PORT), ("127.0.0.1", ETCD_PEER_PORT)),
    "kube-apiserver": ((NODE_ADDRESS, API_PORT),),
    "kube-controller-manager": (("127.0.0.1", CONTROLLER_MANAGER_PORT),),
    "kube-scheduler": (("127.0.0.1", SCHEDULER_PORT),),
    "kubelet": ((NODE_ADDRESS, KUBELET_PORT), ("127.0.0.1", KUBELET_HEALTH_PORT)),
    "kube-proxy": (("127.0.0.1", PROXY_HEALTH_PORT), ("127.0.0.1", PROXY_METRICS_PORT)),
    "coredns": ((NODE_ADDRESS, DNS_PORT), ("127.0.0.1", DNS_HEALTH_PORT)),
}
"""The addresses on which each part listens (TCP). docs/cluster.md lists them."""

DRIVER = "rig.csi.datamover.invalid"
"""The name of the storage driver; `manifests/storage.yaml` has it too."""


class ClusterError(RuntimeError):
    """What was asked cannot be done. The message says why, and the cure where there is one."""


class LayoutError(ClusterError):
    """`$DATAMOVER_CLUSTER` names a place where no cluster can be."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one cluster, all below `directory`."""

    directory: Path

    @property
    def marker(self) -> Path:
        """Says that the directory is a cluster's, with all that is in it. The first file to come and the last to go."""
        return self.directory / ".datamover-cluster"

    @property
    def secrets(self) -> Path:
        """Keys, certificates, and the configuration files that name them."""
        return self.directory / "secrets"

    @property
    def logs(self) -> Path:
        """One log for each part; Pods' logs in `pods`."""
        return self.directory / "logs"

    @property
    def pids(self) -> Path:
        """Who runs."""
        return self.directory / "pids"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.directory / "kubeconfig"

    @property
    def audit(self) -> Path:
        """The API server's audit log."""
        return self.logs / "audit.log"

    @property
    def kubelet(self) -> Path:
        """The kubelet's directory, with the volumes of Pods mounted below it."""
        return self.directory / "kubelet"

    @property
    def registrations(self) -> Path:
        """Where storage drivers announce themselves to the kubelet."""
        return self.kubelet / "plugins_registry"

    @property
    def driver_socket(self) -> Path:
        """The storage driver's own socket."""
        return self.kubelet / "plugins" / DRIVER / "csi.sock"

    @property
    def containerd(self) -> Path:
        """What containerd keeps: images, containers, its socket."""
        return self.directory / "containerd"

    @property
    def runtime_socket(self) -> Path:
        """Where containerd listens."""
        return self.containerd / "containerd.sock"

    @property
    def volumes_image(self) -> Path:
        """The file with the file system of all volumes."""
        return self.directory / "volumes.img"

    @property
    def volumes(self) -> Path:
        """Where that is mounted."""
        return self.directory / "volumes"

    @property
    def before(self) -> Path:
        """What the machine's settings were before the cluster changed them.

        Written once the machine was looked at and nobody else's cluster found: from then on the bridge, the rules of kube-proxy and the
        Pods' network namespaces are this cluster's.
        """
        return self.directory / "before.json"


def find_layout() -> Layout:
    """Return the layout of this user's cluster: `$DATAMOVER_CLUSTER`, else the default. Links in the path are followed.

    Raises LayoutError for a path that is relative, or has characters that command lines, configuration files and the kernel's list of
    mounts write each in their own way.
    """
    named = Path(os.environ.get("DATAMOVER_CLUSTER") or DEFAULT_DIRECTORY)
    if not named.is_absolute():
        raise LayoutError(f"DATAMOVER_CLUSTER={named} is a relative path. Cure: write it from the root on")
    directory = named.resolve()
    if not re.fullmatch(r"(/[\w.@+-]+)+", str(directory)):
        raise LayoutError(
            f"DATAMOVER_CLUSTER={directory} is no place for a cluster. Cure: only letters, digits and . _ @ + -"
        )
    return Layout(directory)
