"""Keeps the Node object: who this node is, what it offers, what it does not enforce."""

import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubekit.client.client import Client
from kubekit.client.errors import KubeError
from kubekit.runtime.clock import Clock
from kubekit.words import timestamps
from kubekit.words.meta import Manifest
from localkube.node.environment import LOOPBACK
from localkube.node.kinds import NODES, Quantities
from localkube.node.names import DRIVER, FIELD_MANAGER, HOSTNAME_LABEL, LIMITS, LIMITS_ANNOTATION

DEFAULT_MAX_PODS = 110
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
    """Writes the Node when it comes and when it goes. An idle node writes nothing (law L9)."""

    def __init__(self, client: Client, *, name: str, offers: Quantities, clock: Clock) -> None:
        self._client = client
        self._name = name
        self._offers = offers
        self._clock = clock

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
        return {
            "capacity": dict(self._offers),
            "allocatable": dict(self._offers),
            "conditions": conditions,
            "addresses": [{"type": "InternalIP", "address": LOOPBACK}, {"type": "Hostname", "address": self._name}],
            "nodeInfo": _node_info(),
        }


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
