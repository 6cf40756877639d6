"""A backup is compared with its manifest again and again, whoever dies meanwhile: what is said of it is what a mover has found, and nothing is left."""

import asyncio
import contextlib
import random
from typing import Any

import pytest

from datamover.api import reasons, transfer
from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from kubekit.words.batch import JOBS
from kubekit.words.core import PODS
from support.simulation.comparing_ledger import ComparingLedger
from support.simulation.comparisons import Comparisons, left_of
from support.simulation.conduct import KILLED, NETWORK, SUCCESS, Conduct
from support.simulation.endings import check_rest
from support.simulation.faults import Storm
from support.simulation.seeds import seeds
from support.simulation.trees import look, name_of, uid_of
from support.simulation.world import SPACE, World, simulate
from support.simulation.writes import condition_of

HOUR = 3600.0
HOURLY = {"method": "Download", "every": "1h"}
DAMAGED = transfer.REASON_BACKUP_DAMAGED


def told(world: World) -> tuple[str, str]:
    """Return what is said of the backup."""
    verified = condition_of(look(world.mover(), "status") or {}, "Verified")
    return verified.get("status", ""), verified.get("reason", "")


def record(world: World) -> dict[str, Any]:
    return look(world.mover(), "status", "verification") or {}


def found(world: World) -> Comparisons:
    return world.cluster.comparisons


def check_nothing_left(world: World) -> None:
    check_rest(world)
    assert not record(world).get("id") or record(world).get("finished"), record(world)
    assert left_of(world.user.all(JOBS), world.user.all(PODS)) == [], f"L5\n{world.history.text()}"
    assert world.phase() == Phase.COMPLETED


def follow(world: World) -> None:
    world.ledger.comparisons = found(world)
    world.furnish()
    world.start_operator()


def furnish(world: World, **spec: Any) -> None:
    follow(world)
    world.give_mover(**{"deletePvcAfterBackup": "copyMethod" not in spec, "verify": HOURLY, **spec})


async def until_at_work(world: World, *, at_most: float) -> None:
    """Wait until one is recorded, by being told of each change: an hour is long for asking."""
    begun = asyncio.Event()

    def look_again(who: str) -> None:
        if record(world).get("id") and not record(world).get("finished"):
            begun.set()

    look_again("")
    world.watchers.append(look_again)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(begun.wait(), at_most)
    world.watchers.remove(look_again)


async def until_completed(world: World) -> None:
    await world.until(lambda: world.phase() == Phase.COMPLETED, at_most=600)


@pytest.mark.parametrize("spec", [{}, {"copyMethod": "Direct"}, {"addTimestampPrefix": True}], ids=str)
def test_each_hour_the_backup_is_compared_once_and_damage_is_told_until_it_is_whole_again(spec: dict[str, Any]) -> None:
    async def story(world: World) -> None:
        furnish(world, **spec)
        await until_completed(world)
        await world.until_quiet(30)
        written, first = world.ledger.writes, look(world.mover(), "status", "lastVerified")
        await asyncio.sleep(HOUR + 60)
        assert told(world) == ("True", reasons.VERIFIED)
        assert look(world.mover(), "status", "lastVerified") != first
        assert world.ledger.writes - written <= 8, "the record, the Job, its result, its end, and what is told"
        found(world).damage = DAMAGED
        await asyncio.sleep(HOUR + 60)
        assert told(world) == ("False", DAMAGED)
        assert (uid_of(world.mover() or {}), DAMAGED) in world.ledger.events
        found(world).damage = ""
        await asyncio.sleep(HOUR + 60)
        assert told(world) == ("True", reasons.VERIFIED)
        check_nothing_left(world)
        assert len(found(world).all) == 3
        assert len({each.round_ for each in found(world).all}) == 3

    simulate(story, seed=f"hourly {sorted(spec)}", ledger=ComparingLedger)


