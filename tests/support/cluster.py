"""A cluster with a real node, as a user meets it: by kubectl, Helm and the objects that they show.

Any cluster will do: `DATAMOVER_TEST_KUBECONFIG` names its kubeconfig, and `DATAMOVER_TEST_IMAGES=present` says that the images are on its
nodes. Without one, the cluster of `make cluster-up` is taken.
"""

import base64
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.certificates import Authority
from cluster.layout import find_layout
from cluster.rig import SERVER_IMAGE, Rig
from datamover.api.names import Phase
from support.kubernetes import REPOSITORY
from support.s3 import find_rclone

CURE = "no cluster: run `make cluster-up` (Linux, root), or set DATAMOVER_TEST_KUBECONFIG"
OPERATOR_NAMESPACE = "datamover-operator-system"
STORE_NAMESPACE = "datamover-test-store"
CHART = REPOSITORY / "deploy" / "charts" / "datamover"
ACCESS_KEY, SECRET_KEY = "AKIDCLUSTERTEST", "canary-3f9a1c7e5b"  # the second is searched in everything that can be read
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
PATIENCE = 90.0
SLOWLY = [{"name": "RCLONE_BWLIMIT", "value": "4M"}]
"""With these the 8 MiB of TREE take some seconds, so that a mover can be met at work."""


