"""What is told of a copy that nobody takes up while the cluster says nothing: in VolSync's words, once, and not when a driver has said why."""

import pytest

from support.theatre import Theatre

SNAPSHOT, CLAIM = "VolumeSnapshotNotBound", "PersistentVolumeClaimNotBound"
TOLD = {"Snapshot": (SNAPSHOT, 30, "VolumeSnapshot"), "Clone": (CLAIM, 120, "PersistentVolumeClaim")}


def wait(it: Theatre, until: float) -> list[float]:
    """Let time pass, and look whenever the operator wants to; return the moments of warnings."""
    begun, warned = it.now, list[float]()
    while (it.now - begun).total_seconds() < until:
        before = len(it.events)
        wake = it.act().wake_after
        if any(each.type == "Warning" for each in it.events[before:]):
            warned.append((it.now - begun).total_seconds())
        assert wake is not None, "nobody else would tell"
        it.later(wake)
    return warned


@pytest.mark.parametrize("copy", TOLD)
def test_it_is_told_once_when_its_time_is_over(copy: str) -> None:
    reason, limit, kind = TOLD[copy]
    it = Theatre.source(copy=copy)
    [moment] = wait(it, 900)
    assert limit <= moment < limit + 1
    [told] = [each for each in it.events if each.reason == reason]
    assert told.type == "Warning"
    assert told.related is not None
    assert (told.related.resource.kind, told.related.metadata.name) == (kind, "volsync-db-src")
    assert "kubectl -n golden describe" in told.message
    assert it.condition("Ready") == ("False", reason, told.message)
    assert it.condition()[:2] == ("True", "SyncInProgress")
    it.restart()
    assert not wait(it, 300), "a restart is no reason to say it again"
    it.finish()
    assert it.synced
    assert it.condition("Stalled")[0] == "False"


def test_a_claim_that_is_copied_in_silence_is_no_stall_and_a_snapshot_that_nobody_takes_up_is_one() -> None:
    for copy, stalled in (("Clone", "False"), ("Snapshot", "True")):
        it = Theatre.source(copy=copy)
        wait(it, 200)
        assert it.condition("Stalled")[0] == stalled


@pytest.mark.parametrize("copy", TOLD)
def test_what_the_driver_has_said_is_enough(copy: str) -> None:
    it = Theatre.source(copy=copy)
    it.complaints["volsync-db-src"] = "ProvisioningFailed: no room"
    assert len(wait(it, 200)) == 1
    assert it.condition("Ready")[1] == "CloneProvisioningFailed"
    it.complaints.clear()
    assert not wait(it, 300), "events are forgotten after an hour; what they said stands"
    assert it.condition("Ready")[1] == "CloneProvisioningFailed"


def test_a_snapshot_that_has_content_is_in_work_and_may_take_its_time() -> None:
    it = Theatre.source(copy="Snapshot")
    it.act()
    it.ready("volsync-db-src", readyToUse=False)
    assert not wait(it, 900)


def test_the_image_of_a_destination_is_watched_in_the_same_way() -> None:
    it = Theatre.destination().start()
    it.succeed()
    assert len(wait(it, 120)) == 1
    assert it.said()[-1] == ("Warning", SNAPSHOT)
