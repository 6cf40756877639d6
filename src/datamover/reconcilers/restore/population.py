"""Filling a claim whose `dataSourceRef` names the restore: nobody can use half of it. Pure.

A driver makes no volume for such a claim. The mover writes a temporary one; when all is there and was compared, its volume is handed over to the claim.

    the claim waits ──► a Pod uses it (WaitForFirstConsumer) ──► temporary claim, bound ──► the mover writes that ──► Job and Pods go
        ──► the volume names the claim ──► Kubernetes binds it ──► the temporary claim goes ──► Completed

Guarantees: the temporary claim's name is recorded before it is made, and both claims' UIDs before a mover starts (law L6): another one of the same name is
never handed over, and never gets the data. It goes only when the claim has the volume, or is not to get it any more (law L2). Each step is derived
from what is there, so a death anywhere is gone on from, and two replicas do what one does (law L7).
"""

from dataclasses import replace as replace_verdict
from typing import Final

from msgspec.structs import replace

from datamover.api import names, reasons
from datamover.api.v1alpha1.restore import DATA_MOVER_RESTORES, DataMoverRestore, RestoreRun
from datamover.plans.steps import Create, Delete, Effect, ProveGone
from datamover.reconcilers.restore.facts import Facts
from datamover.reconcilers.restore.loss import lose
from datamover.runs.order import Order
from datamover.runs.relocation import give_node_back
from datamover.runs.removal import await_removal
from datamover.runs.verdict import Answer, News, Rest, Verdict, blocked, refused, working
from datamover.runs.wait import wait_for
from datamover.volumes.binding import Obstacle, binds_on_use, is_bound, is_lost
from datamover.volumes.population import filled_from, find_class_fault, names_kind, node_of
from datamover.volumes.prime import build_prime_of
from datamover.volumes.rebinding import holder_of, may_go
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolume, PersistentVolumeClaim

ACTION: Final = "Populate"

# Which way.


def is_for_restores(claim: PersistentVolumeClaim) -> bool:
    """Tell whether a claim is to be filled by a DataMoverRestore."""
    return names_kind(claim, group=names.GROUP, kind=DATA_MOVER_RESTORES.kind)


def is_ours(order: Order, prime: PersistentVolumeClaim) -> bool:
    """Tell whether a temporary claim is of this restore's making."""
    return order.owner.owns(prime)


def temporary_name(restore: DataMoverRestore) -> str:
    """Return the name of the temporary claim: there is one for each restore."""
    return f"{names.RESTORE_PRIME_PREFIX}{restore.metadata.uid}"


def choose_way(restore: DataMoverRestore, run: RestoreRun, claim: PersistentVolumeClaim | None) -> RestoreRun:
    """Return the run with the way in which this claim is restored into: by a temporary one, where it waits to be filled by this restore.

    One that has a volume already (its class's provisioner ignores dataSourceRef, or it was filled before) is written itself.
    """
    chosen = (
        claim is not None and claim.spec is not None and bool(claim.spec.volume_name)
    )  # by its user, or by Kubernetes
    waits = claim is not None and not is_bound(claim) and not chosen and is_for_restores(claim)
    if claim is None or not waits or filled_from(claim) != restore.metadata.name:
        if run.temporary_claim is None:
            return run  # what is known of the claim stays
        return replace(run, temporary_claim=None, temporary_claim_uid=None, claim_uid=None)
    return replace(run, temporary_claim=temporary_name(restore), temporary_claim_uid=None, claim_uid=claim.metadata.uid)


def check_filler(facts: Facts, claim: PersistentVolumeClaim) -> Obstacle | None:
    """Return why a claim that waits to be filled is not filled by this restore, or not yet."""
    if is_bound(claim) or not is_for_restores(claim):
        return None
    name, filler = claim.metadata.name, filled_from(claim)
    if not filler:
        message = (
            f"PersistentVolumeClaim {name} names a {DATA_MOVER_RESTORES.kind} of another namespace in its dataSourceRef, and a claim is filled by one of its own "
            "namespace only, so it gets no volume: create it anew, without dataSourceRef.namespace"
        )
        return Obstacle(reasons.TARGET_NOT_BOUND, message, waits=True)
    if filler != facts.restore.metadata.name:
        message = (
            f"PersistentVolumeClaim {name} names {DATA_MOVER_RESTORES.kind} {filler} in its dataSourceRef and has no volume before that has filled it: wait for it, "
            "or restore into another claim"
        )
        return Obstacle(reasons.TARGET_BEING_RESTORED, message, waits=True)
    if not facts.population:
        message = (
            f"PersistentVolumeClaim {name} waits to be filled by this restore (dataSourceRef), and the operator is started to fill none (--no-restore-population; "
            "chart: restores.population.enabled): restore into a claim without dataSourceRef, or have that allowed"
        )
        return Obstacle(reasons.TARGET_NOT_BOUND, message, waits=True)
    fault = find_class_fault(claim.spec and claim.spec.storage_class_name, facts.claim_class)
    if fault is not None:
        return Obstacle(
            reasons.STORAGE_CLASS_NOT_FOUND, f"PersistentVolumeClaim {name} is not filled: {fault}", waits=True
        )
    return None


