"""A namespace and a bucket of one scenario's own, and what a user does there."""

import base64
import contextlib
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from datamover.api.names import Phase
from support.cluster import DEFAULT_CLASS, PATIENCE, Kubectl, RealCluster, condition, wait_for
from support.cookbook import demand_documented
from support.pods import restricted_pod
from support.s3 import find_rclone
from support.store import Store
from support.witness import Witness

SLOWLY = [{"name": "RCLONE_BWLIMIT", "value": "4M"}]
"""With these the 8 MiB of TREE take some seconds, so that a mover can be met at work."""
PHASES = (Phase.CREATING_CLONE, Phase.CLONE_READY, Phase.CREATING_POD, Phase.CLEANING_UP, Phase.COMPLETED)
"""Where something may happen to a run that goes well."""
LASTING = {Phase.CREATING_CLONE, Phase.CREATING_POD, Phase.COMPLETED}
"""Those that last, with the class of `class_for` and with SLOWLY."""


def class_for(phase: str) -> str:
    """Return the class whose volumes make a phase last."""
    return "rig-slow" if phase == Phase.CREATING_CLONE else DEFAULT_CLASS


OWNERS = "datamoverrestores,datamovers,replicationsources,replicationdestinations"
"""The kinds that the operator makes other objects for."""
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


def mover_manifest(
    name: str, *, source: str = "app-data", secret: str = "storage-credentials", **spec: Any
) -> dict[str, Any]:
    """Return a DataMover."""
    return {
        "apiVersion": "datamover.a-cup-of.coffee/v1alpha1",
        "kind": "DataMover",
        "metadata": {"name": name},
        "spec": {"sourcePvc": source, "secretName": secret, **spec},
    }


