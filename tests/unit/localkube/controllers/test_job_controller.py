import asyncio

from localkube.controllers.job.kinds import JOBS, PODS, TRACKING_FINALIZER
from localkube.controllers.suite import LocalControllers

CONTAINER = {"name": "main", "image": "busybox"}


def job(name="j", **spec):
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"restartPolicy": "Never", "containers": [CONTAINER]}}
    return {"metadata": {"name": name}, "spec": {"backoffLimit": 1, "template": template, **spec}}


async def pods(world):
    return await world.client.list(PODS, namespace="default")


async def next_pod(world, *, beyond=()):
    async def found():
        return next((p for p in await pods(world) if not p.finished and p.metadata.uid not in beyond), None)

    return await world.until(found, what="a new pod")


async def finish(world, pod, *, code=0):
    state = {"terminated": {"exitCode": code, "finishedAt": "2026-01-01T00:00:00Z", "startedAt": None}}
    status = {
        "phase": "Failed" if code else "Succeeded",
        "containerStatuses": [
            {"name": "main", "image": "", "imageID": "", "ready": False, "restartCount": 0, "state": state}
        ],
    }
    await world.patch(PODS, pod.metadata.name, status, status=True)


async def until_condition(world, type_, name="j"):
    async def found():
        made = await world.get(JOBS, name)
        return made if made is not None and made.condition(type_) else None

    return await world.until(found, what=f"{name} {type_}")


async def test_a_job_makes_one_pod_and_completes_with_it(world):
    await world.create(JOBS, job())
    pod = await next_pod(world)
    assert pod.metadata.name.startswith("j-")
    assert pod.metadata.labels["app"] == "x"
    assert pod.metadata.labels["batch.kubernetes.io/job-name"] == "j"
    assert TRACKING_FINALIZER in pod.metadata.finalizers
    owner = pod.metadata.owner_references[0]
    assert (owner.kind, owner.name, owner.controller, owner.block_owner_deletion) == ("Job", "j", True, True)
    await finish(world, pod)
    done = await until_condition(world, "Complete")
    assert (done.status.succeeded, done.status.active, done.status.failed) == (1, None, None)
    assert done.status.completion_time
    assert len(await pods(world)) == 1
    assert TRACKING_FINALIZER not in ((await pods(world))[0].metadata.finalizers or ())
    await world.quiet()
    assert {("Job", "SuccessfulCreate"), ("Job", "Completed")} <= {e[:2] for e in await world.events()}


async def test_failures_are_retried_up_to_the_limit_and_counted_once(world):
    await world.create(JOBS, job(backoffLimit=2))
    seen = []
    for _ in range(3):
        pod = await next_pod(world, beyond=seen)
        seen.append(pod.metadata.uid)
        await finish(world, pod, code=1)
    failed = await until_condition(world, "Failed")
    assert failed.condition("Failed").reason == "BackoffLimitExceeded"
    assert failed.condition("FailureTarget").reason == "BackoffLimitExceeded"
    assert failed.status.failed == 3
    assert len(await pods(world)) == 3


async def test_a_restarted_controller_goes_on_where_it_stopped(bare):
    first = bare.run(LocalControllers(bare.client, server=bare.server, job_backoff_base=0.01).run)
    await bare.create(JOBS, job(backoffLimit=1))
    pod = await next_pod(bare)
    await bare.stop(first)
    await finish(bare, pod, code=1)
    second = bare.run(LocalControllers(bare.client, server=bare.server, job_backoff_base=0.01).run)
    again = await next_pod(bare)
    await finish(bare, again, code=1)
    failed = await until_condition(bare, "Failed")
    assert failed.status.failed == 2
    await bare.quiet()
    await bare.stop(second)
    before = bare.writes()
    bare.run(LocalControllers(bare.client, server=bare.server, job_backoff_base=0.01).run)
    await asyncio.sleep(0.3)
    assert bare.writes() == before


async def test_deleting_a_job_takes_its_pods_along(world):
    await world.create(JOBS, job())
    pod = await next_pod(world)
    await world.delete(JOBS, "j", propagation="Background")
    await world.until_gone(JOBS, "j")
    await world.until_gone(PODS, pod.metadata.name)


async def test_foreground_deletion_waits_for_the_pods(world):
    await world.create(JOBS, job())
    pod = await next_pod(world)
    await world.patch(PODS, pod.metadata.name, {"metadata": {"finalizers": [TRACKING_FINALIZER, "test/hold"]}})
    await world.delete(JOBS, "j", propagation="Foreground")
    await asyncio.sleep(0.2)
    assert (await world.get(JOBS, "j")).metadata.terminating
    await world.patch(PODS, pod.metadata.name, {"metadata": {"finalizers": None}})
    await world.until_gone(JOBS, "j")


async def test_a_job_with_a_short_life_is_removed_after_it_finished(world):
    await world.create(JOBS, job(ttlSecondsAfterFinished=0))
    await finish(world, await next_pod(world))
    await world.until_gone(JOBS, "j")
    await world.until(lambda: _none(world), what="pods are gone")


async def _none(world):
    return not await pods(world)


async def test_suspending_takes_the_pod_back_and_resuming_makes_another(world):
    await world.create(JOBS, job())
    pod = await next_pod(world)
    await world.patch(JOBS, "j", {"spec": {"suspend": True}})
    await until_condition(world, "Suspended")
    await world.until_gone(PODS, pod.metadata.name)
    await world.patch(JOBS, "j", {"spec": {"suspend": False}})
    await finish(world, await next_pod(world, beyond=[pod.metadata.uid]))
    done = await until_condition(world, "Complete")
    assert done.status.failed is None


async def test_the_deadline_ends_a_running_job(world):
    await world.create(JOBS, job(activeDeadlineSeconds=1))
    pod = await next_pod(world)
    failed = await until_condition(world, "Failed")
    assert failed.condition("Failed").reason == "DeadlineExceeded"
    await world.until_gone(PODS, pod.metadata.name)


async def test_an_indexed_job_is_refused_with_an_event(world):
    await world.create(JOBS, job(completionMode="Indexed", completions=2, parallelism=2))

    async def told():
        return [e for e in await world.events() if e[1] == "Unsupported"]

    assert "completionMode NonIndexed" in (await world.until(told))[0][2]
    assert await pods(world) == ()


async def test_a_job_of_another_controller_is_left_alone(world):
    await world.create(JOBS, job(managedBy="example.com/other"))
    await world.create(JOBS, job("ours"))
    await next_pod(world)
    assert [p.metadata.labels["job-name"] for p in await pods(world)] == ["ours"]


async def test_many_jobs_make_exactly_one_pod_each(world):
    for number in range(30):
        await world.create(JOBS, job(f"j{number}"))

    async def all_there():
        return len(await pods(world)) >= 30

    await world.until(all_there)
    await world.quiet()
    assert len(await pods(world)) == 30
