"""Restores without an engine: a tree, its manifest, and a store that is a dictionary. And processes that are killed at a certain step."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from hashlib import md5
from pathlib import Path
from typing import Any

from datamover.agent.errors import Failure
from datamover.agent.files import manifest, names
from datamover.agent.files.handles import enter_parent
from datamover.agent.files.walk import Tally, walk
from datamover.agent.restore.attempt import Attempt, Limits
from datamover.agent.restore.order import Order, Origin
from datamover.agent.restore.progress import Reporter
from datamover.agent.restore.wanted import File

CHANGING = frozenset(
    {
        "os.mkdir",
        "os.rename",
        "os.remove",
        "os.rmdir",
        "os.link",
        "os.symlink",
        "os.chmod",
        "os.chown",
        "os.setxattr",
        "os.removexattr",
        "os.utime",
        "os.truncate",
    }
)
"""What changes a directory, by the names of Python's audit events."""


class Shop:
    """A store that gives what it has. `objects` maps keys to contents; `before` hears of each file that is asked for, and may raise."""

    def __init__(self, objects: dict[bytes, bytes]) -> None:
        self.objects = objects
        self.asked: list[bytes] = []
        self.before: Callable[[File], None] = lambda _: None
        self.said = ""
        self._into = -1
        self._arrived: Callable[[File], None] = lambda _: None

    def fetcher(self, into: int, path: str, arrived: Callable[[File], None]) -> "Shop":
        self._into, self._arrived = into, arrived
        assert os.path.samestat(os.stat(path), os.fstat(into))
        return self

    def fetch(self, files: list[File]) -> None:
        for file in files:
            self.before(file)
            self._bring(file)
            self._arrived(file)

    def why_missing(self, file: File) -> str:
        return ""

    def fetch_sparse(self, file: File) -> str:
        self.before(file)
        self._bring(file)
        found = self.objects.get(file.key)
        wrong = found is not None and file.md5 and file.md5 != md5(found).hexdigest()
        return "it has another checksum" if wrong else ""

    def _bring(self, file: File) -> None:
        self.asked.append(file.key)
        if file.key not in self.objects:
            return
        with enter_parent(self._into, file.raw, make=True) as (folder, name):
            handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644, dir_fd=folder)
            with os.fdopen(handle, "wb") as out:
                out.write(self.objects[file.key])


class Backup:
    """What a mover leaves of a tree: a manifest, and the objects."""

    def __init__(self, source: Path, scratch: Path, *, run_id: str = "run-1", summed: bool = True) -> None:
        self.scratch = scratch
        self.run_id = run_id
        self.manifest = scratch / f"{run_id}.jsonl.gz"
        objects: dict[bytes, bytes] = {}
        writer = manifest.Writer(str(self.manifest), manifest.Header(run_id=run_id))
        top = os.fsencode(source)
        for key, _, _ in walk(top, tally=Tally(), add=writer.add, prefix_size=0, tick=lambda: None, frozen=True):
            path = os.path.join(top, names.raw_of(key))
            if os.path.isfile(path) and not os.path.islink(path):
                objects[key] = Path(os.fsdecode(path)).read_bytes()
        writer.close()
        self.shop = Shop(objects)
        self.sums = {key: md5(content).hexdigest() for key, content in objects.items()} if summed else {}

    def rewrite(self, entries: Iterable[manifest.Entry]) -> None:
        """Let the manifest say something else."""
        writer = manifest.Writer(str(self.manifest), manifest.Header(run_id=self.run_id))
        for entry in entries:
            writer.add(entry)
        writer.close()

    def attempt(
        self, directory: Path | str, *, stop: Callable[[], None] = lambda: None, place: str = "backups", **order: Any
    ) -> Attempt:
        scratch = self.scratch / f"attempt-{os.getpid()}-{time.monotonic_ns()}"
        scratch.mkdir()
        return Attempt(
            Order(directory=str(directory), **order),
            Origin(run_id=self.run_id, place=place, folder="", manifest=str(self.manifest)),
            sums=lambda: list(self.sums.items()),
            fetcher=self.shop.fetcher,
            limits=Limits(files=3, bytes=1 << 20),
            report=Reporter(self.run_id, write=lambda _: None, tell=lambda _: None, monotonic=time.monotonic),
            check_stop=stop,
            scratch=str(scratch),
        )

    def restore(self, directory: Path | str, **order: Any) -> Attempt:
        """Restore; return the attempt, closed. Raises what it raises."""
        attempt = self.attempt(directory, **order)
        try:
            attempt.run()
        finally:
            attempt.close()
        return attempt

    def refusal(self, directory: Path | str, **order: Any) -> tuple[Failure, str]:
        """Restore what must not succeed; return why not, and what the directory is then."""
        attempt = self.attempt(directory, **order)
        try:
            attempt.run()
        except Failure as failure:
            return failure, attempt.facts.target
        finally:
            attempt.close()
        raise AssertionError("it was restored")


def killed_at(step: int, act: Callable[[], object]) -> bool:
    """Run `act` in a process of its own that is killed right before the given one of its changes; return whether it came to that."""
    child = os.fork()
    if not child:
        steps = 0

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal steps
            changing = event in CHANGING or (
                event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
            )
            steps += bool(changing)
            if changing and steps == step:
                os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            sys.addaudithook(hook)
            act()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "it failed by itself"
    return False
