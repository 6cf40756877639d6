"""The Pod that every mover runs in: restricted Pod Security, no API token, the volume read-only. Pure."""

from typing import Any, Final

import msgspec

from datamover.api.pods import Mover, PodSecurityContext
from kubekit.words.meta import Manifest

NOBODY: Final = 65534
TERMINATION_GRACE_SECONDS: Final = 60  # the engine stops cleanly and the outcome is written within this
DATA_VOLUME: Final = "restored-data"  # (original operator)
CONFIG_VOLUME: Final = "config-dir"  # (original operator)


def build_pod_spec(*, container: Manifest, claim: str, mover: Mover, read_only: bool = False) -> Manifest:
    """Return the Pod's spec around one container that reads `claim` at /data/ and may write to /config.

    `read_only`: the node itself mounts the volume read-only. It then leaves its ownership alone, where it would otherwise hand every file
    to fsGroup, and its SELinux labels, which cannot be written on a volume that only has ReadOnlyMany.
    """
    spec: Manifest = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": TERMINATION_GRACE_SECONDS,
        # A Service called rclone would otherwise put RCLONE_ variables into the environment.
        "enableServiceLinks": False,
        # the mover asks the API server nothing; a cloud's webhook brings tokens of its own for a role
        "automountServiceAccountToken": False,
        "securityContext": pod_security_context(mover.security_context),
        "containers": [
            {
                **container,
                "terminationMessagePolicy": "File",
                "securityContext": container_security_context(mover.security_context),
                "volumeMounts": [
                    {"name": DATA_VOLUME, "mountPath": "/data/", "readOnly": True},
                    {"name": CONFIG_VOLUME, "mountPath": "/config"},
                ],
                **({"resources": msgspec.to_builtins(mover.resources)} if mover.resources else {}),
            }
        ],
        "volumes": [
            {
                "name": DATA_VOLUME,
                "persistentVolumeClaim": {"claimName": claim, **({"readOnly": True} if read_only else {})},
            },
            {"name": CONFIG_VOLUME, "emptyDir": {}},
        ],
    }
    optional: dict[str, Any] = {
        "nodeSelector": mover.node_selector,
        "tolerations": mover.tolerations,
        "affinity": mover.affinity,
        "priorityClassName": mover.priority_class_name,
        "serviceAccountName": mover.service_account_name,
        "imagePullSecrets": mover.image_pull_secrets,
    }
    spec.update({key: msgspec.to_builtins(value) for key, value in optional.items() if value})
    return spec


def pod_security_context(chosen: PodSecurityContext | None) -> Manifest:
    """Return the Pod's security context: the restricted profile, with what the user chose on top."""
    context: Manifest = {
        "runAsNonRoot": True,
        "runAsUser": NOBODY,
        "runAsGroup": NOBODY,
        "fsGroup": NOBODY,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if chosen is not None:
        context.update(msgspec.to_builtins(chosen))
        if chosen.run_as_user == 0:
            if chosen.run_as_non_root is None:
                context["runAsNonRoot"] = False
            if chosen.fs_group is None:
                # Root reads everything as it is. The node would hand group and group rights of every file of the copy to the group, and the
                # manifest would say so: a database that is restored from it refuses to start.
                del context["fsGroup"], context["fsGroupChangePolicy"]
    return context


def container_security_context(chosen: PodSecurityContext | None) -> Manifest:
    """Return the container's security context. Reading as root needs one capability back, else 0600 files stay closed."""
    root = chosen is not None and chosen.run_as_user == 0
    capabilities: Manifest = {"drop": ["ALL"]}
    if root:
        capabilities["add"] = ["DAC_READ_SEARCH"]
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": capabilities,
        **({} if root else {"runAsNonRoot": True}),
    }
