"""restic as a child process: finding the program, running one command of it, reading what it says while it runs.

Guarantees: those of `datamover.agent.children`. The password and all keys go by environment. What is kept of a command's complaints does not
grow with their number, and holds no secret (law L8).
"""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from datamover.agent.children import Child, Stop, find_wrapper, start_process
from datamover.agent.errors import Failure, killed_at_once
from datamover.agent.restic import messages
from datamover.agent.restic.messages import Message
from datamover.api import outside, transfer

OLDEST: Final = (0, 18)
_VERSION: Final = re.compile(r"restic (\d+)\.(\d+)(?:\.\d+)?\S*")
_KEPT: Final = 40
"""Lines that are kept of what a command complained of: the first half of them and the last one."""
_LONGEST: Final = 2000
_LIVE: Final = {"RESTIC_PROGRESS_FPS": "1"}
"""A line of progress a second is what anybody reads; as text it would only fill the log."""
_LOOK: Final = 0.1
_GRACE: Final = 5.0
_PATIENT: Final = 3
_PATIENCE: Final = 30.0
"""Seconds in which restic tells its version."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended: its exit code, what it complained of, its summary if it gave one, and its standard output where that was asked for."""

    code: int
    timed_out: bool
    complaints: tuple[Message, ...]
    summary: Message | None
    output: bytes

    @property
    def text(self) -> str:
        """All complaints as one text, to be searched."""
        return "\n".join(each.text for each in self.complaints)


class Restic:
    """Runs restic in the volume's directory."""

    def __init__(
        self,
        program: str,
        *,
        variables: Mapping[str, str],
        folder: str,
        scratch: str,
        stop: Stop,
        redact: Callable[[str], str],
        say: Callable[[str], None],
        hopeless: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`say` takes what people should read of it. `hopeless` tells of a complaint whether it is of no use to go on: restic repeats each request for
        a quarter of an hour, whatever the server said. It may be a whim of the server, so the third such complaint ends a command.
        """
        self._command = [*find_wrapper(search=variables.get("PATH")), program]
        self._variables = dict(variables)
        self._folder = folder
        self._scratch = scratch
        self._stop = stop
        self._redact = redact
        self._say = say
        self._hopeless = hopeless

    def run(
        self,
        *arguments: str,
        on_message: Callable[[Message], None] | None = None,
        answer: bool = False,
        quiet: bool = False,
        timeout: float | None = None,
        patience: int = _PATIENT,
    ) -> Answer:
        """Run a command to its end. Raises Stopped.

        `answer`: its standard output is an answer, which is returned; else it is read as it comes, and given to `on_message`. `quiet`: its
        complaints are not shown, because they may be what was expected. With so many hopeless complaints as `patience` says, it is ended.
        """
        self._stop.check()
        kept = _Complaints()
        summary: Message | None = None
        give_up = threading.Event()
        hopeless = 0

        def take(raw: bytes) -> None:
            nonlocal summary, hopeless
            message = messages.read_line(raw)
            if message.message_type == messages.SUMMARY:
                summary = message
            elif message.message_type in ("", messages.ERROR, messages.EXIT_ERROR):
                message = self._clean(message)
                if message.text.strip():
                    kept.add(message)
                    if not quiet:
                        self._say(message.text)
                    hopeless += self._hopeless(message.text)
                    if hopeless >= patience:
                        give_up.set()
            if on_message is not None:
                on_message(message)

        path = f"{self._scratch}/answer"
        process = start_process(
            [*self._command, *arguments],
            stop=self._stop,
            environment=self._variables | (_LIVE if "--json" in arguments else {}),
            piped=not answer,
            merged=not answer,
            output=path if answer else None,
            folder=self._folder,
        )
        child = Child(process, stop=self._stop, on_line=take)
        try:
            code = self._wait(child, give_up, timeout=timeout)
        finally:
            child.close()
        return Answer(
            code=code,
            timed_out=child.timed_out,
            complaints=kept.messages(),
            summary=summary,
            output=_read(path) if answer else b"",
        )

    def _wait(self, child: Child, give_up: threading.Event, *, timeout: float | None) -> int:
        """Wait for the end of a command, at most so long and not beyond the moment from which it is of no use."""
        end = time.monotonic() + timeout if timeout is not None else float("inf")
        while not child.ended_within(_LOOK):
            if give_up.is_set():
                child.end(grace=_GRACE)
                break
            if time.monotonic() >= end:
                child.expire()
                break
        return child.wait()

    def _clean(self, message: Message) -> Message:
        """Take secrets and tricks out of what is kept and shown; secrets first, because what is cut may be half of one."""
        said, item = (
            outside.clean(self._redact(part), limit=_LONGEST)
            for part in (message.message or message.error.message, message.item)
        )
        return msgspec.structs.replace(message, message=said, item=item)


class _Complaints:
    """The first lines of a text and its last ones."""

    def __init__(self) -> None:
        self._first: list[Message] = []
        self._last: list[Message] = []

    def add(self, message: Message) -> None:
        if len(self._first) < _KEPT // 2:
            self._first.append(message)
        else:
            self._last = [*self._last[-(_KEPT // 2 - 1) :], message]

    def messages(self) -> tuple[Message, ...]:
        return (*self._first, *self._last)


def find_restic(given: str, *, search: str | None) -> str:
    """Return the path of restic: the one given, or on `search` (PATH). Raises Failure."""
    import shutil

    found = shutil.which(given) if given else shutil.which("restic", path=search)
    if not found:
        raise Failure(
            transfer.CONFIG,
            transfer.REASON_ENGINE_MISSING,
            f"restic was not found ({given or 'on PATH'}). Use a mover image that has it, install restic {_written(OLDEST)} or newer,"
            f" or set {transfer.RESTIC}.",
        )
    return os.path.abspath(found)  # noqa: PTH100 - a start-up budget that pathlib would take a tenth of


def read_version(restic: Restic) -> str:
    """Return the name and version of restic. Raises Failure when it is too old for what it is asked."""
    answer = restic.run("version", answer=True, timeout=_PATIENCE)
    if answer.code == -signal.SIGKILL:
        raise killed_at_once("restic", timed_out=answer.timed_out)
    said = outside.clean(answer.output.decode("utf-8", "replace").partition("\n")[0], limit=outside.NAME_LIMIT)
    match = _VERSION.match(said)
    if not match or (int(match[1]), int(match[2])) < OLDEST:
        raise Failure(
            transfer.CONFIG,
            transfer.REASON_ENGINE_MISSING,
            f"This mover needs restic {_written(OLDEST)} or newer, and found {said or 'a program that does not tell its version'!r}."
            f" Use a mover image that has it, or set {transfer.RESTIC}.",
        )
    return match[0]


def _written(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - as above
        return file.read(outside.ANSWER_LIMIT + 1)
