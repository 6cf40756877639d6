"""Who owns a claim after its DataVolume, and what is written on it. The numbers are those of the table of cases in the docs."""

import json

import pytest
from msgspec.structs import replace

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import (
    DataVolume,
    DataVolumeCondition,
    DataVolumeSpec,
    DataVolumeStatus,
    HTTPSource,
    Source,
    SourceReference,
)
from datamover.volumes.handover import (
    build_patch,
    describe_source,
    digest_source,
    is_detached,
    read_record,
    record_of,
    transfer_owners,
)
from kubekit.words.core import PersistentVolumeClaim
from kubekit.words.meta import ObjectMeta, OwnerReference

MACHINE = OwnerReference(
    api_version="kubevirt.io/v1", kind="VirtualMachine", name="vm", uid="vm", controller=True, block_owner_deletion=True
)
VOLUME = OwnerReference(
    api_version="cdi.kubevirt.io/v1beta1",
    kind="DataVolume",
    name="disk",
    uid="dv",
    controller=True,
    block_owner_deletion=True,
)
WHEN = "2026-11-30T10:00:00Z"


def other(number: int) -> OwnerReference:
    return OwnerReference(api_version="v1", kind="ConfigMap", name=f"owner-{number}", uid=f"uid-{number}")


def disk(*owners: OwnerReference, source: Source | None = None) -> DataVolume:
    ready = DataVolumeCondition(type="Ready", status="True", last_transition_time="2026-11-30T09:00:00Z")
    return DataVolume(
        metadata=ObjectMeta(name="disk", namespace="vms", uid="dv", owner_references=owners or None),
        spec=DataVolumeSpec(source=source),
        status=DataVolumeStatus(phase="Succeeded", conditions=(ready,)),
    )


def claim(*owners: OwnerReference, **annotations: str) -> PersistentVolumeClaim:
    return PersistentVolumeClaim(
        metadata=ObjectMeta(name="disk", namespace="vms", uid="pvc", owner_references=owners, annotations=annotations)
    )


def test_g1_the_owner_of_the_volume_is_the_only_owner_of_the_claim() -> None:
    assert transfer_owners([VOLUME], [other(1)], uid="dv") == (other(1),)


def test_g9_owners_of_both_stay_once_in_the_order_of_claim_then_volume() -> None:
    of_claim, of_volume = [other(1), VOLUME, other(2)], [other(3), MACHINE, other(2), other(1)]
    assert transfer_owners(of_claim, of_volume, uid="dv") == (other(1), other(2), other(3), MACHINE)


def test_g10_a_machine_takes_the_claim_over_as_it_had_the_volume() -> None:
    assert transfer_owners([VOLUME], [MACHINE], uid="dv") == (MACHINE,)


def test_n18_a_machine_of_a_kubevirt_that_creates_volumes_again_is_no_controller() -> None:
    assert transfer_owners([VOLUME], [MACHINE], uid="dv", demoted=frozenset({"vm"})) == (
        replace(MACHINE, controller=False),
    )


def test_an_owner_of_its_own_uid_is_never_taken_over() -> None:
    assert transfer_owners([VOLUME], [VOLUME], uid="dv") == ()


def test_one_patch_detaches_guards_marks_and_records() -> None:
    source = Source(http=HTTPSource(url="https://me:secret@images.example.com/disk.img?token=secret"))
    volume = disk(MACHINE, source=source)
    record = record_of(volume, collected=WHEN)
    patch = build_patch(claim(VOLUME), volume, heirs=(MACHINE,), record=record, demoted=frozenset())
    annotations = patch["metadata"]["annotations"]
    assert list(patch["metadata"]["ownerReferences"]) == [
        {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachine",
            "name": "vm",
            "uid": "vm",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    assert annotations[names.CREATED_FOR] == "dv"
    assert annotations[names.POPULATED_FOR] == "", "a key that is absent would be copied from the volume again"
    assert annotations[names.GARBAGE_COLLECTED] == "true"
    assert annotations[names.DELETE_AFTER_COMPLETION] == "true"
    assert "secret" not in str(patch)
    written = claim(MACHINE, **annotations).metadata
    record = read_record(written)
    assert record is not None
    assert (record.uid, record.name, record.source) == ("dv", "disk", "http https://images.example.com/disk.img")
    assert (record.completed, record.collected) == ("2026-11-30T09:00:00Z", WHEN)
    assert is_detached(written, uid="dv")


@pytest.mark.parametrize(
    ("owners", "annotations"),
    [
        ((VOLUME,), {names.CREATED_FOR: "dv", names.POPULATED_FOR: ""}),
        ((), {names.CREATED_FOR: "dv"}),
        ((), {names.CREATED_FOR: "dv", names.POPULATED_FOR: "disk"}),
        ((), {names.CREATED_FOR: "another", names.POPULATED_FOR: ""}),
        ((), {names.POPULATED_FOR: ""}),
        ((), {}),
    ],
)
def test_a_claim_is_not_detached_as_long_as_one_thing_is_missing(
    owners: tuple[OwnerReference, ...], annotations: dict[str, str]
) -> None:
    assert not is_detached(claim(*owners, **annotations).metadata, uid="dv")


@pytest.mark.parametrize("said", ["", "{", "[]", json.dumps({"uid": 3}), "null", "\x00"])
def test_a_record_that_cannot_be_read_is_none(said: str) -> None:
    assert read_record(claim(**{names.RECORD: said}).metadata) is None


def test_a_source_is_told_in_few_words_and_without_credentials() -> None:
    assert describe_source(None) == ""
    assert describe_source(DataVolumeSpec()) == ""
    assert describe_source(DataVolumeSpec(source=Source(blank={}))) == "blank"
    assert (
        describe_source(DataVolumeSpec(source_ref=SourceReference(kind="DataSource", name="fedora")))
        == "DataSource fedora"
    )
    assert describe_source(DataVolumeSpec(source=Source(http=HTTPSource(url="http://[broken")))) == "http "
    assert len(describe_source(DataVolumeSpec(source=Source(http=HTTPSource(url="http://a/" + "b" * 9999))))) == 512


def test_a_digest_tells_sources_apart_and_not_their_credentials() -> None:
    def digest(uid: str = "dv", *, content: str | None = None, **fields: str) -> str:
        source = HTTPSource(**{"url": "https://images.example.com/disk.img?build=1", **fields})
        return digest_source(DataVolumeSpec(source=Source(http=source), content_type=content), uid)

    same = {digest(), digest(url="https://me:secret@images.example.com/disk.img?build=1"), digest(content="kubevirt")}
    others = (
        digest(url="https://images.example.com/disk.img?build=2"),
        digest(checksum="sha256:aa"),
        digest(content="archive"),
        digest("another"),
    )
    assert len(same) == 1
    assert len({*same, *others}) == 1 + len(others)
    assert digest_source(None, "dv") == ""


def test_a_record_of_before_has_no_digest_and_can_be_read() -> None:
    record = read_record(claim(**{names.RECORD: '{"uid":"dv","name":"disk","source":"blank"}'}).metadata)
    assert record is not None
    assert record.digest == ""
