"""What a listing of the records says."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.agent.environment import Owner, is_timestamp
from datamover.agent.errors import Failure
from datamover.agent.rclone.records import (
    ClaimRecord,
    OwnerRecord,
    State,
    held_folder,
    place_name,
    read_holder,
    read_owner,
    read_state,
    recorded_at,
)
from datamover.api import transfer

RUN = b".datamover/runs/%s/%s"


def state(*keys: str) -> State:
    return read_state(key.encode() for key in keys)


def test_records_are_told_from_data() -> None:
    found = State()
    assert found.take(b".datamover/owner.json")
    assert found.take(b".datamover/anything/else")
    assert not found.take(b"a.txt")
    assert not found.take(b".datamover-not/ours")
    assert not found.take(b"dir/.datamover/owner.json")
    assert found.owned
    assert found.nested == ["dir"]


def test_a_run_has_begun_when_manifest_and_place_are_there() -> None:
    half = state(".datamover/runs/a/manifest.jsonl.gz", ".datamover/runs/b/mirror-000000007")
    assert half.latest == 0
    assert half.latest_runs() == []
    whole = state(".datamover/runs/a/manifest.jsonl.gz", f".datamover/runs/a/{place_name(7)}")
    assert whole.latest == 7
    assert whole.latest_runs() == ["a"]
    assert not whole.runs["a"].finished


def test_the_latest_place_counts_not_the_order_of_names() -> None:
    found = state(
        *(f".datamover/runs/{run}/manifest.jsonl.gz" for run in "abc"),
        f".datamover/runs/a/{place_name(10)}",
        f".datamover/runs/b/{place_name(9)}",
        f".datamover/runs/c/{place_name(2)}",
        ".datamover/runs/c/outcome.json",
    )
    assert found.latest_runs() == ["a"]
    assert found.runs["c"].finished
    assert found.last_finished() == "c"


def test_the_last_run_that_ended_is_told_whatever_has_begun_since() -> None:
    keys = [
        f".datamover/runs/{run}/{name}"
        for run, place, ended in (("a", 1, True), ("b", 2, True), ("c", 3, False))
        for name in ("manifest.jsonl.gz", place_name(place), *(("outcome.json",) if ended else ()))
    ]
    assert state(*keys).last_finished() == "b"


def test_runs_that_began_meanwhile_are_told() -> None:
    before = state(".datamover/runs/old/manifest.jsonl.gz", f".datamover/runs/old/{place_name(1)}")
    after = state(
        *(f".datamover/runs/{run}/manifest.jsonl.gz" for run in ("old", "mine", "theirs", "timestamped")),
        f".datamover/runs/old/{place_name(1)}",
        f".datamover/runs/mine/{place_name(2)}",
        f".datamover/runs/theirs/{place_name(2)}",
    )
    assert before.rivals(2, besides="mine") == ()
    assert after.rivals(2, besides="mine") == ("theirs",)
    assert after.rivals(3, besides="mine") == ()
    assert after.latest_runs() == ["mine", "theirs"]
    assert after.runs_before() == ["old"]
    assert before.runs_before() == []


@pytest.mark.parametrize(
    ("keys", "unexplained"),
    [
        (["a/manifest.jsonl.gz", "a/mirror-000000001", "a/outcome.json"], ()),
        (["a/mirror-000000001", "a/outcome.json"], ("a",)),
        (["a/manifest.jsonl.gz", "a/outcome.json"], ("a",)),
        (["a/manifest.jsonl.gz", "a/folder.json", "a/outcome.json"], ()),
        (["a/outcome.json"], ()),
        (["a/folder.json", "a/outcome.json"], ()),
        (["b/manifest.jsonl.gz", "b/mirror-000000005", "a/mirror-000000004"], ()),
        (["b/manifest.jsonl.gz", "b/mirror-000000005", "a/mirror-000000005"], ("a",)),
        (["b/manifest.jsonl.gz", "b/mirror-000000005", "a/mirror-000000006"], ("a",)),
        (["mine/manifest.jsonl.gz", "mine/outcome.json"], ()),
    ],
)
def test_runs_that_may_have_been_the_last_and_that_no_manifest_explains_are_told(
    keys: list[str], unexplained: tuple[str, ...]
) -> None:
    assert state(*(f".datamover/runs/{key}" for key in keys)).unexplained(besides="mine") == unexplained


@pytest.mark.parametrize(
    ("run_id", "moment"),
    [
        ("20240806143052-8f14e45fceea", "2024-08-06-143052"),
        ("2024-08-06-143052-a1b2c3", "2024-08-06-143052"),
        ("run-1", ""),
        ("20241306143052-8f14e45fceea", ""),
        ("20240806143052", ""),
        ("120240806143052-x", ""),
    ],
)
def test_the_second_of_a_run_is_read_from_its_id(run_id: str, moment: str) -> None:
    assert recorded_at(run_id) == moment


def test_only_begun_runs_of_the_mirror_from_a_place_on_have_a_moment() -> None:
    early, late, stamped = (f"2024080{day}143052-x" for day in (5, 6, 7))
    found = state(
        *(f".datamover/runs/{run}/manifest.jsonl.gz" for run in (early, late, stamped, "by-hand")),
        f".datamover/runs/{early}/{place_name(1)}",
        f".datamover/runs/{late}/{place_name(2)}",
        f".datamover/runs/by-hand/{place_name(3)}",
    )
    assert sorted(found.recorded(besides="mine")) == [("2024-08-05-143052", early), ("2024-08-06-143052", late)]
    assert found.recorded(besides="mine", above=1) == [("2024-08-06-143052", late)]
    assert found.recorded(besides=late, above=1) == []


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ((), ()),
        (("older/mirror-000000001", "older/manifest.jsonl.gz"), ("older",)),
        (("older/mirror-000000001", "older/manifest.jsonl.gz", "older/stopped"), ()),
        (("older/mirror-000000001", "older/manifest.jsonl.gz", "older/outcome.json"), ()),
        (("older/mirror-000000001",), ()),
        (("later/mirror-000000003", "later/manifest.jsonl.gz"), ()),
        (("mine/mirror-000000002", "mine/manifest.jsonl.gz"), ()),
    ],
    ids=["nobody", "killed or at work", "said so", "finished", "not begun", "later", "itself"],
)
def test_who_may_still_move_files_is_who_began_before_and_has_not_ended(
    keys: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    state = read_state(f".datamover/runs/{key}".encode() for key in keys)
    assert state.unended(3, besides="mine") == expected


def test_a_run_that_finished_since_proves_that_an_earlier_one_is_over() -> None:
    names = ["killed/mirror-000000001", "killed/manifest.jsonl.gz"]
    names += ["next/mirror-000000002", "next/manifest.jsonl.gz", "next/outcome.json"]
    state = read_state(f".datamover/runs/{name}".encode() for name in names)
    assert state.unended(3, besides="mine") == ()


def test_claimed_folders_are_known() -> None:
    assert state(".datamover/claims/2024-08-06-143052/run-1.json").claimed == {"2024-08-06-143052"}


OURS = Owner(cluster="c", namespace="production", pvc="app-data")
PLACE = "s3generic:backups/.datamover/x.json"
HOLDER = ClaimRecord(run_id="run-1", timestamp="2024-08-06-143052", source=OURS)

DAMAGE = {
    "nothing": b"",
    "cut off": b"{",
    "no JSON": b"<html>",
    "not UTF-8": b'{"runId":"\xff","createdBy":"\xff"}',
    "a list": b"[]",
    "depth": b'{"pvc":' + b"[" * 100_000,
    "depth within the limit of its size": b'{"x":' + b"[" * 30_000,
    "a number that no field holds": b'{"version":1e26,"runId":7}',
    "a number of digits without an end": b'{"version":' + b"9" * 5_000 + b',"timestamp":7}',
    "megabytes": b'{"pvc":"' + b"x" * (1 << 20) + b'","runId":"run-1"}',
    "null": b"null",
    "a wrong type": b'{"runId":1,"timestamp":[],"source":"x","cluster":{},"pvc":7}',
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_record_is_a_guards_refusal_by_the_objects_name(case: str) -> None:
    with pytest.raises(Failure) as owner:
        read_owner(DAMAGE[case], place=PLACE)
    with pytest.raises(Failure) as holder:
        read_holder(DAMAGE[case], place=PLACE, run_id="run-1", source=OURS)
    assert owner.value.reason == transfer.REASON_DESTINATION_NOT_OWNED
    assert holder.value.reason == transfer.REASON_RECORD_UNUSABLE
    for failed in (owner.value, holder.value):
        assert failed.failure_class == transfer.GUARD
        assert PLACE in failed.message
        assert not failed.retryable


@pytest.mark.parametrize(
    "place", ["mirror-²", "mirror-٣", "mirror-", "mirror--1", "mirror-1_0", "mirror-" + "9" * 5_000]
)
def test_a_name_that_only_looks_like_a_place_is_none(place: str) -> None:
    found = state(".datamover/runs/a/manifest.jsonl.gz", f".datamover/runs/a/{place}")
    assert found.latest == 0
    assert not found.runs["a"].begun


@given(st.text(min_size=1))
def test_whatever_a_listing_says_is_read(text: str) -> None:
    keys = [f".datamover/{text}", f".datamover/runs/{text}", f".datamover/runs/a/{text}", f".datamover/claims/{text}/a"]
    found = read_state(key.encode("utf-8", "replace") for key in keys)
    assert found.latest >= 0
    assert all(is_timestamp(folder) for folder in found.claimed)


@pytest.mark.parametrize("run_id", ["..", ".", "-a", "a b", "x" * 129, "\x1b[2J", "é"])
def test_what_cannot_be_the_name_of_a_run_is_no_run(run_id: str) -> None:
    found = state(f".datamover/runs/{run_id}/manifest.jsonl.gz", f".datamover/runs/{run_id}/{place_name(9)}")
    assert found.runs == {}
    assert found.latest == 0


def test_a_folder_that_is_no_timestamp_is_claimed_by_nobody() -> None:
    assert state(".datamover/claims/data/x.json").claimed == set()


def test_a_marker_of_a_later_version_is_not_guessed_at() -> None:
    raw = msgspec.json.encode(OwnerRecord(version=2, pvc="app-data"))
    with pytest.raises(Failure, match="unknown whose mirror"):
        read_owner(raw, place=PLACE)
    assert read_owner(msgspec.json.encode(OwnerRecord(pvc="app-data")), place=PLACE).owner.pvc == "app-data"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"timestamp": ""}, "no timestamp"),
        ({"timestamp": "."}, "no timestamp"),
        ({"timestamp": "../other"}, "no timestamp"),
        ({"timestamp": "2024-08-06-143052/../.."}, "no timestamp"),
        ({"timestamp": "2024-13-06-143052"}, "no timestamp"),
        ({"timestamp": "2024-08-06-143052\n"}, "no timestamp"),
        ({"timestamp": "\u0662\u0660\u0662\u0664-08-06-143052"}, "no timestamp"),
        ({"run_id": "run-2"}, "of the run 'run-2'"),
        ({"source": Owner(namespace="staging", pvc="other")}, "of the volume staging/other"),
    ],
)
def test_a_folder_record_that_contradicts_its_run_is_refused(changes: dict[str, object], word: str) -> None:
    raw = msgspec.json.encode(msgspec.structs.replace(HOLDER, **changes))
    with pytest.raises(Failure) as failed:
        read_holder(raw, place=PLACE, run_id="run-1", source=OURS)
    assert failed.value.failure_class == transfer.GUARD
    for each in (PLACE, word, "Nothing was moved", "delete that object"):
        assert each in failed.value.message


def test_the_folder_record_of_this_run_is_taken() -> None:
    assert read_holder(msgspec.json.encode(HOLDER), place=PLACE, run_id="run-1", source=OURS) == HOLDER


def run_names(run_id: str, *names: str) -> list[str]:
    return [f".datamover/runs/{run_id}/{name}" for name in names]


def test_runs_of_a_mirror_that_have_lost_manifest_or_place_are_named_the_youngest_first() -> None:
    found = state(
        *run_names("20240804000000-whole", "manifest.jsonl.gz", place_name(2)),
        *run_names("20240805000000-no-place", "manifest.jsonl.gz"),
        *run_names("20240806000000-no-manifest", place_name(3)),
        *run_names("20240807000000-outcome-only", "outcome.json"),
        *run_names("20240803000000-before", place_name(1)),  # the whole one's manifest tells of it
        *run_names("20240808000000-stamped", "manifest.jsonl.gz", "folder.json"),
        *run_names("20240809000000-claimed", "manifest.jsonl.gz"),
        ".datamover/claims/2024-08-09-000000/20240809000000-claimed.json",
        *run_names("mine", "manifest.jsonl.gz"),
    )
    named = [run_id.partition("-")[2] for run_id in found.maimed(besides="mine")]
    assert named == ["outcome-only", "no-manifest", "no-place"]


def test_holders_are_timestamped_runs_without_their_claims() -> None:
    claims = [".datamover/claims/2024-08-06-143052/a.json"]
    found = state(
        *run_names("a", "folder.json"), *run_names("b", "folder.json"), *run_names("c", "outcome.json"), *claims
    )
    assert found.holders == ["b"]


@pytest.mark.parametrize("timestamp", ["2024-08-06-143052", "", "2024-13-06-143052", "a/b"])
def test_a_held_folder_is_a_timestamp_or_none(timestamp: str) -> None:
    raw = msgspec.json.encode(ClaimRecord(run_id="a", timestamp=timestamp, source=Owner()))
    assert held_folder(raw) == (timestamp if is_timestamp(timestamp) else "")
    assert held_folder(raw[:-1]) == ""
