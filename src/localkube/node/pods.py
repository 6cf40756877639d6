"""A Pod's status, and what is to happen with its containers next. Pure.

The words and rules are kubelet's: phases, conditions, waiting reasons, restart policies, crash back-off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from kubekit.words import timestamps
from kubekit.words.meta import Manifest
from localkube.node.environment import LOOPBACK
from localkube.node.pod_kinds import Container, Pod

CREATING = "ContainerCreating"
INITIALIZING = "PodInitializing"
MAX_CRASH_PAUSE = 300.0
_STEADY = 600.0
"""Seconds after which a container that ran that long starts its back-off anew."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The container does not run, and why."""

    reason: str = CREATING
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """The container runs since then (RFC 3339)."""

    started: str


@dataclass(frozen=True, slots=True)
class Terminated:
    """The container has ended. `lost` when it was ended because the node went."""

    code: int
    reason: str
    started: str = ""
    finished: str = ""
    signal: int | None = None
    message: str = ""
    id: str = ""
    lost: bool = False


@dataclass(frozen=True, slots=True)
class ContainerView:
    """A container as its node knows it. `restarts` counts starts after the first; `last` is how it ended before."""

    state: Waiting | Running | Terminated = field(default_factory=Waiting)
    last: Terminated | None = None
    restarts: int = 0
    id: str = ""
    pause: float = 0.0
    """Seconds of the latest crash back-off."""


@dataclass(frozen=True, slots=True)
class PodView:
    """Everything that the node knows of a Pod beyond its spec. `doom` is (reason, message) when the whole Pod has been ended."""

    containers: Mapping[str, ContainerView]
    started: str
    doom: tuple[str, str] | None = None
    disrupted: str | None = None


def containers_of(pod: Pod) -> tuple[Container, ...]:
    """Return the regular containers."""
    return (pod.spec.containers if pod.spec else None) or ()


def init_containers_of(pod: Pod) -> tuple[Container, ...]:
    """Return the init containers, in order."""
    return (pod.spec.init_containers if pod.spec else None) or ()


def refusal(pod: Pod) -> str | None:
    """Say what this node cannot do for a Pod, or None. What is accepted but not enforced is in `names.LIMITS`."""
    for container in (*init_containers_of(pod), *containers_of(pod)):
        what = _container_refusal(container)
        if what is not None:
            return f"this node {what} (container {container.name})"
    return None


def _container_refusal(container: Container) -> str | None:
    if container.security_context is not None and container.security_context.privileged:
        return "runs no privileged containers"
    for probe in ("liveness_probe", "readiness_probe", "startup_probe"):
        if getattr(container, probe) is not None:
            return f"does not run probes ({probe.replace('_probe', 'Probe')})"
    if container.lifecycle is not None:
        return "does not run lifecycle hooks"
    if container.restart_policy is not None:
        return "does not run sidecars or per-container restart policies"
    if container.tty or container.stdin:
        return "attaches no terminal or standard input (tty, stdin)"
    return None


# --- what next --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """Start these containers now."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to start; look again in so many seconds, or when something changes."""

    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class End:
    """No container will run again."""

    phase: str


def restarts(pod: Pod, end: Terminated) -> bool:
    """Tell whether a regular container that ended so is started again."""
    policy = (pod.spec.restart_policy if pod.spec else None) or "Always"
    return policy == "Always" or (policy == "OnFailure" and end.code != 0)


def next_step(pod: Pod, view: PodView, now: datetime, *, crash_base: float) -> Start | Rest | End:
    """Return what to do with a Pod that is not being deleted. Init containers run one after another, then all others together."""
    for container in init_containers_of(pod):
        known = view.containers[container.name]
        if isinstance(known.state, Terminated):
            if known.state.code == 0:
                continue
            if ((pod.spec.restart_policy if pod.spec else None) or "Always") == "Never":
                return End("Failed")
            return _again((container.name,), view, now, crash_base)
        return _again((container.name,), view, now, crash_base)
    regular = [c.name for c in containers_of(pod)]
    ends = [s for name in regular if isinstance(s := view.containers[name].state, Terminated)]
    if len(ends) == len(regular) and not any(restarts(pod, end) for end in ends):
        return End("Succeeded" if all(end.code == 0 for end in ends) else "Failed")
    due = tuple(
        name
        for name in regular
        if not isinstance(state := view.containers[name].state, Terminated) or restarts(pod, state)
    )
    return _again(due, view, now, crash_base)


