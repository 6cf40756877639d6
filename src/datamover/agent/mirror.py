"""An attempt to mirror: `<root>` becomes what the source is, and what the source no longer has goes away.

What may be deleted: objects that the manifest of the mirror's latest run lists, that were there before this run, and that the source no
longer has (law L3; the rule is in `deleting`). Each manifest lists all that the one before it left, so the latest is enough.
"""

from collections.abc import Iterator

import msgspec

from datamover.agent import guards, manifest, names, records, walk
from datamover.agent.attempt import Attempt, Surroundings
from datamover.agent.destination import Listing
from datamover.agent.environment import Owner
from datamover.agent.verify import compare, mismatch, not_deleted
from datamover.api import transfer

_EXAMPLES = 3


class Mirror(Attempt):
    """See the module."""

    def __init__(self, given: Surroundings) -> None:
        super().__init__(given)
        self._before = records.State()
        self._after = records.State()
        self._owner: records.OwnerRecord | None = None
        self._place = 1
        self._adopting = False
        self._begun: Listing | None = None
        self._root: Listing | None = None

    def begin(self) -> None:
        """List the whole root, which is the first look, beside the walk."""
        self._begun = self.destination.start_listing(patient=False)
        self.destination.control.start()

    @property
    def may_look(self) -> bool:
        """Whether the listing has ended."""
        return self._begun is not None and self._begun.child.ended

    def look(self) -> None:
        """Take the listing that was begun; begin another one when it had failed."""
        listing = self._begun
        self._begun = None
        self._root = self.destination.finish(listing or self.destination.start_listing(patient=False))

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
        beyond_intent, damaged = self._load_known()
        found_owner = self._owner.owner if self._owner else None
        if self.settings.adopt:
            self._adopting = found_owner != self.settings.owner or bool(
                self.ledger.foreign_count(beyond_intent=beyond_intent)
            )
            # what a damaged manifest listed is no stranger's: the guard counts it
            self.ledger.adopt(as_written=damaged)
        if self.options.selects:
            visible = self.destination.list_visible(
                environment=self.data_environment(), objects=self.ledger.remote_count()
            )
            self.ledger.see_only(visible.lines())
        # timestamped copies that were adopted with the rest stay what they are: a mirror deletes no backups
        protected = {folder.encode() for folder in self._before.claimed}
        if self.tally.lost_and_found:
            protected.add(walk.LOST_AND_FOUND)  # neither looked into nor moved, so nobody can say what is in it
        self.ledger.protect(sorted(protected))
        self._ask_guards(found_owner, beyond_intent=beyond_intent)
        for key in self.ledger.stale():
            writer.add(manifest.about(manifest.STALE, key))
        for key in self.ledger.kept():
            writer.add(manifest.about(manifest.KEPT, key))
        return ""

    def _read_owner(self) -> records.OwnerRecord | None:
        if not self._before.owned:
            return None
        path = f"{records.FOLDER}/{records.OWNER}"
        return records.read_owner(self.destination.read(path), place=self.destination.remote(path))

    def _load_known(self) -> tuple[bool, bool]:
        """Fill in what the latest runs left; return whether one of them read a live source and did not finish, and whether a
        manifest of theirs is damaged.
        """
        beyond = damaged = False
        for run_id in self._before.latest_runs():
            run = self._before.runs[run_id]
            self._place = self._before.latest if run_id == self.settings.run_id else self._before.latest + 1
            path = self.destination.fetch(f"{records.FOLDER}/runs/{run_id}/{records.MANIFEST}")
            try:
                header = manifest.load_known(
                    path,
                    run_id=run_id,
                    finished=run.finished,
                    add=self.ledger.add_known,
                    forget=self.ledger.forget_known,
                )
            except (ValueError, msgspec.MsgspecError) as error:
                # what it lists stays unknown, so the guards will refuse rather than delete
                self.say(f"The manifest of run {run_id} is damaged: {error}")
                damaged = True
                continue
            beyond = beyond or (not run.finished and header.copy_method == transfer.DIRECT)
        return beyond, damaged

    def _ask_guards(self, found_owner: Owner | None, *, beyond_intent: bool) -> None:
        settings, ledger = self.settings, self.ledger
        found = guards.Mirror(
            place=self.destination.place,
            owner=found_owner,
            foreign=ledger.foreign_count(beyond_intent=beyond_intent),
            foreign_names=tuple(
                names.readable(key) for key in ledger.foreign(limit=_EXAMPLES, beyond_intent=beyond_intent)
            ),
            mirrored=ledger.mirrored_count(),
            stale=ledger.stale_count(),
            source=ledger.sources()[0],
            written=ledger.written_count(),
            gone=ledger.lost_count(),
            truncated=ledger.truncated_count(),
            nested=tuple(self._before.nested),
        )
        limit = self.options.data.get("RCLONE_MAX_DELETE", "")
        failure = guards.check_owner(found, owner=settings.owner, adopt=settings.adopt) or guards.check_source_size(
            found,
            allow_empty=settings.allow_empty,
            max_delete_percent=settings.max_delete_percent,
            max_delete=int(limit) if limit.lstrip("-").isdigit() else None,
        )
        if failure:
            raise failure

    def announce(self, manifest_path: str) -> None:
        """Say whose mirror this is and what the run is about to write; then clear what stands in the way."""
        folder = f"runs/{self.settings.run_id}"
        contents: dict[str, bytes | str] = {
            f"{folder}/{records.MANIFEST}": manifest_path,
            f"{folder}/{records.place_name(self._place)}": b"",
        }
        claiming = self._owner is None or self._adopting
        if claiming:
            contents[records.OWNER] = msgspec.json.encode(self._owner_record())
        earlier = self._before.runs.get(self.settings.run_id)
        if earlier and earlier.finished:
            # the run is being done again; until it is through, it is not finished
            self.destination.remove(self.run_folder + records.OUTCOME)
        self.destination.put(f"{records.FOLDER}/", contents)
        if claiming:
            self._confirm_owner()
        self.deletions.clear_the_way(self.tally)

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
            previous=before if before != owner else None,
        )

    def _confirm_owner(self) -> None:
        """Read the marker back: two volumes may have found the same empty root at the same time, and the last marker stands."""
        path = f"{records.FOLDER}/{records.OWNER}"
        written = records.read_owner(self.destination.read(path), place=self.destination.remote(path))
        if written.owner != self.settings.owner or written.created_by != self.settings.run_id:
            failure = guards.check_busy((written.created_by,), self.destination.place)
            if failure:
                raise failure

    def after_listing(self, listing: Listing) -> Iterator[tuple[bytes, int]]:
        """Yield the data objects of a listing after the run; take note of its records."""
        for key, size in listing.lines():
            if not self._after.take(key):
                yield key, size

    def rehash_size(self) -> int:
        """Adopted objects may have come in parts of any size."""
        return 0 if self._adopting or (self._owner is not None and self._owner.adopted) else super().rehash_size()

    def complete(self, folder: str, manifest_path: str) -> None:
        """Delete what the source no longer has; everything else has arrived. Then prove that everything else is still there."""
        others = self._after.begun_since(self._before, besides=self.settings.run_id)
        failure = guards.check_busy(others, self.destination.place)
        if failure:
            raise failure
        before = self.deletions.count
        self.deletions.sweep(self.tally)
        if self.deletions.spared:
            # a finished run vouches for what its manifest lists, so what stays must be in it
            self.append(manifest_path, (walk.describe(self.source, key) for key in self.ledger.spared()), timeout=None)
        if self.deletions.count > before:
            self._prove(folder)

    def _prove(self, folder: str) -> None:
        """Look once more: the deletions have taken nothing of the source, and all that they were to take (law L4)."""
        later = records.State()
        self.ledger.add_after(
            (key, size) for key, size in self.destination.list_all(folder).lines() if not later.take(key)
        )
        place = self.destination.remote(folder)
        failure = mismatch(
            compare(self.ledger, source=self.source),
            place=place,
            direct=self.settings.direct,
            deleted=self.deletions.count,
        )
        left = self.ledger.undeleted(limit=_EXAMPLES)
        if left and not failure:
            failure = not_deleted([names.readable(key) for key in left], place=place)
        if failure:
            raise failure
