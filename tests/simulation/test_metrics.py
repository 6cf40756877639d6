"""What a whole life counts: once in every documented metric, and nothing again after a restart."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from datamover.api import reasons
from datamover.api.names import RETRY_ANNOTATION, Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from kubekit.words.core import PERSISTENT_VOLUMES
from kubekit.words.timestamps import moment_of
from support.simulation.conduct import CREDENTIALS, NETWORK, SUCCESS, Conduct
from support.simulation.pods import BYTES, FILES
from support.simulation.trees import name_of
from support.simulation.world import PRECIOUS, SOURCE, SPACE, World, simulate


def value(world: World, metric: str, /, *, replica: int = 0, **labels: str) -> float | None:
    return world.replicas[replica].registry.get_sample_value(metric, {"namespace": SPACE, **labels})


def lived(*, conduct: dict[str, Any] | None = None, **spec: Any) -> World:
    """Live one DataMover to its end."""

    async def story(world: World) -> None:
        world.furnish()
        world.start_operator()
        world.give_mover(**spec)
        await world.until_quiet()

    return simulate(story, seed="metrics", conduct=Conduct(backoff=1.0, **(conduct or {})))


def test_a_whole_run_is_counted_once_in_every_documented_metric() -> None:
    world = lived(deletePvcAfterBackup=True)
    for phase in ("CreatingClonedPVC", "ClonedPVCReady", "CreatingPod", "CleaningUp"):
        assert value(world, "datamover_operations_total", phase=phase, status="started") == 1
        assert value(world, "datamover_operations_total", phase=phase, status="success") == 1
        assert value(world, "datamover_phase_duration_seconds_count", phase=phase) == 1
    assert value(world, "datamover_data_sync_operations_total", status="success") == 1
    assert value(world, "datamover_data_sync_operations_total", status="failure") == 0
    assert value(world, "datamover_cleanup_operations_total", status="success") == 1
    assert value(world, "datamover_cleanup_operations_total", status="failure") == 0
    assert value(world, "datamover_pvc_clone_operations_total", status="started") == 1
    assert value(world, "datamover_pvc_clone_operations_total", status="success") == 1
    assert value(world, "datamover_pod_creation_operations_total", status="success") == 1
    assert value(world, "datamover_current_phase", name="backup") == Phase.ORDER.index("Completed")
    assert value(world, "datamover_transferred_bytes_total") == BYTES
    assert value(world, "datamover_transferred_files_total") == FILES
    assert value(world, "datamover_last_success_timestamp_seconds", name="backup")


def test_a_failed_run_is_counted_as_failed_with_its_reason() -> None:
    world = lived(conduct={"ends": (CREDENTIALS,)})
    assert value(world, "datamover_operations_total", phase="CreatingPod", status="failure") == 1
    assert value(world, "datamover_data_sync_operations_total", status="failure") == 1
    assert value(world, "datamover_pod_creation_operations_total", status="failure") == 1
    assert value(world, "datamover_errors_total", error_type="WrongCredentials", phase="Failed") == 1
    assert value(world, "datamover_last_success_timestamp_seconds", name="backup") is None


def test_every_failed_attempt_counts_as_the_error_that_it_was() -> None:
    world = lived(conduct={"ends": (NETWORK, NETWORK, SUCCESS)})
    assert value(world, "datamover_errors_total", error_type=NETWORK.reason, phase="CreatingPod") == 2


def test_an_obstacle_counts_once_however_long_it_lasts() -> None:
    async def story(world: World) -> None:
        world.furnish(source=False)
        world.start_operator()
        world.give_mover()
        await asyncio.sleep(5 * 3600)
        assert value(world, "datamover_errors_total", error_type=reasons.SOURCE_NOT_FOUND, phase="") == 1

    simulate(story, seed="an obstacle")


def test_a_kept_clone_is_no_cleanup() -> None:
    assert value(lived(), "datamover_cleanup_operations_total", status="success") == 0


def test_a_removed_snapshot_is_no_cleanup_of_a_clone() -> None:
    assert value(lived(copyMethod="Snapshot"), "datamover_cleanup_operations_total", status="success") == 0


def test_a_volume_that_stays_on_the_storage_is_an_error_although_its_clone_is_gone() -> None:
    async def story(world: World) -> None:
        world.furnish()
        world.start_operator()
        world.give_mover(deletePvcAfterBackup=True)
        ours = lambda: [each for each in world.user.all(PERSISTENT_VOLUMES) if not name_of(each).startswith(PRECIOUS)]  # noqa: E731
        await world.until(lambda: bool(ours()))
        policy = {"spec": {"persistentVolumeReclaimPolicy": "Retain"}}
        world.user.patch(PERSISTENT_VOLUMES, name_of(ours()[0]), policy)
        await world.until_quiet()
        assert world.phase() == Phase.COMPLETED
        assert value(world, "datamover_cleanup_operations_total", status="success") == 1
        assert value(world, "datamover_errors_total", error_type=reasons.VOLUME_RETAINED, phase="Completed") == 1

    simulate(story, seed="retained")


def test_a_restart_counts_nothing_again_but_shows_what_is() -> None:
    async def story(world: World) -> None:
        world.furnish()
        world.start_operator()
        world.give_mover()
        await world.until_quiet()
        world.replicas[0].kill()
        world.start_operator()
        await world.until_quiet()
        assert value(world, "datamover_current_phase", replica=1, name="backup") == 5
        assert value(world, "datamover_last_success_timestamp_seconds", replica=1, name="backup") is not None
        assert value(world, "datamover_data_sync_operations_total", replica=1, status="success") == 0

    simulate(story, seed="restart")


FAILED = "datamover_failed_timestamp_seconds"
FIRST_TRY = "datamover_source_first_attempt_timestamp_seconds"


def refuse_first(story: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    """Tell a story that begins with a DataMover whose only attempt was refused."""

    async def told(world: World) -> None:
        world.furnish()
        world.start_operator()
        world.give_mover()
        await world.until_quiet()
        assert world.phase() == Phase.FAILED
        await story(world)

    simulate(told, seed="refused", conduct=Conduct(ends=(CREDENTIALS, SUCCESS)))


def ask_again(world: World) -> None:
    world.user.patch(DATA_MOVERS, "backup", {"metadata": {"annotations": {RETRY_ANNOTATION: "1"}}}, SPACE)


def failed_at(world: World, *, replica: int = 0, reason: str = CREDENTIALS.reason) -> float | None:
    return value(world, FAILED, replica=replica, name="backup", source=SOURCE, reason=reason)


def test_a_failure_stands_until_its_retry_has_succeeded() -> None:
    async def story(world: World) -> None:
        failed = failed_at(world)
        assert failed
        await asyncio.sleep(3 * 3600)
        retried = world.entering(Phase.CREATING_CLONE)
        ask_again(world)
        await retried.wait()
        await asyncio.sleep(0.3)
        assert world.phase() != Phase.COMPLETED
        assert failed_at(world) == failed, "the retry is under way, and may fail"
        await world.until_quiet()
        assert world.phase() == Phase.COMPLETED
        assert failed_at(world) is None

    refuse_first(story)


def test_a_retry_that_was_under_way_before_a_restart_still_stands() -> None:
    async def story(world: World) -> None:
        retried = world.entering(Phase.CREATING_CLONE)
        ask_again(world)
        await retried.wait()
        await asyncio.sleep(0.3)
        world.replicas[0].kill()
        world.start_operator()
        await asyncio.sleep(0.3)
        assert world.phase() != Phase.COMPLETED
        assert failed_at(world, replica=1, reason="Retrying")

    refuse_first(story)


def test_a_claim_without_any_backup_is_told_from_its_first_try_on() -> None:
    async def story(world: World) -> None:
        created = moment_of((world.mover() or {})["metadata"]["creationTimestamp"], default=0.0)
        assert value(world, FIRST_TRY, source=SOURCE) == created
        ask_again(world)
        await world.until_quiet()
        assert value(world, FIRST_TRY, source=SOURCE) is None

    refuse_first(story)


def waits(world: World) -> dict[str, tuple[str, str]]:
    """Return whether the data are safe, and the severity, of each wait by its reason."""
    family = "datamover_waiting_since_timestamp_seconds"
    samples = [
        sample for each in world.replicas[0].registry.collect() if each.name == family for sample in each.samples
    ]
    return {sample.labels["reason"]: (sample.labels["data_safe"], sample.labels["severity"]) for sample in samples}


def test_a_wait_is_named_with_its_urgency_and_goes_with_it() -> None:
    async def story(world: World) -> None:
        world.furnish(source=False)
        world.start_operator()
        world.give_mover()
        await world.until_quiet()
        assert waits(world) == {reasons.SOURCE_NOT_FOUND: ("false", "warning")}
        world.give_source()
        await world.until_quiet()
        assert world.phase() == Phase.COMPLETED
        assert waits(world) == {}

    simulate(story, seed="a wait")
