"""Waiting until an old child is gone; and when that takes long, saying which one, since when, what holds it and what to do. Pure.

Nothing is ever forced: finalizers are somebody's promise, and a Pod on a node that does not answer may still write (law L7).
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from datamover.movers.outcomes import has_ended
from datamover.plans.conditions import State
from datamover.plans.steps import Inquire, users_of
from datamover.reconcilers.datamover.blocking import age_of, block
from datamover.reconcilers.datamover.facts import Facts, Settings
from datamover.reconcilers.datamover.plan import Plan, Step
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, Pod
from kubekit.words.meta import HasMeta, Resource

PATIENCE: Final = 30.0
"""Seconds that a removal may take before people are told what it waits for."""

NODE_PATIENCE: Final = 60.0
"""Seconds that a mover may go on after its grace, or its node be silent, before people are told."""

_PVC_PROTECTION: Final = "kubernetes.io/pvc-protection"
_FOREGROUND: Final = "foregroundDeletion"
_EXPLAINED: Final = frozenset({_PVC_PROTECTION, _FOREGROUND})
"""Finalizers that go by themselves when the Pods do."""
_NODE_SILENT: Final = frozenset({"NodeLost", "NodeStatusUnknown"})
_SHOWN: Final = 3


def await_removal(
    facts: Facts,
    resource: Resource[Any],
    child: HasMeta,
    *,
    reason: str,
    purpose: str,
    action: str,
    now: datetime,
    settings: Settings,
    state: State = State.BLOCKED,
    meanwhile: tuple[Step, ...] = (),
) -> Plan:
    """Wait for a child that is being deleted. `purpose` is what happens afterwards; `meanwhile` is done while nothing is wrong yet."""
    meta = child.metadata
    waited = age_of(meta.deletion_timestamp, now)
    if waited < PATIENCE:
        return Plan(meanwhile, wake_after=PATIENCE - waited + 0.1)
    inquiry = inquire_users(facts, resource, child, settings=settings)
    if inquiry is not None and inquiry.steps:
        return inquiry
    held = describe_holders(facts, resource, child)
    message = f"{resource.kind} {meta.name} is being deleted since {meta.deletion_timestamp}{held}. {purpose}"
    told = block(facts, reason, message, action=action, now=now, state=state)
    wakes = settings.inquire_interval if not meta.owned_by(facts.mover.metadata.uid) else None
    return Plan(told, wake_after=inquiry.wake_after if inquiry is not None else wakes)


def await_pods(facts: Facts, pods: tuple[Pod, ...], *, reason: str, purpose: str, action: str, now: datetime) -> Plan:
    """Wait for Pods that have not ended though they were told to; no steps while that is not long ago."""
    ages = [age_of(pod.metadata.deletion_timestamp, now) for pod in pods if pod.metadata.terminating]
    if not ages or max(ages) < PATIENCE:
        return Plan(wake_after=PATIENCE - max(ages) + 0.1 if ages else None)
    message = f"{_list_pods(pods)} should have ended{_advise(facts, pods, others=())}. {purpose}"
    return Plan(block(facts, reason, message, action=action, now=now))


def find_lost(pods: tuple[Pod, ...], *, now: datetime) -> tuple[tuple[Pod, ...], float | None]:
    """Return the Pods that are gone with their node, by all that can be known, and in how many seconds the next one may be.

    The node of such a Pod reports nothing any more, so the Pod says "running" for ever, and no other takes its place.
    """
    silent = [(pod, age) for pod in pods if not has_ended(pod) and (age := _silence(pod, now)) is not None]
    lost = tuple(pod for pod, age in silent if age >= NODE_PATIENCE)
    due = min((NODE_PATIENCE - age + 0.1 for _, age in silent if age < NODE_PATIENCE), default=None)
    return lost, due


def describe_lost(facts: Facts, pods: tuple[Pod, ...]) -> str:
    """Return what is wrong with Pods that `find_lost` found, and what to do."""
    return (
        f"{_list_pods(pods)} gives no sign of life, and no other takes its place: two movers of one run never write at once. Its "
        f"node is down or hangs: bring it back; or, {_force(facts, pods[0])}"
    )


def _silence(pod: Pod, now: datetime) -> float | None:
    """Seconds since a Pod should have ended (its deletion time has the grace in it), or since its node was last heard of."""
    if pod.metadata.terminating:
        return age_of(pod.metadata.deletion_timestamp, now)
    for condition in (pod.status and pod.status.conditions) or ():
        if condition.type == "Ready" and condition.status != "True" and condition.reason in _NODE_SILENT:
            return age_of(condition.last_transition_time, now) if condition.last_transition_time else NODE_PATIENCE
    return None


def inquire_users(facts: Facts, resource: Resource[Any], child: HasMeta, *, settings: Settings) -> Plan | None:
    """Return the question which Pods hold a claim that is protected; without steps while the answer is fresh, None when none is needed."""
    meta = child.metadata
    if resource is not PERSISTENT_VOLUME_CLAIMS or _PVC_PROTECTION not in (meta.finalizers or ()) or _own_pods(facts):
        return None
    known = facts.diagnosis
    if known is None or known.target != users_of(meta.uid) or known.age >= settings.inquire_interval:
        return Plan((Inquire(resource.kind, meta, users=True),), wake_after=settings.inquire_interval)
    return Plan(wake_after=settings.inquire_interval - known.age + 0.05)


def describe_holders(facts: Facts, resource: Resource[Any], child: HasMeta) -> str:
    """Return what holds a child that is being deleted, and what to do, as the rest of a sentence."""
    finalizers = child.metadata.finalizers or ()
    held = f", held by {_list_finalizers(finalizers)}" if finalizers else ""
    pods = _own_pods(facts)
    others = tuple(name for name in finalizers if name not in _EXPLAINED)
    if pods:
        return f"{held}, and {_list_pods(pods)} is still there{_advise(facts, pods, others=others)}"
    known = facts.diagnosis
    if resource is PERSISTENT_VOLUME_CLAIMS and known is not None and known.target == users_of(child.metadata.uid):
        if known.text:
            return f"{held}, because {known.text} uses it: delete that Pod, or wait until it is gone"
        if known.text == "":
            return f"{held}, and no Pod uses it any more: look whether the cluster's controller-manager works"
    return f"{held}{_advise(facts, (), others=others)}"


def _advise(facts: Facts, pods: tuple[Pod, ...], *, others: tuple[str, ...]) -> str:
    advice: list[str] = []
    if pods:
        advice.append(_force(facts, pods[0]))
    if others:
        advice.append(f"find out who is to remove {_list_finalizers(others)} and why that does not happen")
    return f": {'; '.join(advice)}" if advice else ""


def _force(facts: Facts, pod: Pod) -> str:
    namespace, name = facts.mover.metadata.namespace, pod.metadata.name
    return f"if its node is down for good, and only then, kubectl -n {namespace} delete pod {name} --grace-period=0 --force"


def _own_pods(facts: Facts) -> tuple[Pod, ...]:
    return (*facts.pods, *facts.strays)


def _list_finalizers(finalizers: Iterable[str]) -> str:
    names = list(finalizers)
    return f"the finalizer{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _list_pods(pods: tuple[Pod, ...]) -> str:
    shown = ", ".join(_describe_pod(pod) for pod in pods[:_SHOWN])
    return f"{shown} and {len(pods) - _SHOWN} more" if len(pods) > _SHOWN else shown


def _describe_pod(pod: Pod) -> str:
    details = [(pod.status and pod.status.phase) or "of unknown phase"]
    if pod.spec is not None and pod.spec.node_name:
        details.append(f"on node {pod.spec.node_name}")
    if pod.metadata.terminating:
        details.append(f"being deleted since {pod.metadata.deletion_timestamp}")
    if pod.metadata.finalizers:
        details.append(f"with {_list_finalizers(pod.metadata.finalizers)}")
    return f"Pod {pod.metadata.name} ({', '.join(details)})"
