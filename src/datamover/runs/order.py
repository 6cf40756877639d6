"""What a kind asks of a run: whose it is, what is copied, what moves it, and how far it is recorded to be. Pure.

An order is all that a run may know of the kind. It is derived anew for each decision, from the object's spec and status: where another
project's definitions are installed, nothing can be recorded but what they know.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from datamover.api.fields import Fields
from datamover.api.names import CopyMethod
from datamover.api.ownership import Owner
from datamover.runs.facts import RunFacts
from datamover.runs.record import Record
from datamover.runs.verdict import Answer
from kubekit.words.meta import Manifest


class Gate(Protocol):
    """Holds a copy back until its time has come, as a copy trigger on the source does."""

    def __call__(self, facts: RunFacts, /) -> Answer | None:
        """Return what is waited for; None lets the copy be taken. Asked only while there is neither copy nor snapshot of it."""
        ...


@dataclass(frozen=True, slots=True)
class Copy:
    """The point-in-time copy of `source`, of a `names.CopyMethod`.

    `claim` is the copy's name, None where the source itself is read. `spare` is the name to take when somebody else holds that one; without
    one the run waits. `temporary` tells that the copy and its Job go when the data are moved; a snapshot always does.
    """

    method: str
    source: str
    claim: str | None
    snapshot: str | None = None
    spare: str | None = None
    storage_class: str | None = None
    snapshot_class: str | None = None
    temporary: bool = True
    gate: Gate | None = None

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
    """The mover's Job: its name, the container in it that moves the data, how to build it, and its deadline in seconds, if any."""

    job: str
    container: str
    build: Callable[[Readable], Manifest]
    deadline: int | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """One run. `fields` is how the kind calls what its user can change: sentences quote it."""

    owner: Owner
    copy: Copy
    transfers: tuple[Transfer, ...]
    record: Record
    fields: Fields

    @property
    def transfer(self) -> Transfer:
        """The transfer that is carried out."""
        return self.transfers[0]
