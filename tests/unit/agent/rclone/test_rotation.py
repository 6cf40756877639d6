"""Which files follow which."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.agent.rclone.rotation import find_followed, stem_of


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dump-2024-08-06.sql.gz", "dump-2024-08-07.sql.gz"),
        ("dump_20240806.sql", "dump_20240807.sql"),
        ("2024-08-06/all.sql", "2024-08-07/all.sql"),
        ("db-mon.sql", "db-tue.sql"),
        ("db.Sunday.sql", "db.MONDAY.sql"),
        ("db-06Aug2024.sql", "db-01Sep2024.sql"),
        ("db-31-december.sql", "db-1-january.sql"),
        ("backup-9.tar", "backup-10.tar"),
        ("app.log.7", "app.log.8"),
        ("pg_wal/00000001000000A900000001", "pg_wal/00000001000000B000000002"),
        ("dump-3f2a90bc77.tar", "dump-9912ffab01.tar"),
        ("snap-1c9e6679-7425-40de-944b-e07fc1f90ae7.img", "snap-16fd2706-8baf-433b-82eb-8c7fada847da.img"),
    ],
)
def test_names_that_differ_by_a_date_a_number_or_an_identifier_are_a_row(old: str, new: str) -> None:
    assert stem_of(old.encode()) == stem_of(new.encode())
    assert find_followed([(old.encode(), 100)], [(new.encode(), 90)]) == [(old.encode(), 100)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("disk.img", "other.img"),
        ("db1", "fresh1"),
        ("a/dump-1.sql", "b/dump-1.sql"),
        ("dump-1.sql", "dump-1.txt"),
        ("mayor", "sunset"),
        ("facade", "decade"),
        ("same.img", "same.img"),
    ],
)
def test_other_names_are_none(old: str, new: str) -> None:
    assert find_followed([(old.encode(), 100)], [(new.encode(), 100)]) == []


@pytest.mark.parametrize(("size", "follows"), [(100, True), (10, True), (9, False), (0, False), (10_000, True)])
def test_next_to_nothing_follows_nothing(size: int, follows: bool) -> None:
    assert bool(find_followed([(b"dump-1", 100)], [(b"dump-2", size)])) == follows


def test_each_new_file_follows_one_and_the_large_ones_serve_the_large_ones() -> None:
    gone = [(b"d-1", 1000), (b"d-2", 10), (b"d-3", 10)]
    assert len(find_followed(gone, [(b"d-4", 1), (b"d-5", 100)])) == 2
    assert find_followed(gone, [(b"d-4", 1)]) in ([(b"d-2", 10)], [(b"d-3", 10)])
    assert len(find_followed(gone, [(b"d-%d" % number, 5000) for number in range(4, 9)])) == 3


sizes = st.lists(st.integers(0, 2000), max_size=4)


@given(sizes, sizes)
def test_as_many_are_followed_as_can_be(old: list[int], new: list[int]) -> None:
    gone = [(b"d-%d" % number, size) for number, size in enumerate(old)]
    found = find_followed(gone, [(b"d-%d" % (100 + number), size) for number, size in enumerate(new)])

    def best(olds: list[int], news: list[int]) -> int:
        if not olds:
            return 0
        first, rest = olds[0], olds[1:]
        choices = [best(rest, news)]
        for size in {size for size in news if size * 10 >= first}:
            left = list(news)
            left.remove(size)
            choices.append(1 + best(rest, left))
        return max(choices)

    assert len(found) == best(old, new)
    assert set(found) <= set(gone)
