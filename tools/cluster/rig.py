"""The order in which the cluster comes and goes."""

import contextlib
import datetime as dt
import json
import platform
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cluster import directory, machine, mounts, network, node, processes, storage
from cluster.archive import write_image
from cluster.certificates import ends_at
from cluster.control_plane import AUDIT_POLICY, api_server_flags, controller_manager_flags, etcd_flags
from cluster.credentials import SERVER, kubeconfig_of, write_credentials
from cluster.daemons import Daemon, DaemonError
from cluster.layout import (
    API_PORT,
    BRIDGE,
    CONTROLLER_MANAGER_PORT,
    DNS_HEALTH_PORT,
    ETCD_PEER_PORT,
    ETCD_PORT,
    KUBELET_HEALTH_PORT,
    NODE,
    NODE_ADDRESS,
    PORTS,
    PROXY_HEALTH_PORT,
    SCHEDULER_PORT,
    ClusterError,
    Layout,
)
from cluster.machine import say

TOOLS = Path(__file__).resolve().parents[1]
MANIFESTS = Path(__file__).resolve().parent / "manifests"
CLASSES = TOOLS / "kubernetes" / "storage" / "classes.yaml"
SERVER_IMAGE = "rig.datamover.invalid/versitygw:1"
"""An S3 server for Pods of tests: a faithful one, with signatures checked."""

_RUNTIME_NAMESPACE = "k8s.io"


class RigError(ClusterError):
    """The cluster could not be brought up or taken down. The message says why."""


