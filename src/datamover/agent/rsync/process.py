"""rsync as a child process: starting it, reading what it prints while it runs, and how it ended.

Guarantees: those of `datamover.agent.children`; whatever rsync and its peer print is read in bounded pieces, and nobody blocks on it.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence

import msgspec

from datamover.agent import children
from datamover.agent.children import Stop
from datamover.agent.progress import Reporter
from datamover.agent.rsync import output
from datamover.agent.rsync.causes import Complaints
from datamover.agent.rsync.confinement import Reach, run_confined
from datamover.agent.rsync.output import Advance, Statistics

_KEPT = 64
"""Lines of the end that statistics are read from; there are about fifteen."""
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
"""Variables that a child gets. RSYNC_* would change what it does, and others may hold secrets (law L8)."""


def child_environment(environ: Mapping[str, str], **more: str) -> dict[str, str]:
    """Return the environment of a child: what every program needs, and what is given here."""
    kept = {name: environ[name] for name in _PASSED_ON if name in environ}
    # rsync would translate names and messages by the locale
    return {**kept, "LC_ALL": "C", **more}


class Ended(msgspec.Struct, frozen=True):
    """How a run of rsync ended."""

    code: int
    statistics: Statistics
    complaints: Complaints

    def check(self, *, peer: str) -> None:
        """Raise Failure when it did not end well."""
        if self.code:
            raise self.complaints.explain(self.code, peer=peer)


class Child(children.Child):
    """A running program whose log and output come together in the order in which they were written."""

    def follow(self, on_line: Callable[[bytes], None]) -> int:
        """Give every line to `on_line`, in this thread, until the process ends; return its exit code. Raises Stopped when the attempt is to end."""
        self.read(on_line)
        return self.wait()

    def read(self, on_line: Callable[[bytes], None]) -> None:
        """Give every line to `on_line`, in this thread, until the process closes its output."""
        pipe = self._process.stdout
        if pipe is None:
            return
        splitter = output.Splitter()
        while piece := os.read(pipe.fileno(), 1 << 16):
            for line in splitter.feed(piece):
                on_line(line)
        for line in splitter.end():
            on_line(line)


def start(
    command: Sequence[str | bytes], *, stop: Stop, environment: Mapping[str, str], folder: str | None = None
) -> Child:
    """Start a program in `folder`; `stop` ends it."""
    stop.check()
    process = children.start_process(
        command, stop=stop, environment=environment, piped=True, merged=True, folder=folder
    )
    return Child(process, stop=stop, on_line=None)


class Rsync:
    """Runs rsync. `say` takes each of its lines for people, `advance` how far it is."""

    def __init__(
        self,
        program: str,
        *,
        stop: Stop,
        environment: Mapping[str, str],
        say: Callable[[str], None],
        advance: Callable[[Advance], None] = lambda _: None,
        wrapper: Sequence[str] = (),
        reach: Reach | None = None,
    ) -> None:
        """`environment` is that of the child (see `child_environment`); `wrapper` goes before the command; `reach`: what rsync may touch, None for
        everything.
        """
        self._command = [*wrapper, program]
        self._stop = stop
        self._environment = environment
        self._say = say
        self._advance = advance
        self._reach = reach

    def run(self, arguments: Sequence[str | bytes], *, folder: str | None = None, quiet: bool = False) -> Ended:
        """Run it to its end. `quiet`: only what goes wrong is said, and no progress. Raises Stopped."""
        complaints = Complaints()
        kept: list[str] = []

        def take(raw: bytes) -> None:
            found = output.read_advance(raw)
            if found is not None:
                if not quiet:
                    self._advance(found)
                return
            line = raw.decode("utf-8", "backslashreplace")
            wrong = complaints.take(line)
            kept.append(line)
            del kept[:-_KEPT]
            if wrong or not quiet:
                self._say(line)

        code = self._follow([*self._command, *arguments], take, folder=folder)
        return Ended(code=code, statistics=output.read_statistics(kept), complaints=complaints)

    def list_folder(self, arguments: Sequence[str | bytes], *, folders: bool) -> tuple[Ended, bool]:
        """Run `rsync --list-only`; return how it ended, and whether it lists anything but the folder itself: a file, or a folder if `folders` count.

        Entries are looked at, not kept; all else that it prints is said, for it may be why there is no listing.
        """
        complaints = Complaints()
        found = False

        def take(raw: bytes) -> None:
            nonlocal found
            line = raw.decode("utf-8", "backslashreplace")
            wrong = complaints.take(line)
            name = "" if wrong else listed_name(line)
            if not name:
                self._say(line)
            elif name != ".":
                found = found or folders or not line.startswith("d")

        code = self._follow([*self._command, "--list-only", *arguments], take)
        return Ended(code=code, statistics=Statistics(), complaints=complaints), found

    def _follow(
        self, command: Sequence[str | bytes], take: Callable[[bytes], None], *, folder: str | None = None
    ) -> int:
        """Run a command and give each of its lines to `take`; return its exit code. Raises Stopped."""

        def begin() -> Child:
            return start(command, stop=self._stop, environment=self._environment, folder=folder)

        over = threading.Event()
        child = begin() if self._reach is None else run_confined(begin, reach=self._reach, until=over)
        try:
            return child.follow(take)
        finally:
            child.close()
            over.set()


def listed_name(line: str) -> str:
    """Return the name in a line of a listing, or empty: it stands behind mode, size, date and time."""
    words = line.split(None, 4)
    if len(words) < 5 or len(words[0]) != 10 or words[0][0] not in "-dlcbps":
        return ""
    return words[4]


def report_advance(found: Advance, *, to: Reporter) -> None:
    """Tell the operator how far a pass is. The whole is reckoned from the share, and grows while rsync still looks for files."""
    total = found.size * 100 // found.percent if found.percent else found.size
    to.advance(
        files=max(0, found.total - found.left),
        size=found.size,
        total_files=found.total,
        total_size=max(total, found.size),
        speed=round(found.speed, 1),
        errors=0,
    )
