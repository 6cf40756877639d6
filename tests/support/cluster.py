"""A cluster with a real node, as a user meets it: by kubectl, Helm and the objects that they show.

Any cluster will do: `DATAMOVER_TEST_KUBECONFIG` names its kubeconfig. Without one, the cluster of `make cluster-up` is taken. Scenarios
name storage classes of that cluster; elsewhere the default class stands for `rig`, variables name others, and what has none is skipped.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.layout import find_layout
from cluster.rig import SERVER_IMAGE, Rig
from support.kubernetes import REPOSITORY
from support.pods import signal_pod
from support.programs import GO
from support.reading import Reader
from support.witness import Witness

CURE = "no cluster: run `make cluster-up` (Linux, root), or set DATAMOVER_TEST_KUBECONFIG"
OPERATOR_NAMESPACE = "datamover-operator-system"
STORE_NAMESPACE = "datamover-test-store"
VELERO_NAMESPACE = "datamover-test-velero"
"""There from the beginning, since the chart grants rights in it. The Velero itself comes and goes with its scenario."""
CHART = REPOSITORY / "deploy" / "charts" / "datamover"
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
TEST_LABEL = {"purpose": "datamover-test"}
"""On every namespace that tests make."""
PATIENCE = 90.0
DEFAULT_CLASS = "rig"
_CLASS_VARIABLES = {"rig": "DATAMOVER_TEST_STORAGE_CLASS", "rig-wait": "DATAMOVER_TEST_WAITING_CLASS"}


class Kubectl:
    """kubectl with one kubeconfig."""

    def __init__(self, program: str, kubeconfig: Path) -> None:
        self.program = program
        self.kubeconfig = kubeconfig
        self._reader: Reader | None = None
        with contextlib.suppress(ValueError, KeyError):  # credentials that only kubectl knows how to get
            self._reader = Reader(kubeconfig)

    def run(self, *arguments: str, text: str | None = None, check: bool = True, seconds: float = 120) -> str:
        """Return the output; an assertion fails with kubectl's own words."""
        answer = subprocess.run(
            [self.program, "--kubeconfig", str(self.kubeconfig), *arguments],
            env=GO | os.environ,
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
        """Return what `get -o json` shows; empty when there is no such object. The API server is asked, where that can be (`support.reading`)."""
        if self._reader is not None:
            return self._reader.get(*arguments)
        output = self.run("get", *arguments, "-o", "json", "--ignore-not-found")
        return json.loads(output) if output.strip() else {}

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the objects of a list."""
        return self.get(*arguments).get("items", [])

    def kinds(self, *, namespaced: bool) -> set[str]:
        """Return every kind that can be listed, as `api-resources -o name` does."""
        if self._reader is not None:
            return self._reader.kinds(namespaced=namespaced)
        scope = f"--namespaced={str(namespaced).lower()}"
        return set(self.run("api-resources", scope, "--verbs=list", "-o", "name", "--cached=true").split())


def wait_for(holds: Callable[[], bool], *, seconds: float = PATIENCE, what: Callable[[], str] = str) -> None:
    """Wait until something holds; `what` tells the last state."""
    begun, pause = time.monotonic(), 0.3
    while not holds():
        assert time.monotonic() < begun + seconds, f"not after {seconds:.0f} s: {what()}"
        time.sleep(pause)
        pause = min(1.0, pause * 1.3)  # a look may be a process, and others want the cores


@dataclass(frozen=True)
class Images:
    """The images that the tests run. `plugin`, that of the plugin for Velero, is empty but on the rig."""

    operator: str
    mover: str
    server: str = SERVER_IMAGE
    plugin: str = ""


@dataclass
class RealCluster:
    """What a scenario acts on."""

    kubectl: Kubectl
    images: Images
    helm: str
    rig: Rig | None
    witness: Witness | None = None
    """Keeps the operator's logs, where the node is this machine."""

    def create_namespace(self, name: str, *, restricted: bool = True) -> None:
        """Make a namespace; `restricted`: the one Pod Security profile that admits nothing special."""
        self.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": TEST_LABEL | (RESTRICTED if restricted else {})},
            }
        )
        wait_for(lambda: bool(self.kubectl.get("serviceaccount", "default", "-n", name)), seconds=30)

    def has_snapshots(self) -> bool:
        """Tell whether the cluster has the kinds of snapshots."""
        return "volumesnapshots.snapshot.storage.k8s.io" in self.kubectl.kinds(namespaced=True)

    def storage_class(self, name: str) -> str:
        """Return the class that stands for one of the rig's. Skips the test where there is none."""
        if self.rig is not None:
            return name
        variable = _CLASS_VARIABLES.get(name)
        chosen = os.environ.get(variable, "") if variable else ""
        if not chosen and name == DEFAULT_CLASS:
            marked = "storageclass.kubernetes.io/is-default-class"
            classes = self.kubectl.items("storageclasses")
            defaults = (each for each in classes if each["metadata"].get("annotations", {}).get(marked) == "true")
            chosen = next((each["metadata"]["name"] for each in defaults), "")
        if not chosen:
            cure = f"; name one in {variable}" if variable else ", which only the rig's driver has"
            pytest.skip(f"needs a storage class like `{name}` (docs/cluster.md){cure}")
        return chosen

    def install(self, *values: str) -> None:
        """Install or upgrade the operator by its chart."""
        repository, _, tag = self.images.operator.rpartition(":")
        mover, _, mover_tag = self.images.mover.rpartition(":")
        chosen = [
            "replication.enabled=true",
            "dataVolumes.population.enabled=true",
            "dataVolumes.collection.enabled=true",
            "hostedControlPlanes.enabled=true",
            f"hostedControlPlanes.veleroNamespace={VELERO_NAMESPACE}",
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

    def operator_log(self, *, since: Mapping[str, int] | None = None) -> str:
        """Return what all replicas have logged; on the rig also those that are gone, and only what is new `since` (`Witness.mark`)."""
        if self.witness is not None:
            known = since or {}
            return "\n".join(log[known.get(name, 0) :] for name, log in self.witness.logs().items())
        return self.kubectl.run(
            "logs", "-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/name=datamover", "--tail=-1", check=False
        )

    def ready_pods(self) -> list[str]:
        """Return the names of the operator's Pods that are ready."""
        listed = self.kubectl.items("pods", "-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/name=datamover")
        return [pod["metadata"]["name"] for pod in listed if condition(pod, "Ready").get("status") == "True"]

    def leader(self) -> str:
        """Return the name of the operator's Pod that leads; empty while none does."""
        holder = self.kubectl.items("leases", "-n", OPERATOR_NAMESPACE)[0]["spec"].get("holderIdentity") or ""
        return next((name for name in self.operator_pods() if name in holder), "")

    def kill_operator(self) -> None:
        """Kill all replicas without a word. Where the node is another machine they are deleted, and may have time to say something."""
        pods = self.kubectl.items("pods", "-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/name=datamover")
        if self.rig is not None:
            killed = sum(signal_pod(pod["metadata"]["uid"], signal.SIGKILL) for pod in pods)
            assert killed >= len(pods) > 0, "there was nothing to kill"
        else:
            self.delete_operator(*(pod["metadata"]["name"] for pod in pods))

    def renew_operator(self) -> None:
        """Replace all replicas, and wait until the new ones are ready: the kubelet waits longer with each restart of the same Pod.

        They are told to end, and so give up the Lease that the new ones would otherwise have to wait for.
        """
        self.kubectl.run("delete", "pod", "-n", OPERATOR_NAMESPACE, *self.operator_pods(), "--wait=true")
        wait_for(lambda: len(self.ready_pods()) == 2 and len(self.operator_pods()) == 2, what=self.describe_operator)

    def delete_operator(self, *pods: str) -> None:
        """Delete replicas at once."""
        self.kubectl.run("delete", "pod", "-n", OPERATOR_NAMESPACE, *pods, "--grace-period=0", "--force")

    def restarts(self) -> dict[str, int]:
        """Return how often the operator's containers have started anew, by Pod."""
        pods = self.kubectl.items("pods", "-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/name=datamover")
        return {
            pod["metadata"]["name"]: sum(each["restartCount"] for each in pod["status"].get("containerStatuses", []))
            for pod in pods
        }

    @contextlib.contextmanager
    def failing(self, operation: str, *, words: str = "") -> Iterator[None]:
        """Let the rig's storage driver fail an operation on the volumes of the class `rig-failing`. Skips the test elsewhere."""
        if self.rig is None:
            pytest.skip("only the driver of our own rig fails on demand")
        switch = self.rig.layout.volumes / "faults" / "on-demand" / operation
        switch.parent.mkdir(parents=True, exist_ok=True)
        switch.write_text(words)
        try:
            yield
        finally:
            switch.unlink(missing_ok=True)

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


def condition(found: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return one condition of an object, empty when it has none."""
    conditions = found.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == kind), {})
