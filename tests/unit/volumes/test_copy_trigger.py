"""Copy triggers: each row of what may happen to a claim's annotations, and any history of them with any number of owners."""

from datetime import timedelta

import pytest

from datamover.api.copy_trigger import (
    CONSUMED_ANNOTATION,
    LATEST_ANNOTATION,
    SINCE_ANNOTATION,
    STATUS_ANNOTATION,
    TRIGGER_ANNOTATION,
    USE_ANNOTATION,
    Status,
)
from datamover.volumes.copy_trigger import Changes, Close, Go, Made, Round, Sharer, Told, Wait, ask, close, made_of
from kubekit.words.timestamps import seconds
from support import builders
from support.builders import NOW

SHORT = {
    "use": USE_ANNOTATION,
    "trigger": TRIGGER_ANNOTATION,
    "status": STATUS_ANNOTATION,
    "latest": LATEST_ANNOTATION,
    "since": SINCE_ANNOTATION,
}
STAMP = seconds(NOW)
WAITING: Changes = {STATUS_ANNOTATION: Status.WAITING, SINCE_ANNOTATION: STAMP}
GOING: Changes = {STATUS_ANNOTATION: Status.IN_PROGRESS, SINCE_ANNOTATION: None}
READY = Made("go1", ready=True, at=STAMP)
MAKING = Made("go1", ready=False, at=STAMP)


def ago(seconds_: float) -> str:
    return seconds(NOW - timedelta(seconds=seconds_))


def completed(value: str) -> Changes:
    return {STATUS_ANNOTATION: Status.COMPLETED, LATEST_ANNOTATION: value, SINCE_ANNOTATION: None}


def round_(
    *sharers: Sharer, begun: float = 60.0, told: Told = Told.NOTHING, use: str | None = "", **said: str
) -> Round:
    """A round that began `begun` seconds ago; keywords are annotations by the last word of their names."""
    annotations = {SHORT[name]: value for name, value in said.items()}
    if use is not None:
        annotations[USE_ANNOTATION] = use
    return Round(annotations, NOW - timedelta(seconds=begun), told, NOW, sharers)


WAITED = {"told": Told.WAITING, "status": Status.WAITING}
ASKED = {
    "no use: the copy is taken, nothing is written": (round_(use=None, trigger="go1"), Go(None)),
    "any value of use counts": (round_(use="false"), Wait(WAITING, wake_after=601.1)),
    "no trigger": (round_(), Wait(WAITING, wake_after=601.1)),
    "an empty trigger is none": (round_(trigger=""), Wait(WAITING, wake_after=601.1)),
    "a blank is one": (round_(trigger=" "), Go(" ", GOING)),
    "a trigger that was set before the sync began": (round_(trigger="go1"), Go("go1", GOING)),
    "the trigger of the last round": (
        round_(trigger="go1", latest="go1", status=Status.COMPLETED),
        Wait(WAITING, wake_after=601.1),
    ),
    "another trigger than that of the last round": (
        round_(trigger="go2", latest="go1", status=Status.COMPLETED),
        Go("go2", GOING),
    ),
    "it waits, and that is told": (round_(**WAITED, since=ago(30)), Wait(wake_after=570.1)),
    "it has waited for nearly ten minutes": (round_(**WAITED, since=ago(590)), Wait(wake_after=pytest.approx(10.1))),
    "it has waited too long": (round_(**WAITED, since=ago(601)), Wait(timed_out=True)),
    "its stamp was set back while it waited": (round_(**WAITED, begun=5, since=ago(900)), Wait(timed_out=True)),
    "it goes on waiting after that was told": (
        round_(told=Told.TIMED_OUT, status=Status.WAITING, since=ago(900)),
        Wait(timed_out=True),
    ),
    "a stamp of a wait before this sync": (
        round_(status=Status.WAITING, since=ago(700)),
        Wait(WAITING, wake_after=601.1),
    ),
    "a stamp that cannot be read is no timeout": (
        round_(**WAITED, since="yesterday"),
        Wait(WAITING, wake_after=601.1),
    ),
    "a stamp that was taken away": (round_(**WAITED), Wait(WAITING, wake_after=601.1)),
    "a status that was taken away": (round_(told=Told.WAITING, since=ago(5)), Wait(WAITING, wake_after=601.1)),
    "use is removed while it waits": (
        round_(**WAITED, use=None, since=ago(30)),
        Go(None, {STATUS_ANNOTATION: None, SINCE_ANNOTATION: None}),
    ),
    "what is left of a round that was given up": (
        round_(status=Status.IN_PROGRESS, trigger="go1", latest="go1"),
        Wait(WAITING, wake_after=601.1),
    ),
    "its copy was deleted before it was ready": (
        round_(told=Told.RECEIVED, status=Status.IN_PROGRESS, trigger="go1"),
        Go("go1", GOING),
    ),
    "Completed of another round stays when triggers are not used": (
        round_(use=None, status=Status.COMPLETED, latest="go1"),
        Go(None),
    ),
    "another one waits already: one clock for both": (
        round_(Sharer(Told.WAITING), status=Status.WAITING, since=ago(300)),
        Wait(wake_after=300.1),
    ),
    "another one's copy is in the making": (
        round_(Sharer(Told.RECEIVED, MAKING), status=Status.IN_PROGRESS, trigger=""),
        Wait(wake_after=60.0),
    ),
    "another one's copy is complete": (
        round_(Sharer(Told.COMPLETED, READY), status=Status.COMPLETED, trigger="go1", latest="go1"),
        Wait(WAITING, wake_after=601.1),
    ),
    "another one was faster with the same trigger": (
        round_(Sharer(Told.RECEIVED, READY), told=Told.WAITING, status=Status.IN_PROGRESS, trigger="go1"),
        Go("go1", GOING),
    ),
}


