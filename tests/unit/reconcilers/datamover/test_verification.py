"""What a complete run has left is verified again: when, by what, and what comes of it."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec.structs import replace

from datamover.api import names, reasons, transfer
from datamover.api.names import ConditionType, Phase
from datamover.api.ownership import labels_of
from datamover.api.periods import read_period
from datamover.api.v1alpha1.datamover import DataMoverStatus, Reverification, Verify
from datamover.api.verification import CONTAINER, DAMAGE, Compared
from datamover.plans.known import Refusal
from datamover.plans.steps import Create, Delete, Emit, Plan, ProvePods, ProveStatus, WriteStatus
from datamover.reconcilers.datamover.facts import Comparison
from datamover.reconcilers.datamover.verification import next_due, pause_after
from datamover.runs.wait import share_of
from kubekit.words.batch import JOBS
from kubekit.words.meta import Condition
from kubekit.words.timestamps import moment_of, seconds
from support import builders
from support.builders import NOW, RUN_ID, SETTINGS
from support.laws import check_laws

WEEKLY = Verify(method="Download", every="7d")
COMPARES = "compare-nightly-5f0c1"
ID = "20240806143052-5f0c1b7e2a4d"
LONG_AGO = seconds(NOW - timedelta(days=8))
RECENTLY = seconds(NOW - timedelta(days=6))
DESTINATION = "s3generic:backups/"
AT_WORK = Reverification(
    id=ID,
    job_name=COMPARES,
    method="Download",
    started=seconds(NOW),
    reason=reasons.VERIFYING,
    message="it is compared",
)
META = builders.data_mover().metadata


def complete(
    *,
    verified: str | None = LONG_AGO,
    record: Reverification | None = None,
    check: str = "True",
    check_reason: str = "Verified",
    **spec: Any,
) -> Any:
    """A DataMover whose run is complete."""
    status = builders.status(
        Phase.COMPLETED,
        run=builders.run(finished=LONG_AGO, destination=DESTINATION),
        reason=reasons.COMPLETED,
        last_verified=verified,
        verification=record,
    )
    condition = Condition(
        ConditionType.VERIFIED, check, reason=check_reason, message="so", last_transition_time=LONG_AGO
    )
    status = replace(status, conditions=(*(status.conditions or ()), condition))
    return builders.data_mover(status=status, **{"verify": WEEKLY, **spec})


def known(
    mover: Any,
    *,
    job: Any = None,
    pods: tuple[Any, ...] = (),
    backups: tuple[str, ...] = (),
    refusal: Refusal | None = None,
) -> Any:
    return builders.facts(mover, comparison=Comparison(job, pods), backups=backups, refusal=refusal)


def decide(facts: Any) -> Plan:
    return builders.decide(facts, now=NOW, settings=SETTINGS)


def compare_job(*, round_: str = ID, **fields: Any) -> Any:
    return builders.job(name=COMPARES, labels=labels_of(META, run_id=round_), **fields)


def ended(failure_class: str | None = None, **fields: Any) -> dict[str, Any]:
    """Facts of a Job whose Pod has left this outcome."""
    said = builders.outcome(failure_class=failure_class, run_id=ID, **fields)
    condition = "Complete" if said.succeeded else "Failed"
    done = {"succeeded": 1} if said.succeeded else {"failed": 1}
    job = compare_job(condition=condition, completion_time=seconds(NOW), **done)
    pod = builders.pod(job, phase="Succeeded" if said.succeeded else "Failed", container=CONTAINER, outcome=said)
    return {"job": job, "pods": (pod,)}


GOOD: dict[str, Any] = {
    "verified": True,
    "verification": "download",
    "compared": Compared(point=RUN_ID),
    "message": "3 objects, all there",
}


def found(reason: str, **fields: Any) -> dict[str, Any]:
    given = {"compared": Compared(point=RUN_ID), "verification": "download", "message": "2 missing", **fields}
    return ended(given.pop("failure_class", transfer.VERIFY), reason=reason, **given)


def describe(plan: Plan) -> list[str]:
    words: list[str] = []
    for step in plan.steps:
        match step:
            case WriteStatus():
                record, check = step.status.verification, step.status.condition(ConditionType.VERIFIED)
                assert check is not None
                words.append(f"status {record.reason if record else '-'}, Verified {check.status} {check.reason}")
            case Create():
                words.append(f"create {step.resource.kind} {step.manifest['metadata']['name']}")
            case Delete():
                words.append(f"delete {step.resource.kind} {step.target.name}")
            case Emit():
                words.append(f"event {step.type} {step.reason}")
            case ProveStatus():
                words.append("fence")
            case ProvePods():
                words.append("recount")
            case _:
                words.append(type(step).__name__)
    return words


STILL = "Verified True Verified"
GONE = f"delete Job {COMPARES}"
FINISHED = replace(AT_WORK, finished=seconds(NOW))
RUNNING = compare_job(active=1)
WAITS = Reverification(reason=reasons.VERIFICATION_WAITING, message="a verification is due")

DECISIONS = {
    "nothing is asked for": (known(complete(verify=Verify(method="Download"))), []),
    "verified not long ago": (known(complete(verified=RECENTLY)), []),
    "never verified, and the run has ended long ago": (known(complete(verified=None)), [f"status Verifying, {STILL}"]),
    "due: recorded first": (known(complete()), [f"status Verifying, {STILL}"]),
    "due while a backup is at work: it goes first": (
        known(complete(), backups=("later",)),
        [f"status VerificationWaiting, {STILL}"],
    ),
    "told already that it waits": (known(complete(record=WAITS), backups=("later",)), []),
    "the backup has ended": (known(complete(record=WAITS)), [f"status Verifying, {STILL}"]),
    "due, and somebody else holds the name": (
        known(complete(), job=builders.job(None, name=COMPARES)),
        [f"status NameTaken, {STILL}", "event Warning NameTaken"],
    ),
    "due and suspended": (known(complete(suspend=True)), []),
    "due and cancelled": (known(complete(cancel=True)), []),
    "asked for by nonsense": (
        known(complete(verify=Verify(every="5 minutes"))),
        [f"status InvalidSpec, {STILL}", "event Warning InvalidSpec"],
    ),
    "nonsense that was told": (
        known(complete(verify=Verify(every="5 minutes"), record=Reverification(reason=reasons.INVALID_SPEC))),
        [],
    ),
    "nonsense that was mended": (
        known(complete(verified=RECENTLY, record=Reverification(reason=reasons.INVALID_SPEC))),
        [f"status None, {STILL}"],
    ),
    "recorded: the Job is made": (known(complete(record=AT_WORK)), ["fence", f"create Job {COMPARES}"]),
    "recorded, and a backup has begun since: it goes on": (
        known(complete(record=AT_WORK), backups=("later",)),
        ["fence", f"create Job {COMPARES}"],
    ),
    "recorded, and the Job of an earlier one is there": (
        known(complete(record=AT_WORK), job=compare_job(round_="old")),
        [GONE],
    ),
    "the Job runs": (known(complete(record=AT_WORK), job=RUNNING), []),
    "an attempt failed, and the Job waits to try again": (
        known(
            complete(record=AT_WORK),
            job=compare_job(failed=1),
            pods=(builders.pod(compare_job(failed=1), phase="Failed", container=CONTAINER, exit_code=137),),
        ),
        [f"status AttemptFailed, {STILL}"],
    ),
    "the Job is refused": (
        known(complete(record=AT_WORK), refusal=Refusal("ChildRefused", "quota")),
        [f"status ChildRefused, {STILL}", "event Warning ChildRefused"],
    ),
    "its image cannot be pulled": (
        known(
            complete(record=AT_WORK),
            job=RUNNING,
            pods=(
                builders.pod(RUNNING, phase="Pending", container=CONTAINER, waiting=("ErrImagePull", "no such image")),
            ),
        ),
        [f"status ImagePullFailed, {STILL}", "event Warning ImagePullFailed"],
    ),
    "all is as it was": (
        known(complete(record=AT_WORK), **ended(**GOOD)),
        [f"status Verified, {STILL}", "event Normal Verified", GONE],
    ),
    "as it was again": (
        known(complete(record=AT_WORK, check="False", check_reason="BackupDamaged"), **ended(**GOOD)),
        [f"status Verified, {STILL}", "event Normal Verified", GONE],
    ),
    "a sample is as it was": (
        known(complete(record=AT_WORK), **ended(**{**GOOD, "verification": "sample:5%"})),
        ["status SampleVerified, Verified True SampleVerified", "event Normal SampleVerified", GONE],
    ),
    "another run was compared": (
        known(complete(record=AT_WORK), **ended(**{**GOOD, "compared": Compared(point="other")})),
        [f"status OutcomeMissing, {STILL}", "event Warning OutcomeMissing", GONE],
    ),
    "nothing is said of a comparison": (
        known(complete(record=AT_WORK), **ended()),
        [f"status OutcomeMissing, {STILL}", "event Warning OutcomeMissing", GONE],
    ),
    "damage": (
        known(complete(record=AT_WORK), **found(transfer.REASON_BACKUP_DAMAGED, verified=False)),
        ["status BackupDamaged, Verified False BackupDamaged", "event Warning BackupDamaged", GONE],
    ),
    "a manifest that was cut": (
        known(complete(record=AT_WORK), **found(transfer.REASON_RECORD_UNUSABLE)),
        ["status RecordUnusable, Verified False RecordUnusable", "event Warning RecordUnusable", GONE],
    ),
    "nothing of it is left": (
        known(complete(record=AT_WORK), **found(transfer.REASON_POINT_NOT_FOUND, destination=DESTINATION)),
        ["status PointNotFound, Verified False PointNotFound", "event Warning PointNotFound", GONE],
    ),
    "it is not where the Secret leads by now": (
        known(complete(record=AT_WORK), **found(transfer.REASON_POINT_NOT_FOUND, destination="s3generic:others/")),
        [f"status PointNotFound, {STILL}", "event Warning PointNotFound", GONE],
    ),
    "a store that is away is no damage": (
        known(
            complete(record=AT_WORK),
            **found(transfer.REASON_SERVER_UNREACHABLE, failure_class=transfer.NETWORK, retryable=True),
        ),
        [f"status ServerUnreachable, {STILL}", "event Warning ServerUnreachable", GONE],
    ),
    "a mirror that changes meanwhile is no damage": (
        known(complete(record=AT_WORK), **found(transfer.REASON_COMPARISON_DISTURBED)),
        [f"status ComparisonDisturbed, {STILL}", "event Warning ComparisonDisturbed", GONE],
    ),
    "a point that a later run has replaced": (
        known(complete(record=AT_WORK), **found(transfer.REASON_POINT_SUPERSEDED)),
        ["status PointSuperseded, Verified Unknown PointSuperseded", "event Normal PointSuperseded", GONE],
    ),
    "replaced long ago": (known(complete(check="Unknown", check_reason="PointSuperseded")), []),
    "it took too long": (
        known(complete(record=AT_WORK), job=compare_job(condition="Failed", reason="DeadlineExceeded")),
        ["recount", f"status DeadlineExceeded, {STILL}", "event Warning DeadlineExceeded", GONE],
    ),
    "over, and its Job is still there": (known(complete(record=FINISHED, verified=seconds(NOW)), job=RUNNING), [GONE]),
    "over, and its Job may not be deleted": (
        known(
            complete(record=FINISHED, verified=seconds(NOW)),
            job=RUNNING,
            refusal=Refusal("PermissionMissing", "no right", verb="delete"),
        ),
        [f"status CleanupFailed, {STILL}", "event Warning CleanupFailed"],
    ),
    "over, and its Job is going": (
        known(complete(record=FINISHED, verified=LONG_AGO), job=compare_job(deletion_timestamp=seconds(NOW))),
        [],
    ),
    "suspended while it is at work": (
        known(complete(record=AT_WORK, suspend=True), job=RUNNING),
        [f"status Suspended, {STILL}", GONE],
    ),
    "cancelled while it is at work": (
        known(complete(record=AT_WORK, cancel=True), job=RUNNING),
        [f"status Cancelled, {STILL}", GONE],
    ),
    "no longer asked for while it is at work": (
        known(complete(record=AT_WORK, verify=None), job=RUNNING),
        [f"status NotRequested, {STILL}", GONE],
    ),
    "deleted while it is at work": (
        known(replace(complete(record=AT_WORK), metadata=replace(META, deletion_timestamp=seconds(NOW))), job=RUNNING),
        [],
    ),
}


@pytest.mark.parametrize(("facts", "steps"), DECISIONS.values(), ids=DECISIONS)
def test_decisions(facts: Any, steps: list[str]) -> None:
    plan = decide(facts)
    assert describe(plan) == steps
    for step in plan.steps:
        check_laws(step, facts)


def told(plan: Plan) -> DataMoverStatus:
    return next(step.status for step in plan.steps if isinstance(step, WriteStatus))


def test_what_is_recorded_names_all_that_is_made_of_it() -> None:
    recorded = told(decide(known(complete()))).verification
    assert recorded is not None
    assert (recorded.id, recorded.job_name, recorded.method) == (ID, COMPARES, "Download")
    assert (recorded.started, recorded.finished) == (seconds(NOW), None)
    made = next(step for step in decide(known(complete(record=recorded))).steps if isinstance(step, Create)).manifest
    assert made["metadata"]["labels"][names.RUN_ID_LABEL] == ID
    pod = made["spec"]["template"]["spec"]
    assert [volume["name"] for volume in pod["volumes"]] == ["config-dir"], "no claim is mounted"
    assert pod["securityContext"]["runAsNonRoot"] is True
    said = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
    assert (said["DATAMOVER_POINT"], said["DATAMOVER_POINT_SOURCE"]) == (RUN_ID, "default/app-data")
    assert (said["DATAMOVER_VERIFY"], said["DATAMOVER_RUN_ID"]) == ("download", ID)
    assert made["spec"]["activeDeadlineSeconds"] == 7 * 86_400


@pytest.mark.parametrize(
    ("verify", "limit", "method", "seconds_"),
    [
        (Verify(every="1h"), None, "checksums", 86_400),
        (Verify(method="Sample", sample_percent=5, every="30d"), None, "sample:5%", 30 * 86_400),
        (Verify(method="Size", every="1h"), 90, "size", 90),
    ],
)
def test_method_and_limit(verify: Verify, limit: int | None, method: str, seconds_: int) -> None:
    facts = known(complete(record=AT_WORK, verify=verify, deadline_seconds=limit))
    made = next(step for step in decide(facts).steps if isinstance(step, Create)).manifest
    variables = made["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "DATAMOVER_VERIFY", "value": method} in variables
    assert made["spec"]["activeDeadlineSeconds"] == seconds_


def test_a_good_result_moves_the_last_verification_forward() -> None:
    status = told(decide(known(complete(record=replace(AT_WORK, failures=3)), **ended(**GOOD))))
    assert (status.last_verified, status.last_verified_method) == (seconds(NOW), "Download")
    assert status.verification is not None
    assert (status.verification.finished, status.verification.failures) == (seconds(NOW), 0)


@pytest.mark.parametrize("reason", sorted(DAMAGE))
def test_damage_leaves_the_last_verification_and_says_what_to_do(reason: str) -> None:
    status = told(decide(known(complete(record=AT_WORK), **found(reason, destination=DESTINATION))))
    verified = status.condition(ConditionType.VERIFIED)
    assert status.last_verified == LONG_AGO
    assert verified is not None
    assert "2 missing" in verified.message
    assert status.condition(ConditionType.COMPLETE) == complete().status.condition(ConditionType.COMPLETE)


def test_what_came_to_no_result_is_made_again_later_and_later() -> None:
    week = 7 * 86_400.0
    pauses = [pause_after(failures, every=week) for failures in range(1, 12)]
    assert pauses[:3] == [600.0, 1200.0, 2400.0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 86_400.0
    assert pause_after(9, every=3600.0) == 3600.0
    record = replace(FINISHED, failures=1, reason=transfer.REASON_SERVER_UNREACHABLE)
    plan = decide(known(complete(record=record)))
    assert not plan.steps
    assert plan.wake_after == pytest.approx(600.0, abs=1.0)
    again = replace(record, finished=seconds(NOW - timedelta(seconds=601)))
    assert describe(decide(known(complete(record=again)))) == [f"status Verifying, {STILL}"]


def test_one_timer_waits_for_the_next_one_and_no_longer_than_a_period() -> None:
    early = 43_200.0 * share_of(META.uid)
    assert decide(known(complete(verified=RECENTLY))).wake_after == pytest.approx(86_400.0 - early, abs=1.0)
    assert decide(known(complete(verified="2999-01-01T00:00:00Z"))).wake_after == pytest.approx(7 * 86_400.0, abs=1.0)
    assert decide(known(complete(verify=None))).wake_after is None


@pytest.mark.parametrize(("every", "most"), [("1h", 360.0), ("7d", 43_200.0), ("5y", 43_200.0)])
def test_what_is_due_for_many_at_one_moment_begins_at_many_and_never_later_than_was_promised(
    every: str, most: float
) -> None:
    mover = complete(verified=LONG_AGO, verify=Verify(method="Download", every=every))
    promised = moment_of(LONG_AGO, default=0.0) + (read_period(every) or 0.0)
    found = [next_due(mover.spec, mover.status, uid=f"uid-{number}") for number in range(1000)]
    early = sorted(promised - due for due in found if due is not None)
    assert len(early) == 1000
    assert 0.0 <= early[0] < most / 50
    assert most * 0.98 < early[-1] <= most
    assert all(abs(early[tenth * 100] - most * tenth / 10) < most / 15 for tenth in range(10))
    assert next_due(mover.spec, mover.status, uid="uid-1") == found[1]


JOBS_THERE = (
    None,
    RUNNING,
    compare_job(round_="old"),
    compare_job(deletion_timestamp=seconds(NOW)),
    builders.job(None, name=COMPARES),
)
OUTCOMES = (
    {},
    ended(**GOOD),
    ended(),
    *(
        found(reason)
        for reason in (*sorted(DAMAGE), transfer.REASON_SERVER_UNREACHABLE, transfer.REASON_POINT_SUPERSEDED)
    ),
)
RECORDS = (None, AT_WORK, FINISHED, replace(FINISHED, failures=4), WAITS, Reverification(reason=reasons.INVALID_SPEC))
WISHES = ({}, {"suspend": True}, {"cancel": True}, {"verify": None}, {"verify": Verify(every="1s")})


@hypothesis_settings(max_examples=300, deadline=None)
@given(
    record=st.sampled_from(RECORDS),
    there=st.sampled_from(JOBS_THERE),
    outcome=st.sampled_from(OUTCOMES),
    wish=st.sampled_from(WISHES),
    verified=st.sampled_from((None, LONG_AGO, RECENTLY, "nonsense")),
    backups=st.sampled_from(((), ("later",))),
)
def test_whatever_is_there(record: Any, there: Any, outcome: Any, wish: Any, verified: Any, backups: Any) -> None:
    """Nothing is made that is not recorded, nothing goes that is not ours, and what was told is not told twice (laws L2, L6, L7, L9)."""
    mover = complete(record=record, verified=verified, **wish)
    facts = known(mover, **{"job": there, **outcome}, backups=backups)
    plan = decide(facts)
    for step in plan.steps:
        check_laws(step, facts)
        if isinstance(step, Create):
            assert step.resource is JOBS
            assert record is not None
            assert record.at_work
            assert facts.comparison.job is None
    wants = not wish
    assert wants or not any(isinstance(step, Create) for step in plan.steps)
    written = [step.status for step in plan.steps if isinstance(step, WriteStatus)]
    assert len(written) <= 1
    for status in written:
        assert status.phase == Phase.COMPLETED
        again = decide(known(replace(mover, status=status), **{"job": there, **outcome}, backups=backups))
        assert status not in [step.status for step in again.steps if isinstance(step, WriteStatus)]
