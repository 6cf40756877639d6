"""A claim of the DataVolume's name is there already: it is taken over, or left alone; it is never written into."""

import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from datamover.api.cdi import names
from datamover.plans.steps import Create, Delete, Patch
from datamover.volumes.handover import digest_source, record_of
from support.disks import Disks, Operator, settle

THEIRS = "somebody's"


def opened() -> tuple[Disks, Operator]:
    server = Disks()
    return server, Operator(server)


def there(
    server: Disks, *, bound: bool = True, owner: dict[str, Any] | None = None, **annotations: str
) -> dict[str, Any]:
    """A claim of the name, with somebody's data when it is bound."""
    metadata: dict[str, Any] = {"annotations": {key: value for key, value in annotations.items() if value}}
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "storageClassName": "slow"}
    claim = server.put("PersistentVolumeClaim", "disk", metadata=metadata, spec=spec, status={"phase": "Pending"})
    if bound:
        reference = {"namespace": "apps", "name": "disk", "uid": claim["metadata"]["uid"]}
        server.put("PersistentVolume", "pv-old", spec={"claimRef": reference}, status={"phase": "Bound"})
        server.storage["pv-old"] = THEIRS
        spec["volumeName"], claim["status"] = "pv-old", {"phase": "Bound"}
    else:
        spec["dataSourceRef"] = {"apiGroup": "example.com", "kind": "Widget", "name": "x"}
    return claim


def work(server: Disks, operator: Operator) -> list[Any]:
    steps: list[Any] = []
    for _ in range(6):
        operator.sync()
        steps += operator.work()
    return steps


def untouched(server: Disks, steps: list[Any]) -> None:
    assert server.storage.get("pv-old", THEIRS) == THEIRS
    assert not [step for step in steps if isinstance(step, Create | Delete)]


@pytest.mark.parametrize(
    "source",
    [{"http": {"url": "http://images.example/x"}}, {"upload": {}}, {"pvc": {"name": "missing"}}, {"blank": {}}],
)
def test_g13_a_claim_that_was_populated_for_it_is_taken_over_as_it_is(source: dict[str, Any]) -> None:
    server, operator = opened()
    there(server, **{names.POPULATED_FOR: "disk"})
    volume = server.make(source=source)
    steps = work(server, operator)
    status, claim = server.status(), server.claim()
    assert claim is not None
    assert (status["phase"], status["progress"]) == ("Succeeded", "N/A")
    assert volume["metadata"]["annotations"][names.PRE_POPULATED] == "disk"
    assert [each["uid"] for each in claim["metadata"]["ownerReferences"]] == [volume["metadata"]["uid"]]
    untouched(server, steps)


@pytest.mark.parametrize("bound", [True, False])
@pytest.mark.parametrize("by", ["annotation", "gate"])
def test_g14_a_claim_is_adopted_where_that_is_allowed(bound: bool, by: str) -> None:
    server, operator = opened()
    there(server, bound=bound)
    if by == "gate":
        server.put("CDIConfig", "config", spec={"featureGates": [names.CLAIM_ADOPTION_GATE]})
    volume = server.make(annotations={names.ALLOW_ADOPTION: "true"} if by == "annotation" else {})
    steps = work(server, operator)
    status, claim = server.status(), server.claim()
    assert claim is not None
    assert (status["phase"], status["progress"]) == ("Succeeded", "N/A")
    assert claim["metadata"]["ownerReferences"][0]["uid"] == volume["metadata"]["uid"]
    assert [server.condition(each)["status"] for each in ("Ready", "Bound", "Running")] == (
        ["True", "True", "False"] if bound else ["False", "False", "False"]
    )
    untouched(server, steps)


@pytest.mark.parametrize("gate", [True, False])
def test_g14_who_says_false_adopts_nothing_whatever_the_gate_says(gate: bool) -> None:
    server, operator = opened()
    there(server)
    if gate:
        server.put("CDIConfig", "config", spec={"featureGates": [names.CLAIM_ADOPTION_GATE]})
    server.make(annotations={names.ALLOW_ADOPTION: "false"})
    steps = work(server, operator)
    assert server.status()["phase"] == "Pending"
    assert server.condition("Ready")["reason"] == "ClaimExists"
    assert not [step for step in steps if isinstance(step, Patch)]
    untouched(server, steps)


def test_g14_a_claim_that_was_made_for_it_and_taken_away_is_not_adopted() -> None:
    server, operator = opened()
    volume = server.make(annotations={names.ALLOW_ADOPTION: "true"})
    there(server, **{names.CREATED_FOR: volume["metadata"]["uid"], names.POPULATED_FOR: ""})
    steps = work(server, operator)
    assert server.status()["phase"] == "Pending"
    untouched(server, steps)


