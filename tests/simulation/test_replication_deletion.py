"""An object is deleted at any moment of its synchronisation: nothing of it is left behind, and nobody writes about it any more."""

import random
from typing import Any

import pytest

from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from kubekit.words.meta import Resource
from support.simulation.collector import DEPENDENTS
from support.simulation.replications import check_rest, furnish, give_destination, give_source, replicate, status_of
from support.simulation.seeds import thorough
from support.simulation.trees import name_of, owners_of, uid_of
from support.simulation.triggers import annotations, trigger, want
from support.simulation.world import SPACE, World

Case = tuple[Resource[Any], str, str]
METHODS = ("restic", "rsyncTLS", "rsync")
CASES = [
    *((REPLICATION_SOURCES, method, copy) for method in METHODS for copy in ("Snapshot", "Clone", "Direct")),
    *((REPLICATION_DESTINATIONS, method, copy) for method in METHODS for copy in ("Snapshot", "Direct")),
]
TRIGGER = {"trigger": {"manual": "end"}}
LATE = 5.0
"""Seconds after which an operator knows that an object is gone."""


def live(case: Case, turn: int | None = None) -> int:
    """Synchronise an object; return how many rounds of the loop it took. It is deleted in the round `turn`. Sources wait for a trigger."""
    resource, method, copy = case
    turns: list[int] = []

    async def story(world: World) -> None:
        furnish(world)
        want(world)
        world.start_operator()
        give = give_source if resource is REPLICATION_SOURCES else give_destination
        uid = uid_of(give(world, "it", method, copy, **TRIGGER))
        world.loop.call_later(10.0, lambda: trigger(world, "go"))

        def delete() -> None:
            world.history.note("user", "deletes it")
            world.user.delete(resource, "it", SPACE, propagation="Background")
            world.loop.call_later(LATE, lambda: after.append(world.ledger.writes))

        after: list[int] = []
        if turn is not None:
            world.loop.at_turn(turn, delete)
            assert await world.until(lambda: bool(after))
        else:
            assert await world.until(lambda: status_of(world, resource, "it").get("lastManualSync") == "end")
            turns.append(world.loop.turns)
        await world.until_quiet()
        check_rest(world, "end")
        if turn is None:
            return
        left = [
            f"{kind.kind} {name_of(each)}"
            for kind in DEPENDENTS
            for each in world.user.all(kind)
            if uid in owners_of(each)
        ]
        assert not left
        assert world.ledger.writes == after[0], "nothing is written of what is gone"
        said = annotations(world)
        assert said.get("latest-copy-trigger") in (None, "go"), "a trigger that was not consumed is not called so"

    replicate(story, seed="deletion")
    return turns[0] if turns else 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0].kind}-{case[1]}-{case[2]}")
def test_an_object_that_is_deleted_at_any_moment_leaves_nothing_behind(case: Case) -> None:
    last = live(case)
    moments = range(1, last) if thorough() else sorted(random.Random(str(case[1:])).sample(range(1, last), 4))
    for turn in moments:
        live(case, turn)
