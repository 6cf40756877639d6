"""How the node's parts are started: containerd, the kubelet, kube-proxy and the DNS server, and the files that they read."""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from cluster.credentials import kubeconfig_of
from cluster.daemons import Daemon
from cluster.layout import (
    BRIDGE,
    DNS_HEALTH_PORT,
    DNS_PORT,
    DNS_SERVICE,
    DOMAIN,
    KUBELET_HEALTH_PORT,
    KUBELET_PORT,
    NETWORK,
    NODE,
    NODE_ADDRESS,
    POD_NETWORK,
    PROXY_HEALTH_PORT,
    PROXY_METRICS_PORT,
    Layout,
)
from cluster.machine import MachineError, find_plugins

PAUSE_IMAGE = "rig.datamover.invalid/pause:1"


def write_files(layout: Layout) -> None:
    """Write the configuration of all of them. Raises MachineError without CNI plugins."""
    plugins = find_plugins()
    if plugins is None:
        raise MachineError("no CNI plugins were found. Cure: name their folder in CNI_PATH")
    network = layout.containerd / "net.d"
    for folder in (network, layout.kubelet, layout.registrations, layout.logs / "pods"):
        folder.mkdir(parents=True, exist_ok=True)
    for path, content in {
        layout.containerd / "config.toml": _containerd(layout, plugins),
        network / "10-datamover.conflist": json.dumps(_network()),
        layout.secrets / "kubelet.yaml": yaml.safe_dump(_kubelet(layout)),
        layout.secrets / "proxy.yaml": yaml.safe_dump(_proxy(layout)),
        layout.secrets / "Corefile": _dns(layout),
        layout.secrets / "resolv.conf": "",  # Pods ask the cluster's DNS server alone
    }.items():
        # kube-proxy ends when somebody touches its file
        if not path.exists() or path.read_text() != content:
            path.write_text(content)


def daemons(layout: Layout, programs: Path) -> dict[str, Daemon]:
    """Return the parts by name, in the order in which they start."""
    commands = {
        "containerd": [shutil.which("containerd") or "containerd", "--config", str(layout.containerd / "config.toml")],
        "kubelet": [
            str(programs / "kubelet"),
            f"--config={layout.secrets / 'kubelet.yaml'}",
            f"--kubeconfig={kubeconfig_of(layout, 'kubelet')}",
            f"--root-dir={layout.kubelet}",
            f"--cert-dir={layout.secrets}",
            f"--hostname-override={NODE}",
            f"--node-ip={NODE_ADDRESS}",
            "--node-labels=topology.kubernetes.io/zone=here",
        ],
        "kube-proxy": [str(programs / "kube-proxy"), f"--config={layout.secrets / 'proxy.yaml'}"],
        "coredns": [str(programs / "coredns"), "-conf", str(layout.secrets / "Corefile")],
    }
    return {name: Daemon(name, layout, command) for name, command in commands.items()}


def _containerd(layout: Layout, plugins: Path) -> str:
    """Return containerd's configuration: nothing is shared with a containerd of the machine's own."""
    return f"""version = 2
root = "{layout.containerd}/root"
state = "{layout.containerd}/state"
oom_score = 0

[grpc]
  address = "{layout.runtime_socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # without CAP_SYS_RESOURCE nobody may lower a score, and every sandbox would die at its start
  restrict_oom_score_adj = true
  max_container_log_line_size = 262144
  # disks that are devices are written by who has no right to be root
  device_ownership_from_security_context = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{layout.containerd}/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def _network() -> dict[str, Any]:
    return {
        "cniVersion": "0.4.0",
        "name": NETWORK,
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": POD_NETWORK, "gateway": NODE_ADDRESS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "port": KUBELET_PORT,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": KUBELET_HEALTH_PORT,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.secrets / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(layout.secrets / "kubelet-serving.crt"),
        "tlsPrivateKeyFile": str(layout.secrets / "kubelet-serving.key"),
        "containerRuntimeEndpoint": f"unix://{layout.runtime_socket}",
        "podLogsDir": str(layout.logs / "pods"),
        "resolvConf": str(layout.secrets / "resolv.conf"),
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": DOMAIN,
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "enforceNodeAllocatable": [],
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "serializeImagePulls": False,
        "maxPods": 200,
        # a test should not wait for a period that spares the API servers of large fleets
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "5s",
        "volumeStatsAggPeriod": "30s",
    }


def _proxy(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": NODE,
        "clientConnection": {"kubeconfig": str(kubeconfig_of(layout, "proxy"))},
        "clusterCIDR": POD_NETWORK,
        "healthzBindAddress": f"127.0.0.1:{PROXY_HEALTH_PORT}",
        "metricsBindAddress": f"127.0.0.1:{PROXY_METRICS_PORT}",
        # answers of a Pod on the same bridge have to come back the way that the question went
        "nftables": {"masqueradeAll": True, "minSyncPeriod": "100ms"},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def _dns(layout: Layout) -> str:
    return f"""{DOMAIN}:{DNS_PORT} in-addr.arpa:{DNS_PORT} {{
    bind {NODE_ADDRESS}
    errors
    ready 127.0.0.1:{DNS_HEALTH_PORT}
    kubernetes {DOMAIN} in-addr.arpa {{
        kubeconfig {kubeconfig_of(layout, "dns")}
        ttl 5
    }}
}}
"""
