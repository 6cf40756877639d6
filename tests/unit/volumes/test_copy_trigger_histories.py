"""Any history of a claim's annotations, with any number of owners, killed anywhere: what copy triggers promise holds all the time.

A small world of one claim: its annotations have a version, each owner decides on what it sees and carries that out step by step, as a run
does (`runs.trigger`), and its record is what it has written last. Somebody sets triggers, changes his mind, leaves and comes back.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datamover.api.copy_trigger import (
    LATEST_ANNOTATION,
    OURS,
    SINCE_ANNOTATION,
    STATUS_ANNOTATION,
    TRIGGER_ANNOTATION,
    USE_ANNOTATION,
    Status,
)
from datamover.volumes.copy_trigger import Made, Round, Sharer, Told, Wait, ask, close
from kubekit.words.timestamps import seconds
from support.builders import NOW


class Conflict(Exception):
    """The claim has changed."""


@dataclass
class Claim:
    """The source: its annotations, and how often they were changed by owners."""

    annotations: dict[str, str] = field(default_factory=dict)
    version: int = 0
    writes: int = 0
    told: list[str] = field(default_factory=list)
    """The values of latest-copy-trigger that came with Completed, in order."""

    def patch(self, changes: dict[str, str | None], version: int) -> None:
        if version != self.version:
            raise Conflict
        assert set(changes) <= OURS, "nothing else of the source is touched (L1)"
        before = dict(self.annotations)
        self.put(changes)
        self.writes += self.annotations != before

    def put(self, changes: dict[str, str | None]) -> None:
        before = dict(self.annotations)
        for key, value in changes.items():
            self.annotations.pop(key, None)
            if value is not None:
                self.annotations[key] = value
        self.version += self.annotations != before


@dataclass
class Copy:
    consumed: str | None
    made_at: datetime
    ready: bool = False


@dataclass
class Owner:
    """One source: what it has recorded, and its copy. `at` is how far it is: idle, asking, copied or done."""

    name: int
    begun: datetime | None = None
    told: Told = Told.NOTHING
    copy: Copy | None = None
    waiting_at: set[str] = field(default_factory=set)
    """Triggers that were set while it was told to wait."""
    honoured: set[str] = field(default_factory=set)

    @property
    def working(self) -> bool:
        return self.begun is not None


class World:
    def __init__(self, owners: int, dice: random.Random) -> None:
        self.now = NOW
        self.claim = Claim({USE_ANNOTATION: ""})
        self.owners = [Owner(number) for number in range(owners)]
        self.dice = dice
        self.killing = False
        self.transitions = 0
        self.set = 0

    # What owners do.

    def sharers(self, owner: Owner) -> tuple[Sharer, ...]:
        return tuple(
            Sharer(other.told, self.made(other)) for other in self.owners if other is not owner and other.working
        )

    def made(self, owner: Owner) -> Made | None:
        copy = owner.copy
        return Made(copy.consumed, copy.ready, seconds(copy.made_at)) if copy is not None else None

    def decide(self, owner: Owner, seen: tuple[dict[str, str], int]) -> None:
        """One decision on annotations that may be old, and as much of its effect as its operator lives for."""
        annotations, version = seen
        if not owner.working or owner.begun is None:
            return
        round_ = Round(annotations, owner.begun, owner.told, self.now, self.sharers(owner))
        try:
            if owner.copy is None:
                self.ask(owner, round_, version)
            else:
                self.close(owner, round_, self.made(owner), version)
        except Conflict:
            pass  # decided anew, on newer facts

    def ask(self, owner: Owner, round_: Round, version: int) -> None:
        found = ask(round_)
        if isinstance(found, Wait):
            if found.changes:
                self.claim.patch(dict(found.changes), version)
                if self.dies():
                    return
            self.tell(owner, Told.TIMED_OUT if found.timed_out else Told.WAITING)
            return
        if found.consumed is not None:
            self.tell(owner, Told.RECEIVED)
            if self.dies():
                return
        if found.changes:
            self.claim.patch(dict(found.changes), version)
            if self.dies():
                return
        if found.consumed is not None:
            latest = self.claim.annotations.get(LATEST_ANNOTATION)
            assert found.consumed != latest, "no copy is taken for a trigger that is told already"
            owner.honoured.add(found.consumed)
        owner.copy = Copy(found.consumed, self.now)
        self.transitions += 1

    def close(self, owner: Owner, round_: Round, made: Made | None, version: int) -> None:
        assert made is not None
        found = close(round_, made)
        if found is None:
            return
        if found.changes:
            latest = found.changes.get(LATEST_ANNOTATION)
            if found.changes.get(STATUS_ANNOTATION) == Status.COMPLETED:
                assert latest == made.consumed, "told is what was consumed, with Completed"
                assert made.ready, "never Completed before it is ready"
                open_ = [each for each in self.owners if each.copy and each.copy.consumed and not each.copy.ready]
                assert not open_, "nor while another one's copy for a trigger is in the making"
            self.claim.patch(dict(found.changes), version)
            if found.changes.get(STATUS_ANNOTATION) == Status.COMPLETED:
                self.claim.told.append(made.consumed or "")
            if self.dies():
                return
        if found.done:
            self.tell(owner, Told.COMPLETED)

    def tell(self, owner: Owner, told: Told) -> None:
        self.transitions += told is not owner.told
        owner.told = told

    def dies(self) -> bool:
        return self.killing and self.dice.random() < 0.3

    # What happens beside them.

    def begin(self, owner: Owner) -> None:
        if not owner.working:
            owner.begun, owner.told = self.now, Told.NOTHING
            owner.waiting_at.clear()
            self.transitions += 1

    def finish(self, owner: Owner) -> None:
        """The data are moved, and the copy is removed: that comes after what there is to say."""
        if (
            owner.copy is not None
            and owner.copy.ready
            and (owner.told is Told.COMPLETED or owner.copy.consumed is None)
        ):
            owner.begun, owner.copy = None, None

    def trigger(self) -> None:
        self.set += 1
        value = f"go{self.set}"
        self.claim.put({TRIGGER_ANNOTATION: value})
        for owner in self.owners:
            if owner.working and owner.copy is None and owner.told in (Told.WAITING, Told.TIMED_OUT):
                owner.waiting_at.add(value)

    def settle(self) -> None:
        """All see what is there, copies get ready, nobody dies: until nothing changes any more."""
        self.killing = False
        for number in range(40):
            before = (self.claim.version, [(each.told, each.copy) for each in self.owners])
            for owner in self.owners:
                if owner.copy is not None:
                    owner.copy.ready = True
            for owner in self.dice.sample(self.owners, len(self.owners)):
                self.decide(owner, (dict(self.claim.annotations), self.claim.version))
            if before == (self.claim.version, [(each.told, each.copy) for each in self.owners]):
                return
            assert number < 39, "there is no rest"


ACTS = ("decide", "decide", "decide", "stale", "ready", "begin", "finish", "time", "delete copy")
USERS = ("trigger", "trigger", "untrigger", "leave", "come")


def live(seed: int, owners: int, *, acts: tuple[str, ...], steps: int = 120) -> World:
    dice = random.Random(seed)
    world = World(owners, dice)
    world.killing = True
    old = (dict(world.claim.annotations), world.claim.version)
    for _ in range(steps):
        owner, act = dice.choice(world.owners), dice.choice(acts)
        seen = (dict(world.claim.annotations), world.claim.version)
        if act == "decide":
            world.decide(owner, seen)
        elif act == "stale":
            world.decide(owner, old)
        elif act == "ready" and owner.copy is not None:
            owner.copy.ready = True
        elif act == "begin":
            world.begin(owner)
        elif act == "finish":
            world.finish(owner)
        elif act == "time":
            world.now += timedelta(seconds=dice.choice((1, 30, 400)))
        elif act == "delete copy" and owner.told is Told.RECEIVED and owner.copy is not None and not owner.copy.ready:
            owner.copy = None
        elif act == "trigger":
            world.trigger()
        elif act == "untrigger":
            world.claim.put({TRIGGER_ANNOTATION: None})
        elif act == "leave":
            world.claim.put({USE_ANNOTATION: None})
        elif act == "come":
            world.claim.put({USE_ANNOTATION: ""})
        old = dice.choice((old, seen))
    return world


@given(seed=st.integers(0, 2**32), owners=st.integers(1, 4))
@settings(max_examples=300, deadline=None)
def test_whatever_happens_it_comes_to_rest_with_few_writes(seed: int, owners: int) -> None:
    world = live(seed, owners, acts=(*ACTS, *USERS))
    world.settle()
    version, writes = world.claim.version, world.claim.writes
    world.settle()
    assert world.claim.version == version, "at rest nothing is written"
    changed_by_users = 120
    assert writes <= 3 * (world.transitions + changed_by_users)


@given(seed=st.integers(0, 2**32), owners=st.integers(1, 4))
@example(seed=254398, owners=1)
@settings(max_examples=300, deadline=None)
def test_a_user_who_only_sets_triggers_sees_them_told_in_order_and_few_writes(seed: int, owners: int) -> None:
    world = live(seed, owners, acts=(*ACTS, "trigger"))
    world.settle()
    told = [int(value.removeprefix("go")) for value in world.claim.told]
    assert told == sorted(set(told)), "each value once, and never back"
    assert world.claim.writes <= world.transitions + 2, "at most one for what each owner does"
    status = world.claim.annotations.get(STATUS_ANNOTATION)
    assert status != Status.IN_PROGRESS or any(each.told is Told.RECEIVED for each in world.owners)
    assert (SINCE_ANNOTATION in world.claim.annotations) == (status == Status.WAITING)
    assert (status == Status.WAITING) <= any(each.working and each.copy is None for each in world.owners)


@given(seed=st.integers(0, 2**32), owners=st.integers(1, 4))
@settings(max_examples=300, deadline=None)
def test_every_owner_that_waits_takes_a_copy_for_the_trigger_that_is_set(seed: int, owners: int) -> None:
    """However they are interleaved: nobody is told that it is complete before the last of them has its copy."""
    world = World(owners, random.Random(seed))
    dice = world.dice
    for turn in range(3):
        for owner in world.owners:
            world.begin(owner)
        world.settle()
        assert {owner.told for owner in world.owners} == {Told.WAITING}
        assert world.claim.annotations[STATUS_ANNOTATION] == Status.WAITING
        world.trigger()
        world.killing = True
        for _ in range(30):
            owner = dice.choice(world.owners)
            world.decide(owner, (dict(world.claim.annotations), world.claim.version))
            if owner.copy is not None and dice.random() < 0.3:
                owner.copy.ready = True
        before = world.claim.writes
        world.settle()
        value = f"go{turn + 1}"
        assert all(value in owner.honoured for owner in world.owners)
        assert world.claim.annotations[LATEST_ANNOTATION] == value
        assert world.claim.annotations[STATUS_ANNOTATION] == Status.COMPLETED
        assert world.claim.writes - before <= 2 + owners
        for owner in world.owners:
            world.finish(owner)
    assert world.claim.told == ["go1", "go2", "go3"]
    assert world.claim.writes <= 9, "three changes a round, however many there are"


@given(seed=st.integers(0, 2**32), owners=st.integers(1, 4))
@example(seed=2524, owners=1)
@example(seed=1835, owners=2)
@settings(max_examples=200, deadline=None)
def test_who_has_left_finds_no_litter(seed: int, owners: int) -> None:
    world = live(seed, owners, acts=(*ACTS, *USERS))
    for owner in world.owners:
        world.begin(owner)
    world.settle()
    world.claim.put({USE_ANNOTATION: None})
    world.settle()
    assert world.claim.annotations.get(STATUS_ANNOTATION) in (None, Status.COMPLETED)
    assert SINCE_ANNOTATION not in world.claim.annotations


def test_two_owners_in_turn_make_no_loop() -> None:
    """One has its copy and moves its data, the other begins to wait: neither corrects the other."""
    world = World(2, random.Random(0))
    first, second = world.owners
    world.begin(first)
    world.settle()
    world.trigger()
    world.settle()
    assert world.claim.annotations[STATUS_ANNOTATION] == Status.COMPLETED
    world.begin(second)
    writes = world.claim.writes
    for _ in range(100):
        for owner in (first, second):
            world.decide(owner, (dict(world.claim.annotations), world.claim.version))
    assert world.claim.writes == writes + 1
    assert world.claim.annotations[STATUS_ANNOTATION] == Status.WAITING
    world.trigger()
    world.settle()
    assert second.honoured == {"go2"}
    assert world.claim.told == ["go1", "go2"]


@pytest.mark.parametrize("owners", [1, 2, 5, 20])
def test_a_round_costs_three_changes_of_the_claim_however_many_there_are(owners: int) -> None:
    world = World(owners, random.Random(owners))
    for owner in world.owners:
        world.begin(owner)
    world.settle()
    world.trigger()
    world.settle()
    assert Counter(owner.told for owner in world.owners) == {Told.COMPLETED: owners}
    assert world.claim.writes == 3
