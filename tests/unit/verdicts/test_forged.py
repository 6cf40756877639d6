"""What somebody who may write in the namespace of a control plane can make of a verdict, and what clocks can: nothing that is not so."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from datamover.api.hypershift import RHCOS_LABEL
from datamover.verdicts.verdict import Kind, State, Unread
from kubekit.words.snapshot import VolumeSnapshot
from support.control_planes import BEGAN, at, backup, claim, content, held, judge, snapshot, three, upload


def labelled(found: VolumeSnapshot, name: str, **labels: str) -> VolumeSnapshot:
    """Return a snapshot under another name, with more labels."""
    meta = found.metadata
    return replace(found, metadata=replace(meta, name=name, uid=name, labels={**(meta.labels or {}), **labels}))


@pytest.mark.parametrize("phase", ["InProgress", "Failed"])
def test_a_snapshot_that_calls_a_claim_an_image_hides_no_upload_of_it(phase: str) -> None:
    forged = labelled(snapshot("data-etcd-0", ready=False), "mine", **{RHCOS_LABEL: "true"})
    honest = judge(upload("data-etcd-0", phase), upload("data-etcd-1"), *three(held))
    found = judge(upload("data-etcd-0", phase), upload("data-etcd-1"), *three(held), forged)
    assert (found.state, found.completed, found.total) == (honest.state, 1, 2)


def test_where_claims_cannot_be_read_only_what_is_said_of_all_snapshots_of_a_claim_counts() -> None:
    forged = labelled(snapshot("data-etcd-0"), "mine", **{RHCOS_LABEL: "true"})
    unread = (Unread(Kind.CLAIM, "forbidden"),)
    found = judge(snapshot("data-etcd-0", ready=False), content("data-etcd-0"), forged, of=backup(move=False), unread=unread)  # fmt: skip
    assert found.state is State.WAITING


def test_what_was_there_before_the_backup_is_not_its_own_whatever_our_clock_says() -> None:
    """A backup of the same name has left it. Our clock was set back by an hour meanwhile."""
    older = snapshot("data-etcd-9", ready=False, created=BEGAN - timedelta(minutes=1))
    for minutes in (2.0, -60.0):
        found = judge(upload(), older, now=at(minutes))
        assert (found.state, found.total) == (State.MOVED, 1)


def test_what_was_made_after_the_backup_is_not_its_own_whatever_our_clock_says() -> None:
    ended = backup("Completed", status={"completion_timestamp": "2026-01-01T12:30:00Z"})
    restored = snapshot("data-etcd-9", ready=False, created=at(50))
    for minutes in (60.0, -60.0):
        found = judge(upload(), restored, of=ended, now=at(minutes))
        assert (found.state, found.total) == (State.MOVED, 1)


def test_claims_of_which_nothing_is_left_are_the_same_whatever_our_clock_says() -> None:
    broken = backup("PartiallyFailed", status={"errors": 2})
    for minutes in (2.0, -60.0, 60 * 24 * 400):
        found = judge(upload("a"), held("a"), held("b"), of=broken, now=at(minutes))
        assert (found.state, found.total) == (State.FAILED, 2)


FORGED: list[Any] = [
    snapshot("ghost", ready=False),
    snapshot("ghost", ready=True),
    snapshot("ghost", ready=False, error="no such claim", created=BEGAN),
    snapshot("ghost", status=False),
]


@pytest.mark.parametrize("forged", FORGED)
def test_a_snapshot_of_a_claim_that_there_is_not_fails_nothing_that_is_moved(forged: VolumeSnapshot) -> None:
    """It has the backup's label, and was made while the backup ran. Velero makes none without a claim."""
    found = judge(*three(upload), *three(held), forged, now=at(600))
    assert (found.state, found.completed, found.total) == (State.MOVED, 3, 3)


def test_a_claim_that_goes_during_the_backup_still_counts_by_its_upload() -> None:
    found = judge(upload("gone", "InProgress"), claim("data-etcd-0"), upload("data-etcd-0"))
    assert (found.state, found.completed, found.total) == (State.WAITING, 1, 2)
