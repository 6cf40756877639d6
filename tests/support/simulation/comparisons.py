"""Comparing a backup with its manifest in a simulated history: the mover that does so, and what it finds."""

from dataclasses import dataclass, field

from datamover.api import names, restore, transfer
from datamover.api.transfer import Outcome
from datamover.api.verification import CONTAINER, Compared
from support.simulation.calls import Tree
from support.simulation.conduct import End
from support.simulation.history import History, Time
from support.simulation.trees import environment_of, label_of, name_of, uid_of


def compares(pod: Tree) -> bool:
    """Tell whether a Pod, or the template of a Job's, is one that compares."""
    return pod["spec"]["containers"][0]["name"] == CONTAINER


@dataclass
class Comparison:
    """One attempt to compare. `mover` is the UID of the DataMover, `round_` the id of the verification, `point` the run that it compares."""

    mover: str
    pod: str
    round_: str
    point: str
    began: float
    ended: float | None = None
    reason: str = ""
    succeeded: bool = False


@dataclass
class Comparisons:
    """All comparisons. `damage` is the reason with which a comparison ends now, empty where nothing is wrong."""

    clock: Time
    history: History
    damage: str = ""
    all: list[Comparison] = field(default_factory=list[Comparison])

    def begin(self, pod: Tree) -> None:
        """A container that compares starts. Another one of its DataMover must not be running."""
        environment, owner = environment_of(pod), label_of(pod, names.OWNER_UID_LABEL)
        made = Comparison(
            owner, uid_of(pod), environment[transfer.RUN_ID], environment[restore.POINT], self.clock.monotonic()
        )
        if any(each.mover == owner and each.ended is None for each in self.all):
            self.history.breaks("L7", f"two comparisons of one DataMover run at once: {made}")
        self.all.append(made)

    def end(self, pod: str, end: End) -> Outcome | None:
        """A container that compares has ended as `end` says, or with what it has found; return its last words."""
        running = next((each for each in self.all if each.pod == pod and each.ended is None), None)
        if running is None:
            return None
        running.ended = self.clock.monotonic()
        found = self.damage if end.succeeded else end.reason
        running.succeeded, running.reason = end.succeeded and not found, found or transfer.REASON_SUCCEEDED
        return Outcome(
            run_id=running.round_,
            succeeded=running.succeeded,
            failure_class=transfer.VERIFY if end.succeeded and found else end.failure_class,
            reason=running.reason,
            retryable=end.retryable,
            message="3 objects, all there" if running.succeeded else f"the mover says {found}",
            destination="s3generic:bucket/",
            verified=running.succeeded,
            verification="download",
            compared=Compared(point=running.point),
        )

    def of(self, uid: str) -> list[Comparison]:
        """Return those of one DataMover."""
        return [each for each in self.all if each.mover == uid]


def left_of(jobs: list[Tree], pods: list[Tree]) -> list[str]:
    """Return what there is of comparisons."""
    return [name_of(each) for each in jobs if compares(each["spec"]["template"])] + [
        name_of(each) for each in pods if compares(each)
    ]
