"""A DataVolume that has succeeded: it is written once, and goes on saying how its claim is."""

from typing import Any

import pytest

from datamover.api.cdi import names
from datamover.reconcilers.datavolume.ask import Kind
from datamover.reconcilers.datavolume.filling import Preparation
from datamover.runs.facts import Unread
from support.disks import Disks, Operator, settle


def filled() -> tuple[Disks, Operator]:
    server = Disks()
    operator = Operator(server)
    server.make()
    settle(server, operator)
    assert server.status()["phase"] == "Succeeded"
    return server, operator


def test_that_it_has_succeeded_is_written_once() -> None:
    _, operator = filled()
    assert [each["phase"] for each in operator.statuses].count("Succeeded") == 1


def test_a_filled_claim_that_has_lost_its_volume_is_told_once_as_failed() -> None:
    server, operator = filled()
    claim = server.claim()
    assert claim is not None
    claim["status"] = {"phase": "Lost"}
    server.touch(claim)
    written = len(operator.statuses)
    for _ in range(4):
        operator.sync()
        operator.work()
    assert [each["phase"] for each in operator.statuses[written:]] == ["Failed"]
    assert server.condition("Ready")["reason"] == "ClaimLost"


class Unwatched(Operator):
    """What the configuration says is watched for nobody who has succeeded."""

    def named(self, resource: Any, namespace: str, name: str) -> Any:
        return Unread.NOT_SYNCED if resource.kind == "CDIConfig" else super().named(resource, namespace, name)


def test_a_claim_that_was_replaced_by_somebody_elses_is_not_ready_any_more() -> None:
    server, _ = filled()
    del server.objects["PersistentVolumeClaim", "disk"]
    server.put("PersistentVolumeClaim", "disk", spec={"storageClassName": "fast"}, status={"phase": "Pending"})
    operator = Unwatched(server)
    for _ in range(3):
        operator.sync()
        operator.work()
    assert (server.status()["phase"], server.condition("Ready")["status"]) == ("Pending", "False")
    assert server.condition("Ready")["reason"] == "ClaimExists"


@pytest.mark.parametrize("reason", ["SourceInUse"])
def test_a_claim_is_marked_also_when_its_source_has_to_be_waited_for_again(reason: str) -> None:
    server, operator = filled()
    claim, volume = server.claim(), server.get("DataVolume", "disk")
    assert claim is not None
    assert volume is not None
    del claim["metadata"]["annotations"][names.POPULATED]  # its volume says it still
    volume["status"] = {"phase": "ImportInProgress"}
    server.touch(claim)
    server.touch(volume)
    operator.fillers = {Kind.BLANK: lambda ask, facts: Preparation(names.Phase.PENDING, reason, "it is in use")}  # type: ignore[assignment, return-value]
    settle(server, operator)
    claim = server.claim()
    assert claim is not None
    assert claim["metadata"]["annotations"][names.POPULATED] == volume["metadata"]["uid"]
    assert server.status()["phase"] == "Succeeded"
