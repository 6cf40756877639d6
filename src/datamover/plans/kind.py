"""What the reconciler and the actor need of a kind of objects: all that tells DataMover from the next one."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from datamover.api import names
from datamover.plans.known import UNSEEN, Known, Seen
from datamover.plans.learned import Learned
from datamover.plans.steps import Plan, Step
from kubekit.runtime.controller import Controller
from kubekit.runtime.gate import Gate
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key
from kubekit.words.meta import HasMeta, Manifest, Resource


class HasStatus(HasMeta, Protocol):
    """An object with a status, None when nothing was written yet."""

    @property
    def status(self) -> Any:
        """The status."""
        ...


T = TypeVar("T", bound=HasStatus)
S = TypeVar("S")
F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Line:
    """A line for the log."""

    text: str
    level: int = logging.INFO


class Kind(ABC, Generic[T, S, F]):
    """A kind `T` with the status `S`, about whose objects is decided on facts `F`.

    `gather` and `decide` change nothing. What has no meaning for a kind can be left as it is here.

    **A kind whose definition may be missing** says `optional = True`. It sleeps until the API server serves it and begins then, without a
    restart; when the definition goes, it sleeps again. Neither keeps another kind from starting: `/readyz`, a line of the log and
    `datamover_controller_asleep` tell of it. Its definition may be another project's and is not compared with ours: what a server drops of
    a status is noticed at the first write and no longer counts as a difference (`plans/pruned.py`). `definition` is then what the embedded
    world installs, and nothing else.

    **A kind that has to stand back**, such as from another operator, names the `gates` that it is behind (`kubekit.runtime.gate`). While
    one of them is closed nothing of it is watched, kept or written. One gate may be before several kinds: whoever puts the operator together
    makes it once. When a gate closes, `forget` is called for each object, and when all are open again `survey`.

    Both want an informer of their own as `objects`, which nobody else runs; it may be a part of a shared one (`kubekit.runtime.part`). A kind
    that is neither needs no word of this: it is waited for.

    **A kind that has to say what its status cannot** says `speaks_by_events`; what was told last is known to the next decision (`Known.told`), so that it
    is told once. Decisions about a kind whose status is not ours, such as claims, hold no `WriteStatus`.
    """

    resource: Resource[T]
    objects: Informer[T]
    """The cache of all objects of the kind."""

    created_by: Collection[str] = (names.CREATED_BY_VALUE,)
    """The values of the created-by label of its children."""

    children: Collection[Resource[Any]] = ()
    """What its children are, beside claims, snapshots and Jobs with their Pods, which are watched for all kinds."""

    definition: Manifest | None = None
    """The CustomResourceDefinition that the operator waits for, None when it needs none."""

    optional: bool = False
    """Whether it sleeps as long as there is no definition, in the place of being waited for."""

    to_the_end: bool = False
    """Whether it works until the last object is gone when its definition is deleted: with a finalizer of ours they would wait for ever."""

    gates: Collection[Gate] = ()
    """What it waits for beside that."""

    name: str = ""
    """What its controller is called in logs and metrics; the kind in small letters when it says nothing."""

    speaks_by_events: bool = False
    """Whether it says things by events alone: the status of its objects is somebody else's, or goes on saying that all is well."""

    note: Callable[[], str] | None = None
    """What `/readyz` tells of it, whether or not it works."""

    # Deciding.

    @abstractmethod
    def gather(self, obj: T, *, known: Known, now: datetime) -> F:
        """Return what there is to know about an object, from caches alone."""

    @abstractmethod
    def decide(self, facts: F) -> Plan[S]:
        """Return what to do next."""

    @abstractmethod
    def broken(self, obj: T, message: str, *, now: datetime) -> tuple[Step[S], ...]:
        """Return the steps that tell of a defect of ours: its status and an event (law L10)."""

    def seen(self, facts: F) -> Seen:
        """Return what of the facts is remembered for the next decision.

        An object that is never over, because it runs again and again, returns `UNSEEN` between two runs: what was seen to go in the
        one before says nothing of the next, whose children may have the same names.
        """
        del facts
        return UNSEEN

    # What a status says.

    def is_over(self, obj: T) -> bool:
        """Tell whether nothing more is to come by itself."""
        del obj
        return False

    def stage(self, status: S | None) -> str:
        """Return how far an object is. A status that changes nothing of it only tells how a wait goes."""
        del status
        return ""

    def says_same(self, one: S | None, other: S | None) -> bool:
        """Tell whether two statuses differ in nothing but times."""
        return one == other

    # Telling.

    def headline(self, before: S | None, status: S) -> Line | None:
        """Return what the log says of a status that was written, None when it is no news."""
        del before, status
        return None

    def occasion(self, obj: T) -> str:
        """Return the words before a deletion in the log: on what occasion it is made."""
        del obj
        return ""

    def is_told(self, obj: T) -> bool:
        """Tell whether the headline of the status has said already what a warning event says."""
        del obj
        return False

    def report(self, learned: Learned[T, S], obj: T, *, now: datetime) -> None:
        """Count what was learnt in acting for an object (law L10)."""
        del learned, obj, now

    # Coming and going.

    @abstractmethod
    def connect(self, controller: Controller) -> None:
        """Let whatever a decision depends on wake the objects that it concerns. `objects` wakes them already."""

    def survey(self) -> None:
        """Look at all objects, before the first of them is reconciled."""

    def notice(self, key: Key, obj: T) -> None:
        """Look at an object that is about to be reconciled."""
        del key, obj

    def forget(self, key: Key) -> None:
        """Forget an object that is gone."""
        del key
