"""How storage is started: one file system on a file, our driver, and the provisioner and snapshotter that drive it."""

import os
import subprocess
from pathlib import Path

from cluster.credentials import kubeconfig_of
from cluster.daemons import Daemon
from cluster.layout import DRIVER, NODE, Layout
from cluster.machine import MachineError, say

SIZE = 24 << 30
"""Bytes that all volumes may take together; the file is sparse."""
_FILE_SYSTEMS = Path("/proc/filesystems")


def mount_volumes(layout: Layout) -> None:
    """Make the file system of the volumes and mount it. Where the kernel has no btrfs, volumes are plain directories.

    Raises MachineError when it has btrfs, and the file system cannot be mounted all the same.
    """
    if not os.path.ismount(layout.volumes) and not _mount(layout):
        return
    # also when it was mounted: the `up` that did it may have ended there
    _run("btrfs", "quota", "enable", str(layout.volumes))


def _mount(layout: Layout) -> bool:
    layout.volumes.mkdir(parents=True, exist_ok=True)
    if not layout.volumes_image.exists():
        fresh = layout.volumes_image.with_suffix(".new")
        with fresh.open("wb") as file:
            file.truncate(SIZE)
        _run("mkfs.btrfs", "--quiet", "--force", str(fresh))
        fresh.rename(layout.volumes_image)
    answer = subprocess.run(
        ["mount", "-o", "loop,noatime", layout.volumes_image, layout.volumes],
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode == 0:
        return True
    reason = answer.stderr.strip()
    if "btrfs" in _FILE_SYSTEMS.read_text().split():  # mount(8) has brought the kernel's module, if there is one
        raise MachineError(f"{layout.volumes_image} cannot be mounted, though the kernel has btrfs: {reason}")
    say(f"btrfs cannot be mounted ({reason}): volumes are directories, and copies not of one moment")
    return False


def daemons(layout: Layout, programs: Path) -> dict[str, Daemon]:
    """Return the parts by name, in the order in which they start."""
    address = f"--csi-address={layout.driver_socket}"
    commands = {
        "storage-driver": [
            str(programs / "storage"),
            f"--endpoint={layout.driver_socket}",
            f"--directory={layout.volumes}",
            f"--node={NODE}",
            f"--driver-name={DRIVER}",
            f"--registration-directory={layout.registrations}",
        ],
        "csi-provisioner": [
            str(programs / "csi-provisioner"),
            address,
            f"--kubeconfig={kubeconfig_of(layout, 'provisioner')}",
            "--feature-gates=Topology=true",
            "--strict-topology=false",
            "--extra-create-metadata",
            "--timeout=30s",
            "--retry-interval-start=250ms",
            "--retry-interval-max=5s",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            "--http-endpoint=",
        ],
        "csi-snapshotter": [
            str(programs / "csi-snapshotter"),
            address,
            f"--kubeconfig={kubeconfig_of(layout, 'snapshotter')}",
            "--timeout=30s",
            "--retry-interval-start=250ms",
            "--retry-interval-max=5s",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ],
        "snapshot-controller": [
            str(programs / "snapshot-controller"),
            f"--kubeconfig={kubeconfig_of(layout, 'snapshot-controller')}",
            "--leader-election=false",
            "--retry-interval-start=250ms",
            "--retry-interval-max=5s",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ],
    }
    environment = {"NODE_NAME": NODE, "POD_NAMESPACE": "kube-system", "NAMESPACE": "kube-system"}
    return {name: Daemon(name, layout, command, environment) for name, command in commands.items()}


def _run(*command: str) -> None:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise MachineError(f"`{' '.join(command)}` failed: {answer.stderr.strip()}")
