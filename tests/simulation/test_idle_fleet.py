"""Idle costs nothing: no write without a change, and none after a restart over a fleet at rest (law L9)."""

import asyncio
from collections import Counter

from datamover.api import reasons
from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from support.simulation.conduct import CREDENTIALS, KILLED, NETWORK, Conduct
from support.simulation.endings import check_rest, check_telling
from support.simulation.stories import check_idle
from support.simulation.trees import look, name_of
from support.simulation.world import World, simulate

EACH = 16
DAY = 86_400.0

FLEET = {
    "cleaned": {"deletePvcAfterBackup": True},
    "kept": {},
    "snapshot": {"copyMethod": "Snapshot"},
    "direct": {"copyMethod": "Direct"},
    "denied": {},
    "unlucky": {},
    "silent": {},
    "no-source": {"sourcePvc": "nowhere"},
    "no-secret": {"secretName": "nowhere"},
    "no-class": {"storageClassName": "nowhere"},
    "no-snapshots": {"copyMethod": "Snapshot", "volumeSnapshotClassName": "nowhere"},
    "contrary": {"copyMethod": "Direct", "deletePvcAfterBackup": True},
    "suspended": {"suspend": True},
}
"""Every terminal and every blocked state that a DataMover by itself can rest in."""

RESTS = {
    "cleaned": (Phase.COMPLETED, reasons.COMPLETED),
    "kept": (Phase.COMPLETED, reasons.COMPLETED),
    "snapshot": (Phase.COMPLETED, reasons.COMPLETED),
    "direct": (Phase.COMPLETED, reasons.COMPLETED),
    "denied": (Phase.FAILED, "WrongCredentials"),
    "unlucky": (Phase.FAILED, "ServerUnreachable"),
    "silent": (Phase.FAILED, reasons.BACKOFF_LIMIT_EXCEEDED),
    "no-source": ("", reasons.SOURCE_NOT_FOUND),
    "no-secret": ("", reasons.SECRET_NOT_FOUND),
    "no-class": ("", reasons.STORAGE_CLASS_NOT_FOUND),
    "no-snapshots": ("", reasons.SNAPSHOT_CLASS_NOT_FOUND),
    "contrary": ("", reasons.INVALID_SPEC),
    "suspended": ("", reasons.SUSPENDED),
}
ENDS = {"denied": (CREDENTIALS,), "unlucky": (NETWORK,) * 3, "silent": (KILLED,) * 3}


def test_a_fleet_in_every_state_of_rest_writes_nothing_for_a_day_nor_after_a_restart() -> None:
    async def story(world: World) -> None:
        world.furnish()
        world.start_operator()
        for number in range(EACH):
            for kind, spec in FLEET.items():
                world.give_mover(f"{kind}-{number}", **spec)
            await asyncio.sleep(1)
        await world.until_quiet()
        check_rest(world)
        check_telling(world)
        rests = Counter(_rest(mover) for mover in world.user.all(DATA_MOVERS))
        assert rests == {(kind, *rest): EACH for kind, rest in RESTS.items()}
        await check_idle(world, DAY)

    ends = {f"{kind}-{number}": found for kind, found in ENDS.items() for number in range(EACH)}
    simulate(story, seed="fleet", conduct=Conduct(lag=(0.2, 0.4), ends_of=ends))


def _rest(mover: dict) -> tuple[str, str, str]:
    conditions = look(mover, "status", "conditions") or ()
    ready = next((found["reason"] for found in conditions if found["type"] == "Ready"), "")
    return name_of(mover).rpartition("-")[0], look(mover, "status", "phase") or "", ready
