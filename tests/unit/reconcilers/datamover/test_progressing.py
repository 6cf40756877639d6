"""A mover that gets no further, one whose log nobody can read, and one whose node is gone: told once, and healed."""

import dataclasses
from datetime import timedelta

import pytest
from msgspec.structs import replace

from datamover.api import reasons
from datamover.api.names import Phase
from datamover.api.transfer import Progress
from datamover.plans.steps import Emit, Plan, SampleLog, WriteStatus
from datamover.plans.watch import ProgressWatch
from datamover.reconcilers.datamover.facts import Facts
from datamover.runs.progress import describe_progress, describe_work
from kubekit.words.timestamps import seconds
from support import builders
from support.builders import CREATED, NOW, SETTINGS, decide, with_facts

LATER = NOW + timedelta(minutes=20)
HALF = Progress(run_id="r", phase="syncing", bytes=50, total_bytes=100, files=1, total_files=3)
JOB = builders.job(active=1)


def running(watch: ProgressWatch, *, status=None, progress: Progress | None = HALF, pod=None) -> Facts:
    mover = builders.data_mover(status=status or builders.status(Phase.CREATING_POD, reason=reasons.SYNCHRONIZING))
    pods = (pod or builders.pod(JOB, node_name="n1"),)
    return builders.facts(
        mover, clone=builders.clone(), job=JOB, pods=pods, progress=progress, progress_age=0.5, watch=watch
    )


def idle(seconds_: float, *, moved: bool = False) -> ProgressWatch:
    return ProgressWatch("uid-of-mover-1", HALF, since=0.0, last=seconds_, moved=moved)


def told(plan: Plan):
    return next((step.status for step in plan.steps if isinstance(step, WriteStatus)), None)


def events(plan: Plan) -> list[tuple[str, str]]:
    return [(step.type, step.reason) for step in plan.steps if isinstance(step, Emit)]


def after(known: Facts, plan: Plan, **changes) -> Facts:
    """The facts when the plan's status is written."""
    status = told(plan)
    assert status is not None
    return with_facts(known, mover=replace(known.mover, status=status), **changes)


def condition(plan_or_status, type_: str):
    status = told(plan_or_status) if isinstance(plan_or_status, Plan) else plan_or_status
    found = status.condition(type_)
    return found.status, found.reason


def test_a_server_that_does_not_answer_is_told_in_the_status() -> None:
    plan = decide(
        running(ProgressWatch(), progress=replace(HALF, trouble="connection refused")), now=LATER, settings=SETTINGS
    )
    assert (
        told(plan).message == "moving: 1 of 3 files. The server does not answer, and is waited for: connection refused"
    )


SHOWN = [
    ({"phase": "walking", "total_files": 12345, "bytes": 0}, "walking, 12345 files"),
    ({"phase": "walking", "total_files": 1}, "walking, 1 file"),
    ({"phase": "probing"}, "probing"),
    ({"phase": "recording"}, "recording"),
    ({"phase": "syncing", "bytes": 50 << 20, "total_bytes": 100 << 20, "files": 0, "total_files": 0}, "50%"),
    ({"phase": "syncing", "bytes": 0, "total_bytes": 0, "files": 5, "total_files": 10}, "50%"),
    ({"phase": "syncing", "bytes": 0, "total_bytes": 0, "files": 0, "total_files": 0}, "syncing"),
    ({"phase": "syncing", "bytes": 9, "total_bytes": 9, "files": 3, "total_files": 3, "eta": 0}, "100%, 0s left"),
    ({"phase": "syncing", "bytes": 9, "total_bytes": 3, "files": 9, "total_files": 3}, "100%"),
    ({"phase": "copying", "bytes": 50 << 20, "total_bytes": 100 << 20, "files": 0, "total_files": 0}, "copying 50%"),
    ({"eta": 3700}, "33%, 1h01m left"),
    ({"eta": 3700, "trouble": "connection refused"}, "33%"),
    ({"eta": -1}, "33%"),
    ({"eta": 10**15}, "33%"),
    ({"phase": "verifying", "files": 42, "total_files": 100, "eta": 5}, "verifying 42%, 5s left"),
]


