"""Whole lifecycles over plain data: the documented phases, the budget of writes, and the laws at every step."""

import itertools
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from datamover.api import reasons, transfer
from datamover.api.names import Phase
from support import builders
from support.builders import decide
from support.pure_cluster import PureCluster, Refused

CLONED = ["CreatingClonedPVC", "ClonedPVCReady", "CreatingPod"]
NETWORK = builders.outcome(
    failure_class=transfer.NETWORK,
    reason=transfer.REASON_SERVER_UNREACHABLE,
    message="the server does not answer",
    retryable=True,
)
SETUPS = {
    "a clone that is kept": ({}, [*CLONED, "Completed"]),
    "a clone that is removed": ({"delete_pvc_after_backup": True}, [*CLONED, "CleaningUp", "Completed"]),
    "a clone made of a snapshot that is kept": ({"copy_method": "Snapshot"}, [*CLONED, "CleaningUp", "Completed"]),
    "a clone made of a snapshot that is removed": (
        {"copy_method": "Snapshot", "delete_pvc_after_backup": True},
        [*CLONED, "CleaningUp", "Completed"],
    ),
    "the source itself": ({"copy_method": "Direct"}, ["CreatingPod", "Completed"]),
}


def cluster(setup: str, *, binding: str = "Immediate", **fields) -> PureCluster:
    classes = {"fast": builders.storage_class(volume_binding_mode=binding)}
    return PureCluster(builders.data_mover(**SETUPS[setup][0]), classes=classes, **fields)


def assert_nothing_temporary_is_left(world: PureCluster) -> None:
    spec = world.mover.spec
    assert not world.snapshots, "a snapshot has served its purpose (L5)"
    if spec.delete_pvc_after_backup:
        assert list(world.claims) == ["app-data"]
        assert not world.jobs
        assert not world.pods
        assert not world.volumes


@pytest.mark.parametrize("binding", ["Immediate", "WaitForFirstConsumer"])
@pytest.mark.parametrize("setup", SETUPS)
def test_a_run_takes_the_documented_phases_within_the_budget_of_writes(setup: str, binding: str) -> None:
    world = cluster(setup, binding=binding)
    world.run()
    assert world.phases == SETUPS[setup][1]
    assert len(world.writes) <= 12, world.writes
    assert world.mover.status.condition("Complete").status == "True"
    assert world.mover.status.condition("Synchronized").status == "True"
    assert world.mover.status.run.destination == "s3generic:backups/"
    assert_nothing_temporary_is_left(world)
    assert "app-data" in world.claims
    assert [event.reason for event in world.events][-1] == reasons.COMPLETED


@pytest.mark.parametrize("setup", SETUPS)
def test_two_failed_attempts_of_three_still_complete_the_run(setup: str) -> None:
    world = cluster(setup, script=[NETWORK, NETWORK, builders.outcome()])
    world.run()
    assert world.phases == SETUPS[setup][1]
    assert world.mover.status.run.attempts == 3
    assert len(world.writes) <= 12 + 2 * 2, world.writes
    assert [event.reason for event in world.events if event.type == "Warning"] == [reasons.RETRYING] * 2
    assert len({name for kind, name in world.created if kind == "Job"}) == 1


@pytest.mark.parametrize("setup", SETUPS)
def test_three_failed_attempts_fail_the_run_and_delete_nothing(setup: str) -> None:
    world = cluster(setup, script=[NETWORK])
    world.run()
    status = world.mover.status
    assert status.phase == Phase.FAILED
    assert status.condition("Failed").status == "True"
    assert status.condition("Ready").reason == transfer.REASON_SERVER_UNREACHABLE
    assert "the server does not answer" in status.message
    assert (
        'kubectl -n default annotate datamover nightly datamover.a-cup-of.coffee/retry="$(date +%s)"' in status.message
    )
    assert "delete" not in world.writes
    direct = SETUPS[setup][0].get("copy_method") == "Direct"
    assert (builders.CLONE in world.claims) is not direct
    assert ("is kept" in status.message) is not direct


