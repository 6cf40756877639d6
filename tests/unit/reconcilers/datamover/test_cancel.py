"""What is said of a DataMover that was cancelled."""

import pytest

from datamover.api import reasons, transfer
from datamover.api.names import Phase
from datamover.plans.steps import WriteStatus
from datamover.reconcilers.datamover import decide as deciding
from datamover.reconcilers.datamover.facts import Facts
from datamover.reconcilers.datamover.plan import Plan
from datamover.reconcilers.datamover.sharing import sharer_of
from support import builders
from support.builders import CLONE, SETTINGS, facts, run, status


def decide(known: Facts) -> Plan:
    return deciding.decide(known, settings=SETTINGS)


CANCELLED = {"reason": reasons.CANCELLED, "conditions": {"Synchronized": "False"}}


def told(phase: str, *, record=None, **spec) -> str:
    """The message at the end of a run that is cancelled in this phase, with nothing left of it."""
    mover = builders.data_mover(status=status(phase, run=record or run(), **CANCELLED), cancel=True, **spec)
    found = [step.status for step in decide(facts(mover)).steps if isinstance(step, WriteStatus)]
    assert [each.phase for each in found] == [Phase.FAILED]
    assert {each.type: each.status for each in found[0].conditions}["Failed"] == "True"
    assert found[0].run.finished is not None
    return found[0].message


SAID = {
    "no mover was started": (
        Phase.CREATING_CLONE,
        {},
        {},
        "no mover was started, so nothing was written to the destination",
    ),
    "one was started in an attempt before": (
        Phase.CREATING_CLONE,
        {"attempts": 1},
        {},
        "the mirror at the destination may be between two backups",
    ),
    "a mirror": (
        Phase.CREATING_POD,
        {"destination": "s3generic:bucket/"},
        {},
        "the mirror at s3generic:bucket/ may be between two backups",
    ),
    "a folder": (
        Phase.CREATING_POD,
        {"attempts": 1},
        {"add_timestamp_prefix": True},
        f"the folder {run().timestamp} at the destination is incomplete",
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_what_is_at_the_destination_is_said(case: str) -> None:
    phase, record, spec, expected = SAID[case]
    message = told(phase, record=run(**record), **spec)
    assert message.startswith("cancelled by spec.cancel: ")
    assert expected in message
    assert "To try again: set spec.cancel to false, then kubectl -n default annotate datamover nightly" in message


def test_the_end_is_told_once() -> None:
    mover = builders.data_mover(status=status(Phase.CREATING_POD, **CANCELLED), cancel=True)
    (ended,) = [step.status for step in decide(facts(mover)).steps if isinstance(step, WriteStatus)]
    assert decide(facts(builders.data_mover(status=ended, cancel=True))).steps == ()
    assert decide(facts(builders.data_mover(status=ended, cancel=False))).steps == ()


def test_the_last_words_of_the_mover_are_recorded() -> None:
    job = builders.job(suspend=True)
    said = builders.outcome(
        failure_class=transfer.INTERRUPTED,
        reason=transfer.REASON_INTERRUPTED,
        destination="s3generic:bucket/x/",
        transferred_files=7,
    )
    pods = (builders.pod(job, phase="Failed", exit_code=143, outcome=said),)
    mover = builders.data_mover(status=status(Phase.CREATING_POD, **CANCELLED), cancel=True)
    steps = decide(facts(mover, clone=builders.clone(), job=job, pods=pods)).steps
    (written,) = [step.status for step in steps if isinstance(step, WriteStatus)]
    assert (written.run.destination, written.run.files) == ("s3generic:bucket/x/", 7)
    assert written.restored_pvc_name == CLONE


def test_one_that_is_wanted_no_more_holds_up_no_other_copy_of_its_source() -> None:

    waiting = {"status": status(Phase.CREATING_CLONE)}
    assert sharer_of(builders.data_mover(**waiting), claim=None, snapshot=None) is not None
    assert sharer_of(builders.data_mover(cancel=True, **waiting), claim=None, snapshot=None) is None
