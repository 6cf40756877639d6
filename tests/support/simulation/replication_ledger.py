"""The laws that each write of an operator about a ReplicationSource or ReplicationDestination must keep by itself."""

from dataclasses import dataclass, field
from typing import Any

from datamover.api import names, transfer
from datamover.api.volsync import names as words
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, SECRETS
from kubekit.words.meta import Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from kubekit.words.timestamps import compact, moment_of, parse
from support.simulation.calls import Call, Tree
from support.simulation.destination import Mover
from support.simulation.trees import holds, is_going, label_of, look, name_of, owners_of, space_of, uid_of
from support.simulation.writes import CLAIMS, Writes, condition_of
from support.virtual_time import START

KINDS = (REPLICATION_SOURCES, REPLICATION_DESTINATIONS)
MOST_A_ROUND = 80
"""Writes of a status in a minute of one synchronisation."""
_SHELVES = {kind.group_resource for kind in KINDS}
_JOBS = JOBS.group_resource
_SNAPSHOTS = VOLUME_SNAPSHOTS.group_resource
_SECRETS = SECRETS.group_resource


@dataclass
class Round:
    """What is known of one object. `begun` are the starts of all its synchronisations, `published` its keys as they were told."""

    resource: Resource[Any]
    status: Tree = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    succeeded: int = 0
    pace: list[float] = field(default_factory=list)
    published: dict[str, Tree] = field(default_factory=dict)
    fences: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    """For each replica, when it has written the status, or proved it, and the synchronisation that was recorded then."""

    def proved(self, call: Call) -> str:
        """Return which synchronisation was recorded when the sender of a request had written or proved the status last."""
        return next((run for at, run in reversed(self.fences.get(call.agent, [])) if at <= call.sent), "")


