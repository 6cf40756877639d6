# ruff: noqa: PTH116, PTH118, PTH123  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""Proving that the bytes arrived.

Always: a listing of the destination is compared with the walk, names and sizes. When asked for (`VERIFY_BACKUP`): `rclone check`, which
compares checksums, and reads back what the store has no checksum of.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence

import msgspec

from datamover.agent import logs, names, rclone
from datamover.agent.deleting import GONE, tell_deletions
from datamover.agent.destination import Destination
from datamover.agent.errors import Failure
from datamover.agent.ledger import Ledger
from datamover.agent.options import without_filters
from datamover.agent.progress import Reporter
from datamover.agent.sync import UNCHECKED
from datamover.api import transfer

_EXAMPLES = 5
_WITHOUT = re.compile(r"(\d+) hashes could not be checked")


class Comparison(msgspec.Struct):
    """What a listing after the run showed. Counts, and the first few names.

    `vanished` are the files that went from a live source and are not at the destination, `outlived` those of which it has an older object.
    """

    missing: int = 0
    differing: int = 0
    vanished: list[bytes] = []
    outlived: list[bytes] = []
    changed: int = 0
    examples: list[str] = []

    @property
    def amiss(self) -> int:
        """How many files did not arrive as they are."""
        return self.missing + self.differing


def compare(ledger: Ledger, *, source: bytes, frozen: bool) -> Comparison:
    """Compare the ledger's two sides after the run. What changed in the source meanwhile is not held against the copy.

    A file that is gone from a live source, or has now the size that arrived, is no mismatch. `frozen`: the source is a copy that nobody
    writes to, so what is gone from it is one. So is what cannot be looked at, anywhere (law L4).
    """
    result = Comparison()
    for key, size, after in ledger.amiss():
        now, trouble = None, ""
        try:
            now = _look(source, names.raw_of(key))
        except OSError as error:
            trouble = f"; its file cannot be looked at: {error.strerror or type(error).__name__}"
        if now is None and not trouble and not frozen:
            (result.vanished if after is None else result.outlived).append(key)
        elif now is not None and now == after:
            result.changed += 1
        else:
            result.missing += after is None
            result.differing += after is not None
            if len(result.examples) < _EXAMPLES:
                shown = f"{size} bytes, {after} arrived" if after is not None else "missing"
                if now is None and not trouble:
                    trouble = "; its file is gone from the copy of the volume"
                result.examples.append(f"{names.readable(key)} ({shown}{trouble})")
    return result


def _look(source: bytes, raw: bytes) -> int | None:
    """Return the size that a path of the source has now, None when it is gone. Raises OSError when that cannot be told."""
    if raw.endswith(names.LINK_SUFFIX):
        size = _size_now(os.path.join(source, raw.removesuffix(names.LINK_SUFFIX)), link=True)
        if size is not None:
            return size
    return _size_now(os.path.join(source, raw), link=False)


def _size_now(path: bytes, *, link: bool) -> int | None:
    """Return the size of a file or link; None when there is no such thing (any more). Links are only followed for a file."""
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            return status.st_size if link else os.stat(path).st_size
    except OSError as error:
        if error.errno in GONE:
            return None
        raise
    return None if link else status.st_size


def mismatch(result: Comparison, *, place: str, direct: bool, deleted: int = 0) -> Failure | None:
    """Return the failure that a comparison means, if any; `deleted` is the number of objects that the attempt has deleted before it."""
    if not result.amiss:
        return None
    return _mismatch(
        f"{result.missing} files are missing at {place} and {result.differing} have another size: {', '.join(result.examples)}",
        direct=direct,
        problems=tuple(result.examples),
        deleted=deleted,
    )


def not_deleted(examples: Sequence[str], *, place: str) -> Failure:
    """Return the failure that deleted objects mean which are still listed."""
    return Failure(
        transfer.VERIFY,
        transfer.REASON_VERIFICATION_FAILED,
        f"{place} still has objects that were just deleted: {', '.join(examples)}. Everything of the source is there. Look at the store (a lock or"
        " retention on objects?) and at what else writes there.",
        problems=tuple(examples),
    )


