from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from datamover.api.velero.backup import Backup, BackupSpec, BackupStatus
from datamover.velero.actions import Call
from datamover.velero.blocking import as_collected, wait
from datamover.verdicts.configuration import Configuration
from datamover.verdicts.verdict import Kind, State, Verdict, Wait
from kubekit.words.meta import ObjectMeta

WAITING = Verdict(state=State.WAITING, platform="AWS", waits=(Wait(kind=Kind.UPLOAD, name="u"),))


class Clock:
    """Time that passes while a call sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 11, 30, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def call(self, **options: Any) -> Call:
        call = Call(now=lambda: self.seconds, **options)

        def sleep(seconds: float) -> None:
            assert call.left() > seconds  # the call has asked for the time that it sleeps
            self.slept.append(seconds)
            self.seconds += seconds

        call.sleep = sleep  # type: ignore[method-assign]
        return call


def configured(**data: str) -> Configuration:
    return Configuration.read(data)


def test_it_looks_at_the_pace_until_nothing_is_waited_for():
    clock = Clock()
    verdicts = iter([WAITING, WAITING, Verdict(state=State.MOVED)])
    found = wait(
        lambda: next(verdicts), configuration=configured(dataUploadCheckPace="7"), call=clock.call(), now=clock.now
    )
    assert found.state is State.MOVED
    assert clock.slept == [7, 7]


@pytest.mark.parametrize("state", [State.MOVED, State.NOTHING_TO_MOVE, State.FAILED, State.UNKNOWN])
def test_what_is_over_is_not_waited_for(state: State):
    clock = Clock()
    assert (
        wait(lambda: Verdict(state=state), configuration=configured(), call=clock.call(), now=clock.now).state is state
    )
    assert clock.slept == []


def test_it_gives_up_after_the_configured_minutes_with_the_documents_words():
    clock = Clock()
    found = wait(
        lambda: WAITING,
        configuration=configured(dataUploadTimeout="2", dataUploadCheckPace="50"),
        call=clock.call(),
        now=clock.now,
    )
    assert clock.slept == [50, 50, 20]  # never beyond the limit
    assert found.state is State.FAILED
    assert found.timed_out
    assert found.error.startswith(
        "error reconciling standard data mover: error reconciling data upload: giving up, dataUpload"
    )


def test_however_long_the_limit_is_it_is_four_hours_at_most():
    clock = Clock()
    slow = configured(dataUploadTimeout="525600", dataUploadCheckPace="86400")
    assert wait(lambda: WAITING, configuration=slow, call=clock.call(), now=clock.now).timed_out
    assert sum(clock.slept) == 4 * 3600


def test_nobody_waits_for_the_answer_any_more():
    clock = Clock()
    looks: list[int] = []

    def look() -> Verdict:
        looks.append(1)
        return WAITING

    call = clock.call(wanted=lambda: len(clock.slept) < 3)
    assert wait(look, configuration=configured(), call=call, now=clock.now) is WAITING
    assert len(clock.slept) == 3
    assert len(looks) == 3  # not once more: the process is about to end


def test_a_clock_that_is_set_back_makes_the_wait_no_longer():
    clock = Clock()
    slow = configured(dataUploadTimeout="2", dataUploadCheckPace="50")
    found = wait(lambda: WAITING, configuration=slow, call=clock.call(), now=lambda: datetime(2026, 11, 30, tzinfo=UTC))
    assert found.timed_out
    assert sum(clock.slept) == 120


def test_a_backup_as_if_all_items_were_processed_is_otherwise_the_same():
    backup = Backup(
        metadata=ObjectMeta(name="b", uid="u"),
        spec=BackupSpec(snapshot_move_data=True),
        status=BackupStatus(phase="InProgress", start_timestamp="2026-11-30T00:00:00Z"),
    )
    found = as_collected(backup)
    assert found.phase == "WaitingForPluginOperations"
    assert (found.metadata, found.spec) == (backup.metadata, backup.spec)
    assert found.status is not None
    assert found.status.start_timestamp == "2026-11-30T00:00:00Z"
    assert as_collected(Backup()).phase == "WaitingForPluginOperations"
