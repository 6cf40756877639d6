"""One Pod as it lives on this node: what runs, how it ended, and how that is found again after the node's own end.

NODE_RESTART is the reason of a Pod with restartPolicy Never that lost a container with its node.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kubekit.runtime.clock import Clock
from kubekit.runtime.store import Key
from kubekit.words import timestamps
from localkube.node import pods
from localkube.node.mounts import termination_path
from localkube.node.pod_directory import PodDirectory
from localkube.node.pod_kinds import Container, Pod
from localkube.node.pods import ContainerView, PodView, Running, Terminated, Waiting
from localkube.node.process import Exit

NODE_RESTART = "NodeRestart"


@dataclass(slots=True)
class LocalPod:
    """What this node has of one Pod. `ends` are ends that were heard of and are not yet part of the views."""

    uid: str
    key: Key
    directory: PodDirectory
    views: dict[str, ContainerView] = field(default_factory=dict[str, ContainerView])
    ends: dict[str, Exit] = field(default_factory=dict[str, Exit])
    started: str = ""
    doom: tuple[str, str] | None = None
    disrupted: str | None = None
    kill_at: float | None = None
    killed: bool = False
    recovered: bool = False
    volumes_gone: bool = False

    @property
    def running(self) -> list[ContainerView]:
        """Containers that run."""
        return [view for view in self.views.values() if isinstance(view.state, Running)]

    @property
    def view(self) -> PodView:
        """What the status is made from."""
        return PodView(self.views, self.started, doom=self.doom, disrupted=self.disrupted)


async def recover(pod: Pod, local: LocalPod, *, clock: Clock) -> None:
    """Build the views from what is on disk, and see whether something went with an earlier node."""
    known = {s.get("name"): s for s in _reported(pod)}
    for container in (*pods.init_containers_of(pod), *pods.containers_of(pod)):
        attempts = await asyncio.to_thread(local.directory.attempts, container.name)
        reported = known.get(container.name, {})
        local.views[container.name] = ContainerView(_reported_wait(reported) or _first_wait(pod))
        for attempt in attempts[-2:]:
            view = local.views[container.name]
            last = view.state if isinstance(view.state, Terminated) else None
            end = await _end_of(local, container, attempt.number, attempt.id, attempt.exit, clock)
            local.views[container.name] = ContainerView(end, last=last, restarts=attempt.number, id=attempt.id)
        if not attempts and _has_run(reported):
            local.views[container.name] = ContainerView(
                Terminated(137, "ContainerStatusUnknown", finished=_now(clock), lost=True)
            )
    local.started = (pod.status.start_time if pod.status else None) or timestamps.seconds(clock.now())
    local.recovered = True
    never = pod.spec is not None and pod.spec.restart_policy == "Never"
    lost = [name for name, view in local.views.items() if isinstance(view.state, Terminated) and view.state.lost]
    if lost and never and not pod.finished:
        message = f"The node was restarted while container {lost[0]} ran"
        local.doom, local.disrupted = (NODE_RESTART, message), message


async def absorb_ends(local: LocalPod, pod: Pod | None, *, clock: Clock) -> None:
    """Make the ends that were heard of part of the views. Reads termination messages."""
    while local.ends:
        name, end = local.ends.popitem()
        view = local.views[name]
        container = find(pod, name) or Container(name=name)
        terminated = await _end_of(local, container, view.restarts, view.id, end, clock)
        local.views[name] = replace(view, state=terminated)


async def _end_of(
    local: LocalPod, container: Container, number: int, id_: str, end: Exit | None, clock: Clock
) -> Terminated:
    lost = end is None or (end.node_gone and end.code != 0)
    if end is None:
        return Terminated(137, "ContainerStatusUnknown", finished=_now(clock), id=id_, lost=True)
    from_log = container.termination_message_policy == "FallbackToLogsOnError" and end.code != 0
    message = await asyncio.to_thread(
        local.directory.message, container.name, termination_path(container), number=number, from_log=from_log
    )
    return Terminated(
        code=end.code,
        reason="Completed" if end.code == 0 else "Error",
        started=end.started,
        finished=end.finished,
        signal=end.signal,
        message=message,
        id=id_,
        lost=lost,
    )


def find(pod: Pod | None, name: str) -> Container | None:
    """Return a container of a Pod by its name."""
    if pod is None:
        return None
    everything = (*pods.init_containers_of(pod), *pods.containers_of(pod))
    return next((container for container in everything if container.name == name), None)


def _now(clock: Clock) -> str:
    return timestamps.micros(clock.now())


def _reported(pod: Pod) -> list[Mapping[str, Any]]:
    status = pod.status
    if status is None:
        return []
    return [*(status.init_container_statuses or ()), *(status.container_statuses or ())]


def _first_wait(pod: Pod) -> Waiting:
    return Waiting(pods.INITIALIZING if pods.init_containers_of(pod) else pods.CREATING)


def _reported_wait(reported: Mapping[str, Any]) -> Waiting | None:
    """What the server has, so that a restarted node does not say something else for a moment (law L9)."""
    waiting = _part(_part(reported, "state"), "waiting")
    return Waiting(str(waiting.get("reason", "")), str(waiting.get("message", ""))) if waiting else None


def _has_run(reported: Mapping[str, Any]) -> bool:
    state = _part(reported, "state")
    return "running" in state or "terminated" in state


def _part(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] | None = tree.get(name)
    return found if found is not None else {}
