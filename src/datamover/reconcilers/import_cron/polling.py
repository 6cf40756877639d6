"""Asking a server whether its object has changed, by a Job of our own: the operator itself fetches nobody's addresses with nobody's Secrets. Pure.

The Job has one name for each DataImportCron, so that there is one at a time. Its outcome has a digest of what the server says of the object (ETag, else
the time of change). The moment is recorded, then the digest is written where others would write it, as the one that is wanted, together with the UID
of the Job that was read; then the Job goes. One that failed stays until the next time, so that it can be looked at. No two clocks are compared.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from datamover.api.cdi import names
from datamover.api.cdi.data_import_cron import (
    DATA_IMPORT_CRONS,
    DataImportCron,
    DataImportCronSpec,
    DataImportCronStatus,
)
from datamover.api.importer import CONTAINER, HTTP, S3
from datamover.api.ownership import Owner, labels_of
from datamover.api.schedule import parse
from datamover.movers.importer import Import, build_job
from datamover.movers.outcomes import describe_end, newest, read_outcome
from datamover.plans.steps import Annotate, Create, Delete, Emit, Plan
from datamover.reconcilers.import_cron.asking import DIGEST, Reason, is_pollable, source_of
from datamover.reconcilers.import_cron.facts import Facts
from datamover.reconcilers.import_cron.status import find_poll, record_poll
from datamover.runs.wait import LITTLE
from datamover.volumes.naming import JOB_NAME_LIMIT, shorten
from kubekit.words.batch import JOBS
from kubekit.words.meta import Manifest
from kubekit.words.timestamps import moment_of

ACTION: Final = "Poll"
DEADLINE: Final = 300
"""Seconds that a server may take to answer, all attempts together."""

Decision = Plan[DataImportCronStatus]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of a Job: a digest, or why there is none."""

    digest: str = ""
    problem: str = ""


def poll_name(cron: DataImportCron) -> str:
    """Return the name of the Job."""
    return shorten(f"poll-{cron.metadata.name}", JOB_NAME_LIMIT)


def owner_of(cron: DataImportCron) -> Owner:
    """Return the DataImportCron as the owner of its Job."""
    return Owner(DATA_IMPORT_CRONS, cron.metadata, labels_of(cron.metadata, run_id=cron.metadata.uid))


def poll(facts: Facts, spec: DataImportCronSpec) -> Decision:
    """Return what is to be done about it now; no steps where nothing is."""
    cron, job = facts.cron, facts.poll
    if not spec.schedule or not is_pollable(spec):
        return Plan()
    last = moment_of(cron.status.last_execution_timestamp if cron.status is not None else None, default=None)
    due = _due_after(spec, last)
    if job is None:
        return _begin(facts, spec) if due is None or due <= facts.now else _wait(facts, due)
    if job.metadata.terminating or not job.ended or not owner_of(cron).owns(job):
        return Plan()
    answer = _read(facts)
    if cron.metadata.annotation(names.POLL_READ) == job.metadata.uid:
        over = not answer.problem or due is None or due <= facts.now
        return Plan((Delete(JOBS, job.metadata),)) if over else _wait(facts, due)
    read = {names.POLL_READ: job.metadata.uid, **({names.DESIRED_DIGEST: answer.digest} if answer.digest else {})}
    told = (Emit("Warning", Reason.POLL_FAILED, answer.problem, ACTION),) if answer.problem else ()
    return Plan(
        (
            *record_poll(cron, problem=answer.problem, now=facts.now),
            Annotate(DATA_IMPORT_CRONS, cron.metadata, read),
            *told,
        )
    )


def find_problem(cron: DataImportCron, spec: DataImportCronSpec) -> str:
    """Return why the source could not be looked at the last time; empty where it could. It is remembered while it is looked at again."""
    found = find_poll(cron.status) if spec.schedule and is_pollable(spec) else None
    return (found.message or found.reason or "") if found is not None and found.status == "False" else ""


def _due_after(spec: DataImportCronSpec, last: float | None) -> datetime | None:
    """Return when the server is asked next; None for at once, as what was never asked about is."""
    return parse(spec.schedule).next_after(datetime.fromtimestamp(last, UTC)) if last is not None else None


def _wait(facts: Facts, due: datetime | None) -> Decision:
    return Plan(wake_after=max((due - facts.now).total_seconds(), 0) + LITTLE if due is not None else None)


def _begin(facts: Facts, spec: DataImportCronSpec) -> Decision:
    return Plan((Create(JOBS, _build(facts, spec)),))


def _build(facts: Facts, spec: DataImportCronSpec) -> Manifest:
    source, cron, worker = source_of(spec), facts.cron, facts.worker
    http, s3, template = source.http, source.s3, spec.template.spec
    found = http or s3
    asked = Import(
        source=HTTP if http is not None else S3,
        run_id=cron.metadata.uid,
        claim="",
        size=0,
        poll=True,
        url=found.url if found is not None else "",
        secret=(found.secret_ref or "") if found is not None else "",
        certificates=(found.cert_config_map or "") if found is not None else "",
        headers=(http.extra_headers or ()) if http is not None else (),
        secret_headers=(http.secret_extra_headers or ()) if http is not None else (),
        any_certificate=bool(http is not None and http.insecure_skip_verify),
        account=spec.service_account_name or (template.service_account_name if template is not None else None) or "",
        environment=worker.environment,
        deadline_seconds=DEADLINE,
    )
    return build_job(
        owner_of(cron),
        asked,
        name=poll_name(cron),
        image=worker.image,
        pull_policy=worker.pull_policy,
        defaults=worker.defaults,
    )


def _read(facts: Facts) -> _Answer:
    """Return what the Job says. It is believed as far as it has the form of a digest (law L11)."""
    pod = newest(facts.pods)
    outcome = read_outcome(pod, CONTAINER) if pod is not None else None
    if outcome is not None and outcome.succeeded and DIGEST.fullmatch(outcome.digest) is not None:
        return _Answer(outcome.digest)
    if outcome is not None and outcome.message and not outcome.succeeded:
        return _Answer(problem=outcome.message)
    return _Answer(problem=describe_end(pod, CONTAINER) if pod is not None else "the Pod that asked the server is gone")
