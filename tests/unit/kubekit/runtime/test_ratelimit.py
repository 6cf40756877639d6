import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubekit.runtime.ratelimit import TokenBucket


def test_a_burst_is_free_and_then_tokens_come_at_the_rate():
    bucket = TokenBucket(rate=2, burst=3)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(10.4)
    assert bucket.take(10.5)
    assert not bucket.take(10.5)


def test_tokens_do_not_pile_up_beyond_the_burst():
    bucket = TokenBucket(rate=2, burst=3)
    bucket.take(0)
    assert [bucket.take(1000) for _ in range(4)] == [True, True, True, False]


def test_reserving_tells_how_long_to_wait_and_the_next_one_waits_longer():
    bucket = TokenBucket(rate=2, burst=1)
    assert [bucket.reserve(0) for _ in range(4)] == [0, 0.5, 1.0, 1.5]
    assert bucket.reserve(1.0) == pytest.approx(1.0)


def test_a_clock_that_goes_back_gives_nothing():
    bucket = TokenBucket(rate=1, burst=1)
    assert bucket.take(10)
    assert not bucket.take(5)
    assert not bucket.take(10.5)
    assert bucket.take(11)


@given(st.lists(st.floats(0, 5), max_size=60), st.floats(0.1, 10), st.integers(1, 10))
def test_never_more_than_the_burst_and_the_rate_allow(waits, rate, burst):
    bucket = TokenBucket(rate, burst)
    now, taken = 0.0, 0
    for wait in waits:
        now += wait
        taken += bucket.take(now)
        assert taken <= burst + rate * now + 1e-6