@pytest.mark.parametrize(("changes", "shown"), SHOWN)
def test_progress_is_the_share_of_the_work_that_is_done(changes: dict[str, object], shown: str) -> None:
    assert describe_progress(replace(HALF, **changes)) == shown


PACES: list[tuple[dict[str, object], float, str, str]] = [
    ({"speed": 1536.0, "eta": 90}, 0, "moving: 1 of 3 files, 50 B of 100 B at 1.5 KiB/s, 1m30s left", "33%, 1m30s left"),
    ({"speed": 1536.0, "eta": 90}, 59, "moving: 1 of 3 files, 50 B of 100 B at 1.5 KiB/s, 1m30s left", "33%, 1m30s left"),
    ({"speed": 1536.0, "eta": 90}, 60, "moving: 1 of 3 files; nothing has moved for a minute", "33%"),
    ({"speed": 1536.0}, 0, "moving: 1 of 3 files, 50 B of 100 B at 1.5 KiB/s", "33%"),
    ({"speed": 0.2, "eta": 90}, 0, "moving: 1 of 3 files, 50 B of 100 B, 1m30s left", "33%, 1m30s left"),
    ({"speed": float("inf"), "eta": -1}, 0, "moving: 1 of 3 files", "33%"),
    ({"speed": 5.0, "total_bytes": 0, "bytes": 0}, 0, "moving: 1 of 3 files, 5 B/s", "33%"),
    ({"phase": "verifying", "speed": 2048.0, "eta": 5}, 0, "comparing the destination with the source: 1 of 3 files, 50 B of 100 B at 2.0 KiB/s, 5s left", "verifying 33%, 5s left"),
    ({"phase": "walking", "speed": 5.0}, 0, "reading the source: 3 files so far", "walking, 3 files"),
    ({"speed": 5.0, "trouble": "connection refused"}, 0, "moving: 1 of 3 files. The server does not answer, and is waited for: connection refused", "33%"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "stood", "message", "progress"), PACES)
def test_a_mover_at_work_says_how_fast_and_one_that_stands_still_does_not(
    changes: dict[str, object], stood: float, message: str, progress: str
) -> None:
    seen = replace(HALF, **changes)
    plan = decide(running(idle(stood), progress=seen), now=LATER, settings=SETTINGS)
    assert (told(plan).message, told(plan).run.progress) == (message, progress)


def test_one_file_is_one_file() -> None:
    assert describe_work(replace(HALF, files=0, total_files=1)) == "moving: 0 of 1 file"


def test_nobody_reads_of_none_files_while_their_number_is_not_known() -> None:
    assert describe_work(replace(HALF, files=0, total_files=0)) == "moving"


def test_a_run_that_waits_does_not_say_how_long_it_will_take() -> None:
    seen = replace(builders.run(), attempts=1, progress="42%, 1m30s left")
    status = builders.status(Phase.CREATING_POD, reason=reasons.SYNCHRONIZING, run=seen)
    gone = builders.pod(JOB, phase="Pending", waiting=("ErrImagePull", "no such image"))
    plan = decide(running(ProgressWatch(), status=status, pod=gone), now=LATER, settings=SETTINGS)
    assert condition(plan, "Stalled")[0] == "True"
    assert told(plan).run.progress is None
    held = running(ProgressWatch(), status=status)
    held = with_facts(held, mover=replace(held.mover, spec=replace(held.mover.spec, suspend=True)))
    assert told(decide(held, now=LATER, settings=SETTINGS)).run.progress is None


