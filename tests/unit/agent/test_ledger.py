"""The ledger: what may be deleted, and nothing else (law L3)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datamover.agent.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(str(tmp_path / "ledger"))
    yield opened
    opened.close()


def sized(*keys: str) -> list[tuple[bytes, int]]:
    return [(key.encode(), len(key)) for key in keys]


def keys(*names: str) -> list[bytes]:
    return [name.encode() for name in names]


some_keys = st.sets(st.text("ab/", min_size=1, max_size=4).filter(lambda key: not key.startswith("/")), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    source=some_keys,
    known=some_keys,
    remote=some_keys,
    unknown=some_keys,
    protected=st.sets(st.sampled_from(["a", "b", "ab"])),
)
def test_nothing_unknown_present_in_the_source_or_protected_is_ever_deleted(
    source: set[str], known: set[str], remote: set[str], unknown: set[str], protected: set[str]
) -> None:
    ledger = Ledger(":memory:")
    try:
        ledger.add_source(sized(*source))
        ledger.add_known(keys(*known))
        ledger.forget_known(keys(*unknown))
        ledger.add_remote(sized(*remote))
        ledger.protect(keys(*protected))
        stale = {key.decode() for key in ledger.stale()}
        assert stale <= (known - unknown) & remote - source
        assert not any(key.startswith(f"{folder}/") for key in stale for folder in protected)
        assert stale == {
            key
            for key in (known - unknown) & remote - source
            if not any(key.startswith(f"{folder}/") for folder in protected)
        }
        assert ledger.stale_count() == len(stale)
        assert {key.decode() for key in ledger.blockers()} <= stale
        foreign = {key.decode() for key in ledger.foreign(limit=100)}
        assert foreign == remote - (known - unknown)
        assert ledger.foreign_count() == len(foreign)
    finally:
        ledger.close()


def test_a_filtered_file_of_the_source_is_neither_moved_nor_deleted(ledger: Ledger) -> None:
    ledger.add_source(sized("a", "b.tmp"))
    ledger.add_known(keys("a", "b.tmp", "c.tmp", "d"))
    ledger.add_remote(sized("a", "b.tmp", "c.tmp", "d"))
    ledger.select(sized("a"))
    ledger.see_only(sized("a", "d"))
    assert ledger.sources() == (1, 1)
    assert list(ledger.excluded()) == keys("b.tmp")
    assert list(ledger.stale()) == keys("d")
    assert list(ledger.kept()) == keys("b.tmp", "c.tmp")


def test_what_the_engine_selects_beyond_the_walk_is_moved_and_not_stale(ledger: Ledger) -> None:
    ledger.add_source(sized("a"))
    ledger.add_known(keys("linked/file"))
    ledger.add_remote(sized("linked/file"))
    ledger.select(sized("a", "linked/file"))
    assert list(ledger.selected_unwalked()) == sized("linked/file")
    assert list(ledger.stale()) == []


def test_two_paths_for_one_object_are_found(ledger: Ledger) -> None:
    ledger.add_source(sized("x.rclonelink", "y", "x.rclonelink"))
    assert ledger.collisions(limit=5) == keys("x.rclonelink")


@pytest.mark.parametrize(
    ("source", "stale", "blockers"),
    [
        (["x/inner"], ["x"], ["x"]),
        (["y"], ["y/z", "y/deep/z"], ["y/deep/z", "y/z"]),
        (["x-other", "x0"], ["x"], []),
        (["a/b"], ["a/c"], []),
        (["a/b/c"], ["a"], ["a"]),
    ],
)
def test_only_what_stands_in_the_way_is_deleted_first(
    ledger: Ledger, source: list[str], stale: list[str], blockers: list[str]
) -> None:
    ledger.add_source(sized(*source))
    ledger.add_known(keys(*stale))
    ledger.add_remote(sized(*stale))
    assert ledger.blockers() == keys(*blockers)


def test_objects_of_an_unfinished_live_run_are_ours_only_where_the_source_has_them(ledger: Ledger) -> None:
    ledger.add_source([(b"same", 4), (b"other-size", 9)])
    ledger.add_remote([(b"same", 4), (b"other-size", 1), (b"gone", 4)])
    assert ledger.foreign(limit=9) == keys("gone", "other-size", "same")
    assert ledger.foreign(limit=9, beyond_intent=True) == keys("gone", "other-size")
    assert list(ledger.stale()) == []


def test_adoption_knows_everything_that_was_there(ledger: Ledger) -> None:
    ledger.add_source(sized("a"))
    ledger.add_remote(sized("a", "old", "2024-08-06-143052/theirs"))
    ledger.adopt()
    ledger.protect(keys("2024-08-06-143052"))
    assert ledger.foreign_count() == 0
    assert list(ledger.stale()) == keys("old")
    assert list(ledger.kept()) == keys("2024-08-06-143052/theirs")
    assert ledger.mirrored_count() == 2


def test_what_did_not_arrive_is_told_with_both_sizes(ledger: Ledger) -> None:
    ledger.add_source([(b"fine", 1), (b"missing", 2), (b"short", 3)])
    ledger.add_after([(b"fine", 1), (b"short", 1), (b"more", 9)])
    assert list(ledger.amiss()) == [(b"missing", 2, None), (b"short", 3, 1)]


def test_files_without_a_checksum_are_only_suspected_when_large_and_of_equal_size(ledger: Ledger) -> None:
    ledger.add_source([(b"large", 10), (b"changed", 11), (b"small", 2)])
    ledger.add_remote([(b"large", 10), (b"changed", 12), (b"small", 2)])
    assert ledger.rehash_candidates(at_least=10)
    assert not ledger.rehash_candidates(at_least=11)
    assert ledger.rehash_candidates(at_least=0)


def test_names_that_are_not_text_are_kept_apart(ledger: Ledger) -> None:
    ledger.add_source([(b"bad\xff", 1), (b"bad\xfe", 1), (b"\xc3\x28ok", 1)])
    assert ledger.sources() == (3, 3)
    assert ledger.spelled("\ufffd(ok") == b"\xc3\x28ok"
    assert ledger.spelled("bad\ufffd") is None
