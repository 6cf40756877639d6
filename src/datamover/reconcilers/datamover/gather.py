"""From the caches to one frozen Facts. Reads nothing but caches, so that a reconcile costs the API server no read."""

from datetime import datetime
from typing import Protocol

from datamover.api.names import CopyMethod, Phase
from datamover.api.v1alpha1.datamover import DataMover, DataMoverSpec
from datamover.plans.known import Known
from datamover.reconcilers.datamover.facts import NO_COMPARISON, Comparison, Facts
from datamover.reconcilers.datamover.order import copy_of, created_at
from datamover.runs import gather as runs
from datamover.runs.facts import PATIENT, Patience, RunFacts, Unread
from datamover.volumes.copy_trigger import Sharer
from datamover.volumes.naming import clone_name, verification_name
from kubekit.words.core import PersistentVolumeClaim, SecretKeys


class View(runs.View, Protocol):
    """The caches, read by name."""

    def secret(self, namespace: str, name: str) -> SecretKeys | Unread:
        """What is known of a Secret."""
        ...

    def sharers(self, source: PersistentVolumeClaim | None, uid: str) -> tuple[Sharer, ...]:
        """The owners but this one that copy a claim whose user triggers copies."""
        ...

    def restorers(self, namespace: str, claim: str) -> tuple[str, ...]:
        """What restores into a claim now, or has left it half restored."""
        ...

    def backups(self, source: str, mover: DataMover) -> tuple[str, ...]:
        """The other DataMovers that back a claim up now, by name."""
        ...

    def clone_holders(self, namespace: str, name: str) -> tuple[DataMover, ...]:
        """The DataMovers whose status names this clone."""
        ...


def gather(mover: DataMover, *, view: View, known: Known, now: datetime, patience: Patience = PATIENT) -> Facts:
    """Return what there is to know about one DataMover."""
    spec, status = mover.spec, mover.status
    if spec is None:
        return Facts(mover, RunFacts(now, known=known, patience=patience))
    run = status.run if status else None
    name = _clone_name(mover, spec, view=view, now=now)
    facts = runs.gather_run(
        mover.metadata,
        copy_of(mover, spec, run, claim=name, now=now),
        run.job_name if run else None,
        view=view,
        known=known,
        now=now,
        patience=patience,
        restorers=view.restorers(mover.metadata.namespace or "", (run.source if run else None) or spec.source_pvc),
    )
    secret = view.secret(mover.metadata.namespace or "", spec.secret_name)
    return Facts(
        mover,
        facts,
        secret=secret,
        clone_name=name,
        sharers=view.sharers(facts.source, mover.metadata.uid),
        comparison=_comparison(mover, view=view),
        backups=_backups(mover, spec, view=view),
    )


def _comparison(mover: DataMover, *, view: View) -> Comparison:
    """Return what there is by the name of the Job that verifies again. Only what is complete has one."""
    if mover.status is None or mover.status.phase != Phase.COMPLETED:
        return NO_COMPARISON
    namespace = mover.metadata.namespace or ""
    job = view.job(namespace, verification_name(mover.metadata.name, mover.metadata.uid))
    found = view.pods_of(job.metadata.uid) if job is not None else ()
    return Comparison(job, tuple(pod for pod in found if pod.metadata.namespace == namespace))  # as of a run (law L11)


def _backups(mover: DataMover, spec: DataMoverSpec, *, view: View) -> tuple[str, ...]:
    status = mover.status
    asked = spec.verify is not None and spec.verify.every is not None
    if status is None or status.run is None or status.phase != Phase.COMPLETED or not asked:
        return ()
    return view.backups(status.run.source or spec.source_pvc, mover)


def _clone_name(mover: DataMover, spec: DataMoverSpec, *, view: View, now: datetime) -> str | None:
    """Return the recorded name, or the one to record: the documented one unless somebody else holds it."""
    status = mover.status
    if status is not None and status.run is not None and status.restored_pvc_name:
        return status.restored_pvc_name
    if spec.copy_method == CopyMethod.DIRECT:
        return None
    namespace, uid = mover.metadata.namespace or "", mover.metadata.uid
    created = created_at(mover, now)
    name = clone_name(spec.source_pvc, created=created)
    holder = view.claim(namespace, name)
    others = [other for other in view.clone_holders(namespace, name) if other.metadata.uid != uid]
    if others or (holder is not None and not holder.metadata.owned_by(uid)):
        return clone_name(spec.source_pvc, created=created, taken_for=uid)
    return name