class TestNoProgress:
    def test_ten_minutes_without_a_change_are_told_with_one_event(self) -> None:
        known = running(idle(600))
        plan = decide(known, now=LATER, settings=SETTINGS)
        assert condition(plan, "Stalled") == ("True", reasons.NO_PROGRESS)
        assert events(plan) == [("Warning", reasons.NO_PROGRESS)]
        message = told(plan).message
        for words in ("no progress for 10 minutes", "moving: 1 of 3 files", "logs mover-1", "delete pod mover-1"):
            assert words in message
        assert told(plan).phase == Phase.CREATING_POD
        assert plan.wake_after is not None, "sampling goes on"
        again = after(known, plan, watch=idle(700))
        assert decide(again, now=LATER, settings=SETTINGS).steps == ()

    def test_since_when_it_stands_still_is_told_by_the_clock(self) -> None:
        message = told(decide(running(idle(600)), now=LATER, settings=SETTINGS)).message
        assert "no progress for 10 minutes, since 2024-08-06T14:40:51Z: it stands still" in message, LATER

    def test_a_little_less_stalls_nothing_and_is_told(self) -> None:
        known = running(idle(599))
        plan = decide(known, now=LATER, settings=SETTINGS)
        assert condition(plan, "Stalled") == ("False", reasons.SYNCHRONIZING)
        assert told(plan).message == "moving: 1 of 3 files; nothing has moved for a minute"
        assert decide(after(known, plan), now=LATER, settings=SETTINGS).steps == (), "once, however long it takes"

    def test_the_log_is_read_again_meanwhile(self) -> None:
        known = running(idle(600))
        known = after(known, decide(known, now=LATER, settings=SETTINGS), progress_age=10.0)
        assert any(isinstance(step, SampleLog) for step in decide(known, now=LATER, settings=SETTINGS).steps)

    @pytest.mark.parametrize("change", [{"bytes": 51}, {"phase": "verifying"}], ids=["bytes", "phase"])
    def test_it_heals_when_it_goes_on(self, change) -> None:
        known = running(idle(600))
        on = replace(HALF, **change)
        moving = ProgressWatch("uid-of-mover-1", on, since=700, last=700, moved=True)
        known = after(known, decide(known, now=LATER, settings=SETTINGS), progress=on, watch=moving)
        plan = decide(known, now=LATER, settings=SETTINGS)
        assert condition(plan, "Stalled") == ("False", reasons.SYNCHRONIZING)
        assert condition(plan, "Reconciling") == ("True", reasons.SYNCHRONIZING)

    def test_an_operator_that_starts_anew_does_not_take_it_back_before_something_moves(self) -> None:
        known = running(idle(600))
        known = after(known, decide(known, now=LATER, settings=SETTINGS))
        for seen in (idle(0), idle(600)):
            assert decide(with_facts(known, watch=seen), now=LATER, settings=SETTINGS).steps == ()
        elsewhere = replace(HALF, bytes=60)
        moved = with_facts(known, progress=elsewhere, watch=ProgressWatch("uid-of-mover-1", elsewhere))
        assert condition(decide(moved, now=LATER, settings=SETTINGS), "Stalled")[0] == "False"

    def test_an_image_that_tells_no_progress_is_not_accused(self) -> None:
        plan = decide(running(ProgressWatch("uid-of-mover-1"), progress=None), now=LATER, settings=SETTINGS)
        assert plan.steps == ()


class TestProgressUnknown:
    blind = ProgressWatch("uid-of-mover-1", HALF, failures=6, problem="pods/log is forbidden", blind=60.0)

    def test_a_log_that_cannot_be_read_again_and_again_is_told_once_and_stalls_nothing(self) -> None:
        known = running(self.blind)
        plan = decide(known, now=LATER, settings=SETTINGS)
        assert condition(plan, "Stalled") == ("False", reasons.PROGRESS_UNKNOWN)
        assert events(plan) == [("Warning", reasons.PROGRESS_UNKNOWN)]
        for words in ("pods/log is forbidden", "docs/permissions.md", "node n1", "the run does not depend on it"):
            assert words in told(plan).message
        known = after(known, plan, watch=with_facts(self.blind, failures=7, problem="i/o timeout", blind=70.0))
        assert decide(known, now=LATER, settings=SETTINGS).steps == ()

    def test_what_was_known_before_is_not_shown_as_if_it_were_so_now(self) -> None:
        run = builders.run(progress="42%, 1m30s left", attempts=1)
        known = running(self.blind, status=builders.status(Phase.CREATING_POD, run=run), progress=None)
        (written, _) = decide(known, now=LATER, settings=SETTINGS).steps
        assert isinstance(written, WriteStatus)
        assert written.status.run is not None
        assert written.status.run.progress is None

    def test_a_few_failures_are_no_news(self) -> None:
        few = with_facts(self.blind, blind=59.0)
        assert decide(running(few), now=LATER, settings=SETTINGS).steps == ()

    def test_it_heals_when_the_log_can_be_read(self) -> None:
        known = running(self.blind)
        known = after(known, decide(known, now=LATER, settings=SETTINGS), watch=idle(0))
        assert condition(decide(known, now=LATER, settings=SETTINGS), "Ready") == ("False", reasons.SYNCHRONIZING)