@pytest.mark.parametrize("setup", SETUPS)
def test_a_terminal_failure_is_not_tried_again_until_the_annotation_asks(setup: str) -> None:
    denied = builders.outcome(failure_class=transfer.CREDENTIALS)
    world = cluster(setup, script=[denied, builders.outcome()])
    world.run()
    assert world.mover.status.phase == Phase.FAILED
    assert world.attempts == 1
    assert len(world.writes) <= 12
    run = world.mover.status.run
    world.annotate(retry="1")
    world.run()
    again = world.mover.status.run
    assert world.mover.status.phase == Phase.COMPLETED
    assert (again.id, again.timestamp, again.job_name) == (run.id, run.timestamp, run.job_name), "the same run (L6)"
    assert_nothing_temporary_is_left(world)
    assert [name for kind, name in world.created if kind == "PersistentVolumeClaim"] == (
        [] if SETUPS[setup][0].get("copy_method") == "Direct" else [builders.CLONE]
    )


def test_the_same_retry_annotation_is_honoured_once() -> None:
    denied = builders.outcome(failure_class=transfer.CREDENTIALS)
    world = cluster("a clone that is kept", script=[denied])
    world.run()
    world.annotate(retry="1")
    world.run()
    assert world.attempts == 2
    written = len(world.writes)
    world.run()
    assert (world.attempts, len(world.writes)) == (2, written)
    world.annotate(retry="2")
    world.run()
    assert world.attempts == 3


def test_a_retry_annotation_from_before_the_run_asks_for_no_second_run() -> None:
    world = PureCluster(
        builders.data_mover(annotations={"datamover.a-cup-of.coffee/retry": "old"}),
        script=[builders.outcome(failure_class=transfer.CREDENTIALS)],
    )
    world.run()
    assert (world.mover.status.phase, world.attempts) == (Phase.FAILED, 1)


def test_a_retry_whose_clone_is_gone_is_another_run_of_another_moment() -> None:
    world = cluster("a clone that is kept", script=[builders.outcome(failure_class=transfer.CREDENTIALS)])
    world.run()
    first = world.mover.status.run
    del world.claims[builders.CLONE]
    world.now += timedelta(hours=1)
    world.script = [builders.outcome()]
    world.annotate(retry="1")
    world.run()
    second = world.mover.status.run
    assert world.mover.status.phase == Phase.COMPLETED
    assert second.id != first.id
    assert second.timestamp == "2024-08-06-153052"


def test_a_retry_whose_clone_is_gone_but_whose_snapshot_is_there_stays_the_same_run() -> None:
    world = cluster(
        "a clone made of a snapshot that is kept", script=[builders.outcome(failure_class=transfer.CREDENTIALS)]
    )
    world.run()
    first = world.mover.status.run
    del world.claims[builders.CLONE]
    world.now += timedelta(hours=1)
    world.script = [builders.outcome()]
    world.annotate(retry="1")
    world.run()
    assert world.mover.status.phase == Phase.COMPLETED
    assert world.mover.status.run.id == first.id, "its copy is of the first moment"
    assert not world.snapshots


@pytest.mark.parametrize("setup", SETUPS)
def test_a_completed_run_is_at_rest_for_ever(setup: str) -> None:
    world = cluster(setup)
    world.run()
    written = len(world.writes)
    world.now += timedelta(days=30)
    assert world.reconcile() is None
    assert len(world.writes) == written


@pytest.mark.parametrize("setup", SETUPS)
def test_every_status_that_is_stuck_or_failed_has_a_reason_of_ours_and_a_sentence(setup: str) -> None:
    known = {value for name, value in vars(reasons).items() if name.isupper()}
    known |= {value for name, value in vars(transfer).items() if name.startswith("REASON_")}
    world = cluster(setup, script=[NETWORK])
    del world.claims["app-data"]
    world.run()
    assert world.mover.status.condition("Stalled").reason == reasons.SOURCE_NOT_FOUND
    world.claims["app-data"] = builders.persistent_volume_claim()
    world.run()
    stuck = [s for s in world.statuses if s.condition("Stalled").status == "True"]
    assert len(stuck) == 2
    for status in stuck:
        for type_ in ("Ready", "Stalled"):
            assert status.condition(type_).reason in known
            assert len(status.condition(type_).message) > 20


MISSING = {
    "the source": ("claims", "app-data", builders.persistent_volume_claim(), reasons.SOURCE_NOT_FOUND),
    "the Secret": ("secrets", "storage-credentials", builders.secret_keys(), reasons.SECRET_NOT_FOUND),
    "the StorageClass": ("classes", "fast", builders.storage_class(), reasons.STORAGE_CLASS_NOT_FOUND),
}


