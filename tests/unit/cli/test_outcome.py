"""Exit codes, and what is shown of a DataMover."""

import json

import pytest

from datamover.api import reasons
from datamover.api.names import RETRY_ADVICE
from datamover.cli.exits import Exit
from datamover.cli.outcome import exit_code, explain, for_here, show, to_json
from support.builders import data_mover, run, status


def mover(phase: str | None, **fields):
    return data_mover(status=status(phase, **fields) if phase is not None else None)


CODES = {
    "all complete": (("Completed", "Completed"), False, Exit.COMPLETED),
    "complete though time is up": (("Completed",), True, Exit.COMPLETED),
    "one failed": (("Completed", "Failed"), False, Exit.FAILED),
    "one failed and time is up": (("Failed", "CreatingPod"), True, Exit.FAILED),
    "one waits": (("Completed", ""), False, Exit.BLOCKED),
    "one has no status": (("Completed", None), False, Exit.BLOCKED),
    "time is up": (("Completed", "CreatingPod"), True, Exit.TIMEOUT),
    "none at all": ((), False, Exit.BLOCKED),
    "none at all and time is up": ((), True, Exit.TIMEOUT),
}


@pytest.mark.parametrize("case", CODES)
def test_exit_codes(case: str) -> None:
    phases, timed_out, code = CODES[case]
    assert exit_code(tuple(mover(phase) for phase in phases), timed_out=timed_out) is code


ENDS = {
    "all were cancelled": (("Cancelled",), Exit.CANCELLED),
    "one was, and the others are complete": (("Completed", "Cancelled"), Exit.CANCELLED),
    "one has failed as well": (("Failed", "Cancelled"), Exit.FAILED),
    "one waits as well": (("", "Cancelled"), Exit.BLOCKED),
}


@pytest.mark.parametrize("case", ENDS)
def test_what_somebody_has_cancelled_is_no_failure(case: str) -> None:
    words, code = ENDS[case]
    ends = [mover("Failed", reason=reasons.CANCELLED) if word == "Cancelled" else mover(word) for word in words]
    assert exit_code(ends) is code
    assert [show(each).word for each in ends] == [word or "Pending" for word in words]


def test_who_cancelled_a_run_is_told_to_take_that_back_before_it_is_run_again() -> None:
    told = f"cancelled by spec.cancel: nothing was written.{RETRY_ADVICE}set spec.cancel to false, then kubectl -n default annotate ..."
    assert explain(mover("Failed", message=told, reason=reasons.CANCELLED)) == (
        "cancelled by spec.cancel: nothing was written. To try again: set spec.cancel to false, then run the same command."
    )


def test_the_codes_are_the_documented_ones() -> None:
    assert [int(code) for code in Exit] == [0, 1, 2, 3, 4, 5, 130]


def test_what_is_shown() -> None:
    shown = show(
        mover("CreatingPod", run=run(progress="42%, 5s left"), reason="Synchronizing", message="the mover runs")
    )
    assert (shown.namespace, shown.name, shown.phase) == ("default", "nightly", "CreatingPod")
    assert (shown.reason, shown.message, shown.progress) == ("Synchronizing", "the mover runs", "42%, 5s left")
    assert (shown.stalled, shown.ended) == (False, False)


def test_a_datamover_without_a_status_is_pending() -> None:
    shown = show(data_mover())
    assert (shown.phase, shown.reason, shown.message, shown.progress) == ("Pending", "", "", "")
    assert not shown.stalled


@pytest.mark.parametrize(("phase", "ended"), [("Completed", True), ("Failed", True), ("CleaningUp", False)])
def test_a_run_is_over_when_it_is(phase: str, *, ended: bool) -> None:
    assert show(mover(phase)).ended is ended


def test_a_stalled_one_is_told_as_such() -> None:
    assert show(mover("", conditions={"Stalled": "True"})).stalled


