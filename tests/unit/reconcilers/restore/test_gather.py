"""From caches to facts: who comes first, what is taken from a DataMover, and what a refusal is worth when the claim is there."""

from typing import Any

import pytest

from datamover.api.names import RestorePhase as Phase
from datamover.api.v1alpha1.restore import DataMoverRestore
from datamover.plans.known import UNKNOWN, Known, Refusal
from datamover.reconcilers.restore.gather import gather
from datamover.runs.facts import Unread
from support import builders
from support.builders import MOVER_UID, NOW, OTHER_UID
from support.restores import CLAIM, FROM_MOVER, JOB, claim, job, restore, run, status


class Shelf:
    """Caches with these objects in them."""

    def __init__(self, *rivals: DataMoverRestore, mover: Any = Unread.MISSING, target: Any = None) -> None:
        self._rivals = rivals
        self._mover = mover
        self._claim = target if target is not None else claim()
        self.asked: list[str] = []

    def rivals(self, namespace: str, claim: str) -> tuple[DataMoverRestore, ...]:
        assert (namespace, claim) == ("default", CLAIM)
        return self._rivals

    def mover(self, namespace: str, name: str) -> Any:
        return self._mover

    def secret(self, namespace: str, name: str) -> Any:
        self.asked.append(name)
        return builders.secret_keys(name=name)

    def claim(self, namespace: str, name: str) -> Any:
        return self._claim if name == CLAIM else None

    def job(self, namespace: str, name: str) -> Any:
        return job() if name == JOB else None

    def volume(self, name: str) -> Any:
        return Unread.MISSING

    def storage_class(self, name: str) -> Any:
        return builders.storage_class()

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: ()


def gathered(obj: DataMoverRestore, *rivals: DataMoverRestore, known: Known = UNKNOWN, **shelf: Any) -> Any:
    return gather(obj, view=Shelf(*rivals, **shelf), known=known, now=NOW)  # type: ignore[arg-type]


def other(phase: str = Phase.PREPARING, *, created: str = "2024-08-06T14:00:00Z", **fields: Any) -> DataMoverRestore:
    return restore(
        name="other", uid=OTHER_UID, creation_timestamp=created, status=status(phase) if phase else None, **fields
    )


OWN = restore(status=status(Phase.PREPARING))
LATER = "2024-08-06T15:00:00Z"
TURNS = {
    "an older one that prepares": (other(), ("other",)),
    "a younger one that prepares": (other(created=LATER), ()),
    "a younger one whose mover runs": (other(Phase.RESTORING, created=LATER), ("other",)),
    "one that cleans up": (other(Phase.CLEANING_UP, created=LATER), ("other",)),
    "one that has not begun": (other(""), ()),
    "one that is complete": (other(Phase.COMPLETED), ()),
    "one that failed": (other(Phase.FAILED), ()),
    "an older one that is suspended": (other(suspend=True), ()),
    "one that is suspended while its mover is there": (other(Phase.RESTORING, suspend=True), ("other",)),
    "an older one that is going": (other(deletion_timestamp=LATER), ()),
    "itself": (OWN, ()),
}


@pytest.mark.parametrize("case", TURNS)
def test_who_comes_first(case: str) -> None:
    rival, expected = TURNS[case]
    assert gathered(OWN, rival).before == expected


def test_two_that_prepare_never_wait_for_each_other() -> None:
    twin = other(created=builders.CREATED)
    first, second = gathered(OWN, twin).before, gathered(twin, OWN).before
    assert sorted([first, second]) == [(), ("back",)] or sorted([first, second]) == [(), ("other",)]


def test_a_data_movers_secret_is_the_buckets() -> None:
    shelf = Shelf(mover=builders.data_mover(secret_name="of-the-mover"))
    found = gather(restore(source=FROM_MOVER), view=shelf, known=UNKNOWN, now=NOW)  # type: ignore[arg-type]
    assert shelf.asked == ["of-the-mover"]
    assert found.mover is not Unread.MISSING


def test_what_is_recorded_is_not_asked_for_again() -> None:
    shelf = Shelf()
    gather(restore(source=FROM_MOVER, status=status(Phase.RESTORING)), view=shelf, known=UNKNOWN, now=NOW)  # type: ignore[arg-type]
    assert shelf.asked == []


@pytest.mark.parametrize("made", [MOVER_UID, OTHER_UID], ids=["ours", "another's"])
def test_a_refusal_to_make_the_claim_stands_unless_we_made_it(made: str) -> None:
    refusal = Refusal("NameTaken", "it exists", target=("PersistentVolumeClaim", CLAIM))
    found = gathered(OWN, known=Known(refusal=refusal), target=claim(made_by=made))
    assert (found.run.known.refusal is None) is (made == MOVER_UID)


def test_the_recorded_names_count() -> None:
    recorded = restore(status=status(Phase.RESTORING, run=run(job_name="restore-as-it-was")))
    assert gathered(recorded).run.job is None
    assert gathered(OWN).run.job is not None
