"""What a kind asks of a run: whose it is, what is copied, what moves it, and how far it is recorded to be. Pure.

An order is all that a run may know of the kind. It is derived anew for each decision, from the object's spec and status: where another
project's definitions are installed, nothing can be recorded but what they know.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from datamover.api import names
from datamover.api.fields import Fields
from datamover.api.names import CopyMethod
from datamover.api.ownership import Owner
from datamover.plans.steps import Create, Effect
from datamover.runs.facts import RunFacts
from datamover.runs.record import Record
from datamover.runs.verdict import Answer, Rest, Verdict
from kubekit.words.meta import HasMeta, Manifest


@dataclass(frozen=True, slots=True)
class Passage:
    """The copy may be taken: do `steps`, or what `told` says, then make it with these annotations."""

    annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    steps: tuple[Effect, ...] = ()
    told: Verdict | None = None

    def lead_to(self, create: Create) -> Answer:
        """Return the answer that ends with making the copy."""
        if self.told is None:
            return Rest((*self.steps, create))
        return replace(self.told, after=(*self.told.after, create))


OPEN: Final = Passage()
"""Nobody holds anything back."""


class Gate(Protocol):
    """Holds a copy back until its time has come, as a copy trigger on the source does (`runs.trigger`)."""

    def ask(self, order: "Order", facts: RunFacts, /) -> Passage | Answer:
        """Return what is waited for, or how the copy is to be taken. Asked only while there is neither copy nor snapshot of it."""
        ...

    def close(self, order: "Order", facts: RunFacts, /) -> Rest | None:
        """Return what is to be done and told of a copy that there is, before all else; None when that is nothing.

        With neither steps nor facets the run goes on, and is looked at again in time.
        """
        ...


@dataclass(frozen=True, slots=True)
class Copy:
    """The point-in-time copy of `source`, of a `names.CopyMethod`.

    `claim` is the copy's name, None where the source itself is read. `spare` is the name to take when somebody else holds that one; without
    one the run waits. `size` and `access_modes` are the copy's where they are not the source's. `temporary` tells that the copy and its Job go when the data are moved; a snapshot always does. `round` is the run id
    that children of this run carry as a label, where the next run's children have the same names; None where names are never used again. `blocks` tells that the mover
    copies Block volumes as well.
    """

    method: str
    source: str
    claim: str | None
    snapshot: str | None = None
    spare: str | None = None
    storage_class: str | None = None
    snapshot_class: str | None = None
    size: str | int | None = None
    access_modes: tuple[str, ...] | None = None
    temporary: bool = True
    round: str | None = None
    gate: Gate | None = None
    blocks: bool = False

    @property
    def direct(self) -> bool:
        """Whether there is no copy, because the source itself is read."""
        return self.method == CopyMethod.DIRECT

    @property
    def by_snapshot(self) -> bool:
        """Whether the copy is made of a snapshot."""
        return self.method == CopyMethod.SNAPSHOT


@dataclass(frozen=True, slots=True)
class Readable:
    """The claim that a mover reads. `copied` is the moment before which its data cannot have been copied; None where it is no copy.

    `read_only`: it can, or may, only be mounted for reading.
    """

    claim: str
    copied: str | None
    read_only: bool


@dataclass(frozen=True, slots=True)
class Transfer:
    """The mover's Job: its name, the container in it that moves the data, how to build it, and its deadline in seconds, if any.

    `temporary` tells that the Job goes when the data are moved where there is no copy that it would go with. `verification` is the method of comparing
    that the mover was told, in the words of its user; empty where it was told none.
    """

    job: str
    container: str
    build: Callable[[Readable], Manifest]
    deadline: int | None = None
    temporary: bool = False
    verification: str = ""


@dataclass(frozen=True, slots=True)
class Unheard:
    """When it is told that nothing is heard of a child that does not get on, in seconds, and with which reason."""

    after: float
    reason: str


@dataclass(frozen=True, slots=True)
class Order:
    """One run. `fields` is how the kind calls what its user can change: sentences quote it.

    `unheard` is of a snapshot that nobody takes up and of a claim that nobody binds, while the cluster says nothing of them; without it that is
    waited for without a word.
    """

    owner: Owner
    copy: Copy
    transfers: tuple[Transfer, ...]
    record: Record
    fields: Fields
    unheard: Mapping[str, Unheard] = field(default_factory=dict[str, Unheard])

    @property
    def job_is_temporary(self) -> bool:
        """Whether the Job goes when the data are moved."""
        return self.transfer.temporary if self.copy.direct else self.copy.temporary

    @property
    def transfer(self) -> Transfer:
        """The transfer that is carried out."""
        return self.transfers[0]

    def is_left_over(self, child: HasMeta) -> bool:
        """Tell whether a child was made by a run before this one, which used the same names.

        One without the label was made by a version, or a project, that has none: it counts as this run's.
        """
        return self.copy.round is not None and child.metadata.label(names.RUN_ID_LABEL) not in (None, self.copy.round)
