"""Pods of tests, under the restricted Pod Security profile."""

from collections.abc import Sequence
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
