"""The operator: latency and writes of one DataMover, idle fleets, a thousand runs."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from bench.processes import Usage, operator_process, settle, usage
from bench.standin import StandIn
from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.http import HttpTransport
from kubekit.runtime.informer import Informer
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PODS, SECRETS
from kubekit.words.storage import STORAGE_CLASSES

_NAMESPACE = "default"
_SPEC = {"sourcePvc": "app-data", "secretName": "storage", "addTimestampPrefix": True, "deletePvcAfterBackup": True}
_LIMIT = 600.0


@contextlib.asynccontextmanager
async def connect(kubeconfig: Path) -> AsyncGenerator[Client]:
    """Yield a client of the server."""
    transport = HttpTransport(load_config(kubeconfig))
    try:
        yield Client(transport, user_agent="bench")
    finally:
        await transport.close()


async def furnish(client: Client) -> None:
    """Create the class, the Secret and the bound source volume that every DataMover names."""
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "BUCKET_HOST", "BUCKET_NAME")
    claim = {"accessModes": ["ReadWriteOnce"], "storageClassName": "csi", "resources": {"requests": {"storage": "1Gi"}}}
    bound = {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}
    await client.create(STORAGE_CLASSES, {"metadata": {"name": "csi"}, "provisioner": "csi.example.com"})
    await client.create(
        SECRETS, {"metadata": {"name": "storage", "namespace": _NAMESPACE}, "stringData": dict.fromkeys(keys, "x")}
    )
    await client.create(
        PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": "app-data", "namespace": _NAMESPACE}, "spec": claim}
    )
    await client.patch(
        PERSISTENT_VOLUME_CLAIMS,
        "app-data",
        {"status": bound},
        namespace=_NAMESPACE,
        subresource="status",
        field_manager="bench",
    )


def measure_one(kubeconfig: Path) -> dict[str, Any]:
    """One DataMover with an instant node, then one whose clone binds after 1 s and whose Job takes 2 s."""

    async def play() -> dict[str, Any]:
        async with connect(kubeconfig) as client:
            instant = [await _run_one(client, f"one-{index}", clone=0, job=0) for index in range(5)]
            slow = await _run_one(client, "slow", clone=1, job=2)
            return {
                "created to Job, median of 5, s": round(sorted(one[0] for one in instant)[2], 3),
                "created to Completed, median of 5, s": round(sorted(one[1] for one in instant)[2], 3),
                "clone 1 s, Job 2 s: created to Job, s": round(slow[0], 2),
                "clone 1 s, Job 2 s: created to Completed, s": round(slow[1], 2),
            }

    with tempfile.TemporaryDirectory() as place, operator_process(kubeconfig, Path(place) / "log") as process:
        settle(process.pid)
        return asyncio.run(play())


async def _run_one(client: Client, name: str, *, clone: float, job: float) -> tuple[float, float]:
    async with _node(client, clone=clone, job=job) as standin:
        seen = asyncio.Event()
        moment: list[float] = []

        def note(old: object, new: object) -> None:
            if old is None and new is not None:
                moment.append(time.monotonic())
                seen.set()

        standin.jobs.add_handler(note)
        moment.clear()
        begun = time.monotonic()
        await client.create(DATA_MOVERS, _mover(name))
        await asyncio.wait_for(seen.wait(), _LIMIT)
        created = moment[0] - begun
        await _wait_completed(client, 1, name=name)
        return created, time.monotonic() - begun


def measure_many(kubeconfig: Path, *, count: int) -> dict[str, Any]:
    """`count` DataMovers to Completed; a stand-in binds clones and completes Jobs at once, and nothing is moved."""

    async def play(pid: int) -> dict[str, Any]:
        async with connect(kubeconfig) as client, _node(client, clone=0, job=0):
            before = usage(pid)
            begun = time.monotonic()
            gate = asyncio.Semaphore(16)

            async def create(index: int) -> None:
                async with gate:
                    await client.create(DATA_MOVERS, _mover(f"many-{index}"))

            completed = asyncio.create_task(_wait_completed(client, count, prefix="many-"))
            await asyncio.gather(*(create(index) for index in range(count)))
            await completed
            took = time.monotonic() - begun
            after = usage(pid)
            return {
                f"{count} to Completed, s": round(took, 1),
                f"{count} to Completed, operator CPU s": round(after.cpu - before.cpu, 1),
                f"{count} to Completed, operator RSS MiB": round(after.rss),
            }

    with tempfile.TemporaryDirectory() as place, operator_process(kubeconfig, Path(place) / "log") as process:
        settle(process.pid)
        return asyncio.run(play(process.pid))


def measure_idle(kubeconfig: Path, *, count: int) -> dict[str, Any]:
    """The operator started over `count` finished DataMovers with three children each: time to rest, memory, CPU while idle."""

    async def fill() -> None:
        async with connect(kubeconfig) as client:
            await _fill(client, count)

    asyncio.run(fill())
    with tempfile.TemporaryDirectory() as place, operator_process(kubeconfig, Path(place) / "log") as process:
        ready = settle(process.pid)
        first: Usage = usage(process.pid)
        time.sleep(10)
        second = usage(process.pid)
    return {
        f"{count} idle: start to rest, s": round(ready, 1),
        f"{count} idle: start CPU, s": round(first.cpu, 2),
        f"{count} idle: CPU in 10 s, s": round(second.cpu - first.cpu, 3),
        f"{count} idle: RSS MiB": round(second.rss),
    }


async def _fill(client: Client, count: int) -> None:
    """Create finished DataMovers, each with a clone, a Job and a Pod, as a fleet without clean-up has them."""
    gate = asyncio.Semaphore(16)
    present = {mover.metadata.name for mover in await client.list(DATA_MOVERS, namespace=_NAMESPACE)}

    async def one(index: int) -> None:
        name = f"idle-{index}"
        if name in present:
            return
        async with gate:
            created = await client.create(DATA_MOVERS, _mover(name))
            await client.patch(
                DATA_MOVERS,
                name,
                {"status": _finished(created)},
                namespace=_NAMESPACE,
                subresource="status",
                field_manager="bench",
            )
            labels = {"app.kubernetes.io/created-by": "datamover-operator"}
            meta = {"name": f"restored-{name}", "namespace": _NAMESPACE, "labels": labels}
            claim = {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": "csi",
            }
            await client.create(PERSISTENT_VOLUME_CLAIMS, {"metadata": meta, "spec": claim})
            template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "rclone", "image": "stand-in"}]}}
            job = {"metadata": {**meta, "name": f"verify-{name}"}, "spec": {"suspend": True, "template": template}}
            await client.create(JOBS, job)
            await client.create(PODS, {"metadata": {**meta, "name": f"verify-{name}-pod"}, **template})

    await asyncio.gather(*(one(index) for index in range(count)))


def _finished(mover: DataMover) -> dict[str, Any]:
    now = mover.metadata.creation_timestamp
    kinds = (
        "Ready",
        "Reconciling",
        "Stalled",
        "CloneReady",
        "Synchronized",
        "Verified",
        "CleanedUp",
        "Complete",
        "Failed",
    )
    condition = {
        "status": "True",
        "reason": "Completed",
        "message": "done before the benchmark",
        "lastTransitionTime": now,
    }
    return {
        "phase": Phase.COMPLETED,
        "observedGeneration": 1,
        "restoredPvcName": f"restored-{mover.metadata.name}",
        "message": "done before the benchmark",
        "conditions": [{"type": kind, "observedGeneration": 1, **condition} for kind in kinds],
        "run": {
            "id": mover.metadata.uid,
            "timestamp": "2026-01-01-000000",
            "files": 1,
            "bytes": 1,
            "finished": now,
            "started": now,
        },
    }


@contextlib.asynccontextmanager
async def _node(client: Client, *, clone: float, job: float) -> AsyncGenerator[StandIn]:
    standin = StandIn(client, clone_seconds=clone, job_seconds=job)
    task = asyncio.create_task(standin.run())
    await standin.claims.synced.wait()
    await standin.jobs.synced.wait()
    try:
        yield standin
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _wait_completed(client: Client, count: int, *, prefix: str = "", name: str | None = None) -> None:
    """Wait until so many DataMovers are Completed. Raises TimeoutError, and RuntimeError when one has Failed."""
    done: set[str] = set()
    everyone = asyncio.Event()

    def see(old: DataMover | None, new: DataMover | None) -> None:
        del old
        if new is None or new.status is None or (name is not None and new.metadata.name != name):
            return
        if new.metadata.name.startswith(prefix) and new.status.phase == Phase.COMPLETED:
            done.add(new.metadata.name)
            if len(done) >= count:
                everyone.set()

    informer = Informer(client, DATA_MOVERS, namespace=_NAMESPACE)
    informer.add_handler(see)
    task = asyncio.create_task(informer.run())
    try:
        await asyncio.wait_for(everyone.wait(), _LIMIT)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _mover(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": _NAMESPACE}, "spec": dict(_SPEC)}
