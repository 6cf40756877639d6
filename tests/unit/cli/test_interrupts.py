"""Ctrl-C: at once, once, and not while something is begun or ended."""

import os
import signal

import pytest

from datamover.cli.interrupts import Interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_raised_at_once_and_only_once(number: int) -> None:
    with Interrupts():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        for _ in range(2):
            os.kill(os.getpid(), number)  # the end is under way


def test_what_is_begun_is_begun_whole() -> None:
    begun: list[str] = []

    def begin(interrupts: Interrupts) -> None:
        with interrupts.held():
            os.kill(os.getpid(), signal.SIGINT)
            with interrupts.held():
                begun.append("process")
            begun.append("its record")

    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
        begin(interrupts)
    assert begun == ["process", "its record"]


def test_signals_are_given_back_as_they_were() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interrupts():
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_interrupt_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts():
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
