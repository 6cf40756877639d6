"""One restore, step by step: read the manifest, look, mark, fetch and compare, apply, finish.

    manifest -> wanted ─> look ─> mark ─> keep what is there ─> fetch ─> compare ─> place ┬─> apply ─> finish
                                                                 ^────── once more ───────┘

Guarantees: until the mark is set nothing in the target is changed; from then on it is marked until everything is there, was compared with the
manifest and has got its attributes; killed anywhere, the same restore goes on from there. Memory does not grow with the number of files,
but by the manifest's folders and hard links.
Assumptions: Linux; nobody else writes below the target meanwhile (who does reaches nothing outside, but may disturb what is restored).
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from datamover.agent import printing
from datamover.agent.errors import Failure
from datamover.agent.files import manifest, names
from datamover.agent.files.losses import Loss, Losses, is_whole
from datamover.agent.files.restoration import Restoration
from datamover.agent.restore import candidate, reasons, safety
from datamover.agent.restore.ahead import Ahead
from datamover.agent.restore.checking import MISSING, Checker, is_of_directory
from datamover.agent.restore.folding import fold_by
from datamover.agent.restore.likeness import is_alike
from datamover.agent.restore.marker import APPLYING, INCOMPLETE, Marker, boot_id, mark_of
from datamover.agent.restore.order import Order, Origin
from datamover.agent.restore.progress import Reporter
from datamover.agent.restore.target import Target, claim
from datamover.agent.restore.wanted import File, State, Wanted
from datamover.agent.scratch import FULL, failure_of_table
from datamover.api import amounts, transfer
from datamover.api.restore import MARKED, UNTOUCHED, WHOLE

_EXAMPLES = 5
_LISTED = 1 << 20
"""Bytes from which the list of what did not come back only says how many more there are."""
_SAVED = 500
"""Files after which the table is told where they are."""


class Fetcher(Protocol):
    """What brings files (see `fetching`)."""

    said: str

    def fetch(self, files: list[File]) -> None:
        """Bring these into the folder where files arrive."""
        ...

    def why_missing(self, file: File) -> str:
        """Return why one of these has not come, empty where that is not known."""
        ...

    def fetch_sparse(self, file: File) -> str:
        """Bring one without room for its holes; return what is wrong with it."""
        ...


class Facts(msgspec.Struct):
    """What is told beyond success or failure; filled as the attempt goes on. Sizes in bytes.

    `target` is one of `api.restore.TARGETS`. `kept`: files that were there already and right. `by_size`: files of which no checksum is
    known, so that only their sizes were compared. `lost` are kinds of losses, `left_out` what the backup has no files of (pipes, devices,
    sockets).
    """

    target: str = UNTOUCHED
    resumed: bool = False
    files: int = 0
    bytes: int = 0
    fetched: int = 0
    fetched_bytes: int = 0
    kept: int = 0
    linked: int = 0
    by_size: int = 0
    lost: tuple[Loss, ...] = ()
    left_out: tuple[Loss, ...] = ()
    notes: tuple[str, ...] = ()


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is fetched at once: files, and bytes."""

    files: int
    bytes: int


