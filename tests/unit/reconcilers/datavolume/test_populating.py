"""A DataVolume from its making to its end, in every way that a claim gets its volume, and what is said on the way."""

from datetime import timedelta
from typing import Any

import pytest

from datamover.api.cdi import names
from datamover.api.transfer import SYNCING, Outcome, Progress
from datamover.plans.steps import Create, WriteStatus
from datamover.reconcilers.datavolume.facts import Settings
from support.clones import Cloner, Clones
from support.disks import LATE, WHOLE, Disks, Operator, settle

DIRECT = "kubernetes.io/host-path"


def opened(**options: Any) -> tuple[Disks, Operator]:
    server = Disks(**options)
    return server, Operator(server)


def left(server: Disks) -> list[str]:
    """What there is of claims, Jobs and Pods."""
    return sorted(f"{kind} {name}" for kind, name in server.objects if kind in ("PersistentVolumeClaim", "Job", "Pod"))


def at_work(**options: Any) -> tuple[Disks, Operator]:
    """A DataVolume whose worker runs."""
    server, operator = opened(**options)
    server.make()
    settle(server, operator, worker=False)
    return server, operator


@pytest.mark.parametrize("provisioner", ["csi.example.com", DIRECT, "ignores.example.com"])
@pytest.mark.parametrize("policy", ["Delete", "Retain"])
def test_a_disk_is_written_and_nothing_is_left_of_it(provisioner: str, policy: str) -> None:
    server, operator = opened(provisioner=provisioner, policy=policy)
    server.make()
    settle(server, operator)
    status, claim = server.status(), server.claim()
    assert claim is not None
    assert (status["phase"], status["progress"], status["claimName"]) == ("Succeeded", "100.0%", "disk")
    assert [server.condition(each)["status"] for each in ("Ready", "Bound", "Running")] == ["True", "True", "False"]
    assert server.storage[claim["spec"]["volumeName"]] == WHOLE
    assert left(server) == ["PersistentVolumeClaim disk"]


def test_a_claim_of_csi_names_its_datavolume_and_is_bound_only_when_it_is_full() -> None:
    server, _ = at_work()
    claim = server.claim()
    assert claim is not None
    assert claim["spec"]["dataSourceRef"] == {"apiGroup": "cdi.kubevirt.io", "kind": "DataVolume", "name": "disk"}
    assert claim["status"]["phase"] == "Pending"
    assert server.status()["phase"] == "ImportInProgress"
    assert server.condition("Running")["status"] == "True"


def test_phases_follow_one_another_as_users_know_them() -> None:
    server, operator = at_work()
    settle(server, operator)
    phases = list(dict.fromkeys(each["phase"] for each in operator.statuses))
    assert phases == ["Pending", "ImportScheduled", "ImportInProgress", "Succeeded"]


def test_progress_is_a_share_with_two_digits_and_all_is_there_only_at_the_end() -> None:
    server, operator = at_work()
    for done, shown in ((1234, "12.34%"), (10_000, "99.99%")):
        operator.samples(Progress(run_id="", phase=SYNCING, bytes=done, total_bytes=10_000))
        operator.work()
        assert server.status()["progress"] == shown
    settle(server, operator)
    assert server.status()["progress"] == "100.0%"


def test_a_status_that_says_the_same_is_not_written_again() -> None:
    server, operator = at_work()
    written = len(operator.statuses)
    server.now += timedelta(hours=1)
    assert not [step for step in operator.work() if isinstance(step, WriteStatus)]
    assert len(operator.statuses) == written


def test_the_time_of_a_condition_moves_with_its_status_alone() -> None:
    server, operator = at_work()
    before = server.condition("Ready")
    server.now += timedelta(minutes=5)
    server.end(Outcome(reason="ServerError", message="no answer", failure_class="transient", retryable=True))
    operator.sync()
    operator.work()
    after = server.condition("Ready")
    assert (after["reason"], after["lastTransitionTime"]) == ("ServerError", before["lastTransitionTime"])
    assert after["lastHeartbeatTime"] > before["lastHeartbeatTime"]


# The first consumer.


def test_a_class_that_binds_on_use_waits_for_population_until_a_pod_has_a_node() -> None:
    server, operator = opened(mode=LATE)
    server.make()
    settle(server, operator)
    assert server.status()["phase"] == "PendingPopulation"
    server.select_node("disk")
    settle(server, operator)
    assert server.status()["phase"] == "Succeeded"


def test_a_claim_that_is_written_itself_waits_for_its_first_consumer() -> None:
    server, operator = opened(mode=LATE, provisioner=DIRECT)
    server.make()
    settle(server, operator)
    assert server.status()["phase"] == "WaitForFirstConsumer"
    server.select_node("disk")
    settle(server, operator)
    assert server.status()["phase"] == "Succeeded"


