"""The rsync daemon of a destination: its configuration, and its end."""

import errno
import fcntl
import os
import time

import msgspec

from datamover.agent.errors import Failure
from datamover.api import transfer

DATA = "data"
CONTROL = "control"
COMPLETE = "complete"
"""The name of the file in `control` by which a source ends the server."""
_CONNECTIONS = 4
"""Connections at the same time. A source has one."""
_SETGID = 6
_CHOWN = 0


class Identity(msgspec.Struct, frozen=True):
    """Who the mover is: its user, and which capabilities it has."""

    user: int
    capabilities: int

    @property
    def is_root(self) -> bool:
        """Whether rsync will take itself for root, who changes its groups and gives files to their owners."""
        return self.user == 0

    def has(self, number: int) -> bool:
        """Whether it has a capability."""
        return bool(self.capabilities >> number & 1)


def own_identity() -> Identity:
    """Return who this process is."""
    capabilities = 0
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123 - start-up budget
        for line in file:
            if line.startswith("CapEff:"):
                capabilities = int(line.split()[1], 16)
    return Identity(os.geteuid(), capabilities)


def configure(*, data: str, control: str, log: str, lock: str, identity: Identity) -> str:
    """Return the daemon's configuration. Raises Failure for an identity by which no daemon can run."""
    if identity.is_root and not (identity.has(_SETGID) and identity.has(_CHOWN)):
        raise Failure(
            transfer.CONFIG,
            transfer.REASON_INVALID_CONFIGURATION,
            "The mover is root without the rights that root needs here: rsync's daemon sets its groups and gives files to their owners, and may not."
            " Set moverSecurityContext.runAsUser (and fsGroup) to the user of the files, or allow privileged movers in this namespace (annotation"
            " volsync.backube/privileged-movers).",
        )
    # a daemon of root would become nobody; one of anybody else stays who it is
    user = "uid = 0\ngid = *\n" if identity.is_root else ""
    return (
        f"use chroot = no\nreverse lookup = no\nlog file = {log}\nlist = yes\n{user}read only = no\nnumeric ids = yes\n"
        # not 1: the daemon of a pass may still end when the next pass begins
        f"max connections = {_CONNECTIONS}\nlock file = {lock}\n"
        # another project's sources send no keep-alives: whoever is gone is noticed by the tunnel
        "timeout = 0\n"
        f"[{DATA}]\ncomment = datamover\npath = {data}\nmunge symlinks = yes\n"
        f"[{CONTROL}]\ncomment = datamover\npath = {control}\nmunge symlinks = yes\n"
    )


def wait_gone(lock: str, *, seconds: float) -> bool:
    """Wait until no daemon is left, at most so long; return whether that is so. They are no children of ours, and each holds a part of `lock`."""
    end = time.monotonic() + seconds
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in {errno.EACCES, errno.EAGAIN} or time.monotonic() > end:
                    return False
                time.sleep(0.05)
            else:
                return True
    finally:
        os.close(handle)