class Attempt:
    """See the module. `fetcher` makes what brings files, given a handle on the folder where they arrive, a path of it, and who hears of each that has arrived; `sums` gives the MD5
    of files by their keys, as far as the manifest has them; `check_stop` raises when the attempt is to end; `scratch` is a directory of its own.
    """

    def __init__(
        self,
        order: Order,
        origin: Origin,
        *,
        sums: Callable[[], Iterable[tuple[bytes, str]]],
        fetcher: Callable[[int, str, Callable[[File], None]], Fetcher],
        limits: Limits,
        report: Reporter,
        check_stop: Callable[[], None],
        scratch: str,
    ) -> None:
        self.facts = Facts()
        self._order = order
        self._origin = origin
        self._sums = sums
        self._make_fetcher = fetcher
        self._limits = limits
        self._report = report
        self._check_stop = check_stop
        self._wanted = Wanted(f"{scratch}/wanted")
        self._said = ""
        self._placed = 0
        self._placed_bytes = 0

    def close(self) -> None:
        """Let go of the table."""
        self._wanted.close()

    # --- the steps ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Restore; return when the directory is whole. Raises AgentError otherwise; `facts` tells what the directory is then."""
        self._report.phase(transfer.WALKING)
        mark = mark_of(self._order, self._origin, now=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        seen = candidate.look(self._order.directory)
        refusal = candidate.judge(seen, self._order, mark)
        if not (self._order.restore and refusal is not None and refusal.reason == transfer.REASON_TARGET_NOT_EMPTY):
            self._demand(refusal)
        self._read_manifest()
        room = self._wanted.room
        self.facts.files, self.facts.bytes = room.files, room.bytes
        self.facts.by_size = self._wanted.unproved()
        order = self._order
        if refusal is not None:
            # without a mark it is a stranger's, or this restore has ended and nobody heard of it
            if not self._is_done():
                raise refusal
            if not seen.marked:
                self.facts.target, self.facts.kept = WHOLE, self._placed
                return
            self._placed = self._placed_bytes = 0
            order = msgspec.structs.replace(order, overwrite=True)
        elif seen.marker is None:
            self._demand(candidate.judge_room(seen, order, blocks=room.blocks, paths=room.paths))
            if order.safety:
                safety.prove(order, self._origin.manifest, tick=self._check_stop)
        place, marker = claim(order, mark, listing=self._origin.manifest if order.safety else "")
        self.facts.target, self.facts.resumed = MARKED, seen.marker is not None or refusal is not None
        try:
            # whoever marked it may have died before this was asked
            self._demand_apart(place)
            # in another run of the machine, or on another one, a size alone proves nothing: room is given to a file before its bytes are on the disk
            self._fill(place, same_boot=bool(marker.boot) and marker.boot == boot_id())
            place.write(msgspec.structs.replace(marker, phase=APPLYING))
            lost, unkept = Losses(), Losses()
            restoration = self._restoration(place, lost, unkept)
            self._report.phase(transfer.RECORDING)
            restoration.run(self._origin.manifest)
            self._judge_rest(place, marker, lost)
            self._check_stop()
            # before the mark goes: whoever dies right after that leaves a directory that is called whole
            restoration.prepare_top()
            place.finish()
            self.facts.target = WHOLE
            # and once more, because taking the mark away changes the directory's time, and its own mode may forbid that
            self.facts.notes += tuple(restoration.finish_top())
            self.facts.lost, self.facts.left_out = lost.kinds(), unkept.kinds()
        except OSError as error:
            if error.errno in FULL:
                raise reasons.full(error.strerror or "") from None
            raise reasons.broken(self._order.directory, error) from None
        except sqlite3.DatabaseError as error:
            failure = failure_of_table(error)
            reasons.tell_mark(failure)
            raise failure from None
        except Failure as failure:
            if self.facts.target == MARKED:
                reasons.tell_mark(failure)
            raise
        finally:
            place.close()

    def _is_done(self) -> bool:
        """Tell whether the target, without a mark, has all of the point as this restore leaves it, and nothing else. Nothing is changed."""
        lost, unkept = Losses(), Losses()
        top = candidate.open_top(self._order.directory)
        try:
            if not is_alike(top, self._order, self._origin.manifest, lost=lost, unkept=unkept, tick=self._check_stop):
                return False
            self._report.phase(transfer.SYNCING)
            self._report.begin(files=self.facts.files, size=self.facts.bytes)
            checker = Checker(arrived=top, top=top, tick=self._check_stop)
            for file in self._wanted.every():
                self._check_stop()
                if not checker.is_there(file, ours=False):
                    return False
                self._count(file.size)
                self._report.settled(files=self._placed, size=self._placed_bytes)
        finally:
            os.close(top)
        self.facts.lost, self.facts.left_out = lost.kinds(), unkept.kinds()
        return True

    def _demand(self, failure: Failure | None) -> None:
        if failure is not None:
            raise failure

    def _read_manifest(self) -> None:
        try:
            self._wanted.load(self._origin.manifest, self._order, tick=self._check_stop)
            self._wanted.digest(self._sums())
            self._wanted.link(self._origin.manifest, self._order)
        except ValueError as why:
            raise reasons.hostile(str(why)) from None
        if self._wanted.own:
            self.facts.notes += (
                f"{amounts.count(self._wanted.own, 'path')} of the point are those of an unfinished restore's own mark and are left out: the backup was made of such a directory",
            )

    def _demand_apart(self, place: Target) -> None:
        """Raise Failure when the file system would take some of the names for others. A mark of our own is taken away; one of an earlier attempt
        stays, for nobody knows what that one has done.
        """
        case, form = place.folds()
        fold = fold_by(case=case, form=form)
        if fold is None:
            return
        self._wanted.fold(self._origin.manifest, self._order, fold)
        pairs, count = self._wanted.collisions()
        if not count:
            return
        if not self.facts.resumed:
            place.abandon()
            self.facts.target = UNTOUCHED
        raise reasons.colliding(self._order.directory, pairs, count, marked=self.facts.resumed)

    def _fill(self, place: Target, *, same_boot: bool) -> None:
        """Bring every file to its place. `same_boot`: what is there was written since this machine has begun to run."""
        ahead = Ahead(place.files, check_stop=self._check_stop)
        checker = Checker(arrived=place.files, top=place.top, tick=self._check_stop, known=ahead.digest)
        self._report.phase(transfer.SYNCING)
        self._report.begin(files=self.facts.files, size=self.facts.bytes)
        if self.facts.resumed or self._order.overwrite:
            # an earlier attempt may have given folders modes that keep us out
            self._restoration(place, Losses(), Losses()).open_folders(self._origin.manifest)
            self._keep(checker, by_size=same_boot and not self._order.overwrite)
            place.clear(place.files, keep=lambda raw: self._wanted.wants(names.key_of(raw), proved=not same_boot))
            place.clear(place.aside)
        fetcher = self._make_fetcher(place.files, place.arrivals, ahead.note)
        try:
            self._fetch(State.WANTED, fetcher, checker, ahead)
            self._fetch(State.FLAWED, fetcher, checker, ahead)
            # each of them needs its first one in place; those whose first one is not are fetched
            self._link(checker)
            self._fetch(State.WANTED, fetcher, checker, ahead)
            self._fetch(State.FLAWED, fetcher, checker, ahead)
        finally:
            ahead.close()
        self._said = fetcher.said

    def _keep(self, checker: Checker, *, by_size: bool) -> None:
        """Find what is there already and right. `by_size`: also what has no checksum to go by."""

        def settled() -> Iterator[tuple[bytes, State, str]]:
            for file in self._wanted.every():
                self._check_stop()
                proved = file.md5 or not file.size or by_size
                if proved and checker.is_there(file):
                    self.facts.kept += 1
                    self._count(file.size)
                    yield file.key, State.PLACED, ""

        found: list[tuple[bytes, State, str]] = []
        for each in settled():
            found.append(each)
            if len(found) >= _SAVED:
                self._settle(found)
        self._settle(found)

    def _fetch(self, state: State, fetcher: Fetcher, checker: Checker, ahead: Ahead) -> None:
        """Bring and compare all files in this state."""
        worse = State.LOST if state == State.FLAWED else State.FLAWED
        while batch := self._wanted.next_batch(state, files=self._limits.files, size=self._limits.bytes):
            self._check_stop()
            fetcher.fetch(batch)
            ahead.settle()
            self._place(batch, worse, fetcher, checker)
            ahead.forget()
        while file := self._wanted.next_sparse(state):
            self._check_stop()
            # what came was compared while it came
            flaw = fetcher.fetch_sparse(file) or checker.place(file._replace(md5=""))
            self._note(file, flaw)
            self._settle([(file.key, worse if flaw else State.PLACED, flaw)])

    def _place(self, batch: list[File], worse: State, fetcher: Fetcher, checker: Checker) -> None:
        found: list[tuple[bytes, State, str]] = []
        for file in batch:
            self._check_stop()
            flaw = checker.place(file)
            if flaw == MISSING:
                flaw = fetcher.why_missing(file) or flaw
            self._note(file, flaw)
            found.append((file.key, worse if flaw else State.PLACED, flaw))
            if len(found) >= _SAVED:
                self._settle(found)
        self._settle(found)

    def _note(self, file: File, flaw: str) -> None:
        if not flaw:
            self.facts.fetched += 1
            self.facts.fetched_bytes += file.size
            self._count(file.size)

    def _count(self, size: int) -> None:
        self._placed += 1
        self._placed_bytes += size

    def _settle(self, found: list[tuple[bytes, State, str]]) -> None:
        self._wanted.settle(found)
        found.clear()
        self._report.settled(files=self._placed, size=self._placed_bytes)

    def _link(self, checker: Checker) -> None:
        """Give files their further names; what that cannot be done for is fetched like any other file."""
        found: list[tuple[bytes, State, str]] = []
        for key, first, size in self._wanted.linked():
            self._check_stop()
            failed = first is None or checker.join(names.raw_of(key), names.raw_of(first))
            if not failed:
                self.facts.linked += 1
                self._count(size)
            found.append((key, State.WANTED if failed else State.PLACED, ""))
            if len(found) >= _SAVED:
                self._settle(found)
        self._settle(found)

    def _restoration(self, place: Target, lost: Losses, unkept: Losses) -> Restoration:
        """Return what gives everything its attributes, and makes folders, links and special files."""
        gone = self._wanted.count(State.LOST) > 0

        def wanted(entry: manifest.Entry) -> bool:
            if not self._order.wants(entry):
                return False
            # what lies at the path of a file that did not come is another one
            return not (gone and entry.type == manifest.FILE and self._wanted.is_lost(entry.key))

        def tick() -> None:
            self._check_stop()
            self._report.repeat()

        return Restoration(
            place.top,
            privileges=self._order.privileges,
            special=self._order.special,
            lost=lost,
            unkept=unkept,
            wanted=wanted,
            links=True,
            tick=tick,
            aside=place.aside,
            replace=self._order.overwrite,
        )

    def _judge_rest(self, place: Target, marker: Marker, lost: Losses) -> None:
        """Raise Failure when a path of the point is not there as it was."""
        whole = [loss for loss in lost.kinds() if is_whole(loss.kind)]
        count = self._wanted.count(State.LOST) + sum(loss.count for loss in whole)
        if not count:
            return
        problems: list[str] = []
        lines = bytearray()
        listed = 0
        for line in self._lines(whole):
            if len(lines) >= _LISTED:
                break
            if len(problems) < _EXAMPLES:
                problems.append(line)
            lines += f"{line}\n".encode()
            listed += 1
        if count > listed:
            lines += f"... and {count - listed} more\n".encode()
        place.note_problems(bytes(lines))
        place.write(msgspec.structs.replace(marker, phase=INCOMPLETE))
        store, directory = self._blame(whole)
        raise reasons.otherwise(
            tuple(problems), count, said=self._said if store else "", store=store, directory=directory
        )

    def _blame(self, whole: list[Loss]) -> tuple[bool, bool]:
        """Tell whether something of the store, and whether something of the directory, has kept paths from coming back."""
        blamed = {is_of_directory(flaw) for _, flaw in self._wanted.lost()}
        blamed |= {is_of_directory(loss.kind) for loss in whole}
        return False in blamed, True in blamed

    def _lines(self, whole: list[Loss]) -> Iterator[str]:
        """Yield a line for each path that did not come back; of kinds of losses their examples."""
        for key, flaw in self._wanted.lost():
            yield f"{printing.readable(names.raw_of(key))}: {flaw}"
        for loss in whole:
            for example in loss.examples:
                yield f"{example}: {loss.kind}"
