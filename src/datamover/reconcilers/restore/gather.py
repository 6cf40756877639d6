"""From the caches to one frozen Facts. Reads nothing but caches, so that a reconcile costs the API server no read."""

from dataclasses import replace
from datetime import datetime
from typing import Protocol

from datamover.api.v1alpha1.datamover import DataMover
from datamover.api.v1alpha1.restore import DataMoverRestore, DataMoverRestoreSpec
from datamover.plans.known import Known
from datamover.reconcilers.restore.facts import Facts
from datamover.reconcilers.restore.order import copy_of, job_name
from datamover.reconcilers.restore.safety import tentative_copy
from datamover.reconcilers.restore.target import is_made_by
from datamover.reconcilers.restore.turn import comes_before
from datamover.runs import gather as runs
from datamover.runs.facts import PATIENT, Patience, RunFacts, Unread
from datamover.volumes.rebinding import holder_of
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolume, PersistentVolumeClaim, SecretKeys


class View(runs.View, Protocol):
    """The caches, read by name."""

    def secret(self, namespace: str, name: str) -> SecretKeys | Unread:
        """What is known of a Secret."""
        ...

    def mover(self, namespace: str, name: str) -> DataMover | Unread:
        """What is known of a DataMover."""
        ...

    def rivals(self, namespace: str, claim: str) -> tuple[DataMoverRestore, ...]:
        """The restores into a claim."""
        ...

    def copies(self, namespace: str, claim: str, *, but: str = "") -> tuple[str, ...]:
        """The copies of a claim that are being made and are not there yet, in words, `but` those of an owner."""
        ...


def gather(
    restore: DataMoverRestore, *, view: View, known: Known, now: datetime, patience: Patience = PATIENT
) -> Facts:
    """Return what there is to know about one DataMoverRestore."""
    spec, status = restore.spec, restore.status
    if spec is None:
        return Facts(restore, RunFacts(now, known=known, patience=patience))
    namespace = restore.metadata.namespace or ""
    run = status.run if status is not None else None
    claim = run.claim if run is not None else spec.target.claim_name
    name = (run.job_name if run is not None else None) or job_name(claim)
    temporary = run.temporary_claim if run is not None else None
    copy = copy_of(temporary or claim, run.safety if run is not None else tentative_copy(spec))
    facts = runs.gather_run(restore.metadata, copy, name, view=view, known=known, now=now, patience=patience)
    refusal = facts.known.refusal
    made = refusal is not None and refusal.target == (PERSISTENT_VOLUME_CLAIMS.kind, claim)
    if made and facts.source is not None and is_made_by(restore, facts.source):
        facts = replace(facts, known=replace(facts.known, refusal=None))  # it is there, whoever's answer was lost
    mover, secret = _read_source(spec, namespace, view=view) if run is None else (Unread.MISSING, Unread.MISSING)
    found = Facts(
        restore,
        facts,
        mover=mover,
        secret=secret,
        before=_who_comes_first(restore, claim, view=view),
        copies=view.copies(namespace, claim, but=restore.metadata.uid),
    )
    target = view.claim(namespace, claim) if temporary else None
    if target is None:
        return found
    of_class = target.spec.storage_class_name if target.spec is not None else None
    return replace(
        found,
        target=target,
        target_class=view.storage_class(of_class) if of_class else None,
        target_volume=_find_volume(target, view=view),
    )


def _find_volume(claim: PersistentVolumeClaim, *, view: View) -> PersistentVolume | Unread:
    """Return the volume that a claim has, or else the one that names it and is about to be bound."""
    name = claim.spec.volume_name if claim.spec is not None else None
    if name:
        return view.volume(name)
    named = view.volumes_of(claim.metadata.namespace or "", claim.metadata.name)
    return next((each for each in named if holder_of(each) == claim.metadata.uid), Unread.MISSING)


def secret_of(spec: DataMoverRestoreSpec, mover: DataMover | Unread) -> str | None:
    """Return the name of the bucket's Secret; None while nobody can tell it."""
    if spec.source.bucket is not None:
        return spec.source.bucket.secret_name
    return mover.spec.secret_name if isinstance(mover, DataMover) and mover.spec is not None else None


def _read_source(
    spec: DataMoverRestoreSpec, namespace: str, *, view: View
) -> tuple[DataMover | Unread, SecretKeys | Unread]:
    mover: DataMover | Unread = Unread.MISSING
    if spec.source.data_mover:
        mover = view.mover(namespace, spec.source.data_mover)
    name = secret_of(spec, mover)
    return mover, view.secret(namespace, name) if name else Unread.NOT_SYNCED


def _who_comes_first(restore: DataMoverRestore, claim: str, *, view: View) -> tuple[str, ...]:
    """Return the restores into the same claim that this one has to wait for, as far as their statuses say so."""
    others = view.rivals(restore.metadata.namespace or "", claim)
    return tuple(
        sorted(
            other.metadata.name
            for other in others
            if other.metadata.uid != restore.metadata.uid and comes_before(other, restore)
        )
    )
