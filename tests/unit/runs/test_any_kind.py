"""A run of a kind that the project does not have, from nothing to its end."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec.structs import replace as struct_replace

from datamover.api import reasons
from datamover.api.copy_trigger import CONSUMED_ANNOTATION
from datamover.api.names import CREATED_BY_LABEL, RUN_ID_LABEL, CopyMethod
from datamover.plans.conditions import State
from datamover.plans.known import Diagnosis, Known, Refusal, Seen
from datamover.plans.steps import Create, Delete, Emit, Inquire, ProveGone, ProvePods
from datamover.runs.advance import advance
from datamover.runs.again import can_read_again, make_room
from datamover.runs.cleanup import collect, remove
from datamover.runs.facts import RunFacts
from datamover.runs.job import hold
from datamover.runs.order import OPEN, Order, Passage
from datamover.runs.record import Stage
from datamover.runs.verdict import Answer, Facet, Rest, Verdict, working
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from support import builders, parcel
from support.builders import NOW, OTHER_UID, outcome
from support.parcel import CLAIM, JOB, SPARE, UID, at, facts, order

SUCCEEDED = {
    "job": parcel.job(condition="Complete", succeeded=1),
    "pods": (parcel.pod(phase="Succeeded", outcome=outcome(verified=True, verification="true", checked_files=3)),),
}


def made(answer: Rest | Verdict) -> Create:
    """The one child that an answer makes."""
    steps = answer.steps if isinstance(answer, Rest) else answer.after
    (step,) = (step for step in steps if isinstance(step, Create))
    return step


def test_from_nothing_to_its_end() -> None:
    copying, moving, cleaning = (at(stage) for stage in (Stage.COPYING, Stage.MOVING, Stage.CLEANING))

    copy = made(advance(order(), facts()))
    assert copy.resource is PERSISTENT_VOLUME_CLAIMS
    assert copy.manifest["metadata"]["ownerReferences"][0]["kind"] == "Parcel"
    assert copy.manifest["metadata"]["labels"][CREATED_BY_LABEL] == parcel.CREATED_BY

    ready = advance(order(record=copying), facts(claim=parcel.claim()))
    assert isinstance(ready, Verdict)
    assert (ready.stage, ready.facets[Facet.COPY][0]) == (Stage.COPIED, "True")

    begun = advance(order(record=at(Stage.COPIED)), facts(claim=parcel.claim()))
    assert isinstance(begun, Verdict)
    assert (begun.stage, begun.job, begun.before) == (Stage.MOVING, JOB, ())
    assert made(begun).manifest["spec"] == {"reads": CLAIM, "readOnly": False}

    running = facts(claim=parcel.claim(), job=parcel.job(active=1), pods=(parcel.pod(),))
    assert advance(order(record=moving), running) == Rest(wake_after=pytest.approx(10, abs=0.1))

    moved = advance(order(record=moving), facts(claim=parcel.claim(), **SUCCEEDED))
    assert isinstance(moved, Verdict)
    assert (moved.stage, moved.facets[Facet.MOVE][0], moved.facets[Facet.CHECK][0]) == (Stage.CLEANING, "True", "True")
    assert [step.target.name for step in moved.after if isinstance(step, Delete)] == [JOB, CLAIM]
    assert moved.tally is not None
    assert moved.tally.outcome is not None, "what the postman has done is the kind's to record"

    done = advance(order(record=cleaning), facts())
    assert isinstance(done, Verdict)
    assert (done.state, done.stage) == (State.DONE, Stage.DONE)
    assert done.facets[Facet.CLEAN] == ("True", reasons.CLEANED_UP, "the clone and its Job are gone")


HELD = Rest(wake_after=7.0)


class Keeper:
    """A gate that answers what a test wants."""

    def __init__(self, answer: Passage | Answer, closing: Rest | None = None) -> None:
        self.answer = answer
        self.closing = closing

    def ask(self, order: Order, facts: RunFacts) -> Passage | Answer:
        assert facts.source is not None, "it is asked about a source that is there"
        assert not facts.claim
        assert not facts.snapshot, "it is asked only while there is no copy"
        return self.answer

    def close(self, order: Order, facts: RunFacts) -> Rest | None:
        return self.closing


closed = Keeper(HELD)
TOLD = Passage({"example.com/for": "me"}, told=working("Received", "it has come"))


class TestGate:
    """A copy trigger holds the copy back, and nothing after it."""

    @pytest.mark.parametrize("method", [CopyMethod.CLONE, CopyMethod.SNAPSHOT])
    def test_nothing_is_made_while_it_is_closed(self, method: str) -> None:
        assert advance(order(method=method, gate=closed), facts()) == HELD

    def test_a_copy_that_is_there_is_past_it(self) -> None:
        answer = advance(order(gate=closed), facts(claim=parcel.claim()))
        assert isinstance(answer, Verdict)
        assert answer.stage is Stage.COPIED

    def test_a_snapshot_that_is_there_is_past_it(self) -> None:
        answer = advance(order(method=CopyMethod.SNAPSHOT, gate=closed), facts(snapshot=parcel.snapshot()))
        assert made(answer).resource is PERSISTENT_VOLUME_CLAIMS

    def test_a_source_that_is_not_there_is_told_first(self) -> None:
        answer = advance(order(gate=closed), facts(source=None))
        assert isinstance(answer, Verdict)
        assert answer.reason == reasons.SOURCE_NOT_FOUND

    def test_an_open_one_lets_the_copy_be_made(self) -> None:
        assert made(advance(order(gate=Keeper(OPEN)), facts())).resource is PERSISTENT_VOLUME_CLAIMS

    @pytest.mark.parametrize("method", [CopyMethod.CLONE, CopyMethod.SNAPSHOT])
    def test_what_the_gate_says_goes_with_the_copy_from_its_creation(self, method: str) -> None:
        answer = advance(order(method=method, gate=Keeper(TOLD)), facts())
        assert isinstance(answer, Verdict)
        assert answer.reason == "Received"
        assert made(answer).manifest["metadata"]["annotations"] == {"example.com/for": "me"}

    def test_the_claim_that_is_made_of_a_snapshot_keeps_what_the_snapshot_was_taken_for(self) -> None:
        snapshot = parcel.snapshot()
        annotations = {CONSUMED_ANNOTATION: "go1"}
        taken = struct_replace(snapshot, metadata=struct_replace(snapshot.metadata, annotations=annotations))
        answer = advance(order(method=CopyMethod.SNAPSHOT, gate=closed), facts(snapshot=taken))
        assert made(answer).manifest["metadata"]["annotations"] == annotations

    def test_what_there_is_to_say_of_a_copy_comes_before_all_else(self) -> None:
        said = Rest((ProvePods(),))
        assert advance(order(gate=Keeper(OPEN, said)), facts(claim=parcel.claim())) == said
        assert hold(order(gate=Keeper(OPEN, said)), facts(claim=parcel.claim())) == said

    def test_a_gate_that_has_nothing_to_say_yet_is_asked_again_in_time(self) -> None:
        answer = advance(order(gate=Keeper(OPEN, Rest(wake_after=7.0))), facts(claim=parcel.claim()))
        assert isinstance(answer, Verdict)
        assert (answer.stage, answer.wake_after) == (Stage.COPIED, 7.0)


class TestLeftOvers:
    """Where the next run's children have the same names, a copy of the last run is never this run's."""

    @staticmethod
    def of(run: str | None, child: Any) -> Any:
        labels = {**child.metadata.labels, **({RUN_ID_LABEL: run} if run else {})}
        return struct_replace(child, metadata=struct_replace(child.metadata, labels=labels))

    @pytest.mark.parametrize("method", [CopyMethod.CLONE, CopyMethod.SNAPSHOT])
    def test_a_copy_of_the_run_before_is_removed(self, method: str) -> None:
        there = (
            facts(claim=self.of("yesterday", parcel.claim()))
            if method == CopyMethod.CLONE
            else facts(snapshot=self.of("yesterday", parcel.snapshot()))
        )
        answer = advance(order(method=method, round="today"), there)
        assert isinstance(answer, Rest)
        assert [step.target.name for step in answer.steps if isinstance(step, Delete)] == [CLAIM]

    def test_while_it_goes_no_other_one_is_made(self) -> None:
        going = facts(claim=self.of("yesterday", parcel.claim(deletion_timestamp=builders.CREATED)))
        answer = advance(order(round="today"), going)
        assert isinstance(answer, Verdict)
        assert not answer.after
        assert "of the run before is being deleted" in answer.message

    @pytest.mark.parametrize("run", [None, "today"])
    def test_a_copy_of_this_run_or_of_nobody_knows_which_is_taken(self, run: str | None) -> None:
        answer = advance(order(round="today"), facts(claim=self.of(run, parcel.claim())))
        assert isinstance(answer, Verdict)
        assert answer.stage is Stage.COPIED


class TestNames:
    def test_without_a_spare_name_the_run_waits_for_its_own(self) -> None:
        answer = advance(order(), facts(claim=builders.persistent_volume_claim(name=CLAIM, owner=OTHER_UID)))
        assert isinstance(answer, Verdict)
        assert (answer.state, answer.reason) == (State.BLOCKED, reasons.NAME_TAKEN)
        assert answer.message.endswith("is not this Parcel's: delete or rename it")
        assert answer.wake_after == 60.0

    def test_a_spare_name_is_taken_for_the_copy_and_the_snapshot(self) -> None:
        taken = builders.persistent_volume_claim(name=CLAIM, owner=OTHER_UID)
        answer = advance(order(method=CopyMethod.SNAPSHOT, spare=SPARE), facts(claim=taken))
        assert isinstance(answer, Verdict)
        assert answer.renamed is not None
        assert (answer.renamed.claim, answer.renamed.snapshot) == (SPARE, SPARE)

    def test_a_snapshot_that_is_taken_keeps_its_name(self) -> None:
        taken = builders.persistent_volume_claim(name=CLAIM, owner=OTHER_UID)
        known = facts(claim=taken, snapshot=parcel.snapshot())
        answer = advance(order(method=CopyMethod.SNAPSHOT, spare=SPARE), known)
        assert isinstance(answer, Verdict)
        assert answer.renamed is not None
        assert (answer.renamed.claim, answer.renamed.snapshot) == (SPARE, CLAIM)


class TestRemoval:
    def test_who_does_not_wait_deletes_and_goes_on(self) -> None:
        there = facts(claim=parcel.claim(), job=parcel.job())
        answer = remove(order(), there, wait=False)
        assert isinstance(answer, Rest)
        assert [step.target.name for step in answer.steps if isinstance(step, Delete)] == [JOB, CLAIM]
        going = facts(claim=parcel.claim(deletion_timestamp=builders.CREATED))
        assert remove(order(), going, wait=False) is None, "it was told to go"

    def test_who_waits_waits_until_it_is_gone(self) -> None:
        going = facts(claim=parcel.claim(deletion_timestamp=builders.CREATED))
        record = at(Stage.CLEANING, since=builders.CREATED)
        assert remove(order(record=record), going, wait=True) == Rest(wake_after=pytest.approx(30, abs=0.2))
        assert remove(order(record=record), facts(), wait=True) is None

    def test_a_kind_that_does_not_record_when_it_began_tells_what_hangs_all_the_same(self) -> None:
        going = parcel.claim(deletion_timestamp=builders.CREATED, finalizers=("example.com/mine",))
        known = facts(claim=going, now=NOW + timedelta(minutes=1))
        answer = remove(order(record=at(Stage.CLEANING)), known, wait=True)
        assert isinstance(answer, Verdict)
        assert answer.reason == reasons.CLEANUP_WAITING

    def test_a_volume_that_its_driver_still_has_is_waited_for(self) -> None:
        draining = facts(volumes=(builders.persistent_volume(claim=CLAIM),), now=NOW + timedelta(minutes=1))
        answer = remove(order(record=at(Stage.CLEANING, since=builders.CREATED)), draining, wait=True)
        assert isinstance(answer, Rest)
        assert [step.kind for step in answer.steps if isinstance(step, Inquire)] == ["PersistentVolume"]

    def test_a_copy_that_is_to_be_kept_is_never_deleted(self) -> None:
        there = facts(claim=parcel.claim(), job=parcel.job())
        assert remove(order(temporary=False), there, wait=True) is None
        done = advance(order(temporary=False, record=at(Stage.CLEANING)), there)
        assert isinstance(done, Verdict)
        assert done.facets[Facet.CLEAN][2] == "the clone is kept: spec.keepBox is true"

    @pytest.mark.parametrize("labels", [{}, {CREATED_BY_LABEL: "datamover-operator"}], ids=["none", "another's"])
    def test_what_does_not_carry_the_kinds_own_label_is_never_deleted(self, labels: dict[str, str]) -> None:
        stranger = builders.persistent_volume_claim(name=CLAIM, owner=UID, labels=labels)
        assert remove(order(), facts(claim=stranger), wait=False) is None
        assert collect(order(), facts(claim=stranger)) == Rest()


class TestAgain:
    def test_the_old_job_goes_first_and_then_the_same_copy_is_read(self) -> None:
        failed = facts(claim=parcel.claim(), job=parcel.job(condition="Failed"))
        answer = make_room(order(), failed)
        assert isinstance(answer, Rest)
        assert [(step.resource, step.target.name) for step in answer.steps if isinstance(step, Delete)] == [(JOBS, JOB)]
        after = replace(failed, job=None)
        assert make_room(order(), after) is None
        assert can_read_again(order(), after)

    def test_without_a_copy_there_is_nothing_to_read_again(self) -> None:
        assert not can_read_again(order(), facts())
        assert can_read_again(order(method=CopyMethod.DIRECT), facts()), "the source itself is read"
        assert can_read_again(order(method=CopyMethod.SNAPSHOT), facts(snapshot=parcel.snapshot()))


def test_a_kind_that_records_nothing_makes_no_second_job_beside_a_pod_that_lives() -> None:
    stray = facts(claim=parcel.claim(), strays=(parcel.pod(),))
    answer = advance(order(record=at(Stage.MOVING)), stray)
    assert isinstance(answer, Verdict)
    assert answer.reason == reasons.JOB_LOST
    assert not any(isinstance(step, Create) for step in (*answer.before, *answer.after))


def test_a_kind_that_records_nothing_counts_the_pods_before_it_makes_a_job_that_may_be_the_second() -> None:
    answer = advance(order(record=at(Stage.MOVING)), facts(claim=parcel.claim()))
    assert isinstance(answer, Verdict)
    assert made(answer).resource is JOBS
    assert answer.before == (ProvePods(UID),)


def test_a_job_that_is_made_again_is_made_after_the_pods_were_counted() -> None:
    lost = facts(claim=parcel.claim())
    answer = advance(order(record=at(Stage.MOVING, reason=reasons.JOB_CREATED, attempts=1)), lost)
    assert isinstance(answer, Verdict)
    assert answer.before == (ProvePods(UID),)
    assert [event.reason for event in answer.events if isinstance(event, Emit)] == [reasons.JOB_LOST]
    assert answer.cause == reasons.JOB_LOST


def test_a_copy_that_is_lost_is_asked_for_before_that_is_told() -> None:
    answer = advance(order(record=at(Stage.MOVING)), facts(seen=Seen()))
    assert isinstance(answer, Verdict)
    assert (answer.state, answer.before) == (State.FAILED, (ProveGone(PERSISTENT_VOLUME_CLAIMS, CLAIM),))
    assert answer.kept is None


def test_a_failure_names_the_copy_that_is_kept() -> None:
    pods = (parcel.pod(phase="Failed", exit_code=1, terminated_reason="OOMKilled"),)
    ended = facts(claim=parcel.claim(), job=parcel.job(condition="Failed", failed=1), pods=pods)
    answer = advance(order(record=at(Stage.MOVING)), ended)
    assert isinstance(answer, Verdict)
    assert (answer.state, answer.kept) == (State.FAILED, CLAIM)
    assert answer.message.endswith("it reached its memory limit. Raise spec.strength")


METHODS = st.sampled_from([CopyMethod.CLONE, CopyMethod.SNAPSHOT, CopyMethod.DIRECT])
RECORDS = st.builds(
    at,
    st.sampled_from(list(Stage)[:4]),
    reason=st.sampled_from(["", reasons.JOB_CREATED, reasons.NO_PROGRESS, reasons.RUN_RECORDED]),
    halted=st.booleans(),
    since=st.sampled_from([None, builders.CREATED]),
)
CLAIMS = st.none() | st.builds(
    parcel.claim,
    phase=st.sampled_from(["Bound", "Pending", "Lost"]),
    deletion_timestamp=st.sampled_from([None, "2024-08-06T14:00:00Z"]),
    finalizers=st.sampled_from([None, ("kubernetes.io/pvc-protection",)]),
    volume_name=st.sampled_from([None, "pv-1"]),
)
JOBS_ = st.none() | st.builds(
    parcel.job,
    condition=st.sampled_from([None, "Complete", "Failed"]),
    reason=st.sampled_from(["BackoffLimitExceeded", "DeadlineExceeded"]),
    suspend=st.booleans(),
    failed=st.sampled_from([None, 1]),
    deletion_timestamp=st.sampled_from([None, "2024-08-06T14:00:00Z"]),
)
PODS = st.lists(
    st.sampled_from(
        [
            parcel.pod(),
            parcel.pod(phase="Pending", waiting=("InvalidImageName", "no")),
            parcel.pod(phase="Pending", waiting=("ErrImagePull", "no")),
            parcel.pod(phase="Succeeded", outcome=outcome()),
            parcel.pod(phase="Failed", exit_code=1, terminated_reason="OOMKilled"),
        ]
    ),
    max_size=2,
).map(tuple)
FACTS = st.builds(
    facts,
    source=st.sampled_from(
        [
            None,
            builders.persistent_volume_claim(),
            builders.persistent_volume_claim(storage_class_name=None),
            builders.persistent_volume_claim(phase="Pending"),
        ]
    ),
    source_volume=st.sampled_from([builders.persistent_volume(), builders.persistent_volume(driver=None)]),
    claim=CLAIMS,
    claim_class=st.sampled_from(
        [None, builders.storage_class(), builders.storage_class(provisioner="kubernetes.io/x")]
    ),
    snapshot=st.none() | st.builds(parcel.snapshot, ready_to_use=st.booleans()),
    snapshot_classes=st.sampled_from([None, (), (builders.volume_snapshot_class(deletion_policy="Retain"),)]),
    volumes=st.sampled_from(
        [
            (),
            (builders.persistent_volume(claim=CLAIM, driver=None),),
            (builders.persistent_volume(claim=CLAIM, persistent_volume_reclaim_policy="Retain"),),
        ]
    ),
    job=JOBS_,
    pods=PODS,
    strays=PODS,
    known=st.builds(
        Known,
        refusal=st.sampled_from([None, Refusal("ChildRefused", "no"), Refusal("ChildRefused", "no", verb="patch")]),
        diagnosis=st.sampled_from([None, Diagnosis(f"uid-of-{CLAIM}", "broken")]),
    ),
)
FOREIGN_WORDS = (
    "DataMover",
    "datamover-operator",
    "sourcePvc",
    "spec.storageClassName",
    "spec.volumeSnapshotClassName",
    "copyMethod",
    "spec.image",
    "spec.mover",
)


@given(method=METHODS, record=RECORDS, temporary=st.booleans(), known=FACTS, spare=st.sampled_from([None, SPARE]))
@hypothesis_settings(max_examples=300, deadline=None)
def test_no_sentence_and_no_object_speaks_of_another_kind(method, record, temporary, known, spare) -> None:
    asked = order(method=method, record=record, temporary=temporary, spare=spare, transfer={"deadline": 60})
    for answer in (advance(asked, known), hold(asked, known), make_room(asked, known), collect(asked, known)):
        words = repr(answer)
        for word in FOREIGN_WORDS:
            assert word not in words
        if isinstance(answer, Verdict):
            assert answer.message
        steps = answer.steps if isinstance(answer, Rest) else (*answer.before, *answer.after) if answer else ()
        for step in steps:
            if isinstance(step, Delete):
                assert step.target.uid
                assert step.target.owned_by(UID)
                assert step.target.label(CREATED_BY_LABEL) == parcel.CREATED_BY
            if isinstance(step, Create):
                assert step.manifest["metadata"]["ownerReferences"][0]["uid"] == UID
