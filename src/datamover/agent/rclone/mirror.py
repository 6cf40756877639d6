"""An attempt to mirror: `<root>` becomes what the source is, and what the source no longer has goes away.

What may be deleted: objects that the manifest of the mirror's latest run lists, that were there before this run, and that the source no
longer has (law L3; the rule is in `deleting`). Each manifest lists all that the one before it left, so the latest is enough.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec

from datamover.agent import printing
from datamover.agent.environment import Owner, is_timestamp, write_timestamp
from datamover.agent.errors import Failure
from datamover.agent.files import manifest, walk
from datamover.agent.rclone import digests, guards, records, remarks
from datamover.agent.rclone.attempt import Attempt, Equipment
from datamover.agent.rclone.deleting import tell_deletions
from datamover.agent.rclone.listing import Listing, Row, Rows
from datamover.agent.rclone.loss_check import LossCheck
from datamover.agent.rclone.record_store import FEW
from datamover.agent.rclone.rivals import Rivals
from datamover.agent.rclone.verify import compare, mismatch, not_deleted
from datamover.api import transfer

_EXAMPLES = 3
_CLOCKS_DIFFER = timedelta(hours=1)
_SHORT_WALK = 1.0
"""Seconds: a walk that takes longer has a listing beside it."""
_RECORDS = 4
"""Records that a run has, at the most."""
_MAIMED = 10
"""How many runs that have lost records are asked for the moments of their copies, the youngest first."""


class Mirror(Attempt):
    """See the module."""

    def __init__(self, given: Equipment) -> None:
        super().__init__(given)
        self._before = records.State()
        self._after = records.State()
        self._owner: records.OwnerRecord | None = None
        self._adopting = False
        self._strangers: tuple[Owner, ...] = ()
        self._nested: tuple[str, ...] = ()
        self._latest_copy = ("", "")
        self._soon = write_timestamp(datetime.now(UTC) + _CLOCKS_DIFFER)
        self._announced = self._listed = False
        self.rivals = Rivals(
            self.destination,
            settings=given.settings,
            done=self._done,
            wait=given.report.wait,
            pause=self.stop.pause,
        )
        self.sync.interrupt = self.rivals.glance
        self._tried = False
        self._list_from = 0.0
        self._begun: Listing | None = None
        self._root: Listing | Rows | None = None
        self._finished_manifest = ""

    def begin(self) -> None:
        """Have the engine ready for the first look, a listing of the whole root."""
        self.destination.control.start()
        self._list_from = time.monotonic() + _SHORT_WALK

    def while_walking(self) -> None:
        """Begin to list when the walk turns out not to be short."""
        if not self._tried and (self.tally.objects > FEW or time.monotonic() > self._list_from):
            self._tried = True
            self._begun = self.destination.start_listing(patient=False)

    @property
    def may_look(self) -> bool:
        """Whether the listing has ended."""
        return self._begun is not None and self._begun.child.ended

    def look(self) -> None:
        """Take the listing that was begun; begin another one when it had failed. What is likely short is asked of the engine that is ready."""
        listing, few = self._begun, None
        self._begun = None
        if not self._tried:
            self._tried = True
            few = self.destination.list_few() if self.tally.objects <= FEW else None
        if few is None:
            few = self.destination.finish(listing or self.destination.start_listing(patient=False))
        self._root = few

    def settle(self, writer: manifest.Writer) -> str:
        """Learn what is at the root and whose it is; ask the guards."""
        self.probe()
        reserved = guards.check_reserved(self.tally.reserved)
        if reserved:
            raise reserved
        if self.tally.unlistable:
            self.list_controls()
            self._root = self.destination.list_all()
        if self._root is not None:
            self.ledger.add_remote((key, size) for key, size in self._root.lines() if not self._before.take(key))
        self._owner = self._read_owner()
        damaged = self._load_known()
        if self._before.nested:
            # a volume may itself hold destinations, as one of an S3 server does: what this mirror wrote is no other mover's
            self._nested = tuple(self.ledger.nested(limit=_EXAMPLES))
        found_owner = self._owner.owner if self._owner else None
        if self.settings.adopt:
            others = found_owner != self.settings.owner or self._strangers or self.ledger.foreign_count()
            self._adopting = self._adopting or bool(others)
            # what a damaged manifest listed is no stranger's: the guard counts it
            self.ledger.adopt(as_written=damaged)
        if self.options.selects:
            visible = self.destination.list_visible(
                environment=self.data_environment(), objects=self.ledger.remote_count()
            )
            self.ledger.see_only(visible.lines())
        # timestamped copies that were adopted with the rest stay what they are: a mirror deletes no backups
        protected = {folder.encode() for folder in self._before.claimed | self._held_folders()}
        if self.tally.lost_and_found:
            protected.add(walk.LOST_AND_FOUND)  # neither looked into nor moved, so nobody can say what is in it
        self.ledger.protect(sorted(protected))
        self._ask_guards(found_owner)
        if self._latest_copy[0]:
            writer.add(manifest.Entry(type=manifest.COPY, path=self._latest_copy[1], target=self._latest_copy[0]))
        for key in self.ledger.stale():
            writer.add(manifest.about(manifest.STALE, key))
        for key in self.ledger.kept():
            writer.add(manifest.about(manifest.KEPT, key))
        for key in self.ledger.found():
            writer.add(manifest.about(manifest.FOUND, key))
        for key in self.ledger.unseen_written():
            writer.add(manifest.about(manifest.UNSEEN, key))
        return ""

    def _held_folders(self) -> set[str]:
        """Return the folders of timestamped copies whose claims are lost, as far as something in them would be deleted."""
        holders = self._before.holders
        if not holders:
            return set()
        tops = (key.partition(b"/")[0].decode("ascii", "replace") for key in self.ledger.stale())
        missing = set(filter(is_timestamp, tops)) - self._before.claimed
        found: set[str] = set()
        for run_id in holders:
            if missing <= found:
                break
            folder = records.held_folder(self.destination.read(f"{records.FOLDER}/runs/{run_id}/{records.HOLDER}"))
            found |= {folder} if folder else missing  # of a damaged one nobody knows which it is
        return found

    def _read_owner(self) -> records.OwnerRecord | None:
        if self._before.owned:
            return self._read_marker()
        path = f"{records.FOLDER}/{records.OWNER}"
        try:
            if not self._before.runs and not self.ledger.remote_count():
                self.destination.prove_empty(path, known=records.is_record)
            elif any(self.destination.find([path.encode()]).lines()):
                failure = guards.check_listing((path,), 1, self.destination.place)
                if failure:
                    raise failure
        except Failure:
            self._refuse_newcomer()
            raise
        return None

    def _refuse_newcomer(self) -> None:
        """Refuse to go on beside a run that has written its marker after the listing: then that listing did not hide it."""
        folder = f"{records.FOLDER}/"
        found = self.destination.names_below(folder, deep=True)
        if records.OWNER in found:
            state = records.read_state((folder + name).encode() for name in found)
            others = state.rivals(1, besides=self.settings.run_id) or ("one that has just begun",)
            failure = guards.check_busy(others, self.destination.place)
            if failure:
                raise failure

    def _read_marker(self) -> records.OwnerRecord:
        path = f"{records.FOLDER}/{records.OWNER}"
        return records.read_owner(self.destination.read(path), place=self.destination.remote(path))

    def _load_known(self) -> bool:
        """Fill in what the latest runs left, and whose they were; return whether a manifest of theirs is damaged."""
        ledger, latest = self.ledger, self._before.latest_runs()
        self.rivals.place = self._before.latest + (0 if latest == [self.settings.run_id] else 1)
        beyond = damaged = False
        strangers: set[Owner] = set()
        copies: list[tuple[str, str]] = []
        dated = bool(latest)
        for run_id in latest:
            run = self._before.runs[run_id]
            told: list[tuple[str, str]] = []
            fetched = self._fetch_manifest(run_id)
            try:
                header = manifest.load_known(
                    fetched,
                    run_id=run_id,
                    finished=run.finished,
                    add=partial(ledger.add_known, finished=run.finished, again=run_id == self.settings.run_id),
                    forget=ledger.forget_known,
                    doubt=ledger.doubt,
                    # this run's own word for them does not count: earlier ones wrote them
                    miss=partial(ledger.add_known, finished=True, again=False),
                    find=ledger.add_found,
                    copied=told.append,
                )
            except ValueError as error:
                # what it lists stays unknown, so the guards will refuse rather than delete
                self.say(f"The manifest of run {run_id} is damaged: {error}")
                damaged, dated = True, False
                continue
            dated = dated and bool(header.copied_at) and header.source == self.settings.owner
            if header.source not in (self.settings.owner, self._taken_over_from()):
                strangers.add(header.source)
            if header.source == self.settings.owner:
                copies += [*told, *([(header.copied_at, run_id)] if run_id != self.settings.run_id else [])]
            if run.finished and len(latest) == 1 and header.source == self.settings.owner:
                self._finished_manifest = fetched
            beyond = beyond or (not run.finished and header.copy_method == transfer.DIRECT)
        self._strangers = tuple(sorted(strangers, key=str))
        self._latest_copy = self._find_latest_copy(copies, dated=dated)
        if ledger.doubted_count():
            self._look_back()
        ledger.end_doubt()
        if beyond:
            ledger.tolerate()
        return damaged

    def _fetch_manifest(self, run_id: str) -> str:
        return self.destination.fetch(f"{records.FOLDER}/runs/{run_id}/{records.MANIFEST}")

    def _taken_over_from(self) -> Owner | None:
        """Return whose the mirror was that this volume has adopted, while the run that did so is not on record: it was broken off there."""
        marker = self._owner
        if marker is None or marker.owner != self.settings.owner or not marker.adopted:
            return None
        run = self._before.runs.get(marker.created_by)
        return None if run is not None and run.begun else marker.previous

    def _look_back(self) -> None:
        """Ask the manifests of the runs before about objects that are there although the latest run says that their files vanished.

        Earlier versions of this agent said so of files that had only changed before, and whose objects stayed.
        """
        for run_id in self._before.runs_before():
            try:
                manifest.load_known(
                    self._fetch_manifest(run_id),
                    run_id=run_id,
                    finished=self._before.runs[run_id].finished,
                    add=lambda known: self.ledger.confirm(key for key, _, _ in known),
                    forget=_exhaust,
                    doubt=_exhaust,
                    find=_exhaust,
                )
            except ValueError as error:
                self.say(f"The manifest of run {run_id} is damaged: {error}")

    def _ask_guards(self, found_owner: Owner | None) -> None:
        settings, ledger = self.settings, self.ledger
        found = guards.Mirror(
            place=self.destination.place,
            owner=found_owner,
            objects=ledger.remote_count(),
            foreign=ledger.foreign_count(),
            foreign_names=tuple(printing.readable(key) for key in ledger.foreign(limit=_EXAMPLES)),
            mirrored=ledger.mirrored_count(),
            stale=ledger.stale_count(),
            source=ledger.sources()[0],
            written=ledger.written_count(),
            gone=ledger.lost_count(),
            shrunk=ledger.shrunk_count(),
            source_bytes=ledger.sources()[1],
            written_bytes=ledger.written_bytes(),
            nested=self._nested,
            strangers=self._strangers,
            unexplained=self._before.unexplained(besides=settings.run_id),
        )
        losses = LossCheck(self)
        failure = (
            guards.check_owner(found, owner=settings.owner, adopt=settings.adopt)
            or self._check_later_copy()
            or losses.check_listing()
            or losses.check_losses(found)
        )
        if failure:
            raise failure

    def _check_later_copy(self) -> Failure | None:
        """Refuse to replace a later copy of this volume (law L3)."""
        return guards.check_later_copy(
            self._latest_copy, moment=self.settings.copied_at, now=self._soon, place=self.destination.place
        )

    def _find_latest_copy(self, told: Iterable[tuple[str, str]], *, dated: bool) -> tuple[str, str]:
        """Return moment and run of the latest copy of this volume that was mirrored here: as the latest runs' manifests have `told`, or, for
        runs of an earlier version and those that have lost records, as the ids of all runs let expect. `dated`: those manifests have the moments
        of all copies; ids are by another clock. Adoption forgets those that have not come yet: a clock was wrong.
        """
        marker, others = self._owner, 0  # the place up to which the runs are another volume's, or forgotten
        if self._strangers or (marker and marker.owner != self.settings.owner) or self._taken_over_from():
            others = self._before.latest
        elif marker and marker.adopted and marker.created_by in self._before.runs:
            others = (self._before.runs[marker.created_by].place or 1) - 1
        above = self._before.latest if dated else others
        copies = [
            *told,
            *self._before.recorded(besides=self.settings.run_id, above=above),
            *self._maimed_copies(others),
        ]
        if self.settings.adopt:
            believed = [each for each in copies if each[0] <= self._soon]
            self._adopting = len(believed) < len(copies)
            copies = believed
        return max(copies, default=("", ""))

    def _maimed_copies(self, others: int) -> Iterator[tuple[str, str]]:
        """Yield moment and run of the copies whose runs have lost their manifest or their place; `others` as above."""
        for run_id in self._before.maimed(besides=self.settings.run_id)[:_MAIMED]:
            run = self._before.runs[run_id]
            moment = records.recorded_at(run_id) if (run.place or 0) > others or not others else ""
            if run.manifest:
                with suppress(ValueError):
                    header = manifest.read_header(self._fetch_manifest(run_id))
                    moment = (header.copied_at or moment) if header.source == self.settings.owner else ""
            if moment:
                yield moment, run_id

    def _done(self) -> str:
        """What this attempt has done so far, for a failure's sentence."""
        if not self.rivals.moving:
            return "Nothing was moved or deleted"
        return f"It stopped amid its work. {tell_deletions(self.deletions.count)}"

    def announce(self, manifest_path: str) -> None:
        """Say whose mirror this is and what the run is about to write; see that it is there and that nobody else is about to write as well; then
        clear what stands in the way.

        Of two runs that do so at once, at least one looks after the other's records were all there, and is refused before its first byte; one
        that moves already gives way meanwhile (see `rivals`).
        Its next attempt finds the other one on record: with an older copy it is then refused for good, with a newer one it goes on.
        """
        folder = f"runs/{self.settings.run_id}"
        claiming = self._owner is None or self._adopting
        if self._owner is None or self._adopting:
            self._owner = self._owner_record()
        contents: dict[str, bytes | str] = {
            f"{folder}/{records.MANIFEST}": manifest_path,
            # something is in them because some stores take what is empty for a folder
            f"{folder}/{records.place_name(self.rivals.place)}": b"\n",
            # each run writes the marker, so that it is never older than the other records and goes before them
            records.OWNER: msgspec.json.encode(self._owner),
        }
        earlier = self._before.runs.get(self.settings.run_id)
        if earlier and earlier.finished:
            # the run is being done again; until it is through, it is not finished
            self.destination.remove(self.run_folder + records.OUTCOME)
        if earlier and earlier.stopped:
            self.destination.remove(self.run_folder + records.STOPPED)
        self._announced = True
        if earlier:
            # whoever looked between the two would judge this attempt by what its earlier one said of its copy
            path = f"{folder}/{records.MANIFEST}"
            self.destination.put(f"{records.FOLDER}/", {path: contents.pop(path)})
        self.destination.put(f"{records.FOLDER}/", contents)
        if claiming:
            self._confirm_owner()
        in_the_way = bool(self.ledger.blockers())  # takes its time, so it comes before the look
        state = self.rivals.look(demand=True)
        self.rivals.outlast(state)
        self.rivals.moving = True
        if in_the_way:
            self.deletions.clear_the_way(self.tally)
        for run_id in sorted(self._before.arriving):
            # a mirror's run that began before this one is over, and so is this one's earlier attempt
            run = self._before.runs.get(run_id, records.Run())
            if run.place is not None or run.finished:
                self.remove_arrived(run_id)

    def _owner_record(self) -> records.OwnerRecord:
        owner = self.settings.owner
        before = self._owner.owner if self._owner else None
        return records.OwnerRecord(
            cluster=owner.cluster,
            namespace=owner.namespace,
            pvc=owner.pvc,
            created_by=self.settings.run_id,
            created_at=self.now(),
            object=self.settings.object_name,
            adopted=self._adopting,
            previous=next((each for each in (before, *self._strangers) if each and each != owner), None),
        )

    def _confirm_owner(self) -> None:
        """Read the marker back: two volumes may have found the same empty root at the same time, and the last marker stands."""
        written = self._read_marker()
        if written.owner != self.settings.owner or written.created_by != self.settings.run_id:
            failure = guards.check_busy((written.created_by,), self.destination.place)
            if failure:
                raise failure

    def last_words(self) -> dict[str, bytes | str]:
        """Say that this attempt moves nothing any more: a newer run need not wait."""
        return {records.STOPPED: b"\n"} if self._announced else {}

    def close(self) -> None:
        """End also the look for rivals."""
        self.rivals.close()
        super().close()

    def has_checksums(self) -> bool:
        """Take them from the run before: no file has changed since, and all were just compared."""
        return not self.proves or digests.carry(self.ledger, manifest_path=self._finished_manifest)

    def earlier_manifest(self) -> str:
        """Return the manifest of the last run that came to its end; empty where it cannot be had. Others may have begun since, and this run itself."""
        run_id = self._before.last_finished()
        if self._finished_manifest or not run_id:
            return self._finished_manifest
        with suppress(Failure):  # it may be in an archive by now; nothing else depends on it
            return self._fetch_manifest(run_id)
        return ""

    def expected(self) -> int:
        """Count the records of runs as well."""
        return super().expected() + _RECORDS * (len(self._before.runs) + 1)

    def after_listing(self, listing: Listing | Rows) -> Iterator[Row]:
        """Yield the data objects of a listing after the run; take note of its records."""
        self._listed = True
        for row in listing.rows():
            if not self._after.take(row[0]):
                yield row

    def remarks(self) -> list[str]:
        """Return also what is said about objects of unknown origin."""
        odd = [printing.readable(key) for key in self.ledger.odd(limit=_EXAMPLES)]
        told = remarks.about_found(self.ledger.found_count()) + remarks.about_odd(self.ledger.odd_count(), odd)
        return super().remarks() + told

    def rehash_size(self) -> int:
        """Adopted objects may have come in parts of any size."""
        return 0 if self._adopting or (self._owner is not None and self._owner.adopted) else super().rehash_size()

    def complete(self, folder: str) -> Iterator[manifest.Entry]:
        """Delete what the source no longer has; everything else has arrived. Then prove that everything else is still there."""
        self.rivals.refuse(self._after)
        if self._listed and not self._after.owned:
            self.destination.demand(f"{records.FOLDER}/{records.OWNER}", {})
        if self.ledger.stale_count():
            self.rivals.look()
        before = self.deletions.count
        try:
            self.deletions.sweep(self.tally)
        except Failure as failure:
            failure.message = f"All files arrived. {failure.message}"
            raise
        if self.deletions.count > before or self.ledger.stale_count():
            self._prove(folder)
        # a finished run vouches for what its manifest lists, so what stays must be in it
        return self._staying()

    def _staying(self) -> Iterator[manifest.Entry]:
        """Yield lines about what the source does not have, stays, and the manifest does not say yet."""
        for key in self.ledger.spared():
            yield self.describe(key)
        for key, written in self.ledger.reappeared():
            yield manifest.about(manifest.KEPT if written else manifest.FOUND, key)

    def _prove(self, folder: str) -> None:
        """Look once more: the deletions have taken nothing of the source, and all that they were to take (law L4)."""
        later = records.State()
        self.ledger.add_after((key, size) for key, size in self.list_again(folder).lines() if not later.take(key))
        self.rivals.refuse(later)
        place = self.destination.remote(folder)
        failure = mismatch(
            compare(self.ledger, source=self.source, frozen=not self.settings.direct),
            place=place,
            direct=self.settings.direct,
            deleted=self.deletions.count,
        )
        self.deletions.keep(tuple(self.ledger.beyond_reach()))
        left = self.ledger.undeleted(limit=_EXAMPLES)
        if left and not failure:
            failure = not_deleted([printing.readable(key) for key in left], place=place)
        if failure:
            raise failure


def _exhaust(keys: Iterable[bytes]) -> None:
    """Read a stream to its end, for nothing."""
    for _ in keys:
        pass
