"""What the machine must have, and the settings of it that the cluster changes and puts back."""

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.layout import ClusterError, Layout

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
PLUGINS = ("bridge", "host-local", "loopback", "portmap")
"""CNI plugins. Each distribution has a place of its own for them."""
_PLUGIN_FOLDERS = ("/usr/lib/cni", "/usr/libexec/cni", "/opt/cni/bin")
_PLUGIN_PACKAGE = "containernetworking-plugins"
_PROGRAM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")
_SETTINGS = {"/proc/sys/net/ipv4/ip_forward": "1"}
_CGROUPS = Path("/sys/fs/cgroup")


class MachineError(ClusterError):
    """The machine cannot carry the cluster. The message says the cure."""


def say(message: str) -> None:
    """Tell the user on stderr; stdout is for answers."""
    print(f"cluster: {message}", file=sys.stderr, flush=True)


def demand_root() -> None:
    """Raise MachineError unless this is Linux and we are root; have root's programs found, also where PATH is another user's."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise MachineError("the cluster's parts need Linux and root. Cure: run it as root, on a machine of your own")
    folders = [folder for folder in os.environ.get("PATH", "").split(":") if folder]
    missing = [folder for folder in _PROGRAM_FOLDERS if folder not in folders]
    os.environ["PATH"] = ":".join((*folders, *missing))


def find_plugins() -> Path | None:
    """Return the folder of the CNI plugins: of `$CNI_PATH` (several with colons between), else of the usual places. None without one."""
    named = [folder for folder in os.environ.get("CNI_PATH", "").split(":") if folder]
    for folder in map(Path, (*named, *_PLUGIN_FOLDERS)):
        if all((folder / name).is_file() for name in PLUGINS):
            return folder
    return None


def prepare_machine() -> None:
    """Install what the cluster needs and is missing. Raises MachineError with the cure."""
    install_missing(PACKAGES, also=() if find_plugins() is not None else (_PLUGIN_PACKAGE,))


def install_missing(packages: Mapping[str, str], *, also: Sequence[str] = ()) -> None:
    """Install the packages (by program) whose programs are missing, where this is a Debian machine, and `also`.

    Raises MachineError with the cure where it is another one, or apt-get cannot.
    """
    wanted = sorted({package for program, package in packages.items() if shutil.which(program) is None} | set(also))
    if not wanted:
        return
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
        fresh = layout.before.with_suffix(".new")
        fresh.write_text(json.dumps({path: Path(path).read_text().strip() for path in _SETTINGS}))
        fresh.rename(layout.before)
    for path, value in _SETTINGS.items():
        Path(path).write_text(value)


def restore_settings(layout: Layout) -> None:
    """Put back what was set before."""
    if layout.before.exists():
        for path, value in json.loads(layout.before.read_text()).items():
            Path(path).write_text(value)
        layout.before.unlink()


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


def pod_groups(layout: Layout) -> list[Path]:
    """Return the control groups of our kubelet's Pods, in every hierarchy."""
    names = {f"pod{folder.name}" for folder in (layout.kubelet / "pods").glob("*")}
    return [group for root in _group_roots() for group in root.rglob("pod*") if group.name in names]


def remove_cgroups(layout: Layout) -> None:
    """Remove the control groups of our kubelet's Pods, and those above them where no other kubelet has Pods in them.

    None with a process in it is removed: the kernel refuses that.
    """
    deadline = time.monotonic() + 5
    for group in pod_groups(layout):
        for folder in sorted((each for each in group.rglob("*") if each.is_dir()), reverse=True):
            _remove_group(folder, deadline)
        _remove_group(group, deadline)
    for root in _group_roots():
        for folder in (root / "burstable", root / "besteffort", root):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _group_roots() -> list[Path]:
    return [root for root in (*_CGROUPS.glob("*/kubepods"), _CGROUPS / "kubepods") if root.is_dir()]


def _remove_group(path: Path, deadline: float) -> None:
    """Remove an empty group. A process that was killed stays in it until its parent has taken note."""
    while True:
        try:
            path.rmdir()
        except OSError as error:
            if error.errno == errno.EBUSY and time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            say(f"{path} stays: {error.strerror}")
        return
