"""Asking the cluster why something does not get on, and a mover how far it is. A help, so that a failure of it is none."""

from datamover.api import names
from datamover.api.transfer import read_progress
from datamover.plans.known import Diagnosis, Placement
from datamover.plans.steps import Inquire, Locate, SampleLog
from datamover.plans.watch import Sample
from kubekit.client.client import Client
from kubekit.client.errors import KubeError
from kubekit.words.core import EVENTS, POD_MOUNTS, Event, PodMounts

_LOG_TAIL = 100
"""Lines from the end of a mover's log. The agent says how far it is within any 40."""
_LOG_BYTES = 1 << 20
_USERS = 3  # so many are named
_ALIVE = ("Running", "Pending")
_ENDED = ("Succeeded", "Failed")


async def inquire(client: Client, step: Inquire) -> Diagnosis:
    """Return what the cluster says of a child."""
    find = _find_writers if step.writers else _find_users if step.users else _find_warning
    return Diagnosis(step.topic, await find(client, step))


async def sample_log(client: Client, step: SampleLog) -> Sample:
    """Return the last progress in a mover's log, or why it cannot be read now: it is read again the next time."""
    try:
        log = await client.logs(
            step.pod.name,
            namespace=step.pod.namespace or "",
            container=step.container,
            tail_lines=_LOG_TAIL,
            limit_bytes=_LOG_BYTES,
        )
    except KubeError as error:
        return Sample(step.pod.uid, problem=str(error) or type(error).__name__)
    found = (read_progress(line) for line in reversed(log.splitlines()))
    return Sample(step.pod.uid, next((progress for progress in found if progress is not None), None))


async def _find_warning(client: Client, step: Inquire) -> str | None:
    """Return the newest warning about a child."""
    try:
        events = await client.list(
            EVENTS,
            namespace=step.target.namespace or "default",  # where events about what is in no namespace are
            field_selector=f"involvedObject.uid={step.target.uid},type=Warning",
        )
    except KubeError:
        return None
    newest = max((each for each in events if each.reason not in step.over), key=_moment, default=None)
    if newest is None or not newest.message:
        return None
    return f"{newest.reason}: {newest.message}" if newest.reason else newest.message


async def _find_users(client: Client, step: Inquire) -> str | None:
    """Return the Pods that use a claim, empty when there are none; None when they may not be read."""
    try:
        pods = await client.list(POD_MOUNTS, namespace=step.target.namespace)
    except KubeError:
        return None
    return _name([pod for pod in pods if pod.uses(step.target.name)])


async def _find_writers(client: Client, step: Inquire) -> str | None:
    """Return the Pods that write a claim, or may soon: those that have not ended, on a node or not, unless the node mounts it for reading only.

    Movers count that only read it: what they back up would be half of what is written.
    """
    try:
        pods = await client.list(POD_MOUNTS, namespace=step.target.namespace)
    except KubeError:
        return None
    alive = (pod for pod in pods if (pod.status and pod.status.phase) not in _ENDED)
    name = step.target.name
    return _name([pod for pod in alive if pod.writes(name) or (_is_mover(pod) and pod.mounts(name))])


def _is_mover(pod: PodMounts) -> bool:
    return pod.metadata.label(names.OWNER_UID_LABEL) is not None


def _name(users: list[PodMounts]) -> str:
    shown = ", ".join(_describe_user(pod) for pod in users[:_USERS])
    return f"{shown} and {len(users) - _USERS} more" if len(users) > _USERS else shown


async def locate(client: Client, step: Locate) -> Placement:
    """Return on which node a claim is used, by a Pod that is not a mover: one that runs, else one that is to. Where Pods may not be read, nobody
    knows.
    """
    claim = step.claim
    try:
        pods = await client.list(POD_MOUNTS, namespace=claim.namespace)
    except KubeError:
        return Placement(claim.uid)
    users = [
        pod
        for pod in pods
        if pod.metadata.label(names.OWNER_UID_LABEL) is None
        and (pod.status and pod.status.phase) in _ALIVE
        and pod.uses(claim.name)
    ]
    chosen = min(
        users, key=lambda pod: (_ALIVE.index((pod.status and pod.status.phase) or ""), pod.metadata.name), default=None
    )
    if chosen is None or chosen.spec is None:
        return Placement(claim.uid)
    return Placement(claim.uid, chosen.spec.node_name, chosen.spec.tolerations or ())


def _describe_user(pod: PodMounts) -> str:
    phase = (pod.status and pod.status.phase) or "of unknown phase"
    node = pod.spec.node_name if pod.spec is not None else None
    return f"Pod {pod.metadata.name} ({phase}, on {f'node {node}' if node else 'no node yet'})"


def _moment(event: Event) -> str:
    return event.last_timestamp or event.event_time or event.metadata.creation_timestamp or ""
