"""Reading what a mover's Pods say. `container` is everywhere the name of the container that moves the data. Pure."""

from dataclasses import dataclass
from typing import Final

from datamover.api import reasons, transfer
from datamover.api.fields import Fields
from datamover.api.outside import Unusable
from datamover.api.restore import Restored
from datamover.api.transfer import Outcome, decode_outcome, parse_outcome
from kubekit.words.core import ContainerStateTerminated, Pod

KNOWN_REASONS: Final = frozenset(value for name, value in vars(transfer).items() if name.startswith("REASON_"))
"""Reasons that our own agent gives. An image of somebody else's may say anything, and a reason becomes a metric's label."""
_PULL: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable"})
_NOT_STARTED: Final = frozenset({"StartError", "ContainerCannotRun"})
_OOM: Final = "OOMKilled"
_CONFIG: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why a mover does not start: a reason and a sentence. `patience` is how many seconds it may last before people are told."""

    reason: str
    message: str
    patience: float


def read_outcome(pod: Pod, container: str) -> Outcome | None:
    """Return what the mover wrote into its termination message; None when it has not ended or wrote nothing readable."""
    ended = _end_of(pod, container)
    return decode_outcome(ended.message) if ended is not None else None


def read_restored(pod: Pod, container: str) -> Restored | None:
    """Return what a mover that restores says of its restore, after a failure too; None when it has not ended, wrote nothing readable, or says nothing of one."""
    outcome = read_outcome(pod, container)
    return outcome.restoration if outcome is not None else None


def find_flaw(pods: tuple[Pod, ...], container: str) -> str | None:
    """Return why the outcome that a mover left cannot be used, such as `it does not fit: ...`; None when none left such a one."""
    for pod in pods:
        ended = _end_of(pod, container)
        try:
            parse_outcome(ended.message if ended is not None else None)
        except Unusable as error:
            return str(error)
    return None


def newest(pods: tuple[Pod, ...]) -> Pod | None:
    """Return the Pod of the last attempt."""
    return max(pods, key=lambda pod: (pod.metadata.creation_timestamp or "", pod.metadata.name), default=None)


def is_running(pod: Pod, container: str) -> bool:
    """Tell whether the mover's container runs."""
    return any(
        status.name == container and status.state is not None and status.state.running is not None
        for status in (pod.status and pod.status.container_statuses) or ()
    )


def has_ended(pod: Pod) -> bool:
    """Tell whether the Pod is over, one way or the other."""
    return (pod.status and pod.status.phase) in ("Succeeded", "Failed")


def is_disrupted(pod: Pod) -> bool:
    """Tell whether the Pod was ended for a reason outside of it, such as a node that is drained: that counts as no attempt."""
    return any(
        c.type == "DisruptionTarget" and c.status == "True" for c in (pod.status and pod.status.conditions) or ()
    )


def ran_out_of_memory(pod: Pod, container: str) -> bool:
    """Tell whether the kernel ended the mover's container because it had reached its memory limit."""
    ended = _end_of(pod, container)
    return ended is not None and ended.reason == _OOM


def describe_end(pod: Pod, container: str) -> str:
    """Return how a Pod without a readable outcome ended: exit code, signal or the node's reason."""
    ended = _end_of(pod, container)
    if ended is not None:
        if ended.reason in _NOT_STARTED:
            # there is no log to look into, and the message is the node's own
            return f"the mover could not be started ({ended.reason}): {ended.message or 'no reason given'}"
        why = f" ({ended.reason})" if ended.reason and ended.reason != "Error" else ""
        flaw = find_flaw((pod,), container)
        left = f"left an outcome that cannot be used: {flaw}" if flaw else "left no outcome"
        return f"the mover ended with exit code {ended.exit_code}{why} and {left}"
    reason = pod.status and pod.status.reason
    message = pod.status and pod.status.message
    return f"the mover's Pod failed: {reason or 'no reason given'}{f' ({message})' if message else ''}"


def find_hindrance(pod: Pod, *, fields: Fields) -> Hindrance | None:
    """Return why the Pod does not start, as its node and the scheduler report it. `fields` is how the kind calls what helps."""
    if pod.status is None or has_ended(pod):
        return None
    for status in pod.status.container_statuses or ():
        waiting = status.state and status.state.waiting
        if not waiting or not waiting.reason:
            continue
        detail = waiting.message or waiting.reason
        if waiting.reason == "InvalidImageName":
            return Hindrance(
                reasons.INVALID_IMAGE, f"{detail}: correct {fields.image} and create the {fields.kind} anew", 0
            )
        if waiting.reason in _PULL:
            return Hindrance(
                reasons.IMAGE_PULL_FAILED,
                f"the mover's image cannot be pulled: {detail}. Check {fields.image}, the registry and {fields.pull_secrets}",
                0,
            )
        if waiting.reason in _CONFIG:
            return Hindrance(
                reasons.MOVER_CANNOT_START,
                f"the mover cannot start: {detail}. It starts by itself when that is mended",
                2,
            )
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False":
            return Hindrance(
                reasons.MOVER_UNSCHEDULABLE,
                f"no node takes the mover: {condition.message or condition.reason or 'no reason given'}",
                10,
            )
    return None


def _end_of(pod: Pod, container: str) -> ContainerStateTerminated | None:
    """Return how the mover's container ended, None when it has not."""
    for status in (pod.status and pod.status.container_statuses) or ():
        if status.name == container and status.state is not None and status.state.terminated is not None:
            return status.state.terminated
    return None
