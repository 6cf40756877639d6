"""The S3 server of a scenario: versitygw in a Pod behind a Service, with TLS, signatures checked."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.certificates import Authority
from support.cluster import Kubectl, RealCluster
from support.pods import restricted_pod, signal_pod
from support.s3 import find_rclone

ACCESS_KEY, SECRET_KEY = "AKIDCLUSTERTEST", "canary-3f9a1c7e5b"  # the second is searched in everything that can be read


@dataclass(frozen=True)
class Store:
    """One such server. `authority` is the certificate (PEM) that it is trusted by; `scratch` is a directory of ours.

    `address` is where it is seen from here: the Service's own on the rig, whose node is this machine, and a forwarded port elsewhere.
    """

    kubectl: Kubectl
    namespace: str
    authority: str
    address: str
    scratch: Path

    @property
    def host(self) -> str:
        """Its name for Pods."""
        return f"store.{self.namespace}.svc"

    def secret(self, bucket: str, **changes: str) -> dict[str, str]:
        """Return what a Secret for a bucket holds."""
        values = {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "BUCKET_HOST": self.host,
            "BUCKET_PORT": "443",
            "BUCKET_NAME": bucket,
            "TLS_HOST": "true",
            "CA_CERT": self.authority,
        }
        return values | changes

    def rclone_environment(self) -> dict[str, str]:
        """Return the environment in which rclone knows the server as the remote `s3`."""
        authority = self.scratch / f"{self.namespace}.pem"
        authority.write_text(self.authority)
        return {
            "PATH": os.environ["PATH"],
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_CONFIG_S3_TYPE": "s3",
            "RCLONE_CONFIG_S3_PROVIDER": "Other",
            "RCLONE_CONFIG_S3_ACCESS_KEY_ID": ACCESS_KEY,
            "RCLONE_CONFIG_S3_SECRET_ACCESS_KEY": SECRET_KEY,
            "RCLONE_CONFIG_S3_ENDPOINT": f"https://{self.address}",
            "RCLONE_CA_CERT": str(authority),
            "RCLONE_LOCAL_ENCODING": "Raw",
            "RCLONE_LOW_LEVEL_RETRIES": "2",
            **({"RCLONE_TRANSFERS": "1", "RCLONE_CHECKERS": "1"} if self.address.startswith("localhost") else {}),
        }

    def rclone(self, *arguments: str) -> bytes:
        """Run rclone as another client of the server."""
        program = find_rclone()
        assert program
        answer = subprocess.run(
            [program, *arguments], env=self.rclone_environment(), capture_output=True, check=False, timeout=60
        )
        assert answer.returncode == 0, f"rclone {' '.join(arguments)}: {answer.stderr.decode()}"
        return answer.stdout

    def make_bucket(self, name: str) -> None:
        """Make a bucket."""
        self.rclone("mkdir", f"s3:{name}")

    def pending_uploads(self, bucket: str) -> list[str]:
        """Return the keys of uploads in parts that nobody has ended."""
        found = json.loads(self.rclone("backend", "list-multipart-uploads", f"s3:{bucket}") or "{}")
        return [upload["Key"] for uploads in found.values() for upload in uploads or []]

    def digests(self, bucket: str, *, records: bool = False) -> dict[str, str]:
        """Return the MD5 of every object by key, read back from the server; those of `.datamover/` only when asked."""
        output = self.rclone("md5sum", "--download", f"s3:{bucket}").decode()
        pairs = (line.split("  ", 1) for line in output.splitlines())
        return {key: digest for digest, key in pairs if records or ".datamover/" not in f"/{key}"}

    # Faults -----------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End the server, as a crash would. Its volume stays."""
        self.kubectl.run("delete", "pod/store", "-n", self.namespace, "--grace-period=0", "--force", "--wait=true")

    def start(self, pod: dict[str, Any]) -> None:
        """Start it and wait until it serves."""
        self.kubectl.apply(pod, namespace=self.namespace)
        self.kubectl.run("wait", "-n", self.namespace, "--for=condition=Ready", "pod/store", "--timeout=60s")

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let the server take connections and answer none. Only where the node is this machine."""
        uid = self.kubectl.get("pod", "store", "-n", self.namespace)["metadata"]["uid"]
        assert signal_pod(uid, signal.SIGSTOP), "the server does not run on this machine"
        try:
            yield
        finally:
            signal_pod(uid, signal.SIGCONT)


def store_pod(cluster: RealCluster) -> dict[str, Any]:
    """Return the server's Pod."""
    pod = restricted_pod(
        "store",
        image=cluster.images.server,
        command=["/versitygw", "--port", ":7070", "--cert", "/tls/tls.crt", "--key", "/tls/tls.key", "posix", "/data"],
        claim="store",
        mounts=[{"name": "tls", "mountPath": "/tls"}],
        volumes=[{"name": "tls", "secret": {"secretName": "store-tls"}}],
    )
    pod["metadata"]["labels"] = {"app": "store"}
    pod["spec"]["containers"][0] |= {
        "env": [
            {"name": "ROOT_ACCESS_KEY_ID", "value": ACCESS_KEY},
            {"name": "ROOT_SECRET_ACCESS_KEY", "valueFrom": {"secretKeyRef": {"name": "store-root", "key": "key"}}},
        ],
        "readinessProbe": {"tcpSocket": {"port": 7070}, "periodSeconds": 1},
    }
    return pod


def create_store(cluster: RealCluster, namespace: str, *, scratch: Path, size: str = "8Gi") -> Store:
    """Start a server in a namespace that exists, and return it as it is seen from the rig's own machine."""
    kubectl, authority, host = cluster.kubectl, Authority("datamover-test-store"), f"store.{namespace}.svc"
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "store"},
            "spec": {"selector": {"app": "store"}, "ports": [{"port": 443, "targetPort": 7070}]},
        },
        namespace=namespace,
    )
    address = kubectl.get("service", "store", "-n", namespace)["spec"]["clusterIP"]
    pair = authority.server("store", [host, "localhost", address])
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "store-tls"},
            "type": "kubernetes.io/tls",
            "stringData": {"tls.crt": pair.certificate.decode(), "tls.key": pair.key.decode()},
        },
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store-root"}, "stringData": {"key": SECRET_KEY}},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "store"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
        },
        namespace=namespace,
    )
    store = Store(kubectl, namespace, authority.pem.decode(), address, scratch)
    store.start(store_pod(cluster))
    return store


@contextlib.contextmanager
def forwarded_port(kubectl: Kubectl, *, namespace: str, target: str, port: int) -> Iterator[int]:
    """Forward a port of loopback to a Pod."""
    with subprocess.Popen(
        [kubectl.program, "--kubeconfig", str(kubectl.kubeconfig), "port-forward", "-n", namespace, target, f":{port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "127.0.0.1:" in line, line
            yield int(line.split("127.0.0.1:")[1].split()[0])
        finally:
            process.terminate()
            process.wait(timeout=10)