def _again(due: tuple[str, ...], view: PodView, now: datetime, crash_base: float) -> Start | Rest:
    """Of the containers that are to run, start those that neither run nor sit out a back-off."""
    waits: list[float] = []
    ready: list[str] = []
    for name in due:
        known = view.containers[name]
        if isinstance(known.state, Running):
            continue
        end = known.state if isinstance(known.state, Terminated) else known.last
        left = 0.0
        if end is not None and end.finished:
            left = (timestamps.parse(end.finished) - now).total_seconds() + crash_pause(known, crash_base)
        if left > 0:
            waits.append(left)
        else:
            ready.append(name)
    return Start(tuple(ready)) if ready else Rest(min(waits, default=None))


def crash_pause(known: ContainerView, crash_base: float) -> float:
    """Return the back-off in seconds before a container that ended is started again."""
    end = known.state if isinstance(known.state, Terminated) else known.last
    if end is None:
        return 0.0
    if end.started and end.finished:
        ran = timestamps.parse(end.finished) - timestamps.parse(end.started)
        if ran > timedelta(seconds=_STEADY):
            return 0.0
    return min(crash_base * 2 ** min(known.restarts, 16), MAX_CRASH_PAUSE)


# --- status -----------------------------------------------------------------------------------------


def phase(pod: Pod, view: PodView) -> str:
    """Return the phase of a Pod. With `doom`, or when everything ended for good, it is final."""
    regular = [view.containers[c.name].state for c in containers_of(pod)]
    initial = [view.containers[c.name].state for c in init_containers_of(pod)]
    if view.doom is not None:
        return "Failed"
    never = ((pod.spec.restart_policy if pod.spec else None) or "Always") == "Never"
    if never and any(isinstance(state, Terminated) and state.code != 0 for state in initial):
        return "Failed"
    ends = [state for state in regular if isinstance(state, Terminated)]
    if regular and len(ends) == len(regular) and not any(restarts(pod, end) for end in ends):
        return "Succeeded" if all(end.code == 0 for end in ends) else "Failed"
    begun = any(isinstance(s, (Running, Terminated)) for s in regular)
    known = [view.containers[c.name] for c in containers_of(pod)]
    return "Running" if begun or any(k.last is not None for k in known) else "Pending"


def status(pod: Pod, view: PodView, now: datetime) -> Manifest:
    """Return the status to write. Conditions of others stay; ours keep their time while they do not change."""
    found = phase(pod, view)
    initial = [_container_status(c, view.containers[c.name], initial=True) for c in init_containers_of(pod)]
    regular = [_container_status(c, view.containers[c.name], initial=False) for c in containers_of(pod)]
    result: dict[str, Any] = {
        "phase": found,
        "startTime": view.started,
        "hostIP": LOOPBACK,
        "hostIPs": [{"ip": LOOPBACK}],
        "podIP": LOOPBACK,
        "podIPs": [{"ip": LOOPBACK}],
        "conditions": _conditions(pod, view, found, now),
        "containerStatuses": regular,
    }
    if initial:
        result["initContainerStatuses"] = initial
    if view.doom is not None:
        result["reason"], result["message"] = view.doom
    return result


def _container_status(container: Container, known: ContainerView, *, initial: bool) -> Manifest:
    running = isinstance(known.state, Running)
    done = initial and isinstance(known.state, Terminated) and known.state.code == 0
    return {
        "name": container.name,
        "image": container.image or "",
        "imageID": "",
        "containerID": _public(known.id),
        "ready": done if initial else running,
        "started": running and not initial,
        "restartCount": known.restarts,
        "state": _state(known.state),
        "lastState": _state(known.last) if known.last is not None else {},
    }