def test_somebody_elses_claim_is_left_as_it_is() -> None:
    server, operator = opened()
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u-9", "controller": True}
    there(server, owner=owner, **{names.POPULATED_FOR: "disk"})
    server.make(annotations={names.ALLOW_ADOPTION: "true"})
    steps = work(server, operator)
    assert server.condition("Ready")["reason"] == "ClaimOwned"
    assert "StatefulSet db" in server.condition("Ready")["message"]
    assert not [step for step in steps if isinstance(step, Patch)]
    untouched(server, steps)


def collected(server: Disks, *, uid: str = "u-before", source: str = "blank") -> dict[str, Any]:
    record = json.dumps({"uid": uid, "name": "disk", "source": source})
    return there(
        server,
        **{names.GARBAGE_COLLECTED: "true", names.CREATED_FOR: uid, names.POPULATED_FOR: "", names.RECORD: record},
    )


def test_n12_a_datavolume_whose_claim_was_collected_succeeds_again_and_moves_nothing() -> None:
    server, operator = opened()
    claim = collected(server)
    server.make()
    steps = work(server, operator)
    assert (server.status()["phase"], server.status()["progress"]) == ("Succeeded", "N/A")
    # its deletion must not take the disk along
    assert "ownerReferences" not in claim["metadata"]
    assert [type(step).__name__ for step in steps] == ["WriteStatus", "Emit"]
    untouched(server, steps)


def test_n12_another_source_does_not_count_as_what_was_collected() -> None:
    server, operator = opened()
    collected(server, source="http http://images.example/another")
    server.make()
    steps = work(server, operator)
    assert server.status()["phase"] == "Pending"
    assert server.condition("Ready")["reason"] == "ClaimExists"
    untouched(server, steps)


IMAGE = {"http": {"url": "https://images.example/disk.img?build=1", "checksum": "sha256:" + "a" * 64}}


@pytest.mark.parametrize(
    ("source", "same"),
    [
        (IMAGE, True),
        ({"http": {**IMAGE["http"], "url": "https://me:other@images.example/disk.img?build=1"}}, True),
        ({"http": {**IMAGE["http"], "url": "https://images.example/disk.img?build=2"}}, False),
        ({"http": {**IMAGE["http"], "checksum": "sha256:" + "b" * 64}}, False),
        ({"http": {"url": "https://images.example/disk.img?build=1"}}, False),
    ],
    ids=["the same", "other credentials", "another query", "another checksum", "no checksum"],
)
def test_n12_what_was_collected_is_known_by_all_that_fills_it(source: dict[str, Any], *, same: bool) -> None:
    server, operator = opened()
    server.make(source=IMAGE)
    operator.sync()
    before = operator.volume_named()
    assert before is not None
    claim = collected(server, source="http https://images.example/disk.img")
    record = replace(record_of(before, collected="2026-11-30T00:00:00Z"), uid="u-before")
    for digest, expected in ((digest_source(before.spec, "u-before"), same), ("", True)):
        said = msgspec.json.encode(replace(record, digest=digest)).decode()
        claim["metadata"]["annotations"][names.RECORD] = said
        server.touch(claim)
        server.make(source=source)
        steps = work(server, operator)
        assert (server.status()["phase"] == "Succeeded") is expected
        untouched(server, steps)


def test_a_datavolume_that_is_being_collected_is_left_to_who_collects_it() -> None:
    server, operator = opened()
    volume = server.make()
    collected(server, uid=volume["metadata"]["uid"])
    assert work(server, operator) == []


@pytest.mark.parametrize("kind", ["gcs", "registry", "imageio", "vddk"])
def test_what_nobody_can_import_waits_and_makes_nothing(kind: str) -> None:
    server, operator = opened()
    details = {"url": "x", "diskId": "y"}
    server.make(source={kind: details})
    settle(server, operator)
    assert (server.status()["phase"], server.condition("Ready")["reason"]) == ("Pending", "UnsupportedSource")
    assert server.condition("Ready")["status"] == "False"
    assert server.claim() is None


def test_a_claim_whose_marks_are_gone_is_not_written_into() -> None:
    server, operator = opened()
    server.make()
    settle(server, operator, worker=False)
    claim = server.claim()
    assert claim is not None
    del claim["metadata"]["annotations"][names.CREATED_FOR]
    server.touch(claim)
    work(server, operator)
    assert server.condition("Ready")["reason"] == "ClaimNotOursToWrite"


def test_a_restored_datavolume_waits_for_the_claim_that_it_says_is_full() -> None:
    server, operator = opened()
    server.make(annotations={names.PRE_POPULATED: "disk"})
    settle(server, operator)
    assert server.condition("Ready")["reason"] == "ClaimMissing"
    assert server.claim() is None
