"""Copy triggers of a DataMover: each case of what a user may do, two DataMovers of one claim, kills and faults in the middle."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from datamover.api import copy_trigger, reasons
from datamover.api.copy_trigger import SINCE_ANNOTATION, USE_ANNOTATION, Status
from datamover.api.names import RETRY_ANNOTATION, Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from kubekit.words.timestamps import seconds
from support.simulation.conduct import CREDENTIALS, NETWORK, SUCCESS, Conduct
from support.simulation.endings import check_rest, check_telling
from support.simulation.faults import KILLS, Fault, Once
from support.simulation.history import LawBroken
from support.simulation.lifecycles import CLONE, DIRECT, SNAPSHOT, Lived
from support.simulation.lifecycles import live as live_once
from support.simulation.seeds import seeds, thorough
from support.simulation.stories import check_idle
from support.simulation.trees import look, name_of
from support.simulation.triggers import Script, annotate, annotations, copies, trigger, want
from support.simulation.world import SPACE, World, simulate

METHODS = [CLONE, SNAPSHOT]
EVENTS = "events"
WAITING, COMPLETED = Status.WAITING, Status.COMPLETED
SAID: WeakKeyDictionary[World, list[dict[str, Any]]] = WeakKeyDictionary()
"""The events of copy triggers in each world."""
Story = Callable[[World], Coroutine[Any, Any, None]]


def live(story: Story, method: str = CLONE, *, wanted: bool = True, movers: int = 1, **conduct: Any) -> World:
    """Tell a story in a world with an operator, a source that wants triggers, and DataMovers."""

    async def told(world: World) -> None:
        world.furnish()
        if wanted:
            want(world)
        world.start_operator()
        await asyncio.sleep(0.1)
        names = ["backup"] if movers == 1 else [f"backup-{number}" for number in range(movers)]
        for name in names:
            world.give_mover(name, copyMethod=method, deletePvcAfterBackup=method != DIRECT, addTimestampPrefix=True)
        await asyncio.sleep(2)
        await story(world)

    return simulate(told, seed=f"triggers {method} {movers}", conduct=Conduct(backoff=1.0, **conduct))


async def until(world: World, holds: Callable[[], bool]) -> None:
    assert await world.until(holds, at_most=120.0), annotations(world)


async def completes(world: World) -> None:
    await world.until_quiet()
    SAID[world] = events(world)  # an hour later they are gone
    check_rest(world)
    check_telling(world)
    for mover in world.user.all(DATA_MOVERS):
        assert look(mover, "status", "phase") == Phase.COMPLETED
    await check_idle(world)


def condition(world: World, kind: str, name: str = "backup") -> tuple[str, str]:
    found = look(world.mover(name), "status", "conditions") or []
    return next(((each["status"], each["reason"]) for each in found if each["type"] == kind), ("", ""))


def events(world: World) -> list[dict[str, Any]]:
    found = [each for each in world.user.all(EVENTS) if each.get("action") == copy_trigger.ACTION]
    return sorted(found, key=lambda each: each["eventTime"])


@pytest.mark.parametrize("method", METHODS)
def test_a_round_waits_goes_and_completes_with_the_words_that_scripts_know(method: str) -> None:
    async def story(world: World) -> None:
        begun = annotations(world)
        assert begun.pop("latest-copy-trigger-waiting-since").endswith("Z")
        assert begun == {"use-copy-trigger": "", "latest-copy-status": WAITING}
        assert copies(world) == []
        assert world.phase() == Phase.CREATING_CLONE, "the run is recorded before it waits (L6)"
        assert condition(world, "Stalled") == ("True", reasons.COPY_TRIGGER_WAITING)
        assert condition(world, "CopyTriggered") == ("False", reasons.COPY_TRIGGER_WAITING)
        message = look(world.mover(), "status", "message")
        assert f"kubectl -n {SPACE} annotate pvc data volsync.backube/copy-trigger=" in message
        trigger(world, "go1")
        asked = world.loop.time()
        await until(world, lambda: annotations(world)["latest-copy-status"] == Status.IN_PROGRESS)
        await until(world, lambda: bool(copies(world)))
        assert world.loop.time() - asked < 1.0
        assert {consumed for _, consumed in copies(world)} == {"go1"}
        going = annotations(world)
        assert "latest-copy-trigger" not in going
        assert "latest-copy-trigger-waiting-since" not in going
        await until(world, lambda: annotations(world)["latest-copy-status"] == COMPLETED)
        assert annotations(world)["latest-copy-trigger"] == "go1"
        assert world.phase() in {Phase.CREATING_CLONE, Phase.CLONE_READY}, "that is told before all else"
        await completes(world)
        assert annotations(world) == {
            "use-copy-trigger": "",
            "copy-trigger": "go1",
            "latest-copy-status": COMPLETED,
            "latest-copy-trigger": "go1",
        }
        assert condition(world, "CopyTriggered") == ("True", reasons.COPY_TRIGGER_COMPLETED)

    world = live(story, method, clone=1.0, snapshot=1.0)
    source = "src PVC PersistentVolumeClaim/data"
    assert [(each["type"], each["reason"], each["message"]) for each in SAID[world]] == [
        (
            "Normal",
            "SrcPVCWaitingForCopyTrigger",
            f"Waiting on copy trigger on {source} before creating snapshot or clone",
        ),
        (
            "Normal",
            "SrcPVCCopyTriggerReceived",
            f"Received updated copy trigger on {source}, proceeding to create snapshot or clone",
        ),
        (
            "Normal",
            "SrcPVCCopyUsingCopyTriggerCompleted",
            f"snapshot or clone complete for {source} using copy trigger",
        ),
    ]
    assert {(each["related"]["kind"], each["related"]["name"]) for each in SAID[world]} == {
        ("PersistentVolumeClaim", "data")
    }
    assert world.ledger.counts["patch", "persistentvolumeclaims"] == 3
    assert world.ledger.writes <= 24


@pytest.mark.parametrize("method", METHODS)
def test_nobody_triggers_and_then_somebody_does(method: str) -> None:
    async def story(world: World) -> None:
        await asyncio.sleep(590)
        assert condition(world, "Stalled") == ("True", reasons.COPY_TRIGGER_WAITING)
        await asyncio.sleep(20)
        assert condition(world, "Stalled") == ("True", reasons.COPY_TRIGGER_TIMED_OUT)
        message = look(world.mover(), "status", "message")
        assert message.startswith("Timed out waiting for copy-trigger to be modified for pvc data;")
        (timeout,) = (each for each in events(world) if each["type"] == "Warning")
        assert timeout["message"] == (
            "waiting on copy trigger on src PVC PersistentVolumeClaim/data before creating snapshot or clone; check PVC annotations"
        )
        await check_idle(world, again=3600.0)
        trigger(world, "go1")
        await completes(world)

    live(story, method)


def test_a_stamp_that_is_set_back_shows_the_timeout_at_once_and_one_that_cannot_be_read_does_not() -> None:
    async def story(world: World) -> None:
        annotate(world, {SINCE_ANNOTATION: "yesterday"})
        await until(world, lambda: annotations(world)["latest-copy-trigger-waiting-since"].endswith("Z"))
        await asyncio.sleep(1)
        assert condition(world, "Stalled") == ("True", reasons.COPY_TRIGGER_WAITING)
        annotate(world, {SINCE_ANNOTATION: seconds(world.server.now() - timedelta(minutes=15))})
        await until(world, lambda: condition(world, "Stalled") == ("True", reasons.COPY_TRIGGER_TIMED_OUT))
        trigger(world, "go1")
        await completes(world)

    live(story)


def test_a_stamp_of_an_earlier_wait_is_no_timeout() -> None:
    async def story(world: World) -> None:
        world.user.delete(DATA_MOVERS, "backup", SPACE)
        await asyncio.sleep(700)
        world.give_mover("again", copyMethod=CLONE)
        await until(world, lambda: condition(world, "Stalled", "again") == ("True", reasons.COPY_TRIGGER_WAITING))
        await asyncio.sleep(500)
        assert condition(world, "Stalled", "again") == ("True", reasons.COPY_TRIGGER_WAITING)
        trigger(world, "go1")
        await completes(world)

    live(story)


def test_a_trigger_that_was_set_before_is_taken_at_once() -> None:
    async def story(world: World) -> None:
        trigger(world, "go1")
        want(world)
        world.give_mover("next", copyMethod=CLONE)
        await completes(world)

    world = live(story, wanted=False)
    assert annotations(world)["latest-copy-trigger"] == "go1"
    assert [each["reason"] for each in SAID[world]] == [
        reasons.COPY_TRIGGER_RECEIVED,
        reasons.COPY_TRIGGER_COMPLETED,
    ]


@pytest.mark.parametrize("value", ["", None])
def test_an_empty_trigger_is_none(value: str | None) -> None:
    async def story(world: World) -> None:
        trigger(world, value)
        await asyncio.sleep(60)
        assert copies(world) == []
        trigger(world, " ")
        await completes(world)
        assert annotations(world)["latest-copy-trigger"] == " "

    live(story)


@pytest.mark.parametrize("method", METHODS)
def test_who_leaves_while_it_waits_is_copied_at_once_and_finds_no_litter(method: str) -> None:
    async def story(world: World) -> None:
        annotate(world, {USE_ANNOTATION: None})
        left = world.loop.time()
        await until(world, lambda: bool(copies(world)))
        assert world.loop.time() - left < 1.0
        assert annotations(world) == {}
        await completes(world)
        assert annotations(world) == {}
        assert condition(world, "CopyTriggered") == ("True", reasons.COPY_TRIGGER_NOT_USED)

    live(story, method)


@pytest.mark.parametrize("method", METHODS)
def test_who_leaves_while_the_copy_is_made_finds_the_value_told_and_nothing_else(method: str) -> None:
    async def story(world: World) -> None:
        trigger(world, "go1")
        await until(world, lambda: bool(copies(world)))
        annotate(world, {USE_ANNOTATION: None})
        await until(world, lambda: "latest-copy-status" not in annotations(world))
        assert "latest-copy-trigger" not in annotations(world)
        await completes(world)
        assert annotations(world) == {"copy-trigger": "go1", "latest-copy-trigger": "go1"}

    live(story, method, clone=10.0, snapshot=10.0)


def test_triggers_that_are_wanted_when_the_copy_is_there_change_nothing() -> None:
    async def story(world: World) -> None:
        await until(world, lambda: world.phase() == Phase.CREATING_POD)
        want(world)
        trigger(world, "go1")
        await completes(world)
        assert annotations(world) == {"use-copy-trigger": "", "copy-trigger": "go1"}

    live(story, wanted=False)


@pytest.mark.parametrize("later", ["go2", None])
@pytest.mark.parametrize("phase", [Phase.CREATING_CLONE, Phase.CREATING_POD])
def test_the_consumed_value_is_told_whatever_is_written_meanwhile(phase: str, later: str | None) -> None:
    async def story(world: World) -> None:
        trigger(world, "go1")
        await until(world, lambda: bool(copies(world)) and world.phase() == phase)
        trigger(world, later)
        await completes(world)
        assert annotations(world)["latest-copy-trigger"] == "go1"
        assert annotations(world)["latest-copy-status"] == COMPLETED
        world.give_mover("next", copyMethod=CLONE)
        await asyncio.sleep(5)
        taken = annotations(world)["latest-copy-trigger"]
        assert taken == ("go2" if later else "go1"), "a value that was not consumed is not swallowed"
        assert annotations(world)["latest-copy-status"] == (COMPLETED if later else WAITING)

    live(story, clone=3.0)


def test_a_copy_that_is_deleted_before_it_is_ready_is_made_again_for_the_same_trigger() -> None:
    async def story(world: World) -> None:
        trigger(world, "go1")
        await until(world, lambda: bool(copies(world)))
        (name, _) = copies(world)[0]
        world.user.delete(VOLUME_SNAPSHOTS, name, SPACE)
        await completes(world)
        assert annotations(world)["latest-copy-trigger"] == "go1"

    live(story, SNAPSHOT, snapshot=10.0)


def test_the_error_of_a_snapshot_is_told_and_nothing_is_complete() -> None:
    async def story(world: World) -> None:
        trigger(world, "go1")
        await until(world, lambda: bool(copies(world)))
        (name, _) = copies(world)[0]
        world.user.patch(
            VOLUME_SNAPSHOTS, name, {"status": {"readyToUse": False, "error": {"message": "full"}}}, SPACE, "status"
        )
        await until(world, lambda: condition(world, "Stalled") == ("True", reasons.SNAPSHOT_FAILED))
        assert annotations(world)["latest-copy-status"] == Status.IN_PROGRESS
        await completes(world)
        assert annotations(world)["latest-copy-status"] == COMPLETED

    live(story, SNAPSHOT, snapshot=30.0)


def test_an_attempt_that_fails_reads_the_same_copy_again() -> None:
    async def story(world: World) -> None:
        trigger(world, "go1")
        await completes(world)

    world = live(story, ends=(NETWORK, SUCCESS))
    (record,) = world.ledger.records.values()
    assert [len(clones) for clones in record.clones.values()] == [1]
    assert world.ledger.counts["patch", "persistentvolumeclaims"] == 3


def test_a_retry_that_takes_another_copy_waits_for_another_trigger_and_one_of_the_same_copy_does_not() -> None:
    async def story(world: World) -> None:
        trigger(world, "go1")
        await until(world, lambda: world.phase() == Phase.FAILED)
        world.user.patch(DATA_MOVERS, "backup", {"metadata": {"annotations": {RETRY_ANNOTATION: "1"}}}, SPACE)
        await until(world, lambda: world.phase() == Phase.CREATING_POD)
        await until(world, lambda: world.phase() == Phase.FAILED)
        ((name, _),) = copies(world)
        world.user.delete(PERSISTENT_VOLUME_CLAIMS, name, SPACE)
        world.user.patch(DATA_MOVERS, "backup", {"metadata": {"annotations": {RETRY_ANNOTATION: "2"}}}, SPACE)
        await until(world, lambda: condition(world, "Stalled") == ("True", reasons.COPY_TRIGGER_WAITING))
        assert annotations(world)["latest-copy-status"] == WAITING
        trigger(world, "go2")
        await completes(world)
        assert annotations(world)["latest-copy-trigger"] == "go2"

    live(story, ends=(CREDENTIALS, CREDENTIALS, SUCCESS))


def test_without_a_copy_the_annotations_mean_nothing() -> None:
    async def story(world: World) -> None:
        await completes(world)
        assert annotations(world) == {"use-copy-trigger": ""}

    live(story, DIRECT)


def test_a_suspended_run_neither_takes_a_copy_nor_holds_up_what_is_complete() -> None:
    async def story(world: World) -> None:
        world.user.patch(DATA_MOVERS, "backup", {"spec": {"suspend": True}}, SPACE)
        trigger(world, "go1")
        await asyncio.sleep(30)
        assert copies(world) == []
        world.user.patch(DATA_MOVERS, "backup", {"spec": {"suspend": False}}, SPACE)
        await until(world, lambda: bool(copies(world)))
        world.user.patch(DATA_MOVERS, "backup", {"spec": {"suspend": True}}, SPACE)
        await until(world, lambda: annotations(world)["latest-copy-status"] == COMPLETED)
        world.user.patch(DATA_MOVERS, "backup", {"spec": {"suspend": False}}, SPACE)
        await completes(world)

    live(story, clone=3.0)


# --- several of one claim -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("movers", [2, 5])
def test_one_trigger_is_good_for_all_that_wait(method: str, movers: int) -> None:
    async def story(world: World) -> None:
        script = Script(world)
        script.start()
        await completes(world)
        assert script.done == ["go1"]
        assert annotations(world)["latest-copy-trigger"] == "go1"

    world = live(story, method, movers=movers, clone=2.0, snapshot=2.0)
    assert world.ledger.counts["patch", "persistentvolumeclaims"] <= 4 * movers, "one of them may come too late"
    assert [len(clones) for each in world.ledger.records.values() for clones in each.clones.values()] == [1] * movers


def test_one_that_begins_to_wait_while_another_moves_its_data_makes_no_loop() -> None:
    async def story(world: World) -> None:
        trigger(world, "go1")
        await until(world, lambda: world.phase() == Phase.CREATING_POD)
        before = world.ledger.counts["patch", "persistentvolumeclaims"]
        world.give_mover("late", copyMethod=CLONE)
        await asyncio.sleep(20)
        assert world.phase() == Phase.CREATING_POD
        assert annotations(world)["latest-copy-status"] == WAITING
        assert world.ledger.counts["patch", "persistentvolumeclaims"] == before + 1
        trigger(world, "go2")
        await completes(world)
        assert annotations(world)["latest-copy-trigger"] == "go2"

    live(story, run=60.0)


def test_one_that_begins_to_wait_while_another_is_copied_shares_its_trigger() -> None:
    async def story(world: World) -> None:
        trigger(world, "go1")
        await until(world, lambda: bool(copies(world)))
        world.give_mover("late", copyMethod=CLONE)
        await completes(world)
        assert annotations(world)["latest-copy-trigger"] == "go1"
        assert world.phase("late") == Phase.COMPLETED

    live(story, clone=5.0)


def test_one_that_is_deleted_while_it_is_copied_holds_up_nobody_for_long() -> None:
    async def story(world: World) -> None:
        trigger(world, "go1")
        await until(world, lambda: len(copies(world)) == 2)
        world.user.delete(DATA_MOVERS, "backup-1", SPACE)
        await completes(world)
        assert annotations(world)["latest-copy-status"] == COMPLETED
        assert annotations(world)["latest-copy-trigger"] == "go1"

    live(story, movers=2, clone=3.0)


# --- trouble ------------------------------------------------------------------------------------------


def triggered(method: str, once: Once | None = None, *, turn: int | None = None, pause: float = 0.0) -> Lived:
    """Live one lifecycle whose user triggers; a fault, or a kill in a round of the loop, comes in between."""

    def meddle(world: World) -> None:
        want(world)
        Script(world).start()
        if turn is not None:
            world.loop.at_turn(turn, world.replicas[0].kill)

    return live_once(method, once, meddle=meddle, pause=pause)


def check(method: str, lived: Lived, what: str) -> None:
    world = lived.world
    told = annotations(world)
    assert told == {
        "use-copy-trigger": "",
        "copy-trigger": "go1",
        "latest-copy-status": COMPLETED,
        "latest-copy-trigger": "go1",
    }, f"{what}: {told}\n{world.history.text()}"
    (record,) = world.ledger.records.values()
    assert [len(clones) for clones in record.clones.values()] == [1], what
    assert world.phase() == Phase.COMPLETED, what
    assert not [name_of(claim) for claim in world.user.all(PERSISTENT_VOLUME_CLAIMS) if name_of(claim) != "data"], what


@pytest.mark.parametrize("method", METHODS)
def test_an_operator_that_is_killed_anywhere_loses_no_trigger(method: str) -> None:
    calm = triggered(method)
    check(method, calm, "calm")
    dice = random.Random(method)
    turns = range(1, calm.turns) if thorough() else sorted(dice.sample(range(1, calm.turns), 8))
    for turn in turns:
        what = f"{method}, killed in turn {turn}"
        try:
            check(method, triggered(method, turn=turn, pause=dice.choice((0.0, 5.0))), what)
        except LawBroken as broken:
            raise LawBroken(f"{what}: {broken}") from None


@pytest.mark.parametrize("fault", [*KILLS, Fault.LATE, Fault.LOST, Fault.RESET], ids=str)
def test_a_fault_at_any_write_loses_no_trigger(fault: Fault) -> None:
    calm = triggered(SNAPSHOT)
    writes = calm.world.ledger.writes
    numbers = range(calm.calls - writes + 1, calm.calls + 1)
    for number in numbers if thorough() else list(numbers)[::4]:
        once = Once(number, fault)
        what = f"call {number}, {fault} ({once.struck})"
        try:
            check(SNAPSHOT, triggered(SNAPSHOT, once), what)
        except LawBroken as broken:
            raise LawBroken(f"{what}: {broken}") from None


@pytest.mark.parametrize("seed", seeds(4))
def test_racing_operators_take_one_copy_for_one_trigger(seed: int) -> None:
    async def story(world: World) -> None:
        world.furnish()
        want(world)
        for _ in range(3):
            world.start_operator()
        for number in range(3):
            world.give_mover(f"backup-{number}", copyMethod=CLONE, deletePvcAfterBackup=True, addTimestampPrefix=True)
        Script(world, rounds=3).start()
        await world.until(lambda: all(world.phase(f"backup-{number}") == Phase.COMPLETED for number in range(3)))
        await asyncio.sleep(60)
        for number in range(3):
            assert world.phase(f"backup-{number}") == Phase.COMPLETED
        assert len(world.destination.movers) == 3

    simulate(story, seed=seed)