def reconsider(order: Order, facts: Facts, run: RestoreRun) -> RestoreRun | Answer | None:
    """Return what is to be recorded before the mover starts, when the claim is another one by now than the one that was decided upon; None when it is
    the same. What was made for the one before goes first.
    """
    claim = facts.claim
    if run.temporary_claim is not None and (claim is None or claim.metadata.terminating):
        gone = prove_claim_gone(order, run) if claim is None else ()
        steps = discard(order, facts)
        return Rest((*gone, *steps)) if steps else None
    if claim is None:
        return None  # it may still have to be made
    again = choose_way(facts.restore, run, claim)
    if (again.temporary_claim, again.claim_uid) == (run.temporary_claim, run.claim_uid):
        return None
    prime = facts.run.source if run.temporary_claim is not None else None
    if prime is None or not is_ours(order, prime):
        return again
    return remove(order, facts, prime, purpose="Another one is made when it is gone")


# Until the mover may start.


def prepare_temporary(order: Order, facts: Facts, run: RestoreRun, claim: PersistentVolumeClaim) -> Answer | None:
    """Bring the temporary claim one step nearer to a mover; None when that may start.

    It must have its volume before: a Pod of ours would choose another node than the one where the user's Pod is to run.
    """
    prime, name = facts.run.source, run.temporary_claim or ""
    refusal = facts.run.refused() or facts.run.refused(patch=True)
    if refusal is not None:
        return refused(refusal, action=ACTION)
    if prime is None:
        return _make(order, facts, claim, name)
    if not is_ours(order, prime):
        message = f"PersistentVolumeClaim {name} exists and is not this {order.fields.kind}'s: delete it"
        return blocked(reasons.NAME_TAKEN, message, action=ACTION)
    for_another = prime.metadata.annotation(names.FILLS_ANNOTATION) != claim.metadata.uid
    if prime.metadata.terminating or is_lost(prime) or for_another:
        return remove(order, facts, prime, purpose="Another one is made when it is gone")
    if is_bound(prime):
        return None
    if binds_on_use(facts.claim_class) and node_of(prime) is None:
        return Rest(give_node_back(claim, prime))
    return wait_for(
        facts.run,
        PERSISTENT_VOLUME_CLAIMS.kind,
        prime.metadata,
        told=_at_work(f"PersistentVolumeClaim {name}, by which {claim.metadata.name} is filled, gets its volume"),
        cause=reasons.TARGET_NOT_BOUND,
        subject=f"PersistentVolumeClaim {name}, by which {claim.metadata.name} is filled, does not get ready",
        action=ACTION,
    )


def _make(order: Order, facts: Facts, claim: PersistentVolumeClaim, name: str) -> Answer:
    late, node = binds_on_use(facts.claim_class), node_of(claim)
    if late and node is None:
        message = f"PersistentVolumeClaim {claim.metadata.name} waits for the first Pod that uses it: its StorageClass makes volumes where that is to run"
        return working(reasons.WAITING_FOR_CONSUMER, message, action=ACTION)
    manifest = build_prime_of(
        order.owner,
        claim,
        name=name,
        component=names.COMPONENT_COPY,
        node=node if late else None,
        annotations={names.FILLS_ANNOTATION: claim.metadata.uid},
    )
    told = replace_verdict(
        _at_work(f"PersistentVolumeClaim {name} is made, by which {claim.metadata.name} is filled"), news=News.CHANGED
    )
    return replace_verdict(told, after=(Create(PERSISTENT_VOLUME_CLAIMS, manifest),))


