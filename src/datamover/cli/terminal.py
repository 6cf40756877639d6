"""Standard streams whose errors end no command: what the locale cannot show is escaped, and a closed pipe causes no traceback.

Guarantees: writing to `sys.stdout` and `sys.stderr` raises nothing, in any locale, closed or full; what went wrong is kept for `finish`.
A backup goes on and its exit code tells the truth when nobody reads it (law L10).
"""

import codecs
import errno
import io
import os
import select
import sys
import textwrap
from typing import Any, Final

from rich.console import Console
from rich.text import Text

BROKEN_PIPE: Final = 141
"""What a shell shows for a program that SIGPIPE ended; ours says the same and ends in order."""
_PIPED_WIDTH: Final = 160
"""Columns where no terminal says how many: lines that are cut at 80 are of no use to grep."""


_ESCAPE: Final = "datamover.escape"


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Escape characters that the stream cannot show. A byte of a file's name that is no text is shown as that byte."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    shown = (f"\\x{ord(x) - 0xDC00:02x}" if "\udc80" <= x <= "\udcff" else x for x in letters)
    return "".join(shown).encode("ascii", "backslashreplace"), error.end


codecs.register_error(_ESCAPE, _escape)


class Sink(io.RawIOBase):
    """A file descriptor whose writes never raise. `error` is that of the first write that failed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.error: OSError | None = None

    def writable(self) -> bool:
        """Always."""
        return True

    def isatty(self) -> bool:
        """Tell whether it is a terminal."""
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def write(self, data: Any, /) -> int:
        """Write all or some; after an error nothing, in silence."""
        while self.error is None:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.error = error
        return len(data)


class Streams:
    """Both streams, in the place of Python's own."""

    def __init__(self) -> None:
        _reopen_closed()
        self._out = Sink(1)
        self._err = Sink(2)
        sys.stdout = _text(self._out, sys.stdout)
        sys.stderr = _text(self._err, sys.stderr)
        if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - Python leaves None for a closed one
            sys.stdin = io.TextIOWrapper(io.BytesIO())

    def finish(self, code: int, *, is_verdict: bool) -> int:
        """Flush, say what could not be written, and return the exit code.

        A `verdict` is on something else than the output, and stays what it is.
        """
        sys.stdout.flush()
        error = self._out.error
        if error is not None and error.errno != errno.EPIPE:
            sys.stderr.write(f"datamover: standard output cannot be written: {error.strerror}\n")
        sys.stderr.flush()
        if error is None or is_verdict or code:
            return code
        return BROKEN_PIPE if error.errno == errno.EPIPE else 1


def _text(sink: Sink, before: Any) -> io.TextIOWrapper:
    encoding = getattr(before, "encoding", None) or "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(sink), encoding=encoding, errors=_ESCAPE, line_buffering=True)


def _reopen_closed() -> None:
    """Reopen closed descriptors 0 to 2 as /dev/null. Otherwise the next file that is opened would get their number, and what is printed."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free: this one


def open_console(*, stderr: bool = False) -> Console:
    """Return a console on one of the streams."""
    stream = sys.stderr if stderr else sys.stdout
    wide = not stream.isatty() and not os.environ.get("COLUMNS")
    return Console(stderr=stderr, width=_PIPED_WIDTH if wide else None)


def say(console: Console, line: str, *, style: str | None = None) -> None:
    """Print text as it is, without markup and without names of emoji (`a:key:b` is a path).

    A terminal gets whole words in each of its lines; a word that is longer than a line, such as a path, stays whole. A pipe gets one line.
    """
    for part in fit(console, line):
        console.print(Text(part), style=style, highlight=False, soft_wrap=True)


def _wrap(words: str, width: int) -> list[str]:
    return textwrap.wrap(words, width, break_long_words=False, break_on_hyphens=False, replace_whitespace=False)


def fit(console: Console, line: str) -> tuple[str, ...]:
    """Break a line between words for a terminal; without a terminal return it unchanged."""
    if not console.is_terminal:
        return (line,)
    return tuple(part for words in line.split("\n") for part in _wrap(words, console.width) or [""])


def warn(line: str) -> None:
    """Say something on standard error."""
    say(open_console(stderr=True), line)


def print_document(document: bytes) -> None:
    """Print JSON as UTF-8, whatever the locale is: that is what JSON is."""
    sys.stdout.flush()
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:
        sys.stdout.write(f"{document.decode()}\n")
        return
    binary.write(document + b"\n")
    binary.flush()
