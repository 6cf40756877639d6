"""A real Velero on the rig's node: server, node-agent, and movers that upload with kopia, as Velero's own `install` command writes them.

Of its manifests only the limits of memory and the pace of looks at operations are ours. What moves data are Pods that Velero makes: they can be stopped and let go on
here, so that a test meets an upload at work however fast the machine is.
"""

import contextlib
import gzip
import json
import os
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import yaml

from cluster.velero import VeleroBuild, bring_velero
from support.cluster import TEST_LABEL, VELERO_NAMESPACE, condition, wait_for
from support.place import Place
from support.pods import signal_pod
from support.programs import GO
from support.store import ACCESS_KEY, SECRET_KEY
from support.velero import ENDED, LOCATION
from support.velero_definitions import HOSTED_CONTROL_PLANES

LONG = 300.0
"""Seconds for what takes Velero some Pods, one after the other, on a machine that has other work."""
DATA_PATH_STARTED = "Data-Path-Started"
"""The reason of the event by which a mover tells that it has begun to read."""
_MEMORY = {"GOGC": "100", "GOMEMLIMIT": "300MiB"}
_AGENT_CONFIGURATION = {
    # one upload after the other, so that there is an order to be seen
    "loadConcurrency": {"globalConfig": 1},
    "podResources": {"cpuRequest": "0", "cpuLimit": "0", "memoryRequest": "64Mi", "memoryLimit": "512Mi"},
}
_FREED = "restores,datauploads,datadownloads,podvolumebackups,podvolumerestores"
_BESIDE = ("jobs", "pods", "pvc", "volumesnapshots", "secrets")
_KEPT = {
    *("events", "events.events.k8s.io", "leases.coordination.k8s.io"),
    *("roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io"),
}