@pytest.mark.parametrize("provisioner", ["csi.example.com", DIRECT])
def test_who_wants_it_at_once_needs_no_consumer(provisioner: str) -> None:
    server, operator = opened(mode=LATE, provisioner=provisioner)
    server.make(annotations={names.BIND_IMMEDIATELY: "true"})
    settle(server, operator)
    assert server.status()["phase"] == "Succeeded"


# Failures.


def test_a_worker_that_fails_is_started_again_after_a_pause_and_counted() -> None:
    server, operator = at_work()
    server.end(Outcome(reason="ChecksumMismatch", message="it is another file", failure_class="data", retryable=False))
    operator.sync()
    operator.work()
    status = server.status()
    assert (status["phase"], status["restartCount"]) == ("ImportScheduled", 0)
    assert server.condition("Running")["status"] == "False"
    assert "another file" in server.condition("Running")["message"]
    first = server.job()
    assert first is not None
    server.now += timedelta(seconds=11)
    settle(server, operator, worker=False)
    second = server.job()
    assert second is not None
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert (server.status()["restartCount"], server.status()["phase"]) == (1, "ImportInProgress")
    settle(server, operator)
    assert (server.status()["phase"], server.status()["restartCount"]) == ("Succeeded", 1)


def test_a_worker_that_takes_too_long_is_ended_as_the_operator_was_told() -> None:
    server = Clones()
    operator = Cloner(server)
    operator.settings = Settings(mover_image="example.com/mover:1", deadline=60)
    server.make()
    settle(server, operator, worker=False)
    job = server.job()
    assert job is not None
    assert job["spec"]["activeDeadlineSeconds"] == 60
    assert server.environment()["DATAMOVER_DEADLINE"] == "60"


def test_attempts_within_a_job_are_counted() -> None:
    server, operator = at_work()
    failure = Outcome(reason="ServerError", message="no answer", failure_class="transient", retryable=True)
    server.end(failure, final=False)
    settle(server, operator, worker=False)
    assert server.status()["restartCount"] == 1
    assert server.status()["phase"] == "ImportInProgress"


def test_who_leaves_no_last_words_has_not_written_the_disk() -> None:
    server, operator = at_work()
    server.end_silently()
    server.now += timedelta(seconds=30)
    operator.sync()
    operator.work()
    assert server.status()["phase"] == "ImportScheduled"
    assert server.condition("Ready")["reason"] == "OutcomeMissing"
    server.now += timedelta(hours=1)
    settle(server, operator)
    assert server.status()["phase"] == "Succeeded"


@pytest.mark.parametrize("provisioner", ["csi.example.com", DIRECT, "ignores.example.com"])
@pytest.mark.parametrize("mode", ["Immediate", LATE])
def test_whoever_is_killed_after_any_step_goes_on_where_it_was(provisioner: str, mode: str) -> None:
    for kill in range(1, 40):
        server, operator = opened(provisioner=provisioner, mode=mode)
        server.make(annotations={names.BIND_IMMEDIATELY: "true"})
        done = run_until_settled(server, operator, kill=kill)
        assert server.status()["phase"] == "Succeeded"
        assert left(server) == ["PersistentVolumeClaim disk"]
        if done < kill:
            return
    raise AssertionError("more steps than were tried")


def run_until_settled(server: Disks, operator: Operator, *, kill: int) -> int:
    """Let everybody work, with an operator that is killed after so many steps; return how many steps it had in all."""
    done = quiet = 0
    while quiet < 3:
        operator.sync()
        before = server.writes, len(operator.statuses)
        plan = operator.plan()
        assert plan is not None
        if done < kill <= done + len(plan.steps):
            operator.work(steps=kill - done)
            operator.restart()
        else:
            operator.work()
        done += len(plan.steps)
        for change in (server.provision, server.bind, server.schedule, server.end, server.bind, server.collect):
            change()
        server.check()
        server.now += timedelta(seconds=1)
        quiet = quiet + 1 if before == (server.writes, len(operator.statuses)) else 0
    return done


def test_a_claim_that_is_deleted_on_the_way_takes_all_with_it_and_is_made_anew() -> None:
    server, operator = at_work()
    server.delete("PersistentVolumeClaim", "disk")
    server.collect()
    server.collect()
    server.collect()
    assert left(server) == []
    settle(server, operator)
    assert server.status()["phase"] == "Succeeded"


def test_a_datavolume_that_is_deleted_takes_its_claim_with_it() -> None:
    server, operator = opened()
    server.make()
    settle(server, operator)
    server.delete("DataVolume", "disk")
    for _ in range(4):
        operator.sync()
        assert operator.work() == ()
        server.collect()
        server.bind()
    assert left(server) == []


def test_deciding_again_before_the_watch_has_come_makes_nothing_twice() -> None:
    server, operator = opened()
    server.make()
    operator.sync()
    operator.work()
    made = [
        step for step in operator.work() if isinstance(step, Create) and step.resource.kind == "PersistentVolumeClaim"
    ]
    assert [step.manifest["metadata"]["name"] for step in made] != ["disk"]
