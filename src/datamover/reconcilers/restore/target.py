"""The claim that is restored into: what stands against it, how it is made, and that it is still the same. Pure.

A claim that is made here is its user's from the first moment on: it has no owner, and nothing of ours ever deletes it (law L2).
"""

from typing import Final

from datamover.api import names, reasons
from datamover.api.names import PART_OF_LABEL, PART_OF_VALUE
from datamover.api.v1alpha1.restore import DataMoverRestore, NewClaim, RestoreRun
from datamover.movers.outcomes import has_ended
from datamover.plans.steps import Create, Inquire, ProveGone, writers_of
from datamover.reconcilers.restore.facts import Facts
from datamover.reconcilers.restore.loss import lose
from datamover.reconcilers.restore.order import FIELDS
from datamover.reconcilers.restore.population import check_filler, prepare_temporary
from datamover.runs.facts import RunFacts
from datamover.runs.job import is_suspended
from datamover.runs.order import Order
from datamover.runs.verdict import Answer, News, Rest, Verdict, blocked, refused, working
from datamover.runs.wait import LITTLE, about, wait_for
from datamover.volumes.binding import Obstacle, binds_on_use, is_bound, is_lost, is_read_only
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from kubekit.words.meta import Manifest

ACTION: Final = "Prepare"
_FRESH: Final = 5.0
"""Seconds for which it is believed that nobody uses a claim."""
_LOOK_AGAIN: Final = 15.0
"""Seconds after which it is looked again who uses it: nothing tells us when a Pod of somebody else goes."""


def is_made_by(restore: DataMoverRestore, claim: PersistentVolumeClaim) -> bool:
    """Tell whether a restore has made this claim."""
    return claim.metadata.annotation(names.RESTORED_BY_ANNOTATION) == restore.metadata.uid