@pytest.mark.parametrize("what", MISSING)
def test_a_missing_thing_that_appears_heals_the_run(what: str) -> None:
    kind, name, thing, reason = MISSING[what]
    world = cluster("a clone that is removed")
    del getattr(world, kind)[name]
    world.run()
    assert world.mover.status.condition("Stalled").reason == reason
    assert [event.reason for event in world.events] == [reason], "told once"
    assert world.created == [], "nothing is begun"
    getattr(world, kind)[name] = thing
    world.run()
    assert world.mover.status.phase == Phase.COMPLETED
    assert world.mover.status.condition("Stalled").status == "False"


@pytest.mark.parametrize("moment", range(30))
@pytest.mark.parametrize("setup", SETUPS)
def test_suspending_at_any_moment_holds_the_run_and_resuming_ends_it_as_ever(setup: str, moment: int) -> None:
    world = cluster(setup)
    for _ in range(moment):
        if not advance(world):
            break
    world.change(suspend=True)
    world.reconcile()
    over = world.mover.status.phase == Phase.COMPLETED
    running = [job for job in world.jobs.values() if not job.condition("Complete") and not job.spec.suspend]
    assert running == [] or over
    held, created = len(world.writes), list(world.created)
    world.reconcile()
    assert len(world.writes) == held, "suspended costs nothing"
    assert over or world.mover.status.condition("Ready").reason == reasons.SUSPENDED
    while world.step():
        world.reconcile()
    assert world.created == created, "nothing new is started"
    world.change(suspend=False)
    world.reconcile()
    if not over and world.jobs:
        assert world.mover.status.condition("Ready").reason != reasons.SUSPENDED, "it says that it goes on"
    world.run()
    assert world.mover.status.phase == Phase.COMPLETED
    assert_nothing_temporary_is_left(world)
    assert len(world.created) == len(set(world.created)), "nothing was made twice"


def advance(world: PureCluster) -> bool:
    """One decision or one thing of the cluster; False when neither has anything to do at this moment."""
    facts = world.facts()
    plan = world.decide()
    if plan.steps:
        world.apply(plan, facts=facts)
        return True
    if world.step():
        return True
    if plan.wake_after is not None:
        world.now += timedelta(seconds=plan.wake_after)
        return True
    return False


@pytest.mark.parametrize("setup", SETUPS)
def test_a_crash_between_any_two_steps_changes_nothing_of_the_end(setup: str) -> None:
    for killed_at in itertools.count():
        world = cluster(setup)
        seen = 0
        while True:
            facts, plan = world.facts(), world.decide()
            if seen + len(plan.steps) > killed_at:
                world.apply(plan, facts=facts, only=killed_at - seen)
                break
            seen += len(plan.steps)
            world.apply(plan, facts=facts)
            if not plan.steps and not world.step():
                if plan.wake_after is None:
                    break
                world.now += timedelta(seconds=plan.wake_after)
        world.said = world.sample = world.refused = None  # what was in memory is lost
        world.run()
        assert world.mover.status.phase == Phase.COMPLETED
        assert world.phases == SETUPS[setup][1]
        assert len(world.created) == len(set(world.created)), f"made twice after a crash at step {killed_at}"
        assert_nothing_temporary_is_left(world)
        if killed_at > seen:
            return


PATHS = st.sampled_from(sorted(SETUPS))
ATTEMPTS = st.lists(
    st.sampled_from([NETWORK, None, builders.outcome(failure_class=transfer.DENIED), builders.outcome()]),
    min_size=1,
    max_size=4,
)


@given(
    setup=PATHS,
    binding=st.sampled_from(["Immediate", "WaitForFirstConsumer"]),
    script=ATTEMPTS,
    turns=st.lists(st.integers(0, 5), max_size=60),
)
@hypothesis_settings(max_examples=150, deadline=None)
def test_whatever_the_order_of_events_the_end_is_the_same(setup, binding, script, turns) -> None:
    """Decisions on stale facts, repeated, late and lost events, kills in the middle of a plan (L7)."""
    world = cluster(setup, binding=binding, script=script)
    stale = world.facts()
    for turn in turns:
        plan = world.decide()
        try:
            match turn:
                case 0:
                    world.apply(plan)
                case 1:
                    world.step()
                case 2:
                    stale = world.facts()
                case 3:
                    world.apply(decide(stale, now=world.now, settings=builders.SETTINGS), facts=stale)
                case 4:
                    world.apply(plan, only=1)
                case _:
                    world.now += timedelta(seconds=plan.wake_after or 1)
        except Refused:
            pass
    world.run(limit=100)
    status = world.mover.status
    assert status.phase in Phase.TERMINAL
    assert len(world.created) == len(set(world.created))
    if status.phase == Phase.COMPLETED:
        assert_nothing_temporary_is_left(world)
    if any(said is not None and said.succeeded for said in script[:1]):
        assert status.phase == Phase.COMPLETED