def remove(order: Order, facts: Facts, prime: PersistentVolumeClaim, *, purpose: str) -> Answer:
    """Delete the temporary claim, and wait until it is gone."""
    refusal = facts.run.refused()
    if refusal is not None:
        return refused(refusal, action=ACTION)
    if not prime.metadata.terminating:
        return Rest((Delete(PERSISTENT_VOLUME_CLAIMS, prime.metadata),))
    return await_removal(
        order,
        facts.run,
        PERSISTENT_VOLUME_CLAIMS,
        prime,
        told=_at_work(f"PersistentVolumeClaim {prime.metadata.name} is being deleted"),
        cause=reasons.CLEANUP_WAITING,
        purpose=purpose,
        action=ACTION,
    )


# While the mover works.


def check_filling(order: Order, facts: Facts, run: RestoreRun) -> Verdict | None:
    """Return the end of a restore whose claims are other ones by now: nobody would have what it brings. None while they are the same."""
    claim, prime, job = facts.claim, facts.run.source, facts.run.job
    ours = job if job is not None and order.owner.holds(job) else None
    if claim is None or claim.metadata.uid != run.claim_uid:
        gone = prove_claim_gone(order, run) if claim is None else ()
        message = f"PersistentVolumeClaim {run.claim} was deleted while it was being filled, and what had come back is deleted as well"
        return lose(order, facts.run, message, ours, *gone)
    if prime is None or prime.metadata.uid != run.temporary_claim_uid:
        if is_given(facts, claim):
            return None  # it has served its purpose
        return lose(order, facts.run, tell_lost(run), ours, *prove_temporary_gone(run, prime))
    return None


def is_given(facts: Facts, claim: PersistentVolumeClaim) -> bool:
    """Tell whether the volume that was filled is the claim's: it says so itself."""
    volume = facts.target_volume
    if not isinstance(volume, PersistentVolume) or holder_of(volume) != claim.metadata.uid:
        return False
    return volume.metadata.annotation(names.POPULATED_BY_ANNOTATION) == facts.restore.metadata.uid


def tell_lost(run: RestoreRun) -> str:
    """Return the sentence of a temporary claim that is lost, and its data with it."""
    return (
        f"PersistentVolumeClaim {run.temporary_claim}, by which {run.claim} was filled, was deleted or has lost its volume before that was handed over, "
        "and what had come back went with it"
    )


# What is left.


def discard(order: Order, facts: Facts) -> tuple[Effect, ...]:
    """Return the steps that remove what was made for a claim that does not get it any more: the Job first, for its Pods hold the temporary claim."""
    prime, job, claim = facts.run.source, facts.run.job, facts.claim
    if facts.temporary is None or facts.run.refused() is not None:
        return ()
    steps: tuple[Effect, ...] = ()
    if job is not None and order.owner.owns(job) and not job.metadata.terminating:
        steps = (Delete(JOBS, job.metadata),)
    if prime is None or prime.metadata.terminating or not is_ours(order, prime):
        return steps
    if claim is not None and not may_go(prime, facts.run.source_volume, target=claim):
        return steps
    return (*steps, Delete(PERSISTENT_VOLUME_CLAIMS, prime.metadata))


def discard_if_vain(order: Order, facts: Facts, run: RestoreRun) -> tuple[Effect, ...]:
    """Return those steps where a restore that has failed can never hand over what it has: its claim is gone, another one, or has a volume. Else all of it
    stays for the retry.
    """
    claim = facts.claim
    if claim is not None and claim.metadata.uid == run.claim_uid and not is_bound(claim):
        return ()
    steps = discard(order, facts)
    gone = prove_claim_gone(order, run) if claim is None and steps else ()
    return (*gone, *steps)


def prove_claim_gone(order: Order, run: RestoreRun) -> tuple[ProveGone, ...]:
    """Return what makes sure that the user's claim is gone, which the caches do not show."""
    namespace = order.owner.metadata.namespace
    return (ProveGone(PERSISTENT_VOLUME_CLAIMS, run.claim, namespace=namespace, uid=run.claim_uid),)


def prove_temporary_gone(run: RestoreRun, prime: PersistentVolumeClaim | None) -> tuple[ProveGone, ...]:
    """Return what makes sure that the temporary claim is gone, where the caches do not show it."""
    if prime is not None or run.temporary_claim is None:
        return ()
    return (ProveGone(PERSISTENT_VOLUME_CLAIMS, run.temporary_claim),)


def _at_work(message: str) -> Verdict:
    return working(reasons.PREPARING, message, action=ACTION, news=News.HALTED)