class Rig:
    """One cluster on this machine.

    Guarantees: `up` on a running cluster changes nothing but starts what has ended; `down` leaves no process, mount, bridge, control
    group, loop device or file of it, or tells what it left, and touches nothing that is not the cluster's. Only one of the two is at work
    at a time. Raises ClusterError, OSError or subprocess.SubprocessError.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    # Life -------------------------------------------------------------------------------------------------------------

    def up(self) -> None:
        """Start everything and wait until the node is ready."""
        machine.demand_root()
        machine.prepare_machine()
        programs = self.build("cluster")
        gateway = self.build("s3") / "versitygw"
        with directory.claimed(self.layout):
            self._start(programs, gateway)

    def down(self) -> bool:
        """Stop everything, in the order that lets each part still reach those that it needs, and take away what is left.

        Returns False when there is no cluster, and then does nothing.
        """
        machine.demand_root()
        if not directory.is_cluster(self.layout):
            return False
        with directory.held(self.layout):
            self._stop()
            directory.remove(self.layout)
        return True

    def status(self) -> list[dict[str, Any]]:
        """Return one entry for each part: name, pid (None when it does not run), age in seconds, memory in bytes."""
        directory.demand_cluster(self.layout)
        return [
            {"name": name, "pid": part.pid, "age": round(part.age, 1), "memory": part.memory}
            for name, part in self.daemons(Path()).items()
        ]

    def load(self, files: Sequence[Path]) -> None:
        """Import images (docker-archive files) into the node's store."""
        machine.demand_root()
        directory.demand_cluster(self.layout)
        for file in files:
            self._ctr("images", "import", str(file))

    def images(self) -> list[str]:
        """Return the names of the images in the node's store."""
        return self._ctr("images", "list", "--quiet").split()

    def write_server_image(self, file: Path) -> None:
        """Write the image of the tests' S3 server as a docker-archive file. Needs no cluster."""
        gateway = self.build("s3") / "versitygw"
        write_image(file, name=SERVER_IMAGE, program=gateway, machine=platform.machine())

    def build(self, module: str) -> Path:
        """Build the programs of a module of tools/ where they are missing, and return their directory."""
        with subprocess.Popen(
            [sys.executable, TOOLS / "build.py", module], stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                output, _ = process.communicate()
            except BaseException:
                process.terminate()  # not killed, as `run` would: it has a compiler to end
                raise
        if process.returncode:
            raise RigError(f"the programs could not be built (python tools/build.py {module}: {process.returncode})")
        return Path(output.strip())

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl as administrator and return its output. Raises RigError with its words."""
        command = [self.layout.directory / "bin" / "kubectl", "--kubeconfig", self.layout.kubeconfig, *arguments]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise RigError(f"kubectl {' '.join(arguments)}: {answer.stderr.strip()}")
        return answer.stdout

    def daemons(self, programs: Path) -> dict[str, Daemon]:
        """Return every part by name; the order is that of the start."""
        layout, secrets = self.layout, self.layout.secrets
        server = api_server_flags(secrets, port=API_PORT, etcd_port=ETCD_PORT) | {
            "bind-address": NODE_ADDRESS,
            "advertise-address": NODE_ADDRESS,
            "endpoint-reconciler-type": "lease",
            "service-cluster-ip-range": "10.214.0.0/16",
            "kubelet-certificate-authority": str(secrets / "ca.crt"),
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "audit-log-path": str(layout.audit),
        }
        manager = controller_manager_flags(
            secrets,
            port=CONTROLLER_MANAGER_PORT,
            kubeconfig=kubeconfig_of(layout, "controller-manager"),
            controllers=["*"],
        )
        scheduler = {
            "kubeconfig": str(kubeconfig_of(layout, "scheduler")),
            "authentication-kubeconfig": str(kubeconfig_of(layout, "scheduler")),
            "authorization-kubeconfig": str(kubeconfig_of(layout, "scheduler")),
            "bind-address": "127.0.0.1",
            "secure-port": str(SCHEDULER_PORT),
            "leader-elect": "false",
        }
        parts = {
            name: Daemon(name, layout, [str(programs / name), *(f"--{flag}={value}" for flag, value in flags.items())])
            for name, flags in {
                "etcd": etcd_flags(layout.directory, port=ETCD_PORT, peer_port=ETCD_PEER_PORT)
                | {flag: str(secrets / file) for flag, file in _ETCD_FILES.items()},
                "kube-apiserver": server,
                "kube-controller-manager": manager,
                "kube-scheduler": scheduler,
            }.items()
        }
        return parts | node.daemons(layout, programs) | storage.daemons(layout, programs)

    # Inner ------------------------------------------------------------------------------------------------------------

    def _start(self, programs: Path, gateway: Path) -> None:
        since = time.monotonic()
        parts = self.daemons(programs)
        self._refuse_others(parts)
        self._lay_out()
        machine.change_settings(self.layout)
        network.add_bridge()
        storage.mount_volumes(self.layout)
        for name in ("containerd", "etcd"):
            parts[name].start()
        parts["etcd"].wait_until(lambda: _answers(f"https://127.0.0.1:{ETCD_PORT}/health", self._etcd_context()))
        parts["kube-apiserver"].start()
        parts["containerd"].wait_until(self._runtime_answers)
        self._import_own_images(programs, gateway)
        parts["kube-apiserver"].wait_until(lambda: _answers(f"{SERVER}/readyz", self._admin_context()))
        for name, part in parts.items():
            if name != "kube-apiserver":
                part.start()
        self.kubectl("apply", "--server-side", "-f", str(MANIFESTS), "-f", str(programs / "crds"))
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        self.kubectl("apply", "--server-side", "-f", str(CLASSES))
        for name, healthy in self._checks().items():
            parts[name].wait_until(healthy)
        self.kubectl("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=60s")
        self._wait_for_driver()
        say(f"ready after {time.monotonic() - since:.1f} s")

    def _stop(self) -> None:
        parts = self.daemons(Path())
        for name in ("kubelet", "kube-proxy", "coredns", "kube-scheduler", "kube-controller-manager"):
            parts[name].stop()
        self._revive_runtime(parts["containerd"])
        if parts["containerd"].pid is not None:
            self._end_containers()
        for name in ("csi-provisioner", "csi-snapshotter", "snapshot-controller", "storage-driver"):
            parts[name].stop()
        for name in ("containerd", "kube-apiserver", "etcd"):
            parts[name].stop()
        processes.end_containers(self.layout.directory)
        mounts.unmount_below(self.layout.directory)
        machine.detach_loops(self.layout.directory)
        if self.layout.before.exists():
            network.remove_network()
            machine.remove_cgroups(self.layout)
        self._demand_nothing_left()
        machine.restore_settings(self.layout)

    def _refuse_others(self, parts: Mapping[str, Daemon]) -> None:
        """Raise RigError when somebody else has what the cluster wants for itself."""
        wanted = [address for name, ports in PORTS.items() if parts[name].pid is None for address in ports]
        taken = network.taken_ports(wanted)
        if taken:
            raise RigError(f"something else listens at {', '.join(taken)}: another Kubernetes? Cure: end it first")
        if self.layout.before.exists():
            return  # nobody's were there when the cluster came, so these are its own
        if network.has_bridge():
            raise RigError(
                f"the bridge {BRIDGE} is there already, of a cluster in another directory. Cure: take that one down; if it is gone, run "
                f"`ip link delete {BRIDGE}`"
            )
        if network.rules():
            raise RigError(
                "another kube-proxy has its rules on this machine (nft table kube-proxy), and two would fight. Cure: end it; if it is gone, "
                "run `nft delete table ip kube-proxy` and `nft delete table ip6 kube-proxy`"
            )

    def _demand_nothing_left(self) -> None:
        """Raise RigError with all that is still there of what `down` takes away before the files."""
        place = self.layout.directory
        left = [f"process {pid} of a container" for pid in processes.find_containers(place)]
        left += [f"mount {point}" for point in mounts.mount_points(place)]
        left += [f"control group {group}" for group in machine.pod_groups(self.layout)]
        if self.layout.before.exists():
            left += [f"bridge {BRIDGE}"] if network.has_bridge() else []
            left += [f"network namespace {name}" for name in network.pod_namespaces()]
            left += [f"nft table {family} {name}" for family, name in network.rules()]
        if left:
            raise RigError(
                f"{place} stays, for this is left of the cluster: {', '.join(left)}. Cure: call `down` again"
            )

    def _lay_out(self) -> None:
        layout = self.layout
        for folder in (layout.logs, layout.pids, layout.directory / "bin"):
            folder.mkdir(parents=True, exist_ok=True)
        layout.driver_socket.parent.mkdir(parents=True, exist_ok=True)
        if not layout.kubeconfig.exists():
            write_credentials(layout)
        end = ends_at((layout.secrets / "ca.crt").read_bytes())
        if end < dt.datetime.now(dt.UTC):
            raise RigError(
                f"the cluster's certificates ended on {end:%Y-%m-%d}. Cure: take it down, and up again as a new one"
            )
        (layout.secrets / "audit.yaml").write_text(yaml.safe_dump(AUDIT_POLICY))
        node.write_files(layout)

    def _import_own_images(self, programs: Path, gateway: Path) -> None:
        kubectl = self.layout.directory / "bin" / "kubectl"
        kubectl.unlink(missing_ok=True)
        kubectl.symlink_to(programs / "kubectl")
        present = self.images()
        for image, program in ((node.PAUSE_IMAGE, programs / "pause"), (SERVER_IMAGE, gateway)):
            if image not in present:
                file = self.layout.directory / f"{program.name}.tar"
                write_image(file, name=image, program=program, machine=platform.machine())
                self._ctr("images", "import", str(file))
                file.unlink()

    def _checks(self) -> dict[str, Callable[[], bool]]:
        context = _unchecked()
        return {
            "kube-controller-manager": lambda: _answers(
                f"https://127.0.0.1:{CONTROLLER_MANAGER_PORT}/healthz", context
            ),
            "kube-scheduler": lambda: _answers(f"https://127.0.0.1:{SCHEDULER_PORT}/healthz", context),
            "kubelet": lambda: _answers(f"http://127.0.0.1:{KUBELET_HEALTH_PORT}/healthz"),
            "kube-proxy": lambda: _answers(f"http://127.0.0.1:{PROXY_HEALTH_PORT}/livez"),
            "coredns": lambda: _answers(f"http://127.0.0.1:{DNS_HEALTH_PORT}/ready"),
            "storage-driver": self.layout.driver_socket.exists,
        }

    def _wait_for_driver(self) -> None:
        deadline = time.monotonic() + 60
        while "rig.csi" not in self.kubectl(
            "get", "csinode", NODE, "-o", "jsonpath={.spec.drivers[*].name}", "--ignore-not-found"
        ):
            if time.monotonic() > deadline:
                raise RigError(f"the kubelet has not taken the storage driver; see {self.layout.logs}/kubelet.log")
            time.sleep(0.2)

    def _ctr(self, *arguments: str) -> str:
        command = ["ctr", "--address", str(self.layout.runtime_socket), "--namespace", _RUNTIME_NAMESPACE, *arguments]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if answer.returncode:
            raise RigError(f"ctr {' '.join(arguments)}: {answer.stderr.strip()}")
        return answer.stdout

    def _runtime_answers(self) -> bool:
        with contextlib.suppress(RigError):
            self._ctr("version")
            return True
        return False

    def _revive_runtime(self, containerd: Daemon) -> None:
        """Start containerd again where it has died: it ends its containers more cleanly than we do."""
        if containerd.pid is None and (self.layout.containerd / "state").exists():
            with contextlib.suppress(DaemonError, OSError):
                containerd.start()
                containerd.wait_until(self._runtime_answers, seconds=20)

    def _end_containers(self) -> None:
        """Kill the Pods' processes while containerd can still tidy up after them."""
        with contextlib.suppress(RigError, subprocess.TimeoutExpired):
            for task in self._ctr("tasks", "list", "--quiet").split():
                with contextlib.suppress(RigError):
                    self._ctr("tasks", "delete", "--force", task)
            for container in self._ctr("containers", "list", "--quiet").split():
                with contextlib.suppress(RigError):
                    self._ctr("containers", "delete", container)

    def _admin_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.layout.secrets / "ca.crt"))

    def _etcd_context(self) -> ssl.SSLContext:
        context = self._admin_context()
        secrets = self.layout.secrets
        context.load_cert_chain(secrets / "etcd-client.crt", secrets / "etcd-client.key")
        return context


