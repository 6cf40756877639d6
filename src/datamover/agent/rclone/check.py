# ruff: noqa: PTH123  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""Verification, when it was asked for: by recorded checksums, by reading everything back, or by reading a sample back.

A store answers a question for a checksum with what it, or whoever wrote the object, once recorded. That says what arrived, not what lies
there today. So there are three methods, none says more than it did, and each counts what it did (law L4):

- *checksums*: the MD5 that the store itself made on receipt, which is an ETag of 32 hex digits in its listing. What has none (it came in
  parts, or encrypted in a way that hides it) is read back, whatever checksum somebody wrote beside it.
- *download*: everything is read back and compared byte by byte.
- *sample*: so of some files, which the run's id chooses: the same in every attempt, each file as likely as any other.

Assumptions: those of `asking`.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from datamover.agent import printing
from datamover.agent.rclone import asking, logs, process
from datamover.agent.rclone.destination import Destination
from datamover.agent.rclone.options import SILENCE, without_filters
from datamover.agent.rclone.progress import Reporter
from datamover.agent.rclone.verify import mismatched
from datamover.api import transfer

_EXAMPLES = 5
_MOST_NAMES = 100_000
"""Objects without a plain checksum that are named one by one; with more of them all are read back."""


class Checked(msgspec.Struct):
    """How many files were compared with a recorded checksum, and how many read back."""

    compared: int = 0
    read: int = 0


def choose_sample(keys: Iterable[bytes], *, count: int, percent: float, seed: str) -> list[bytes]:
    """Return the files of a sample: `percent` of `count`, at least one, the same for the same `seed` in whatever order the keys come."""
    import heapq
    from hashlib import blake2b

    def lot(key: bytes) -> bytes:
        return blake2b(key, key=seed.encode()[:64], digest_size=16).digest()

    return heapq.nsmallest(max(1, math.ceil(count * percent / 100)), keys, key=lot)


class Check:
    """`rclone check` of source against destination. `level` is the log level that people see; `direct`: the source may change meanwhile.

    `trusted`: an ETag of 32 hex digits is the MD5 of the object.
    """

    def __init__(
        self,
        engine: process.Engine,
        *,
        destination: Destination,
        report: Reporter,
        show: Callable[[logs.Line], None],
        scratch: str,
        direct: bool,
        level: str,
        trusted: bool,
        has_changed: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        """`has_changed` tells of a key whether its file has changed since it was moved, as a live source's may."""
        self._has_changed = has_changed
        self._engine = engine
        self._destination = destination
        self._report = report
        self._show = show
        self._scratch = scratch
        self._direct = direct
        self._level = level
        self._trusted = trusted
        self._deleted = 0
        self._asked: set[bytes] = set()

    def run(
        self,
        source: str,
        target: str,
        *,
        method: transfer.Verification,
        environment: Mapping[str, str],
        extra: Sequence[str],
        keys: Iterable[bytes],
        count: int,
        seed: str,
        deleted: int,
    ) -> Checked:
        """Check that everything of the source is at the target as it is, by `method`, and return what was done.

        `keys` are the source's files, `count` their number. Raises Failure, which says that the attempt has `deleted` so many objects; also
        when fewer files of a frozen source could be compared than it has.
        """
        self._deleted = deleted
        if not count:
            return Checked()
        if method.name == transfer.SAMPLE:
            chosen = choose_sample(keys, count=count, percent=method.percent, seed=seed)
            done = Checked(read=self._read(source, target, chosen, environment=environment))
            return self._settle(done, wanted=len(chosen), target=target)
        done = Checked()
        if method.name == transfer.CHECKSUMS and self._trusted:
            done.compared = self._run(source, target, environment=environment, arguments=extra, watch=True)
            done.read = self._read_unproved(source, target, environment=environment)
            done.compared -= done.read
        if not self._trusted or method.name == transfer.DOWNLOAD or done.read < len(self._asked):
            done = Checked(
                read=self._run(source, target, environment=environment, arguments=["--download", *extra], watch=False)
            )
        return self._settle(done, wanted=count, target=target)

    def _settle(self, done: Checked, *, wanted: int, target: str) -> Checked:
        total = done.compared + done.read
        if total < wanted and not self._direct:
            raise mismatched(
                f"Verification could compare only {total} of {wanted} files with {target}",
                direct=False,
                problems=(),
                deleted=self._deleted,
            )
        return done

    def _read_unproved(self, source: str, target: str, *, environment: Mapping[str, str]) -> int:
        """Read back what the engine had to ask for; return how many files that were: none when they are too many to be named."""
        if not self._asked or len(self._asked) > _MOST_NAMES:
            return 0
        return self._read(source, target, sorted(self._asked), environment=environment)

    def _read(self, source: str, target: str, keys: Iterable[bytes], *, environment: Mapping[str, str]) -> int:
        listed = f"{self._scratch}/read-back"
        with open(listed, "wb") as file:
            file.writelines(key + b"\n" for key in keys)
        return self._run(
            source,
            target,
            environment=without_filters(environment),
            arguments=["--download", "--files-from-raw", listed],
            watch=False,
        )

    def _run(
        self,
        source: str,
        target: str,
        *,
        environment: Mapping[str, str],
        arguments: Sequence[str],
        watch: bool,
    ) -> int:
        """Run one check and return how many files are the same; with `watch` note what the engine asks for one by one."""
        wanted: tuple[bytes, ...] | None = None
        if watch:
            environment = dict(environment) | asking.TELLING
            wanted = None if self._level == "DEBUG" else (asking.WORD,)
        reports = {kind: f"{self._scratch}/{kind}" for kind in ("differ", "missing-on-dst", "error", "match")}
        for path in reports.values():
            with open(path, "wb"):
                pass
        flags = [flag for kind, path in reports.items() for flag in (f"--{kind}", path)]
        child = self._engine.start(
            ["check", "--one-way", *arguments, *flags, source, target], environment=environment, on_line=None
        )

        def on_line(line: logs.Line) -> None:
            if line.stats is not None:
                self._report.checked(line)
            elif watch and asking.is_asking(line.msg):
                key = asking.key_of(line.msg, target=target)
                if key and len(self._asked) <= _MOST_NAMES:
                    self._asked.add(key)
            else:
                self._show(line)

        try:
            code = child.follow(on_line, wanted=wanted, silence=SILENCE)
        finally:
            child.close()
        found = {kind: _first_lines(path) for kind, path in reports.items()}
        same, _ = found.pop("match")
        if found["differ"][0] or found["missing-on-dst"][0]:
            count = sum(number for number, _ in found.values())
            examples = tuple(name for _, some in found.values() for name in some)[:_EXAMPLES]
            raise mismatched(
                f"Verification found {count} files that are not at {target} as they are in the source: {', '.join(examples)}",
                direct=self._direct and self._have_changed(reports["differ"], reports["missing-on-dst"]),
                problems=examples,
                deleted=self._deleted,
            )
        if code:
            raise self._destination.explain(child.errors, code)
        return same

    def _have_changed(self, *reports: str) -> bool:
        """Tell whether every file of these reports has changed; of one that has not the store has something else."""
        for path in reports:
            with open(path, "rb") as file:
                if not all(self._has_changed(line.rstrip(b"\n")) for line in file):
                    return False
        return True


def _first_lines(path: str) -> tuple[int, list[str]]:
    """Return the number of lines of a report, and the first few."""
    some: list[str] = []
    count = 0
    with open(path, "rb") as file:
        for line in file:
            count += 1
            if len(some) < _EXAMPLES:
                some.append(printing.readable(line.rstrip(b"\n")))
    return count, some
