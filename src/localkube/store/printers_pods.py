"""Cells of Pods: the one kind whose status column is a judgement over all its containers."""

from datetime import datetime
from typing import Any

from localkube.store.durations import age
from localkube.store.kinds import Column
from localkube.store.trees import Tree, entries, is_tree, look, mapping, sequence, text

POD_COLUMNS = (
    Column("Ready", description="How many containers are ready."),
    Column("Status", description="The aggregate status of the containers."),
    Column("Restarts", description="How often containers were restarted."),
    Column("Age", description="Time since the Pod was created."),
    Column("IP", priority=1),
    Column("Node", priority=1),
    Column("Nominated Node", priority=1),
    Column("Readiness Gates", priority=1),
)
"""The columns behind the name."""

_NONE = "<none>"


def pod_cells(tree: Tree, now: datetime) -> list[Any]:
    """Return the cells of a Pod."""
    statuses = list(entries(look(tree, "status", "containerStatuses")))
    ready = sum(1 for s in statuses if s.get("ready") is True and look(s, "state", "running") is not None)
    restarts = sum(int(s.get("restartCount") or 0) for s in statuses)
    last = max((text(look(s, "lastState", "terminated", "finishedAt")) for s in statuses), default="")
    return [
        text(look(tree, "metadata", "name")),
        f"{ready}/{len(sequence(look(tree, 'spec', 'containers')))}",
        _status(tree, statuses),
        f"{restarts} ({age(last, now)} ago)" if restarts and last else str(restarts),
        age(look(tree, "metadata", "creationTimestamp"), now),
        text(look(tree, "status", "podIP")) or _NONE,
        text(look(tree, "spec", "nodeName")) or _NONE,
        text(look(tree, "status", "nominatedNodeName")) or _NONE,
        _NONE,
    ]


def _status(tree: Tree, statuses: list[Tree]) -> str:
    phase = text(look(tree, "status", "phase"))
    reason = text(look(tree, "status", "reason")) or phase
    reason = _initializing(tree) or _judge(statuses, reason)
    if look(tree, "metadata", "deletionTimestamp") and phase not in {"Succeeded", "Failed"}:
        return "Unknown" if look(tree, "status", "reason") == "NodeLost" else "Terminating"
    return reason


def _initializing(tree: Tree) -> str:
    total = len(sequence(look(tree, "spec", "initContainers")))
    for position, status in enumerate(entries(look(tree, "status", "initContainerStatuses"))):
        ended = look(status, "state", "terminated")
        if is_tree(ended):
            if mapping(ended).get("exitCode") == 0:
                continue
            return f"Init:{_ending(mapping(ended))}"
        why = text(look(status, "state", "waiting", "reason"))
        if why and why != "PodInitializing":
            return f"Init:{why}"
        return f"Init:{position}/{total}"
    return ""


def _judge(statuses: list[Tree], reason: str) -> str:
    running, failure = False, ""
    for status in reversed(statuses):
        waiting = text(look(status, "state", "waiting", "reason"))
        ended = look(status, "state", "terminated")
        if waiting:
            reason = waiting
        elif is_tree(ended):
            reason = _ending(mapping(ended))
            if mapping(ended).get("exitCode"):
                failure = reason
        elif status.get("ready") is True and look(status, "state", "running") is not None:
            running = True
    if reason == "Completed":
        if running:
            return "Running"
        return failure or reason
    return reason


def _ending(ended: Tree) -> str:
    if ended.get("reason"):
        return text(ended["reason"])
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode')}"