def test_what_keeps_a_mover_from_comparing_is_no_damage_and_is_tried_again() -> None:
    async def story(world: World) -> None:
        furnish(world)
        await until_completed(world)
        before = told(world)
        await asyncio.sleep(HOUR + 300)
        assert told(world) == before, "nothing is known of it"
        assert record(world)["reason"] == transfer.REASON_SERVER_UNREACHABLE
        await asyncio.sleep(HOUR)
        assert told(world) == ("True", reasons.VERIFIED)
        check_nothing_left(world)

    attempts = (NETWORK, KILLED, NETWORK, NETWORK)
    simulate(story, seed="unreachable", conduct=Conduct(compares=attempts, backoff=1.0), ledger=ComparingLedger)


@pytest.mark.parametrize("change", [{"cancel": True}, {"suspend": True}, {"verify": None}], ids=str)
@pytest.mark.parametrize("moment", [0.0, 0.05, 0.3, 0.8, 2.0, 3.0, 4.0])
def test_whoever_takes_the_wish_back_leaves_nothing_at_work(change: dict[str, Any], moment: float) -> None:
    async def story(world: World) -> None:
        furnish(world)
        await until_completed(world)
        await until_at_work(world, at_most=2 * HOUR)
        await asyncio.sleep(moment)
        world.user.patch(DATA_MOVERS, "backup", {"spec": change}, SPACE)
        await world.until_quiet()
        check_nothing_left(world)
        made = len(found(world).all)
        await asyncio.sleep(1.5 * HOUR)
        assert len(found(world).all) == made
        assert told(world)[0] != "False"

    simulate(story, seed=f"{change} {moment}", ledger=ComparingLedger)


@pytest.mark.parametrize("seed", seeds(12))
def test_whoever_dies_and_whatever_the_network_does_each_verdict_is_a_mover_s_and_the_last_one_is_true(
    seed: int,
) -> None:
    dice = random.Random(f"verified again {seed}")
    ends = tuple(dice.choice((SUCCESS, SUCCESS, SUCCESS, NETWORK, KILLED)) for _ in range(6))
    conduct = Conduct(start=dice.choice((0.1, 3.0)), run=dice.choice((0.5, 25.0)), backoff=1.0, compares=ends)
    hours = 2

    async def story(world: World) -> None:
        if dice.random() < 0.6:
            world.script = Storm(world.dice("storm"), world.loop.time, calm_from=hours * HOUR)
        furnish(world, **dice.choice(({}, {"copyMethod": "Direct"}, {"copyMethod": "Snapshot"})))
        if dice.random() < 0.5:
            world.start_operator()  # two replicas at once
        for _ in range(hours):
            found(world).damage = dice.choice(("", "", DAMAGED))
            for _ in range(dice.randint(0, 3)):
                # most of them around the moment in which one is due
                await asyncio.sleep(dice.choice((dice.uniform(0, 1500), 1.0, 3.0)))
                await until_at_work(world, at_most=HOUR)
                await asyncio.sleep(dice.choice((0.0, 0.01, 0.05, 0.3, 1.0, 3.0)))
                world.living[0].kill()
                await asyncio.sleep(dice.choice((0.0, 3.0)))
                world.start_operator()
            await asyncio.sleep(HOUR)
        calm = hours * HOUR - world.loop.time()
        found(world).damage = dice.choice(("", DAMAGED))
        await asyncio.sleep(max(calm, 0.0) + 2.2 * HOUR)
        await world.until_quiet()
        check_nothing_left(world)
        now = found(world).damage
        assert told(world) == (("False", now) if now else ("True", reasons.VERIFIED)), world.history.text()
        rounds = [each.round_ for each in found(world).of(uid_of(world.mover() or {}))]
        assert len(set(rounds)) <= world.loop.time() / 600, "no more than its pauses allow"
        assert name_of(world.mover() or {}) == "backup"

    simulate(story, seed=seed, conduct=conduct, ledger=ComparingLedger)
