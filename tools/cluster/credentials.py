"""Who may call whom: the certificates, keys and configuration files of the parts."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from cluster.certificates import Authority, KeyPair, signing_key
from cluster.layout import API_PORT, API_SERVICE, DOMAIN, NODE, NODE_ADDRESS, Layout

SERVER = f"https://{NODE_ADDRESS}:{API_PORT}"
ADMIN_GROUP = "system:masters"

CLIENTS: dict[str, tuple[str, Sequence[str]]] = {
    "controller-manager": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
    "kubelet": (f"system:node:{NODE}", ("system:nodes",)),
    "proxy": ("system:kube-proxy", ()),
    "dns": ("system:coredns", ()),
    "provisioner": ("rig:csi-provisioner", ()),
    "snapshotter": ("rig:csi-snapshotter", ()),
    "snapshot-controller": ("rig:snapshot-controller", ()),
}
"""Each part's user and groups. What the upstream roles do not cover, `manifests/roles.yaml` grants."""


def write_credentials(layout: Layout) -> None:
    """Make a new authority and everything that it signs. Keys are readable by root alone.

    The administrator's kubeconfig comes last and at once: where it is, all the rest is.
    """
    directory = layout.secrets
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = Authority()
    (directory / "ca.crt").write_bytes(authority.pem)
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}"]
    authority.server("kube-apiserver", ["localhost", "127.0.0.1", NODE_ADDRESS, API_SERVICE, *names]).write(
        directory, "serving"
    )
    authority.server("etcd", calls_itself=True).write(directory, "etcd")
    authority.client("kube-apiserver-etcd-client").write(directory, "etcd-client")
    authority.client("kube-apiserver-kubelet-client", [ADMIN_GROUP]).write(directory, "kubelet-client")
    authority.server(f"system:node:{NODE}", [NODE_ADDRESS, NODE]).write(directory, "kubelet-serving")
    private, public = signing_key()
    (directory / "tokens.key").touch(mode=0o600)
    (directory / "tokens.key").write_bytes(private)
    (directory / "tokens.pub").write_bytes(public)
    for part, (user, groups) in CLIENTS.items():
        write_kubeconfig(kubeconfig_of(layout, part), authority, authority.client(user, groups))
    fresh = layout.kubeconfig.with_suffix(".new")
    write_kubeconfig(fresh, authority, authority.client("admin", [ADMIN_GROUP]))
    fresh.rename(layout.kubeconfig)


def kubeconfig_of(layout: Layout, part: str) -> Path:
    """Return the path of a part's kubeconfig."""
    return layout.secrets / f"{part}.kubeconfig"


def write_kubeconfig(path: Path, authority: Authority, pair: KeyPair) -> None:
    """Write a kubeconfig, readable by its owner alone."""
    name = "datamover-cluster"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": SERVER, "certificate-authority-data": _encode(authority.pem)}}
        ],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": _encode(pair.certificate),
                    "client-key-data": _encode(pair.key),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        yaml.safe_dump(content, file)


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()
