"""What was learnt of an object from answers of the API server. Losing it costs a repetition, nothing else. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from datamover.api.transfer import Progress
from datamover.plans.steps import Emit
from datamover.plans.watch import UNWATCHED, ProgressWatch
from kubekit.words.meta import Manifest


@dataclass(frozen=True, slots=True)
class Refusal:
    """The API server's refusal of a step, kept until it goes through.

    While `fresh` it is to be told and waited out for the `retry_after` seconds that are left; after that the step is due again.
    `verb` is what was to be done to `target`, the kind and name of a child: once somebody else has created or deleted it, the
    refusal is no longer true.
    """

    reason: str
    message: str
    retry_after: float = 5.0
    fresh: bool = True
    target: tuple[str, str] | None = None
    verb: str = "create"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the cluster said of a child when it was asked, `age` seconds ago; `text` is None when it said nothing.

    `target` is the topic of the inquiry (`Inquire.topic`): what was said of one child explains no other.
    """

    target: str
    text: str | None
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the Pod runs that uses the claim with the UID `claim`, as it was `age` seconds ago; `node` is None when no Pod is on a node.

    `tolerations` are that Pod's, as a Pod has them.
    """

    claim: str
    node: str | None = None
    tolerations: tuple[Manifest, ...] = ()
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class OwnerFound:
    """An owner as the server shows it: whether one with its UID is alive, None where that could not be seen; whether we may say of another object
    that it must go before this owner (the right to update its finalizers); and what kept either from being known.
    """

    alive: bool | None
    may_block: bool = True
    problem: str = ""


@dataclass(frozen=True, slots=True)
class OwnersFound:
    """Owners by UID, as they were found `age` seconds ago."""

    found: Mapping[str, OwnerFound]
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What this process has had in its caches of an object and its children: what was seen and is no longer there is gone.

    `children` are (kind, name); `volume` is the name of the clone's PersistentVolume; `content` that of the snapshot's
    VolumeSnapshotContent, and `snapshot_class` the class that it is of.
    """

    children: frozenset[tuple[str, str]] = frozenset()
    volume: str | None = None
    content: str | None = None
    snapshot_class: str | None = None


UNSEEN: Final = Seen()
"""Nothing was seen yet."""


@dataclass(frozen=True, slots=True)
class Known:
    """All that is remembered of one object, as one decision may know it.

    `progress` is the last that a running mover's log said, and `progress_age` for how many seconds it is known; None when the log was
    not read yet. `watch` is what the samples of that log said one after the other. `seen` is what the caches held before. `placement` is where
    the user of a claim was found, `owners` whether those of an object are alive.
    """

    refusal: Refusal | None = None
    diagnosis: Diagnosis | None = None
    progress: Progress | None = None
    progress_age: float | None = None
    watch: ProgressWatch = UNWATCHED
    seen: Seen = UNSEEN
    placement: Placement | None = None
    owners: OwnersFound | None = None
    deleted: bool = False
    """The server has agreed to our deletion of it."""
    told: Emit | None = None
    """The last event that was recorded: kept for kinds that speak by events alone, so that they say it once (law L9)."""

    def untold(self, event: Emit) -> tuple[Emit, ...]:
        """Return the event unless it is what was said last. The related object does not count: its version changes."""
        last = self.told
        same = last is not None and (last.type, last.reason, last.message) == (event.type, event.reason, event.message)
        return () if same else (event,)


UNKNOWN: Final = Known()
"""Nothing was learnt yet."""
