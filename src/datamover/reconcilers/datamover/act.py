"""Carrying out a plan: the only I/O of a reconcile.

Guarantees: steps run in order and stop at the first that fails. A create that finds its name taken never touches what is there. A delete
carries the UID (law L2). What our writes return goes into the caches at once, so that the next decision sees it (law L7).
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from datamover.api import reasons
from datamover.api.names import (
    CREATED_BY_LABEL,
    CREATED_BY_VALUE,
    FIELD_MANAGER,
    OWNER_UID_LABEL,
    ConditionType,
    Phase,
)
from datamover.api.outside import clean
from datamover.api.ownership import select_children
from datamover.api.transfer import read_progress
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover, DataMoverStatus
from datamover.plans.known import Refusal
from datamover.plans.refusals import LONGEST_WAIT, Attempts, describe, grant, is_kind_missing, right
from datamover.plans.steps import (
    Create,
    Delete,
    Emit,
    Inquire,
    ProveGone,
    ProvePods,
    ProveStatus,
    SampleLog,
    SuspendJob,
    WriteStatus,
)
from datamover.plans.watch import Sample
from datamover.reconcilers.datamover.caches import Caches
from datamover.reconcilers.datamover.plan import Plan
from datamover.reconcilers.datamover.status import says_same, to_manifest
from kubekit.client.client import Client
from kubekit.client.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    KubeError,
    NotFound,
)
from kubekit.words.batch import JOBS
from kubekit.words.core import (
    EVENTS,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_MOUNTS,
    PODS,
    Event,
    PersistentVolume,
    PodMounts,
)
from kubekit.words.meta import HasMeta, Manifest, ObjectMeta, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS

_log = logging.getLogger(__name__)

_LOG_TAIL = 100
"""Lines from the end of a mover's log. The agent says how far it is within any 40."""
_LOG_BYTES = 1 << 20
_REMEMBERED = 4096
_USERS = 3  # so many are named


class Recorder(Protocol):
    """What is needed of `kubekit.runtime.events.EventRecorder`."""

    def record(
        self, regarding: ObjectMeta, resource: Resource[Any], type_: str, reason: str, message: str, action: str
    ) -> None:
        """Note an event."""
        ...