@dataclass
class Place:
    """A namespace and a bucket of one test's own. `witness` is missing where the node is not this machine."""

    cluster: RealCluster
    store: Store
    namespace: str
    bucket: str
    scratch: Path
    witness: Witness | None = None

    @property
    def kubectl(self) -> Kubectl:
        """kubectl."""
        return self.cluster.kubectl

    def run(self, *arguments: str, check: bool = True, seconds: float = 120) -> str:
        """Run kubectl in the namespace."""
        return self.kubectl.run("--namespace", self.namespace, *arguments, check=check, seconds=seconds)

    def run_shell(self, script: str, *, seconds: float = 60, **environment: str) -> str:
        """Run what a document or a message tells people to type, with bash, and return what it prints."""
        kubectl, chosen = self.kubectl, self.scratch / "kubeconfig"
        answer = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env=environment
            | {
                "PATH": f"{Path(kubectl.program).parent}:{Path(find_rclone() or '').parent}:{os.environ['PATH']}",
                "KUBECONFIG": str(chosen if chosen.exists() else kubectl.kubeconfig),
                "HOME": str(self.scratch),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        assert answer.returncode == 0, f"{script}\nended with {answer.returncode}: {answer.stdout}{answer.stderr}"
        return answer.stdout

    def choose_namespace(self) -> None:
        """Let `run_shell` work in the namespace, as `kubectl config set-context --current --namespace` does."""
        config = yaml.safe_load(self.kubectl.kubeconfig.read_text())
        for context in config["contexts"]:
            context["context"]["namespace"] = self.namespace
        (self.scratch / "kubeconfig").write_text(yaml.safe_dump(config))

    def create_secret(self, name: str = "storage-credentials", **changes: str) -> None:
        """Create the Secret of the bucket; an empty value leaves a key out."""
        values = {key: value for key, value in self.store.secret(self.bucket, **changes).items() if value}
        self.kubectl.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque", "stringData": values},
            namespace=self.namespace,
        )

    def create_buckets(self, *names: str) -> None:
        """Make more buckets, each with a Secret of its name: for runs side by side of which each is looked at alone."""
        for name in names:
            self.store.make_bucket(self.bucket_of(name))
            self.create_secret(name, BUCKET_NAME=self.bucket_of(name))

    def phases(self) -> tuple[str, ...]:
        """Return the phases that can be met here: elsewhere no class may make the first one last."""
        return PHASES if self.cluster.rig is not None else tuple(p for p in PHASES if class_for(p) == DEFAULT_CLASS)

    def bucket_of(self, name: str) -> str:
        """Return the name of one of those buckets."""
        return f"{self.bucket}-{name}"

    def create_volume(
        self,
        name: str = "app-data",
        *,
        storage_class: str = DEFAULT_CLASS,
        size: str = "1Gi",
        tree: Mapping[str, bytes] = TREE,
    ) -> None:
        """Make a claim with files in it, written by a Pod."""
        self.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": self.cluster.storage_class(storage_class),
                    "resources": {"requests": {"storage": size}},
                },
            },
            namespace=self.namespace,
        )
        self.fill_volume(name, tree)

    def fill_volume(self, name: str, tree: Mapping[str, bytes]) -> None:
        """Write files into a claim."""
        writer = f"fill-{name[:40]}"  # the kubelet's folder of its log is named after namespace, Pod and UID together
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
        if spec.get("copyMethod") == "Snapshot" and not self.cluster.has_snapshots():
            pytest.skip("needs the kinds of external-snapshotter")
        self.kubectl.apply(mover_manifest(name, source=source, secret=secret, **spec), namespace=self.namespace)

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
        assert "condition met" in output, f"{output}\n{yaml.safe_dump(found.get('status'))}\n{self.explain()}"
        return found

    def ready(self, name: str) -> dict[str, Any]:
        """Return the Ready condition of a DataMover."""
        return condition(self.mover(name), "Ready")

    def wait_reason(self, name: str, reason: str, *, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait until the Ready condition has a reason, and return it."""
        wait_for(
            lambda: self.ready(name).get("reason") == reason,
            seconds=seconds,
            what=lambda: yaml.safe_dump(self.mover(name).get("status")),
        )
        ready = self.ready(name)
        demand_documented(reason, ready["message"])
        return ready

    def wait_phase(self, name: str, phase: str) -> None:
        """Wait until a DataMover is in a phase, or past one that is over in a moment (all but those of `LASTING`)."""
        reached = Phase.ORDER[Phase.ORDER.index(phase) :]
        wait_for(
            lambda: self.mover(name).get("status", {}).get("phase") in reached,
            what=lambda: yaml.safe_dump(self.mover(name).get("status")),
        )
        found = self.mover(name)["status"]["phase"]
        assert found == phase or phase not in LASTING, f"{phase} was over before anybody looked; now {found}"

    def claims(self) -> set[str]:
        """Return the names of the namespace's claims, but for that of a server of its own."""
        return {claim["metadata"]["name"] for claim in self.kubectl.items("pvc", "-n", self.namespace)} - {"store"}

    def mover_pods(self) -> list[str]:
        """Return the names of the movers' Pods that run."""
        return [
            pod["metadata"]["name"]
            for pod in self.kubectl.items("pods", "-n", self.namespace, "-l", "app.kubernetes.io/component=mover")
            if pod["status"]["phase"] == "Running"
        ]

    def wait_running(self) -> None:
        """Wait until a mover runs."""
        wait_for(lambda: bool(self.mover_pods()), what=self.explain)

    def evict_mover(self) -> None:
        """Evict the mover's Pod by the API, as `kubectl drain` does."""
        for name in self.mover_pods():
            eviction = {
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": {"name": name, "namespace": self.namespace},
            }
            self.kubectl.run(
                "create",
                "--raw",
                f"/api/v1/namespaces/{self.namespace}/pods/{name}/eviction",
                "-f",
                "-",
                text=json.dumps(eviction),
            )

    def demand_one_run(self, name: str, *, movers: int | None = None, bucket: str = "", sources: int = 1) -> None:
        """Demand that one timestamped run of TREE took place, whatever happened meanwhile: one folder, and no clone left.

        `movers`: how many Pods it took, where that can be seen (on the rig). `sources`: how many claims there are that are no clones.
        """
        found = self.wait_complete(name, seconds=180)
        objects = self.store.digests(bucket or self.bucket)
        assert {key.split("/", 1)[0] for key in objects} == {found["status"]["run"]["timestamp"]}
        assert {key.split("/", 1)[1]: digest for key, digest in objects.items()} == digests_of(TREE)
        wait_for(lambda: len(self.claims()) == sources, seconds=5, what=lambda: str(self.claims()))
        if movers is not None and self.witness is not None:
            logs = (log.split("_")[1] for log in self.witness.logs())
            seen = {pod for pod in logs if pod.startswith("verify-")}
            assert len(seen) == movers, f"{movers} movers were expected: {sorted(seen)}"

    def explain(self) -> str:
        """Return what somebody on call would look at."""
        return "\n".join(
            [
                self.run("describe", "datamovers", check=False),
                self.run("get", "replicationsources,replicationdestinations", "-o", "yaml", check=False),
                self.run("get", "datamovers,pods,jobs,pvc,volumesnapshots", "-o", "wide", check=False),
                self.run("get", "events", "--sort-by=.lastTimestamp", check=False),
                self.run("logs", "-l", "app.kubernetes.io/component=mover", "--tail=20", "--prefix", check=False),
            ]
        )

    @contextlib.contextmanager
    def beside(self, suffix: str, *, restricted: bool = True) -> Iterator["Place"]:
        """A second namespace for the same bucket; it is gone afterwards. `restricted`: it admits nothing special, as the first one."""
        other = replace(self, namespace=f"{self.namespace}-{suffix}")
        self.cluster.create_namespace(other.namespace, restricted=restricted)
        try:
            yield other
        finally:
            if self.kubectl.get("namespace", other.namespace):
                other.remove()

    def mover_logs(self) -> dict[str, str]:
        """Return what the Pods of the namespace have logged, by Pod and container; on the rig also those that are gone."""
        if self.witness is not None:
            return self.witness.logs()
        names = [pod["metadata"]["name"] for pod in self.kubectl.items("pods", "-n", self.namespace)]
        return {name: self.run("logs", name, "--all-containers", check=False) for name in names}

    def free_claims(self) -> None:
        """Take away what a scenario that failed has put on claims to hold them."""
        for claim in self.claims():
            self.run("patch", "pvc", claim, "--type=merge", "-p", '{"metadata":{"finalizers":null}}', check=False)

    def remove(self) -> None:
        """Delete the namespace and wait until it is gone; its content before, for that is faster than the namespace controller."""
        self.run("delete", OWNERS, "--all", "--wait=true", "--timeout=60s")
        self.run("delete", "jobs,pods,pvc", "--all", "--wait=true", "--timeout=60s")
        self.kubectl.run(
            "delete", "namespace", self.namespace, "--ignore-not-found", "--wait=true", "--timeout=90s", seconds=120
        )
