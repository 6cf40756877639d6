"""Scheduler and kubelet: Pods are placed, start, run their mover, end, and are taken away when they are deleted."""

import msgspec

from datamover.api import transfer
from datamover.api.names import OWNER_UID_LABEL
from datamover.api.transfer import OBJECT, Outcome, exit_code
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PODS, SECRETS
from kubekit.words.storage import STORAGE_CLASSES
from kubekit.words.timestamps import seconds
from support.simulation.calls import Tree
from support.simulation.cluster import Cluster
from support.simulation.comparisons import compares
from support.simulation.conduct import INTERRUPTED, ON_USE, SUCCESS, End
from support.simulation.destination import Mover
from support.simulation.jobs import has_ended
from support.simulation.storage import claims_of
from support.simulation.trees import environment_of, is_going, label_of, look, name_of, space_of, uid_of

FILES, BYTES = 3, 1000


class Pods:
    """See the module's docstring."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._hand = cluster.hand
        self._attempts: dict[str, int] = {}

    def look(self) -> None:
        conduct = self._cluster.conduct
        for pod in self._hand.all(PODS):
            if is_going(pod):
                self._plan("stop", pod, conduct.removal)
            elif has_ended(pod):
                continue
            elif not pod["spec"].get("nodeName"):
                self._plan("place", pod, 0.05)
            elif look(pod, "status", "phase") == "Running":
                self._plan("end", pod, conduct.run)
            else:
                self._plan("start", pod, conduct.start)

    def _plan(self, what: str, pod: Tree, wait: float) -> None:
        uid, name, space = uid_of(pod), name_of(pod), space_of(pod)

        def run() -> None:
            now = self._hand.find(PODS, name, space)
            if now is not None and uid_of(now) == uid:
                {"stop": self._stop, "place": self._place, "end": self._end, "start": self._start}[what](now)

        self._cluster.later(what, uid, wait, run)

    def _place(self, pod: Tree) -> None:
        if is_going(pod) or pod["spec"].get("nodeName"):
            return
        problem = self._unplaceable(pod)
        if problem is not None:
            self._say(pod, {"conditions": [_condition("PodScheduled", "False", problem)]})
            return
        target: Tree = {
            "target": {"apiVersion": "v1", "kind": "Node", "name": "node"},
            "metadata": {"name": name_of(pod)},
        }
        self._hand.post(PODS, name_of(pod), "binding", {"apiVersion": "v1", "kind": "Binding", **target}, space_of(pod))

    def _unplaceable(self, pod: Tree) -> str | None:
        for name in claims_of(pod):
            claim = self._hand.find(PERSISTENT_VOLUME_CLAIMS, name, space_of(pod))
            if claim is None:
                return f'persistentvolumeclaim "{name}" not found'
            if is_going(claim):
                return f'persistentvolumeclaim "{name}" is being deleted'
            found = self._hand.find(STORAGE_CLASSES, claim["spec"].get("storageClassName") or "") or {}
            if look(claim, "status", "phase") != "Bound" and found.get("volumeBindingMode") != ON_USE:
                return "pod has unbound immediate PersistentVolumeClaims"
        return None

    def _start(self, pod: Tree) -> None:
        if is_going(pod) or has_ended(pod) or look(pod, "status", "phase") == "Running":
            return
        claims = [self._hand.find(PERSISTENT_VOLUME_CLAIMS, name, space_of(pod)) for name in claims_of(pod)]
        if any(look(claim, "status", "phase") != "Bound" for claim in claims):
            return
        for secret in secrets_of(pod):
            if self._hand.find(SECRETS, secret, space_of(pod)) is None:
                waiting = {"reason": "CreateContainerConfigError", "message": f'secret "{secret}" not found'}
                self._say(pod, {"containerStatuses": [_container(pod, {"waiting": waiting})]})
                return
        if compares(pod):
            self._cluster.comparisons.begin(pod)
        else:
            data = claims[0]
            self._cluster.destination.begin(pod, claims_of(pod)[0], uid_of(data) if data is not None else "")
        now = seconds(self._hand.server.now())
        running = {"running": {"startedAt": now}}
        self._say(pod, {"phase": "Running", "startTime": now, "containerStatuses": [_container(pod, running)]})
        self._cluster.note(f"Pod {name_of(pod)} runs")

    def _end(self, pod: Tree) -> None:
        if is_going(pod) or has_ended(pod):
            return
        conduct = self._cluster.conduct
        if compares(pod):
            made = len(self._cluster.comparisons.all)
            self._terminate(pod, conduct.compares[made - 1] if made <= len(conduct.compares) else SUCCESS)
            return
        owner = label_of(pod, OWNER_UID_LABEL)
        attempt = self._attempts[owner] = self._attempts.get(owner, 0) + 1
        ends = conduct.ends_of.get(environment_of(pod)[OBJECT], conduct.ends)
        self._terminate(pod, ends[attempt - 1] if attempt <= len(ends) else SUCCESS)

    def _stop(self, pod: Tree) -> None:
        """What is being deleted: its container is told to end, then the object goes."""
        if not has_ended(pod):
            running = look(pod, "status", "phase") == "Running"
            self._terminate(pod, INTERRUPTED) if running else self._say(pod, {"phase": "Failed"})
        self._hand.delete(PODS, name_of(pod), space_of(pod), grace=0)

    def _terminate(self, pod: Tree, end: End) -> None:
        outcome = self._last_words(pod, end)
        succeeded = end.succeeded and (outcome is None or outcome.succeeded)
        code = end.exit_code if succeeded == end.succeeded else exit_code(transfer.VERIFY, retryable=False)
        now = seconds(self._hand.server.now())
        ended: Tree = {"exitCode": code, "reason": "Completed" if succeeded else "Error"}
        ended |= {"startedAt": now, "finishedAt": now}
        if outcome is not None:
            ended["message"] = msgspec.json.encode(outcome).decode()
        phase = "Succeeded" if succeeded else "Failed"
        self._say(pod, {"phase": phase, "containerStatuses": [_container(pod, {"terminated": ended})]})
        self._cluster.note(f"Pod {name_of(pod)} ends with {code} {outcome.reason if outcome is not None else ''}")

    def _last_words(self, pod: Tree, end: End) -> Outcome | None:
        if compares(pod):
            told = self._cluster.comparisons.end(uid_of(pod), end)
            return told if end.reason else None
        mover = self._cluster.destination.end(uid_of(pod), succeeded=end.succeeded)
        return _outcome(mover, end) if end.reason and mover is not None else None

    def _say(self, pod: Tree, status: Tree) -> None:
        now = look(pod, "status") or {}
        if any(now.get(key) != value for key, value in status.items()):
            self._hand.patch(PODS, name_of(pod), {"status": status}, space_of(pod), "status")


def _outcome(mover: Mover, end: End) -> Outcome:
    return Outcome(
        run_id=mover.run,
        succeeded=end.succeeded,
        failure_class=end.failure_class,
        reason=end.reason,
        retryable=end.retryable,
        message="" if end.succeeded else f"the mover says {end.reason}",
        destination=f"s3generic:bucket/{mover.folder}".rstrip("/") + "/",
        timestamp=mover.folder or None,
        files=FILES,
        bytes=BYTES,
        transferred_files=FILES,
        transferred_bytes=BYTES,
    )


def secrets_of(pod: Tree) -> list[str]:
    """Return the names of the Secrets without which a Pod does not start."""
    container = pod["spec"]["containers"][0]
    found = [look(each, "secretRef", "name") for each in container.get("envFrom") or ()]
    references = [look(each, "valueFrom", "secretKeyRef") for each in container.get("env") or ()]
    found += [each["name"] for each in references if each is not None and not each.get("optional")]
    found += [look(volume, "secret", "secretName") for volume in pod["spec"].get("volumes") or ()]
    return [name for name in dict.fromkeys(found) if name]


def _container(pod: Tree, state: Tree) -> Tree:
    name = pod["spec"]["containers"][0]["name"]
    return {"name": name, "image": "mover", "imageID": "", "ready": False, "restartCount": 0, "state": state}


def _condition(kind: str, status: str, message: str) -> Tree:
    return {"type": kind, "status": status, "reason": "Unschedulable", "message": message}
