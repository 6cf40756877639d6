"""The ledger: what may be deleted, and nothing else (law L3)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datamover.agent.files.names import is_canonical
from datamover.agent.rclone.ledger import Ledger
from datamover.agent.rclone.table import fit


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(str(tmp_path / "ledger"))
    yield opened
    opened.close()


def sized(*keys: str) -> list[tuple[bytes, int]]:
    return [(key.encode(), len(key)) for key in keys]


def timed(paths: list[tuple[bytes, int]], mtime: int = 7) -> list[tuple[bytes, int, int]]:
    return [(key, size, mtime) for key, size in paths]


def written(*names: str, mtime: int | None = None) -> list[tuple[bytes, int | None, bool]]:
    return [(name.encode(), mtime, False) for name in names]


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
        ledger.add_source(timed(sized(*source)))
        ledger.add_known(written(*known), finished=True, again=False)
        ledger.forget_known(keys(*unknown))
        ledger.add_remote(sized(*remote))
        ledger.protect(keys(*protected))
        stale = {key.decode() for key in ledger.stale()}
        assert stale <= (known - unknown) & remote - source
        assert not any(key.startswith(f"{folder}/") for key in stale for folder in protected)
        assert stale == {
            key
            for key in (known - unknown) & remote - source
            if not any(key.startswith(f"{folder}/") for folder in protected) and is_canonical(key.encode())
        }
        assert ledger.stale_count() == len(stale)
        assert {key.decode() for key in ledger.blockers()} <= stale
        foreign = {key.decode() for key in ledger.foreign(limit=100)}
        assert foreign == remote - (known - unknown)
        assert ledger.foreign_count() == len(foreign)
    finally:
        ledger.close()


def test_a_filtered_file_of_the_source_is_neither_moved_nor_deleted(ledger: Ledger) -> None:
    ledger.add_source(timed(sized("a", "b.tmp")))
    ledger.add_known(written("a", "b.tmp", "c.tmp", "d"), finished=True, again=False)
    ledger.add_remote(sized("a", "b.tmp", "c.tmp", "d"))
    ledger.select(sized("a"))
    ledger.see_only(sized("a", "d"))
    assert ledger.sources() == (1, 1)
    assert list(ledger.excluded()) == keys("b.tmp")
    assert list(ledger.stale()) == keys("d")
    assert list(ledger.kept()) == keys("b.tmp", "c.tmp")


def test_what_the_engine_selects_beyond_the_walk_is_moved_and_not_stale(ledger: Ledger) -> None:
    ledger.add_source(timed(sized("a")))
    ledger.add_known(written("linked/file"), finished=True, again=False)
    ledger.add_remote(sized("linked/file"))
    ledger.select(sized("a", "linked/file"))
    assert list(ledger.selected_unwalked()) == sized("linked/file")
    assert list(ledger.stale()) == []


def test_two_paths_for_one_object_are_found(ledger: Ledger) -> None:
    ledger.add_source(timed(sized("x.rclonelink", "y", "x.rclonelink")))
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
    ledger.add_source(timed(sized(*source)))
    ledger.add_known(written(*stale), finished=True, again=False)
    ledger.add_remote(sized(*stale))
    assert ledger.blockers() == keys(*blockers)


def test_objects_that_came_while_an_unfinished_live_run_moved_are_neither_foreign_nor_deleted(ledger: Ledger) -> None:
    ledger.add_source(timed([(b"same", 4), (b"other-size", 9)]))
    ledger.add_remote([(b"same", 4), (b"other-size", 1), (b"gone", 4)])
    assert ledger.foreign(limit=9) == keys("gone", "other-size", "same")
    ledger.tolerate()
    assert ledger.foreign(limit=9) == []
    assert ledger.foreign_count() == 0
    assert list(ledger.stale()) == []
    assert list(ledger.kept()) == []
    assert list(ledger.found()) == keys("gone")
    assert ledger.mirrored_count() == 0


def test_what_was_found_stays_so_unless_a_run_wrote_it_or_it_is_adopted(ledger: Ledger) -> None:
    ledger.add_remote(sized("found", "written", "adopted"))
    ledger.add_known([(b"written", None, False)], finished=True, again=False)
    ledger.add_found(keys("found", "written"))
    assert list(ledger.stale()) == keys("written")
    assert list(ledger.found()) == keys("found")
    ledger.adopt(as_written=False)
    assert list(ledger.stale()) == keys("adopted", "found", "written")


def test_a_doubted_path_is_known_only_when_an_older_run_confirms_it(ledger: Ledger) -> None:
    ledger.add_remote(sized("ours", "theirs"))
    ledger.add_known(written("ours", "theirs", "absent", "other"), finished=True, again=False)
    ledger.doubt(keys("ours", "theirs", "absent"))
    assert ledger.doubted_count() == 2
    ledger.confirm(keys("ours", "never-doubted"))
    ledger.end_doubt()
    assert list(ledger.stale()) == keys("ours")
    assert ledger.foreign(limit=9) == keys("theirs")


def test_what_changed_and_vanished_is_accepted_as_it_arrived_and_never_deleted_by_that_run(ledger: Ledger) -> None:
    ledger.add_source(timed([(b"grew", 1), (b"vanished", 4), (b"outlived", 9)]))
    ledger.select([(b"grew", 1), (b"vanished", 4), (b"outlived", 9), (b"behind-a-link", 2)])
    ledger.add_known(written("outlived", "behind-a-link"), finished=True, again=False)
    ledger.add_remote([(b"outlived", 3), (b"behind-a-link", 2)])
    ledger.add_after([(b"grew", 5), (b"outlived", 3), (b"behind-a-link", 2)])
    ledger.accept_after(keys("vanished", "outlived", "behind-a-link"))
    assert list(ledger.amiss()) == []
    assert ledger.sources() == (1, 5)
    assert list(ledger.stale()) == []


@pytest.mark.parametrize("first", [b"bad\xff", b"bad\xfe"])
def test_a_log_that_spells_two_names_alike_says_nothing_about_either(ledger: Ledger, first: bytes) -> None:
    ledger.add_uploaded([b"plain", "bad\ufffd".encode()])
    assert ledger.was_uploaded(b"plain")
    assert not ledger.was_uploaded(first)
    assert not ledger.was_uploaded("bad\ufffd".encode())


def test_adoption_knows_everything_that_was_there(ledger: Ledger) -> None:
    ledger.add_source(timed(sized("a")))
    ledger.add_remote(sized("a", "old", "2024-08-06-143052/theirs"))
    ledger.adopt(as_written=False)
    ledger.protect(keys("2024-08-06-143052"))
    assert ledger.foreign_count() == 0
    assert list(ledger.stale()) == keys("old")
    assert list(ledger.kept()) == keys("2024-08-06-143052/theirs")
    assert ledger.mirrored_count() == 2


def test_what_did_not_arrive_is_told_with_both_sizes(ledger: Ledger) -> None:
    ledger.add_source(timed([(b"fine", 1), (b"missing", 2), (b"short", 3)]))
    ledger.add_after([(b"fine", 1), (b"short", 1), (b"more", 9)])
    assert list(ledger.amiss()) == [(b"missing", 2, None), (b"short", 3, 1)]


def test_files_without_a_checksum_are_only_suspected_when_large_and_of_equal_size(ledger: Ledger) -> None:
    ledger.add_source(timed([(b"large", 10), (b"changed", 11), (b"small", 2)]))
    ledger.add_remote([(b"large", 10), (b"changed", 12), (b"small", 2)])
    assert ledger.rehash_candidates(at_least=10)
    assert not ledger.rehash_candidates(at_least=11)
    assert ledger.rehash_candidates(at_least=0)


def test_names_that_are_not_text_are_kept_apart(ledger: Ledger) -> None:
    ledger.add_source(timed([(b"bad\xff", 1), (b"bad\xfe", 1), (b"\xc3\x28ok", 1)]))
    assert ledger.sources() == (3, 3)
    assert ledger.spelled("\ufffd(ok") == b"\xc3\x28ok"
    assert ledger.spelled("bad\ufffd") is None


@pytest.mark.parametrize(
    ("before", "now", "lost"),
    [
        # key -> (size, checksum)
        ({"old/a": (3, "A"), "old/b": (3, "B")}, {"new/a": (3, "A"), "new/b": (3, "B")}, 0),
        ({"a": (3, "A")}, {"b": (3, "A")}, 0),
        ({"x/a": (3, "A")}, {"y/a": (3, "X")}, 1),  # the same name and size: that proves nothing
        ({"a": (3, "A")}, {"b": (4, "A")}, 1),
        ({"a": (3, "A"), "b": (3, "A")}, {"c": (3, "A")}, 1),  # one new object stands for one old one
        ({"a": (3, "A"), "keep": (3, "A")}, {"keep": (3, "A")}, 1),  # what was there before is not new
        ({f"d/{n}": (9, f"{n}") for n in range(30)}, {f"e/{n}": (9, f"other {n}") for n in range(30)}, 30),
        ({"a.rclonelink": (3, "A")}, {"d/a.rclonelink": (3, "A")}, 0),
        ({"a": (3, "")}, {"b": (3, "")}, 1),  # the store has no checksum of it
        ({}, {"a": (3, "A")}, 0),
    ],
)
def test_renamed_is_what_has_the_same_checksum_and_nothing_else(
    ledger: Ledger, before: dict[str, tuple[int, str]], now: dict[str, tuple[int, str]], lost: int
) -> None:
    ledger.add_source([(key.encode(), size, 1) for key, (size, _) in now.items()])
    ledger.add_known([(key.encode(), 1, False) for key in before], finished=True, again=False)
    ledger.add_remote([(key.encode(), size) for key, (size, _) in before.items()])

    def sums(asked: Iterator[bytes], there: dict[str, tuple[int, str]]) -> list[tuple[bytes, bytes]]:
        return [(key, there[key.decode()][1].encode()) for key in asked if there[key.decode()][1]]

    for _ in range(2):
        assert ledger.lost_count() in {lost, len(set(before) - set(now))}
        gone, fresh = ledger.alike()
        ledger.pair_renamed(sums(gone, before), sums(fresh, now))
        assert ledger.lost_count() == lost
        assert ledger.lost() == (len(list(ledger.gone())), sum(size for _, size in ledger.gone()))


def test_only_files_of_sizes_that_are_gone_are_asked_about(ledger: Ledger) -> None:
    ledger.add_source([(b"new", 3, 1), (b"large", 1 << 40, 1), (b"keep", 5, 1)])
    ledger.add_known(written("gone", "other", "keep"), finished=True, again=False)
    ledger.add_remote([(b"gone", 3), (b"other", 4), (b"keep", 5)])
    gone, fresh = ledger.alike()
    assert (list(gone), list(fresh)) == (keys("gone"), keys("new"))


@pytest.mark.parametrize(("again", "lost"), [(True, 1), (False, 2)])
def test_what_an_earlier_attempt_of_the_run_was_allowed_to_delete_is_not_asked_about_again(
    ledger: Ledger, again: bool, lost: int
) -> None:
    """Else a chain of runs that fail would lose share by share all that there is."""
    ledger.add_source([(b"new/a", 3, 1)])
    ledger.add_known([(b"new/a", 1, False), (b"old/b", 7, False), (b"old/c", 7, False)], finished=True, again=False)
    ledger.add_known([(b"new/a", 1, False), (b"old/b", None, True)], finished=False, again=again)
    ledger.add_remote([(b"new/a", 3), (b"old/b", 3), (b"old/c", 3)])
    assert list(ledger.stale()) == keys("old/b", "old/c")
    assert ledger.lost_count() == lost


def test_a_new_name_that_a_run_without_an_end_has_moved_already_still_stands_for_the_old_one(ledger: Ledger) -> None:
    ledger.add_source([(b"new/a", 3, 1), (b"kept", 3, 1)])
    ledger.add_known([(b"old/a", 1, False), (b"kept", 1, False), (b"lost", 1, False)], finished=True, again=False)
    ledger.add_known([(b"new/a", 1, False), (b"kept", 1, False), (b"old/a", None, True)], finished=False, again=False)
    ledger.add_remote([(b"new/a", 3), (b"old/a", 3), (b"kept", 3), (b"lost", 3)])
    assert ledger.lost_count() == 2, "the name that an earlier attempt of this run was to delete is another's"
    ledger.pair_renamed([(b"old/a", b"A"), (b"lost", b"K")], [(b"new/a", b"A"), (b"kept", b"K")])
    assert ledger.lost_count() == 1, "what a finished run wrote stands for nothing else"


def test_objects_whose_files_have_shrunk_to_less_than_a_tenth_are_counted(ledger: Ledger) -> None:
    sizes = [(b"emptied", 0), (b"ninth", 10), (b"tenth", 10), (b"always-empty", 0), (b"new", 0), (b"adopted", 0)]
    ledger.add_source(timed(sizes))
    ledger.add_known(written("emptied", "ninth", "tenth", "always-empty"), finished=True, again=False)
    ledger.add_remote([(b"emptied", 5), (b"ninth", 101), (b"tenth", 100), (b"always-empty", 0), (b"adopted", 5)])
    ledger.adopt(as_written=False)
    assert ledger.shrunk_count() == 2
    assert ledger.written_bytes() == 206


@pytest.mark.parametrize(("as_written", "lost", "counted"), [(False, 1, 2), (True, 2, 3)])
def test_what_is_being_adopted_is_no_loss_unless_it_is_said_to_be_ours(
    ledger: Ledger, as_written: bool, lost: int, counted: int
) -> None:
    ledger.add_source(timed([(b"a", 1)]))
    ledger.add_known(written("a", "ours"), finished=True, again=False)
    ledger.add_remote([(b"a", 1), (b"ours", 5), (b"theirs", 5)])
    ledger.adopt(as_written=as_written)
    assert (ledger.lost_count(), ledger.written_count(), ledger.mirrored_count()) == (lost, counted, 3)
    assert ledger.stale_count() == 2


def test_what_was_moved_is_known_where_the_log_spells_it_exactly(ledger: Ledger) -> None:
    ledger.add_source(timed([(b"bad\xff", 1), (b"fine", 1)]))
    ledger.add_uploaded(["bad\ufffd".encode(), b"fine", b"late", "late\ufffd\ufffd".encode()])
    assert ledger.was_uploaded(b"late")
    assert not ledger.was_uploaded(b"other")
    for lossy in (b"bad\xff", b"late\xe2\x80"):
        assert not ledger.was_uploaded(lossy), "other names are spelled alike, so the log says nothing of this one"
    assert set(ledger.beyond_intent()) == {b"late", "late\ufffd\ufffd".encode()}, "not the one that the walk saw"


def test_a_later_listing_replaces_an_earlier_one_and_shows_what_was_not_deleted(ledger: Ledger) -> None:
    ledger.add_source(timed([(b"a", 1)]))
    ledger.add_known(written("a", "gone", "stays"), finished=True, again=False)
    ledger.add_remote(sized("a", "gone", "stays"))
    ledger.spare(keys("stays"))
    assert list(ledger.spared()) == keys("stays")
    ledger.add_after(sized("a", "gone", "stays"))
    assert ledger.undeleted(limit=5) == keys("gone")
    ledger.add_after(sized("stays"))
    assert ledger.undeleted(limit=5) == []
    assert list(ledger.amiss()) == [(b"a", 1, None)]


ONE, TWO = bytes(16), bytes(range(16))


def test_checksums_of_a_listing_are_those_of_what_is_to_be_there(ledger: Ledger) -> None:
    ledger.add_source(timed(sized("a", "none", "twin", "changed")))
    ledger.add_listed([(b"a", 1, ONE), (b"none", 1, b""), (b"stranger", 1, ONE), (b"changed", 5, ONE)])
    assert list(ledger.digests()) == [(b"a", ONE), (b"changed", ONE)]
    ledger.add_after([(b"a", 1), (b"changed", 5)])
    assert list(ledger.digests()) == [(b"a", ONE), (b"changed", ONE)], "a listing without any takes none away"
    ledger.add_listed([(b"a", 1, TWO), (b"twin", 1, ONE), (b"twin", 1, ONE), (b"changed", 5, TWO)])
    assert list(ledger.digests()) == [(b"a", TWO), (b"changed", TWO)], "nobody knows which of the two it is of"
    ledger.accept_after([])
    assert list(ledger.digests()) == [(b"a", TWO)]


def test_known_checksums_are_taken_of_what_is_to_be_there_alone(ledger: Ledger) -> None:
    ledger.add_source(timed(sized("a", "b")))
    ledger.add_digests([(b"a", ONE), (b"gone", TWO), (b"a", TWO)])
    assert list(ledger.digests()) == [(b"a", TWO)]


def test_files_of_another_time_than_the_recorded_one_are_counted(ledger: Ledger) -> None:
    ledger.add_source([(b"same", 1, 7), (b"touched", 1, 8), (b"new", 1, 9), (b"far", 1, 1 << 70)])
    ledger.add_known(
        [(b"same", 7, False), (b"touched", 7, False), (b"gone", 7, False), (b"far", 1 << 70, False)],
        finished=True,
        again=False,
    )
    assert ledger.retimed_count() == 2
    ledger.select([(b"same", 1), (b"behind-a-link", 1)])
    assert ledger.retimed_count() == 1


@pytest.mark.parametrize("mtime", [1 << 70, -(1 << 70)])
def test_times_of_any_year_are_taken(ledger: Ledger, mtime: int) -> None:
    ledger.add_source([(b"new", 3, mtime)])
    ledger.add_known([(b"old", mtime, False)], finished=True, again=False)
    assert ledger.walked_as(b"new") == (3, fit(mtime))


def test_keys_that_no_path_becomes_stay_whoever_wrote_them(ledger: Ledger) -> None:
    ledger.add_source(timed(sized("f000")))
    ledger.add_known(written("f000", "/f000", "f000/", "gone"), finished=True, again=False)
    ledger.add_remote(sized("f000", "/f000", "f000/", "gone"))
    ledger.adopt(as_written=False)
    assert list(ledger.stale()) == keys("gone")
    assert list(ledger.kept()) == keys("/f000", "f000/")
    assert (ledger.odd_count(), ledger.odd(limit=1)) == (2, keys("/f000"))
    assert (ledger.mirrored_count(), ledger.foreign_count()) == (2, 0)


def test_two_objects_that_are_listed_by_one_key_stay_and_neither_is_amiss(ledger: Ledger) -> None:
    ledger.add_source([(b"twin", 3, 7)])
    ledger.add_known(written("twin", "gone"), finished=True, again=False)
    ledger.add_remote([*sized("gone", "gone"), (b"twin", 3), (b"twin", 9)])
    assert list(ledger.stale()) == []
    assert ledger.odd(limit=5) == keys("gone")
    for listed in ([(b"twin", 3), (b"twin", 9)], [(b"twin", 9), (b"twin", 3)]):
        ledger.add_after(listed)
        assert list(ledger.amiss()) == []


def test_a_quoted_key_that_is_still_there_was_out_of_the_engines_reach(ledger: Ledger) -> None:
    ledger.add_known(written("locked", "q\u201b\u201bq", "gone"), finished=True, again=False)
    ledger.add_remote(sized("locked", "q\u201b\u201bq", "gone"))
    ledger.add_after(sized("locked", "q\u201b\u201bq"))
    assert list(ledger.beyond_reach()) == keys("q\u201b\u201bq")
    ledger.spare(list(ledger.beyond_reach()))
    assert ledger.undeleted(limit=5) == keys("locked")


def test_keys_with_an_empty_part_are_found(ledger: Ledger) -> None:
    ledger.add_remote(sized("a//b", "/a", "a/", "a/b", "./a", "a/b//"))
    assert list(ledger.split()) == keys("/a", "a//b", "a/b//")


def test_what_moved_twice_is_one_file_and_what_the_log_spells_alike_is_several(ledger: Ledger) -> None:
    ledger.add_moved([(b"a", 3), (b"b", 4), (b"a", 5)])
    assert ledger.moved() == (2, 9)
    ledger.add_moved([("bad\ufffd".encode(), 1), ("bad\ufffd".encode(), 2)])
    assert ledger.moved() == (4, 12)
    assert ledger.was_uploaded(b"a")


def test_what_was_there_and_was_removed_by_the_engine_is_counted_unless_it_arrived_after_all(ledger: Ledger) -> None:
    ledger.add_remote(sized("lost", "arrived"))
    ledger.add_source(timed(sized("lost", "arrived", "new")))
    for key in keys("lost", "arrived", "new"):
        ledger.add_removed(key)
    ledger.add_moved([(b"arrived", 7)])
    assert ledger.removed_count() == 1


def test_rows_that_break_off_leave_a_table_that_can_be_asked(tmp_path: Path) -> None:
    def rows() -> Iterator[tuple[bytes, int]]:
        yield b"a", 1
        raise ValueError("the listing broke off")

    ledger = Ledger(str(tmp_path / "ledger"))
    with pytest.raises(ValueError, match="broke off"):
        ledger.add_remote(rows())
    ledger.add_remote([(b"b", 2)])
    assert ledger.remote_count() >= 1
    ledger.close()


# --- what a listing does not show -----------------------------------------------------------------------------------------


def test_what_was_written_and_is_neither_listed_nor_in_the_source_is_unseen(ledger: Ledger) -> None:
    ledger.add_known(written("hidden", "listed", "back", "shown-later"), finished=True, again=False)
    ledger.add_found(keys("found", "found-later"))
    ledger.add_source(timed(sized("back", "fresh")))
    ledger.add_remote(sized("listed", "foreign"))
    assert list(ledger.unseen(limit=100)) == keys("found", "found-later", "hidden", "shown-later")
    assert list(ledger.unseen_written()) == keys("hidden", "shown-later")
    ledger.add_after(sized("shown-later", "found-later", "listed", "back", "fresh"))
    assert list(ledger.reappeared()) == [(b"found-later", 0), (b"shown-later", 1)]
    assert set(ledger.stale()) == {b"listed"}


@pytest.mark.parametrize(("count", "limit"), [(0, 5), (1, 5), (5, 5), (6, 5), (7, 5), (999, 10), (1001, 1000)])
def test_of_many_unseen_objects_some_are_asked_for_and_the_last_in_any_case(
    ledger: Ledger, count: int, limit: int
) -> None:
    names = [f"{number:06}" for number in range(count)]
    ledger.add_known(written(*names), finished=True, again=False)
    asked = list(ledger.unseen(limit=limit))
    assert len(asked) <= limit + 1
    assert len(asked) >= min(count, limit) // 2
    assert asked[-1:] == keys(*names[-1:])


@pytest.mark.parametrize(("frozen", "extra"), [(True, {"before", "extra", "\ufffd"}), (False, {"extra"})])
def test_extra_is_what_the_run_has_no_part_in(ledger: Ledger, frozen: bool, extra: set[str]) -> None:
    ledger.add_source(timed(sized("a", "filtered")))
    ledger.select(sized("a"))
    ledger.add_remote(sized("before"))
    ledger.add_uploaded(keys("late"))
    ledger.add_after(sized("a", "filtered", "before", "late", "extra", "\ufffd"))
    assert {key.decode() for key in ledger.extra(frozen=frozen)} == extra


def test_folders_with_records_that_no_run_wrote_are_nested_destinations(ledger: Ledger) -> None:
    ledger.add_remote(
        sized("ours/.datamover/owner.json", "x.datamover/a", *(f"t{n}/.datamover/owner.json" for n in range(3)))
    )
    ledger.add_known(written("ours/.datamover/owner.json"), finished=True, again=False)
    assert ledger.nested(limit=5) == ["t0", "t1", "t2"]
    assert ledger.nested(limit=2) == ["t0", "t1"]
    ledger.adopt(as_written=False)
    assert ledger.nested(limit=5) == ["t0", "t1", "t2"]
