"""The importer in a directory that stands for its container: in this process for what ends by itself, else as a process (`support.agent.Container`)."""

import contextlib
import hashlib
import io
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from datamover.agent import shell
from datamover.agent.importer import entry
from datamover.api import transfer
from support.agent import Container, Ended

MIB = 1 << 20


@dataclass
class Volume:
    """A container with a Filesystem volume, and a file in the place of a device (`device`)."""

    root: Path

    def __post_init__(self) -> None:
        for name in ("data", "scratch", "dev"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def disk(self) -> Path:
        return self.data / "disk.img"

    @property
    def device(self) -> Path:
        return self.root / "dev" / "target"

    def make_device(self, size: int, *, old: bytes = b"") -> Path:
        """Make a device whose bytes are `old` again and again, or none."""
        self.device.write_bytes((old * (size // max(1, len(old)) + 1))[:size] if old else b"")
        os.truncate(self.device, size)
        return self.device

    def variables(self, **changes: str) -> dict[str, str]:
        base = {
            "DATAMOVER_ROOT": str(self.root),
            "DATAMOVER_RUN_ID": "run-1",
            "PATH": os.environ.get("PATH", ""),
            "SOURCE": "http",
            "VOLUME_MODE": "Filesystem",
            "CONTENT_TYPE": "kubevirt",
            "TARGET_SIZE": str(8 * MIB),
            "DATAMOVER_OUTAGE_LIMIT": "3",
        }
        return base | changes

    def run(self, **changes: str) -> Ended:
        """Run the importer to its end, in a thread: signals are this process's own."""
        message = self.root / "dev" / "termination-log"
        message.write_bytes(b"")
        stream, codes = io.BytesIO(), list[int]()
        variables = self.variables(**changes)
        thread = threading.Thread(
            target=lambda: codes.append(shell.run(entry.prepare, variables, stream=stream)), daemon=True
        )
        thread.start()
        thread.join(60)
        assert codes, "it did not end"
        return Ended(codes[0], stream.getvalue().decode(), "", message.read_bytes())

    def container(self, **changes: str) -> Container:
        """Return the same container for a process of its own."""
        return Container(self.root, self.variables(**changes), arguments=["importer"])

    def left(self) -> list[str]:
        """Return the names in the volume."""
        return sorted(os.listdir(self.data))


def noise(size: int, *, seed: str = "image") -> bytes:
    """Return bytes that look like nothing, always the same ones."""
    return hashlib.shake_128(seed.encode()).digest(size)


def refused(ended: Ended, reason: str) -> transfer.Outcome:
    """Return the outcome of an importer that ended with this reason, and left no disk."""
    outcome = ended.outcome
    assert (outcome.succeeded, outcome.reason) == (False, reason), (outcome, ended.output)
    assert outcome.message.endswith("."), outcome.message
    return outcome


def succeeded(ended: Ended) -> transfer.Outcome:
    outcome = ended.outcome
    assert (outcome.succeeded, ended.code) == (True, 0), (outcome, ended.output)
    return outcome


@contextlib.contextmanager
def environment(**changes: str):
    """Let this process have these variables for a while."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
