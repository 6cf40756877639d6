"""From records to points."""

import gzip

import msgspec
import pytest

from datamover.agent.environment import Owner
from datamover.agent.files import manifest
from datamover.agent.points import catalogue
from datamover.agent.points.catalogue import Point, Reading, Seen, build
from datamover.agent.rclone import records
from datamover.api import outside, transfer
from datamover.api.outside import Unusable

OWNER = Owner(cluster="c", namespace="production", pvc="app-data")
FIRST, SECOND, THIRD = "20240801143052-a", "20240802143052-b", "20240803143052-c"
STAMP = "2024-08-01-143052"


def seen(*keys: str) -> Seen:
    found = Seen()
    for key in keys:
        found.take(f".datamover/{key}".encode(), 100)
    return found


def mirror(run_id: str, place: int, *more: str) -> list[str]:
    names = ("manifest.jsonl.gz", f"mirror-{place:09d}", *more)
    return [f"runs/{run_id}/{name}" for name in names]


def copy(run_id: str, folder: str, *more: str) -> list[str]:
    names = ("manifest.jsonl.gz", "folder.json", *more)
    return [*(f"runs/{run_id}/{name}" for name in names), f"claims/{folder}/{run_id}.json"]


def points(found: Seen, **read: Reading) -> dict[str, Point]:
    return {point.run_id: point for point in build(found.runs, seen=found, read=read)}


def states(found: Seen, **read: Reading) -> dict[str, str]:
    return {run_id: point.state for run_id, point in points(found, **read).items()}


def good(run_id: str, folder: str | None = None) -> Reading:
    outcome = transfer.Outcome(run_id=run_id, succeeded=True, timestamp=folder, files=3, bytes=30)
    header = manifest.Header(run_id=run_id, source=OWNER, copied_at=STAMP)
    holder = records.ClaimRecord(run_id=run_id, timestamp=folder, source=OWNER) if folder else None
    return Reading(outcome=outcome, header=header, holder=holder)


def test_of_a_mirror_only_the_last_complete_run_is_a_point() -> None:
    found = seen(*mirror(FIRST, 1, "outcome.json"), *mirror(SECOND, 2, "outcome.json"))
    assert states(found) == {FIRST: catalogue.SUPERSEDED, SECOND: catalogue.COMPLETE}
    assert SECOND in points(found)[FIRST].why


@pytest.mark.parametrize("stopped", [[], ["stopped"]], ids=["going on", "failed"])
def test_a_mirror_in_which_a_later_run_began_is_disturbed(stopped: list[str]) -> None:
    found = seen(*mirror(FIRST, 1, "outcome.json"), *mirror(SECOND, 2, *stopped))
    assert states(found) == {FIRST: catalogue.DISTURBED, SECOND: catalogue.INCOMPLETE}
    assert SECOND in points(found)[FIRST].why


def test_a_later_run_that_has_lost_its_manifest_disturbs_as_well() -> None:
    found = seen(*mirror(FIRST, 1, "outcome.json"), f"runs/{SECOND}/mirror-000000002")
    assert states(found)[FIRST] == catalogue.DISTURBED


def test_an_earlier_run_that_did_not_end_disturbs_nothing() -> None:
    found = seen(*mirror(FIRST, 1), *mirror(SECOND, 2, "outcome.json"))
    assert states(found) == {FIRST: catalogue.INCOMPLETE, SECOND: catalogue.COMPLETE}


def test_two_complete_runs_at_one_place_contradict_each_other() -> None:
    found = seen(*mirror(FIRST, 1, "outcome.json"), *mirror(SECOND, 1, "outcome.json"))
    assert states(found) == {FIRST: catalogue.DAMAGED, SECOND: catalogue.DISTURBED}


def test_each_timestamped_copy_is_a_point_of_its_own() -> None:
    found = seen(
        *copy(FIRST, STAMP, "outcome.json"), *copy(SECOND, "2024-08-02-143052"), *mirror(THIRD, 1, "outcome.json")
    )
    assert states(found) == {
        FIRST: catalogue.COMPLETE,
        SECOND: catalogue.INCOMPLETE,
        THIRD: catalogue.COMPLETE,
    }
    point = points(found, **{FIRST: good(FIRST, STAMP)})[FIRST]
    assert (point.folder, point.moment, point.volume, point.files) == (STAMP, STAMP, "production/app-data", 3)


def changed(reading: Reading, part: str, **changes) -> Reading:
    return msgspec.structs.replace(reading, **{part: msgspec.structs.replace(getattr(reading, part), **changes)})