@given(moment=st.integers(0, 40), setup=PATHS, what=st.sampled_from(["clone", "job", "snapshot", "pod"]))
@hypothesis_settings(max_examples=150, deadline=None)
def test_a_child_that_somebody_deletes_never_leaves_the_run_stuck(moment: int, setup: str, what: str) -> None:
    world = cluster(setup, script=[builders.outcome()])
    for _ in range(moment):
        if not advance(world):
            break
    match what:
        case "clone":
            world.claims.pop(builders.CLONE, None)
        case "job":
            world.jobs.clear()
        case "snapshot":
            world.snapshots.clear()
        case _:
            world.pods.clear()
    world.run()
    status = world.mover.status
    assert status.phase in Phase.TERMINAL
    assert status.phase == Phase.COMPLETED or status.condition("Ready").reason == reasons.CLONE_LOST
    if status.phase == Phase.FAILED:
        world.annotate(retry="1")
        world.run()
        assert world.mover.status.phase == Phase.COMPLETED
    assert_nothing_temporary_is_left(world)


def test_a_job_that_somebody_deletes_starts_again_only_when_its_pod_has_ended() -> None:
    world = cluster("a clone that is kept")
    while not world.pods:
        advance(world)
    (pod,) = world.pods.values()
    world.jobs.clear()
    world.reconcile()
    assert not world.jobs, "two movers of one run would write at once"
    assert world.mover.status.condition("Ready").reason == reasons.JOB_LOST
    assert pod.metadata.name in world.mover.status.message
    world.run()
    assert world.mover.status.phase == Phase.COMPLETED


def test_a_changed_source_changes_nothing_of_a_run_that_has_begun() -> None:
    world = cluster("a clone that is kept")
    world.claims["other"] = builders.persistent_volume_claim(name="other", uid="u")
    world.reconcile(limit=20)
    world.change(source_pvc="other")
    world.run()
    assert world.mover.status.run.source == "app-data"
    assert ("PersistentVolumeClaim", builders.CLONE) in world.created
    assert len(world.created) == 2


def test_two_runs_of_one_second_make_two_clones_of_two_names() -> None:
    first = cluster("a clone that is removed")
    second = PureCluster(builders.data_mover(name="second", uid=builders.OTHER_UID), others=[first.mover])
    # Both have recorded the documented name; the first one was faster to create it.
    second.apply(second.decide())
    assert second.mover.status.restored_pvc_name == builders.CLONE
    second.claims[builders.CLONE] = builders.clone(builders.MOVER_UID)
    second.run()
    assert second.mover.status.phase == Phase.COMPLETED
    assert second.mover.status.restored_pvc_name == f"{builders.CLONE}-99999"
    assert second.mover.status.run.job_name == f"{builders.JOB}-99999"
    assert second.created == [
        ("PersistentVolumeClaim", f"{builders.CLONE}-99999"),
        ("Job", f"{builders.JOB}-99999"),
    ]
    assert builders.CLONE in second.claims, "the other one's clone is untouched"


def test_a_name_that_is_recorded_by_another_run_is_avoided_from_the_start() -> None:
    other = builders.data_mover(name="other", uid=builders.OTHER_UID, status=builders.status(Phase.CREATING_CLONE))
    world = PureCluster(builders.data_mover(delete_pvc_after_backup=True), others=[other])
    world.run()
    assert world.mover.status.restored_pvc_name == f"{builders.CLONE}-5f0c1"
    assert world.mover.status.phase == Phase.COMPLETED


def test_a_snapshot_of_the_other_run_of_the_same_second_is_never_used() -> None:
    world = cluster("a clone made of a snapshot that is removed")
    world.apply(world.decide())
    theirs = builders.volume_snapshot(owner=builders.OTHER_UID)
    world.snapshots[builders.CLONE] = theirs
    world.run()
    assert world.mover.status.phase == Phase.COMPLETED
    assert world.mover.status.restored_pvc_name == f"{builders.CLONE}-5f0c1"
    assert world.snapshots == {builders.CLONE: theirs}


def test_a_deleted_datamover_is_left_to_the_collector() -> None:
    world = cluster("a clone that is removed")
    for _ in range(5):
        advance(world)
    world.mover = builders.data_mover(deletion_timestamp=builders.CREATED, status=world.mover.status)
    written = len(world.writes)
    assert world.reconcile() is None
    assert len(world.writes) == written
