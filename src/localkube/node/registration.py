"""Keeps the Node object: who this node is, what it offers, what it does not enforce; and, where asked for, its Lease."""

import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubekit.client.client import Client
from kubekit.client.errors import KubeError, NotFound
from kubekit.runtime.clock import Clock
from kubekit.words import timestamps
from kubekit.words.coordination import LEASES
from kubekit.words.meta import Manifest
from localkube.node.environment import LOOPBACK
from localkube.node.kinds import NODES, Quantities
from localkube.node.names import DRIVER, FIELD_MANAGER, HOSTNAME_LABEL, LIMITS, LIMITS_ANNOTATION

DEFAULT_MAX_PODS = 110
LEASE_SECONDS = 40
_LEASE_NAMESPACE = "kube-node-lease"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def capacity(state_dir: Path, *, max_pods: int) -> Quantities:
    """Return what the machine offers: CPUs, memory, room on disk, and a number of Pods."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{pages * size // 1024}Ki",
        "ephemeral-storage": f"{shutil.disk_usage(state_dir).total // 1024}Ki",
        "pods": str(max_pods),
    }


def labels(name: str) -> dict[str, str]:
    """Return the well-known labels of this node."""
    system = platform.system().lower()
    machine = platform.machine()
    return {
        HOSTNAME_LABEL: name,
        "kubernetes.io/os": system,
        "kubernetes.io/arch": _ARCHITECTURES.get(machine, machine),
    }


class Registration:
    """Writes the Node once, and renews the Lease every quarter of its time while `heartbeat` is on.

    Without heartbeat an idle node writes nothing (law L9). Next to a real kube-controller-manager that runs the node lifecycle
    controller it must be on, else the node is declared lost.
    """

    def __init__(
        self,
        client: Client,
        *,
        name: str,
        offers: Quantities,
        clock: Clock,
        heartbeat: bool,
        log_port: int | None = None,
    ) -> None:
        self._client = client
        self._name = name
        self._offers = offers
        self._clock = clock
        self._heartbeat = heartbeat
        self.log_port = log_port
        """Port of the log endpoint, when there is one; set before `register`."""

    async def register(self) -> None:
        """Create or renew the Node object. Raises KubeError."""
        meta = {"name": self._name, "labels": labels(self._name), "annotations": {LIMITS_ANNOTATION: LIMITS}}
        await self._client.apply(NODES, {"metadata": meta}, field_manager=FIELD_MANAGER)
        await self._client.patch(
            NODES, self._name, {"status": self._status(ready=True)}, subresource="status", field_manager=FIELD_MANAGER
        )

    async def sign_off(self) -> None:
        """Say that the node is not ready any more. What goes wrong here is of no consequence."""
        try:
            conditions = self._status(ready=False)["conditions"]
            await self._client.patch(
                NODES,
                self._name,
                {"status": {"conditions": conditions}},
                subresource="status",
                field_manager=FIELD_MANAGER,
            )
        except KubeError:
            return

    async def run(self) -> None:
        """Renew the Lease until cancelled; return at once without heartbeat."""
        while self._heartbeat:
            await self._renew()
            await self._clock.sleep(LEASE_SECONDS / 4)

    def _status(self, *, ready: bool) -> Manifest:
        now = timestamps.seconds(self._clock.now())
        words = (
            ("True", "KubeletReady", "the local node runs")
            if ready
            else ("False", "NodeStopped", "the local node has stopped")
        )
        calm: tuple[tuple[str, str], ...] = (
            ("MemoryPressure", "KubeletHasSufficientMemory"),
            ("DiskPressure", "KubeletHasNoDiskPressure"),
            ("PIDPressure", "KubeletHasSufficientPID"),
        )
        conditions = [_condition("Ready", *words, now)]
        conditions += [_condition(type_, "False", reason, "not watched by this node", now) for type_, reason in calm]
        status: dict[str, Any] = {
            "capacity": dict(self._offers),
            "allocatable": dict(self._offers),
            "conditions": conditions,
            "addresses": [{"type": "InternalIP", "address": LOOPBACK}, {"type": "Hostname", "address": self._name}],
            "nodeInfo": _node_info(),
        }
        if self.log_port is not None:
            status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": self.log_port}}
        return status

    async def _renew(self) -> None:
        now = timestamps.micros(self._clock.now())
        spec = {"holderIdentity": self._name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now}
        manifest = {"metadata": {"name": self._name, "namespace": _LEASE_NAMESPACE}, "spec": spec}
        try:
            await self._client.apply(LEASES, manifest, field_manager=FIELD_MANAGER)
        except NotFound:
            return  # the namespace is not there: nobody looks at leases
        except KubeError:
            return  # the next renewal comes soon


def _condition(type_: str, status: str, reason: str, message: str, now: str) -> Mapping[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }


def _node_info() -> Manifest:
    machine = platform.machine()
    return {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "operatingSystem": platform.system().lower(),
        "kernelVersion": platform.release(),
        "osImage": platform.system(),
        "containerRuntimeVersion": f"{DRIVER}://0",
        "kubeletVersion": "localkube",
        "kubeProxyVersion": "",
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
    }
