"""The object store, as far as laws speak of it: who writes which folder when."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from datamover.api import names, transfer
from kubekit.words import timestamps
from support.simulation.calls import Tree
from support.simulation.history import History, Time
from support.simulation.trees import environment_of, label_of, owners_of, uid_of

_FOLDER = "%Y-%m-%d-%H%M%S"


@dataclass
class Mover:
    """One mover's Pod while and after it ran. `mover` is the UID of the object whose mover it is, `claim` what it read or wrote, with its UID."""

    mover: str
    pod: str
    run: str
    timestamp: str
    folder: str
    claim: str
    began: float
    claim_uid: str = ""
    job: str = ""
    ended: float | None = None
    succeeded: bool = False


class Destination:
    """Guards law L6 from the other side: one folder a run, never two movers of one DataMover at once."""

    def __init__(self, clock: Time, history: History) -> None:
        self.movers: list[Mover] = []
        self.clock = clock
        self._history = history
        self._folders: dict[str, str] = {}

    def begin(self, pod: Tree, claim: str, claim_uid: str = "") -> Mover:
        """A mover's container starts. Another one of its DataMover must not be running."""
        environment = environment_of(pod)
        owner = label_of(pod, names.OWNER_UID_LABEL)
        run, timestamp = environment[transfer.RUN_ID], environment.get(transfer.TIMESTAMP, "")
        folder = self._claim(run, timestamp) if environment.get(transfer.ADD_TIMESTAMP_PREFIX) == "true" else ""
        job = next(iter(owners_of(pod)), "")
        mover = Mover(owner, uid_of(pod), run, timestamp, folder, claim, self.clock.monotonic(), claim_uid, job)
        for other in self.movers:
            if other.mover == owner and other.ended is None:
                self._history.breaks("L7", f"two movers of one DataMover run at once: {other} and {mover}")
        self.movers.append(mover)
        return mover

    def end(self, pod: str, *, succeeded: bool) -> Mover | None:
        """A mover's container has ended."""
        for mover in self.movers:
            if mover.pod == pod and mover.ended is None:
                mover.ended, mover.succeeded = self.clock.monotonic(), succeeded
                return mover
        return None

    def of(self, uid: str) -> list[Mover]:
        """Return the movers that a DataMover has had."""
        return [mover for mover in self.movers if mover.mover == uid]

    def _claim(self, run: str, timestamp: str) -> str:
        """Two runs never share a folder: the later one takes the next free second, and keeps it (DESIGN, section 5)."""
        known = next((folder for folder, holder in self._folders.items() if holder == run), None)
        if known is not None:
            return known
        folder = timestamp
        while folder in self._folders:
            moment = datetime.strptime(folder, _FOLDER).replace(tzinfo=UTC) + timedelta(seconds=1)
            folder = timestamps.folder(moment)
        self._folders[folder] = run
        return folder
