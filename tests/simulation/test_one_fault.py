"""One fault at one call: for each call of a lifecycle and each fault that may befall it."""

import pytest

from support.simulation.faults import KILLS, NETWORK, Disturbance, Fault, Once
from support.simulation.history import LawBroken
from support.simulation.lifecycles import CLONE, DIRECT, SNAPSHOT, calm, live
from support.simulation.seeds import thorough

PARTS = 12
FAULTS = (*NETWORK, *KILLS, Fault.LATE, Fault.STALE)


def attempt(method: str, number: int, fault: Fault) -> None:
    once = Once(number, fault)
    where = f"{method}, call {number}, {fault}"
    try:
        lived = live(method, once)
    except LawBroken as broken:
        raise LawBroken(f"{where} ({once.struck}): {broken}") from None
    if lived.ending != calm(method).ending:
        raise LawBroken(f"L7: {where} ({once.struck}): another end\n{lived.world.history.text()}\n{lived.ending}")


@pytest.mark.parametrize("part", range(PARTS))
def test_any_fault_at_any_call_of_a_cloning_lifecycle_changes_nothing_of_its_end(part: int) -> None:
    for number in range(1 + part, calm(CLONE).calls + 1, PARTS):
        for fault in FAULTS:
            attempt(CLONE, number, fault)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("method", [SNAPSHOT, DIRECT])
def test_any_fault_at_any_write_of_the_other_lifecycles_changes_nothing_of_their_end(method: str, fault: Fault) -> None:
    for number in range(1, calm(method).calls + 1):
        if thorough() or number > calm(method).calls - calm(method).world.ledger.writes:
            attempt(method, number, fault)


@pytest.mark.parametrize("end", ["cut", "expired", "silent"])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_every_watch_may_end_after_a_few_events(end: str, length: int) -> None:
    class Ends(Once):
        def on_watch(self, number, call):
            return Disturbance(length=length, end=end) if number < 200 else None

    lived = live(CLONE, Ends(0, Fault.GONE))
    assert lived.ending == calm(CLONE).ending
