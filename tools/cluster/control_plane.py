"""How the programs of the control plane are started. The files that the flags name lie in the control plane's directory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "ephemeral-volume-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "node-lifecycle-controller",  # takes the not-ready taint, which admission gives each new node, off our node
    "persistentvolume-binder-controller",
    "persistentvolume-protection-controller",
    "persistentvolumeclaim-protection-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "ttl-after-finished-controller",
)
"""Those that act on what we use. Pod garbage collection is left out: it deletes Pods of nodes that a test never registered."""

AUDIT_POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["/readyz*", "/livez*", "/healthz*", "/metrics"]},
        {"level": "Metadata"},
    ],
}


def etcd_flags(directory: Path, *, port: int, peer_port: int) -> dict[str, str]:
    """Return etcd's flags."""
    url, peer = f"https://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    return {
        "data-dir": str(directory / "etcd"),
        "listen-client-urls": url,
        "advertise-client-urls": url,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "cert-file": str(directory / "etcd.crt"),
        "key-file": str(directory / "etcd.key"),
        "trusted-ca-file": str(directory / "ca.crt"),
        "client-cert-auth": "true",
        "unsafe-no-fsync": "true",  # the data need not outlive the machine
        "log-level": "warn",
    }


def api_server_flags(directory: Path, *, port: int, etcd_port: int) -> dict[str, str]:
    """Return the API server's flags: TLS, client certificates, service account tokens, RBAC, an audit log."""
    return {
        "etcd-servers": f"https://127.0.0.1:{etcd_port}",
        "etcd-cafile": str(directory / "ca.crt"),
        "etcd-certfile": str(directory / "etcd-client.crt"),
        "etcd-keyfile": str(directory / "etcd-client.key"),
        "bind-address": "127.0.0.1",
        "advertise-address": "127.0.0.1",
        "secure-port": str(port),
        "endpoint-reconciler-type": "none",  # a Service may not point to loopback
        "tls-cert-file": str(directory / "serving.crt"),
        "tls-private-key-file": str(directory / "serving.key"),
        "client-ca-file": str(directory / "ca.crt"),
        "kubelet-client-certificate": str(directory / "kubelet-client.crt"),
        "kubelet-client-key": str(directory / "kubelet-client.key"),
        "kubelet-preferred-address-types": "InternalIP",
        "authorization-mode": "RBAC",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": str(directory / "tokens.pub"),
        "service-account-signing-key-file": str(directory / "tokens.key"),
        "service-cluster-ip-range": "10.96.0.0/16",
        "audit-policy-file": str(directory / "audit.yaml"),
        "audit-log-path": str(directory / "audit.log"),
        "audit-log-maxsize": "2000",
        "profiling": "false",
    }


def controller_manager_flags(
    directory: Path, *, port: int, kubeconfig: Path, controllers: Sequence[str]
) -> dict[str, str]:
    """Return the controller-manager's flags."""
    return {
        "kubeconfig": str(kubeconfig),
        "authentication-kubeconfig": str(kubeconfig),
        "authorization-kubeconfig": str(kubeconfig),
        "bind-address": "127.0.0.1",
        "secure-port": str(port),
        "tls-cert-file": str(directory / "serving.crt"),
        "tls-private-key-file": str(directory / "serving.key"),
        "leader-elect": "false",
        "use-service-account-credentials": "true",  # each controller with its own rights, as in a cluster
        "controllers": ",".join(controllers),
        "root-ca-file": str(directory / "ca.crt"),
        "service-account-private-key-file": str(directory / "tokens.key"),
        # Not to measure the controllers' own client-side throttle (20 a second) in tests with many objects.
        "kube-api-qps": "500",
        "kube-api-burst": "1000",
        "profiling": "false",
    }