def test_why_a_run_is_not_complete_in_words_for_this_machine() -> None:
    told = f"no such bucket. The clone x is kept.{RETRY_ADVICE}default annotate ..."
    why = explain(mover("Failed", message=told))
    assert why == "no such bucket. The clone x is kept. To try again: run the same command."
    assert explain(mover("", message="Secret s does not exist")) == "Secret s does not exist"
    assert explain(mover("Completed", message="5 files")) is None
    assert explain(data_mover()) is None


def test_a_volume_that_is_missing_is_told_with_the_option_that_brings_it() -> None:
    gone = mover("", message="PersistentVolumeClaim app-data does not exist", reason="SourceNotFound")
    assert explain(gone) == (
        "PersistentVolumeClaim app-data does not exist. Here a directory stands for it: --volume app-data=DIR"
    )


def waiting(phase: str, reason: str, message: str, **fields):
    return mover(phase, reason=reason, message=message, conditions={"Stalled": "True"}, **fields)


def test_when_only_the_clean_up_is_left_the_data_are_called_safe() -> None:
    moved = run(files=254, bytes=3407872, destination="s3generic:backups/")
    slow = waiting("CleaningUp", "WaitingForCloneRemoval", "waiting until volume pvc-1 is gone", run=moved)
    assert explain(slow) == (
        "waiting until volume pvc-1 is gone. The data are safe: 254 files, 3.2 MiB at s3generic:backups/. "
        "Only the clean-up is left. That may come right by itself."
    )
    assert exit_code((slow,)) is Exit.BLOCKED
    cut_off = mover("CleaningUp", reason="CleaningUp", message="removing Job x")
    assert explain(cut_off) == ("removing Job x. The data are safe at the destination. Only the clean-up is left."), (
        "an interrupt or a timeout in the first half minute"
    )


def test_an_old_clone_that_does_not_go_leaves_the_data_where_they_were() -> None:
    stuck = waiting("CreatingClonedPVC", "WaitingForCloneRemoval", "clone x is being deleted")
    assert explain(stuck) == "clone x is being deleted. That may come right by itself."


def test_what_a_person_must_bring_is_told_as_it_is() -> None:
    assert explain(waiting("", "SecretNotFound", "Secret s does not exist")) == "Secret s does not exist"
    assert explain(mover("CreatingPod", reason="Synchronizing", message="the mover runs")) == "the mover runs"


def test_json_names_no_kubectl_either() -> None:
    told = f"no such bucket.{RETRY_ADVICE}default annotate ..."
    failed = mover("Failed", message=told, conditions={"Stalled": "True"})
    document = to_json((failed,), code=Exit.FAILED, state="/state").decode()
    assert "kubectl" not in document
    assert json.loads(document)["dataMovers"][0]["status"]["message"].endswith("To try again: run the same command.")


def test_the_result_as_json() -> None:
    movers = (mover("Completed", run=run(files=3)), data_mover(name="b", namespace="other"))
    document = json.loads(to_json(movers, code=Exit.BLOCKED, state="/state"))
    assert (document["exitCode"], document["state"]) == (3, "/state")
    first, second = document["dataMovers"]
    assert (first["name"], first["namespace"], first["status"]["run"]["files"]) == ("nightly", "default", 3)
    assert first["status"]["restoredPvcName"].startswith("restored-"), "the API's own names"
    assert second == {"name": "b", "namespace": "other", "status": {}}


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("the mover runs", "the mover runs"),
        (
            "It failed. The clone c is kept. To try again: kubectl -n n annotate datamover d x=1 --overwrite",
            "It failed. The clone c is kept. To try again: run the same command.",
        ),
        ("attempt 1 failed; see kubectl logs job/j", "attempt 1 failed."),
        (
            "no progress (kubectl -n n logs p). Mend the server; kubectl -n n delete pod p begins another. It may be long",
            "no progress. Mend the server; It may be long.",
        ),
        ("kubectl patch pv a", ""),
    ],
)
def test_nobody_is_told_to_use_kubectl_on_a_world_that_is_about_to_go(message: str, shown: str) -> None:
    assert for_here(message) == shown