def _public(id_: str) -> str:
    """The part of a container's id that says nothing of this machine."""
    return f"local://{id_.rpartition('#')[2]}" if id_ else ""


def _state(state: Waiting | Running | Terminated) -> Manifest:
    match state:
        case Waiting(reason, message):
            return {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        case Running(started):
            return {"running": {"startedAt": _whole(started)}}
        case Terminated():
            found: dict[str, Any] = {
                "exitCode": state.code,
                "reason": state.reason,
                "startedAt": _whole(state.started),
                "finishedAt": _whole(state.finished),
            }
            if state.message:
                found["message"] = state.message
            if state.signal is not None:
                found["signal"] = state.signal
            if state.id:
                found["containerID"] = _public(state.id)
            return {"terminated": found}


def _whole(moment: str) -> str | None:
    """`metav1.Time` has whole seconds."""
    return timestamps.seconds(timestamps.parse(moment)) if moment else None


def _conditions(pod: Pod, view: PodView, found: str, now: datetime) -> list[Manifest]:
    before = {c.get("type"): c for c in (pod.status.conditions if pod.status else None) or ()}
    begun = any(not isinstance(view.containers[c.name].state, Waiting) for c in containers_of(pod)) or any(
        view.containers[c.name].last is not None for c in containers_of(pod)
    )
    incomplete = [
        c.name
        for c in init_containers_of(pod)
        if not (isinstance(s := view.containers[c.name].state, Terminated) and s.code == 0)
    ]
    unready = [c.name for c in containers_of(pod) if not isinstance(view.containers[c.name].state, Running)]
    initialized = ("True", "PodCompleted" if found == "Succeeded" else "", "")
    if incomplete and not begun:
        message = f"containers with incomplete status: [{' '.join(incomplete)}]"
        initialized = ("False", "ContainersNotInitialized", message)
    if found in ("Succeeded", "Failed"):
        ready = ("False", "PodCompleted" if found == "Succeeded" else "PodFailed", "")
    elif unready:
        ready = ("False", "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    else:
        ready = ("True", "", "")
    ours = {
        "PodReadyToStartContainers": ("False" if found in ("Succeeded", "Failed") else "True", "", ""),
        "Initialized": initialized,
        "Ready": ready,
        "ContainersReady": ready,
        "PodScheduled": ("True", "", ""),
    }
    if view.disrupted is not None:
        ours["DisruptionTarget"] = ("True", "TerminationByKubelet", view.disrupted)
    kept = [dict(condition) for type_, condition in before.items() if type_ not in ours]
    return [_condition(type_, *words, before.get(type_), now) for type_, words in ours.items()] + kept


def _condition(
    type_: str, value: str, reason: str, message: str, before: Mapping[str, Any] | None, now: datetime
) -> Manifest:
    same = before is not None and before.get("status") == value
    found: dict[str, Any] = {
        "type": type_,
        "status": value,
        "lastProbeTime": None,
        "lastTransitionTime": before["lastTransitionTime"] if before is not None and same else timestamps.seconds(now),
    }
    if reason:
        found["reason"] = reason
    if message:
        found["message"] = message
    return found


def unchanged(pod: Pod, wanted: Manifest) -> bool:
    """Tell whether a status says what the server has already, so that nothing needs to be written (law L9)."""
    known = pod.status
    if known is None:
        return False
    pairs = (
        (known.phase, wanted.get("phase")),
        (known.reason, wanted.get("reason")),
        (known.message, wanted.get("message")),
        (known.start_time, wanted.get("startTime")),
        (known.pod_ip, wanted.get("podIP")),
        (_plain(known.conditions), _plain(wanted.get("conditions"))),
        (_plain(known.container_statuses), _plain(wanted.get("containerStatuses"))),
        (_plain(known.init_container_statuses), _plain(wanted.get("initContainerStatuses"))),
    )
    return all(have == want for have, want in pairs)


def _plain(value: Any) -> Any:
    """Drop what means nothing, so that a server that leaves empty fields out compares equal."""
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        return {key: kept for key, item in fields.items() if (kept := _plain(item)) not in (None, "", {}, [])}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in cast("Sequence[Any]", value)]
    return value
