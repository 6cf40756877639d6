"""The agent as a process, in a directory that stands for its container."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from datamover.api import transfer
from support.programs import GO
from support.s3 import find_rclone

MINIMAL = ("PATH", "LANG", "PYTHONPATH", "SSL_CERT_FILE")


@dataclass
class Ended:
    """An agent that has ended."""

    code: int
    output: str
    errors: str
    message: bytes

    @property
    def outcome(self) -> transfer.Outcome:
        """What the termination message says."""
        outcome = transfer.decode_outcome(self.message)
        assert outcome is not None, f"no outcome in {self.message!r}\n{self.output}\n{self.errors}"
        return outcome

    @property
    def progress(self) -> list[transfer.Progress]:
        """The progress lines."""
        return [found for line in self.output.splitlines() if (found := transfer.read_progress(line))]

    @property
    def said(self) -> str:
        """What people see: everything but the lines for machines."""
        return "\n".join(line for line in self.output.splitlines() if not line.startswith('{"datamover"'))


@dataclass
class Container:
    """A directory with data/, config/ and dev/ in it."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    wrapper: list[str] = field(default_factory=list)
    """A program and arguments that start the agent in another way, to take rights from it."""
    arguments: list[str] = field(default_factory=list)
    """The engine and its actions; none for a DataMover's."""

    def __post_init__(self) -> None:
        for name in ("data", "config", "dev"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    @property
    def data(self) -> Path:
        return self.root / "data"

    def variables(self, changes: Mapping[str, str | None]) -> dict[str, str]:
        """Return the environment of a run: nothing of ours but what a process needs, the container's, the changes (None unsets)."""
        engine = find_rclone()
        base = GO | {name: os.environ[name] for name in MINIMAL if name in os.environ}
        source = str(Path(transfer.__file__).parents[2])
        base |= {
            "PYTHONPATH": source,
            "DATAMOVER_ROOT": str(self.root),
            "DATAMOVER_OWNER_CLUSTER": "11111111-2222",
            "DATAMOVER_OWNER_NAMESPACE": "production",
            "DATAMOVER_OWNER_PVC": "app-data",
            **({"DATAMOVER_RCLONE": engine} if engine else {}),
        }
        merged: dict[str, str | None] = {**base, **self.environment, **changes}
        return {name: value for name, value in merged.items() if value is not None}

    @contextlib.contextmanager
    def start(self, **changes: str | None) -> Iterator["Running"]:
        """Start the agent; it is killed at the end of the block if it still runs."""
        message = self.root / "dev" / "termination-log"
        message.write_bytes(b"")
        process = subprocess.Popen(
            [*self.wrapper, sys.executable, "-m", "datamover.agent.main", *self.arguments],
            env=self.variables(changes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running = Running(process, message)
        try:
            yield running
        finally:
            if process.poll() is None:
                process.kill()
            running.wait()

    def run(self, *, timeout: float = 60, **changes: str | None) -> Ended:
        """Run the agent to its end."""
        with self.start(**changes) as running:
            return running.wait(timeout=timeout)


class Running:
    """An agent that runs; its output is collected by threads."""

    def __init__(self, process: subprocess.Popen[bytes], message: Path) -> None:
        self.process = process
        self._message = message
        self._lines: list[bytes] = []
        self._errors: list[bytes] = []
        self._threads = [
            threading.Thread(target=self._drain, args=(process.stdout, self._lines)),
            threading.Thread(target=self._drain, args=(process.stderr, self._errors)),
        ]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _drain(pipe, lines: list[bytes]) -> None:
        for line in pipe:
            lines.append(line)
        pipe.close()

    @property
    def output(self) -> str:
        """What it has written so far."""
        return b"".join(self._lines).decode("utf-8", "replace")

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def children(self) -> list[int]:
        """Return the pids of its children."""
        found: list[int] = []
        for task in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(pid) for pid in task.read_text().split()]
        return found

    def wait(self, *, timeout: float = 60) -> Ended:
        code = self.process.wait(timeout=timeout)
        for thread in self._threads:
            thread.join()
        return Ended(
            code=code,
            output=self.output,
            errors=b"".join(self._errors).decode("utf-8", "replace"),
            message=self._message.read_bytes(),
        )
