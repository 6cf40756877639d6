"""When a certificate is followed by the next one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from kubekit.runtime.certificates import LIFETIME, make_pair
from kubekit.runtime.rotation import RENEWS, SETTLES, Held, next_turn, turn

START = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
HOSTS = ("webhook.system.svc",)
SECOND = timedelta(seconds=1)
FIRST = make_pair(HOSTS, now=START)
DUE = FIRST.ends - RENEWS
NEXT = make_pair(HOSTS, now=DUE)


def at(now: datetime, held: Held, trusted: tuple[bytes, ...] | None = ()) -> Held:
    return turn(held, hosts=HOSTS, now=now, trusted=trusted)


def test_where_nothing_is_held_a_certificate_is_made():
    held = at(START, Held())
    assert held.current is not None
    assert (held.following, held.former) == (None, None)


def test_nothing_is_done_until_it_is_due():
    held = Held(FIRST)
    assert at(DUE - SECOND, held) is held
    assert next_turn(held, now=DUE - SECOND) == 1.0


def test_when_it_is_due_the_next_one_is_made_and_not_yet_served():
    held = at(DUE, Held(FIRST))
    assert held.current == FIRST
    assert held.following is not None
    assert held.authorities == (FIRST.authority, held.following.authority)


def test_the_next_one_is_served_when_its_authority_is_known_and_was_for_a_while():
    held = Held(FIRST, NEXT)
    both = held.authorities
    assert at(DUE + SETTLES - SECOND, held, both) == held
    assert at(DUE + SETTLES, held, (FIRST.authority,)) == held
    after = at(DUE + SETTLES, held, both)
    assert after == Held(NEXT, None, FIRST.authority)
    assert after.authorities == (NEXT.authority, FIRST.authority)


def test_where_there_is_nobody_to_tell_it_is_served_after_that_while():
    assert at(DUE + SETTLES, Held(FIRST, NEXT), None).current == NEXT


def test_the_former_authority_goes_when_it_ends():
    held = Held(NEXT, None, FIRST.authority)
    assert at(FIRST.ends - SECOND, held) == held
    assert at(FIRST.ends, held) == Held(NEXT)
    assert at(START, replace(held, former=b"nothing")).former is None


def test_what_has_ended_is_replaced_at_once():
    held = at(FIRST.ends, Held(FIRST))
    assert held.current is not None
    assert held.current.serves(FIRST.ends)
    assert at(FIRST.ends, Held(FIRST, NEXT), (FIRST.authority,)) == Held(NEXT)


def test_a_clock_that_was_put_back_before_it_was_made_brings_a_new_one():
    held = at(START - timedelta(days=400), Held(FIRST))
    assert held.current is not None
    assert held.current != FIRST


def test_through_ten_years_what_is_served_was_trusted_before():
    now, held, trusted = START, at(START, Held()), ()
    shown = set()
    while now < START + timedelta(days=3650):
        trusted = held.authorities
        now += timedelta(seconds=next_turn(held, now=now))
        held = at(now, held, trusted)
        assert held.current is not None
        assert held.current.serves(now)
        assert held.current.authority in trusted
        assert len(held.authorities) <= 3
        shown.add(held.current.certificate)
    assert len(shown) >= 3650 / LIFETIME.days
