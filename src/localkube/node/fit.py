"""Whether a Pod fits a node: the predicates of kube-scheduler that matter for one node. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from kubekit.words.quantity import parse_quantity
from localkube.node.kinds import Node, Quantities, Taint
from localkube.node.matching import matches_any
from localkube.node.pod_kinds import Affinity, Container, Pod, Toleration

_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_COUNTED = ("cpu", "memory", "ephemeral-storage")


def misfit(pod: Pod, node: Node, others: Iterable[Pod]) -> str | None:
    """Say why a Pod cannot run on a node beside the Pods that are bound to it, in kube-scheduler's words; None when it can."""
    spec = pod.spec
    if spec is None:
        return "Pod without spec"
    taint = untolerated(node, spec.tolerations or ())
    if taint is not None and taint.key == _UNSCHEDULABLE:
        return "node(s) were unschedulable"
    if taint is not None:
        return f"node(s) had untolerated taint(s) {{{taint.key}{': ' + taint.value if taint.value else ''}}}"
    labels = node.metadata.labels or {}
    selector = spec.node_selector or {}
    if any(labels.get(key) != value for key, value in selector.items()) or not _affine(spec.affinity, node):
        return "node(s) didn't match Pod's node affinity/selector"
    if _has_pod_affinity(spec.affinity):
        return "node(s) didn't match pod affinity rules: this scheduler does not evaluate podAffinity"
    return _shortage(pod, node, others)


def untolerated(node: Node, tolerations: Iterable[Toleration]) -> Taint | None:
    """Return the first taint that keeps a Pod off, or None. An unschedulable node counts as tainted."""
    taints = list((node.spec.taints if node.spec else None) or ())
    if node.spec is not None and node.spec.unschedulable:
        taints.append(Taint(key=_UNSCHEDULABLE, effect="NoSchedule"))
    known = list(tolerations)
    hard = (taint for taint in taints if taint.effect in ("NoSchedule", "NoExecute"))
    return next((taint for taint in hard if not any(_tolerates(t, taint) for t in known)), None)


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and (toleration.value or "") == (taint.value or "")


def _affine(affinity: Affinity | None, node: Node) -> bool:
    wanted = affinity.node_affinity if affinity else None
    required = wanted.required_during_scheduling_ignored_during_execution if wanted else None
    if required is None:
        return True
    fields = {"metadata.name": node.metadata.name}
    return matches_any(required.node_selector_terms or (), node.metadata.labels or {}, fields)


def _has_pod_affinity(affinity: Affinity | None) -> bool:
    wanted = affinity.pod_affinity if affinity else None
    return bool(wanted and wanted.required_during_scheduling_ignored_during_execution)


def _shortage(pod: Pod, node: Node, others: Iterable[Pod]) -> str | None:
    allocatable: Quantities = (node.status.allocatable if node.status else None) or {}
    bound = [other for other in others if not other.finished and other.metadata.uid != pod.metadata.uid]
    if "pods" in allocatable and len(bound) + 1 > parse_quantity(allocatable["pods"]):
        return "Too many pods"
    for resource in _COUNTED:
        wanted = request_of(pod, resource)
        if not wanted or resource not in allocatable:
            continue
        if wanted + sum(request_of(other, resource) for other in bound) > parse_quantity(allocatable[resource]):
            return f"Insufficient {resource}"
    return None


def request_of(pod: Pod, resource: str) -> Decimal:
    """Return what a Pod asks for: the sum of its containers, or the largest init container if that is more."""
    if pod.spec is None:
        return Decimal(0)
    together = sum((_of_container(c, resource) for c in pod.spec.containers or ()), Decimal(0))
    return max([together, *(_of_container(c, resource) for c in pod.spec.init_containers or ())])


def _of_container(container: Container, resource: str) -> Decimal:
    requests: Mapping[str, Any] = (container.resources.requests if container.resources else None) or {}
    try:
        return parse_quantity(requests.get(resource, 0))
    except ValueError:
        return Decimal(0)
