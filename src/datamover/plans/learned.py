"""What carrying out a plan has taught: the actor's answer to the reconciler, as data. Pure."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from datamover.plans.known import Diagnosis, OwnersFound, Placement, Refusal
from datamover.plans.steps import Emit, Step
from datamover.plans.watch import Sample
from kubekit.client.errors import KubeError

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Written(Generic[T, S]):
    """A status that the server has taken: the object as it was before, and the status.

    `cause` is the reason of the attempt that failed, when that is what the status tells. `stored` is what the server has made of the
    status: it drops fields that the definition does not have. None where its answer was lost.
    """

    before: T
    status: S
    cause: str | None = None
    stored: S | None = None


@dataclass(frozen=True, slots=True)
class Failed(Generic[S]):
    """The step that ended a plan early, and what it met."""

    step: Step[S]
    error: KubeError


@dataclass(frozen=True, slots=True)
class Learned(Generic[T, S]):
    """What the steps that were carried out have taught, in the order of the plan.

    `told` is the last event that was recorded. `deleted` are the UIDs whose deletion the server has agreed to. `failed` is the step that did not go through, if any; `refusal` says it
    in words for the status, where it is an answer that people have to know of. `crash` is a defect of ours that ended the plan.
    """

    written: tuple[Written[T, S], ...] = ()
    deleted: tuple[str, ...] = ()
    diagnosis: Diagnosis | None = None
    placement: Placement | None = None
    owners: OwnersFound | None = None
    sample: Sample | None = None
    told: Emit | None = None
    refusal: Refusal | None = None
    failed: Failed[S] | None = None
    crash: Exception | None = None
