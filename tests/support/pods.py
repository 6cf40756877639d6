"""Pods of tests, under the restricted Pod Security profile."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def restricted_pod(name: str, *, image: str, command: Sequence[str], claim: str = "", **more: Any) -> dict[str, Any]:
    """Return a Pod under the restricted profile, with a claim at /data if one is named."""
    mounts, volumes = [], []
    if claim:
        mounts.append({"name": "data", "mountPath": "/data"})
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": claim}})
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
                    "volumeMounts": [*mounts, *more.get("mounts", [])],
                }
            ],
            "volumes": [*volumes, *more.get("volumes", [])],
        },
    }


def processes_of(uid: str) -> list[int]:
    """Return the processes of a Pod's containers on this machine: its UID is in the names of their control groups."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if uid in (process / "cgroup").read_text() and b"/pause" not in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def signal_pod(uid: str, number: int) -> int:
    """Send a signal to all processes of a Pod on this machine; return how many there were."""
    processes = processes_of(uid)
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
    return len(processes)
