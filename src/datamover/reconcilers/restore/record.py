"""The restore as a DataMoverRestore's status records it. Pure."""

from collections.abc import Callable
from datetime import datetime

from msgspec.structs import replace

from datamover.api import names, points, transfer
from datamover.api.pods import EnvVar
from datamover.api.restore import MARKED
from datamover.api.transfer import Outcome
from datamover.api.v1alpha1.datamover import DataMover
from datamover.api.v1alpha1.restore import DataMoverRestore, DataMoverRestoreSpec, RestoreRun, SafetyCopy
from datamover.plans.conditions import State
from datamover.reconcilers.restore.order import job_name
from datamover.reconcilers.summary import count
from datamover.runs.record import Stage
from datamover.runs.verdict import Verdict
from kubekit.words.timestamps import compact, seconds


def new_run(
    restore: DataMoverRestore,
    spec: DataMoverRestoreSpec,
    *,
    mover: DataMover | None,
    now: datetime,
    name_copy: Callable[[str], SafetyCopy] | None = None,
) -> RestoreRun:
    """Return the record of a restore that begins now, with all that is taken from `mover`, which may be gone later. `name_copy` names the
    safety copy of a run by its id; None for a restore that has none.

    Raises ValueError when the spec names no source, or its point is none: nobody begins before it was checked.
    """
    meta, bucket = restore.metadata, spec.source.bucket
    if mover is not None and mover.spec is not None:
        secret, environment = mover.spec.secret_name, mover.spec.additional_env or ()
        source: str | None = f"{meta.namespace}/{mover.spec.source_pvc}"
    elif bucket is not None:
        secret, source = bucket.secret_name, bucket.source
        environment = (
            () if bucket.prefix is None else (EnvVar(name=transfer.CUSTOM_PATH_PREFIX, value=_literal(bucket.prefix)),)
        )
    else:
        raise ValueError("a restore without a source has no run")
    id_ = f"{compact(now)}-{meta.uid.replace('-', '')[:12]}"
    begun = RestoreRun(
        id=id_,
        claim=spec.target.claim_name,
        secret_name=secret,
        wanted=points.settle(spec.point, now=now),
        source=source,
        path=spec.path or None,
        environment=environment or None,
        job_name=job_name(spec.target.claim_name),
        retry=meta.annotation(names.RETRY_ANNOTATION),
        started=seconds(now),
        safety=name_copy(id_) if name_copy is not None else None,
    )
    return decide_anew(begun, spec)


def decide_anew(run: RestoreRun, spec: DataMoverRestoreSpec) -> RestoreRun:
    """Return the run with what the spec says now of what may happen to data: decided when it begins and when somebody asks for a retry, not when a
    mover happens to be made again (law L6).
    """
    return replace(
        run,
        overwrite=spec.overwrite,
        on_missing=spec.on_missing,
        disturbed=spec.disturbed,
        privileges=spec.privileges,
        special=spec.special,
    )


def update_run(run: RestoreRun, verdict: Verdict, *, claim: str | None, now: datetime) -> RestoreRun:
    """Return the run with what a verdict has to record. `claim` is the UID of the claim that the mover is started with: the temporary one, where the
    claim is filled by such.
    """
    if verdict.tally is not None:
        run = count(run, verdict.tally, take=_record_outcome)
    if verdict.job is not None:
        run = replace(run, job_name=verdict.job)
    if verdict.stage is Stage.MOVING and claim is not None:
        run = replace(run, target=_doubt(run.target))
        if run.temporary_claim is not None:
            run = replace(run, temporary_claim_uid=run.temporary_claim_uid or claim)
        else:
            run = replace(run, claim_uid=claim)
    if verdict.state in (State.DONE, State.FAILED):
        run = replace(run, finished=seconds(now))
    return run


def _record_outcome(run: RestoreRun, outcome: Outcome) -> RestoreRun:
    """Return the run with what the mover reported. Of one that failed the amounts are what there was to do, not what is done."""
    found = outcome.restoration
    done = outcome.succeeded
    return replace(
        run,
        point=(found.point if found is not None else "") or run.point,
        copied=(found.moment if found is not None else "") or run.copied,
        target=found.target if found is not None else run.target,
        destination=outcome.destination or run.destination,
        bytes=outcome.bytes if done else max(run.bytes or 0, outcome.transferred_bytes),
        files=outcome.files if done else max(run.files or 0, outcome.transferred_files),
        total_bytes=outcome.bytes or run.total_bytes,
        total_files=outcome.files or run.total_files,
        transferred_bytes=outcome.transferred_bytes,
        transferred_files=outcome.transferred_files,
    )


def _doubt(target: str | None) -> str | None:
    """From when a mover is started nobody knows what the claim is, until it says so; that it is marked stays."""
    return target if target == MARKED else None


def _literal(text: str) -> str:
    """A variable's value may refer to others by $(NAME): a prefix is meant as it is written."""
    return text.replace("$", "$$")
