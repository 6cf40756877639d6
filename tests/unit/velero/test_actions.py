import threading
import time

from datamover.velero.actions import Call


def test_a_call_has_so_long_as_it_is_given_and_may_ask_for_more():
    now = [100.0]
    call = Call(limit=10, now=lambda: now[0])
    now[0] = 104
    assert call.left() == 6
    call.extend(3)
    assert call.left() == 6  # never less
    call.extend(60)
    assert call.left() == 60
    now[0] = 170
    assert call.left() < 0


def test_a_call_that_nobody_waits_for_is_not_wanted():
    waits = [True]
    call = Call(wanted=lambda: waits[0])
    assert call.wanted()
    waits[0] = False
    assert not call.wanted()


def test_whoever_sleeps_within_a_call_is_woken_at_its_end():
    call = Call()
    threading.Timer(0.05, call.end).start()
    begun = time.monotonic()
    call.sleep(30)
    assert time.monotonic() - begun < 20
    assert not call.wanted()
