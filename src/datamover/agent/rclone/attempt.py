# ruff: noqa: PTH202, PTH123  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""One attempt, step by step: probe and walk, guards, intent, copy, comparison, verification, deletions, outcome record.

    probe ┐
    walk  ┴─> guards ─> claim/intent ─> copy ─> compare ─> check ─> delete ─> checksums ─> outcome.json

Guarantees: nothing is deleted but what `deleting` allows, and nothing before everything arrived (law L3), except for what stands
in the way of a path of the source; the intent is at the destination before the first byte; the outcome record comes last
(law L4); every attempt of a run uses the same folder (law L6).
Assumptions: a listing shows every write that ended before it began.
"""

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain

import msgspec

from datamover.agent import printing
from datamover.agent.errors import AgentError, Failure
from datamover.agent.files import manifest, names, walk
from datamover.agent.files.unfinished import refuse_unfinished
from datamover.agent.rclone import digests, guards, logs, process, profile, records, remarks
from datamover.agent.rclone.changes import has_changed
from datamover.agent.rclone.deleting import Deletions
from datamover.agent.rclone.destination import Destination
from datamover.agent.rclone.forgotten import find_forgotten
from datamover.agent.rclone.ledger import Ledger
from datamover.agent.rclone.listing import Listing, Row, Rows
from datamover.agent.rclone.live import is_on
from datamover.agent.rclone.moving import Moving
from datamover.agent.rclone.options import Options, file_lists, for_checking, keeps_links, without_etags
from datamover.agent.rclone.progress import Reporter
from datamover.agent.rclone.record_store import FEW
from datamover.agent.rclone.settings import Settings
from datamover.agent.rclone.sync import Sync
from datamover.agent.rclone.verify import Comparison, compare, mismatch
from datamover.agent.rclone.version import Version
from datamover.api import transfer

_MULTIPART = 5 << 20
"""Bytes from which an object may have come in parts, and so may have no checksum in listings."""
_LAST_WORDS = 8.0
"""Seconds for what is still recorded when an attempt fails or is ended."""


class Facts(msgspec.Struct):
    """What the outcome says beyond success or failure; filled as the attempt goes on."""

    timestamp: str | None = None
    verified: bool | None = None
    verification: str = ""
    checked: int = 0
    read: int = 0


class Equipment(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt is given: `show` takes lines of the engine's log, `say` sentences, `scratch` is a directory of its own."""

    settings: Settings
    options: Options
    engine: process.Engine
    report: Reporter
    show: Callable[[logs.Line], None]
    say: Callable[[str], None]
    scratch: str