class RefusedError(Exception):
    """The API server refused a step; `refusal` says why, in words for the status."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Actor:
    """Carries out plans for DataMovers."""

    def __init__(
        self,
        client: Client,
        *,
        caches: Caches,
        recorder: Recorder,
        on_status: Callable[[DataMover, DataMoverStatus, str | None], None],
        on_diagnosis: Callable[[str, str, str | None], None],
        on_sample: Callable[[str, Sample], None],
        on_cleanup_failed: Callable[[ObjectMeta], None],
        on_status_forbidden: Callable[[DataMover], None],
    ) -> None:
        """The callbacks take note: of a status that was written (and why an attempt failed, if that is what it tells), of what was learnt of which child, of what a log said, of a
        clone that could not be deleted, of a status that may not be written.
        """
        self._client = client
        self._caches = caches
        self._recorder = recorder
        self._on_status = on_status
        self._on_diagnosis = on_diagnosis
        self._on_sample = on_sample
        self._on_cleanup_failed = on_cleanup_failed
        self._on_status_forbidden = on_status_forbidden
        self._deleted: OrderedDict[str, None] = OrderedDict()

    async def act(self, mover: DataMover, plan: Plan, *, refusals: int = 0, failures: int = 0) -> None:
        """Run the steps. `refusals` and `failures` are how often in a row a step was refused, and a reconcile failed.

        Raises RefusedError, Conflict when the decision was made on stale facts, and the other KubeErrors. A server error counts as
        a refusal when it lasts: an admission webhook that is down answers so, and somebody has to be told.
        """
        attempts = Attempts(refusals, failures)
        for step in plan.steps:
            match step:
                case WriteStatus():
                    mover = await self._write_status(mover, step.status, cause=step.cause)
                case Create():
                    await self._create(mover, step, attempts)
                case Delete():
                    await self._delete(mover, step, attempts)
                case SuspendJob():
                    await self._suspend(step, attempts)
                case ProveGone():
                    await self._confirm(mover, step)
                case ProvePods():
                    await self._recount(mover, attempts)
                case ProveStatus():
                    mover = await self._write_status(mover, mover.status or DataMoverStatus())
                case Inquire():
                    found = await (self._find_users(step) if step.users else self._inquire(step))
                    self._on_diagnosis(mover.metadata.uid, step.topic, found)
                case SampleLog():
                    self._on_sample(mover.metadata.uid, await self._sample(step))
                case Emit():
                    said = clean(step.message)  # it may quote a mover, a node or a name (law L11)
                    self._recorder.record(mover.metadata, DATA_MOVERS, step.type, step.reason, said, step.action)
                    if step.type == "Warning" and (mover.status is None or mover.status.phase != Phase.FAILED):
                        _tell(
                            mover, f"{step.reason}: {said}", level=logging.WARNING
                        )  # a failure is told with its phase

    async def _write_status(self, mover: DataMover, status: DataMoverStatus, *, cause: str | None = None) -> DataMover:
        manifest = to_manifest(mover, status)
        try:
            written = await self._client.apply(DATA_MOVERS, manifest, field_manager=FIELD_MANAGER, subresource="status")
        except Forbidden as error:
            self._complain(mover, error)
            raise
        except Conflict as conflict:
            try:
                written = await self._client.get(DATA_MOVERS, mover.metadata.name, namespace=mover.metadata.namespace)
            except Forbidden:
                raise conflict from None  # the watch will say what has become of it
            arrived = written.metadata.uid == mover.metadata.uid and says_same(
                written.status or DataMoverStatus(), status
            )
            if not arrived:  # we know better now; else our write took effect and its answer was lost
                self._caches.movers.store.observe(written)
                raise
        self._caches.movers.store.observe(written)
        self._on_status(mover, status, cause)
        if status.phase != (mover.status.phase if mover.status else None):
            ready = status.condition(ConditionType.READY)
            reason = f" ({ready.reason})" if ready is not None else ""
            level = logging.WARNING if status.phase == Phase.FAILED else logging.INFO
            _tell(mover, f"phase {status.phase}{reason}: {status.message or ''}", level=level)
        return written

    def _complain(self, mover: DataMover, error: Forbidden) -> None:
        """Say by an event and a metric what the status itself cannot say (law L10)."""
        needed = right("patch", DATA_MOVERS, mover.metadata.namespace, subresource="status")
        message = f"the operator may not write the status, so nothing goes on: {grant(needed)}. The API server says: {error.message}"
        self._recorder.record(mover.metadata, DATA_MOVERS, "Warning", reasons.STATUS_FORBIDDEN, message, "Report")
        self._on_status_forbidden(mover)

    async def _create(self, mover: DataMover, step: Create, attempts: Attempts) -> None:
        name, namespace = step.manifest["metadata"]["name"], step.manifest["metadata"].get("namespace")
        try:
            created = await self._client.create(step.resource, step.manifest, field_manager=FIELD_MANAGER)
        except AlreadyExists:
            try:
                created = await self._adopt(mover, step)
            except Forbidden as error:
                refusal = describe(step.resource, "get", name, namespace, error, attempts)
                raise RefusedError(replace(refusal, verb="create")) from error
        except ApiError as error:
            if not attempts.settle(error) and not is_kind_missing(error):
                raise
            raise RefusedError(describe(step.resource, "create", name, namespace, error, attempts)) from error
        else:
            _tell(mover, f"created {step.resource.kind} {created.metadata.name}")
        self._observe(step.resource, created)

    async def _adopt(self, mover: DataMover, step: Create) -> HasMeta:
        """A child of ours that the cache has not seen yet counts as created; anybody else's is only looked at.

        Caches of Jobs and snapshots hold what carries our label; anything else would never leave them again.
        """
        metadata: Manifest = step.manifest["metadata"]
        found: HasMeta = await self._client.get(step.resource, metadata["name"], namespace=metadata["namespace"])
        cached = _is_cached(step.resource, found)
        if cached and found.metadata.owned_by(mover.metadata.uid):
            return found
        if cached and step.resource is not JOBS:
            self._observe(step.resource, found)
            raise Conflict(
                f"{step.resource.kind} {found.metadata.name} is somebody else's"
            )  # the next decision takes another name
        message = f"{step.resource.kind} {metadata['name']} exists and is not this DataMover's: delete or rename it"
        target = (step.resource.kind, metadata["name"])
        raise RefusedError(Refusal(reasons.NAME_TAKEN, message, retry_after=LONGEST_WAIT, target=target))

    def has_deleted(self, target: ObjectMeta) -> bool:
        """Tell whether the server has agreed to delete an object, whatever the caches show."""
        return target.uid in self._deleted

    async def _delete(self, mover: DataMover, step: Delete, attempts: Attempts) -> None:
        target = step.target
        if self.has_deleted(target):
            return  # the server has agreed already, and the watch will say so
        try:
            await self._client.delete(step.resource, target.name, namespace=target.namespace, uid=target.uid)
        except NotFound:
            pass  # it is gone, which is what was wanted; the watch will say so
        except Conflict:
            return  # another object has taken the name: ours is gone, and the other one is not ours to delete
        except ApiError as error:
            if step.resource is PERSISTENT_VOLUME_CLAIMS:
                self._on_cleanup_failed(mover.metadata)
            if not attempts.settle(error):
                raise
            refusal = describe(step.resource, "delete", target.name, target.namespace, error, attempts)
            raise RefusedError(refusal) from error
        else:
            cleaning = mover.status is not None and mover.status.phase == Phase.CLEANING_UP
            # the documents look for the first of these words in the log
            _tell(mover, f"{'cleanup: ' if cleaning else ''}deleted {step.resource.kind} {target.name}")
        self._deleted[target.uid] = None
        if len(self._deleted) > _REMEMBERED:
            self._deleted.popitem(last=False)

    async def _confirm(self, mover: DataMover, step: ProveGone) -> None:
        """Raise Conflict when a child is there after all; the cache knows it then."""
        namespace = mover.metadata.namespace if step.resource.namespaced else None
        try:
            found: HasMeta = await self._client.get(step.resource, step.name, namespace=namespace)
        except NotFound:
            return
        except Forbidden:
            return  # more cannot be known
        if isinstance(found, PersistentVolume):
            ours = _claims(found, mover)
        else:
            ours = found.metadata.owned_by(mover.metadata.uid) and _is_cached(step.resource, found)
        if ours:
            self._observe(step.resource, found)
            raise Conflict(f"{step.resource.kind} {step.name} is still there")

    async def _recount(self, mover: DataMover, attempts: Attempts) -> None:
        """Raise Conflict when the server's Pods of a DataMover are not those of the cache; the cache knows them then."""
        selector = f"{select_children((CREATED_BY_VALUE,))},{OWNER_UID_LABEL}={mover.metadata.uid}"
        try:
            pods = await self._client.list(PODS, namespace=mover.metadata.namespace, label_selector=selector)
        except Forbidden as error:
            refusal = describe(PODS, "list", None, mover.metadata.namespace, error, attempts)
            raise RefusedError(refusal) from error
        news = [pod.metadata.name for pod in pods if self._caches.pods.store.observe(pod)]
        if news:
            raise Conflict(f"Pod {', '.join(news)} was not known so")

    async def _suspend(self, step: SuspendJob, attempts: Attempts) -> None:
        patch = {
            "metadata": {"uid": step.target.uid, "resourceVersion": step.target.resource_version},
            "spec": {"suspend": step.suspend},
        }
        target = step.target
        try:
            job = await self._client.patch(
                JOBS, target.name, patch, namespace=target.namespace, field_manager=FIELD_MANAGER
            )
        except (Conflict, NotFound):
            raise
        except ApiError as error:
            if not attempts.settle(error):
                raise
            raise RefusedError(describe(JOBS, "patch", target.name, target.namespace, error, attempts)) from error
        self._caches.jobs.store.observe(job)

    async def _inquire(self, step: Inquire) -> str | None:
        """Return the newest warning about a child; reading events is a help, so its failure is not one."""
        try:
            events = await self._client.list(
                EVENTS,
                namespace=step.target.namespace or "default",  # where events about what is in no namespace are
                field_selector=f"involvedObject.uid={step.target.uid},type=Warning",
            )
        except KubeError:
            return None
        newest = max(events, key=_moment, default=None)
        if newest is None or not newest.message:
            return None
        return f"{newest.reason}: {newest.message}" if newest.reason else newest.message

    async def _find_users(self, step: Inquire) -> str | None:
        """Return the Pods that use a claim, empty when there are none; None when they may not be read."""
        try:
            pods = await self._client.list(POD_MOUNTS, namespace=step.target.namespace)
        except KubeError:
            return None
        users = [pod for pod in pods if pod.uses(step.target.name)]
        shown = ", ".join(_describe_user(pod) for pod in users[:_USERS])
        return f"{shown} and {len(users) - _USERS} more" if len(users) > _USERS else shown

    async def _sample(self, step: SampleLog) -> Sample:
        """Return the last progress in a mover's log, or why it cannot be read now: it is read again the next time."""
        try:
            log = await self._client.logs(
                step.pod.name,
                namespace=step.pod.namespace or "",
                container=step.container,
                tail_lines=_LOG_TAIL,
                limit_bytes=_LOG_BYTES,
            )
        except KubeError as error:
            return Sample(step.pod.uid, problem=str(error) or type(error).__name__)
        found = (read_progress(line) for line in reversed(log.splitlines()))
        return Sample(step.pod.uid, next((progress for progress in found if progress is not None), None))

    def _observe(self, resource: Resource[Any], found: Any) -> None:
        if resource is PERSISTENT_VOLUME_CLAIMS:
            self._caches.claims.store.observe(found)
        elif resource is JOBS:
            self._caches.jobs.store.observe(found)
        elif resource is VOLUME_SNAPSHOTS:
            self._caches.snapshots.store.observe(found)
        elif resource is PODS:
            self._caches.pods.store.observe(found)
        elif resource is PERSISTENT_VOLUMES:
            self._caches.volumes.store.observe(found)


def _is_cached(resource: Resource[Any], found: HasMeta) -> bool:
    """Tell whether the informer of its kind sees an object."""
    return resource is PERSISTENT_VOLUME_CLAIMS or found.metadata.label(CREATED_BY_LABEL) == CREATED_BY_VALUE


def _claims(volume: PersistentVolume, mover: DataMover) -> bool:
    """Tell whether a volume is that of a DataMover's clone."""
    claim = volume.spec and volume.spec.claim_ref
    if claim is None or mover.status is None:
        return False
    return (claim.namespace, claim.name) == (mover.metadata.namespace, mover.status.restored_pvc_name)


def _describe_user(pod: PodMounts) -> str:
    phase = (pod.status and pod.status.phase) or "of unknown phase"
    node = pod.spec.node_name if pod.spec is not None else None
    return f"Pod {pod.metadata.name} ({phase}, on node {node})"


def _moment(event: Event) -> str:
    return event.last_timestamp or event.event_time or event.metadata.creation_timestamp or ""


def _tell(mover: DataMover, text: str, *, level: int = logging.INFO) -> None:
    """Log what was done for a DataMover: one form for all lines, so that its story can be searched."""
    _log.log(level, "%s/%s: %s", mover.metadata.namespace, mover.metadata.name, text)
