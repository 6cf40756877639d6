"""Reconciles Jobs: gathers from caches, decides (`plan`), acts.

Guarantees: a Pod's end counts once; never more Pods than asked for, because what this controller creates is in its cache before it looks
again; status writes carry the resourceVersion they were decided on.
Caveats: Indexed Jobs, successPolicy and backoffLimitPerIndex are not supported: such a Job gets a Warning event and nothing else.
"""

from typing import Any

from kubekit.client.client import Client
from kubekit.client.errors import ApiError, Conflict, Forbidden, Invalid, NotFound
from kubekit.runtime.clock import Clock
from kubekit.runtime.controller import DONE, After, Controller, Result
from kubekit.runtime.events import EventRecorder
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key
from kubekit.runtime.workqueue import Workqueue
from kubekit.words.meta import Manifest, ObjectMeta, OwnerReference, owner_reference
from localkube.controllers import constants
from localkube.controllers.job import plan
from localkube.controllers.job.kinds import (
    CONTROLLER_UID_LABEL,
    JOB_NAME_LABEL,
    JOBS,
    LEGACY_CONTROLLER_UID_LABEL,
    LEGACY_JOB_NAME_LABEL,
    PODS,
    TRACKING_FINALIZER,
    Job,
    Pod,
)
from localkube.controllers.job.status import status_patch
from localkube.node.conflicts import done_on_conflict

WORKERS = 4


def controller_reference(meta: ObjectMeta) -> OwnerReference | None:
    """Return the reference to the controlling Job, or None."""
    return next((r for r in meta.owner_references or () if r.controller and r.kind == JOBS.kind), None)


def _owner_uids(pod: Pod) -> list[str]:
    reference = controller_reference(pod.metadata)
    return [reference.uid] if reference is not None else []


def _owner_names(pod: Pod) -> list[str]:
    return [str(key) for key in _job_key(None, pod)]


def _job_key(old: Pod | None, new: Pod | None) -> list[Key]:
    pod = new or old
    reference = controller_reference(pod.metadata) if pod is not None else None
    return [Key(pod.metadata.namespace or "", reference.name)] if pod is not None and reference is not None else []