@pytest.mark.parametrize("case", ASKED)
def test_whether_a_copy_may_be_taken(case: str) -> None:
    given, answer = ASKED[case]
    assert ask(given) == answer


RUNNING = {"told": Told.RECEIVED, "status": Status.IN_PROGRESS, "trigger": "go1"}
CLOSED: dict[str, tuple[Round, Made, Close | None]] = {
    "not ready": (round_(**RUNNING), MAKING, None),
    "ready": (round_(**RUNNING), READY, Close(completed("go1"), done=True)),
    "a copy that was taken for no trigger says nothing": (
        round_(told=Told.NOTHING, trigger="go1"),
        Made(None, ready=True),
        None,
    ),
    "told already": (round_(**RUNNING | {"told": Told.COMPLETED}, latest="go0"), READY, None),
    "the trigger was changed before it was ready": (
        round_(**RUNNING | {"trigger": "go2"}),
        READY,
        Close(completed("go1"), done=True),
    ),
    "the trigger was taken away before it was ready": (
        round_(told=Told.RECEIVED, status=Status.IN_PROGRESS),
        READY,
        Close(completed("go1"), done=True),
    ),
    "told to the source, but not in the status": (
        round_(told=Told.RECEIVED, status=Status.COMPLETED, trigger="go1", latest="go1"),
        READY,
        Close(done=True),
    ),
    "use is removed before it is ready": (
        round_(**RUNNING, use=None),
        MAKING,
        Close({STATUS_ANNOTATION: None}),
    ),
    "use is removed, and then it is ready": (
        round_(told=Told.RECEIVED, trigger="go1", use=None),
        READY,
        Close({LATEST_ANNOTATION: "go1"}, done=True, left=True),
    ),
    "use is removed, and it is not ready yet": (round_(told=Told.RECEIVED, trigger="go1", use=None), MAKING, None),
    "use is removed, and the trigger is another one": (
        round_(told=Told.RECEIVED, trigger="go2", use=None),
        READY,
        Close(done=True, left=True),
    ),
    "use came back before it is ready": (
        round_(told=Told.RECEIVED, trigger="go1"),
        MAKING,
        Close({STATUS_ANNOTATION: Status.IN_PROGRESS}),
    ),
    "another one's copy is not ready": (round_(Sharer(Told.RECEIVED, MAKING), **RUNNING), READY, Close(wake_after=60)),
    "another one is about to take its copy": (round_(Sharer(Told.WAITING), **RUNNING), READY, Close(wake_after=60)),
    "another one waits for another trigger": (
        round_(Sharer(Told.WAITING), told=Told.RECEIVED, status=Status.IN_PROGRESS, trigger=""),
        READY,
        Close(completed("go1"), done=True),
    ),
    "another one's copy is ready": (
        round_(Sharer(Told.RECEIVED, READY), **RUNNING),
        READY,
        Close(completed("go1"), done=True),
    ),
    "another one has told it": (
        round_(Sharer(Told.COMPLETED, READY), told=Told.RECEIVED, trigger="go1", latest="go1", status=Status.COMPLETED),
        READY,
        Close(done=True),
    ),
    "another one's copy was taken for no trigger": (
        round_(Sharer(Told.NOTHING, Made(None, ready=False)), **RUNNING),
        READY,
        Close(completed("go1"), done=True),
    ),
    "another one has taken up a later trigger": (
        round_(Sharer(Told.COMPLETED, Made("go2", ready=True, at="2099")), **RUNNING | {"trigger": "go2"}),
        READY,
        Close({LATEST_ANNOTATION: None}, done=True),
    ),
    "a later trigger is complete, and its copy is gone": (
        round_(told=Told.RECEIVED, status=Status.COMPLETED, trigger="go2", latest="go2"),
        READY,
        Close({LATEST_ANNOTATION: "go2"}, done=True),
    ),
}


@pytest.mark.parametrize("case", CLOSED)
def test_what_is_said_of_a_copy(case: str) -> None:
    given, copy, answer = CLOSED[case]
    assert close(given, copy) == answer


def test_what_counts_as_ready() -> None:
    def snapshot(**fields: object) -> Made | None:
        taken = builders.volume_snapshot(**fields)
        return made_of(snapshot=taken, claim=None, by_snapshot=True)

    def clone(**fields: object) -> Made | None:
        return made_of(snapshot=None, claim=builders.clone(**fields), by_snapshot=False)

    assert snapshot(ready_to_use=True).ready
    assert not snapshot(ready_to_use=False).ready
    assert not snapshot(ready_to_use=None).ready, "it is not even bound"
    assert clone().ready
    assert not clone(phase="Pending").ready
    assert made_of(snapshot=None, claim=builders.clone(phase="Pending"), by_snapshot=True).ready, "its snapshot was"
    assert made_of(snapshot=None, claim=None, by_snapshot=True) is None


def test_a_snapshot_that_is_bound_and_says_no_more_is_ready() -> None:
    from msgspec.structs import replace as change

    from kubekit.words.snapshot import VolumeSnapshotStatus

    status = VolumeSnapshotStatus(bound_volume_snapshot_content_name="content")
    meta = change(builders.volume_snapshot().metadata, annotations={CONSUMED_ANNOTATION: "go1"})
    bound = change(builders.volume_snapshot(), metadata=meta, status=status)
    assert made_of(snapshot=bound, claim=None, by_snapshot=True) == Made("go1", ready=True, at=builders.CREATED)
