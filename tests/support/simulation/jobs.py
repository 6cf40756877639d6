"""The Job controller: Pods by attempts, with back-off, failure policy, deadline and suspension. A Pod's end counts once."""

from datetime import timedelta

from kubekit.words.batch import JOBS
from kubekit.words.core import PODS
from kubekit.words.timestamps import parse, seconds
from support.simulation.calls import Tree
from support.simulation.cluster import Cluster
from support.simulation.trees import finalizers_of, holds, is_going, look, name_of, owners_of, space_of, uid_of

TRACKING = "batch.kubernetes.io/job-tracking"


class Jobs:
    """See the module's docstring."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._hand = cluster.hand

    def look(self) -> None:
        jobs = {uid_of(job): job for job in self._hand.all(JOBS)}
        pods: dict[str, list[Tree]] = {uid: [] for uid in jobs}
        for pod in self._hand.all(PODS):
            owner = next((uid for uid in owners_of(pod) if uid in jobs), None)
            if owner is None or is_going(jobs[owner]):
                self._release(pod)
            else:
                pods[owner].append(pod)
        for uid, job in jobs.items():
            if not is_going(job) and not is_over(job):
                self._advance(job, pods[uid])

    def _advance(self, job: Tree, pods: list[Tree]) -> None:
        status: Tree = dict(job.get("status") or {})
        conditions = [dict(condition) for condition in status.get("conditions") or ()]
        now = seconds(self._hand.server.now())
        for pod in pods:
            if has_ended(pod) and TRACKING in finalizers_of(pod):
                word = "succeeded" if look(pod, "status", "phase") == "Succeeded" else "failed"
                if not (word == "failed" and holds(pod, "DisruptionTarget")):
                    status[word] = status.get(word, 0) + 1
                self._release(pod)
        living = [pod for pod in pods if not has_ended(pod)]
        status["active"] = sum(not is_going(pod) for pod in living)
        verdict = self._verdict(job, status, pods)
        suspended = bool(job["spec"].get("suspend"))
        if verdict is not None or suspended:
            for pod in living:
                self._stop(pod)
            status["active"] = 0
        if verdict is not None:
            if living:
                return
            self._finish(status, conditions, *verdict, now=now)
        elif suspended:
            _set(conditions, "Suspended", "True", "JobSuspended", now)
            status.pop("startTime", None)
        else:
            if any(condition["type"] == "Suspended" for condition in conditions):
                _set(conditions, "Suspended", "False", "JobResumed", now)
            status["startTime"] = status.get("startTime") or now
            if not living:
                wait = self._cluster.conduct.backoff * status.get("failed", 0)
                self._cluster.later("attempt", uid_of(job), wait, lambda: self._attempt(name_of(job), space_of(job)))
            self._watch_deadline(job, status["startTime"])
        status["conditions"] = conditions
        before = job.get("status") or {}
        if status != before:
            patch = {**dict.fromkeys(before.keys() - status.keys()), **status}
            self._hand.patch(JOBS, name_of(job), {"status": patch}, space_of(job), "status")

    def _verdict(self, job: Tree, status: Tree, pods: list[Tree]) -> tuple[str, str] | None:
        if status.get("succeeded"):
            return "Complete", "CompletionsReached"
        terminal = job["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"]
        if any(exit_code_of(pod) in terminal for pod in pods):
            return "Failed", "PodFailurePolicy"
        limit, started = job["spec"].get("activeDeadlineSeconds"), status.get("startTime")
        if limit and started and self._hand.server.now() >= parse(started) + timedelta(seconds=limit):
            return "Failed", "DeadlineExceeded"
        if status.get("failed", 0) > job["spec"]["backoffLimit"]:
            return "Failed", "BackoffLimitExceeded"
        return None

    def _finish(self, status: Tree, conditions: list[Tree], kind: str, reason: str, *, now: str) -> None:
        status["startTime"] = status.get("startTime") or now
        _set(conditions, "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget", "True", reason, now)
        _set(conditions, kind, "True", reason, now)
        if kind == "Complete":
            status["completionTime"] = now
        self._cluster.note(f"a Job is {kind} ({reason})")

    def _watch_deadline(self, job: Tree, started: str) -> None:
        limit = job["spec"].get("activeDeadlineSeconds")
        if limit:
            left = (parse(started) + timedelta(seconds=limit) - self._hand.server.now()).total_seconds()
            self._cluster.later("deadline", uid_of(job), max(left, 0.0) * 1.2 + 0.1, self._cluster.wake)

    def _attempt(self, name: str, space: str) -> None:
        job = self._hand.find(JOBS, name, space)
        if job is None or is_going(job) or is_over(job) or job["spec"].get("suspend"):
            return
        pods = [pod for pod in self._hand.all(PODS) if uid_of(job) in owners_of(pod)]
        if any(not has_ended(pod) for pod in pods):
            return
        letters = "".join(self._cluster.dice.choices("ghjklmnpqrstvwxz", k=5))
        template = job["spec"]["template"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid_of(job), "controller": True}
        metadata: Tree = {
            "name": f"{name[:57].rstrip('-')}-{letters}",
            "labels": template["metadata"]["labels"],
            "finalizers": [TRACKING],
            "ownerReferences": [{**owner, "blockOwnerDeletion": True}],
        }
        self._hand.create(PODS, {"metadata": metadata, "spec": template["spec"]}, space)
        self._cluster.note(f"Pod {metadata['name']} of Job {name}")

    def _stop(self, pod: Tree) -> None:
        if not is_going(pod):
            self._hand.delete(PODS, name_of(pod), space_of(pod))

    def _release(self, pod: Tree) -> None:
        if TRACKING in finalizers_of(pod):
            kept = [finalizer for finalizer in finalizers_of(pod) if finalizer != TRACKING]
            self._hand.patch(PODS, name_of(pod), {"metadata": {"finalizers": kept}}, space_of(pod))


def is_over(job: Tree) -> bool:
    """Tell whether a Job has ended."""
    return holds(job, "Complete") or holds(job, "Failed")


def has_ended(pod: Tree) -> bool:
    """Tell whether a Pod has ended."""
    return look(pod, "status", "phase") in {"Succeeded", "Failed"}


def exit_code_of(pod: Tree) -> int | None:
    """Return how the container ended, or None."""
    for status in look(pod, "status", "containerStatuses") or ():
        return look(status, "state", "terminated", "exitCode")
    return None


def _set(conditions: list[Tree], kind: str, status: str, reason: str, now: str) -> None:
    found = next((condition for condition in conditions if condition["type"] == kind), None)
    if found is None:
        conditions.append({"type": kind, "status": status, "reason": reason, "lastTransitionTime": now})
    elif found["status"] != status:
        found.update(status=status, reason=reason, lastTransitionTime=now)