class ReplicationLedger(Writes):
    """See the module's docstring."""

    created_by = words.CREATED_BY_VALUE
    contents: dict[str, Any]
    """What the storage has put into claims and snapshots, by their UIDs."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.rounds: dict[str, Round] = {}
        self.contents = {}
        self.excused: set[str] = set()
        """Names of what a person has deleted, which an operator may not know yet."""

    def record(self, uid: str, resource: Resource[Any]) -> None:
        self.rounds[uid] = Round(resource)

    def owns(self, uid: str) -> bool:
        return uid in self.rounds

    def makes_claims(self, call: Call) -> bool:
        return self._name(call).startswith("volsync-")

    def deletes(self, call: Call, target: Tree) -> None:
        """L2: the label of what is temporary. A destination's image stays until another one is told.

        A claim that has no volume yet holds nothing: it is made anew as it is asked for by now, judged at its version.
        """
        empty = call.resource == CLAIMS and not look(target, "spec", "volumeName")
        if empty and look(call.body, "preconditions", "resourceVersion"):
            return
        owner = label_of(target, words.CLEANUP_LABEL)
        if owner not in owners_of(target):
            self._break("L2", f"{call} hits an object without the label of what is temporary")
        latest = look(self._object(owner), "status", "latestImage") or {}
        if (latest.get("kind"), latest.get("name")) == (target["kind"], name_of(target)):
            self._break("image", f"{call} deletes the latest image")

    def written(self, call: Call, answer: Tree) -> None:
        if call.verb == "create" and call.resource in (CLAIMS, _SNAPSHOTS, _JOBS):
            self._check_create(call, answer)
        elif call.resource == _SECRETS:
            self._check_secret(call, answer)
        elif call.resource in _SHELVES:
            if call.subresource != "status":
                self._break("L6", f"{call} changes more than a status")
            fences = self.rounds[uid_of(answer)].fences.setdefault(call.agent, [])
            fences.append((self._history.now(), run_id_of(answer)))
            self._check_status(answer)

    # --- children -----------------------------------------------------------------------------------

    def _check_create(self, call: Call, child: Tree) -> None:
        uid = next((uid for uid in owners_of(child) if uid in self.rounds), None)
        if uid is None:
            self._break("L5", f"{call}: nobody owns the child")
            return
        owner, run = self._object(uid), label_of(child, names.RUN_ID_LABEL)
        if owner is None:
            return  # deleted a moment before; the garbage collector will find the child
        # Nothing can be made under the version of its owner. What is on its way when a rival begins the next synchronisation, or for so long
        # that this one ends, is removed as stale when it is there. But nobody sends it who has not looked.
        if run and run not in (run_id_of(owner), self.rounds[uid].proved(call)):
            self._break("L6", f"{call}: the synchronisation {run} is not recorded, but {run_id_of(owner)}")
        if call.resource == _JOBS:
            self._check_job(call, child, uid, run)

    def _check_job(self, call: Call, job: Tree, uid: str, run: str) -> None:
        for other in self._objects.all(JOBS):
            if uid in owners_of(other) and uid_of(other) != uid_of(job) and is_active(other):
                self._break("L7", f"{call}: {name_of(other)} of the same object is there already")
        container = job["spec"]["template"]["spec"]["containers"][0]
        given = {variable["name"]: variable.get("value") for variable in container["env"]}
        if not run or given.get(transfer.RUN_ID) != run:
            self._break("L6", f"{call}: {transfer.RUN_ID} is {given.get(transfer.RUN_ID)}, the label says {run}")

    def _check_secret(self, call: Call, secret: Tree) -> None:
        if call.verb != "create":
            self._break("keys", f"{call} changes a Secret")
            return
        for uid in owners_of(secret):
            known = self.rounds[uid].published.get(name_of(secret)) if uid in self.rounds else None
            # Who asks for the metadata alone is answered so. Keys that a user has deleted cannot come again.
            if known is not None and secret.get("data", known) != known:
                self._break("keys", f"{call} makes other keys than were published")

    # --- status -------------------------------------------------------------------------------------

    def _check_status(self, obj: Tree) -> None:
        uid, name = uid_of(obj), f"{obj['kind']} {name_of(obj)}"
        record = self.rounds[uid]
        before, now = record.status, obj.get("status") or {}
        record.status = now
        old, new = before.get("lastSyncStartTime"), now.get("lastSyncStartTime")
        self._check_pace(record, name, same=old == new)
        if new and old != new:
            if record.begun and moment_of(new, default=0.0) <= moment_of(record.begun[-1], default=0.0):
                self._break("L6", f"{name} begins again at {new}, as it has begun before: {record.begun}")
            record.begun.append(new)
        if before.get("lastSyncTime") != now.get("lastSyncTime") or (old and not new):
            self._check_success(obj, before, now)
        elif before.get("lastManualSync") != now.get("lastManualSync"):
            self._break("L6", f"{name}: lastManualSync moves without a synchronisation")
        if before.get("latestImage") != now.get("latestImage"):
            self._check_image(obj, now.get("latestImage") or {})
        self._check_words(name, now)
        self._publish(record, obj, now)

    def _check_pace(self, record: Round, name: str, *, same: bool) -> None:
        now = self._history.now()
        record.pace = [at for at in record.pace if same and at > now - 60.0] + [now]
        if len(record.pace) == MOST_A_ROUND:
            self._break("L9", f"the status of {name} was written {MOST_A_ROUND} times in a minute")

    def _check_success(self, obj: Tree, before: Tree, now: Tree) -> None:
        """L4, L6, L7: a mover of this very synchronisation has succeeded, with data of this synchronisation."""
        name, start = f"{obj['kind']} {name_of(obj)}", before.get("lastSyncStartTime")
        if not start or now.get("lastSyncStartTime") or not now.get("lastSyncTime"):
            self._break("L6", f"{name}: what has not begun has ended, or has no end: {before} {now}")
            return
        self.rounds[uid_of(obj)].succeeded += 1
        if look(now, "latestMoverStatus", "result") != words.MoverResult.SUCCESSFUL:
            self._break("L4", f"{name}: lastSyncTime moves, and the mover was {now.get('latestMoverStatus')}")
        run = f"{compact(parse(start))}-{uid_of(obj).replace('-', '')[:8]}"
        done = [each for each in self._destination.of(uid_of(obj)) if each.succeeded and each.run == run]
        if not done:
            self._break("L4", f"{name}: no mover of {run} has succeeded")
            return
        if obj["kind"] == REPLICATION_SOURCES.kind:
            self._check_content(name, done[-1], moment_of(start, default=0.0))

    def _check_content(self, name: str, mover: Mover, start: float) -> None:
        """A copy is of this synchronisation when it was taken after its beginning. What is read directly has no copy."""
        content = self.contents.get(mover.claim_uid)
        if content is not None and START.timestamp() + content.at < start:
            self._break("L6", f"{name}: the mover of {mover.run} has read a copy that is older: {content}")

    def _check_image(self, obj: Tree, image: Tree) -> None:
        name = f"{obj['kind']} {name_of(obj)}"
        resource = VOLUME_SNAPSHOTS if image.get("kind") == VOLUME_SNAPSHOTS.kind else PERSISTENT_VOLUME_CLAIMS
        found = self._objects.find(resource, image.get("name", ""), space_of(obj))
        if found is None and image.get("name") not in self.excused:
            self._break("image", f"{name}: the latest image {image} is not there")
        elif found is not None and resource is VOLUME_SNAPSHOTS and not look(found, "status", "readyToUse"):
            self._break("image", f"{name}: the latest image {image} is not ready")

    def _check_words(self, name: str, now: Tree) -> None:
        """L10: no condition without a reason and a sentence."""
        for kind in (words.Synchronizing.TYPE, "Ready", "Stalled"):
            said = condition_of(now, kind)
            if said and (not said.get("reason") or not said.get("message")):
                self._break("L10", f"{name}: {kind} without a word: {said}")
        if now.get("lastSyncStartTime") and not condition_of(now, words.Synchronizing.TYPE):
            self._break("L10", f"{name} is under way and does not say so")

    def _publish(self, record: Round, obj: Tree, now: Tree) -> None:
        for secret in (look(now, "rsyncTLS", "keySecret"), look(now, "rsync", "sshKeys")):
            if not secret or secret in record.published:
                continue
            found = self._objects.find(SECRETS, secret, space_of(obj))
            if found is not None and uid_of(obj) in owners_of(found):
                record.published[secret] = found["data"]

    def _object(self, uid: str) -> Tree | None:
        if uid not in self.rounds:
            return None
        return next((obj for obj in self._objects.all(self.rounds[uid].resource) if uid_of(obj) == uid), None)


def run_id_of(obj: Tree) -> str:
    """Return the id of the synchronisation that is recorded."""
    start = look(obj, "status", "lastSyncStartTime")
    return f"{compact(parse(start))}-{uid_of(obj).replace('-', '')[:8]}" if start else ""


def is_active(job: Tree) -> bool:
    """Tell whether a Job may still start a mover."""
    return not is_going(job) and not holds(job, "Complete") and not holds(job, "Failed")
