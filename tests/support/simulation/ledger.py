"""The laws that each write of an operator about a DataMover must keep by itself."""

from collections.abc import Callable
from dataclasses import dataclass, field

from datamover.api import names, transfer
from datamover.api.names import CopyMethod, Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUMES
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from support.simulation.calls import Call, Tree
from support.simulation.destination import Destination
from support.simulation.history import History
from support.simulation.objects import Objects
from support.simulation.trees import is_going, label_of, look, name_of, owners_of, space_of, uid_of
from support.simulation.writes import CLAIMS, Writes, condition_of

_SNAPSHOTS = VOLUME_SNAPSHOTS.group_resource
_JOBS = JOBS.group_resource
_MOVERS = DATA_MOVERS.group_resource
MOST_A_MINUTE = 80
_DECIDED = ("timestamp", "jobName", "snapshotName", "copyMethod", "source")

NEXT: dict[str, set[str]] = {
    Phase.NONE: {Phase.CREATING_CLONE, Phase.CREATING_POD, Phase.FAILED},
    Phase.CREATING_CLONE: {Phase.CLONE_READY, Phase.CREATING_POD, Phase.FAILED},
    Phase.CLONE_READY: {Phase.CREATING_POD, Phase.FAILED},
    Phase.CREATING_POD: {Phase.CLEANING_UP, Phase.COMPLETED, Phase.FAILED},
    Phase.CLEANING_UP: {Phase.COMPLETED},
    Phase.COMPLETED: set(),
    Phase.FAILED: {Phase.CREATING_CLONE, Phase.CREATING_POD},
}
"""Which phase may follow which (documents; Failed is left by the retry annotation, and comes first for what is cancelled unbegun)."""


@dataclass
class Record:
    """What is known of one DataMover. Children are UIDs by run."""

    status: Tree = field(default_factory=dict)
    phases: list[str] = field(default_factory=list)
    clones: dict[str, list[str]] = field(default_factory=dict)
    jobs: dict[str, list[str]] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)
    """(phase, reason) of each obstacle and failure that was written."""
    pace: list[float] = field(default_factory=list)


