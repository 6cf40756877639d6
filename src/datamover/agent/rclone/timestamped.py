"""An attempt to copy into a folder of its own, `<root>/YYYY-MM-DD-HHMMSS/`. Nothing is ever deleted.

The folder is claimed first and recorded with the run, so that no two runs share one and every attempt of a run uses the same (law L6).
"""

import random
from collections.abc import Iterable

import msgspec

from datamover.agent import printing
from datamover.agent.files import manifest
from datamover.agent.rclone import claims, older_copy, records, remarks
from datamover.agent.rclone.attempt import Attempt, Equipment
from datamover.agent.rclone.verify import not_of_this_copy

_EXAMPLES = 5


class Timestamped(Attempt):
    """See the module."""

    def __init__(self, given: Equipment) -> None:
        super().__init__(given)
        self._held = False
        self._recorded: list[str] = []
        self._extra = 0
        self._older: older_copy.Copy | None = None
        self._extra_names: list[str] = []

    def begin(self) -> None:
        """Start the engine; the first look is a small request."""
        self.destination.control.start()

    @property
    def may_look(self) -> bool:
        """Whether the engine is up."""
        return self.destination.control.ready

    def look(self) -> None:
        """See what an earlier attempt of this run has recorded."""
        self._recorded = self.destination.names_below(self.run_folder, patient=False)

    def settle(self, writer: manifest.Writer) -> str:
        """Return the folder that this run holds, claiming one when no earlier attempt has."""
        del writer
        self.probe()
        self.list_controls()
        folder = self._find_folder()
        if folder:
            self.destination.abandon_uploads(f"{folder}/")
            self.remove_arrived(self.settings.run_id)
            self.ledger.add_remote(self.destination.list_all(f"{folder}/").lines())
        else:
            if not self._recorded:
                self.destination.prove_empty(self.run_folder + records.HOLDER, known=records.is_record)
            folder = self._claim()
        self.facts.timestamp = folder
        return f"{folder}/"

    def _find_folder(self) -> str:
        """Return the folder that an earlier attempt of this run has taken; empty when there is none (law L6)."""
        if records.HOLDER in self._recorded:
            self._held = True
            path = self.run_folder + records.HOLDER
            return records.read_holder(
                self.destination.read(path),
                place=self.destination.remote(path),
                run_id=self.settings.run_id,
                source=self.settings.owner,
            ).timestamp
        if records.MANIFEST in self._recorded or records.OUTCOME in self._recorded:
            # the record of the folder is lost, and the claim tells
            found = self.destination.names_below(f"{records.FOLDER}/claims/", deep=True)
            return claims.find_held(found, run_id=self.settings.run_id)
        return ""

    def _claim(self) -> str:
        steps = claims.claiming(self.settings.timestamp, run_id=self.settings.run_id)
        answer = claims.Seen()
        try:
            action = next(steps)
            while True:
                answer = self._do(action)
                action = steps.send(answer)
        except StopIteration as end:
            return str(end.value)

    def _do(self, action: claims.Action) -> claims.Seen:
        name = f"{self.settings.run_id}.json"
        folder = f"{records.FOLDER}/claims/{action.folder}/"
        if action.kind == claims.PUT:
            self.destination.put(folder, {name: self._claim_record(action.folder)})
        elif action.kind == claims.WITHDRAW:
            self.destination.remove(folder + name)
        elif action.kind == claims.PAUSE:
            self.stop.pause(0.1 * 2**action.number * (1 + random.random()))  # noqa: S311 - only to come at different times
        else:
            claimants = self.destination.names_below(folder)
            return claims.Seen(
                claimants=frozenset(name.removesuffix(".json") for name in claimants),
                occupied=bool(self.destination.names_below(f"{action.folder}/")),
            )
        return claims.Seen()

    def _claim_record(self, folder: str) -> bytes:
        settings = self.settings
        return msgspec.json.encode(
            records.ClaimRecord(
                run_id=settings.run_id,
                timestamp=folder,
                source=settings.owner,
                object=settings.object_name,
                created_at=self.now(),
            )
        )

    def announce(self, manifest_path: str) -> None:
        """Record the folder and the intent together, before the first byte."""
        contents: dict[str, bytes | str] = {records.MANIFEST: manifest_path}
        if not self._held:
            contents[records.HOLDER] = self._claim_record(self.facts.timestamp or self.settings.timestamp)
        self.destination.put(self.run_folder, contents)

    def prepare(self, folder: str) -> None:
        """Take over what has not changed since the last copy of this volume, where that is worth the requests."""
        if self.ledger.worth(self.copied_sizes()) < older_copy.WORTH:
            return
        self._find_older(folder)
        if self._older is None:
            return
        older_copy.take_over(
            self._older,
            ledger=self.ledger,
            sync=self.sync,
            destination=self.destination,
            folder=folder,
            environment=self.data_environment(),
            report=self.report,
            scratch=self.scratch,
            say=self.say,
        )

    def copied_sizes(self) -> range:
        """Return also that the store copies nothing where what it has copied could not be told from something else."""
        # of a live source nothing is judged by its time of change, and without checksums nobody could tell what was copied
        may = self.proves and not self.settings.direct and older_copy.is_proved(self.data_environment())
        return older_copy.SIZES if may else range(0)

    def _find_older(self, folder: str) -> None:
        self._older = older_copy.find_copy(
            self.destination, owner=self.settings.owner, besides=folder.rstrip("/"), say=self.say
        )

    def earlier_manifest(self) -> str:
        """Return that of the copy from which the store has copied, perhaps for an earlier attempt: what it copied may have been sent all the same."""
        if self._older is None and self.copied_sizes():
            self._find_older(self.facts.timestamp or "")
        return self._older.manifest if self._older is not None else ""

    def proved_unchanged(self) -> bool:
        """Return also that nothing is to be found by listing the folder only: what does not belong there, where verification was asked for, and
        checksums. There is no run before to have them from.
        """
        return super().proved_unchanged() and not self.settings.verification.name and not self.ledger.sources()[0]

    def complete(self, folder: str) -> Iterable[manifest.Entry]:
        """Look for objects in the folder that are not of this copy. Raises Failure where verification was asked for."""
        for key in self.ledger.extra(frozen=not self.settings.direct):
            self._extra += 1
            if len(self._extra_names) < _EXAMPLES:
                self._extra_names.append(printing.readable(key))
        if self._extra and self.settings.verification.name:
            self.facts.verified = False
            raise not_of_this_copy(self._extra_names, self._extra, place=self.destination.remote(folder))
        return ()

    def remarks(self) -> list[str]:
        """Return also what lies in the folder and is not of this copy."""
        taken = remarks.about_taken_over(
            *self.ledger.taken_over(), folder=self._older.folder if self._older is not None else ""
        )
        return super().remarks() + taken + remarks.about_extra(self._extra, self._extra_names)
