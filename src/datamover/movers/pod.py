"""The Pod that every mover runs in: restricted Pod Security, no API token, the data read-only unless said otherwise. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from datamover.api.pods import Mover, PodSecurityContext
from kubekit.words.meta import Manifest

NOBODY: Final = 65534
TERMINATION_GRACE_SECONDS: Final = 60  # the engine stops cleanly and the outcome is written within this
DATA_VOLUME: Final = "restored-data"  # (original operator)
CONFIG_VOLUME: Final = "config-dir"  # (original operator)


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume of the Pod and where its container sees it. `volume` is the volume's source as a Pod writes it, such as `{"emptyDir": {}}`."""

    name: str
    path: str
    volume: Manifest
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class RawDevice:
    """A Block volume of the Pod, and the device by which its container sees it."""

    name: str
    path: str
    volume: Manifest


def data_mount(claim: str, *, read_only_volume: bool = False, writable: bool = False) -> Mount:
    """Return the mount of the data at /data/. Only an engine that brings data back needs it `writable`.

    `read_only_volume`: the node itself mounts the volume read-only. It then leaves its ownership alone, where it would otherwise hand
    every file to fsGroup, and its SELinux labels, which cannot be written on a volume that only has ReadOnlyMany.
    """
    source = {"claimName": claim, **({"readOnly": True} if read_only_volume else {})}
    return Mount(DATA_VOLUME, "/data/", {"persistentVolumeClaim": source}, read_only=not writable)


def config_mount() -> Mount:
    """Return the mount of an empty folder at /config: the only place of the Pod that a mover may write to."""
    return Mount(CONFIG_VOLUME, "/config", {"emptyDir": {}})


def build_pod_spec(
    *,
    container: Manifest,
    mounts: Sequence[Mount],
    mover: Mover,
    capabilities: Sequence[str] = (),
    devices: Sequence[RawDevice] = (),
) -> Manifest:
    """Return the Pod's spec around one container.

    `capabilities` are what an engine needs on top of the restricted profile, which has none.
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
                "securityContext": container_security_context(mover.security_context, capabilities=capabilities),
                "volumeMounts": [
                    {"name": mount.name, "mountPath": mount.path, **({"readOnly": True} if mount.read_only else {})}
                    for mount in mounts
                ],
                **(
                    {"volumeDevices": [{"name": device.name, "devicePath": device.path} for device in devices]}
                    if devices
                    else {}
                ),
                **({"resources": msgspec.to_builtins(mover.resources)} if mover.resources else {}),
            }
        ],
        "volumes": [{"name": each.name, **each.volume} for each in (*mounts, *devices)],
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


def container_security_context(chosen: PodSecurityContext | None, *, capabilities: Sequence[str] = ()) -> Manifest:
    """Return the container's security context: no capability but those asked for."""
    root = chosen is not None and chosen.run_as_user == 0
    # Without it root, which has lost all capabilities, could not read files of mode 0600 of other users. The other one, which also lets write, is
    # admitted where this one is not (baseline Pod Security).
    reading = root and "DAC_OVERRIDE" not in capabilities
    added = dict.fromkeys((*(("DAC_READ_SEARCH",) if reading else ()), *capabilities))
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], **({"add": list(added)} if added else {})},
        **({} if root else {"runAsNonRoot": True}),
    }
