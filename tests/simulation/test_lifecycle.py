"""Whole lifecycles: the documented phases, the budget of writes, retry, suspension, names that are taken, and what is told meanwhile.

The laws are held by the simulation itself at every write; kills, lost events and interference have modules of their own.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from datamover.api import reasons, transfer
from datamover.api.names import CLONE_PREFIX, RETRY_ANNOTATION, Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from kubekit.words.batch import JOBS
from kubekit.words.core import EVENTS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from kubekit.words.storage import STORAGE_CLASSES
from kubekit.words.timestamps import compact, parse
from support.simulation.conduct import CREDENTIALS, IMMEDIATE, NETWORK, ON_USE, SUCCESS, Conduct, End
from support.simulation.endings import check_rest, check_telling
from support.simulation.stories import check_idle
from support.simulation.trees import is_going, look, name_of, owners_of, uid_of
from support.simulation.world import CLASS, PRECIOUS, SECRET, SOURCE, SPACE, World, simulate

CLONED = ["CreatingClonedPVC", "ClonedPVCReady", "CreatingPod"]
SETUPS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a clone that is kept": ({}, [*CLONED, "Completed"]),
    "a clone that is removed": ({"deletePvcAfterBackup": True}, [*CLONED, "CleaningUp", "Completed"]),
    "a clone made of a snapshot that is kept": ({"copyMethod": "Snapshot"}, [*CLONED, "CleaningUp", "Completed"]),
    "a clone made of a snapshot that is removed": (
        {"copyMethod": "Snapshot", "deletePvcAfterBackup": True},
        [*CLONED, "CleaningUp", "Completed"],
    ),
    "the source itself": ({"copyMethod": "Direct"}, ["CreatingPod", "Completed"]),
}
Story = Callable[[World], Coroutine[Any, Any, None]]


def live(story: Story, *, setup: str = "", ends: tuple[End, ...] = (SUCCESS,), **conduct: Any) -> World:
    """Tell a story in a world that is furnished and has an operator; with a setup, a DataMover as well."""

    async def told(world: World) -> None:
        world.furnish()
        world.start_operator()
        await asyncio.sleep(0.1)
        if setup:
            world.give_mover(**SETUPS[setup][0])
        await story(world)

    return simulate(told, seed=f"lifecycle {setup}", conduct=Conduct(ends=ends, backoff=1.0, **conduct))


async def to_rest(world: World) -> None:
    await world.until_quiet()
    check_rest(world)
    check_telling(world)


def status(world: World, name: str = "backup") -> dict[str, Any]:
    return look(world.mover(name), "status") or {}


def condition(world: World, kind: str) -> dict[str, Any]:
    return next((found for found in status(world).get("conditions") or () if found["type"] == kind), {})


def phases(world: World) -> list[str]:
    mover = world.mover()
    assert mover is not None
    return world.ledger.record(uid_of(mover)).phases


def made(world: World, kind: str) -> list[str]:
    """Return the UIDs of the clones or Jobs that were ever made."""
    return [uid for each in world.ledger.records.values() for uids in getattr(each, kind).values() for uid in uids]


def attempts(world: World) -> int:
    return len(world.destination.movers)


def ask_again(world: World, wish: str) -> None:
    world.user.patch(DATA_MOVERS, "backup", {"metadata": {"annotations": {RETRY_ANNOTATION: wish}}}, SPACE)


def change(world: World, **spec: Any) -> None:
    world.user.patch(DATA_MOVERS, "backup", {"spec": spec}, SPACE)


def copies(world: World) -> list[str]:
    return [name_of(claim) for claim in world.user.all(PERSISTENT_VOLUME_CLAIMS) if name_of(claim) != SOURCE]


def assert_nothing_temporary_is_left(world: World) -> None:
    assert not world.user.all(VOLUME_SNAPSHOTS), "a snapshot has served its purpose (L5)"
    if look(world.mover(), "spec", "deletePvcAfterBackup"):
        assert copies(world) == []
        assert not world.user.all(JOBS)
        assert not world.user.all(PODS)
        assert all(name_of(volume).startswith(PRECIOUS) for volume in world.user.all(PERSISTENT_VOLUMES))


@pytest.mark.parametrize("binding", [IMMEDIATE, ON_USE])
@pytest.mark.parametrize("setup", SETUPS)
def test_a_run_takes_the_documented_phases_within_the_budget_of_writes(setup: str, binding: str) -> None:
    world = live(to_rest, setup=setup, binding=binding)
    assert phases(world) == SETUPS[setup][1]
    assert world.ledger.writes <= 12
    assert condition(world, "Complete")["status"] == "True"
    assert condition(world, "Synchronized")["status"] == "True"
    assert status(world)["run"]["destination"] == "s3generic:bucket/"
    assert_nothing_temporary_is_left(world)
    assert world.user.find(PERSISTENT_VOLUME_CLAIMS, SOURCE, SPACE) is not None
    assert (uid_of(world.mover() or {}), reasons.COMPLETED) in world.ledger.events


@pytest.mark.parametrize("setup", SETUPS)
def test_two_failed_attempts_of_three_still_complete_the_run(setup: str) -> None:
    world = live(to_rest, setup=setup, ends=(NETWORK, NETWORK, SUCCESS))
    assert phases(world) == SETUPS[setup][1]
    assert status(world)["run"]["attempts"] == 3
    assert world.ledger.writes <= 12 + 2 * 3, "that it failed, with an event, and that another attempt has begun"
    assert (uid_of(world.mover() or {}), reasons.ATTEMPT_FAILED) in world.ledger.events
    assert len(made(world, "jobs")) == 1


@pytest.mark.parametrize("setup", SETUPS)
def test_three_failed_attempts_fail_the_run_and_delete_nothing(setup: str) -> None:
    world = live(to_rest, setup=setup, ends=(NETWORK,) * 3)
    assert status(world)["phase"] == Phase.FAILED
    assert condition(world, "Failed")["status"] == "True"
    assert condition(world, "Ready")["reason"] == transfer.REASON_SERVER_UNREACHABLE
    message = status(world)["message"]
    assert f"the mover says {transfer.REASON_SERVER_UNREACHABLE}" in message
    assert 'kubectl -n default annotate datamover backup datamover.a-cup-of.coffee/retry="$(date +%s)"' in message
    assert not [key for key in world.ledger.counts if key[0] == "delete"]
    direct = SETUPS[setup][0].get("copyMethod") == "Direct"
    assert bool(copies(world)) is not direct
    assert ("is kept" in message) is not direct


@pytest.mark.parametrize("setup", SETUPS)
def test_a_terminal_failure_is_not_tried_again_until_the_annotation_asks(setup: str) -> None:
    async def story(world: World) -> None:
        await to_rest(world)
        assert (world.phase(), attempts(world)) == (Phase.FAILED, 1)
        assert world.ledger.writes <= 12
        run = status(world)["run"]
        ask_again(world, "1")
        await to_rest(world)
        again = status(world)["run"]
        assert world.phase() == Phase.COMPLETED
        same = ("id", "timestamp", "jobName")
        assert [again[key] for key in same] == [run[key] for key in same], "the same run (L6)"
        assert_nothing_temporary_is_left(world)
        assert len(made(world, "clones")) == (0 if SETUPS[setup][0].get("copyMethod") == "Direct" else 1)

    live(story, setup=setup, ends=(CREDENTIALS, SUCCESS))


def test_the_same_retry_annotation_is_honoured_once() -> None:
    async def story(world: World) -> None:
        await to_rest(world)
        ask_again(world, "1")
        await to_rest(world)
        assert attempts(world) == 2
        await check_idle(world)
        assert attempts(world) == 2
        ask_again(world, "2")
        await to_rest(world)
        assert attempts(world) == 3

    live(story, setup="a clone that is kept", ends=(CREDENTIALS,) * 3)


def test_a_retry_annotation_from_before_the_run_asks_for_no_second_run() -> None:
    async def story(world: World) -> None:
        meta = {"name": "backup", "annotations": {RETRY_ANNOTATION: "old"}}
        spec = {"sourcePvc": SOURCE, "secretName": SECRET}
        created = world.user.create(DATA_MOVERS, {"metadata": meta, "spec": spec}, SPACE)
        world.ledger.record(created["metadata"]["uid"])
        await to_rest(world)
        assert (world.phase(), attempts(world)) == (Phase.FAILED, 1)

    live(story, ends=(CREDENTIALS,))


def test_a_retry_whose_clone_is_gone_is_another_run_of_another_moment() -> None:
    async def story(world: World) -> None:
        await to_rest(world)
        first = status(world)["run"]
        for pod in world.user.all(PODS):  # a finished Pod that mounts the clone would hold it
            world.user.delete(PODS, name_of(pod), SPACE)
        world.user.delete(PERSISTENT_VOLUME_CLAIMS, copies(world)[0], SPACE)
        await asyncio.sleep(3600)
        ask_again(world, "1")
        await to_rest(world)
        second = status(world)["run"]
        assert world.phase() == Phase.COMPLETED
        assert second["id"] != first["id"]
        assert second["timestamp"] > first["timestamp"]

    live(story, setup="a clone that is kept", ends=(CREDENTIALS, SUCCESS))


def test_a_retry_whose_clone_is_gone_but_whose_snapshot_is_there_stays_the_same_run() -> None:
    async def story(world: World) -> None:
        await to_rest(world)
        first = status(world)["run"]
        for pod in world.user.all(PODS):
            world.user.delete(PODS, name_of(pod), SPACE)
        world.user.delete(PERSISTENT_VOLUME_CLAIMS, copies(world)[0], SPACE)
        await asyncio.sleep(3600)
        ask_again(world, "1")
        await to_rest(world)
        assert world.phase() == Phase.COMPLETED
        assert status(world)["run"]["id"] == first["id"], "its copy is of the first moment"
        assert not world.user.all(VOLUME_SNAPSHOTS)

    live(story, setup="a clone made of a snapshot that is kept", ends=(CREDENTIALS, SUCCESS))


@pytest.mark.parametrize("setup", SETUPS)
def test_a_completed_run_is_at_rest_for_ever(setup: str) -> None:
    async def story(world: World) -> None:
        await to_rest(world)
        await check_idle(world, 86400.0)

    live(story, setup=setup)


KNOWN = {value for name, value in vars(reasons).items() if name.isupper()} | {
    value for name, value in vars(transfer).items() if name.startswith("REASON_")
}


@pytest.mark.parametrize("setup", SETUPS)
def test_every_status_that_is_stuck_or_failed_has_a_reason_of_ours_and_a_sentence(setup: str) -> None:
    async def story(world: World) -> None:
        world.give_mover(**SETUPS[setup][0])
        await to_rest(world)
        assert condition(world, "Stalled")["reason"] == reasons.SOURCE_NOT_FOUND
        for kind in ("Ready", "Stalled"):
            assert condition(world, kind)["reason"] in KNOWN
            assert len(condition(world, kind)["message"]) > 20
        world.give_source()
        await to_rest(world)
        assert world.phase() == Phase.FAILED
        for kind in ("Ready", "Stalled"):
            assert condition(world, kind)["reason"] in KNOWN
            assert len(condition(world, kind)["message"]) > 20
        (record,) = world.ledger.records.values()
        assert len(record.told) == 2, record.told

    async def without_source(world: World) -> None:
        world.furnish(source=False)
        world.start_operator()
        await story(world)

    simulate(without_source, seed=f"stuck {setup}", conduct=Conduct(ends=(NETWORK,) * 3, backoff=1.0))


MISSING = {
    "the source": ({"source": False}, lambda world: world.give_source(), reasons.SOURCE_NOT_FOUND),
    "the Secret": ({"secret": False}, lambda world: world.give_secret(), reasons.SECRET_NOT_FOUND),
}


@pytest.mark.parametrize("what", [*MISSING, "the StorageClass"])
def test_a_missing_thing_that_appears_heals_the_run(what: str) -> None:
    async def story(world: World) -> None:
        if what in MISSING:
            furniture, give, reason = MISSING[what]
            world.furnish(**furniture)
        else:
            world.furnish()
            kept = world.user.find(STORAGE_CLASSES, CLASS)
            world.user.delete(STORAGE_CLASSES, CLASS)
            manifest = {key: kept[key] for key in ("provisioner", "volumeBindingMode", "reclaimPolicy")}
            reason = reasons.STORAGE_CLASS_NOT_FOUND
            give = lambda world: world.user.create(STORAGE_CLASSES, {"metadata": {"name": CLASS}, **manifest})  # noqa: E731
        world.start_operator()
        mover = world.give_mover(deletePvcAfterBackup=True)
        await to_rest(world)
        assert condition(world, "Stalled")["reason"] == reason
        told = [event["reason"] for event in world.user.all("events.events.k8s.io") or world.user.all(EVENTS)]
        assert told in ([reason], []), "told once"
        assert (uid_of(mover), reason) in world.ledger.events
        assert made(world, "clones") == [], "nothing is begun"
        give(world)
        await to_rest(world)
        assert world.phase() == Phase.COMPLETED
        assert condition(world, "Stalled")["status"] == "False"

    simulate(story, seed=what)


MOMENTS = (0.0, 0.05, 0.15, 0.5, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0, 3.5, 3.9, 4.1, 4.3, 4.6, 6.0)
"""Seconds into a run of some four: from before its record to after its end."""


@pytest.mark.parametrize("setup", SETUPS)
def test_suspending_at_any_moment_holds_the_run_and_resuming_ends_it_as_ever(setup: str) -> None:
    for moment in MOMENTS:

        async def story(world: World, moment: float = moment) -> None:
            await asyncio.sleep(moment)
            change(world, suspend=True)
            await asyncio.sleep(5)
            over = world.phase() == Phase.COMPLETED
            running = [job for job in world.user.all(JOBS) if not look(job, "spec", "suspend")]
            assert over or not [job for job in running if not look(job, "status", "completionTime")]
            held, begun = world.ledger.writes, (len(made(world, "clones")), len(made(world, "jobs")))
            await asyncio.sleep(600)
            assert world.ledger.writes == held, "suspended costs nothing"
            assert begun == (len(made(world, "clones")), len(made(world, "jobs"))), "nothing new is started"
            assert over or condition(world, "Ready")["reason"] == reasons.SUSPENDED
            change(world, suspend=False)
            await to_rest(world)
            assert world.phase() == Phase.COMPLETED
            assert condition(world, "Ready")["reason"] == reasons.COMPLETED
            assert_nothing_temporary_is_left(world)
            assert all(len(set(made(world, kind))) <= 1 for kind in ("clones", "jobs")), "nothing was made twice"

        live(story, setup=setup)


def test_a_job_that_somebody_deletes_starts_again_only_when_its_pod_has_ended() -> None:
    async def story(world: World) -> None:
        await world.until(lambda: any(look(pod, "status", "phase") == "Running" for pod in world.user.all(PODS)))
        (pod,) = world.user.all(PODS)
        (job,) = world.user.all(JOBS)
        world.user.delete(JOBS, name_of(job), SPACE)
        await asyncio.sleep(1.0)
        assert not world.user.all(JOBS), "two movers of one run would write at once"
        assert condition(world, "Ready")["reason"] == reasons.JOB_LOST
        assert name_of(pod) in status(world)["message"]
        await world.until_quiet()
        assert world.phase() == Phase.COMPLETED

    live(story, setup="a clone that is kept", removal=5.0)


def test_a_changed_source_changes_nothing_of_a_run_that_has_begun() -> None:
    async def story(world: World) -> None:
        await world.entering(Phase.CREATING_CLONE).wait()
        change(world, sourcePvc="other")
        await to_rest(world)
        assert status(world)["run"]["source"] == SOURCE
        assert len(made(world, "clones")) == len(made(world, "jobs")) == 1
        assert {mover.succeeded for mover in world.destination.movers} == {True}

    live(story, setup="a clone that is kept")


def clone_of(mover: dict[str, Any]) -> str:
    """Return the documented name of a DataMover's clone."""
    return f"{CLONE_PREFIX}{SOURCE}-{compact(parse(mover['metadata']['creationTimestamp']))}"


