"""People interfere, at every phase of a run: no law is broken, and what rests says why."""

import pytest

from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from support.simulation.conduct import NETWORK, SUCCESS, Conduct
from support.simulation.endings import check_rest, check_telling
from support.simulation.hand import Refused
from support.simulation.stories import INTERFERENCE, check_idle
from support.simulation.trees import name_of
from support.simulation.world import PRECIOUS, SOURCE, SPACE, World, simulate

PHASES = [Phase.NONE, Phase.CREATING_CLONE, Phase.CLONE_READY, Phase.CREATING_POD, Phase.CLEANING_UP, Phase.COMPLETED]
DELAYS = (0.0, 0.7)
"""Seconds into a phase: at once, and when what it asked for is under way."""


def interfere(act: str, phase: str, delay: float, *, method: str = "Clone") -> World:
    conduct = Conduct(ends=(NETWORK, SUCCESS), backoff=1.0)

    async def story(world: World) -> None:
        def strike() -> None:
            try:
                INTERFERENCE[act](world, world.dice(act))
            except Refused as refusal:
                world.history.note("user", f"{act}: {refusal}")

        world.ledger.on_phase.append(
            lambda _name, which: world.loop.call_later(delay, strike) and None if which == phase else None
        )
        world.furnish()
        world.start_operator()
        world.give_mover("backup-0", copyMethod=method, addTimestampPrefix=True, deletePvcAfterBackup=True)
        if phase == Phase.NONE:
            strike()
        await world.until_quiet()
        check_rest(world)
        check_telling(world)
        await check_idle(world)

    return simulate(story, seed=f"{act}/{phase}/{delay}/{method}", conduct=conduct)


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase or "none")
@pytest.mark.parametrize("act", sorted(INTERFERENCE))
def test_no_law_is_broken_when_somebody_interferes(act: str, phase: str) -> None:
    for delay in DELAYS if phase != Phase.NONE else (0.0,):
        interfere(act, phase, delay)


@pytest.mark.parametrize("method", ["Clone", "Snapshot"])
@pytest.mark.parametrize("act", ["delete mover", "delete mover in the foreground"])
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase or "none")
def test_deleting_a_datamover_at_any_phase_leaves_nothing_behind(phase: str, act: str, method: str) -> None:
    for delay in (0.0, 0.3, 0.6, 1.2):
        user = interfere(act, phase, delay, method=method).user
        assert not user.all(DATA_MOVERS)
        assert [name_of(claim) for claim in user.all(PERSISTENT_VOLUME_CLAIMS)] == [SOURCE]
        assert all(name_of(volume).startswith(PRECIOUS) for volume in user.all(PERSISTENT_VOLUMES))
        for resource in (VOLUME_SNAPSHOTS, JOBS, PODS):
            assert not user.all(resource)


@pytest.mark.parametrize("missing", ["secret", "source"])
def test_what_is_missing_and_appears_later_heals_the_run_without_a_restart(missing: str) -> None:
    async def story(world: World) -> None:
        world.furnish(**{missing: False})
        world.start_operator()
        world.give_mover()
        await world.until_quiet()
        check_rest(world)
        check_telling(world)
        assert world.phase() == Phase.NONE
        world.give_secret() if missing == "secret" else world.give_source()
        await world.until_quiet()
        assert world.phase() == Phase.COMPLETED
        assert len(world.replicas) == 1

    simulate(story, seed=missing)


def test_the_source_is_never_touched_even_when_it_is_deleted_meanwhile() -> None:
    world = interfere("renew source", Phase.CREATING_POD, 0.0)
    claim = world.user.find(PERSISTENT_VOLUME_CLAIMS, SOURCE, SPACE)
    assert claim is not None
    managers = {entry["manager"] for entry in claim["metadata"]["managedFields"]}
    assert not {manager for manager in managers if manager.startswith("datamover")}
