"""Stands in for provisioner, kubelet and Job controller where only the operator is measured: clones bind and Jobs complete by a write of
their status. It moves nothing, and every table that used it says so.
"""

import asyncio
import contextlib
from collections.abc import Awaitable

import msgspec

from datamover.api.names import CREATED_BY_VALUE
from datamover.api.ownership import select_children
from datamover.api.transfer import Outcome
from kubekit.client.client import Client
from kubekit.client.errors import ApiError
from kubekit.runtime.clock import SystemClock
from kubekit.runtime.informer import Informer
from kubekit.words.batch import JOBS, Job
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PODS, PersistentVolumeClaim
from kubekit.words.timestamps import seconds

_MANAGER = "stand-in"


class StandIn:
    """Binds clones after `clone_seconds` and completes Jobs after `job_seconds`."""

    def __init__(
        self, client: Client, *, clone_seconds: float = 0.0, job_seconds: float = 0.0, parallel: int = 16
    ) -> None:
        self._client = client
        self._clone_seconds = clone_seconds
        self._job_seconds = job_seconds
        self._clock = SystemClock()
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._gate = asyncio.Semaphore(parallel)
        children = select_children((CREATED_BY_VALUE,))
        self.claims = Informer(client, PERSISTENT_VOLUME_CLAIMS, label_selector=children)
        self.jobs = Informer(client, JOBS, label_selector=children)
        self.claims.add_handler(self._see_claim)
        self.jobs.add_handler(self._see_job)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.claims.run())
                group.create_task(self.jobs.run())
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _see_claim(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        del old
        if new is not None and not (new.status and new.status.phase == "Bound") and not new.metadata.terminating:
            self._start(new.metadata.uid, self._bind(new))

    def _see_job(self, old: Job | None, new: Job | None) -> None:
        del old
        if new is not None and not new.condition("Complete") and not new.metadata.terminating:
            self._start(new.metadata.uid, self._complete(new))

    def _start(self, uid: str, work: Awaitable[None]) -> None:
        if uid in self._busy:
            work.close()  # type: ignore[attr-defined]
            return
        self._busy.add(uid)
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bind(self, claim: PersistentVolumeClaim) -> None:
        await asyncio.sleep(self._clone_seconds)
        async with self._gate:
            with contextlib.suppress(ApiError):
                await self._client.patch(
                    PERSISTENT_VOLUME_CLAIMS,
                    claim.metadata.name,
                    {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}},
                    namespace=claim.metadata.namespace,
                    subresource="status",
                    field_manager=_MANAGER,
                )

    async def _complete(self, job: Job) -> None:
        await asyncio.sleep(self._job_seconds)
        async with self._gate:
            now = seconds(self._clock.now())
            meta = job.metadata
            pod = await self._client.create(PODS, _pod(job), namespace=meta.namespace, field_manager=_MANAGER)
            outcome = Outcome(
                run_id=meta.name, succeeded=True, files=1, bytes=1, message="nothing was moved: a stand-in"
            )
            terminated = {
                "exitCode": 0,
                "reason": "Completed",
                "message": msgspec.json.encode(outcome).decode(),
                "startedAt": now,
                "finishedAt": now,
            }
            status = {
                "phase": "Succeeded",
                "containerStatuses": [
                    {
                        "name": "rclone",
                        "image": "stand-in",
                        "imageID": "",
                        "ready": False,
                        "restartCount": 0,
                        "state": {"terminated": terminated},
                    }
                ],
            }
            await self._client.patch(
                PODS,
                pod.metadata.name,
                {"status": status},
                namespace=meta.namespace,
                subresource="status",
                field_manager=_MANAGER,
            )
            conditions = [
                {"type": kind, "status": "True", "lastTransitionTime": now, "reason": "CompletionsReached"}
                for kind in ("SuccessCriteriaMet", "Complete")
            ]
            done = {"succeeded": 1, "startTime": now, "completionTime": now, "conditions": conditions}
            await self._client.patch(
                JOBS,
                meta.name,
                {"status": done},
                namespace=meta.namespace,
                subresource="status",
                field_manager=_MANAGER,
            )


def _pod(job: Job) -> dict[str, object]:
    meta = job.metadata
    return {
        "metadata": {
            "name": f"{meta.name[:50].rstrip('-')}-{meta.uid[:5]}",
            "namespace": meta.namespace,
            "labels": meta.labels,
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "name": meta.name,
                    "uid": meta.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {"restartPolicy": "Never", "containers": [{"name": "rclone", "image": "stand-in"}]},
    }
