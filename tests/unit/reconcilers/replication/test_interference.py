"""What people take away or change while a synchronisation is under way, and what becomes of it."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from datamover.api.names import RUN_ID_LABEL
from datamover.api.volsync.replication_source import ReplicationSourceStatus
from datamover.plans.steps import Create, Delete, Plan, ProveSame, ProveStatus
from datamover.reconcilers.replication.kind import ReplicationKind
from datamover.reconcilers.replication.needs import KeyMakers
from kubekit.words.batch import JOBS
from support.theatre import KEYS, SECRETS, Theatre

GOING = "2026-11-29T11:12:51Z"


def removed(plan: Plan[Any]) -> list[tuple[str, str]]:
    return [(step.resource.kind, step.target.name) for step in plan.steps if isinstance(step, Delete)]


def made(plan: Plan[Any]) -> list[tuple[str, str]]:
    return [(step.resource.kind, step.manifest["metadata"]["name"]) for step in plan.steps if isinstance(step, Create)]


def test_another_method_removes_the_mover_of_the_one_before_and_waits_for_it() -> None:
    it = Theatre.source("rsyncTLS", address="there").start()
    it.manifest["spec"]["rsync"] = it.manifest["spec"].pop("rsyncTLS") | {"keySecret": None}
    assert removed(it.plan()) == [("Job", "volsync-rsync-tls-src-db")]
    it.job["metadata"]["deletionTimestamp"] = GOING
    waiting = it.plan()
    assert not waiting.steps
    assert waiting.wake_after is not None
    it.delete("Job", "volsync-rsync-tls-src-db")
    it.act()
    assert it.there("Job") == {"volsync-rsync-src-db"}


def test_what_a_movers_pod_waits_for_is_made_again() -> None:
    it = Theatre.source("restic").start()
    it.delete("PersistentVolumeClaim", "volsync-src-db-cache")
    assert made(it.plan()) == [("PersistentVolumeClaim", "volsync-src-db-cache")]
    it.act()
    it.succeed()
    it.delete("PersistentVolumeClaim", "volsync-src-db-cache")
    assert not made(it.plan()), "who has ended waits for nothing"


def test_no_mover_starts_with_a_cache_that_is_being_deleted() -> None:
    it = Theatre.source("restic", copy="Direct").start()
    it.delete("Job", "volsync-src-db")
    cache = it.objects["PersistentVolumeClaim", "volsync-src-db-cache"]
    cache["metadata"]["deletionTimestamp"] = GOING
    it.act()
    assert not it.there("Job")
    it.later(600)
    it.act()
    assert it.condition("Stalled")[:2] == ("True", "WaitingForCloneRemoval")
    assert "volsync-src-db-cache is being deleted" in it.condition("Stalled")[2]
    it.delete("PersistentVolumeClaim", "volsync-src-db-cache")
    it.start()


def test_the_claim_of_a_destination_that_is_gone_is_made_and_written_anew_even_when_its_mover_has_succeeded() -> None:
    it = Theatre.destination("restic", copy="Direct").start()
    it.succeed()
    it.delete("PersistentVolumeClaim", "volsync-back-dest")
    assert removed(it.plan()) == [("Job", "volsync-dst-back")]
    it.act()
    assert "latestImage" not in it.status
    it.start()
    it.succeed()
    it.act()
    assert it.status["latestImage"]["name"] == "volsync-back-dest"


def test_two_synchronisations_never_begin_in_the_same_second() -> None:
    it = Theatre.source("rsyncTLS", copy="Direct", address="there")
    del it.manifest["spec"]["trigger"]
    it.start()
    begun = it.status["lastSyncStartTime"]
    it.succeed()
    it.act()
    assert it.synced
    waiting = it.plan()
    assert not waiting.steps
    assert waiting.wake_after == 1.0
    it.later(1.0)
    it.act()
    assert it.status["lastSyncStartTime"] > begun


def test_a_copy_that_is_lost_at_once_is_taken_again_in_the_next_second() -> None:
    it = Theatre.source("restic").start()
    begun = it.status["lastSyncStartTime"]
    it.delete("PersistentVolumeClaim", "volsync-db-src")
    it.delete("Job", "volsync-src-db")
    it.act()
    assert it.status["lastSyncStartTime"] == begun
    it.later(1.0)
    it.act()
    assert it.status["lastSyncStartTime"] > begun


def test_an_error_is_a_wait_so_that_replicas_that_disagree_over_one_do_not_correct_each_other_without_a_pause() -> None:
    it = Theatre.source("restic", copy="Direct")
    kind = object.__new__(ReplicationKind)
    it.secrets.clear()
    it.act()
    assert it.condition()[1] == "Error"
    error, (*_, before) = it.obj.status, [status for status in it.statuses if is_in_progress(status)]
    going = replace(it.obj, status=msgspec.convert(before, ReplicationSourceStatus)).status
    assert kind.stage(error) == kind.stage(going)
    it.later(60)
    it.secrets.update(SECRETS)
    it.finish()
    assert kind.stage(it.obj.status) != kind.stage(error)


def test_what_is_left_over_is_removed_only_by_who_knows_how_far_the_object_is() -> None:
    it = Theatre.source("restic").start()
    it.succeed()
    it.act_once()
    assert it.synced
    proved, *left = it.plan().steps
    assert proved == ProveStatus()
    assert any(isinstance(step, Delete) for step in left)


def test_a_copy_is_made_and_removed_only_by_who_knows_which_synchronisation_it_is() -> None:
    it = Theatre.source("restic")
    it.act_once()
    proved, copied, *_ = it.plan().steps
    assert proved == ProveStatus()
    assert isinstance(copied, Create)
    it.act()
    it.objects["PersistentVolumeClaim", "volsync-db-src"]["metadata"]["labels"][RUN_ID_LABEL] = "another"
    proved, same, removed, *_ = it.plan().steps
    assert proved == ProveStatus()
    assert isinstance(same, ProveSame), (
        "a cache that is late shows the copy before, and the Job beside it is of the new one"
    )
    assert isinstance(removed, Delete)
    assert same.target == removed.target


def test_a_job_is_removed_for_a_claim_that_goes_only_by_who_knows_that_it_goes() -> None:
    it = Theatre.source("restic", copy="Direct").start()
    it.objects["PersistentVolumeClaim", "volsync-src-db-cache"]["metadata"]["deletionTimestamp"] = (
        "2024-08-06T14:30:00Z"
    )
    steps = it.plan().steps
    (same,) = [step for step in steps if isinstance(step, ProveSame)]
    (gone,) = [step for step in steps if isinstance(step, Delete)]
    assert same.target.name == "volsync-src-db-cache"
    assert gone.resource is JOBS
    assert steps.index(same) < steps.index(gone)


def test_what_is_of_an_earlier_round_is_removed_only_by_who_knows_that_it_is() -> None:
    it = Theatre.source("restic", copy="Snapshot").start()
    for kind, name in (
        ("Job", "volsync-src-db"),
        ("PersistentVolumeClaim", "volsync-db-src"),
        ("VolumeSnapshot", "volsync-db-src"),
    ):
        it.objects[kind, name]["metadata"]["labels"][RUN_ID_LABEL] = "another"
    proved, *left = it.plan().steps
    assert proved == ProveStatus()
    assert removed(Plan(tuple(left))) == [
        ("Job", "volsync-src-db"),
        ("PersistentVolumeClaim", "volsync-db-src"),
        ("VolumeSnapshot", "volsync-db-src"),
    ]


OLD_CACHE = "volsync-db-cache"


@pytest.mark.parametrize("method", ["restic", "rclone"])
@pytest.mark.parametrize(("owner", "label", "goes"), [(True, True, True), (True, False, False), (False, True, False)])
def test_the_cache_of_an_older_name_goes_where_it_is_the_objects(
    method: str, *, owner: bool, label: bool, goes: bool
) -> None:
    it = Theatre.source(method, copy="Direct").finish()
    it.claim(OLD_CACHE)
    metadata = it.objects["PersistentVolumeClaim", OLD_CACHE]["metadata"]
    if label:
        metadata["labels"] = {"app.kubernetes.io/created-by": "volsync"}
    if owner:
        metadata["ownerReferences"] = [
            {
                "kind": "ReplicationSource",
                "apiVersion": "volsync.backube/v1alpha1",
                "name": "db",
                "uid": it.uid,
                "controller": True,
            }
        ]
    goes = goes and method == "restic"
    steps = it.plan().steps
    assert removed(Plan(steps)) == ([("PersistentVolumeClaim", OLD_CACHE)] if goes else [])
    if goes:
        assert steps[0] == ProveStatus()
    it.act()
    assert (OLD_CACHE in it.there("PersistentVolumeClaim")) is not goes


def is_in_progress(status: dict[str, Any]) -> bool:
    return any(each["reason"] == "SyncInProgress" for each in status["conditions"])


class Cupboard:
    """What the Secrets of an object hold."""

    def __init__(self) -> None:
        self.held: dict[str, Mapping[str, bytes]] = {}
        self.generated = 0

    async def read(self, namespace: str, name: str) -> Mapping[str, bytes]:
        return self.held[name]

    async def generate(self) -> Mapping[str, bytes]:
        self.generated += 1
        return {
            key: f"{key} {self.generated}".encode()
            for key in ("source", "source.pub", "destination", "destination.pub")
        }

    def fill(self, plan: Plan[Any]) -> None:
        for step in plan.steps:
            if isinstance(step, Create) and step.secret is not None:
                found = step.secret()
                if isinstance(found, Awaitable):
                    found = asyncio.run(_wait(found))
                self.held[step.manifest["metadata"]["name"]] = found


async def _wait(found: Awaitable[Mapping[str, bytes]]) -> Mapping[str, bytes]:
    return await found


MAIN, LEFT, RIGHT = (f"volsync-rsync-dst-{part}-back" for part in ("main", "src", "dest"))


def with_keys() -> tuple[Theatre, Cupboard]:
    it, cupboard = Theatre.destination("rsync", copy="Direct"), Cupboard()
    it.keys = KeyMakers(psk=KEYS.psk, ssh=cupboard.generate, read=cupboard.read)
    for _ in range(8):
        cupboard.fill(it.plan())
        it.act_once()
        it.bind_all()
        if it.there("Job"):
            break
    assert set(cupboard.held) == {MAIN, LEFT, RIGHT}
    return it, cupboard


def test_the_secret_with_all_keys_is_put_together_again_from_those_of_both_sides() -> None:
    it, cupboard = with_keys()
    before = dict(cupboard.held)
    it.delete("Secret", MAIN)
    del cupboard.held[MAIN]
    cupboard.fill(it.plan())
    assert cupboard.held == before
    assert cupboard.generated == 1


@pytest.mark.parametrize("lost", [LEFT, RIGHT])
def test_keys_that_cannot_be_put_together_are_told_and_never_mixed_with_new_ones(lost: str) -> None:
    it, cupboard = with_keys()
    it.delete("Job", "volsync-rsync-dst-back")
    it.delete("Secret", MAIN)
    it.delete("Secret", lost)
    assert not made(it.plan())
    it.act()
    (left,) = {LEFT, RIGHT} - {lost}
    assert it.condition()[1] == "Error"
    assert f"delete {left} as well" in it.condition()[2]
    it.delete("Secret", left)
    cupboard.held.clear()
    cupboard.fill(it.plan())
    assert cupboard.generated == 2
