"""The Job around any engine's Pod."""

from datamover.api import names, transfer
from datamover.api.ownership import Owner
from datamover.movers.defaults import NONE, MoverDefaults
from datamover.movers.job import build_job
from datamover.movers.outcomes import describe_end, is_running, read_outcome
from kubekit.words.meta import ObjectMeta, PartialObject, Resource
from support.builders import outcome, pod

THINGS = Resource("example.org", "v1", "things", "Thing", PartialObject)
OWNER = Owner(THINGS, ObjectMeta(name="a", namespace="ns", uid="uid-a"), {names.CREATED_BY_LABEL: "volsync"})


def job(defaults: MoverDefaults = NONE, **fields):
    return build_job(OWNER, name="j", container="restic", pod={"restartPolicy": "Never"}, defaults=defaults, **fields)


def test_a_job_of_another_kind_is_that_kinds_and_judged_by_its_own_container() -> None:
    made = job(deadline_seconds=5)
    (reference,) = made["metadata"]["ownerReferences"]
    assert (reference["apiVersion"], reference["kind"], reference["uid"]) == ("example.org/v1", "Thing", "uid-a")
    assert made["metadata"]["labels"] == {
        names.CREATED_BY_LABEL: "volsync",
        names.COMPONENT_LABEL: names.COMPONENT_MOVER,
    }
    assert made["spec"]["template"]["spec"] == {"restartPolicy": "Never"}
    assert made["spec"]["activeDeadlineSeconds"] == 5
    rule = made["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]
    assert rule["containerName"] == "restic"
    assert rule["values"] == sorted(transfer.TERMINAL_EXIT_CODES)


def test_labels_of_the_operator_never_take_the_place_of_the_owners() -> None:
    made = job(MoverDefaults(labels={"team": "storage", names.CREATED_BY_LABEL: "somebody"}))
    for metadata in (made["metadata"], made["spec"]["template"]["metadata"]):
        assert metadata["labels"]["team"] == "storage"
        assert metadata["labels"][names.CREATED_BY_LABEL] == "volsync"


def test_outcomes_are_read_from_the_container_that_moves_the_data() -> None:
    ended = pod(phase="Succeeded", container="restic", outcome=outcome())
    assert read_outcome(ended, "restic") == outcome()
    assert read_outcome(ended, "rclone") is None
    assert "left an outcome" not in describe_end(ended, "rclone")
    assert is_running(pod(container="restic"), "restic")
    assert not is_running(pod(container="restic"), "rclone")