DAMAGED = {
    "outcome of another run": (
        changed(good(FIRST, STAMP), "outcome", run_id="other"),
        "outcome.json is of the run 'other'",
    ),
    "manifest of another run": (
        changed(good(FIRST, STAMP), "header", run_id="other"),
        "manifest.jsonl.gz is of the run 'other'",
    ),
    "folder of another run": (
        changed(good(FIRST, STAMP), "holder", run_id="other"),
        "folder.json is of the run 'other'",
    ),
    "failed": (changed(good(FIRST, STAMP), "outcome", succeeded=False), "says that it failed"),
    "another folder": (changed(good(FIRST, STAMP), "outcome", timestamp="2024-08-09-000000"), "names the folder"),
    "another volume": (changed(good(FIRST, STAMP), "holder", source=Owner(pvc="theirs")), "is of 'theirs'"),
    "words that move the cursor": (changed(good(FIRST, STAMP), "outcome", run_id="\x1b[2J\u202e"), "is of the run"),
    "unreadable": (Reading(flaw="its outcome.json cannot be used: it is empty"), "it is empty"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_records_that_contradict_each_other_are_damage_that_is_named(case: str) -> None:
    reading, why = DAMAGED[case]
    point = points(seen(*copy(FIRST, STAMP, "outcome.json")), **{FIRST: reading})[FIRST]
    assert point.state == catalogue.DAMAGED
    assert why in point.why
    assert point.why.isprintable()
    assert not point.restorable


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ([f"runs/{FIRST}/mirror-000000001", f"runs/{FIRST}/outcome.json"], "manifest.jsonl.gz is missing"),
        ([f"runs/{FIRST}/manifest.jsonl.gz", f"runs/{FIRST}/outcome.json"], "neither its place"),
        ([*mirror(FIRST, 1, "outcome.json", "folder.json")], "a place in a mirror's history and a folder.json"),
    ],
)
def test_records_that_are_missing_are_damage_that_is_named(keys: list[str], why: str) -> None:
    point = points(seen(*keys))[FIRST]
    assert point.state == catalogue.DAMAGED
    assert why in point.why


def test_two_runs_that_name_one_folder_are_both_damaged() -> None:
    found = seen(*copy(FIRST, STAMP, "outcome.json"), *copy(SECOND, STAMP, "outcome.json"))
    read = {FIRST: good(FIRST, STAMP), SECOND: good(SECOND, STAMP)}
    assert set(states(found, **read).values()) == {catalogue.DAMAGED}


def test_what_a_later_version_wrote_is_a_newer_format() -> None:
    reading = Reading()
    catalogue.take_outcome(b'{"datamover":"outcome","version":2,"runId":"x"}', into=reading)
    assert states(seen(*copy(FIRST, STAMP, "outcome.json")), **{FIRST: reading}) == {FIRST: catalogue.NEWER_FORMAT}
    header = msgspec.json.encode(manifest.Header(version=2, run_id=FIRST)) + b"\n"
    reading = Reading()
    catalogue.take_header(gzip.compress(header), into=reading)
    assert reading.newer
    assert "version 2" in reading.flaw


def test_the_first_line_is_read_from_the_first_bytes_of_a_manifest() -> None:
    lines = b"".join(b'{"type":"file","path":"%d"}\n' % number for number in range(100_000))
    packed = gzip.compress(msgspec.json.encode(manifest.Header(run_id=FIRST, source=OWNER)) + b"\n" + lines)
    reading = Reading()
    catalogue.take_header(packed[:4096], into=reading)
    assert reading.header is not None
    assert reading.header.source == OWNER
    for damaged in (b"", b"<html>", packed[:10], packed[:20]):
        reading = Reading()
        catalogue.take_header(damaged, into=reading)
        assert "manifest.jsonl.gz cannot be used" in reading.flaw


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"<html>", b'{"datamover":"outcome","files":-1}', b"\xff", b"x" * (1 << 17)]
)
def test_an_outcome_that_is_none_is_a_flaw(raw: bytes) -> None:
    reading = Reading()
    catalogue.take_outcome(raw, into=reading)
    assert reading.outcome is None
    assert "outcome.json cannot be used" in reading.flaw


def test_more_runs_than_there_can_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "RUNS_LIMIT", 10)
    with pytest.raises(Unusable):
        seen(*(f"runs/run-{number}/outcome.json" for number in range(11)))
    with pytest.raises(Unusable):
        seen(*(f"claims/{STAMP}/run-{number}.json" for number in range(11)))


def test_a_record_that_is_too_long_is_known_from_the_listing() -> None:
    found = Seen()
    found.take(f".datamover/runs/{FIRST}/outcome.json".encode(), outside.RECORD_LIMIT + 1)
    assert found.oversized == {(FIRST, "outcome.json")}


def test_names_that_are_no_records_of_ours_are_passed_over() -> None:
    found = seen(
        "runs/../outcome.json", "runs/\x1b[2J/outcome.json", "runs/x/y/outcome.json", "claims/never/x.json", "odd"
    )
    assert dict(found.runs) == {}
    assert found.objects == 5
