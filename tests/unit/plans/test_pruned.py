"""What a server drops of a status, and what still counts as a difference then."""

from typing import Any

import pytest

from datamover.plans.pruned import Pruned
from kubekit.words.meta import Condition, Model


class Inner(Model, frozen=True):
    size: int = 0
    note: str | None = None


class Status(Model, frozen=True):
    phase: str = ""
    extra: str | None = None
    inner: Inner | None = None
    conditions: tuple[Condition, ...] = ()


def ready(reason: str, message: str = "") -> tuple[Condition, ...]:
    return (Condition("Ready", "True", reason, message),)


CASES: dict[str, tuple[Any, Any, Any, Any, bool]] = {
    "a field that is dropped": (
        Status(phase="a", extra="x"),
        Status(phase="a"),
        Status(phase="a", extra="y"),
        Status(phase="a"),
        True,
    ),
    "a field that is kept": (
        Status(phase="a", extra="x"),
        Status(phase="a"),
        Status(phase="b", extra="x"),
        Status(phase="a"),
        False,
    ),
    "a whole struct": (
        Status(inner=Inner(size=1)),
        Status(),
        Status(inner=Inner(size=2, note="z")),
        Status(),
        True,
    ),
    "a field of a struct": (
        Status(inner=Inner(size=1, note="x")),
        Status(inner=Inner(size=1)),
        Status(inner=Inner(size=1, note="y")),
        Status(inner=Inner(size=1)),
        True,
    ),
    "another field of that struct": (
        Status(inner=Inner(size=1, note="x")),
        Status(inner=Inner(size=1)),
        Status(inner=Inner(size=2, note="x")),
        Status(inner=Inner(size=1)),
        False,
    ),
    "a field of the entries of a list": (
        Status(conditions=ready("A", "words")),
        Status(conditions=ready("A")),
        Status(conditions=ready("A", "other words")),
        Status(conditions=ready("A")),
        True,
    ),
    "what the server has changed and not dropped": (
        Status(phase="a"),
        Status(phase="A"),
        Status(phase="a"),
        Status(phase="A"),
        False,
    ),
    "no status yet": (Status(extra="x"), Status(), Status(extra="x"), None, False),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_server_drops_is_no_difference_and_all_else_is(case: str) -> None:
    sent, stored, wanted, present, same = CASES[case]
    pruned = Pruned()
    assert not pruned.same(wanted, present), "nothing is known before the first write"
    pruned.learn(sent, stored)
    assert pruned.same(wanted, present) is same


def test_a_server_that_keeps_everything_teaches_nothing() -> None:
    pruned = Pruned()
    status = Status(phase="a", extra="x", inner=Inner(size=1), conditions=ready("A", "words"))
    pruned.learn(status, status)
    assert len(pruned) == 0


def test_a_definition_that_is_brought_up_to_date_is_noticed_at_the_next_write() -> None:
    pruned = Pruned()
    pruned.learn(Status(phase="a", extra="x"), Status(phase="a"))
    assert pruned.same(Status(phase="a", extra="x"), Status(phase="a"))
    pruned.learn(Status(phase="b", extra="x"), Status(phase="b", extra="x"))
    assert not pruned.same(Status(phase="b", extra="y"), Status(phase="b", extra="x"))


def test_what_is_remembered_is_bounded() -> None:
    pruned = Pruned()
    pruned.learn({f"field-{number}": 1 for number in range(10_000)}, {})
    assert len(pruned) == 128