class Ledger(Writes):
    """See the module's docstring."""

    def __init__(
        self, objects: Objects, *, agent: str, canary: str, destination: Destination, history: History
    ) -> None:
        super().__init__(objects, agent=agent, canary=canary, destination=destination, history=history)
        self.records: dict[str, Record] = {}
        self.on_phase: list[Callable[[str, str], None]] = []
        """Called with a DataMover's name and the phase that it enters, within the write."""

    def owns(self, uid: str) -> bool:
        return uid in self.records

    def makes_claims(self, call: Call) -> bool:
        return self._name(call).startswith(names.CLONE_PREFIX)

    def deletes(self, call: Call, target: Tree) -> None:
        """Whose it is says all."""

    def written(self, call: Call, answer: Tree) -> None:
        if call.verb == "create" and call.resource in (CLAIMS, _SNAPSHOTS, _JOBS):
            self._check_create(call, answer)
        elif call.resource == _MOVERS:
            if call.subresource != "status":
                self._break("L6", f"{call} changes more than a status")
            self._check_status(answer)

    def record(self, uid: str) -> Record:
        return self.records.setdefault(uid, Record())

    # --- creates ----------------------------------------------------------------------------------

    def _check_create(self, call: Call, child: Tree) -> None:
        owner = self._owner_of(child)
        if owner is None:  # deleted a moment before; the garbage collector will find the child
            if not any(uid in self.records for uid in owners_of(child)):
                self._break("L5", f"{call}: nobody owns the child")
            return
        run: Tree = look(owner, "status", "run") or {}
        if label_of(child, names.RUN_ID_LABEL) != run.get("id"):
            self._break(
                "L6", f"{call}: the run {label_of(child, names.RUN_ID_LABEL)} is not recorded, but {run.get('id')}"
            )
        recorded = {
            CLAIMS: look(owner, "status", "restoredPvcName"),
            _SNAPSHOTS: run.get("snapshotName"),
            _JOBS: run.get("jobName"),
        }[call.resource]
        if name_of(child) != recorded:
            self._break("L6", f"{call}: the recorded name is {recorded}")
        others = [
            other
            for other in self._objects.all(call.resource)
            if uid_of(owner) in owners_of(other) and uid_of(other) != uid_of(child) and not is_going(other)
        ]
        for other in others:
            same = (call.resource == _JOBS and self._same_work(child, other)) or label_of(
                other, names.RUN_ID_LABEL
            ) == run.get("id")
            if same:
                self._break("L7", f"{call}: {name_of(other)} of the same DataMover is there already")
        record = self.record(uid_of(owner))
        if call.resource == CLAIMS:
            record.clones.setdefault(run.get("id", ""), []).append(uid_of(child))
        if call.resource == _JOBS:
            record.jobs.setdefault(run.get("id", ""), []).append(uid_of(child))
            self._check_job(call, child, run)

    def _same_work(self, job: Tree, other: Tree) -> bool:
        """Tell whether two Jobs of one DataMover must not be there together."""
        return True

    def _check_job(self, call: Call, job: Tree, run: Tree) -> None:
        container = job["spec"]["template"]["spec"]["containers"][0]
        given = {variable["name"]: variable.get("value") for variable in container["env"]}
        for variable, value in ((transfer.RUN_ID, run.get("id")), (transfer.TIMESTAMP, run.get("timestamp"))):
            if given.get(variable) != value:
                self._break("L6", f"{call}: {variable} is {given.get(variable)}, recorded is {value}")

    def _owner_of(self, child: Tree) -> Tree | None:
        owners = owners_of(child)
        return next((mover for mover in self._objects.all(_MOVERS) if uid_of(mover) in owners), None)

    # --- status -----------------------------------------------------------------------------------

    def _check_status(self, mover: Tree) -> None:
        record = self.record(uid_of(mover))
        self._check_pace(record, name_of(mover))
        before, now = record.status, mover.get("status") or {}
        record.status = now
        old, new = before.get("phase") or Phase.NONE, now.get("phase") or Phase.NONE
        name = name_of(mover)
        if old != new:
            record.phases.append(new)
            for listener in self.on_phase:
                listener(name, new)
            if new not in NEXT[old]:
                self._break("phases", f"{name} goes from {old or 'the beginning'} to {new}")
            if new == Phase.COMPLETED:
                self._check_completion(mover)
        self._check_run(record, mover, before, now)
        stalled = condition_of(now, "Stalled")
        if stalled.get("status") == "True":
            reason, message = stalled.get("reason"), stalled.get("message")
            if not reason or not message or not now.get("message"):
                self._break("L10", f"{name} stalls without saying why: {stalled}")
            if condition_of(before, "Stalled").get("reason") != reason or old != new:
                record.told.append((new, reason or ""))
        if new == Phase.FAILED and condition_of(now, "Failed").get("status") != "True":
            self._break("L10", f"{name} is Failed without its condition")

    def _check_pace(self, record: Record, name: str) -> None:
        """Two replicas that correct each other would never end."""
        now = self._history.now()
        record.pace = [at for at in record.pace if at > now - 60.0] + [now]
        if len(record.pace) == MOST_A_MINUTE:
            self._break("L9", f"the status of {name} was written {MOST_A_MINUTE} times in a minute")

    def _check_run(self, record: Record, mover: Tree, before: Tree, now: Tree) -> None:
        was, run = before.get("run"), now.get("run")
        name = name_of(mover)
        if was is None:
            return
        if run is None:
            self._break("L6", f"{name} forgets its run {was['id']}")
            return
        cloned = bool(record.clones.get(was["id"]))
        if run["id"] != was["id"]:
            if before.get("phase") != Phase.FAILED or run.get("retry") == was.get("retry"):
                self._break("L6", f"{name} begins another run without being asked: {was['id']}, {run['id']}")
            kept = self._find(CLAIMS, mover, before.get("restoredPvcName"))
            if kept is not None and uid_of(mover) in owners_of(kept) and not is_going(kept):
                self._break("L6", f"{name} begins another run although its copy is there")
            return
        for field_ in _DECIDED:
            if run.get(field_) == was.get(field_):
                continue
            claimed = {other.folder for other in self._destination.of(uid_of(mover)) if other.run == run["id"]}
            if field_ == "timestamp" and run["timestamp"] in claimed:
                continue  # the agent found its folder taken, took the next second, and says so
            if field_ in {"jobName", "snapshotName"} and not cloned:
                continue  # another name, before anything of ours had the first
            self._break("L6", f"{name} changes {field_} of its run from {was.get(field_)} to {run.get(field_)}")
        if now.get("restoredPvcName") != before.get("restoredPvcName") and cloned:
            self._break("L6", f"{name} renames a clone that is made")

    def _check_completion(self, mover: Tree) -> None:
        """L4: what Completed says is so at this moment."""
        spec, status, uid, name = mover["spec"], mover["status"], uid_of(mover), name_of(mover)
        run = status["run"]
        if not any(found.succeeded and found.run == run["id"] for found in self._destination.of(uid)):
            self._break("L4", f"{name} is Completed, and no mover of run {run['id']} has succeeded")
        method = run.get("copyMethod")
        left: list[Tree | None] = []
        if spec.get("deletePvcAfterBackup") and method != CopyMethod.DIRECT:
            clone = self._find(CLAIMS, mover, status.get("restoredPvcName"))
            left += [clone, self._find(_JOBS, mover, run.get("jobName"))]
            left += [
                volume
                for volume in self._objects.all(PERSISTENT_VOLUMES)
                if look(volume, "spec", "claimRef", "name") == status.get("restoredPvcName")
                and look(volume, "spec", "claimRef", "uid") in record_clones(self.record(uid))
                and look(volume, "spec", "persistentVolumeReclaimPolicy") == "Delete"
            ]
        if method == CopyMethod.SNAPSHOT:
            left.append(self._find(_SNAPSHOTS, mover, run.get("snapshotName")))
        for obj in left:
            ours = obj is not None and (uid in owners_of(obj) or obj["kind"] == "PersistentVolume")
            if obj is not None and ours:
                self._break("L4", f"{name} is Completed, and {obj['kind']} {name_of(obj)} is still there")

    def _find(self, resource: str, mover: Tree, name: str | None) -> Tree | None:
        return self._objects.find(resource, name, space_of(mover)) if name else None


def record_clones(record: Record) -> set[str]:
    """Return the UIDs of all clones of a DataMover."""
    return {uid for uids in record.clones.values() for uid in uids}
