"""From the caches to the facts."""

import pytest

from datamover.api.names import Phase
from datamover.plans.known import UNKNOWN, Known, Refusal
from support import builders
from support.builders import CLONE, NOW, gather
from support.cached import cached


def gathered(mover, *objects, known=UNKNOWN):
    return gather(mover, view=cached(mover, *objects), known=known, now=NOW)


def test_before_the_run_the_documented_name_is_looked_for() -> None:
    facts = gathered(builders.data_mover())
    assert facts.clone_name == CLONE
    assert (facts.clone, facts.job, facts.snapshot, facts.pods) == (None, None, None, ())
    assert facts.source_class is facts.clone_class
    assert facts.source_class.metadata.name == builders.storage_class().metadata.name


def test_a_name_that_an_object_of_somebody_else_holds_is_not_taken() -> None:
    facts = gathered(builders.data_mover(), builders.clone(builders.OTHER_UID))
    assert facts.clone_name == f"{CLONE}-5f0c1"
    assert facts.clone is None


def test_our_own_clone_from_before_a_crash_is_found_under_its_name() -> None:
    facts = gathered(builders.data_mover(), builders.clone())
    assert facts.clone.metadata.uid == builders.clone().metadata.uid


def test_a_recorded_name_is_final() -> None:
    mover = builders.data_mover(status=builders.status(Phase.CREATING_CLONE, restored_pvc_name="restored-elsewhere"))
    facts = gathered(mover, builders.clone(builders.OTHER_UID, name="restored-elsewhere"))
    assert facts.clone_name == "restored-elsewhere"
    assert facts.clone is not None, "whoever owns it: deciding needs to know"


def test_the_source_of_a_run_is_the_recorded_one() -> None:
    mover = builders.data_mover(source_pvc="renamed", status=builders.status(Phase.CREATING_CLONE))
    facts = gathered(mover, builders.persistent_volume_claim(name="renamed"))
    assert facts.source.metadata.name == "app-data"


@pytest.mark.parametrize(("recorded", "wanted"), [("Snapshot", "Clone"), ("Clone", "Snapshot")])
def test_the_copy_method_of_a_run_is_the_recorded_one(recorded: str, wanted: str) -> None:
    status = builders.status(Phase.CREATING_CLONE, run=builders.run(copy_method=recorded))
    facts = gathered(builders.data_mover(copy_method=wanted, status=status))
    assert (facts.snapshot_classes is not None) is (recorded == "Snapshot")


def test_direct_has_no_clone() -> None:
    facts = gathered(builders.data_mover(copy_method="Direct"))
    assert (facts.clone_name, facts.clone) == (None, None)


def test_pods_of_the_job_and_strays_are_told_apart() -> None:
    status = builders.status(Phase.CREATING_POD)
    job = builders.job()
    late = builders.pod(builders.job(uid="uid-of-a-job-that-is-gone"), name="before")
    facts = gathered(builders.data_mover(status=status), job, builders.pod(job, name="now"), late)
    assert [pod.metadata.name for pod in facts.pods] == ["now"]
    assert [pod.metadata.name for pod in facts.strays] == ["before"]


def test_the_class_of_a_clone_is_the_one_that_the_spec_names() -> None:
    facts = gathered(builders.data_mover(storage_class_name="slow"), builders.storage_class(name="slow"))
    assert facts.clone_class.metadata.name == "slow"
    assert facts.source_class.metadata.name == "fast"


CLAIM = "PersistentVolumeClaim"
REFUSALS = {
    "a create, and there is no clone": (Refusal("no", "no", target=(CLAIM, CLONE)), None, True),
    "a create, and somebody else has our name": (
        Refusal("no", "no", target=(CLAIM, CLONE)),
        builders.clone(builders.OTHER_UID),
        True,
    ),
    "a create that another replica has done": (Refusal("no", "no", target=(CLAIM, CLONE)), builders.clone(), False),
    "a delete, and the clone is there": (
        Refusal("no", "no", target=(CLAIM, CLONE), verb="delete"),
        builders.clone(),
        True,
    ),
    "a delete that another replica has done": (
        Refusal("no", "no", target=(CLAIM, CLONE), verb="delete"),
        builders.clone(deletion_timestamp=builders.CREATED),
        False,
    ),
    "a delete of what is gone": (Refusal("no", "no", target=(CLAIM, CLONE), verb="delete"), None, False),
    "a patch of another claim, of which the run knows nothing": (
        Refusal("no", "no", target=(CLAIM, "cache"), verb="patch"),
        builders.clone(),
        True,
    ),
    "a delete of a kind that the run does not follow": (
        Refusal("no", "no", target=("Service", CLONE), verb="delete"),
        None,
        True,
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_stands_until_what_was_refused_is_done(case: str) -> None:
    refusal, clone, stands = REFUSALS[case]
    mover = builders.data_mover(status=builders.status(Phase.CREATING_CLONE))
    there = () if clone is None else (clone,)
    assert (gathered(mover, *there, known=Known(refusal=refusal)).refusal == refusal) is stands
