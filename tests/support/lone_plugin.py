"""Starts the one file where something is missing that a program usually finds: all other files, /proc, memory that may be executed."""

import ctypes
import os
import platform
import struct
import subprocess
from pathlib import Path

from support.one_file import NAME
from support.velero_host import VeleroHost

CONTROL_PLANE = "datamover.a-cup-of.coffee/hosted-control-plane"
RHCOS = "datamover.a-cup-of.coffee/kubevirt-rhcos"
CLAIM = {"kind": "PersistentVolumeClaim", "metadata": {"name": "a", "namespace": "b"}}
SKIPPED = {"velero.io/skip-from-backup": "true"}
MEMORY = 80_000_000
LACKS_NAMESPACES = "needs a mount namespace of its own"

# What a Pod has besides its image: /proc and /dev. Everything else in the new root is what lies in the folder $1, and none of it can be written.
_DEV = 'mount --bind "$1" "$1" && mount --rbind /dev "$1/dev" '
_PROC = '&& mount --rbind /proc "$1/proc" '
_ENTER = '&& mount -o remount,bind,ro "$1" && root="$1" && shift && exec chroot "$root" "$@"'

NO_EXECUTABLE_MEMORY = 'echo 2 > /proc/sys/vm/memfd_noexec && exec "$@"'
"""The setting of a hardened node, here of a namespace of processes."""


def alone(root: Path, *, proc: bool = True) -> list[str]:
    """Return the command that starts the file in /plugins of a root."""
    script = _DEV + (_PROC if proc else "") + _ENTER
    return ["unshare", "-rm", "sh", "-c", script, "sh", str(root), f"/plugins/{NAME}"]


def can_be_alone(root: Path) -> bool:
    """Tell whether this machine lets us make such a root."""
    probe = _DEV + _PROC
    return not subprocess.run(["unshare", "-rm", "sh", "-c", probe, "sh", root], check=False, timeout=20).returncode


def without_executable_memory(*command: str) -> list[str]:
    """Return the command that starts another one where nothing in memory may be executed."""
    return [
        "unshare",
        "-rpfm",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-c",
        NO_EXECUTABLE_MEMORY,
        "sh",
        *command,
    ]


def forbid_memory() -> None:
    """Refuse memfd_create to this process and its children, as a filter of system calls may do it."""
    machine, number = {"x86_64": (0xC000003E, 319), "aarch64": (0xC00000B7, 279)}[platform.machine()]
    instructions = [
        (0x20, 0, 0, 4),  # load the machine
        (0x15, 0, 3, machine),
        (0x20, 0, 0, 0),  # load the number of the call
        (0x15, 0, 1, number),
        (0x06, 0, 0, 0x00050001),  # refuse: EPERM
        (0x06, 0, 0, 0x7FFF0000),  # allow
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in instructions))
    program = struct.pack("HxxxxxxQ", len(instructions), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, program, 0, 0) == 0, os.strerror(ctypes.get_errno())  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def skips(host: VeleroHost) -> bool:
    """Tell whether it answers a call as it should."""
    return host.backup(RHCOS, CLAIM, {})[0]["metadata"]["annotations"] == SKIPPED
