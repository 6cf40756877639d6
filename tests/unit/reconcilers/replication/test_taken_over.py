"""Objects that VolSync's operator has left in the middle of something: they go on from there, and nothing is done twice."""

from typing import Any

import pytest

from support.theatre import METHODS, Theatre

OURS = "datamover.a-cup-of.coffee/"


def left_by_volsync(it: Theatre) -> Theatre:
    """Take away all that is ours: labels, annotations, conditions, and what the operator knows."""
    for found in it.objects.values():
        for field in ("labels", "annotations"):
            marks = found["metadata"].get(field) or {}
            found["metadata"][field] = {key: value for key, value in marks.items() if not key.startswith(OURS)}
    conditions = [each for each in it.status["conditions"] if each["type"] == "Synchronizing"]
    it.manifest["status"] = {**it.status, "conditions": conditions}
    it.restart()
    it.created.clear()
    it.events.clear()
    return it


@pytest.mark.parametrize("copy", ["Direct", "Clone", "Snapshot"])
@pytest.mark.parametrize("method", METHODS)
def test_a_mover_that_runs_is_followed_to_its_end(method: str, copy: str) -> None:
    it = left_by_volsync(Theatre.source(method, copy).start())
    job, begun = it.job["metadata"]["uid"], it.status["lastSyncStartTime"]
    it.later(30)
    it.act()
    assert (it.job["metadata"]["uid"], it.status["lastSyncStartTime"]) == (job, begun)
    it.pods = []
    it.job["status"] = {"succeeded": 1}
    it.act()
    assert it.created == []
    assert it.synced
    assert it.status["lastManualSync"] == "t1"
    assert not it.there("Job")
    assert not [each for each in it.events if each.type == "Warning"]


def test_one_that_waits_for_a_copy_trigger_waits_on_and_asks_for_none_twice() -> None:
    it = Theatre.source(claim={"use_copy_trigger": ""})
    it.act()
    left_by_volsync(it)
    waiting = it.annotations("data")
    it.later(30)
    it.act()
    assert it.annotations("data") == waiting
    it.annotate("PersistentVolumeClaim", "data", copy_trigger="go1")
    it.finish()
    assert it.annotations("data")["latest-copy-trigger"] == "go1"
    assert it.synced


@pytest.mark.parametrize("kind", ["source", "destination"])
def test_what_was_done_is_not_done_again_and_what_was_said_stays(kind: str) -> None:
    it: Theatre = getattr(Theatre, kind)().finish()
    more: dict[str, Any] = {"latestMoverStatus": {"result": "Successful", "logs": "snapshot 1a2b3c saved"}}
    if kind == "source":
        more["restic"] = {"lastPruned": "2026-11-28T03:00:00Z", "lastUnlocked": "once"}
    it.manifest["status"] = {**it.status, **more}
    left_by_volsync(it)
    kept = {key: value for key, value in it.status.items() if key != "conditions"}
    it.later(3600)
    it.act()
    assert it.created == []
    assert {key: value for key, value in it.status.items() if key != "conditions"} == kept
    assert it.condition()[1] == "WaitingForManual"


@pytest.mark.parametrize("method", ["rsync", "rsyncTLS"])
def test_keys_service_and_address_stay_what_the_other_side_knows(method: str) -> None:
    it = Theatre.destination(method)
    it.secrets["volsync-rsync-dst-main-back"] = ("source", "source.pub", "destination", "destination.pub")
    left_by_volsync(it.start())
    said = it.status[method]
    it.later(30)
    it.act()
    assert it.created == []
    assert it.status[method] == said
