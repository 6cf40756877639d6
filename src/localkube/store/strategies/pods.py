"""Pods: defaults, quality of service, what may change, and their graceful end."""

from collections.abc import Mapping

from localkube.store.statuses import Fault, prohibited
from localkube.store.strategies.base import ServerView, Strategy
from localkube.store.strategies.podspecs import check_pod_spec, default_pod_spec
from localkube.store.trees import Tree, child, copy, entries, look, mapping, same, sequence, text

_TOLERATED = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_MUTABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


class PodStrategy(Strategy):
    """Pods. Scheduling and everything that a kubelet does is the node's business."""

    unconditional_update = True
    returns_deleted = True
    selectable: Mapping[str, tuple[str, ...]] = {
        "status.phase": ("status", "phase"),
        "spec.nodeName": ("spec", "nodeName"),
        "spec.restartPolicy": ("spec", "restartPolicy"),
        "spec.schedulerName": ("spec", "schedulerName"),
        "spec.serviceAccountName": ("spec", "serviceAccountName"),
        "status.podIP": ("status", "podIP"),
    }

    def default(self, obj: Tree) -> None:
        """Fill in what the API defaults."""
        spec = child(obj, "spec")
        default_pod_spec(spec)
        spec.setdefault("enableServiceLinks", True)
        for group in ("containers", "initContainers"):
            for container in entries(spec.get(group)):
                limits = mapping(look(container, "resources", "limits"))
                if limits:
                    requests = child(child(container, "resources"), "requests")
                    for name, amount in limits.items():
                        requests.setdefault(name, amount)

    def admit_create(self, obj: Tree, server: ServerView) -> None:
        """Do what the admission plugins Priority, DefaultTolerationSeconds and ServiceAccount do; no token is mounted."""
        spec = child(obj, "spec")
        if not spec.get("serviceAccountName"):
            spec["serviceAccountName"] = spec["serviceAccount"] = "default"
        priority = server.find("priorityclasses.scheduling.k8s.io", "", text(spec.get("priorityClassName")))
        spec.setdefault("priority", int((priority or {}).get("value") or 0))
        spec.setdefault("preemptionPolicy", text((priority or {}).get("preemptionPolicy")) or "PreemptLowerPriority")
        tolerations = [*entries(spec.get("tolerations"))]
        for key in _TOLERATED:
            if not any(t.get("key") in {key, None} and t.get("effect") in {"NoExecute", None} for t in tolerations):
                tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
        spec["tolerations"] = tolerations

    def prepare_create(self, obj: Tree) -> None:
        """Start Pending."""
        obj["status"] = {"phase": "Pending", "qosClass": _quality(mapping(obj["spec"]))}

    def prepare_status(self, obj: Tree, live: Tree) -> None:
        """Owners and the class of service stay."""
        meta, old = child(obj, "metadata"), mapping(live["metadata"])
        for field in ("ownerReferences",):
            if field in old:
                meta[field] = old[field]
            else:
                meta.pop(field, None)
        child(obj, "status").setdefault("qosClass", look(live, "status", "qosClass"))

    def validate(self, obj: Tree) -> list[Fault]:
        """Check the spec."""
        return check_pod_spec(mapping(obj.get("spec")), "spec", pod=True)

    def validate_update(self, obj: Tree, live: Tree) -> list[Fault]:
        """Little may change once a Pod is there."""
        faults = self.validate(obj)
        spec, old = mapping(obj["spec"]), mapping(live["spec"])
        for group in ("containers", "initContainers"):
            if len(sequence(spec.get(group))) != len(sequence(old.get(group))):
                return [*faults, prohibited(f"spec.{group}", "pod updates may not add or remove containers")]
        given, former = sequence(spec.get("tolerations")), sequence(old.get("tolerations"))
        if any(toleration not in given for toleration in former):
            faults.append(
                prohibited("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
            )
        if not same(_fixed(spec), _fixed(old)):
            faults.append(prohibited("spec", f"pod updates may not change fields other than {_MUTABLE}"))
        return faults

    def grace_seconds(self, obj: Tree, asked: int | None) -> int | None:
        """As asked, else as the spec says; none before it is scheduled or after it ended."""
        if not look(obj, "spec", "nodeName") or look(obj, "status", "phase") in {"Succeeded", "Failed"}:
            return 0
        if asked is not None:
            return max(0, asked)
        return int(look(obj, "spec", "terminationGracePeriodSeconds") or 0)


def _fixed(spec: Tree) -> Tree:
    kept = mapping(
        copy({k: v for k, v in spec.items() if k not in {"activeDeadlineSeconds", "tolerations", "schedulingGates"}})
    )
    for group in ("containers", "initContainers"):
        for container in entries(kept.get(group)):
            container.pop("image", None)
    return kept


def _quality(spec: Tree) -> str:
    """Return the class of service: Guaranteed, Burstable or BestEffort."""
    guaranteed, asked = True, False
    for group in ("containers", "initContainers"):
        for container in entries(spec.get(group)):
            limits, requests = (
                mapping(look(container, "resources", "limits")),
                mapping(look(container, "resources", "requests")),
            )
            asked = asked or any(name in {"cpu", "memory"} for name in (*limits, *requests))
            for name in ("cpu", "memory"):
                if not limits.get(name) or limits.get(name) != requests.get(name):
                    guaranteed = False
    if not asked:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
