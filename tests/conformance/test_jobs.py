"""What the Job controller of either world does. The test plays kubelet: it says how Pods end."""

from typing import Any

import pytest

from support.manifests import job, pod_spec
from support.worlds import World


async def pods_of(world: World, name: str) -> list[dict[str, Any]]:
    return (await world.get("pods", labelSelector=f"batch.kubernetes.io/job-name={name}")).expect(200).body["items"]


async def first_pod(world: World, name: str) -> dict[str, Any]:
    async def there() -> list[dict[str, Any]]:
        return await pods_of(world, name)

    return (await world.eventually(there, what="the Pod"))[0]


async def end(world: World, pod: dict[str, Any], *, exit_code: int) -> None:
    """Say that the only container of a Pod ended."""
    terminated = {"exitCode": exit_code, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"}
    status = {
        "phase": "Succeeded" if exit_code == 0 else "Failed",
        "containerStatuses": [
            {
                "name": "c",
                "image": "x",
                "imageID": "x",
                "ready": False,
                "restartCount": 0,
                "state": {"terminated": terminated},
            }
        ],
    }
    (await world.patch("pods", pod["metadata"]["name"], {"status": status}, sub="status")).expect(200)


async def condition(world: World, name: str, kind: str) -> dict[str, Any]:
    """Wait until the Job has the condition, and return it."""

    async def holds() -> dict[str, Any] | None:
        status = (await world.read("jobs", name)).get("status") or {}
        return next(
            (each for each in status.get("conditions") or () if (each["type"], each["status"]) == (kind, "True")), None
        )

    return await world.eventually(holds, what=f"{kind} of job {name}")


async def test_a_job_makes_one_pod_of_its_template(world: World) -> None:
    created = await world.create("jobs", job("j"))

    pod = await first_pod(world, "j")

    metadata = pod["metadata"]
    assert metadata["name"].startswith("j-")
    assert metadata["generateName"] == "j-"
    assert metadata["ownerReferences"] == [
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": "j",
            "uid": created["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    assert created["spec"]["template"]["metadata"]["labels"].items() <= metadata["labels"].items()
    assert metadata["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    assert pod["spec"]["containers"][0]["image"] == "example.com/none"


async def test_a_running_job_counts_its_pods(world: World) -> None:
    await world.create("jobs", job("j"))
    pod = await first_pod(world, "j")

    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    (await world.patch("pods", pod["metadata"]["name"], {"status": status}, sub="status")).expect(200)

    async def counted() -> bool:
        status = (await world.read("jobs", "j"))["status"]
        return (status.get("active"), status.get("ready")) == (1, 1)

    await world.eventually(counted, what="the count")
    assert (await world.read("jobs", "j"))["status"]["startTime"]


async def test_a_job_whose_pod_succeeds_is_complete(world: World) -> None:
    await world.create("jobs", job("j"))
    pod = await first_pod(world, "j")

    await end(world, pod, exit_code=0)

    complete = await condition(world, "j", "Complete")
    status = (await world.read("jobs", "j"))["status"]
    assert complete["reason"] == "CompletionsReached"
    assert [each["type"] for each in status["conditions"]] == ["SuccessCriteriaMet", "Complete"]
    assert (status["succeeded"], status.get("failed", 0), status.get("active", 0)) == (1, 0, 0)
    assert status["completionTime"]
    assert "finalizers" not in (await world.read("pods", pod["metadata"]["name"]))["metadata"]


async def test_a_job_without_retries_fails_with_its_pod(world: World) -> None:
    await world.create("jobs", job("j", backoffLimit=0))
    pod = await first_pod(world, "j")

    await end(world, pod, exit_code=3)

    failed = await condition(world, "j", "Failed")
    status = (await world.read("jobs", "j"))["status"]
    assert (failed["reason"], failed["message"]) == (
        "BackoffLimitExceeded",
        "Job has reached the specified backoff limit",
    )
    assert [each["type"] for each in status["conditions"]] == ["FailureTarget", "Failed"]
    assert (status["failed"], status.get("succeeded", 0), status.get("completionTime")) == (1, 0, None)


@pytest.mark.slow
async def test_a_failed_pod_is_followed_by_another_after_a_pause(world: World) -> None:
    await world.create("jobs", job("j", backoffLimit=1))
    first = await first_pod(world, "j")

    await end(world, first, exit_code=3)

    async def two() -> list[dict[str, Any]] | None:
        pods = await pods_of(world, "j")
        return pods if len(pods) == 2 else None

    pods = await world.eventually(two, seconds=30, what="the second Pod")
    second = next(pod for pod in pods if pod["metadata"]["name"] != first["metadata"]["name"])
    await end(world, second, exit_code=3)
    assert (await condition(world, "j", "Failed"))["reason"] == "BackoffLimitExceeded"
    assert (await world.read("jobs", "j"))["status"]["failed"] == 2


async def test_a_deleted_pod_is_replaced(world: World) -> None:
    await world.create("jobs", job("j"))
    first = await first_pod(world, "j")

    (await world.delete("pods", first["metadata"]["name"], {"gracePeriodSeconds": 0})).expect(200)

    async def replaced() -> bool:
        return any(pod["metadata"]["uid"] != first["metadata"]["uid"] for pod in await pods_of(world, "j"))

    await world.eventually(replaced, seconds=30, what="another Pod")


async def test_a_suspended_job_has_no_pod_until_it_is_resumed(world: World) -> None:
    await world.create("jobs", job("j", suspend=True))
    assert (await condition(world, "j", "Suspended"))["reason"] == "JobSuspended"
    assert await pods_of(world, "j") == []

    (await world.patch("jobs", "j", {"spec": {"suspend": False}})).expect(200)
    pod = await first_pod(world, "j")
    (await world.patch("jobs", "j", {"spec": {"suspend": True}})).expect(200)

    await world.gone("pods", pod["metadata"]["name"])
    await condition(world, "j", "Suspended")


async def test_a_deadline_fails_the_job_and_ends_its_pods(world: World) -> None:
    await world.create("jobs", job("j", activeDeadlineSeconds=3))
    pod = await first_pod(world, "j")

    failed = await condition(world, "j", "Failed")

    assert (failed["reason"], failed["message"]) == (
        "DeadlineExceeded",
        "Job was active longer than specified deadline",
    )
    await world.gone("pods", pod["metadata"]["name"])


async def test_a_job_with_a_time_to_live_goes_after_its_end(world: World) -> None:
    await world.create("jobs", job("j", ttlSecondsAfterFinished=1))
    pod = await first_pod(world, "j")

    await end(world, pod, exit_code=0)

    await world.gone("jobs", "j")
    await world.gone("pods", pod["metadata"]["name"])


async def test_a_failure_policy_ends_the_job_at_once(world: World) -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
    await world.create("jobs", job("j", backoffLimit=6, podFailurePolicy={"rules": [rule]}))
    pod = await first_pod(world, "j")

    await end(world, pod, exit_code=42)

    failed = await condition(world, "j", "Failed")
    assert failed["reason"] == "PodFailurePolicy"
    assert "exit code 42" in failed["message"]


async def test_parallel_completions_are_counted(world: World) -> None:
    await world.create("jobs", job("j", parallelism=2, completions=2))

    async def two() -> list[dict[str, Any]] | None:
        pods = await pods_of(world, "j")
        return pods if len(pods) == 2 else None

    for pod in await world.eventually(two, what="two Pods"):
        await end(world, pod, exit_code=0)

    await condition(world, "j", "Complete")
    assert (await world.read("jobs", "j"))["status"]["succeeded"] == 2


async def test_a_pod_whose_job_forgot_it_keeps_its_result(world: World) -> None:
    """A Pod that ended is counted even when it is deleted right after: its finalizer holds it until then."""
    await world.create("jobs", job("j", template=pod_spec(nodeName="nowhere")))
    pod = await first_pod(world, "j")

    await end(world, pod, exit_code=0)
    await world.delete("pods", pod["metadata"]["name"], {"gracePeriodSeconds": 0})

    await condition(world, "j", "Complete")
    assert (await world.read("jobs", "j"))["status"]["succeeded"] == 1
    await world.gone("pods", pod["metadata"]["name"])


async def test_foreground_deletion_of_a_job_waits_for_its_pods(world: World) -> None:
    await world.create("jobs", job("j", template=pod_spec(nodeName="nowhere")))
    pod = await first_pod(world, "j")

    (await world.delete("jobs", "j", {"propagationPolicy": "Foreground"})).expect(200)

    async def terminating() -> bool:
        return "deletionTimestamp" in (await world.read("pods", pod["metadata"]["name"]))["metadata"]

    await world.eventually(terminating, what="the Pod's deletion")
    await world.read("jobs", "j")
    await world.delete("pods", pod["metadata"]["name"], {"gracePeriodSeconds": 0})
    await world.gone("jobs", "j")
