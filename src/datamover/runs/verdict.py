"""What a run is at, in one value: what is the case, what is to be done, what is to be recorded and told. Pure.

The kind turns a verdict into its own status in one place. Nothing here knows what that status looks like.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from datamover.api.transfer import Outcome, Progress
from datamover.plans.conditions import Said, State
from datamover.plans.known import Refusal
from datamover.plans.steps import Effect, Emit
from datamover.runs.record import Stage


class Facet(Enum):
    """A part of a run that a status may tell apart from the run as a whole."""

    COPY = "the copy is ready"
    MOVE = "the data are at the destination"
    CHECK = "they were compared with the source"
    CLEAN = "what was temporary is gone"
    TRIGGER = "the user of the source has said that the copy may be taken"


class News(Enum):
    """When a verdict is worth a write (law L9). A status that would stay the same is never written."""

    CHANGED = "the status would change"
    WORDS = "more than the numbers in its message would change"
    REASON = "another reason is told, or none"
    HALTED = "the status does not say that the run is at work"


@dataclass(frozen=True, slots=True)
class Tally:
    """What the mover has done, to be recorded as far as the kind can. Without `progress` none is shown any longer.

    `attempts` is None where nothing new is known of it. `outcome` is the mover's last word.
    """

    attempts: int | None = None
    progress: Progress | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Renamed:
    """The names that are taken instead of those that somebody else holds. `snapshot` is None where there is none."""

    claim: str
    snapshot: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`state`, `reason` and `message` say what is the case; `stage` is the one that the run enters with it, None when it stays.

    Order: the steps of `before`, the status where that is news, the steps of `after`. `fenced` carries out `after` first, under the status
    as it is: for what is told already and is to stay told until it is done. `events` go with a status that is written, or with the steps of
    `after`, besides the event that a state brings; `announced` tells that they are all that is to be said. `cause` is the reason of what went wrong where the status tells how it goes on.

    To be recorded: `job` and `copied` (the moment of the copy), `renamed`, `tally`. `kept` is the name of a copy that stays after a
    failure.
    """

    state: State
    reason: str
    message: str
    action: str
    stage: Stage | None = None
    facets: Mapping[Facet, Said] = field(default_factory=dict[Facet, Said])
    news: News = News.CHANGED
    before: tuple[Effect, ...] = ()
    after: tuple[Effect, ...] = ()
    fenced: bool = False
    events: tuple[Emit, ...] = ()
    announced: bool = False
    cause: str | None = None
    job: str | None = None
    copied: str | None = None
    renamed: Renamed | None = None
    tally: Tally | None = None
    kept: str | None = None
    wake_after: float | None = None


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to tell of the run as a whole: do `steps`, and look again in `wake_after` seconds, or when something changes.

    `facets` are parts of which something is told afterwards, with `events` where that is news: the rest of the status stays as it is.
    """

    steps: tuple[Effect, ...] = ()
    wake_after: float | None = None
    facets: Mapping[Facet, Said] = field(default_factory=dict[Facet, Said])
    events: tuple[Emit, ...] = ()


Answer = Verdict | Rest


def working(reason: str, message: str, *, action: str = "Synchronize", news: News = News.CHANGED) -> Verdict:
    """Return that it goes on."""
    return Verdict(State.WORKING, reason, message, action, news=news)


def blocked(
    reason: str,
    message: str,
    *,
    action: str,
    facet: Facet | None = None,
    news: News = News.WORDS,
    wake_after: float | None = None,
) -> Verdict:
    """Return that it waits for something that somebody may have to do. `facet` is the part that this holds up.

    What drivers, schedulers and registries say varies in its numbers from one minute to the next: that is no news.
    """
    facets = {facet: ("False", reason, message)} if facet is not None else {}
    return Verdict(State.BLOCKED, reason, message, action, facets=facets, news=news, wake_after=wake_after)


def refused(refusal: Refusal, *, action: str) -> Verdict:
    """Return that the API server refuses a step, which is tried again."""
    message = f"{refusal.message}; trying again"
    return blocked(refusal.reason, message, action=action, wake_after=refusal.retry_after)