class TestLostNodes:
    """The node of such a Pod reports nothing any more: "running" for ever, and no other Pod takes its place."""

    gone = builders.pod(JOB, node_name="n1", deletion_timestamp=CREATED)
    silent = builders.pod(JOB, node_name="n1", not_ready=("NodeStatusUnknown", CREATED))

    @pytest.mark.parametrize("pod", [gone, silent], ids=["being deleted", "not heard of"])
    def test_it_is_told_after_a_minute_with_what_to_do(self, pod) -> None:
        known = running(ProgressWatch(), pod=pod)
        before = decide(known, now=NOW + timedelta(seconds=50), settings=SETTINGS)
        assert reasons.MOVER_NODE_LOST not in [reason for _, reason in events(before)]
        assert before.wake_after <= 10.2, "it is looked at again in time"
        plan = decide(known, now=NOW + timedelta(seconds=61), settings=SETTINGS)
        assert condition(plan, "Stalled") == ("True", reasons.MOVER_NODE_LOST)
        assert events(plan) == [("Warning", reasons.MOVER_NODE_LOST)]
        command = "if its node is down for good, and only then, kubectl -n default delete pod mover-1 --grace-period=0 --force"
        for words in ("Pod mover-1 (Running, on node n1", "gives no sign of life", "never write at once", command):
            assert words in told(plan).message
        known = after(known, plan)
        assert decide(known, now=NOW + timedelta(days=2), settings=SETTINGS).steps == (), "told once"

    def test_a_pod_that_does_not_start_is_lost_in_the_same_way(self) -> None:
        pending = builders.pod(JOB, phase="Pending", node_name="n1", deletion_timestamp=CREATED)
        assert (
            condition(decide(running(ProgressWatch(), pod=pending), now=LATER, settings=SETTINGS), "Stalled")[0]
            == "True"
        )

    def test_a_pod_that_has_ended_is_not_lost(self) -> None:
        ended = builders.pod(JOB, phase="Failed", exit_code=1, deletion_timestamp=CREATED)
        assert decide(running(ProgressWatch(), pod=ended), now=LATER, settings=SETTINGS).steps == ()

    def test_it_heals_when_the_node_is_back(self) -> None:
        known = running(ProgressWatch(), pod=self.silent)
        known = after(known, decide(known, now=LATER, settings=SETTINGS), pods=(builders.pod(JOB, node_name="n1"),))
        assert condition(decide(known, now=LATER, settings=SETTINGS), "Stalled") == ("False", reasons.SYNCHRONIZING)

    def test_it_heals_when_another_attempt_begins(self) -> None:
        known = running(ProgressWatch(), pod=self.gone)
        born = seconds(LATER)
        known = after(
            known,
            decide(known, now=LATER, settings=SETTINGS),
            job=builders.job(active=1, failed=1),
            pods=(builders.pod(JOB, name="mover-2", creation_timestamp=born, start_time=born),),
        )
        assert condition(decide(known, now=LATER, settings=SETTINGS), "Stalled")[0] == "False"


@pytest.mark.parametrize(
    ("phase", "stuck"), [("syncing", True), ("probing", True), ("awaiting", False), ("receiving", False)]
)
def test_a_mover_that_another_one_connects_to_may_wait_for_ever(phase: str, stuck: bool) -> None:
    progress = replace(HALF, phase=phase)
    watch = dataclasses.replace(idle(3600.0), progress=progress)
    plan = decide(running(watch, progress=progress), now=LATER, settings=SETTINGS)
    assert (("Warning", reasons.NO_PROGRESS) in events(plan)) is stuck
