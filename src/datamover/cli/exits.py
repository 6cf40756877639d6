"""Exit codes of commands that run objects. In a module of its own: each start of the command line needs them, and what tells of outcomes takes a tenth
of a second to import.
"""

from enum import IntEnum


class Verdict(int):
    """An exit code that tells what became of something else than the output: it stays what it is when that cannot be written."""


class Exit(IntEnum):
    """Exit codes of `datamover run`, documented in docs/cli.md."""

    COMPLETED = 0
    FAILED = 1
    USAGE = 2
    BLOCKED = 3
    TIMEOUT = 4
    CANCELLED = 5
    INTERRUPTED = 130
