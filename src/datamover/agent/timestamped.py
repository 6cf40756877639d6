"""An attempt to copy into a folder of its own, `<root>/YYYY-MM-DD-HHMMSS/`. Nothing is ever deleted.

The folder is claimed first and recorded with the run, so that no two runs share one and every attempt of a run uses the same (law L6).
"""

import random

import msgspec

from datamover.agent import claims, manifest, rclone, records
from datamover.agent.attempt import Attempt, Surroundings, pause
from datamover.agent.destination import Listing


class Timestamped(Attempt):
    """See the module."""

    def __init__(self, given: Surroundings) -> None:
        super().__init__(given)
        self._held = False
        self._early_claim: rclone.Child | None = None

    def start_probe(self) -> Listing:
        """List what an earlier attempt of this run has recorded; nearly always nothing, so a claim is written beside it."""
        if self._early_claim is None:
            stamp = self.settings.timestamp
            self._early_claim = self.destination.start_putting(*self._claim_objects(stamp))
        return self.destination.start_listing(self.run_folder, patient=False)

    def settle(self, writer: manifest.Writer) -> str:
        """Return the folder that this run holds, claiming one when no earlier attempt has."""
        del writer
        recorded = {key for key, _ in self.probe().lines()}
        self.list_controls()
        if records.HOLDER.encode() in recorded:
            raw = self.destination.read(self.run_folder + records.HOLDER)
            folder = msgspec.json.decode(raw, type=records.ClaimRecord).timestamp
            self._held = True
            if self._claimed_early() and folder != self.settings.timestamp:
                self._do(claims.Action(claims.WITHDRAW, self.settings.timestamp))
            there = self.destination.finish(self.destination.start_listing(f"{folder}/"))
            self.ledger.add_remote(there.lines())
        else:
            folder = self._claim()
        self.facts.timestamp = folder
        return f"{folder}/"

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
        run_id = self.settings.run_id
        folder = f"{records.FOLDER}/claims/{action.folder}/"
        if action.kind == claims.PUT:
            if not (action.folder == self.settings.timestamp and self._claimed_early()):
                self.destination.put(*self._claim_objects(action.folder))
        elif action.kind == claims.WITHDRAW:
            self.destination.remove(f"{folder}{run_id}.json")
        elif action.kind == claims.PAUSE:
            pause(0.1 * 2**action.number * (1 + random.random()), self.stop)  # noqa: S311 - only to come at different times
        else:
            asked: tuple[rclone.Child, ...] = (
                self.destination.start_peek(folder),
                self.destination.start_peek(f"{action.folder}/"),
            )
            claimants, objects = (self.destination.peek(child) for child in asked)
            return claims.Seen(
                claimants=frozenset(name.removesuffix(".json") for name in claimants), occupied=bool(objects)
            )
        return claims.Seen()

    def _claimed_early(self) -> bool:
        """Tell whether the claim that was written beside the probe is there."""
        return self._early_claim is not None and self._early_claim.wait() == 0

    def _claim_objects(self, folder: str) -> tuple[str, dict[str, bytes | str]]:
        name = f"{self.settings.run_id}.json"
        return f"{records.FOLDER}/claims/{folder}/", {name: self._claim_record(folder)}

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