class NodeVelero:
    """Velero in the namespace `home`, with a storage location in the bucket of a place. Assumes the rig, whose node is this machine."""

    def __init__(self, home: Place, build: VeleroBuild) -> None:
        self.home = home
        self._build = build

    # Life -------------------------------------------------------------------------------------------------------------

    def install(self) -> None:
        """Put it up and wait until it can be asked for backups. The definitions stay until the session ends."""
        definitions = [
            HOSTED_CONTROL_PLANES,
            *(yaml.safe_load(each.read_text()) for each in sorted((self._build.programs / "crds").glob("*/*.yaml"))),
        ]
        self._apply(*definitions)
        names = [f"crd/{each['metadata']['name']}" for each in definitions]
        self.home.kubectl.run("wait", "--for=condition=Established", *names, "--timeout=60s")
        meta = {"name": "node-agent", "namespace": self.home.namespace}
        agent = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
        configuration = {"data": {"node-agent.json": json.dumps(_AGENT_CONFIGURATION)}}
        self._apply(agent | configuration)
        written = [each for each in self._manifests() if each["kind"] not in ("CustomResourceDefinition", "Namespace")]
        for each in written:
            if each["kind"] in ("Deployment", "DaemonSet"):
                _limit(each)
        self._apply(*written)
        self.wait_ready()
        wait_for(lambda: self._get("backupstoragelocation", LOCATION) == "Available", seconds=120, what=self.explain)

    def wait_ready(self) -> None:
        """Wait until server and node-agent run."""
        for each in ("deployment/velero", "daemonset/node-agent"):
            self.home.run("rollout", "status", each, f"--timeout={LONG:.0f}s", seconds=LONG + 30)

    def remove(self) -> None:
        """End it, free what only it could free, and take away all that it had in its namespace, which stays."""
        home = self.home
        home.run(
            "delete", "restores", "--all", "--timeout=30s", check=False
        )  # it removes files of them from the bucket
        home.run("delete", "deployment/velero", "daemonset/node-agent", "--ignore-not-found", "--wait=true")
        for each in home.run("get", _FREED, "-o", "name", "--ignore-not-found").split():
            home.run("patch", each, "--type=merge", "-p", '{"metadata":{"finalizers":null}}', check=False)
        kinds = [each for each in home.kubectl.kinds(namespaced=True) if each.endswith(".velero.io")]
        home.run("delete", ",".join((*kinds, *_BESIDE)), "--all", "--wait=true")
        of_tests = ",".join(f"{key}={value}" for key, value in TEST_LABEL.items())
        home.run("delete", "serviceaccounts,configmaps", "-l", of_tests)
        home.kubectl.run("delete", "clusterrolebinding", f"velero-{home.namespace}", "--ignore-not-found")
        wait_for(lambda: not self._left(), what=lambda: str(self._left()))

    def _left(self) -> list[str]:
        """Return what is left in the namespace beside what the cluster and the operator's chart keep there."""
        kinds = self.home.kubectl.kinds(namespaced=True) - _KEPT
        found = self.home.kubectl.items(",".join(kinds), "-n", self.home.namespace)
        names = {f"{each['kind']}/{each['metadata']['name']}" for each in found}
        return sorted(names - {"ServiceAccount/default", "ConfigMap/kube-root-ca.crt"})

    def end_agent(self) -> None:
        """Take the node-agent's Pod away at once, and wait until another one is ready."""
        (old,) = self._agents()
        self.home.run("delete", f"pod/{old['metadata']['name']}", "--grace-period=0", "--force")
        wait_for(
            lambda: any(
                each["metadata"]["uid"] != old["metadata"]["uid"] and condition(each, "Ready").get("status") == "True"
                for each in self._agents()
            ),
            seconds=LONG,
            what=self.explain,
        )

    def _agents(self) -> list[dict[str, Any]]:
        return self.home.kubectl.items("pods", "-n", self.home.namespace, "-l", "name=node-agent")

    def _apply(self, *manifests: Mapping[str, Any]) -> None:
        """Apply by the server: definitions are too large for the annotation of the other way. All get the label of tests' objects."""
        labelled = [dict(each) for each in manifests]
        for each in labelled:
            meta = each["metadata"]
            each["metadata"] = meta | {"labels": (meta.get("labels") or {}) | TEST_LABEL}
        self.home.kubectl.run("apply", "--server-side", "-f", "-", text=yaml.safe_dump_all(labelled))

    def _manifests(self) -> list[dict[str, Any]]:
        """Return what `velero install` would create."""
        store = self.home.store
        keys, authority = self.home.scratch / "velero-keys", self.home.scratch / "velero-authority"
        keys.touch(mode=0o600)
        keys.write_text(f"[default]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n")
        authority.write_text(store.authority)
        location = f"region=us-east-1,s3ForcePathStyle=true,s3Url=https://{store.host}"
        flags = {
            "namespace": self.home.namespace,
            "image": self._build.server,
            "plugins": f"{self._build.store_plugin},{self.home.cluster.images.plugin}",
            "provider": "aws",
            "bucket": self.home.bucket,
            "secret-file": str(keys),
            "cacert": str(authority),
            "backup-location-config": location,
            "use-volume-snapshots": "false",
            "use-node-agent": "true",
            "node-agent-configmap": "node-agent",
            # only copies out of running Pods want it; and what is mounted there is followed by containers only where it is a shared mount
            "node-agent-disable-host-path": "true",
            "features": "EnableCSI",
            "csi-snapshot-early-frequent-polling": "true",
            "velero-pod-cpu-request": "0",
            "velero-pod-cpu-limit": "0",
            "velero-pod-mem-limit": "1Gi",
            "node-agent-pod-mem-limit": "512Mi",
            "kubeconfig": str(self.home.kubectl.kubeconfig),
        }
        answer = subprocess.run(
            [
                self._build.programs / "velero",
                "install",
                "--dry-run",
                "-o",
                "yaml",
                *(f"--{k}={v}" for k, v in flags.items()),
            ],
            env=GO | os.environ | {"HOME": str(self.home.scratch)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert answer.returncode == 0, answer.stderr
        return yaml.safe_load(answer.stdout)["items"]

    # Backups ----------------------------------------------------------------------------------------------------------

    def back_up(self, name: str, namespace: str, **spec: Any) -> None:
        """Create a Backup of a namespace that moves the data of its snapshots."""
        self._create("Backup", name, includedNamespaces=[namespace], snapshotMoveData=True, **spec)

    def restore(self, name: str, backup: str, *, into: Mapping[str, str]) -> None:
        """Restore from a backup into other namespaces, and wait until all is there."""
        self._create("Restore", name, backupName=backup, namespaceMapping=dict(into))
        wait_for(lambda: self._get("restore", name) in ENDED, seconds=LONG, what=self.explain)
        assert self._get("restore", name) == "Completed", self.explain()

    def wait_end(self, backup: str) -> dict[str, Any]:
        """Wait until a Backup has ended, however it did, and return its status."""
        wait_for(lambda: self.phase(backup) in ENDED, seconds=LONG, what=self.explain)
        return self.home.kubectl.get("backup", backup, "-n", self.home.namespace)["status"]

    def phase(self, backup: str) -> str:
        """Return the phase of a Backup, which is empty at first."""
        return self._get("backup", backup)

    def uploads(self, backup: str) -> dict[str, dict[str, Any]]:
        """Return the DataUploads of a backup by the claims that they move."""
        found = self.home.kubectl.items(
            "datauploads", "-n", self.home.namespace, "-l", f"velero.io/backup-name={backup}"
        )
        return {each["spec"]["sourcePVC"]: each for each in found}

    def phases(self, backup: str) -> dict[str, str]:
        """Return the phases of its DataUploads, by the same."""
        return {claim: each.get("status", {}).get("phase", "") for claim, each in self.uploads(backup).items()}

    def cancel(self, upload: str) -> None:
        """Ask for the end of an upload, as its user does."""
        self.home.run("patch", f"dataupload/{upload}", "--type=merge", "-p", '{"spec":{"cancel":true}}')

    def operation(self, backup: str, action: str) -> dict[str, Any]:
        """Return the operation of an action as Velero has stored it with a backup that has ended."""
        path = f"backups/{backup}/{backup}-itemoperations.json.gz"
        stored = json.loads(gzip.decompress(self.home.store.rclone("cat", f"s3:{self.home.bucket}/{path}")))
        (found,) = [each for each in stored if each["spec"]["backupItemAction"] == action]
        return found

    def stored_bytes(self) -> int:
        """Return how many bytes kopia has put into the bucket."""
        return json.loads(self.home.store.rclone("size", "--json", f"s3:{self.home.bucket}/kopia"))["bytes"]

    def explain(self) -> str:
        """Return what somebody on call would look at."""
        told = [
            self.home.run(
                "get", "backups,restores,datauploads,datadownloads,backuprepositories", "-o", "yaml", check=False
            )[-20000:],
            self.home.run("get", "pods,pvc,volumesnapshots", "-o", "wide", check=False),
            self.home.run("get", "events", "--sort-by=.lastTimestamp", check=False)[-4000:],
            *(
                self.home.run("logs", each, "--all-containers", "--tail=60", check=False)[-12000:]
                for each in ("deployment/velero", "daemonset/node-agent")
            ),
        ]
        return "\n".join(told)

    def _create(self, kind: str, name: str, **spec: Any) -> None:
        manifest = {"apiVersion": "velero.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        self.home.kubectl.apply(manifest, namespace=self.home.namespace)

    def _get(self, kind: str, name: str) -> str:
        found = self.home.kubectl.get(kind, name, "-n", self.home.namespace)
        return found.get("status", {}).get("phase", "")

    # Movers -----------------------------------------------------------------------------------------------------------

    def hold(self, backup: str, claims: Collection[str], *, reading: bool = False) -> "Movers":
        """Stop the mover of each of these claims as soon as it runs; or, `reading`, when it has told that it reads.

        A mover takes a second from its start to its first byte, so none is done by then; one that reads has to have much to read.
        """
        held = Movers(self)
        deadline = time.monotonic() + LONG
        while waiting := set(claims) - held.uids.keys():
            assert time.monotonic() < deadline, f"no mover of {waiting}\n{self.explain()}"
            uploads = self.uploads(backup)
            for claim in waiting & uploads.keys():
                name = uploads[claim]["metadata"]["name"]
                if not reading or self._reads(name):
                    held.stop(claim, name)
            time.sleep(0.1)
        return held

    def _reads(self, upload: str) -> bool:
        events = self.home.kubectl.items("events", "-n", self.home.namespace)
        return any(each["involvedObject"]["name"] == upload and each["reason"] == DATA_PATH_STARTED for each in events)


class Movers:
    """Movers that were stopped. `uids`: of their Pods, by the claims that they read."""

    def __init__(self, velero: NodeVelero) -> None:
        self.uids: dict[str, str] = {}
        self._home = velero.home

    def stop(self, claim: str, pod: str) -> None:
        """Stop one, if it runs."""
        found = self._home.kubectl.get("pod", pod, "-n", self._home.namespace)
        # before it runs, its only process is the runtime's, which has to go on
        if found.get("status", {}).get("phase") == "Running" and signal_pod(found["metadata"]["uid"], signal.SIGSTOP):
            self.uids[claim] = found["metadata"]["uid"]

    def let_go(self) -> None:
        """Let all go on."""
        for uid in self.uids.values():
            signal_pod(uid, signal.SIGCONT)


@contextlib.contextmanager
def velero_on_node(place: Place) -> Iterator[NodeVelero]:
    """Run Velero in the namespace that the operator watches, with its storage location in the place's bucket.

    What fails meanwhile is told with Velero's own state. Afterwards nothing of it is left but the definitions.
    """
    assert place.cluster.rig is not None
    velero = NodeVelero(replace(place, namespace=VELERO_NAMESPACE), bring_velero(place.cluster.rig))
    try:
        velero.install()
        yield velero
    except BaseException as error:
        error.add_note(velero.explain())
        raise
    finally:
        velero.remove()


def _limit(workload: dict[str, Any]) -> None:
    """Bound the memory of its programs, and have the server look at operations more often than every ten seconds."""
    pod = workload["spec"]["template"]["spec"]
    for container in pod.get("initContainers", ()):
        container["resources"] = {"limits": {"memory": "64Mi"}}
    for container in pod["containers"]:
        container["env"] += [{"name": name, "value": value} for name, value in _MEMORY.items()]
        if workload["kind"] == "Deployment":
            container["args"].append("--item-operation-sync-frequency=5s")
