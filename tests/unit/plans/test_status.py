"""A status as it is written: under which version, and with what another version of the operator has written into it."""

import msgspec
import pytest
from msgspec.structs import replace

from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover, DataMoverStatus
from datamover.plans.status import to_manifest
from kubekit.client.codec import decode_object
from support import builders

FUTURE = {"verdict": {"score": 3}, "lanes": [1, 2]}


def stored(**status) -> DataMover:
    """A DataMover as it is read from a server."""
    told = msgspec.to_builtins(builders.status(Phase.CREATING_POD))
    tree = msgspec.to_builtins(builders.data_mover()) | {"status": {**told, **status}}
    return decode_object(msgspec.json.encode(tree), DataMover)


def written(mover: DataMover, status: DataMoverStatus) -> dict:
    return to_manifest(DATA_MOVERS, mover, status)["status"]


def test_what_is_written_carries_the_version_that_the_decision_was_made_on_and_no_spec() -> None:
    manifest = to_manifest(DATA_MOVERS, builders.data_mover(), builders.status(Phase.CREATING_POD))
    assert manifest["metadata"] == {
        "name": "nightly",
        "namespace": "default",
        "uid": builders.MOVER_UID,
        "resourceVersion": "1",
    }
    assert "spec" not in manifest
    assert manifest["status"]["run"]["jobName"] == builders.JOB
    assert manifest["status"]["conditions"][0]["lastTransitionTime"] == builders.CREATED


def test_nothing_is_kept_of_a_status_that_is_known_whole() -> None:
    assert stored().unknown is None
    assert stored(run={"id": "r", "timestamp": "t", "attempts": 0, "progress": None}).unknown is None


def test_unknown_fields_go_back_as_they_were_wherever_they_are() -> None:
    run = {**msgspec.to_builtins(builders.run()), "eta": "5s"}
    ready = {"type": "Ready", "status": "False", "reason": "R", "severity": "high"}
    foreign = {"type": "Audited", "status": "True", "reason": "A", "by": "somebody"}
    mover = stored(future=FUTURE, run=run, conditions=[ready, foreign])
    assert mover.status.run == builders.run()
    told = replace(mover.status, message="news", run=replace(mover.status.run, attempts=2))
    status = written(mover, told)
    assert status["future"] == FUTURE
    assert (status["run"]["eta"], status["run"]["attempts"]) == ("5s", 2)
    assert [(each["type"], each.get("severity"), each.get("by")) for each in status["conditions"]] == [
        ("Ready", "high", None),
        ("Audited", None, "somebody"),
    ]
    assert status["message"] == "news"


def test_what_an_unknown_field_belonged_to_takes_it_along() -> None:
    mover = stored(run={"id": "r", "timestamp": "t", "eta": "5s"}, conditions=[{"type": "X", "status": "True", "y": 1}])
    status = written(mover, DataMoverStatus(phase="Failed", conditions=builders.status("Failed").conditions))
    assert "run" not in status
    assert all("y" not in condition for condition in status["conditions"])


def test_another_run_does_not_inherit_what_was_said_of_the_one_before() -> None:
    mover = stored(run={"id": "r", "timestamp": "t", "eta": "5s", "id2": 1}, future=1)
    run = mover.status.run
    assert written(mover, replace(mover.status, run=replace(run, attempts=1)))["run"]["eta"] == "5s"
    status = written(mover, replace(mover.status, run=replace(run, id="another")))
    assert status["run"] == {"id": "another", "timestamp": "t"}
    assert status["future"] == 1


def test_a_known_field_that_is_no_longer_told_is_gone_although_others_are_unknown() -> None:
    mover = stored(future=1, message="old")
    assert "message" not in written(mover, replace(mover.status, message=None))


@pytest.mark.parametrize("conditions", [[], None, [{"type": "X", "status": "True"}]])
def test_lists_of_any_length_are_met(conditions) -> None:
    mover = stored(future=1, conditions=conditions)
    assert written(mover, mover.status)["future"] == 1


def test_an_object_that_is_not_as_its_struct_says_is_named_by_its_path() -> None:
    with pytest.raises(Exception, match=r"\$\.status\.phase"):
        stored(phase=7)
