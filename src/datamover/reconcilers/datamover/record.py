"""The run as a DataMover's status records it. Pure."""

from datetime import datetime

from msgspec.structs import replace

from datamover.api import names
from datamover.api.names import CopyMethod
from datamover.api.transfer import Outcome
from datamover.api.v1alpha1.datamover import DataMover, DataMoverSpec, Run
from datamover.plans.conditions import State
from datamover.reconcilers.summary import count
from datamover.runs.verdict import Verdict
from datamover.volumes.naming import clone_name, job_name
from kubekit.words.timestamps import compact, folder, seconds


def new_run(mover: DataMover, spec: DataMoverSpec, *, clone: str, now: datetime) -> Run:
    """Return the record of a run that begins now. Its id is made of the second and the DataMover's UID: nothing random, nothing that repeats."""
    # Without a clone nothing else tells two runs of the same second apart.
    direct = spec.copy_method == CopyMethod.DIRECT
    stem = clone_name(spec.source_pvc, created=now, taken_for=mover.metadata.uid) if direct else clone
    return Run(
        id=f"{compact(now)}-{mover.metadata.uid.replace('-', '')[:12]}",
        timestamp=folder(now),
        job_name=job_name(stem),
        snapshot_name=clone if spec.copy_method == CopyMethod.SNAPSHOT else None,
        copy_method=spec.copy_method,
        source=spec.source_pvc,
        retry=mover.metadata.annotation(names.RETRY_ANNOTATION),
        started=seconds(now),
    )


def update_run(run: Run, verdict: Verdict, *, now: datetime) -> Run:
    """Return the run with what a verdict has to record."""
    if verdict.tally is not None:
        run = count(run, verdict.tally, take=_record_outcome)
    if verdict.job is not None:
        run = replace(run, job_name=verdict.job)
    if verdict.copied is not None:
        run = replace(run, copied=verdict.copied)
    if verdict.renamed is not None:
        run = replace(run, job_name=job_name(verdict.renamed.claim), snapshot_name=verdict.renamed.snapshot)
    if verdict.state in (State.DONE, State.FAILED):
        run = replace(run, finished=seconds(now))
    return run


def _record_outcome(run: Run, outcome: Outcome) -> Run:
    """Return the run with what the mover reported. Of a run that failed the source's amounts are what there was to do, not what is done."""
    if outcome.succeeded:
        size, files = outcome.bytes, outcome.files
    else:
        size = max(run.bytes or 0, outcome.transferred_bytes)
        files = max(run.files or 0, outcome.transferred_files)
    return replace(
        run,
        destination=outcome.destination or run.destination,
        timestamp=outcome.timestamp or run.timestamp,
        bytes=size,
        files=files,
        total_bytes=outcome.bytes or run.total_bytes or size,
        total_files=outcome.files or run.total_files or files,
        transferred_bytes=outcome.transferred_bytes,
        transferred_files=outcome.transferred_files,
        deleted=outcome.deleted,
        skipped=outcome.skipped_special or None,
    )
