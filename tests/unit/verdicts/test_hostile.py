"""Objects that nobody in his right mind would write: the verdict is bounded, and comes (law L11)."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from datamover.api.hypershift import HostedControlPlane
from datamover.api.outside import INT64
from datamover.api.velero.backup import Backup
from datamover.api.velero.uploads import DataUpload, DataUploadSpec, PodVolumeBackup, UploadProgress
from datamover.verdicts.readings import amounts
from datamover.verdicts.validate import validate_data_mover
from datamover.verdicts.verdict import SHOWN_LIMIT, ClusterSnapshot, State, Unread, Verdict
from kubekit.words.core import ObjectReference, PersistentVolumeClaim, Pod, PodCondition, PodStatus
from kubekit.words.meta import ObjectMeta, OwnerReference
from kubekit.words.snapshot import VolumeSnapshot, VolumeSnapshotContent
from support.control_planes import (
    BEGAN,
    FIFTEEN,
    HOSTED,
    VELERO,
    at,
    backup,
    cluster,
    content,
    hcp,
    judge,
    pod_volume_backup,
    snapshot,
    upload,
)

LONG = "x\x1b[31m\u202e" * 125_000  # 1 MB


def shown(found: Verdict) -> int:
    """Return the characters of all that a verdict shows."""
    texts = [found.error, found.description, found.platform, *found.warnings, *found.log]
    texts += [
        text for wait in found.waits for text in (wait.name, wait.claim, wait.phase, wait.sentence, wait.node, wait.pod)
    ]
    texts += [text for row in found.rows for text in (row.name, row.claim, row.phase, row.sentence, row.node, row.pod)]
    for text in texts:
        assert "\x1b" not in text
        assert "\u202e" not in text
    return sum(map(len, texts))


def test_ten_thousand_uploads_are_counted_and_a_part_is_shown() -> None:
    objects = [
        upload(f"claim-{index}", "InProgress" if index % 2 else "Completed", done=1, total=2) for index in range(10_000)
    ]
    found = judge(*objects)
    assert (found.state, found.completed, found.total) == (State.WAITING, 5_000, 10_000)
    assert (len(found.waits), len(found.rows)) == (SHOWN_LIMIT, SHOWN_LIMIT)
    assert not any(row.finished for row in found.rows)
    assert found.description.endswith(f"; and {SHOWN_LIMIT - 1} more")


def test_ten_thousand_snapshots_and_pods() -> None:
    snapshots = [snapshot(f"claim-{index}", ready=False) for index in range(10_000)]
    contents = [content(f"claim-{index}") for index in range(10_000)]
    pods = tuple(Pod(metadata=ObjectMeta(name=f"p-{index}", namespace=VELERO)) for index in range(10_000))
    found = judge(*snapshots, *contents, of=backup("InProgress"), pods=pods)
    assert found.state is State.WAITING
    assert len(found.waits) == SHOWN_LIMIT


def test_texts_of_a_megabyte_are_cut_and_cleaned_wherever_they_stand() -> None:
    long = backup(name=LONG, uid="u")
    pod = Pod(
        metadata=ObjectMeta(name=LONG, namespace=VELERO),
        status=PodStatus(conditions=(PodCondition(type="PodScheduled", status="False", reason=LONG, message=LONG),)),
    )
    for phase in ("InProgress", "Failed", LONG):
        found = judge(
            upload(LONG, phase, of=long, name=LONG, snapshot=LONG, message=LONG, node=LONG, accepted_by_node=LONG),
            snapshot("y", ready=False, error=LONG, of=long),
            content("y", ready=False, error=LONG),
            of=long,
            pods=(pod,),
            unread=(Unread("Pod", LONG), Unread(LONG, LONG)),
            now=at(100),
        )
        assert found.state is State.FAILED
        assert shown(found) < 20_000
        assert len(found.description) <= 1_024
    assert shown(judge(plane=hcp(LONG))) < 1_000
    assert shown(judge(of=backup("Failed", status={"failure_reason": LONG}))) < 3_000
    assert shown(judge(of=backup("FailedValidation", status={"validation_errors": (LONG,) * 100}))) < 3_000
    assert shown(judge(of=backup(LONG))) < 3_000


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "soon",
        "0000-00-00T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2026-01-01T12:30:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "-1",
        LONG,
    ],
)
def test_moments_that_are_none_or_are_to_come_are_none(stamp: str) -> None:
    strange = {"accepted_timestamp": stamp, "start_timestamp": stamp, "completion_timestamp": stamp}
    meta = {"creation_timestamp": stamp}
    made = upload(phase="InProgress", **strange)
    made = DataUpload(
        metadata=ObjectMeta(name="u", namespace=VELERO, labels=made.metadata.labels, **meta),
        spec=made.spec,
        status=made.status,
    )
    found = judge(made)
    assert found.state is State.WAITING
    assert found.waits[0].deadline == at(15)  # counted from the backup's beginning
    assert found.waits[0].since == BEGAN
    assert judge(made, now=at(15)).timed_out


def test_nothing_is_given_up_where_no_moment_is_known() -> None:
    nowhen = Backup(
        metadata=ObjectMeta(name="b", namespace=VELERO, uid="u"), spec=backup().spec, status=backup().status
    )
    nowhen = msgspec.structs.replace(nowhen, status=msgspec.structs.replace(nowhen.status, start_timestamp=None))
    timeless = upload(phase="InProgress", of=nowhen)
    timeless = msgspec.structs.replace(
        timeless, metadata=msgspec.structs.replace(timeless.metadata, creation_timestamp=None)
    )
    found = judge(timeless, of=nowhen, now=at(10**6))
    assert (found.state, found.waits[0].deadline, found.waits[0].since) == (State.WAITING, None, None)


def test_a_clock_a_little_ahead_is_now() -> None:
    found = judge(upload(phase="InProgress", created=at(4)), now=at(2))
    assert found.waits[0].since == at(2)


AMOUNTS = [
    ((None, None), (0, 0)),
    ((5, 10), (5, 10)),
    ((-5, -10), (0, 0)),
    ((10, 5), (10, 10)),
    ((5, 0), (5, 5)),
    ((2**70, 2**80), (INT64, INT64)),
    ((1e300, float("inf")), (INT64, INT64)),
    ((float("nan"), float("-inf")), (0, 0)),
    ((1.5, 2.5), (1, 2)),
]


@pytest.mark.parametrize(("told", "read"), AMOUNTS)
def test_amounts_make_sense_whatever_is_told(told: Any, read: tuple[int, int]) -> None:
    done, total = amounts(UploadProgress(bytes_done=told[0], total_bytes=told[1]), done=False)
    if told[1] == float("inf"):
        read = (INT64, INT64)
    assert (done, total) == read
    assert amounts(UploadProgress(bytes_done=told[0], total_bytes=told[1]), done=True) == (total, total)


def test_the_sum_of_amounts_fits_64_bits() -> None:
    found = judge(*(upload(f"c-{index}", "InProgress", done=INT64, total=INT64) for index in range(3)))
    assert (found.bytes_done, found.bytes_total) == (INT64, INT64)


def test_references_in_a_circle_or_to_others_are_followed_one_step() -> None:
    one, two = snapshot("one"), snapshot("two")
    crossed = (
        content("one", refers=ObjectReference(namespace=HOSTED, name="velero-two-x")),
        content("two", refers=ObjectReference(namespace=HOSTED, name="velero-one-x")),
    )
    found = judge(one, two, *crossed, of=backup(move=False))
    assert (found.state, found.completed) == (State.WAITING, 0)
    other = ObjectReference(namespace=HOSTED, name="velero-one-x", uid="another")
    assert judge(one, content("one", refers=other), of=backup(move=False)).state is State.WAITING


def test_an_upload_that_says_two_things_of_its_backup_is_that_of_the_uid() -> None:
    foreign = {"velero.io/backup-name": "test-backup", "velero.io/backup-uid": "another"}
    assert judge(upload(labels=foreign)).state is State.NOTHING_TO_MOVE
    own = {"velero.io/backup-name": "another", "velero.io/backup-uid": backup().metadata.uid}
    assert judge(upload(labels=own)).state is State.MOVED


def test_an_owner_makes_no_upload_ours() -> None:
    made = upload(labels={})
    owner = OwnerReference(kind="Backup", name="test-backup", uid=backup().metadata.uid)
    owned = msgspec.structs.replace(made, metadata=msgspec.structs.replace(made.metadata, owner_references=(owner,)))
    assert judge(owned).state is State.NOTHING_TO_MOVE


EMPTY: tuple[Any, ...] = (
    DataUpload(),
    PodVolumeBackup(),
    VolumeSnapshot(),
    VolumeSnapshotContent(),
    PersistentVolumeClaim(),
)


def test_objects_that_say_nothing_are_nobodys() -> None:
    seen = ClusterSnapshot(
        snapshots=(VolumeSnapshot(),),
        contents=(VolumeSnapshotContent(),),
        data_uploads=(DataUpload(), DataUpload(spec=DataUploadSpec())),
        pod_volume_backups=(PodVolumeBackup(),),
        claims=(PersistentVolumeClaim(),),
        pods=(Pod(),),
    )
    assert judge() == validate_data_mover(hcp=hcp(), backup=backup(), seen=seen, configuration=FIFTEEN, now=at(2))
    bare = HostedControlPlane(metadata=ObjectMeta(namespace=HOSTED), spec=hcp().spec)
    assert (
        validate_data_mover(hcp=bare, backup=Backup(), seen=cluster(*EMPTY), configuration=FIFTEEN, now=at(2)).state
        is State.WAITING
    )


def test_an_object_that_is_listed_twice_is_one() -> None:
    found = judge(upload(done=1, total=1), upload(done=1, total=1))
    assert (found.total, found.bytes_total) == (1, 1)


@pytest.mark.parametrize(
    "objects", [(upload(phase="Failed"),), (upload(),), (snapshot(),), (pod_volume_backup(phase="New"),)]
)
def test_a_verdict_is_a_value(objects: Any) -> None:
    found = judge(*objects)
    assert found == replace(found)
    assert hash(found)


SIGNED = (
    "Put https://AKIA:hunter2@s3.example/b?X-Amz-Signature=0badc0ffee&partNumber=1: Authorization: Bearer topsecret"
)
QUOTED: dict[str, tuple[Any, ...]] = {
    "an upload": (upload(phase="Failed", message=SIGNED),),
    "an upload that goes on": (upload(phase="InProgress", message=SIGNED),),
    "a copy of a Pod's volume": (pod_volume_backup(phase="Failed", message=SIGNED),),
    "a snapshot": (snapshot(ready=False, error=SIGNED), content(ready=False, error=SIGNED)),
}


@pytest.mark.parametrize("kind", QUOTED)
@pytest.mark.parametrize("minutes", [2, 300])
def test_what_looks_like_a_secret_in_words_of_others_is_not_repeated(kind: str, minutes: float) -> None:
    """Errors of a store quote the request, signature included; what a verdict says stands in an event that many may read (law L8)."""
    found = judge(*QUOTED[kind], of=backup(fs=kind == "a copy of a Pod's volume"), now=at(minutes))
    texts = str(found)
    assert "s3.example" in texts, "the words themselves are quoted"
    for secret in ("hunter2", "0badc0ffee", "topsecret"):
        assert secret not in texts


def test_a_backup_that_broke_off_repeats_no_secret() -> None:
    found = judge(of=backup("Failed", status={"failure_reason": SIGNED}))
    assert "s3.example" in found.error
    assert "0badc0ffee" not in str(found)
