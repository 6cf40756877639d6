"""When a server is asked whether its object has changed, and what becomes of the answer."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from datamover.api.cdi.data_import_cron import DATA_IMPORT_CRONS
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.transfer import Outcome, encode_outcome
from kubekit.words.batch import JOBS
from kubekit.words.core import PODS
from kubekit.words.timestamps import seconds
from support.image_cron import DIGEST, LABEL, Images, digest, name_of

SOURCE = {"http": {"url": "https://a.example/x", "secretRef": "login", "certConfigMap": "ca", "extraHeaders": ["A: b"]}}
JOB = "poll-cron"


def images(schedule: str = "0 3 * * *", source: Any = SOURCE) -> Images:
    return Images(schedule=schedule, template={"spec": {"source": source, "storage": {}}})


def end(world: Images, **outcome: Any) -> None:
    """The worker ends."""
    said = Outcome(**outcome)
    condition = {"type": "Complete" if said.succeeded else "Failed", "status": "True"}
    job = world.tree(JOBS, JOB)
    assert job is not None
    world.change(JOBS, JOB, {"status": {"conditions": [condition]}})
    ended = {"exitCode": 0 if said.succeeded else 20, "message": encode_outcome(said).decode()}
    world.put(
        PODS,
        "pod",
        metadata={
            "ownerReferences": [{"kind": "Job", "uid": job["metadata"]["uid"]}],
            "labels": job["metadata"]["labels"],
        },
        status={"phase": "Succeeded", "containerStatuses": [{"name": "importer", "state": {"terminated": ended}}]},
    )


def annotation(world: Images) -> str | None:
    return (world.cron.metadata.annotations or {}).get(DIGEST)


def test_a_server_is_asked_at_once_and_then_when_the_schedule_says_so() -> None:
    world = images()
    world.settle()
    assert world.created == [("Job", JOB)]
    end(world, succeeded=True, digest=digest(1))
    world.settle()
    assert annotation(world) == digest(1)
    assert world.names(JOBS) == set(), "the Job goes when its answer is recorded"
    assert ("DataVolume", name_of(1)) in world.created
    status = world.cron.status
    assert status is not None
    assert status.last_execution_timestamp == "2026-11-30T12:00:00Z"
    wait = world.plan().wake_after
    assert wait is not None
    assert 15 * 3600 - 1 < wait < 15 * 3600 + 1
    world.now += timedelta(hours=15, seconds=1)
    world.settle()
    assert world.names(JOBS) == {JOB}


def test_the_same_answer_imports_nothing() -> None:
    world = images()
    for _ in range(2):
        world.settle()
        end(world, succeeded=True, digest=digest(1))
        world.settle()
        world.now += timedelta(days=1)
    assert [name for kind, name in world.created if kind == "DataVolume"] == [name_of(1)]


@pytest.mark.parametrize(
    ("schedule", "source"),
    [("", SOURCE), ("0 3 * * *", {"registry": {"url": "docker://x"}}), ("0 3 * * *", {"blank": {}})],
)
def test_nobody_is_asked_without_a_schedule_or_of_another_source(schedule: str, source: Any) -> None:
    world = images(schedule, source)
    world.settle()
    assert world.created == []


def test_a_failure_is_told_kept_to_be_looked_at_and_tried_again_at_the_next_time() -> None:
    world = images()
    world.settle()
    end(world, reason="AccessDenied", failure_class="denied", message="the server says no")
    world.settle()
    assert world.condition("UpToDate") == ("False", "PollFailed")
    assert world.names(JOBS) == {JOB}
    assert world.told.count("PollFailed") >= 1
    before = world.writes
    world.settle()
    assert world.writes == before
    world.now += timedelta(days=1)
    world.settle()
    assert world.created.count(("Job", JOB)) == 2
    end(world, succeeded=True, digest=digest(2))
    world.settle()
    assert annotation(world) == digest(2)


def test_a_server_that_fails_later_is_told_beside_the_image_that_is_there_until_it_answers_again() -> None:
    world = images()
    world.settle()
    end(world, succeeded=True, digest=digest(1))
    world.settle()
    world.complete(name_of(1))
    world.settle()
    assert world.condition("Polled") == ("True", "Polled")
    heartbeats = [_heartbeat(world)]
    world.now += timedelta(days=1)
    world.settle()
    end(world, reason="AccessDenied", failure_class="denied", message="the server says no")
    world.settle()
    for _ in range(2):
        assert world.condition("UpToDate") == ("True", "UpToDate")
        assert "the server says no" in _message(world, "UpToDate")
        assert world.condition("Polled") == ("False", "PollFailed")
        before = world.writes
        world.settle()
        assert world.writes == before
        world.now += timedelta(days=1)
        world.settle()
    assert world.names(JOBS) == {JOB}, "it is asked again, and the failure is remembered meanwhile"
    end(world, succeeded=True, digest=digest(1))
    world.settle()
    assert "the server says no" not in _message(world, "UpToDate")
    assert world.condition("Polled") == ("True", "Polled")
    assert world.told.count("PollFailed") == 1
    heartbeats.append(_heartbeat(world))
    world.now += timedelta(days=1)
    world.settle()
    end(world, succeeded=True, digest=digest(1))
    world.settle()
    heartbeats.append(_heartbeat(world))
    assert heartbeats == sorted(set(heartbeats)), "the last answer"


@pytest.mark.parametrize("minutes", [-90, 90])
def test_clocks_that_differ_neither_lose_an_answer_nor_write_for_ever(minutes: int) -> None:
    world = images("* * * * *")
    for number in range(1, 4):
        world.settle()
        ahead = {"creationTimestamp": seconds(world.now + timedelta(minutes=minutes))}
        world.change(JOBS, JOB, {"metadata": ahead})
        end(world, succeeded=True, digest=digest(number))
        before = world.writes
        world.settle()
        assert annotation(world) == digest(number)
        assert world.names(JOBS) == set()
        assert world.writes - before < 12
        world.now += timedelta(minutes=1)


def _heartbeat(world: Images) -> str:
    status = world.cron.status
    return next(each.last_heartbeat_time for each in (status and status.conditions) or () if each.type == "Polled")


def _message(world: Images, condition: str) -> str:
    status = world.cron.status
    return next(each.message for each in (status and status.conditions) or () if each.type == condition)


@pytest.mark.parametrize("said", ["", "sha256:", "sha256:" + "g" * 64, "../../x", "sha256:" + "0" * 500])
def test_an_answer_that_is_no_digest_is_not_believed(said: str) -> None:
    world = images()
    world.settle()
    end(world, succeeded=True, digest=said)
    world.settle()
    assert annotation(world) is None
    assert world.condition("UpToDate") == ("False", "PollFailed")


def test_the_job_asks_with_the_users_words_and_mounts_no_claim() -> None:
    world = images()
    world.settle()
    job = world.tree(JOBS, JOB)
    assert job is not None
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {each["name"]: each for each in container["env"]}
    assert variables["POLL"]["value"] == "true"
    assert variables["URL"]["value"] == SOURCE["http"]["url"]
    assert variables["SECRET_KEY"]["valueFrom"]["secretKeyRef"]["name"] == "login"
    assert not any("persistentVolumeClaim" in each for each in pod["volumes"])
    assert any(each.get("configMap", {}).get("name") == "ca" for each in pod["volumes"])
    assert container["args"] == ["importer"]


def test_a_job_of_somebody_else_is_left_alone() -> None:
    world = images()
    world.put(
        JOBS,
        JOB,
        spec={},
        status={"conditions": [{"type": "Complete", "status": "True"}]},
        metadata={"labels": {"app.kubernetes.io/created-by": "datamover"}},
    )
    world.settle()
    assert world.deleted == []


@pytest.mark.parametrize("steps", range(6))
def test_whoever_dies_in_between_the_answer_is_not_lost(steps: int) -> None:
    world = images()
    world.settle(steps=steps)
    world.settle()
    end(world, succeeded=True, digest=digest(3))
    world.settle(steps=steps)
    world.settle()
    assert annotation(world) == digest(3)
    assert world.names(JOBS) == set()
    assert world.names(DATA_VOLUMES) == {name_of(3)}
    assert LABEL in msgspec.to_builtins(world.tree(DATA_VOLUMES, name_of(3)))["metadata"]["labels"]
    assert world.tree(DATA_IMPORT_CRONS, "cron")