class JobController:
    """See the module's docstring. Run its informers and its controller."""

    def __init__(self, client: Client, *, clock: Clock, events: EventRecorder, backoff_base: float) -> None:
        self._client = client
        self._clock = clock
        self._events = events
        self._backoff_base = backoff_base
        self.jobs: Informer[Job] = Informer(client, JOBS, clock=clock)
        self.pods: Informer[Pod] = Informer(
            client, PODS, clock=clock, indexes={"uid": _owner_uids, "name": _owner_names}
        )
        self.informers = (self.jobs, self.pods)
        self.controller = Controller(
            "job",
            reconcile=done_on_conflict(self.reconcile),
            queue=Workqueue("job", clock=clock, base_delay=0.05, max_delay=60.0),
            workers=WORKERS,
            clock=clock,
        )
        self.controller.watch(self.jobs)
        self.controller.watch(self.pods, _job_key)

    async def reconcile(self, key: Key) -> Result:
        """Bring one Job a step on."""
        job = self.jobs.store.get(key)
        if job is None or job.metadata.terminating or job.spec.managed_by not in (None, "kubernetes.io/job-controller"):
            await self._let_go(key, job)
            return DONE
        refusal = plan.unsupported(job)
        if refusal is not None:
            self._events.record(job.metadata, JOBS, "Warning", "Unsupported", refusal, "Reconcile")
            return DONE
        pods = self.pods.store.by_index("uid", job.metadata.uid)
        facts = plan.Facts(job=job, pods=pods, now=self._clock.now(), backoff_base=self._backoff_base)
        return await self._act(job, plan.decide(facts))

    async def _let_go(self, key: Key, job: Job | None) -> None:
        """Drop our finalizer from the Pods of a Job that goes or is gone, so that they can go too."""
        for pod in self.pods.store.by_index("name", str(key)):
            reference = controller_reference(pod.metadata)
            if pod.tracked and reference is not None and (job is None or reference.uid == job.metadata.uid):
                await self._release(pod)

    async def _act(self, job: Job, decided: plan.Plan) -> Result:
        meta = job.metadata
        if decided.remove:
            await self._remove(job)
            return DONE
        changes = status_patch(job.status, decided.status)
        if changes:
            patch = {"metadata": {"resourceVersion": meta.resource_version}, "status": changes}
            self.jobs.store.observe(
                await self._client.patch(
                    JOBS,
                    meta.name,
                    patch,
                    namespace=meta.namespace,
                    subresource="status",
                    field_manager=constants.FIELD_MANAGER,
                )
            )
        for event in decided.events:
            self._events.record(meta, JOBS, event.type, event.reason, event.message, "Reconcile")
        for pod in (*decided.release, *decided.withdraw):
            await self._release(pod)
        for pod in (*decided.delete, *decided.withdraw):
            await self._delete_pod(job, pod)
        for _ in range(decided.create):
            await self._create_pod(job)
        return After(decided.wake) if decided.wake is not None else DONE

    async def _remove(self, job: Job) -> None:
        meta = job.metadata
        try:
            await self._client.delete(
                JOBS,
                meta.name,
                namespace=meta.namespace,
                uid=meta.uid,
                resource_version=meta.resource_version,
                propagation="Foreground",
            )
        except NotFound:
            return

    async def _release(self, pod: Pod) -> None:
        meta = pod.metadata
        if TRACKING_FINALIZER not in (meta.finalizers or ()):
            return
        kept = [finalizer for finalizer in meta.finalizers or () if finalizer != TRACKING_FINALIZER]
        patch = {"metadata": {"resourceVersion": meta.resource_version, "finalizers": kept}}
        try:
            after = await self._client.patch(
                PODS, meta.name, patch, namespace=meta.namespace, field_manager=constants.FIELD_MANAGER
            )
        except NotFound:
            return
        if kept or not after.metadata.terminating:
            self.pods.store.observe(after)
        else:
            self.pods.store.remove(after.metadata)  # that was the last thing that held it

    async def _delete_pod(self, job: Job, pod: Pod) -> None:
        meta = pod.metadata
        try:
            await self._client.delete(PODS, meta.name, namespace=meta.namespace, uid=meta.uid)
        except (NotFound, Conflict):
            return
        self._events.record(job.metadata, JOBS, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name}", "Delete")

    async def _create_pod(self, job: Job) -> None:
        try:
            pod = await self._client.create(
                PODS, pod_manifest(job), namespace=job.metadata.namespace, field_manager=constants.FIELD_MANAGER
            )
        except (Forbidden, Invalid) as error:
            self._failed_to_create(job, error)
            raise
        self.pods.store.observe(pod)
        self._events.record(
            job.metadata, JOBS, "Normal", "SuccessfulCreate", f"Created pod: {pod.metadata.name}", "Create"
        )

    def _failed_to_create(self, job: Job, error: ApiError) -> None:
        self._events.record(job.metadata, JOBS, "Warning", "FailedCreate", f"Error creating: {error}", "Create")


def pod_manifest(job: Job) -> Manifest:
    """Return the next Pod of a Job: the template with the Job's labels, owner reference and finalizer, and a generated name."""
    template: dict[str, Any] = job.spec.template or {}
    meta: dict[str, Any] = template.get("metadata") or {}
    uid, name = job.metadata.uid, job.metadata.name
    labels = {
        LEGACY_CONTROLLER_UID_LABEL: uid,
        CONTROLLER_UID_LABEL: uid,
        LEGACY_JOB_NAME_LABEL: name,
        JOB_NAME_LABEL: name,
    }
    return {
        "metadata": {
            "generateName": f"{name}-",
            "namespace": job.metadata.namespace,
            "labels": {**(meta.get("labels") or {}), **labels},
            "annotations": dict(meta.get("annotations") or {}),
            "finalizers": [*(meta.get("finalizers") or ()), TRACKING_FINALIZER],
            "ownerReferences": [{**owner_reference(JOBS, job.metadata), "blockOwnerDeletion": True}],
        },
        "spec": template.get("spec") or {},
    }