class Attempt(ABC):
    """What both kinds of attempts share; `Mirror` and `Timestamped` differ in where the files go and what may be there."""

    def __init__(self, given: Equipment) -> None:
        settings = given.settings
        self.settings = settings
        self.options = given.options
        self.report = given.report
        self.say = given.say
        self.scratch = given.scratch
        self.engine = given.engine
        self.stop = given.engine.stop
        self.show = given.show
        self.facts = Facts(timestamp=settings.timestamp if settings.add_timestamp else None)
        self.tally = walk.Tally()
        # the engine refuses a root that is a symbolic link
        self.source = os.path.realpath(os.fsencode(settings.data))
        self.ledger = Ledger(f"{given.scratch}/ledger")
        self.destination = Destination(
            settings,
            engine=given.engine,
            environment=given.options.records,
            scratch=given.scratch,
            show=self._show_problems,
            wait=given.report.wait,
        )
        self.sync = Sync(
            given.engine,
            destination=self.destination,
            report=given.report,
            show=given.show,
            outage_limit=settings.outage_limit,
            grace=settings.grace,
        )
        self.moving = Moving(
            self.sync,
            destination=self.destination,
            ledger=self.ledger,
            settings=settings,
            source=self.source,
            scratch=given.scratch,
        )
        self.deletions = Deletions(
            self.ledger,
            source=self.source,
            place=self.destination.place,
            frozen=not settings.direct,
            follows=given.options.follows,
            listed=given.options.selects,
            delete=self.destination.delete,
        )
        self._manifest = f"{given.scratch}/manifest"
        self._vanished = 0
        self._shortened: list[str] = []
        self._looked = False
        self._listing: dict[str, str] = {}
        self._version = Version(given.engine, environment=given.options.records, show=given.show)

    def _show_problems(self, line: logs.Line) -> None:
        """Show what is said about records and listings, but not that one more was written."""
        if line.stats is None and (line.level != "info" or self.options.level == "DEBUG"):
            self.show(line)

    # --- what the kinds of attempts define ------------------------------------------------------------------------

    @abstractmethod
    def begin(self) -> None:
        """Start what runs beside the walk."""

    def while_walking(self) -> None:  # noqa: B027 - not every kind has something to begin
        """Begin what would keep a long walk waiting; called often."""

    @property
    @abstractmethod
    def may_look(self) -> bool:
        """Whether a look would not have to wait."""

    @abstractmethod
    def look(self) -> None:
        """Have the first look at the destination: one try. Raises Failure."""

    @abstractmethod
    def settle(self, writer: manifest.Writer) -> str:
        """Look at the destination, ask the guards, add to the manifest what it must say; return the folder for the data."""

    @abstractmethod
    def announce(self, manifest_path: str) -> None:
        """Put the intent to the destination."""

    def prepare(self, folder: str) -> None:
        """Do what spares moving, when the intent is at the destination."""
        del folder

    def complete(self, folder: str) -> Iterable[manifest.Entry]:
        """Do what remains when everything has arrived; return what the manifest is to say of it."""
        del folder
        return ()

    def last_words(self) -> dict[str, bytes | str]:
        """Return the records that an attempt leaves which fails, below its run's folder."""
        return {}

    # --- the steps ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the attempt; return when all is done. Raises AgentError otherwise. `facts`, `tally` and `moving.moved` tell the rest."""
        self.report.phase(transfer.PROBING)
        self.begin()
        path = self._manifest
        writer = manifest.Writer(path, self._header())
        self._shortened = writer.shortened
        try:
            self._walk(writer)
            self._check_names()
            folder = self.settle(writer)
        finally:
            writer.close()
        try:
            self.announce(path)
            self.report.phase(transfer.SYNCING)
            self.prepare(folder)
            self._copy(folder)
            comparison = self._compare(folder)
            self._amend(path, comparison, timeout=None)
            self.ledger.accept_after((*comparison.vanished, *comparison.outlived))
            self._vanished = len(comparison.vanished) + len(comparison.outlived)
            self._check(folder)
            closing = self.complete(folder)
            sums = digests.lines(self.ledger, source=self.source, frozen=not self.settings.direct)
            self.append(path, chain(closing, sums if self.proves else ()), timeout=None)
        except AgentError:
            self._amend(path, None, timeout=_LAST_WORDS)
            raise

    def close(self) -> None:
        """Let go of the scratch file and of what runs beside."""
        self.ledger.close()
        self.destination.close()

    def _header(self) -> manifest.Header:
        settings = self.settings
        return manifest.Header(
            run_id=settings.run_id,
            object=settings.object_name,
            source=settings.owner,
            copy_method=transfer.DIRECT if settings.direct else "",
            copied_at=settings.copied_at,
            created_at=self.now(),
        )

    def now(self) -> str:
        """Return the time as RFC 3339."""
        return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"

    def probe(self) -> None:
        """Have the first look at the destination, once; raise what is wrong with server, key or bucket."""
        if not self._looked:
            self.destination.probe(self.look)
            self._looked = True

    def _walk(self, writer: manifest.Writer) -> None:
        self.report.phase(transfer.WALKING)

        def tick() -> None:
            self.stop.check()
            self.while_walking()
            if not self._looked and self.may_look:
                self.probe()  # a wrong key is told at once, however large the source
            self.report.found(files=self.tally.objects, size=self.tally.bytes)

        prefix = f"{self.settings.prefix}/" if self.settings.prefix else ""
        prefix += f"{self.settings.timestamp}/" if self.settings.add_timestamp else ""
        prefix_size = len(prefix.encode())
        self._open_source()
        self.ledger.add_source(
            walk.walk(
                self.source,
                tally=self.tally,
                add=writer.add,
                prefix_size=prefix_size,
                tick=tick,
                frozen=not self.settings.direct,
            )
        )
        if self.options.selects:
            self._choose(writer, prefix_size)
        objects, size = self.ledger.sources()
        self.report.found(files=objects, size=size)
        self.stop.check()

    def _open_source(self) -> None:
        try:
            os.scandir(self.source).close()
        except OSError as error:
            raise Failure(
                transfer.SOURCE_UNREADABLE,
                transfer.REASON_SOURCE_NOT_FOUND,
                f"The source {self.settings.data} cannot be read: {error.strerror}. Look at the Pod's volume mounts and at the rights of its user.",
            ) from None
        refuse_unfinished(os.fsdecode(self.source), volume=self.settings.data)

    def _choose(self, writer: manifest.Writer, prefix_size: int) -> None:
        """Take the engine's own idea of the source, where the user has chosen what goes; names that stay need not be fit."""
        listing = self.destination.start_local_listing(
            os.fsdecode(self.source), environment=self.data_environment(), extra=self.arguments()
        )
        try:
            selected = self.destination.finish(listing, patience=math.inf)
        except Failure:
            if any(self.tally.out_of_reach.values()):
                self._check_names()  # the engine cannot look there; a rule that keeps it from looking would have let it list the rest
            raise
        self.ledger.select(selected.lines())
        for key in self.ledger.excluded():
            writer.add(manifest.about(manifest.EXCLUDED, key))
        for key, size in self.ledger.selected_unwalked():
            writer.add(msgspec.structs.replace(manifest.about(manifest.FILE, names.raw_of(key)), size=size))
        walk.measure(self.source, self.ledger.selected(), tally=self.tally, prefix_size=prefix_size)

    def _check_names(self) -> None:
        tally = self.tally
        collisions = self.ledger.collisions(limit=3)
        failure = guards.check_source_names(
            too_long=tuple(tally.too_long_names),
            too_long_count=tally.too_long,
            collisions=tuple(printing.readable(key) for key in collisions),
            link_like=tuple(tally.link_like_names) if keeps_links(self.data_environment()) else (),
            link_like_count=tally.link_like,
            misspelt=tuple(tally.misspelt_names),
            misspelt_count=tally.misspelt,
        )
        if failure:
            raise failure
        for line in self.remarks():
            self.say(line)

    def summary(self) -> str:
        """Return a sentence about a success."""
        files, size = self.ledger.sources()
        done = remarks.about_success(files, size, moved=self.moving.moved[0], deleted=self.deletions.count)
        facts = self.facts
        told = (
            [transfer.tell_verification(method=facts.verification, checked=facts.checked, read=facts.read, files=files)]
            if facts.verification
            else []
        )
        return ". ".join([done, *(f"{each[0].upper()}{each[1:]}" for each in told), *self.remarks()]) + "."

    def engine_version(self) -> str:
        """Return the engine's name and version."""
        self._version.learn(self.destination.control)
        return self._version.text()

    def remarks(self) -> list[str]:
        """Return what people should know about the source although nothing is wrong."""
        told = remarks.about_source(self.tally) + remarks.about_deletions(self.deletions)
        told += remarks.about_comparison(size_only=self.options.size_only, by_time=self.comparison == "time")
        return told + remarks.about_vanished(self._vanished) + remarks.about_shortened(self._shortened)

    def list_controls(self) -> None:
        """Find out how names with control characters are listed, when the source has any. Raises Failure when they are not."""
        if not self.tally.unlistable:
            return
        found = self.destination.learn_controls(self.settings.run_id)
        if found is None:
            examples = tuple(self.tally.unlistable_names)
            raise Failure(
                transfer.SOURCE_UNREADABLE,
                transfer.REASON_NAME_REFUSED,
                f"The server cannot list names with control characters, and {self.tally.unlistable} path(s) of the source have such: "
                f"{printing.quote_names(examples, self.tally.unlistable)}. What cannot be listed cannot be restored. Rename them, or exclude them (RCLONE_EXCLUDE)."
                " Nothing was moved.",
                problems=examples,
            )
        self._listing = dict(found)

    def data_environment(self) -> dict[str, str]:
        """Return the environment for moving and checking: the user's, then the profile's defaults."""
        objects, size = self.ledger.sources()
        shape = profile.Shape(objects=objects, bytes=size, large=self.tally.large)
        chosen = profile.defaults(shape, user=self.options.data) | self._listing | self.options.data
        return chosen if self.destination.plain else chosen | without_etags(self.options.data)

    @property
    def comparison(self) -> str:
        """How unchanged files were recognised."""
        return self.options.comparison if self.destination.plain or self.options.compares else "time"

    def arguments(self) -> list[str]:
        """Return the flags that keep out what is never moved, nor to be taken for what is. A file of rules, because that leaves the user's
        own patterns alone.
        """
        if self.options.lists_files:
            return []  # the engine refuses rules beside a list of files, which says all by itself
        rules = f"{self.scratch}/never"
        with open(rules, "wb") as file:
            if self.tally.lost_and_found:
                file.write(b"/lost+found/**\n")
            # the engine would take `a//b` for `a/b`, and replace that
            file.writelines(names.rule_for(key) + b"\n" for key in self.ledger.split())
            # of empty folders alone: where there is a file, the engine's complaint must not be lost
            reach = self.tally.out_of_reach
            file.writelines(names.rule_below(folder) + b"\n" for folder, content in reach.items() if not content)
        if not os.path.getsize(rules):
            return []
        # a flag replaces the variable, so theirs come along
        given = [*file_lists(self.options.data, ("RCLONE_EXCLUDE_FROM",)), ("", rules)]
        return [word for _, path in given for word in ("--exclude-from", path)]

    def _copy(self, folder: str) -> None:
        environment = self.data_environment()
        # whoever chose it: the engine falls back to the size alone where an object has no checksum
        by_checksum = is_on(environment, "RCLONE_CHECKSUM") and not self.options.size_only
        at_least = self.rehash_size() if self.destination.plain else 0
        self.moving.run(
            folder,
            environment=environment,
            arguments=self.arguments(),
            rehash=by_checksum and self.ledger.rehash_candidates(at_least=at_least),
            doubted=self.copied_sizes(),
        )

    def copied_sizes(self) -> range:
        """Return the sizes of what the store may have copied by itself, for this attempt or an earlier one of its run."""
        return range(0)

    def rehash_size(self) -> int:
        """Return the size from which an object of ours may have no checksum at the store."""
        return _MULTIPART

    @property
    def proves(self) -> bool:
        """Whether the engine has compared every checksum that the store gives with the one of the bytes that it read."""
        return digests.are_proved(self.data_environment(), plain=self.destination.plain)

    def expected(self) -> int:
        """Return how many objects a listing after the run may have, at the most."""
        return self.ledger.sources()[0] + self.ledger.remote_count()

    def list_again(self, folder: str, *, sums: bool = False) -> Listing | Rows:
        """Return what is in `folder` now, with `sums` its checksums."""
        few = self.destination.list_few(folder, sums=sums) if self.expected() <= FEW else None
        return self.destination.list_all(folder, sums=sums) if few is None else few

    def after_listing(self, listing: Listing | Rows) -> Iterator[Row]:
        """Yield the objects of a listing after the run."""
        yield from listing.rows()

    def _compare(self, folder: str) -> Comparison:
        self.report.phase(transfer.VERIFYING)
        if not self.settings.verification.name and self.proved_unchanged() and self.has_checksums():
            return Comparison()  # what is verified is not taken from the engine's word
        self.ledger.add_listed(self.after_listing(self.list_again(folder, sums=self.proves)))
        comparison = compare(self.ledger, source=self.source, frozen=not self.settings.direct)
        failure = mismatch(
            comparison,
            place=self.destination.remote(folder),
            direct=self.settings.direct,
            deleted=self.deletions.count,
        )
        failure = failure or self._check_replaced(folder)
        if failure:
            raise failure
        return comparison

    def has_checksums(self) -> bool:
        """Have the ledger know all checksums that the manifest is to have, as far as that needs no listing; tell whether it does."""
        return True

    def earlier_manifest(self) -> str:
        """Return the manifest of the run that wrote what this one may have replaced; empty where it cannot be had."""
        return ""

    def _check_replaced(self, folder: str) -> Failure | None:
        """Return what it means that objects in `folder` are still the older ones that were to be replaced, if any are: by the checksums that an earlier run
        recorded of those.
        """
        self.moving.flush()
        if not self.proves or not self.ledger.may_have_replaced():
            return None
        with suppress(ValueError):  # of an earlier version, or damaged: then there is nothing to go by
            if path := self.earlier_manifest():
                self.ledger.mark_stood(manifest.digests(path))
        count, total = self.ledger.stood_size()
        if not count:
            return None

        def tick(files: int, size: int) -> None:
            self.stop.check()
            self.report.advance(
                files=files, size=size, total_files=count, total_size=max(total, size), speed=0.0, errors=0
            )

        self.report.start(transfer.VERIFYING, files=count, size=total)
        judged = find_forgotten(self.ledger, source=self.source, frozen=not self.settings.direct, tick=tick)
        files, size = self.ledger.sources()
        self.report.start(transfer.VERIFYING, files=files, size=size)
        return judged.failure(place=self.destination.remote(folder), deleted=self.deletions.count)

    def proved_unchanged(self) -> bool:
        """Tell whether the copy itself has just compared every checksum and had nothing to move or to be deleted afterwards."""
        moved = self.sync.moved
        return (
            moved.files == 0
            and moved.compared >= self.ledger.sources()[0]
            and not self.options.compares
            and self.destination.plain
            and not self.settings.direct
            and not self.ledger.stale_count()
        )

    def _amend(self, path: str, comparison: Comparison | None, *, timeout: float | None) -> None:
        """Add to the manifest what the engine moved beyond the intent; best effort when the attempt has failed."""
        self.moving.flush()

        def lines() -> Iterator[manifest.Entry]:
            for key in self.ledger.beyond_intent():
                yield self.describe(key)
            for key in comparison.vanished if comparison else ():
                yield manifest.about(manifest.VANISHED, key)
            for key in comparison.outlived if comparison else ():
                yield manifest.about(manifest.VANISHED, key)  # what is there is not the file of this point
                yield manifest.about(manifest.KEPT, key)

        self.append(path, lines(), timeout=timeout)

    def describe(self, key: bytes) -> manifest.Entry:
        """Return the manifest's line about an object whose file the walk has not seen."""
        return walk.describe(self.source, key, follows=self.options.follows)

    def remove_arrived(self, run_id: str) -> None:
        """Remove what an attempt that was killed left beside; best effort, for it costs only space."""
        with suppress(Failure):
            self.destination.purge(records.arriving_folder(run_id))

    def append(self, path: str, lines: Iterator[manifest.Entry], *, timeout: float | None) -> None:
        """Add lines to the manifest, here and at the destination; with a `timeout` in seconds it is best effort."""
        contents: dict[str, bytes | str] = {records.MANIFEST: path} if manifest.append(path, lines) else {}
        if timeout is not None:
            contents |= self.last_words()
        if not contents:
            return
        if timeout is None:
            self.destination.put(self.run_folder, contents)
        elif not self.destination.put_last(self.run_folder, contents, timeout=timeout):
            self.say("What was moved beyond the announced files, or that this attempt has ended, could not be recorded")

    def _check(self, folder: str) -> None:
        method = self.settings.verification
        if not method.name:
            return
        if method.name == transfer.SIZE:  # the comparison that every run makes
            self.facts.verification = str(method)
            self.facts.verified = True if self.ledger.sources()[0] else None
            return
        from datamover.agent.rclone.check import (
            Check,  # what is only needed now and then is not paid for at every start
        )

        self.facts.verification = str(method)
        self.facts.verified = False
        check = Check(
            self.engine,
            destination=self.destination,
            report=self.report,
            show=self.show,
            scratch=self.scratch,
            direct=self.settings.direct,
            level=self.options.level,
            trusted=self.destination.plain,
            has_changed=lambda key: has_changed(self.source, key, self.ledger),
        )
        done = check.run(
            os.fsdecode(self.source),
            self.destination.remote(folder),
            method=method,
            environment=for_checking(self.data_environment()),
            extra=self.arguments(),
            keys=self.ledger.selected(),
            count=self.ledger.sources()[0],
            seed=self.settings.run_id,
            deleted=self.deletions.count,
        )
        self.facts.checked, self.facts.read = done.compared, done.read
        self.facts.verified = True if done.compared + done.read else None

    @property
    def run_folder(self) -> str:
        """Where this run's records are."""
        return f"{records.FOLDER}/runs/{self.settings.run_id}/"

    def record(self, outcome: transfer.Outcome) -> None:
        """Write the outcome record, the last of all; then see that all of this run's records are there (law L4). Raises Failure."""
        self.report.phase(transfer.RECORDING)
        sealed = records.sealed(outcome, digests.seal(self._manifest))
        self.destination.put(self.run_folder, {records.OUTCOME: msgspec.json.encode(sealed)})
        try:
            self.destination.demand(self.run_folder, self.destination.sizes_below(self.run_folder))
        except Failure:
            # what says that the run is complete must not stay without the records that it is complete by
            with suppress(Failure):
                self.destination.remove(self.run_folder + records.OUTCOME)
            raise
