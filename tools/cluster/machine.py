"""What the machine must have, and the settings of it that the cluster changes and puts back."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster.layout import BRIDGE, NODE_ADDRESS, POD_NETWORK, Layout

PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "mkfs.btrfs": "btrfs-progs",
    "ip": "iproute2",
    "losetup": "mount",
}
"""Programs and the Debian packages that have them."""
PLUGINS = Path("/usr/lib/cni")
_PLUGIN_PACKAGE = "containernetworking-plugins"
_SETTINGS = {"/proc/sys/net/ipv4/ip_forward": "1"}
_CGROUPS = Path("/sys/fs/cgroup")


class MachineError(RuntimeError):
    """The machine cannot carry the cluster. The message says the cure."""


def say(message: str) -> None:
    """Tell the user on stderr; stdout is for answers."""
    print(f"cluster: {message}", file=sys.stderr, flush=True)


def prepare_machine() -> None:
    """Install what is missing where this is a Debian machine. Raises MachineError with the cure where it is not."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise MachineError("the cluster's parts need Linux and root. Cure: run it as root, on a machine of your own")
    packages = {package for program, package in PACKAGES.items() if shutil.which(program) is None}
    if not all((PLUGINS / name).exists() for name in ("bridge", "host-local", "portmap", "loopback")):
        packages.add(_PLUGIN_PACKAGE)
    if not packages:
        return
    wanted = sorted(packages)
    if shutil.which("apt-get") is None:
        raise MachineError(f"missing: {', '.join(wanted)} (names of Debian packages). Cure: install them")
    say(f"installing {', '.join(wanted)} by apt-get")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *wanted]
    if _succeeds(install, environment):
        return
    _succeeds(["apt-get", "update", "-qq"], environment)  # a new machine has no lists yet
    if not _succeeds(install, environment):
        raise MachineError(f"apt-get could not install {', '.join(wanted)}. Cure: run `{' '.join(install)}` and read")


def _succeeds(command: Sequence[str], environment: dict[str, str]) -> bool:
    return subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode == 0


def change_settings(layout: Layout) -> None:
    """Let the kernel forward packets; what was set before is noted, once."""
    if not layout.before.exists():
        layout.before.write_text(json.dumps({path: Path(path).read_text().strip() for path in _SETTINGS}))
    for path, value in _SETTINGS.items():
        Path(path).write_text(value)


def restore_settings(layout: Layout) -> None:
    """Put back what was set before."""
    if layout.before.exists():
        for path, value in json.loads(layout.before.read_text()).items():
            Path(path).write_text(value)
        layout.before.unlink()


def add_bridge() -> None:
    """Make the Pods' bridge, with the node's address. Raises MachineError when another network has that address."""
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        return
    prefix = POD_NETWORK.partition("/")[2]
    for command in (
        ["ip", "link", "add", BRIDGE, "type", "bridge"],
        ["ip", "address", "add", f"{NODE_ADDRESS}/{prefix}", "dev", BRIDGE],
        ["ip", "link", "set", BRIDGE, "up"],
    ):
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise MachineError(f"`{' '.join(command)}` failed: {answer.stderr.strip()}")


def remove_network() -> None:
    """Take away the bridge, the Pods' ends of it, and kube-proxy's rules."""
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        for port in sorted(Path(f"/sys/class/net/{BRIDGE}/brif").glob("*")):
            subprocess.run(["ip", "link", "delete", port.name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True, check=False)
    for family in ("ip", "ip6"):
        subprocess.run(["nft", "delete", "table", family, "kube-proxy"], capture_output=True, check=False)
    names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout.splitlines()
    for name in (line.split()[0] for line in names if line.startswith("cni-")):
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def unmount_below(directory: Path) -> None:
    """Unmount everything at and below a directory, the deepest first."""
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in table]
    inside = [point for point in points if Path(point) == directory or directory in Path(point).parents]
    for point in sorted(inside, key=lambda point: point.count("/"), reverse=True):
        if subprocess.run(["umount", point], capture_output=True, check=False).returncode:
            subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)


def detach_loops(directory: Path) -> None:
    """Give back the loop devices of files below a directory."""
    answer = subprocess.run(
        ["losetup", "--list", "--noheadings", "--raw", "--output", "NAME,BACK-FILE"],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in answer.stdout.splitlines():
        device, _, file = line.partition(" ")
        if directory in Path(file.removesuffix(" (deleted)")).parents:
            subprocess.run(["losetup", "--detach", device], capture_output=True, check=False)


def remove_cgroups() -> None:
    """Remove the empty control groups that the kubelet made."""
    for root in [*_CGROUPS.glob("*/kubepods"), _CGROUPS / "kubepods"]:
        if root.is_dir():
            for folder in sorted((each for each in root.rglob("*") if each.is_dir()), reverse=True):
                _remove_directory(folder)
            _remove_directory(root)


def _remove_directory(path: Path) -> None:
    try:
        path.rmdir()
    except OSError as error:
        say(f"{path} stays: {error.strerror}")
