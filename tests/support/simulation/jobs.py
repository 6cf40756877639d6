"""The Job controller: the decisions are those of the embedded world's, carried out at once and past the network."""

import msgspec

from kubekit.words.batch import JOBS
from kubekit.words.core import PODS
from localkube.controllers.job.controller import pod_manifest
from localkube.controllers.job.kinds import TRACKING_FINALIZER, Job, Pod
from localkube.controllers.job.plan import Facts, decide
from localkube.controllers.job.status import status_patch
from support.simulation.calls import Tree
from support.simulation.cluster import Cluster
from support.simulation.trees import finalizers_of, is_going, look, name_of, owners_of, space_of, uid_of

_LETTERS = "ghjklmnpqrstvwxz"
"""Of the names of Pods: no digits, so that `endings` tells them from what a name says."""


class Jobs:
    """See the module's docstring. A Pod's end counts once."""

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
            if not is_going(job):
                self._advance(job, {uid_of(pod): pod for pod in pods[uid]})

    def _advance(self, tree: Tree, trees: dict[str, Tree]) -> None:
        job = msgspec.convert(tree, Job)
        pods = tuple(msgspec.convert(pod, Pod) for pod in trees.values())
        plan = decide(Facts(job, pods, self._hand.server.now(), self._cluster.conduct.backoff))
        changes = status_patch(job.status, plan.status)
        if changes:
            self._hand.patch(JOBS, name_of(tree), {"status": changes}, space_of(tree), "status")
        for event in plan.events:
            self._cluster.note(f"Job {name_of(tree)}: {event.reason} {event.message}")
        for pod in (*plan.release, *plan.withdraw):
            self._release(trees[pod.metadata.uid])
        for pod in (*plan.delete, *plan.withdraw):
            self._stop(trees[pod.metadata.uid])
        for _ in range(plan.create):
            self._create(job)
        if plan.wake is not None:  # a little late rather than a little early
            moment = f"job at {self._cluster.time() + plan.wake:.0f}"  # an early one beside the one of its deadline
            self._cluster.later(moment, uid_of(tree), plan.wake * 1.12 + 0.01, self._cluster.wake)

    def _create(self, job: Job) -> None:
        manifest = pod_manifest(job)
        letters = "".join(self._cluster.dice.choices(_LETTERS, k=5))
        del manifest["metadata"]["generateName"]
        manifest["metadata"]["name"] = f"{job.metadata.name[:57].rstrip('-')}-{letters}"
        self._hand.create(PODS, manifest, job.metadata.namespace or "")
        self._cluster.note(f"Pod {manifest['metadata']['name']} of Job {job.metadata.name}")

    def _stop(self, pod: Tree) -> None:
        now = self._hand.find(PODS, name_of(pod), space_of(pod))
        if now is not None and uid_of(now) == uid_of(pod) and not is_going(now):
            self._hand.delete(PODS, name_of(pod), space_of(pod))

    def _release(self, pod: Tree) -> None:
        if TRACKING_FINALIZER in finalizers_of(pod):
            kept = [finalizer for finalizer in finalizers_of(pod) if finalizer != TRACKING_FINALIZER]
            self._hand.patch(PODS, name_of(pod), {"metadata": {"finalizers": kept}}, space_of(pod))


def has_ended(pod: Tree) -> bool:
    """Tell whether a Pod has ended."""
    return look(pod, "status", "phase") in {"Succeeded", "Failed"}
