"""Waiting until an old child is gone; and when that takes long, saying which one, since when, what holds it and what to do. Pure.

Nothing is ever forced: finalizers are somebody's promise, and a Pod on a node that does not answer may still write (law L7).
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from datamover.movers.outcomes import has_ended
from datamover.plans.steps import Inquire, users_of
from datamover.runs.facts import RunFacts
from datamover.runs.order import Order
from datamover.runs.verdict import Answer, Rest, Verdict, blocked
from datamover.runs.wait import LITTLE, about, again_in, age_of, until
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, Pod
from kubekit.words.meta import HasMeta, Resource

_PVC_PROTECTION: Final = "kubernetes.io/pvc-protection"
_FOREGROUND: Final = "foregroundDeletion"
_EXPLAINED: Final = frozenset({_PVC_PROTECTION, _FOREGROUND})
"""Finalizers that go by themselves when the Pods do."""
_NODE_SILENT: Final = frozenset({"NodeLost", "NodeStatusUnknown"})
_SHOWN: Final = 3


def await_removal(
    order: Order,
    facts: RunFacts,
    resource: Resource[Any],
    child: HasMeta,
    *,
    cause: str,
    purpose: str,
    action: str,
    told: Verdict | None = None,
) -> Answer:
    """Wait for a child that is being deleted. `purpose` is what happens afterwards; `told` is said while nothing is wrong yet."""
    meta, patience = child.metadata, facts.patience
    waited = age_of(meta.deletion_timestamp, facts.now)
    if waited < patience.removal:
        return until(patience.removal - waited + LITTLE, told)
    asked = ask_for_users(facts, resource, child)
    if asked is not None and asked.steps:
        return asked
    held = describe_holders(order, facts, resource, child)
    message = f"{resource.kind} {meta.name} is being deleted since {meta.deletion_timestamp}{held}. {purpose}"
    # nothing tells us of the end of what is not ours
    wakes = None if order.owner.holds(child) else patience.inquire_interval
    return blocked(cause, message, action=action, wake_after=asked.wake_after if asked is not None else wakes)


def await_pods(
    order: Order, facts: RunFacts, pods: tuple[Pod, ...], *, cause: str, purpose: str, told: Verdict
) -> Answer:
    """Tell `told` until Pods that were told to end have had time for it, afterwards that they have not."""
    patience = facts.patience.removal
    ages = [age_of(pod.metadata.deletion_timestamp, facts.now) for pod in pods if pod.metadata.terminating]
    if not ages or max(ages) < patience:
        return replace(told, wake_after=patience - max(ages) + LITTLE if ages else None)
    return blocked(cause, f"{_list_pods(pods)} should have ended{_advise(order, pods)}. {purpose}", action=told.action)


def find_lost(facts: RunFacts) -> tuple[tuple[Pod, ...], float | None]:
    """Return the Pods that are gone with their node, by all that can be known, and in how many seconds the next one may be.

    The node of such a Pod reports nothing any more, so the Pod says "running" for ever, and no other takes its place.
    """
    patience = facts.patience.node
    silent = [(pod, age) for pod in facts.pods if not has_ended(pod) and (age := _silence(pod, facts)) is not None]
    lost = tuple(pod for pod, age in silent if age >= patience)
    due = min((patience - age + LITTLE for _, age in silent if age < patience), default=None)
    return lost, due


def describe_lost(order: Order, pods: tuple[Pod, ...]) -> str:
    """Return what is wrong with Pods that `find_lost` found, and what to do."""
    return (
        f"{_list_pods(pods)} gives no sign of life, and no other takes its place: two movers of one run never write at once. Its "
        f"node is down or hangs: bring it back; or, {_force(order, pods[0])}"
    )


def _silence(pod: Pod, facts: RunFacts) -> float | None:
    """Seconds since a Pod should have ended (its deletion time has the grace in it), or since its node was last heard of."""
    if pod.metadata.terminating:
        return age_of(pod.metadata.deletion_timestamp, facts.now)
    for condition in (pod.status and pod.status.conditions) or ():
        if condition.type == "Ready" and condition.status != "True" and condition.reason in _NODE_SILENT:
            since = condition.last_transition_time
            return age_of(since, facts.now) if since else facts.patience.node
    return None


def ask_for_users(facts: RunFacts, resource: Resource[Any], child: HasMeta) -> Rest | None:
    """Return the question which Pods hold a protected claim; without steps while the answer is fresh, None when none is needed."""
    meta = child.metadata
    if resource is not PERSISTENT_VOLUME_CLAIMS or _PVC_PROTECTION not in (meta.finalizers or ()) or _own_pods(facts):
        return None
    found = about(facts, users_of(meta.uid))
    if found is None or found.age >= facts.patience.inquire_interval:
        return Rest((Inquire(resource.kind, meta, users=True),), facts.patience.inquire_interval)
    return Rest(wake_after=again_in(found, facts))


def describe_holders(order: Order, facts: RunFacts, resource: Resource[Any], child: HasMeta) -> str:
    """Return what holds a child that is being deleted, and what to do, as the rest of a sentence."""
    finalizers = child.metadata.finalizers or ()
    held = f", held by {_list_finalizers(finalizers)}" if finalizers else ""
    pods = _own_pods(facts)
    others = tuple(name for name in finalizers if name not in _EXPLAINED)
    if pods:
        return f"{held}, and {_list_pods(pods)} is still there{_advise(order, pods, others)}"
    found = about(facts, users_of(child.metadata.uid)) if resource is PERSISTENT_VOLUME_CLAIMS else None
    if found is not None and found.text:
        return f"{held}, because {found.text} uses it: delete that Pod, or wait until it is gone"
    if found is not None and found.text == "":
        return f"{held}, and no Pod uses it any more: look whether the cluster's controller-manager works"
    return f"{held}{_advise(order, (), others)}"


def _advise(order: Order, pods: tuple[Pod, ...], others: tuple[str, ...] = ()) -> str:
    advice: list[str] = []
    if pods:
        advice.append(_force(order, pods[0]))
    if others:
        advice.append(f"find out who is to remove {_list_finalizers(others)} and why that does not happen")
    return f": {'; '.join(advice)}" if advice else ""


def _force(order: Order, pod: Pod) -> str:
    namespace, name = order.owner.metadata.namespace, pod.metadata.name
    return f"if its node is down for good, and only then, kubectl -n {namespace} delete pod {name} --grace-period=0 --force"


def _own_pods(facts: RunFacts) -> tuple[Pod, ...]:
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
