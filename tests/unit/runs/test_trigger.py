"""A copy trigger as the gate of a run of any kind: what is told, in which order, and what stands against it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace as change

from datamover.api import copy_trigger, reasons
from datamover.api.copy_trigger import (
    CONSUMED_ANNOTATION,
    LATEST_ANNOTATION,
    SINCE_ANNOTATION,
    STATUS_ANNOTATION,
    TRIGGER_ANNOTATION,
    USE_ANNOTATION,
    Status,
)
from datamover.api.names import CopyMethod
from datamover.plans.conditions import State
from datamover.plans.known import Known, Refusal
from datamover.plans.steps import Annotate, Create, ProveStatus
from datamover.runs.advance import advance
from datamover.runs.facts import RunFacts
from datamover.runs.order import Order
from datamover.runs.record import Stage
from datamover.runs.trigger import CopyTrigger, told_by
from datamover.runs.verdict import Facet, Rest, Verdict
from datamover.volumes.copy_trigger import Sharer, Told
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.timestamps import seconds
from support import builders, parcel
from support.builders import NOW

BEGUN = NOW - timedelta(minutes=1)
METHODS = pytest.mark.parametrize("method", [CopyMethod.CLONE, CopyMethod.SNAPSHOT])


def source(**annotations: str) -> Any:
    claim = builders.persistent_volume_claim(resource_version="7")
    names = {"trigger": TRIGGER_ANNOTATION, "status": STATUS_ANNOTATION, "since": SINCE_ANNOTATION}
    given = {names[name]: value for name, value in annotations.items()} | {USE_ANNOTATION: ""}
    return change(claim, metadata=change(claim.metadata, annotations=given))


def order(method: str = CopyMethod.CLONE, *sharers: Sharer, told: Told = Told.NOTHING) -> Order:
    return parcel.order(method=method, gate=CopyTrigger(BEGUN, told, sharers))


def facts(**known: Any) -> RunFacts:
    return parcel.facts(**{"source": source(), **known})


def consumed(child: Any, value: str = "go1") -> Any:
    return change(child, metadata=change(child.metadata, annotations={CONSUMED_ANNOTATION: value}))


@METHODS
def test_a_wait_is_written_to_the_source_before_it_is_told_and_nothing_is_made(method: str) -> None:
    answer = advance(order(method), facts())
    assert isinstance(answer, Verdict)
    prove, annotate = answer.before
    assert prove == ProveStatus(), "who decided on a stale status writes nothing"
    assert isinstance(annotate, Annotate)
    assert (annotate.resource, annotate.target.resource_version) == (PERSISTENT_VOLUME_CLAIMS, "7")
    assert annotate.annotations == {STATUS_ANNOTATION: Status.WAITING, SINCE_ANNOTATION: seconds(NOW)}
    assert answer.after == ()
    assert (answer.state, answer.reason) == (State.BLOCKED, "SrcPVCWaitingForCopyTrigger")
    assert answer.facets[Facet.TRIGGER][:2] == ("False", answer.reason)
    assert "kubectl -n default annotate pvc app-data volsync.backube/copy-trigger=" in answer.message
    assert "Parcel" in answer.message


@METHODS
def test_its_events_are_all_that_is_said_and_have_the_source_beside_them(method: str) -> None:
    answer = advance(order(method), facts())
    assert isinstance(answer, Verdict)
    assert answer.announced
    (event,) = answer.events
    assert (event.type, event.reason, event.action) == ("Normal", answer.reason, "CreateSrcCopyUsingCopyTrigger")
    assert event.message == copy_trigger.note_waiting("app-data")
    assert event.related is not None
    assert event.related.metadata.name == "app-data"


@METHODS
def test_a_wait_that_is_told_changes_nothing_more_and_ends_in_time(method: str) -> None:
    waiting = source(status=Status.WAITING, since=seconds(NOW - timedelta(minutes=5)))
    answer = advance(order(method, told=Told.WAITING), facts(source=waiting))
    assert isinstance(answer, Verdict)
    assert answer.before == answer.after == ()
    assert answer.wake_after == pytest.approx(300, abs=1)


def test_a_timeout_is_a_warning_in_the_words_that_scripts_know() -> None:
    waiting = source(status=Status.WAITING, since=seconds(NOW - timedelta(minutes=11)))
    answer = advance(order(told=Told.WAITING), facts(source=waiting))
    assert isinstance(answer, Verdict)
    assert answer.message.startswith("Timed out waiting for copy-trigger to be modified for pvc app-data;")
    (event,) = answer.events
    assert (event.type, event.reason) == ("Warning", "SrcPVCTimeoutWaitingForCopyTrigger")


@METHODS
def test_a_trigger_is_told_then_written_to_the_source_and_then_the_copy_is_made_with_it(method: str) -> None:
    answer = advance(order(method, told=Told.WAITING), facts(source=source(trigger="go1", status=Status.WAITING)))
    assert isinstance(answer, Verdict)
    annotate, create = answer.after
    assert isinstance(annotate, Annotate)
    assert annotate.annotations == {STATUS_ANNOTATION: Status.IN_PROGRESS, SINCE_ANNOTATION: None}
    assert isinstance(create, Create)
    assert create.manifest["metadata"]["annotations"] == {CONSUMED_ANNOTATION: "go1"}
    assert answer.facets[Facet.TRIGGER][:2] == ("True", "SrcPVCCopyTriggerReceived")
    assert not answer.fenced


def test_after_a_refusal_that_is_told_the_effect_comes_first() -> None:
    refusal = Refusal("PermissionMissing", "no", fresh=False, verb="annotate")
    answer = advance(order(), facts(source=source(trigger="go1"), known=Known(refusal=refusal)))
    assert isinstance(answer, Verdict)
    assert answer.fenced, "else it would be told by turns that it goes on and that it is refused"


@METHODS
def test_a_copy_that_is_there_is_told_before_all_else(method: str) -> None:
    there = (
        {"claim": consumed(parcel.claim())} if method == CopyMethod.CLONE else {"snapshot": consumed(parcel.snapshot())}
    )
    running = source(trigger="go2", status=Status.IN_PROGRESS)
    answer = advance(order(method, told=Told.RECEIVED), facts(source=running, **there))
    assert isinstance(answer, Rest)
    prove, annotate = answer.steps
    assert prove == ProveStatus()
    assert isinstance(annotate, Annotate)
    assert annotate.annotations[LATEST_ANNOTATION] == "go1"
    assert answer.facets[Facet.TRIGGER][:2] == ("True", "SrcPVCCopyUsingCopyTriggerCompleted")
    assert [event.message for event in answer.events] == [copy_trigger.note_completed("app-data")]


def test_a_copy_that_waits_for_another_ones_goes_on_with_its_data() -> None:
    running = source(trigger="go1", status=Status.IN_PROGRESS)
    held = order(CopyMethod.CLONE, Sharer(Told.WAITING), told=Told.RECEIVED)
    answer = advance(held, facts(source=running, claim=consumed(parcel.claim())))
    assert isinstance(answer, Verdict)
    assert (answer.stage, answer.wake_after) == (Stage.COPIED, 60.0)


def test_somebody_elses_copy_and_one_that_goes_say_nothing() -> None:
    running = source(trigger="go1", status=Status.IN_PROGRESS)
    asked = order(told=Told.RECEIVED)
    stranger = builders.persistent_volume_claim(name=parcel.CLAIM, owner=builders.OTHER_UID)
    going = parcel.claim(deletion_timestamp=builders.CREATED)
    for claim in (stranger, going):
        gate = asked.copy.gate
        assert gate is not None
        assert gate.close(asked, facts(source=running, claim=consumed(claim))) is None


def test_what_is_refused_is_told_by_whoever_goes_on() -> None:
    refusal = Refusal("PermissionMissing", "you may not patch", verb="annotate")
    running = facts(source=source(trigger="go1", status=Status.IN_PROGRESS), claim=consumed(parcel.claim()))
    answer = advance(order(told=Told.RECEIVED), replace(running, known=Known(refusal=refusal)))
    assert isinstance(answer, Verdict)
    assert (answer.state, answer.reason) == (State.BLOCKED, "PermissionMissing")


def test_the_source_itself_has_no_gate() -> None:
    answer = advance(order(CopyMethod.DIRECT), facts(source=source()))
    assert isinstance(answer, Verdict)
    assert answer.stage is Stage.MOVING


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (None, Told.NOTHING),
        (reasons.RETRYING, Told.NOTHING),
        (reasons.COPY_TRIGGER_WAITING, Told.WAITING),
        (reasons.COPY_TRIGGER_TIMED_OUT, Told.TIMED_OUT),
        (reasons.COPY_TRIGGER_RECEIVED, Told.RECEIVED),
        (reasons.COPY_TRIGGER_COMPLETED, Told.COMPLETED),
        (reasons.COPY_TRIGGER_NOT_USED, Told.COMPLETED),
    ],
)
def test_what_was_told_is_read_from_the_reason_of_a_condition(reason: str | None, told: Told) -> None:
    assert told_by(reason) is told
