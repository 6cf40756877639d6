"""What a listing of the records says."""

from datamover.agent.records import State, place_name, read_state

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


def test_runs_that_began_meanwhile_are_told() -> None:
    before = state(".datamover/runs/old/manifest.jsonl.gz", f".datamover/runs/old/{place_name(1)}")
    after = state(
        *(f".datamover/runs/{run}/manifest.jsonl.gz" for run in ("old", "mine", "theirs", "timestamped")),
        f".datamover/runs/old/{place_name(1)}",
        f".datamover/runs/mine/{place_name(2)}",
        f".datamover/runs/theirs/{place_name(2)}",
    )
    assert after.begun_since(before, besides="mine") == ("theirs",)


def test_claimed_folders_are_known() -> None:
    assert state(".datamover/claims/2024-08-06-143052/run-1.json").claimed == {"2024-08-06-143052"}