def build_claim(restore: DataMoverRestore, name: str, wanted: NewClaim) -> Manifest:
    """Return the claim that is to be made. It has none of the labels of temporary children, by which people and Velero clear those away."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name,
            "namespace": restore.metadata.namespace,
            "labels": {PART_OF_LABEL: PART_OF_VALUE},
            "annotations": {names.RESTORED_BY_ANNOTATION: restore.metadata.uid},
        },
        "spec": {
            "accessModes": list(wanted.access_modes or ("ReadWriteOnce",)),
            "resources": {"requests": {"storage": wanted.storage}},
            "volumeMode": "Filesystem",
            **({} if wanted.storage_class_name is None else {"storageClassName": wanted.storage_class_name}),
        },
    }


def check_target(facts: Facts, name: str) -> Obstacle | None:
    """Return why nothing can be restored into the claim, or not yet; None also when it is still to be made."""
    claim, spec = facts.claim, facts.restore.spec
    create = spec.target.create if spec is not None else None
    if claim is None:
        if create is not None:
            return None
        return Obstacle(
            reasons.TARGET_NOT_FOUND,
            f"PersistentVolumeClaim {name} does not exist in this namespace: create it, say in spec.target.create how it is to be made, or correct "
            f"{FIELDS.source}",
            waits=True,
        )
    if claim.metadata.terminating:
        return Obstacle(
            reasons.TARGET_TERMINATING,
            f"PersistentVolumeClaim {name} is being deleted; the restore begins when there is a new one of that name",
            waits=True,
        )
    if create is not None and not is_made_by(facts.restore, claim):
        return Obstacle(
            reasons.TARGET_EXISTS,
            f"PersistentVolumeClaim {name} exists, and this restore has not made it: name another one, or remove spec.target.create to restore into it",
            waits=True,
        )
    return _check_claim(claim) or check_filler(facts, claim)


def _check_claim(claim: PersistentVolumeClaim) -> Obstacle | None:
    name = claim.metadata.name
    if is_lost(claim):
        return Obstacle(
            reasons.TARGET_LOST,
            f"PersistentVolumeClaim {name} has lost its volume: restore into another one, or delete it and create it anew",
            waits=True,
        )
    if claim.spec is not None and claim.spec.volume_mode == "Block":
        return Obstacle(
            reasons.BLOCK_NOT_SUPPORTED,
            f"PersistentVolumeClaim {name} is a Block volume, and a restore brings files: use a Filesystem volume",
            waits=False,
        )
    if is_read_only(claim):
        return Obstacle(
            reasons.TARGET_NOT_WRITABLE,
            f"PersistentVolumeClaim {name} has ReadOnlyMany as its one access mode, so nothing can be written: use another one",
            waits=False,
        )
    return None


def prepare(order: Order, facts: Facts, run: RestoreRun) -> Answer | None:
    """Bring the claim one step nearer to a restore; None when the mover may be started.

    1. Nobody else restores into it.
    2. It is there, or it is made: once, under the recorded name (law L6).
    3. It has its volume, unless that is made for the first Pod that uses it.
    4. No Pod of somebody else may write it.

    One that is filled by a temporary claim never has a volume that is not whole: there that claim is made (`population`).
    """
    name = run.claim
    busy = _check_turn(order, facts, name)
    if busy is not None:
        return busy
    obstacle = check_target(facts, name)
    if obstacle is not None:
        return blocked(obstacle.reason, obstacle.message, action=ACTION)
    claim = facts.claim
    if claim is None:
        return _make(facts, name)
    if run.temporary_claim is not None:
        return prepare_temporary(order, facts, run, claim)
    if not is_bound(claim) and not binds_on_use(facts.run.source_class):
        return wait_for(
            facts.run,
            PERSISTENT_VOLUME_CLAIMS.kind,
            claim.metadata,
            told=_at_work(f"PersistentVolumeClaim {name} gets its volume"),
            cause=reasons.TARGET_NOT_BOUND,
            subject=f"PersistentVolumeClaim {name} does not get ready",
            action=ACTION,
        )
    return _check_users(facts, claim)


def check_free(order: Order, facts: Facts, run: RestoreRun) -> Answer | None:
    """Return who has the claim where no mover is at work on it, though its start is recorded; None where one is, or may be."""
    job, claim = facts.run.job, facts.run.source
    if job is not None and order.owner.holds(job) and (job.ended or job.metadata.terminating or not is_suspended(job)):
        return None
    busy = _check_job(order, facts.run, run.claim)
    if busy is not None or claim is None or run.temporary_claim is not None:
        return busy  # a temporary claim is nobody else's
    return _check_users(facts, claim)


def check_kept(order: Order, facts: Facts, run: RestoreRun) -> Verdict | None:
    """Return the end of a restore whose claim is another one by now, or going: nobody would have what it brings. None while it is the same.

    A Pod that has the claim keeps it from going. Where none has it nothing is begun any more: no Pod starts with a claim that is going.
    """
    claim, job, name = facts.run.source, facts.run.job, run.claim
    ours = job if job is not None and order.owner.holds(job) else None
    if claim is None or (run.claim_uid is not None and claim.metadata.uid != run.claim_uid):
        gone = ProveGone(PERSISTENT_VOLUME_CLAIMS, name, namespace=order.owner.metadata.namespace, uid=run.claim_uid)
        begun = ours is not None or run.attempts > 0 or facts.run.strays
        # its start is recorded before the Job is made: in between, and while the Job has no Pod, nothing is written
        lost = (
            f"PersistentVolumeClaim {name} was deleted while it was restored into, and what had come back went with it"
            if begun
            else f"PersistentVolumeClaim {name} was deleted before the mover was made that was to restore into it"
        )
        return lose(order, facts.run, lost, ours, gone)
    if claim.metadata.terminating and (ours is None or ours.ended or is_suspended(ours)):
        message = f"PersistentVolumeClaim {name} is being deleted, and what has come back goes with it"
        return lose(order, facts.run, message, ours)
    return None


def _check_turn(order: Order, facts: Facts, name: str) -> Answer | None:
    """Two movers must never write one claim: the Job's name is the claim's, so that the server lets only one of two have it (law L7)."""
    busy = _check_job(order, facts.run, name)
    if busy is not None:
        return busy
    if facts.before:
        first = facts.before[0]
        message = (
            f"{FIELDS.kind} {first} restores into PersistentVolumeClaim {name}; this one begins when that is over: "
            "wait, or delete the other one"
        )
        return blocked(reasons.TARGET_BEING_RESTORED, message, action=ACTION)
    return None


def _check_job(order: Order, facts: RunFacts, name: str) -> Verdict | None:
    job = facts.job
    if job is not None and not order.owner.holds(job):
        whose = next((f"{each.kind} {each.name}" for each in job.metadata.owner_references or ()), "somebody else")
        message = (
            f"PersistentVolumeClaim {name} is restored into by Job {job.metadata.name} of {whose}; this restore begins when that Job is gone: when {whose} "
            "is complete, or deleted"
        )
        return blocked(reasons.TARGET_BEING_RESTORED, message, action=ACTION, wake_after=_LOOK_AGAIN)
    return None


def _make(facts: Facts, name: str) -> Answer:
    refusal = facts.run.refused()
    if refusal is not None:
        return refused(refusal, action=ACTION)
    spec = facts.restore.spec
    if spec is None or spec.target.create is None:
        return Rest()
    return Rest((Create(PERSISTENT_VOLUME_CLAIMS, build_claim(facts.restore, name, spec.target.create)),))


def _check_users(known: Facts, claim: PersistentVolumeClaim) -> Answer | None:
    """An application that writes while it is restored into would find half of it, and leave something that is in no backup.

    A copy that is being made of it would have half of it as well, and so would a backup that reads the claim itself (law L1).
    """
    facts = known.run
    if any(not has_ended(pod) for pod in (*facts.strays, *facts.pods)):
        return None  # a Pod of ours: what is next tells of it
    if known.copies:
        message = (
            f"PersistentVolumeClaim {claim.metadata.name} is being copied: {known.copies[0]}. The restore begins when that is over; delete what does not "
            "come to an end"
        )
        return blocked(reasons.TARGET_IN_USE, message, action=ACTION, wake_after=_LOOK_AGAIN)
    name, found = claim.metadata.name, about(facts, writers_of(claim.metadata.uid))
    if found is None or found.age > (_FRESH if found.text == "" else _LOOK_AGAIN):
        return Rest((Inquire(PERSISTENT_VOLUME_CLAIMS.kind, claim.metadata, writers=True),), _LOOK_AGAIN)
    if found.text == "":
        return None
    wake = _LOOK_AGAIN - found.age + LITTLE
    if found.text is None:  # that nobody could look does not mean that nobody writes
        message = f"nobody can see now which Pods use PersistentVolumeClaim {name}, and one may write it meanwhile: let the operator list Pods; it looks again"
    else:
        message = f"PersistentVolumeClaim {name} is used by {found.text}: stop what uses it; the restore begins when nobody does"
    return blocked(reasons.TARGET_IN_USE, message, action=ACTION, wake_after=wake)


def _at_work(message: str) -> Verdict:
    return working(reasons.PREPARING, message, action=ACTION, news=News.HALTED)
