"""A verification of what a run has left as an order: the Job that compares, and what counts as a run for `datamover.runs`. Pure.

It has no copy and mounts no claim; all else (a Pod that does not start, a node that is lost, last words that are late) is as with any mover, so `runs.job` follows it.
"""

from dataclasses import replace
from typing import Final

from datamover.api import reasons
from datamover.api.names import CopyMethod
from datamover.api.ownership import Owner, labels_of
from datamover.api.periods import read_period
from datamover.api.transfer import show_verification
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover, DataMoverSpec, Reverification, Run, Verify
from datamover.movers.verification import CONTAINER, Verification, build_job
from datamover.reconcilers.datamover.facts import Facts, Settings
from datamover.reconcilers.datamover.order import FIELDS
from datamover.runs.facts import RunFacts
from datamover.runs.order import Copy, Order, Readable, Transfer
from datamover.runs.record import Record, Stage
from kubekit.words.meta import Manifest

DAY: Final = 86_400.0
AT_WORK: Final = frozenset({reasons.VERIFYING, reasons.ATTEMPT_FAILED, reasons.RETRYING, reasons.PROGRESS_UNKNOWN})
"""Reasons with which a verification gets on."""


def period_of(verify: Verify) -> float:
    """Return the seconds between two verifications; `every` is set and valid."""
    return read_period(verify.every or "") or DAY


def run_facts(facts: Facts) -> RunFacts:
    """Return what is known of the Job that compares, as of the Job of a run that has no copy."""
    return replace(
        facts.run,
        source=None,
        source_class=None,
        claim=None,
        claim_class=None,
        volumes=(),
        snapshot=None,
        job=facts.comparison.job,
        pods=facts.comparison.pods,
        strays=(),
        restorers=(),
    )


def order_of(
    mover: DataMover, spec: DataMoverSpec, run: Run, record: Reverification, verify: Verify, settings: Settings
) -> Order:
    """Return what is asked for, with what `record` says of it (law L6)."""
    name, deadline = record.job_name or "", _deadline(spec, verify)
    owner = Owner(DATA_MOVERS, mover.metadata, labels_of(mover.metadata, run_id=record.id or ""))

    def build(readable: Readable) -> Manifest:
        del readable  # nothing of the cluster is read
        return build_job(
            owner,
            Verification(
                run_id=record.id or "",
                namespace=mover.metadata.namespace or "",
                object_name=mover.metadata.name,
                secret_name=spec.secret_name,
                point=run.id,
                source=f"{mover.metadata.namespace}/{run.source or spec.source_pvc}",
                method=verify.again,
                environment=spec.additional_env or (),
                deadline_seconds=deadline,
                image=spec.image,
                mover=spec.mover,
            ),
            name=name,
            image=settings.mover_image,
            pull_policy=settings.mover_pull_policy,
            defaults=settings.mover_defaults,
        )

    fields = (
        FIELDS if spec.deadline_seconds else replace(FIELDS, deadline="what it may take without spec.deadlineSeconds")
    )
    return Order(
        owner,
        Copy(method=CopyMethod.DIRECT, source=run.source or spec.source_pvc, claim=None, round=record.id),
        (
            Transfer(
                name,
                CONTAINER,
                build,
                deadline=deadline,
                temporary=True,
                verification=show_verification(str(verify.again)),
            ),
        ),
        Record(
            stage=Stage.MOVING,
            begun=run.timestamp,
            reason=record.reason or "",
            halted=record.reason not in AT_WORK,
            since=record.started,
            attempts=record.attempts,
        ),
        fields,
    )


def _deadline(spec: DataMoverSpec, verify: Verify) -> int:
    """Return the seconds that one may take. Without a word of the user's it has as long as until the next one is due, and a day at least: one that waits for a node, or
    hangs, ends and is told, in the place of being the last one that there ever was.
    """
    return spec.deadline_seconds or int(max(period_of(verify), DAY))