class Kubectl:
    """kubectl with one kubeconfig."""

    def __init__(self, program: str, kubeconfig: Path) -> None:
        self.program = program
        self.kubeconfig = kubeconfig

    def run(self, *arguments: str, text: str | None = None, check: bool = True, seconds: float = 120) -> str:
        """Return the output; an assertion fails with kubectl's own words."""
        answer = subprocess.run(
            [self.program, "--kubeconfig", str(self.kubeconfig), *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        assert not check or answer.returncode == 0, f"kubectl {' '.join(arguments)}: {answer.stderr.strip()}"
        return answer.stdout if answer.returncode == 0 else answer.stdout + answer.stderr

    def apply(self, *manifests: Mapping[str, Any], namespace: str | None = None) -> None:
        """Apply objects."""
        chosen = ["--namespace", namespace] if namespace else []
        self.run("apply", "-f", "-", *chosen, text=yaml.safe_dump_all([dict(each) for each in manifests]))

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return what `get -o json` shows; empty when there is no such object."""
        output = self.run("get", *arguments, "-o", "json", "--ignore-not-found")
        return json.loads(output) if output.strip() else {}

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the objects of a list."""
        return self.get(*arguments).get("items", [])


def wait_for(holds: Callable[[], bool], *, seconds: float = PATIENCE, what: Callable[[], str] = str) -> None:
    """Wait until something holds; `what` tells the last state."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not after {seconds:.0f} s: {what()}"
        time.sleep(0.3)


@dataclass(frozen=True)
class Images:
    """The images that the tests run."""

    operator: str
    mover: str
    server: str = SERVER_IMAGE


@dataclass
class Store:
    """The S3 server of the cluster: versitygw in a Pod behind a Service, with TLS, signatures checked.

    `address` is where it is seen from here: the Service's own on the rig, whose node is this machine, and a forwarded port elsewhere.
    """

    kubectl: Kubectl
    authority: Authority
    address: str
    place: Path
    pod: dict[str, Any]
    host: str = f"store.{STORE_NAMESPACE}.svc"

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
            "CA_CERT": self.authority.pem.decode(),
        }
        return values | changes

    def rclone(self, *arguments: str, text: bytes | None = None) -> bytes:
        """Run rclone as another client of the server."""
        authority = self.place / "store.pem"
        authority.write_bytes(self.authority.pem)
        environment = {
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
        program = find_rclone()
        assert program
        answer = subprocess.run(
            [program, *arguments], env=environment, input=text, capture_output=True, check=False, timeout=60
        )
        assert answer.returncode == 0, f"rclone {' '.join(arguments)}: {answer.stderr.decode()}"
        return answer.stdout

    def stop(self) -> None:
        """End the server, as a crash would. Its volume stays."""
        self.kubectl.run("delete", "pod", "store", "-n", STORE_NAMESPACE, "--grace-period=0", "--force", "--wait=true")

    def start(self) -> None:
        """Start it and wait until it serves."""
        self.kubectl.apply(self.pod, namespace=STORE_NAMESPACE)
        self.kubectl.run("wait", "-n", STORE_NAMESPACE, "--for=condition=Ready", "pod/store", "--timeout=60s")

    def make_bucket(self, name: str) -> None:
        """Make a bucket."""
        self.rclone("mkdir", f"s3:{name}")

    def digests(self, bucket: str, *, records: bool = False) -> dict[str, str]:
        """Return the MD5 of every object by key, read back from the server; those of `.datamover/` only when asked."""
        output = self.rclone("md5sum", "--download", f"s3:{bucket}").decode()
        pairs = (line.split("  ", 1) for line in output.splitlines())
        return {key: digest for digest, key in pairs if records or ".datamover/" not in f"/{key}"}


@dataclass
class RealCluster:
    """What a scenario acts on."""

    kubectl: Kubectl
    images: Images
    helm: str
    rig: Rig | None

    def create_namespace(self, name: str, *, restricted: bool = True) -> None:
        """Make a namespace; `restricted`: the one Pod Security profile that admits nothing special."""
        self.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": RESTRICTED if restricted else {}},
            }
        )
        wait_for(lambda: bool(self.kubectl.get("serviceaccount", "default", "-n", name)), seconds=30)

    def install(self, *values: str) -> None:
        """Install or upgrade the operator by its chart."""
        repository, _, tag = self.images.operator.rpartition(":")
        mover, _, mover_tag = self.images.mover.rpartition(":")
        chosen = [
            f"image.repository={repository}",
            f"image.tag={tag}",
            f"moverImage.repository={mover}",
            f"moverImage.tag={mover_tag}",
            *values,
        ]
        self.run_helm(
            "upgrade",
            "--install",
            "datamover",
            str(CHART),
            "--create-namespace",
            "--wait",
            "--timeout",
            "120s",
            *(part for value in chosen for part in ("--set", value)),
        )

    def run_helm(self, *arguments: str) -> str:
        """Run Helm in the operator's namespace."""
        answer = subprocess.run(
            [self.helm, "--kubeconfig", str(self.kubectl.kubeconfig), "--namespace", OPERATOR_NAMESPACE, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert answer.returncode == 0, f"helm {' '.join(arguments)}: {answer.stderr}\n{self.describe_operator()}"
        return answer.stdout

    def describe_operator(self) -> str:
        """Return what somebody would look at first."""
        pods = self.kubectl.run("get", "pods", "-n", OPERATOR_NAMESPACE, "-o", "wide", check=False)
        log = self.operator_log()
        return f"{pods}\n{log[-4000:]}"

    def operator_log(self) -> str:
        """Return what all replicas have logged."""
        return self.kubectl.run(
            "logs",
            "-n",
            OPERATOR_NAMESPACE,
            "-l",
            "app.kubernetes.io/name=datamover",
            "--prefix",
            "--tail=-1",
            check=False,
        )

    def operator_pods(self) -> list[str]:
        """Return the names of the operator's Pods."""
        listed = self.kubectl.items("pods", "-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/name=datamover")
        return [pod["metadata"]["name"] for pod in listed]


def find_cluster() -> tuple[Path, Rig | None, str, str]:
    """Return kubeconfig, the rig if it is ours, and the programs kubectl and helm. Skips the test, or fails it where it is required."""
    named = os.environ.get("DATAMOVER_TEST_KUBECONFIG")
    if named:
        return Path(named), None, os.environ.get("KUBECTL", "kubectl"), os.environ.get("HELM", "helm")
    layout = find_layout()
    if not layout.kubeconfig.exists():
        if os.environ.get("DATAMOVER_REQUIRE_CLUSTER") == "1":
            pytest.fail(CURE, pytrace=False)
        pytest.skip(CURE)
    programs = subprocess.run(
        [sys.executable, REPOSITORY / "tools" / "build.py", "cluster", "--print"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    return layout.kubeconfig, Rig(layout), f"{programs}/kubectl", f"{programs}/helm"


# The contents of volumes ------------------------------------------------------------------------------------------------

TREE: dict[str, bytes] = {
    "hello.txt": b"hello\n",
    "empty": b"",
    "deep/er/and/deeper/file": b"deep",
    "a name with spaces & more's.txt": b"spaces",
    "\u00fcml\u00e4ut/\u65e5\u672c\u8a9e.txt": "\u65e5\u672c".encode(),
    "large": bytes(range(256)) * 4096 * 8,
    **{f"many/{number:03}": f"file {number}".encode() * number for number in range(60)},
}

_FILL = """
import base64, json, os, sys
for path, content in json.load(open("/tree/tree.json")).items():
    place = os.path.join("/data", path)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "wb") as file:
        file.write(base64.b64decode(content))
os.sync()
"""


def digests_of(tree: Mapping[str, bytes]) -> dict[str, str]:
    """Return the MD5 of every file."""
    return {path: hashlib.md5(content).hexdigest() for path, content in tree.items()}


def restricted_pod(name: str, *, image: str, command: Sequence[str], claim: str, **more: Any) -> dict[str, Any]:
    """Return a Pod under the restricted profile with a claim at /data."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"purpose": "test"}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": list(command),
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}, *more.get("mounts", [])],
                }
            ],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}, *more.get("volumes", [])],
        },
    }


@dataclass
class Place:
    """A namespace and a bucket of one test's own."""

    cluster: RealCluster
    store: Store
    namespace: str
    bucket: str
    cleared: list[str] = field(default_factory=list)

    @property
    def kubectl(self) -> Kubectl:
        """kubectl."""
        return self.cluster.kubectl

    def run(self, *arguments: str, check: bool = True, seconds: float = 120) -> str:
        """Run kubectl in the namespace."""
        return self.kubectl.run("--namespace", self.namespace, *arguments, check=check, seconds=seconds)

    def create_secret(self, name: str = "storage-credentials", **changes: str) -> None:
        """Create the Secret of the bucket; an empty value leaves a key out."""
        values = {key: value for key, value in self.store.secret(self.bucket, **changes).items() if value}
        self.kubectl.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque", "stringData": values},
            namespace=self.namespace,
        )

    def create_volume(
        self, name: str = "app-data", *, storage_class: str = "rig", size: str = "1Gi", tree: Mapping[str, bytes] = TREE
    ) -> None:
        """Make a claim with files in it, written by a Pod."""
        self.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": storage_class,
                    "resources": {"requests": {"storage": size}},
                },
            },
            namespace=self.namespace,
        )
        self.fill_volume(name, tree)

    def fill_volume(self, name: str, tree: Mapping[str, bytes]) -> None:
        """Write files into a claim."""
        writer = f"fill-{name}"
        encoded = json.dumps(
            {path: base64.b64encode(content).decode() for path, content in tree.items() if path != "large"}
        )
        program = _FILL
        if "large" in tree:
            program += 'open("/data/large", "wb").write(bytes(range(256)) * 4096 * 8)\nos.sync()\n'
        self.kubectl.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": writer}, "data": {"tree.json": encoded}},
            restricted_pod(
                writer,
                image=self.cluster.images.mover,
                command=["python3", "-c", program],
                claim=name,
                mounts=[{"name": "tree", "mountPath": "/tree"}],
                volumes=[{"name": "tree", "configMap": {"name": writer}}],
            ),
            namespace=self.namespace,
        )
        self.run("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{writer}", f"--timeout={PATIENCE:.0f}s")
        self.run("delete", f"pod/{writer}", f"configmap/{writer}", "--wait=true")

    def create_mover(
        self, name: str, *, source: str = "app-data", secret: str = "storage-credentials", **spec: Any
    ) -> None:
        """Create a DataMover."""
        self.kubectl.apply(
            {
                "apiVersion": "datamover.a-cup-of.coffee/v1alpha1",
                "kind": "DataMover",
                "metadata": {"name": name},
                "spec": {"sourcePvc": source, "secretName": secret, **spec},
            },
            namespace=self.namespace,
        )

    def mover(self, name: str) -> dict[str, Any]:
        """Return a DataMover."""
        return self.kubectl.get("datamover", name, "-n", self.namespace)

    def wait_complete(self, name: str, *, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait as a user would, and return the DataMover."""
        output = self.run(
            "wait",
            "--for=condition=Complete",
            f"datamover/{name}",
            f"--timeout={seconds:.0f}s",
            check=False,
            seconds=seconds + 30,
        )
        found = self.mover(name)
        assert "condition met" in output, f"{output}\n{yaml.safe_dump(found.get('status'))}\n{self.explain(name)}"
        return found

    def wait_reason(self, name: str, reason: str, *, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait until the Ready condition has a reason, and return it."""
        wait_for(
            lambda: condition(self.mover(name), "Ready").get("reason") == reason,
            seconds=seconds,
            what=lambda: yaml.safe_dump(self.mover(name).get("status")),
        )
        return condition(self.mover(name), "Ready")

    def wait_phase(self, name: str, phase: str) -> None:
        """Wait until a DataMover is in a phase or past it."""
        reached = Phase.ORDER[Phase.ORDER.index(phase) :]
        wait_for(
            lambda: self.mover(name).get("status", {}).get("phase") in reached,
            what=lambda: yaml.safe_dump(self.mover(name).get("status")),
        )

    def demand_one_run(self, name: str) -> None:
        """Demand that one timestamped run of TREE took place, whatever happened meanwhile: one folder, and no clone left."""
        found = self.wait_complete(name, seconds=180)
        objects = self.store.digests(self.bucket)
        assert {key.split("/", 1)[0] for key in objects} == {found["status"]["run"]["timestamp"]}
        assert {key.split("/", 1)[1]: digest for key, digest in objects.items()} == digests_of(TREE)
        assert len(self.kubectl.items("pvc", "-n", self.namespace)) == 1

    def explain(self, name: str) -> str:
        """Return what somebody on call would look at."""
        return "\n".join(
            [
                self.run("describe", f"datamover/{name}", check=False),
                self.run("get", "pods,jobs,pvc", "-o", "wide", check=False),
                self.run("logs", "-l", f"job-name={name}", "--tail=20", check=False),
            ]
        )

    def remove(self) -> None:
        """Delete the namespace and wait until it is gone; its content before, for that is faster than the namespace controller."""
        self.run("delete", "datamovers,jobs,pods,pvc", "--all", "--wait=true", "--timeout=60s")
        self.kubectl.run("delete", "namespace", self.namespace, "--wait=true", "--timeout=90s", seconds=120)


def condition(found: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return one condition of an object, empty when it has none."""
    conditions = found.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == kind), {})


def run_store(cluster: RealCluster, place: Path) -> Iterator[Store]:
    """Run the S3 server in the cluster for as long as the generator lives."""
    authority = Authority("datamover-test-store")
    host = f"store.{STORE_NAMESPACE}.svc"
    cluster.create_namespace(STORE_NAMESPACE)
    kubectl = cluster.kubectl
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "store"},
            "spec": {"selector": {"app": "store"}, "ports": [{"port": 443, "targetPort": 7070}]},
        },
        namespace=STORE_NAMESPACE,
    )
    service = kubectl.get("service", "store", "-n", STORE_NAMESPACE)["spec"]["clusterIP"]
    pair = authority.server("store", [host, "localhost", service])
    pod = restricted_pod(
        "store",
        image=cluster.images.server,
        command=["/versitygw", "--port", ":7070", "--cert", "/tls/tls.crt", "--key", "/tls/tls.key", "posix", "/data"],
        claim="store",
        mounts=[{"name": "tls", "mountPath": "/tls"}],
        volumes=[{"name": "tls", "secret": {"secretName": "store-tls"}}],
    )
    pod["metadata"]["labels"] = {"app": "store"}
    pod["spec"]["containers"][0]["env"] = [
        {"name": "ROOT_ACCESS_KEY_ID", "value": ACCESS_KEY},
        {"name": "ROOT_SECRET_ACCESS_KEY", "valueFrom": {"secretKeyRef": {"name": "store-root", "key": "key"}}},
    ]
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
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Gi"}}},
        },
        pod,
        namespace=STORE_NAMESPACE,
    )
    kubectl.run("wait", "-n", STORE_NAMESPACE, "--for=condition=Ready", "pod/store", "--timeout=60s")
    if cluster.rig is not None:
        yield Store(kubectl, authority, service, place, pod)
    else:
        with forwarded_port(kubectl, namespace=STORE_NAMESPACE, target="pod/store", port=7070) as port:
            yield Store(kubectl, authority, f"localhost:{port}", place, pod)
    kubectl.run("delete", "namespace", STORE_NAMESPACE, "--wait=true", "--timeout=90s")


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