def _mismatch(finding: str, *, direct: bool, problems: tuple[str, ...], deleted: int = 0) -> Failure:
    before = tell_deletions(deleted)
    if direct:
        return Failure(
            transfer.SOURCE_CHANGED,
            transfer.REASON_SOURCE_CHANGED,
            f"{finding}. The source was written to meanwhile: back up a clone or a snapshot instead (copyMethod), or stop what writes."
            f" {before}.",
            problems=problems,
        )
    return Failure(
        transfer.VERIFY,
        transfer.REASON_VERIFICATION_FAILED,
        f"{finding}. {before}. Run again; if it comes back, look at the server and at what else writes there.",
        problems=problems,
    )


class Check:
    """`rclone check` of source against destination. `level` is the log level that people see."""

    def __init__(
        self,
        engine: rclone.Engine,
        *,
        destination: Destination,
        report: Reporter,
        show: Callable[[logs.Line], None],
        scratch: str,
        direct: bool,
        level: str,
    ) -> None:
        self._engine = engine
        self._destination = destination
        self._report = report
        self._show = show
        self._scratch = scratch
        self._direct = direct
        self._level = level
        self._deleted = 0

    def run(
        self, source: str, target: str, *, environment: Mapping[str, str], extra: Sequence[str], deleted: int
    ) -> None:
        """Check that everything of the source is at the target, by checksum; without one by reading it back. Raises Failure, which says
        that the attempt has `deleted` so many objects.
        """
        self._deleted = deleted
        _, unchecked = self._check(source, target, environment=environment, arguments=extra)
        if not unchecked:
            return
        # the log of a first pass at debug level would be a line or two for every file, for nothing
        unnamed, _ = self._check(
            source, target, environment=dict(environment) | {"RCLONE_LOG_LEVEL": "DEBUG"}, arguments=extra
        )
        listed = f"{self._scratch}/unchecked"
        with open(listed, "wb") as file:
            file.writelines(name.encode() + b"\n" for name in unnamed)
        self._check(
            source,
            target,
            environment=without_filters(environment),
            arguments=["--download", "--files-from-raw", listed],
        )

    def _check(
        self, source: str, target: str, *, environment: Mapping[str, str], arguments: Sequence[str]
    ) -> tuple[list[str], int]:
        """Run one check; return the names (when debug lines are asked for) and the number of files without a checksum."""
        names_without: list[str] = []
        count_without = 0
        wanted = (UNCHECKED.encode(),) if environment.get("RCLONE_LOG_LEVEL") != self._level else None
        reports = {kind: f"{self._scratch}/{kind}" for kind in ("differ", "missing-on-dst", "error")}
        for path in reports.values():
            with open(path, "wb"):
                pass
        flags = [flag for kind, path in reports.items() for flag in (f"--{kind}", path)]
        child = self._engine.start(
            ["check", "--one-way", *arguments, *flags, source, target], environment=environment, on_line=None
        )

        def on_line(line: logs.Line) -> None:
            nonlocal count_without
            if line.stats is not None:
                self._report.checked(line)
                return
            if line.level == "debug" and line.msg == UNCHECKED:
                names_without.append(line.object)
            elif line.level == "notice" and (match := _WITHOUT.match(line.msg)):
                count_without = int(match[1])
            self._show(line)

        try:
            code = child.follow(on_line, wanted=wanted)
        finally:
            child.close()
        found = {kind: _first_lines(path) for kind, path in reports.items()}
        count = sum(number for number, _ in found.values())
        examples = tuple(name for _, some in found.values() for name in some)[:_EXAMPLES]
        if found["differ"][0] or found["missing-on-dst"][0]:
            raise _mismatch(
                f"Verification found {count} files that are not at {target} as they are in the source: {', '.join(examples)}",
                direct=self._direct,
                problems=examples,
                deleted=self._deleted,
            )
        if code:
            raise self._destination.explain(child.errors, code)
        return names_without, count_without


def _first_lines(path: str) -> tuple[int, list[str]]:
    """Return the number of lines of a report, and the first few."""
    some: list[str] = []
    count = 0
    with open(path, "rb") as file:
        for line in file:
            count += 1
            if len(some) < _EXAMPLES:
                some.append(names.readable(line.rstrip(b"\n")))
    return count, some
