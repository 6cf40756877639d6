"""Logs of Pods: the options of a request, and the seam to the node that has the logs."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from kubekit.words import timestamps
from localkube.store.calls import Call
from localkube.store.statuses import StatusError, bad_request, invalid, prohibited
from localkube.store.trees import Tree, entries, is_tree, look, text


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What of a container's log is wanted. `since` is the earliest moment, `tail` a count of lines, `limit` one of bytes."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail: int | None = None
    limit: int | None = None
    since_seconds: int | None = None
    since: datetime | None = None


class LogReader(Protocol):
    """Where logs come from: a node. Raises KeyError when the container has no log (yet)."""

    async def __call__(self, namespace: str, pod: str, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Return the log in chunks of any size. The iterator is closed (`aclose`, when it has one) as soon as nobody reads."""
        ...


def read_log_options(call: Call) -> LogOptions:
    """Return the options of a request. Raises StatusError 400 and 422."""
    tail, limit, since = call.number("tailLines"), call.number("limitBytes"), call.number("sinceSeconds")
    moment = call.query.get("sinceTime") or None
    if since is not None and moment is not None:
        raise invalid(
            "",
            "PodLogOptions",
            call.name,
            [prohibited("sinceSeconds", "at most one of `sinceTime` or `sinceSeconds` may be specified")],
        )
    try:
        parsed = timestamps.parse(moment) if moment else None
    except ValueError:
        raise bad_request(f'unable to parse query parameter "sinceTime": {moment}') from None
    return LogOptions(
        follow=call.flag("follow"),
        previous=call.flag("previous"),
        timestamps=call.flag("timestamps"),
        tail=tail,
        limit=limit,
        since_seconds=since,
        since=parsed,
    )


def choose_container(pod: Tree, asked: str) -> str:
    """Return the container whose log is meant. Raises StatusError 400 when it is unclear, unknown or not started."""
    name = text(look(pod, "metadata", "name"))
    names = [text(c.get("name")) for c in entries(look(pod, "spec", "containers"))]
    first = [text(c.get("name")) for c in entries(look(pod, "spec", "initContainers"))]
    if not asked:
        if len(names) != 1:
            raise bad_request(
                f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
                + (f" or one of the init containers: [{' '.join(first)}]" if first else "")
            )
        asked = names[0]
    if asked not in {*names, *first}:
        raise bad_request(f"container {asked} is not valid for pod {name}")
    return asked


def no_log(pod: Tree, container: str, *, previous: bool) -> StatusError:
    """Return the refusal for a container that has no log, with the reason that its status gives."""
    name = text(look(pod, "metadata", "name"))
    if previous:
        return bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
    for group in ("containerStatuses", "initContainerStatuses"):
        for status in entries(look(pod, "status", group)):
            waiting = look(status, "state", "waiting")
            if status.get("name") == container and is_tree(waiting):
                reason = text(waiting.get("reason")) or "ContainerCreating"
                said = text(waiting.get("message"))
                why = f"{reason}: {said}" if said else reason
                return bad_request(f'container "{container}" in pod "{name}" is waiting to start: {why}')
    return bad_request(f'container "{container}" in pod "{name}" is waiting to start: ContainerCreating')
