"""What the API server refuses is told, and waited out; a disk that is filled stays so meanwhile."""

from typing import Any

import pytest

from datamover.api.cdi import names
from datamover.plans.known import Refusal
from datamover.plans.steps import Annotate, Create, Delete, Emit, Patch, Rebind
from support.clones import Cloner, Clones
from support.disks import Operator, settle

EFFECTS = Create | Patch | Annotate | Rebind | Delete
GOLDEN = {"pvc": {"name": "golden"}}


class Refused(Exception):
    """The server has refused a step."""


class Strict(Cloner):
    """An operator which the server refuses one step: decides at once what to do about that, as the reconciler does."""

    def __init__(self, server: Clones, *, verb: str, kind: str) -> None:
        super().__init__(server)
        self.verb, self.kind = verb, kind
        self.tries = 0
        self.forbids = True

    def work(self, name: str = "disk", *, steps: int | None = None) -> tuple[Any, ...]:
        for _ in range(4):
            try:
                return super().work(name, steps=steps)
            except Refused:
                self.tries += 1
        raise AssertionError("it tries without end what the server refuses")

    def _carry_out(self, step: Any, volume: Any, name: str) -> None:
        done = (type(step).__name__.lower(), *self._target(step))
        if self.forbids and done[:2] == (self.verb, self.kind):
            verb = "patch" if self.verb == "rebind" else self.verb
            self.refuse(
                Refusal("ChildRefused", f"the API server refuses to {verb} it", 8.0, target=done[1:], verb=verb)
            )
            raise Refused
        super()._carry_out(step, volume, name)

    @staticmethod
    def _target(step: Any) -> tuple[str, str]:
        match step:
            case Rebind():
                return "PersistentVolume", step.volume.name
            case Patch() | Annotate() | Delete():
                return step.resource.kind, step.target.name
            case _:
                return "", ""

    def due(self) -> None:
        """The time of the refusal is over."""
        refusal = self.known.refusal
        assert refusal is not None
        self.refuse(Refusal(refusal.reason, refusal.message, fresh=False, target=refusal.target, verb=refusal.verb))


CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a claim may not grow": ("patch", "PersistentVolumeClaim", {"source": GOLDEN, "size": "2Gi"}),
    "a volume may not be handed over": ("rebind", "PersistentVolume", {"source": {"blank": {}}}),
    "a claim may not be marked": ("annotate", "PersistentVolumeClaim", {"source": {"blank": {}}}),
}


def opened(verb: str, kind: str, *, source: dict[str, Any], size: str = "1Gi") -> tuple[Clones, Strict]:
    server = Clones(expands=True)
    server.hold()
    server.make(source=source, storage={"resources": {"requests": {"storage": size}}})
    return server, Strict(server, verb=verb, kind=kind)


def events(operator: Operator, reason: str) -> list[Emit]:
    return [each for each in operator.told if each.reason == reason]


@pytest.mark.parametrize("case", CASES)
def test_a_step_of_filling_that_is_refused_is_told_and_waited_out(case: str) -> None:
    verb, kind, given = CASES[case]
    server, operator = opened(verb, kind, **given)
    settle(server, operator)
    assert operator.tries == 1, "it is waited out"
    assert server.status()["phase"] != "Succeeded"
    assert server.condition("Ready")["reason"] == "ChildRefused"
    assert "refuses to" in server.condition("Ready")["message"]
    assert len(events(operator, "ChildRefused")) == 1
    plan = operator.plan()
    assert plan is not None
    assert plan.wake_after == pytest.approx(8, abs=0.1)
    operator.forbids = False
    operator.due()
    for _ in range(2):
        settle(server, operator)
        server.expand()
    settle(server, operator)
    assert server.status()["phase"] == "Succeeded"


@pytest.mark.parametrize("kind", ["Job", "PersistentVolumeClaim"])
def test_what_may_not_be_removed_of_a_filled_disk_is_told_once_and_tried_again_at_the_pace_of_refusals(
    kind: str,
) -> None:
    server, operator = opened("delete", kind, source={"blank": {}})
    settle(server, operator)
    assert operator.tries == 1
    assert (server.status()["phase"], server.condition("Ready")["status"]) == ("Succeeded", "True")
    (event,) = events(operator, "ChildRefused")
    assert event.type == "Warning"
    assert "refuses to delete it" in event.message
    written = len(operator.statuses)
    for _ in range(3):
        operator.due()
        settle(server, operator)
    assert operator.tries == 4, "one try each time that it is due"
    assert events(operator, "ChildRefused") == [event]
    assert len(operator.statuses) == written
    plan = operator.plan()
    assert plan is not None
    assert not plan.steps
    assert plan.wake_after == pytest.approx(8, abs=0.1)
    operator.forbids = False
    operator.due()
    settle(server, operator)
    assert not server.leftovers()
    assert operator.plan() is not None


def test_a_datavolume_that_may_not_be_annotated_takes_its_claim_over_only_when_it_may() -> None:
    server = Clones()
    server.hold("disk", owner=None)
    server.objects["PersistentVolumeClaim", "disk"]["metadata"]["annotations"] = {names.POPULATED_FOR: "disk"}
    server.make()
    operator = Strict(server, verb="annotate", kind="DataVolume")
    settle(server, operator)
    assert operator.tries == 1
    assert (server.status()["phase"], server.condition("Ready")["reason"]) == ("Pending", "ChildRefused")
    operator.forbids = False
    operator.due()
    settle(server, operator)
    assert server.status()["phase"] == "Succeeded"
