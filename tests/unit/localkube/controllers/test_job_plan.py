from datetime import timedelta

import msgspec
import pytest

from kubekit.words import timestamps
from localkube.controllers.job.kinds import TRACKING_FINALIZER, FailurePolicy, Job, JobStatus, Pod
from localkube.controllers.job.plan import Facts, Plan, decide
from localkube.controllers.job.policy import judge
from localkube.controllers.job.status import status_patch

NOW = timestamps.parse("2026-01-01T12:00:00Z")


def at(seconds):
    return timestamps.seconds(NOW + timedelta(seconds=seconds))


def job(*, status=None, restart="Never", **spec):
    body = {"parallelism": 1, "completions": 1, "backoffLimit": 2, "template": {"spec": {"restartPolicy": restart}}}
    return msgspec.convert(
        {"metadata": {"name": "j", "namespace": "ns", "uid": "job"}, "spec": {**body, **spec}, "status": status or {}},
        Job,
    )


def pod(
    uid, phase="Running", *, code=None, ended=0, tracked=True, deleting=False, conditions=(), restarts=0, name="main"
):
    state = {"running": {}}
    if phase in ("Succeeded", "Failed"):
        exit_code = code if code is not None else (0 if phase == "Succeeded" else 1)
        state = {"terminated": {"exitCode": exit_code, "finishedAt": at(ended)}}
    return msgspec.convert(
        {
            "metadata": {
                "name": uid,
                "namespace": "ns",
                "uid": uid,
                "finalizers": [TRACKING_FINALIZER] if tracked else [],
                "deletionTimestamp": at(0) if deleting else None,
            },
            "status": {
                "phase": phase,
                "conditions": [*conditions, *([{"type": "Ready", "status": "True"}] if phase == "Running" else [])],
                "containerStatuses": [{"name": name, "state": state, "restartCount": restarts}],
            },
        },
        Pod,
    )


def plan(made, *pods, base=10.0, now=NOW) -> Plan:
    return decide(Facts(job=made, pods=pods, now=now, backoff_base=base))


def conditions(decided):
    return [(c.type, c.reason) for c in decided.status.conditions or () if c.status == "True"]


def names(pods):
    return [pod.metadata.name for pod in pods]


def test_a_new_job_is_started_once():
    decided = plan(job())
    assert decided.create == 1
    assert decided.status.start_time == at(0)
    assert plan(job(), pod("a")).create == 0


def test_the_status_counts_active_and_ready_pods():
    decided = plan(job(), pod("a"))
    assert (decided.status.active, decided.status.ready, decided.status.terminating) == (1, 1, 0)


def test_success_is_noted_then_released_then_counted():
    first = plan(job(), pod("a", "Succeeded"))
    assert conditions(first) == [("SuccessCriteriaMet", "CompletionsReached")]
    assert first.status.uncounted_terminated_pods.succeeded == ("a",)
    assert first.status.succeeded is None
    assert names(first.release) == ["a"]
    between = job(status=msgspec.to_builtins(first.status))
    again = plan(between, pod("a", "Succeeded"))
    assert status_patch(between.status, again.status) == {}
    last = plan(between, pod("a", "Succeeded", tracked=False))
    assert conditions(last) == [("SuccessCriteriaMet", "CompletionsReached"), ("Complete", "CompletionsReached")]
    assert (last.status.succeeded, last.status.completion_time) == (1, at(0))
    assert last.status.uncounted_terminated_pods.succeeded is None
    assert [event.reason for event in last.events] == ["Completed"]


def test_an_end_counts_once_even_when_its_pod_is_gone_before_it_is_a_number():
    noted = job(status={"uncountedTerminatedPods": {"failed": ["a"]}, "failed": 1, "startTime": at(-60)})
    assert plan(noted).status.failed == 2
    assert plan(noted, pod("a", "Failed", ended=-60)).status.failed == 1


def test_nothing_is_created_while_a_noted_success_is_not_counted_yet():
    noted = job(status={"uncountedTerminatedPods": {"succeeded": ["a"]}, "startTime": at(0)})
    assert plan(noted, pod("a", "Succeeded")).create == 0


@pytest.mark.parametrize(
    ("failed", "pause"), [(1, 10), (2, 20), (3, 40), (4, 80), (5, 160), (6, 320), (7, 360), (20, 360)]
)
def test_retries_wait_twice_as_long_each_time_up_to_six_minutes(failed, pause):
    made = job(backoffLimit=50, status={"failed": failed - 1, "startTime": at(-5)})
    decided = plan(made, pod("a", "Failed", ended=-5))
    assert decided.create == 0
    assert decided.wake == pytest.approx(pause - 5)
    assert plan(made, pod("a", "Failed", ended=-pause)).create == 1


