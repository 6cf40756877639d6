"""The path at the remote: small questions to it, and what its errors mean."""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

import msgspec

from datamover.agent.errors import Failure
from datamover.agent.rclone import classify, logs, process
from datamover.agent.rclone_conf import words
from datamover.agent.rclone_conf.variables import for_one_file
from datamover.api import outside, transfer
from datamover.api.outside import Unusable

T = TypeVar("T")

_NOT_THERE = (3, 4)
"""Exit codes of rclone for a folder or file that is not there."""
_LOOK = 0.05
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 8.0
_LOCAL_FULL = transfer.REASON_NO_LOCAL_SPACE
_NO_TIMES = 100 * 365 * 24 * 3600 * 10**9
"""Nanoseconds to which rclone reckons the times of a remote that has none."""


class _Features(msgspec.Struct, frozen=True, rename="pascal"):
    precision: int = 0


_decode_features = outside.Decoder(_Features)


class Remote:
    """See the module. Fits `outage.Server`. `show` gets the log lines of commands that move or list; `wait` hears the server's trouble."""

    def __init__(
        self,
        engine: process.Engine,
        *,
        place: str,
        environment: Mapping[str, str],
        scratch: str,
        is_source: bool,
        show: Callable[[logs.Line], None],
        wait: Callable[[str], None],
        outage_limit: float,
    ) -> None:
        self.place = place
        self._engine = engine
        self._environment = dict(environment)
        self._scratch = scratch
        self._is_source = is_source
        self._show = show
        self._wait = wait
        self._outage_limit = outage_limit
        self._count = 0

    def explain(self, errors: classify.Errors, code: int, *, total: int | None = None) -> Failure:
        """Return what errors of the engine mean here."""
        section, _, path = self.place.partition(":")
        failure = errors.failure(
            code=code,
            place=self.place,
            bucket=path.partition("/")[0],
            endpoint=f"the remote [{section}]",
            total=total,
            sentences=words.sentences(is_source=self._is_source),
        )
        if failure.reason == _LOCAL_FULL and not self._is_source:
            # what is written on this side of a restore is the volume
            failure.reason = transfer.REASON_NO_SPACE
            failure.message = words.sentences(is_source=False)[transfer.REASON_NO_SPACE]
        return failure

    def start_question(self) -> process.Child:
        """Begin to ask whether the server answers at all: one request, one try, nothing shown."""
        return self._engine.start(
            ["lsf", "--max-depth", "1", "--", f"{self.place}.datamover-question/"],
            environment=for_one_file(self._environment) | {"RCLONE_LOW_LEVEL_RETRIES": "1", "RCLONE_RETRIES": "1"},
            on_line=_ignore,
        )

    def tell_silence(self) -> Failure:
        """Return what it means that a small question is not answered."""
        errors = classify.Errors(self._engine.redact)
        errors.add(logs.Line(level="error", msg="i/o timeout"))
        return self.explain(errors, 1)

    def has_file(self) -> bool:
        """Tell whether there is any file that a mirror would delete, or bring back. The listing ends with the first one."""
        return self.patiently(self._look_for_file)

    def put(self, folder: str) -> None:
        """Write the files of a folder beside what is mirrored.

        A folder, not a file: rclone lists where it goes, so it knows that the bucket is there, and needs no right to create it.
        """
        self.patiently(lambda: self._copy("copy", folder, self.place))

    def get(self, name: str, file: str, *, limit: int) -> bool:
        """Fetch a file of that name, and of a larger one so much that it shows; return whether there is one. An empty one is none."""
        arguments = ["cat", "--head", str(limit + 1), "--", f"{self.place}{name}"]
        # what is tried again would be written behind what came before
        once = for_one_file(self._environment) | {"RCLONE_STATS": "0", "RCLONE_RETRIES": "1"}
        return self.patiently(lambda: self._write(arguments, file, environment=once))

    def keeps_times(self) -> bool:
        """Tell whether the remote keeps the times of files. One that does not say is taken to."""
        file = f"{self._scratch}/features"
        try:
            self._write(["backend", "features", "--", self.place], file, environment=for_one_file(self._environment))
            with open(file, "rb") as answer:  # noqa: PTH123 - as everywhere in the agent
                return _decode_features(answer.read(outside.RECORD_LIMIT + 1)).precision < _NO_TIMES
        except (Failure, Unusable):
            return True

    def list_folders(self, file: str) -> None:
        """Write the paths of all folders that are moved to a file, one a line."""
        arguments = ["lsf", "--recursive", "--dirs-only", "--", self.place]
        self.patiently(lambda: self._write(arguments, file, environment=self._environment))

    def patiently(self, act: Callable[[], T]) -> T:
        """Return what `act` returns; while the server cannot be reached, try again until the outage limit is near."""
        started, wait = time.monotonic(), _FIRST_WAIT
        while True:
            try:
                found = act()
            except Failure as failure:
                waited = time.monotonic() - started
                if (
                    failure.failure_class != transfer.NETWORK
                    or not failure.retryable
                    or waited + wait > self._outage_limit
                ):
                    raise
                self._wait(failure.message)
            else:
                self._wait("")
                return found
            self._engine.stop.pause(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _look_for_file(self) -> bool:
        self._count += 1
        listed = f"{self._scratch}/listing-{self._count}"
        child = self._engine.start(
            ["lsf", "--recursive", "--files-only", "--", self.place],
            environment=self._environment,
            on_line=_ignore,
            output=listed,
        )
        try:
            while not child.ended_within(_LOOK):
                self._engine.stop.check()
                if os.stat(listed).st_size:  # noqa: PTH116
                    return True
            code = child.wait()
        finally:
            child.close()
        if os.stat(listed).st_size:  # noqa: PTH116
            return True
        if code and code not in _NOT_THERE:
            raise self.explain(child.errors, code)
        return False

    def _write(self, arguments: list[str], file: str, *, environment: Mapping[str, str]) -> bool:
        """Write what a command prints to a file; return whether that is anything."""
        with suppress(FileNotFoundError):
            os.unlink(file)  # noqa: PTH108
        child = self._engine.start(arguments, environment=environment, on_line=_ignore, output=file)
        try:
            code = child.wait()
        finally:
            child.close()
        if code and code not in _NOT_THERE:
            raise self.explain(child.errors, code)
        return os.stat(file).st_size > 0  # noqa: PTH116

    def _copy(self, verb: str, source: str, target: str) -> None:
        child = self._engine.start(
            [verb, "--", source, target],
            # whatever is there is replaced: a mode changes no size, and there are stores that keep neither checksums nor times
            environment=for_one_file(self._environment) | {"RCLONE_STATS": "0", "RCLONE_IGNORE_TIMES": "true"},
            on_line=None,
        )
        try:
            code = child.follow(self._show)
        finally:
            child.close()
        if code:
            raise self.explain(child.errors, code)


def _ignore(line: object) -> None:
    """Show nothing."""