def test_two_runs_of_one_second_make_two_clones_of_two_names() -> None:
    async def story(world: World) -> None:
        first, second = (world.give_mover(name, deletePvcAfterBackup=True) for name in ("backup", "second"))
        assert clone_of(first) == clone_of(second)
        await to_rest(world)
        assert {world.phase(name) for name in ("backup", "second")} == {Phase.COMPLETED}
        names = {
            status(world, name)["restoredPvcName"]: status(world, name)["run"]["jobName"]
            for name in ("backup", "second")
        }
        suffixes = {f"-{uid_of(each).replace('-', '')[:5]}" for each in (first, second)}
        (other,) = names.keys() - {clone_of(first)}
        assert other.removeprefix(clone_of(first)) in suffixes
        assert all(names[claim].endswith(claim) for claim in names)
        assert len(made(world, "clones")) == len(made(world, "jobs")) == 2

    live(story)


@pytest.mark.parametrize("resource", [PERSISTENT_VOLUME_CLAIMS, VOLUME_SNAPSHOTS], ids=lambda each: each.plural)
def test_a_name_that_somebody_else_holds_is_avoided_and_what_holds_it_untouched(resource: Any) -> None:
    async def story(world: World) -> None:
        mover = world.give_mover(copyMethod="Snapshot" if resource is VOLUME_SNAPSHOTS else "Clone")
        spec: dict[str, Any] = {"source": {"persistentVolumeClaimName": "else"}}
        if resource is PERSISTENT_VOLUME_CLAIMS:
            spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        labels = {"app.kubernetes.io/created-by": "datamover-operator"}
        meta = {"name": clone_of(mover), "labels": labels}
        theirs = world.user.create(resource, {"metadata": meta, "spec": spec}, SPACE)
        await to_rest(world)
        assert world.phase() == Phase.COMPLETED
        assert status(world)["restoredPvcName"] == f"{clone_of(mover)}-{uid_of(mover).replace('-', '')[:5]}"
        kept = world.user.find(resource, clone_of(mover), SPACE)
        assert kept is not None
        assert (uid_of(kept), owners_of(kept), is_going(kept)) == (uid_of(theirs), [], False)

    live(story)


def test_a_deleted_datamover_is_left_to_the_collector() -> None:
    async def story(world: World) -> None:
        await world.entering(Phase.CREATING_POD).wait()
        await asyncio.sleep(0.5)
        held = world.ledger.writes
        world.user.delete(DATA_MOVERS, "backup", SPACE)
        await world.until_quiet()
        assert world.ledger.writes == held
        assert not world.user.all(DATA_MOVERS)
        assert copies(world) == []

    live(story, setup="a clone that is removed")