def test_a_failure_beyond_the_limit_fails_the_job_and_ends_what_runs():
    made = job(parallelism=2, completions=2, status={"failed": 2, "startTime": at(-60)})
    decided = plan(made, pod("a", "Failed"), pod("b"))
    assert conditions(decided) == [("FailureTarget", "BackoffLimitExceeded")]
    assert names(decided.delete) == ["b"]
    assert decided.status.terminating == 1
    assert decided.create == 0
    assert sorted(decided.status.uncounted_terminated_pods.failed) == ["a", "b"]


def test_failed_is_said_only_when_every_pod_has_gone():
    target = {
        "conditions": [{"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}]
    }
    made = job(status={**target, "failed": 3, "startTime": at(-60)})
    assert conditions(plan(made, pod("b", deleting=True, tracked=False))) == [("FailureTarget", "BackoffLimitExceeded")]
    decided = plan(made)
    assert conditions(decided)[-1] == ("Failed", "BackoffLimitExceeded")
    assert [(e.type, e.reason, e.message) for e in decided.events] == [("Warning", "BackoffLimitExceeded", "m")]


def test_the_deadline_fails_the_job():
    made = job(activeDeadlineSeconds=30, status={"startTime": at(-20)})
    assert plan(made, pod("a")).wake == pytest.approx(10)
    late = plan(job(activeDeadlineSeconds=30, status={"startTime": at(-30)}), pod("a"))
    assert conditions(late) == [("FailureTarget", "DeadlineExceeded")]
    assert names(late.delete) == ["a"]
    assert late.wake is None, "a deadline that is over is not waited for, again and again, without a pause"


def test_a_suspended_job_takes_its_pods_back_uncounted_and_starts_its_clock_anew():
    made = job(suspend=True, status={"startTime": at(-20)})
    decided = plan(made, pod("a"))
    assert names(decided.withdraw) == ["a"]
    assert decided.status.uncounted_terminated_pods.failed is None
    assert conditions(decided) == [("Suspended", "JobSuspended")]
    assert decided.status.start_time is None
    suspended = msgspec.to_builtins(decided.status)
    resumed = plan(job(status=suspended))
    assert resumed.create == 1
    assert resumed.status.start_time == at(0)
    assert [event.reason for event in resumed.events] == ["Resumed"]


def test_a_job_created_suspended_starts_nothing():
    decided = plan(job(suspend=True))
    assert (decided.create, decided.status.start_time) == (0, None)


def test_a_pod_that_is_being_deleted_is_replaced_at_once_and_counts_as_failed():
    made = job(status={"startTime": at(-100)})
    decided = plan(made, pod("a", deleting=True), now=NOW + timedelta(seconds=10))
    assert decided.create == 1
    assert decided.status.uncounted_terminated_pods.failed == ("a",)


@pytest.mark.parametrize("spec", [{"podReplacementPolicy": "Failed"}, {"podFailurePolicy": {"rules": []}}])
def test_with_policy_failed_it_is_replaced_only_when_it_has_failed(spec):
    made = job(status={"startTime": at(-100)}, **spec)
    waiting = plan(made, pod("a", deleting=True))
    assert (waiting.create, waiting.status.uncounted_terminated_pods.failed) == (0, None)
    assert plan(made, pod("a", "Failed", deleting=True, ended=-50)).create == 1


def test_ttl_removes_a_finished_job_in_time():
    done = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": at(-30)}]}
    assert plan(job(ttlSecondsAfterFinished=100, status=done)).wake == pytest.approx(70)
    assert plan(job(ttlSecondsAfterFinished=30, status=done)).remove
    assert not plan(job(status=done)).remove


def test_a_finished_job_starts_nothing_and_lets_its_pods_go():
    done = {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": at(-30)}]}
    decided = plan(job(status=done), pod("a", "Failed"))
    assert (decided.create, names(decided.release)) == (0, ["a"])


@pytest.mark.parametrize(("limit", "restarts", "fails"), [(0, 0, False), (0, 1, True), (2, 1, False), (2, 2, True)])
def test_with_on_failure_restarts_of_containers_count(limit, restarts, fails):
    made = job(restart="OnFailure", backoffLimit=limit, status={"startTime": at(-9)})
    assert bool(conditions(plan(made, pod("a", restarts=restarts)))) is fails


@pytest.mark.parametrize(
    ("parallelism", "completions", "running", "succeeded", "created"),
    [(3, 5, 0, 0, 3), (3, 5, 1, 3, 1), (3, 5, 0, 4, 1), (3, None, 1, 0, 2), (3, None, 1, 1, 0), (0, 1, 0, 0, 0)],
)
def test_never_more_pods_than_are_needed(parallelism, completions, running, succeeded, created):
    made = job(parallelism=parallelism, completions=completions, status={"succeeded": succeeded, "startTime": at(-9)})
    assert plan(made, *(pod(f"p{n}") for n in range(running))).create == created


def test_a_work_queue_is_complete_when_one_succeeded_and_none_runs():
    made = job(parallelism=2, completions=None, status={"succeeded": 1, "startTime": at(-9)})
    assert conditions(plan(made, pod("a"))) == []
    assert ("Complete", "CompletionsReached") in conditions(plan(made))


def rules(*each):
    return msgspec.convert({"rules": each}, FailurePolicy)


EXIT_42 = {"onExitCodes": {"operator": "In", "values": [42]}}
DISRUPTED = {"onPodConditions": [{"type": "DisruptionTarget"}]}


@pytest.mark.parametrize(
    ("rule", "failed", "counts", "message"),
    [
        (
            {**EXIT_42, "action": "FailJob"},
            {"code": 42},
            True,
            "Container main for pod ns/a failed with exit code 42 matching FailJob rule at index 0",
        ),
        ({**EXIT_42, "action": "FailJob"}, {"code": 1}, True, None),
        ({**EXIT_42, "action": "Ignore"}, {"code": 42}, False, None),
        ({**EXIT_42, "action": "Count"}, {"code": 42}, True, None),
        (
            {"onExitCodes": {"operator": "NotIn", "values": [42]}, "action": "FailJob"},
            {"code": 7},
            True,
            "Container main for pod ns/a failed with exit code 7 matching FailJob rule at index 0",
        ),
        ({"onExitCodes": {"operator": "NotIn", "values": [42]}, "action": "FailJob"}, {"code": 0}, True, None),
        (
            {"onExitCodes": {"containerName": "x", "operator": "In", "values": [42]}, "action": "FailJob"},
            {"code": 42},
            True,
            None,
        ),
        (
            {**DISRUPTED, "action": "Ignore"},
            {"conditions": [{"type": "DisruptionTarget", "status": "True"}]},
            False,
            None,
        ),
        (
            {**DISRUPTED, "action": "Ignore"},
            {"conditions": [{"type": "DisruptionTarget", "status": "False"}]},
            True,
            None,
        ),
        (
            {**DISRUPTED, "action": "FailJob"},
            {"conditions": [{"type": "DisruptionTarget", "status": "True"}]},
            True,
            "Pod ns/a has condition DisruptionTarget matching FailJob rule at index 0",
        ),
    ],
)
def test_the_failure_policy_judges_by_exit_code_and_condition(rule, failed, counts, message):
    verdict = judge(rules(rule), pod("a", "Failed", **failed))
    assert (verdict.counts, verdict.fail_job) == (counts, message)


def test_the_first_rule_that_matches_decides():
    policy = rules({**EXIT_42, "action": "Ignore"}, {**EXIT_42, "action": "FailJob"})
    assert judge(policy, pod("a", "Failed", code=42)).fail_job is None


def test_ignored_failures_do_not_count_but_are_released_and_still_pause():
    made = job(
        backoffLimit=0, podFailurePolicy={"rules": [{**EXIT_42, "action": "Ignore"}]}, status={"startTime": at(-9)}
    )
    decided = plan(made, pod("a", "Failed", code=42))
    assert conditions(decided) == []
    assert names(decided.release) == ["a"]
    assert decided.status.uncounted_terminated_pods.failed is None
    assert (decided.create, decided.wake) == (0, pytest.approx(10))


def test_fail_job_ends_the_job_at_the_first_match():
    made = job(podFailurePolicy={"rules": [{**EXIT_42, "action": "FailJob"}]}, status={"startTime": at(-9)})
    assert conditions(plan(made, pod("a", "Failed", code=42))) == [("FailureTarget", "PodFailurePolicy")]


def test_a_patch_names_what_goes_with_null():
    before = msgspec.convert({"failed": 1, "uncountedTerminatedPods": {"failed": ["a"]}}, JobStatus)
    after = msgspec.convert({"uncountedTerminatedPods": {}}, JobStatus)
    assert status_patch(before, after) == {"failed": None, "uncountedTerminatedPods": {"failed": None}}
