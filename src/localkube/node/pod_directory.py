"""What a node keeps on disk of a Pod, and how it finds that again after a crash. Blocking: call these in a thread.

Layout below `<state>/pods/<uid>/`:
    pod.json                              whose directory this is
    volumes/<volume>/                     emptyDir, secret, configMap and the like
    containers/<container>/root/          what DATAMOVER_ROOT names: links to volumes, tmp/, dev/termination-log
    containers/<container>/<n>.log        output of the n-th start, in CRI format (and <n>.log.1, the older half)
    containers/<container>/<n>.json       record of the n-th start; with "code" once it has ended
"""

import json
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kubekit.runtime.store import Key
from localkube.node.mounts import inside
from localkube.node.process import Exit, read_record
from localkube.node.walking import Parts, below, opened, remove_tree

MESSAGE_BYTES = 4096
FALLBACK_BYTES = 2048
FALLBACK_LINES = 80
_SEGMENT = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Attempt:
    """The n-th start of a container. `exit` is None when its end was not recorded: it went with its node."""

    number: int
    id: str
    exit: Exit | None


@dataclass(frozen=True, slots=True)
class PodDirectory:
    """The directory of one Pod."""

    path: Path

    def root(self, container: str) -> Path:
        """Return the container's root directory."""
        return self.path / "containers" / _checked(container) / "root"

    def volume(self, name: str) -> Path:
        """Return the directory of a volume that lives with the Pod."""
        return self.path / "volumes" / _checked(name)

    def log(self, container: str, number: int) -> Path:
        """Return the log of the n-th start."""
        return self.path / "containers" / _checked(container) / f"{number}.log"

    def record(self, container: str, number: int) -> Path:
        """Return the record of the n-th start."""
        return self.path / "containers" / _checked(container) / f"{number}.json"

    def make(self, key: Key) -> None:
        """Create the directory, readable by the node's user only: volumes below it may hold Secrets."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.path / "pod.json").write_text(json.dumps({"namespace": key.namespace, "name": key.name}))

    def key(self) -> Key | None:
        """Return whose directory this is; None when that was not written any more."""
        try:
            known = json.loads((self.path / "pod.json").read_bytes())
            return Key(known["namespace"], known["name"])
        except (OSError, ValueError, KeyError):
            return None

    def attempts(self, container: str) -> list[Attempt]:
        """Return the recorded starts of a container, first one first."""
        found: list[Attempt] = []
        for record in (self.path / "containers" / _checked(container)).glob("*.json"):
            id_, end = read_record(record)
            if id_ is not None and record.stem.isdigit():
                found.append(Attempt(int(record.stem), id_, end))
        return sorted(found, key=lambda attempt: attempt.number)

    def message(self, container: str, path: str, *, number: int, from_log: bool) -> str:
        """Return the termination message, at most 4096 bytes; with `from_log` the end of the log where there is none."""
        text = b""
        with suppress(OSError):
            text = _read_beginning(self.root(container), inside(Path(), path).parts)
        if not text and from_log:
            text = tail(self.log(container, number))
        return text.decode("utf-8", "replace")

    def remove_volumes(self) -> None:
        """Remove what lives with the Pod's containers; logs and records stay until the Pod goes."""
        remove_tree(self.path / "volumes")
        for container in (self.path / "containers").glob("*"):
            remove_tree(container / "root")

    def remove(self) -> None:
        """Remove everything."""
        remove_tree(self.path)


def _read_beginning(root: Path, parts: Parts) -> bytes:
    """Read a file that a container may have replaced: only a regular one, and only below the container's root. Raises OSError."""
    with opened(str(root)) as top, below(top, parts[:-1]) as directory:
        # a named pipe is opened without waiting for whoever writes to it
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(parts[-1], flags, dir_fd=directory), "rb") as file:
            return file.read(MESSAGE_BYTES) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""


def tail(log: Path) -> bytes:
    """Return the end of a log as a termination message shows it: at most 80 lines and 2048 bytes, without times."""
    with suppress(OSError):
        lines = log.read_bytes()[-FALLBACK_BYTES * 8 :].splitlines()[-FALLBACK_LINES:]
        text = b"\n".join(parts[3] for line in lines if len(parts := line.split(b" ", 3)) == 4)
        return text[-FALLBACK_BYTES:]
    return b""


def all_directories(pods: Path) -> list[tuple[str, PodDirectory]]:
    """Return (UID, directory) of every Pod that is on disk."""
    if not pods.is_dir():
        return []
    return [(entry.name, PodDirectory(entry)) for entry in sorted(pods.iterdir()) if entry.is_dir()]


def _checked(segment: str) -> str:
    if not _SEGMENT.fullmatch(segment) or ".." in segment:
        raise ValueError(f"{segment!r} is not a name")
    return segment
