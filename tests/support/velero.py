"""A real Velero beside a real API server: its server process, its plugin for S3 stores, its definitions. Nothing of it is changed.

The programs come from tools/build.py (`make velero`). The node-agent is not started: there is no node; `support.velero_actor` plays it. The folder of
plugins holds only what is put there, as Velero runs every program in it. All plugins get Velero's environment, as in a Pod of it.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.kubernetes import BUILD_PROGRAM, ControlPlane, MissingPrograms, wait_for
from support.programs import Program, ProgramError, Undertaker, free_ports
from support.s3 import S3Server

BUCKET = "velero"
LOCATION = "default"
NODE = "worker-1"
"""Where the node-agent is said to run."""
SNAPSHOT_CLASS_LABEL = "velero.io/csi-volumesnapshot-class"
GROUP = "/apis/velero.io/v1"
UPLOADS = "/apis/velero.io/v2alpha1"
PAUSE = 0.2
"""Seconds between two looks of a test: Velero itself looks every second at most, and each look is a connection."""
ENDED = frozenset({"Completed", "PartiallyFailed", "Failed", "FailedValidation"})
"""The phases that a Backup, or a Restore, does not leave."""

PERIODS = {
    "item-operation-sync-frequency": "1s",
    "store-validation-frequency": "1m",
    "backup-sync-period": "1h",
    "garbage-collection-frequency": "1h",
}
"""Each of them costs processes: a look at an operation starts the plugins anew, and so does one at the store."""

ENVIRONMENT = {"GOGC": "100", "GOMEMLIMIT": "400MiB", "CSI_SNAPSHOT_EARLY_FREQUENT_POLLING": "true"}
"""Bounded memory for Velero and each plugin of it; and snapshots are looked for every second at first, not every five."""


@dataclass(frozen=True, slots=True)
class VeleroPrograms:
    """Where they are; `definitions` is a folder with one folder a version."""

    server: Path
    aws_plugin: Path
    definitions: Path


def find_velero() -> VeleroPrograms:
    """Return the programs that are built already. Raises MissingPrograms with the cure."""
    answer = subprocess.run(
        [sys.executable, BUILD_PROGRAM, "velero", "--print"], capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        reason = answer.stderr.strip().removeprefix("velero: ")
        raise MissingPrograms(f"no Velero: {reason} (once, about 5 minutes)")
    built = Path(answer.stdout.strip())
    return VeleroPrograms(built / "velero", built / "velero-plugin-for-aws", built / "crds")


class Velero:
    """One Velero in a namespace of its own, with a storage location on an S3 server.

    Guarantees: after `stop`, or after our own end of whatever kind, nothing of it runs and its directory is gone; its objects stay.
    Assumptions: `define` was called; `logs` outlives this object. Caveats: whoever may use it may do anything in the cluster, as Velero's own
    installation says it.
    """

    def __init__(self, plane: ControlPlane, programs: VeleroPrograms, store: S3Server, *, logs: Path) -> None:
        self.plane = plane
        self.programs = programs
        self.store = store
        self.namespace = f"velero-{secrets.token_hex(4)}"
        self.directory = logs / "work"
        self.plugins = self.directory / "plugins"
        self.plugins.mkdir(parents=True)
        self.add_plugin("velero-plugin-for-aws", programs.aws_plugin)
        self._undertaker = Undertaker(self.directory)
        self.server = Program("velero", [], log=logs / "velero.log", undertaker=self._undertaker)
        self.metrics_port = 0

    @property
    def log(self) -> Path:
        """What it and its plugins have said, since its first start."""
        return self.server.log

    @property
    def user(self) -> str:
        """The user that the API server sees."""
        return f"system:serviceaccount:{self.namespace}:velero"

    def add_plugin(self, name: str, program: Path) -> None:
        """Put a plugin beside the others: Velero finds it at its next start."""
        shutil.copyfile(program, self.plugins / name)
        (self.plugins / name).chmod(0o755)

    def add_script(self, name: str, *, start: str, environment: Mapping[str, str]) -> None:
        """Put a plugin there that this interpreter runs: `start` is Python, run with the environment changed so."""
        text = f"""\
            #!{sys.executable}
            import os
            os.environ.update({dict(environment)!r})
            {start}
            """
        (self.plugins / name).write_text(textwrap.dedent(text), encoding="utf-8")
        (self.plugins / name).chmod(0o755)

    # Life -------------------------------------------------------------------------------------------------------------

    def install(self) -> None:
        """Create what an installation brings: namespace, rights, storage location, workloads. Of these the node-agent says that it is ready, with a Pod on the one node."""
        self.plane.create_namespace(self.namespace)
        subjects = [{"kind": "ServiceAccount", "name": "velero", "namespace": self.namespace}]
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": self.namespace},
            "roleRef": role,
            "subjects": subjects,
        }
        self.plane.create(binding)
        for manifest in (
            self.location(),
            workload("DaemonSet", "node-agent", self.namespace),
            # Velero's own restore action asks it for its image; the controllers of Deployments are not started here
            workload("Deployment", "velero", self.namespace),
        ):
            self.plane.create(manifest)
        agents = f"/apis/apps/v1/namespaces/{self.namespace}/daemonsets/node-agent"
        ready = {"currentNumberScheduled": 1, "desiredNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 1}
        merge = "application/merge-patch+json"
        spec = {"nodeName": NODE, "containers": _containers("node-agent")}
        meta = {"name": "node-agent-1", "namespace": self.namespace, "labels": {"role": "node-agent"}}
        self.plane.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        pod = f"/api/v1/namespaces/{self.namespace}/pods/node-agent-1"
        for path, said in ((agents, ready), (pod, {"phase": "Running"})):
            status, answer = self.plane.call("PATCH", f"{path}/status", {"status": said}, kind=merge)
            if status != 200:
                raise ProgramError(f"{path}: {status} {answer}")

    def location(self) -> dict[str, Any]:
        """Return the BackupStorageLocation: a bucket of the S3 server, by path, with the keys of the server's environment.

        Not with a Secret of its own: Velero writes its file anew for each use, and a plugin that reads it at that moment, for another backup, finds no keys.
        """
        return {
            "apiVersion": "velero.io/v1",
            "kind": "BackupStorageLocation",
            "metadata": {"name": LOCATION, "namespace": self.namespace},
            "spec": {
                "provider": "aws",
                "default": True,
                "objectStorage": {"bucket": BUCKET},
                "config": {
                    "region": "us-east-1",
                    "s3ForcePathStyle": "true",
                    "s3Url": f"http://127.0.0.1:{self.store.port}",
                },
            },
        }

    def start(self, **flags: str) -> None:
        """Start the server and wait until its metrics are served and the storage location is available. `flags` win over ours."""
        (self.metrics_port,) = free_ports(1)
        kubeconfig = self.plane.service_account_kubeconfig(self.namespace, "velero")
        wanted = PERIODS | {
            "plugin-dir": str(self.plugins),
            "features": "EnableCSI",
            "log-level": "debug",
            "namespace": self.namespace,
            "metrics-address": f"127.0.0.1:{self.metrics_port}",
            "profiler-address": "",
            "concurrent-backups": "8",
        }
        wanted |= {name.replace("_", "-"): value for name, value in flags.items()}
        self.server.arguments = (
            str(self.programs.server),
            "server",
            *(f"--{name}={value}" for name, value in wanted.items()),
        )
        self.server._environment = ENVIRONMENT | {
            "KUBECONFIG": str(kubeconfig),
            "VELERO_NAMESPACE": self.namespace,
            "HOME": str(self.directory),
            "TMPDIR": str(self.directory),
            "AWS_SHARED_CREDENTIALS_FILE": str(self._write_keys()),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.server.start()
        self.server.wait_until(self._is_available, seconds=60)

    def stop(self) -> None:
        """End it and remove its directory. Safe to call twice."""
        self.server.stop(patience=10)
        self._undertaker.close()

    def restart(self, **flags: str) -> None:
        """Kill it and its plugins at once, as the end of its Pod would, and start it again."""
        children = _children(self.server.pid)
        self.server.kill()
        for pid in children:  # one that is killed while its host starts it may stay: a Pod's end takes it along
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: not Path(f"/proc/{pid}").exists(), seconds=60, what=f"the end of plugin {pid}")
        self.start(**flags)

    def resident(self) -> dict[str, int]:
        """Return how many MiB the server and each plugin that runs now hold, by the name of the program."""
        found: dict[str, int] = {}
        for pid in (self.server.pid, *_children(self.server.pid)):
            try:
                status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
                name = Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
            except OSError:
                continue
            held = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")]
            script = next((part for part in name if part.startswith(str(self.plugins))), name[0])
            if held:  # else it has just ended
                found[Path(script).name] = max(found.get(Path(script).name, 0), sum(held) >> 10)
        return found

    def _write_keys(self) -> Path:
        path = self.directory / "keys"
        path.touch(mode=0o600)
        path.write_text(
            f"[default]\naws_access_key_id={self.store.access_key}\naws_secret_access_key={self.store.secret_key}\n",
            encoding="utf-8",
        )
        return path

    def _is_available(self) -> bool:
        path = f"{GROUP}/namespaces/{self.namespace}/backupstoragelocations/{LOCATION}"
        return self.plane.call("GET", path)[1].get("status", {}).get("phase") == "Available"

    # Backups ----------------------------------------------------------------------------------------------------------

    def back_up(self, name: str, *namespaces: str, **spec: Any) -> dict[str, Any]:
        """Create a Backup of namespaces; fields of `spec` as in the manifest."""
        backup = {
            "apiVersion": "velero.io/v1",
            "kind": "Backup",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"includedNamespaces": list(namespaces), "storageLocation": LOCATION, **spec},
        }
        return self.plane.create(backup)

    def backup(self, name: str) -> dict[str, Any]:
        """Return a Backup as it is now."""
        status, answer = self.plane.call("GET", f"{GROUP}/namespaces/{self.namespace}/backups/{name}")
        assert status == 200, answer
        return answer

    def phase(self, name: str) -> str:
        """Return the phase of a Backup, which is empty at first."""
        return self.backup(name).get("status", {}).get("phase", "")

    def wait_for_phase(self, name: str, *phases: str, seconds: float = 180) -> dict[str, Any]:
        """Wait until a Backup is in one of `phases`, and return it. Raises AssertionError at once when it has ended otherwise."""

        def is_there() -> dict[str, Any] | None:
            found = self.backup(name)
            phase = found.get("status", {}).get("phase", "")
            assert phase in phases or phase not in ENDED, f"{name} is {phase}: {found['status']}\n{self.server.tail()}"
            return found if phase in phases else None

        return wait_for(is_there, seconds=seconds, what=f"{' or '.join(phases)} of backup {name}", pause=PAUSE)

    def uploads(self, backup: str) -> list[dict[str, Any]]:
        """Return the DataUploads of a Backup, by the UID in their label."""
        uid = self.backup(backup)["metadata"]["uid"]
        path = f"{UPLOADS}/namespaces/{self.namespace}/datauploads?labelSelector=velero.io/backup-uid={uid}"
        return self.plane.call("GET", path)[1]["items"]

    def plugins_loaded(self) -> set[tuple[str, str]]:
        """Return name and kind of all that Velero can call, as it says itself."""
        request = {
            "apiVersion": "velero.io/v1",
            "kind": "ServerStatusRequest",
            "metadata": {"generateName": "status-", "namespace": self.namespace},
            "spec": {},
        }
        name = self.plane.create(request)["metadata"]["name"]
        status = self._processed("serverstatusrequests", name)
        return {(each["name"], each["kind"]) for each in status["plugins"]}

    def store_operations(self, backup: str) -> None:
        """Have it store what it knows of a backup's operations: else it does so at their end."""
        request = {
            "apiVersion": "velero.io/v1",
            "kind": "DownloadRequest",
            "metadata": {"generateName": "operations-", "namespace": self.namespace},
            "spec": {"target": {"kind": "BackupItemOperations", "name": backup}},
        }
        self._processed("downloadrequests", self.plane.create(request)["metadata"]["name"])

    def _processed(self, plural: str, name: str) -> dict[str, Any]:
        path = f"{GROUP}/namespaces/{self.namespace}/{plural}/{name}"

        def status() -> dict[str, Any] | None:
            found = self.plane.call("GET", path)[1].get("status") or {}
            return found if found.get("phase") == "Processed" else None

        return wait_for(status, what=f"the answer to {name}")

    def stored(self, backup: str) -> dict[str, bytes]:
        """Return what it has stored of a Backup, as it lies in the bucket."""
        return self.store.objects(f"backups/{backup}/", bucket=BUCKET)


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(each) for task in tasks for each in (task / "children").read_text(encoding="utf-8").split()]
    except OSError:
        return []


def workload(kind: str, name: str, namespace: str, *, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return a Deployment or DaemonSet of Velero; `labels` are its own."""
    selected = {"name": name}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels or {})},
        "spec": {
            "selector": {"matchLabels": selected},
            "template": {"metadata": {"labels": selected}, "spec": {"containers": _containers(name)}},
        },
    }


def _containers(name: str) -> list[dict[str, Any]]:
    return [{"name": name, "image": "velero/velero:v1.18.3", "command": ["/velero"]}]
