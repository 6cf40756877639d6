"""Where a mover's credentials may come from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.api.credentials import KEYS, SOURCES, find_credentials

NAMES = sorted({*KEYS, *(name for source in SOURCES for name in source)})


def find(*given: str, promised: bool = False) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = find_credentials(lambda name: name in given, promised=promised)
    return found.missing, found.half


def test_two_keys_are_enough_and_nothing_is_not() -> None:
    assert find(*KEYS) == ((), ())
    assert find() == (KEYS, ())


@pytest.mark.parametrize("source", SOURCES, ids="+".join)
def test_each_source_is_enough_as_a_whole_only(source: tuple[str, ...]) -> None:
    assert find(*source) == ((), ())
    for name in source if len(source) > 1 else ():
        rest = tuple(other for other in source if other != name)
        assert find(*rest) == (KEYS, (name,))


@given(st.sets(st.sampled_from(NAMES)), st.booleans())
def test_one_key_of_two_is_missing_the_other_whatever_else_there_is(others: set[str], promised: bool) -> None:
    for key, other in (KEYS, KEYS[::-1]):
        given = (others | {key}) - {other}
        assert find(*given, promised=promised)[0] == (other,)


@given(st.sets(st.sampled_from(NAMES)))
def test_a_promise_asks_for_no_keys_where_none_is_given(others: set[str]) -> None:
    assert find(*(others - set(KEYS)), promised=True) == ((), ())
