"""Standard output, which two read: people, and the operator, who takes lines of progress out of it.

Guarantees: no line holds a secret (law L8); what people see moves no cursor and is no longer than `LINE` letters, whatever a name or an
answer of the server holds (law L11); nothing but the agent itself begins a line for the operator. Once there is a progress it is within any
`REMINDER` lines, so that whoever reads the end of the log finds it, however many files are told one by one.
Caveats: what nobody listens to is lost, and that is no error.
"""

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from datamover.api import outside, transfer
from kubekit.words.text import SHAPELESS

REMINDER = 40
"""Lines for people after which the last progress is said again. The operator reads more than twice as many."""
LINE = 2000
"""Letters of a line for people."""
_MACHINE = '{"datamover"'
_SHAPELESS = re.compile(SHAPELESS)


class Output:
    """Writes lines. Safe in threads: logs are drained by them."""

    def __init__(self, stream: BinaryIO, *, redact: Callable[[str], str]) -> None:
        self._stream = stream
        self._redact = redact
        self._lock = threading.Lock()
        self._progress = ""
        self._lines = 0

    def say(self, text: str) -> None:
        """Write what people read: as many lines as it has, the later ones indented, so that none passes for one of its own."""
        # secrets first: one may have more than a line, or hold what is cleaned
        lines = [outside.clean(line, limit=LINE) for line in self._redact(text).rstrip("\n").split("\n")]
        with self._lock:
            for number, line in enumerate(lines):
                self._put(f"  {line}" if number or line.startswith(_MACHINE) else line)
                self._lines += 1
                if self._lines >= REMINDER and self._progress:
                    self._lines = 0
                    self._put(self._progress)

    def tell(self, line: str) -> None:
        """Write a line of JSON that the operator reads."""
        # JSON escapes no control character but the first 32, and people see these lines as well
        clean = _SHAPELESS.sub(_escape, self._redact(line))
        with self._lock:
            self._put(clean)
            if transfer.read_progress(clean) is not None:
                self._progress, self._lines = clean, 0

    def _put(self, line: str) -> None:
        with suppress(OSError):
            self._stream.write(line.encode("utf-8", "backslashreplace") + b"\n")
            self._stream.flush()


def _escape(match: re.Match[str]) -> str:
    """Return a letter as JSON may write it."""
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))
