"""Options of users, and which snapshot they mean."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.agent.restic.choices import choose_snapshot, read_moment, read_policy, read_restore_options
from datamover.agent.restic.messages import Snapshot

POLICIES = {
    "--keep-last 1": "--keep-last 1",
    " --keep-daily 3": "--keep-daily 3 --keep-last 1",
    " --keep-hourly 1 --keep-within 3d12h --keep-last 5": "--keep-hourly 1 --keep-within 3d12h --keep-last 5",
    "--keep-daily=7": "--keep-daily 7 --keep-last 1",
    "--keep-within-daily 7d": "--keep-within-daily 7d --keep-last 1",
    "--keep-last unlimited": "--keep-last unlimited",
    "--keep-last -1": "--keep-last -1",
    "": "--keep-last 1",
    "--keep-last 0": "--keep-last 1",
    "--keep-last 00": "--keep-last 1",
    "--keep-daily 0 --keep-last 0": "--keep-daily 0 --keep-last 1",
}


@pytest.mark.parametrize("text", POLICIES)
def test_a_policy_always_keeps_the_last_snapshot(text: str) -> None:
    assert " ".join(read_policy(text)) == POLICIES[text]


@pytest.mark.parametrize(
    "text",
    [
        "--prune",
        "--keep-last 1 --host other",
        "--keep-last '1 --prune'",
        "--keep-last",
        "--keep-last x",
        "--keep-tag a",
        "--unsafe-allow-remove-all",
        "--keep-last 1; rm",
        "'",
        "0123abcd",
    ],
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"it has|has the value"):
        read_policy(text)


@given(st.text())
def test_no_text_gives_restic_a_flag_of_its_own(text: str) -> None:
    try:
        flags = read_policy(text)
    except ValueError:
        return
    assert all(flag.startswith("--keep-") for flag in flags[::2])
    assert not any(value.startswith("--") for value in flags[1::2])


def test_restore_options_are_those_of_the_operator() -> None:
    assert read_restore_options("") == ()
    assert read_restore_options(" --delete --delete ") == ("--delete",)
    for text in ("--target /", "--delete --force", "-d", "--deleted"):
        with pytest.raises(ValueError, match="enableFileDeletion"):
            read_restore_options(text)


def snapshot(name: str, time: str, host: str = "volsync") -> Snapshot:
    return Snapshot(id=name, time=time, hostname=host)


SNAPSHOTS = (
    snapshot("b", "2026-11-02T10:00:00.5Z"),
    snapshot("a", "2026-11-01T10:00:00.123456789Z"),
    snapshot("c", "2026-11-03T12:00:00+02:00"),
    snapshot("theirs", "2026-11-09T10:00:00Z", "laptop"),
    snapshot("undated", "yesterday"),
)


@pytest.mark.parametrize(
    ("as_of", "previous", "expected"),
    [
        (None, 0, "c"),
        (None, 1, "b"),
        (None, 2, "a"),
        (None, 3, None),
        ("2026-11-03T10:00:00Z", 0, "c"),
        ("2026-11-03T09:59:59Z", 0, "b"),
        ("2026-11-02T10:00:00Z", 0, "b"),  # half a second later, but moments count in whole seconds
        ("2026-11-02T10:00:00Z", 1, "a"),
        ("2026-10-31T00:00:00Z", 0, None),
    ],
)
def test_the_newest_snapshot_up_to_a_moment_is_taken_or_one_before_it(
    as_of: str | None, previous: int, expected: str | None
) -> None:
    chosen = choose_snapshot(SNAPSHOTS, as_of=read_moment(as_of) if as_of else None, previous=previous)
    assert (chosen and chosen.id) == expected


def test_of_two_snapshots_of_one_second_the_later_one_is_newer() -> None:
    pair = (snapshot("later", "2026-11-02T10:00:00.9Z"), snapshot("earlier", "2026-11-02T10:00:00.1Z"))
    for each in (pair, pair[::-1]):
        assert choose_snapshot(each, as_of=None, previous=0) == pair[0]


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-02-30T00:00:00Z", ""])
def test_a_moment_that_there_is_not_is_none(text: str) -> None:
    assert read_moment(text) is None


def test_a_moment_may_be_written_in_small_letters() -> None:
    assert read_moment("2026-11-02t10:00:00.9z") == datetime(2026, 11, 2, 10, tzinfo=UTC)


def test_a_moment_without_a_zone_is_none() -> None:
    assert read_moment("2026-11-02T10:00:00") is None
    assert read_moment("2026-11-02T12:00:00.9+02:00") == datetime(2026, 11, 2, 10, tzinfo=UTC)