_ETCD_FILES = {"cert-file": "etcd.crt", "key-file": "etcd.key", "trusted-ca-file": "ca.crt"}


def _unchecked() -> ssl.SSLContext:
    """Return a context for servers on loopback with certificates of their own making."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _answers(url: str, context: ssl.SSLContext | None = None) -> bool:
    """Tell whether a server answers well."""
    try:
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as error:
        return error.code == 401  # it serves; who we are is another question
    except OSError:
        return False


def describe_status(entries: Sequence[dict[str, Any]]) -> str:
    """Return the table of `status` for people."""
    lines = [f"{'PART':<26}{'PID':>9}{'AGE':>10}{'MEMORY':>12}"]
    for entry in entries:
        if entry["pid"] is None:
            lines.append(f"{entry['name']:<26}{'-':>9}{'-':>10}{'not running':>12}")
        else:
            lines.append(f"{entry['name']:<26}{entry['pid']:>9}{entry['age']:>9.0f}s{entry['memory'] >> 20:>8} MiB")
    total = sum(entry["memory"] for entry in entries) >> 20
    lines.append(f"{'together':<26}{'':>9}{'':>10}{total:>8} MiB")
    return "\n".join(lines)


def as_json(entries: Sequence[dict[str, Any]]) -> str:
    """Return the same for machines."""
    return json.dumps(list(entries), indent=2)
