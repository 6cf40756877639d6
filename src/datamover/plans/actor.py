"""Carrying out a plan, for any kind: the only I/O of a reconcile.

Guarantees: steps run in order and stop at the first that fails. What they have taught is returned, with the failure if there was one;
nobody is called back. A create that finds its name taken never touches what is there. A delete carries the UID (law L2). What our writes
return goes into the caches at once, so that the next decision sees it (law L7). What a Secret is to hold is made here and forgotten here; of an
answer that may quote it, only the status is told (law L8).
"""

import base64
import inspect
import logging
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

from datamover.api import reasons
from datamover.api.names import FIELD_MANAGER
from datamover.api.outside import clean
from datamover.api.signed import redact_signed
from datamover.plans.inquiry import inquire, locate, sample_log
from datamover.plans.kind import HasStatus, Kind, Line
from datamover.plans.learned import Failed, Learned, Written
from datamover.plans.owners import Owners
from datamover.plans.proof import Caches, Proof, RefusedError
from datamover.plans.refusals import ANNOTATE, Attempts, describe, grant, is_kind_missing, lacks_right, right
from datamover.plans.status import to_manifest
from datamover.plans.steps import (
    Annotate,
    AskOwners,
    Create,
    Delete,
    Emit,
    Inquire,
    Locate,
    MakeSecrets,
    Patch,
    Plan,
    ProveGone,
    ProveListed,
    ProvePods,
    ProveSame,
    ProveStatus,
    Rebind,
    SampleLog,
    Step,
    WriteStatus,
)
from kubekit.client.client import Client
from kubekit.client.errors import AlreadyExists, ApiError, Conflict, Forbidden, KubeError, NotFound
from kubekit.runtime.clock import Clock, SystemClock
from kubekit.words.core import PERSISTENT_VOLUMES
from kubekit.words.meta import HasMeta, Manifest, ObjectMeta, Reference, Resource

_log = logging.getLogger(__name__)

T = TypeVar("T", bound=HasStatus)
S = TypeVar("S")


class Recorder(Protocol):
    """What is needed of `kubekit.runtime.events.EventRecorder`."""

    def record(
        self,
        regarding: ObjectMeta,
        resource: Resource[Any],
        type_: str,
        reason: str,
        message: str,
        action: str,
        *,
        related: Reference | None = None,
    ) -> None:
        """Note an event. `related` is a second object that it is about."""
        ...


class Actor(Generic[T, S]):
    """Carries out plans for objects of one kind."""

    def __init__(
        self,
        client: Client,
        *,
        kind: Kind[T, S, Any],
        caches: Caches,
        recorder: Recorder,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._kind = kind
        self._caches = caches
        self._recorder = recorder
        self._proof = Proof(client, caches=caches, kind=kind)
        self._owners = Owners(client, clock=clock or SystemClock())

    async def act(self, obj: T, plan: Plan[S], attempts: Attempts) -> Learned[T, S]:
        """Run the steps for an object, which was refused, or failed, so often in a row before.

        A server error counts as a refusal when it lasts: an admission webhook that is down answers so, and somebody has to be told. The
        failure is Conflict when the decision was made on stale facts.
        """
        learned: Learned[T, S] = Learned()
        for step in plan.steps:
            try:
                obj, learned = await self._take(step, obj, learned, attempts)
            except RefusedError as error:
                cause = error.__cause__
                met = Failed(step, cause if isinstance(cause, KubeError) else error)
                return replace(learned, refusal=error.refusal, failed=met)
            except KubeError as error:
                return replace(learned, failed=Failed(step, error))
            except Exception as error:  # noqa: BLE001 - raised again when what was learnt before it is noted
                return replace(learned, crash=error)
        return learned

    async def _take(self, step: Step[S], obj: T, learned: Learned[T, S], attempts: Attempts) -> tuple[T, Learned[T, S]]:
        """Carry out one step; return the object and what is learnt after it."""
        match step:
            case WriteStatus():
                before = obj
                obj, stored = await self._write_status(obj, step.status)
                written: Written[T, S] = Written(before, step.status, step.cause, stored)
                return obj, replace(learned, written=(*learned.written, written))
            case ProveStatus():
                obj, _ = await self._write_status(obj, obj.status)
            case Create():
                await self._create(obj, step, attempts)
            case Delete():
                if await self._delete(obj, step, attempts):
                    return obj, replace(learned, deleted=(*learned.deleted, step.target.uid))
            case Patch():
                await self._patch(step.resource, step.target, step.patch, attempts)
            case Annotate():
                await self._annotate(step, attempts)
            case Rebind():
                await self._patch(PERSISTENT_VOLUMES, step.volume, step.patch, attempts)
                self._tell(obj, Line(f"handed PersistentVolume {step.volume.name} over to {step.claim.name}"))
            case ProveGone() | ProveSame() | ProvePods() | ProveListed():
                await self._prove(step, obj, attempts)
            case Inquire() | Locate() | AskOwners() | SampleLog():
                return obj, await self._ask(step, obj, learned)
            case Emit():
                self._emit(obj, step)
                return obj, replace(learned, told=step)
        return obj, learned

    async def _prove(self, step: ProveGone | ProveSame | ProvePods | ProveListed, obj: T, attempts: Attempts) -> None:
        match step:
            case ProveGone():
                await self._proof.prove_gone(obj.metadata, step, attempts)
            case ProveSame():
                await self._proof.prove_same(step)
            case ProvePods():
                await self._proof.prove_pods(obj.metadata, step, attempts)
            case ProveListed():
                await self._proof.prove_listed(step, attempts)

    async def _ask(
        self, step: Inquire | Locate | AskOwners | SampleLog, obj: T, learned: Learned[T, S]
    ) -> Learned[T, S]:
        match step:
            case Inquire():
                return replace(learned, diagnosis=await inquire(self._client, step))
            case Locate():
                return replace(learned, placement=await locate(self._client, step))
            case AskOwners():
                found = await self._owners.find(step.owners, namespace=obj.metadata.namespace or "")
                return replace(learned, owners=found)
            case SampleLog():
                return replace(learned, sample=await sample_log(self._client, step))

    async def _write_status(self, obj: T, status: S | None) -> tuple[T, S | None]:
        """Return the object as it is then, and what the server has made of the status; None when its answer was lost."""
        resource, before = self._kind.resource, obj.status
        manifest = to_manifest(resource, obj, status)
        try:
            written = await self._client.replace(
                resource, manifest, field_manager=FIELD_MANAGER, subresource="status", repeat=True
            )
            stored: S | None = written.status
        except Forbidden as error:
            self._complain(obj, error)
            raise
        except Conflict as conflict:
            # Either somebody was faster, or a first try of ours took effect and its answer was lost.
            written, stored = await self._proof.find_written(obj, status, conflict), None
        self._kind.objects.store.observe(written)
        line = self._kind.headline(before, status) if status is not None else None
        if line is not None:
            self._tell(obj, line)
        return written, stored

    def _complain(self, obj: T, error: Forbidden) -> None:
        """Say by an event what the status itself cannot say (law L10)."""
        needed = right("update", self._kind.resource, obj.metadata.namespace, subresource="status")
        message = f"the operator may not write the status, so nothing goes on: {grant(needed)}. The API server says: {error.message}"
        self._recorder.record(obj.metadata, self._kind.resource, "Warning", reasons.STATUS_FORBIDDEN, message, "Report")

    async def _create(self, obj: T, step: Create, attempts: Attempts) -> None:
        name, namespace = step.manifest["metadata"]["name"], step.manifest["metadata"].get("namespace")
        try:
            created = await self._send(step)
        except AlreadyExists:
            created = await self._proof.identify(obj.metadata, step, attempts)
            if step.once:
                self._caches.observe(step.resource, created)
                raise Conflict(f"{step.resource.kind} {name} is there already") from None
        except ApiError as error:
            if not attempts.settle(error) and not is_kind_missing(error):
                raise
            raise RefusedError(describe(step.resource, "create", name, namespace, error, attempts)) from error
        else:
            self._tell(obj, Line(f"created {step.resource.kind} {created.metadata.name}"))
        self._caches.observe(step.resource, created)

    async def _delete(self, obj: T, step: Delete, attempts: Attempts) -> bool:
        """Tell whether the server has agreed to delete it."""
        target = step.target
        try:
            version = target.resource_version if step.as_seen else None
            await self._client.delete(
                step.resource, target.name, namespace=target.namespace, uid=target.uid, resource_version=version
            )
        except NotFound:
            pass  # it is gone, which is what was wanted; the watch will say so
        except Conflict:
            if step.as_seen:
                await self._proof.look_again(step.resource, target)
                raise
            return False  # another object has taken the name: ours is gone, and the other one is not ours to delete
        except ApiError as error:
            if not attempts.settle(error):
                raise
            refusal = describe(step.resource, "delete", target.name, target.namespace, error, attempts)
            raise RefusedError(refusal) from error
        else:
            # the documents look for the first of these words in the log
            self._tell(obj, Line(f"{self._kind.occasion(obj)}deleted {step.resource.kind} {target.name}"))
        return True

    async def _send(self, step: Create) -> HasMeta:
        """Return what was created. Raises what a create raises, in words that quote no secret."""
        if step.secret is None:
            return await self._client.create(step.resource, step.manifest, field_manager=FIELD_MANAGER)
        manifest = {**step.manifest, "data": await _make(step.secret)}
        try:
            return await self._client.create(step.resource, manifest, field_manager=FIELD_MANAGER)
        except AlreadyExists:
            raise
        except ApiError as error:
            raise _unquoted(error) from None

    async def _patch(self, resource: Resource[Any], target: ObjectMeta, patch: Manifest, attempts: Attempts) -> None:
        """Send a merge patch under the UID and the version of its target. Raises Conflict or NotFound when that has changed."""
        on = {"uid": target.uid, "resourceVersion": target.resource_version}
        sent = {**patch, "metadata": {**patch.get("metadata", {}), **on}}
        try:
            patched: HasMeta = await self._client.patch(
                resource, target.name, sent, namespace=target.namespace, field_manager=FIELD_MANAGER
            )
        except (Conflict, NotFound):
            raise
        except ApiError as error:
            if not attempts.settle(error):
                raise
            raise RefusedError(describe(resource, "patch", target.name, target.namespace, error, attempts)) from error
        if self._caches.shows(resource, patched):  # else the watch says that it is gone from it
            self._caches.observe(resource, patched)

    async def _annotate(self, step: Annotate, attempts: Attempts) -> None:
        try:
            await self._patch(
                step.resource, step.target, {"metadata": {"annotations": dict(step.annotations)}}, attempts
            )
        except RefusedError as error:
            raise RefusedError(replace(error.refusal, verb=ANNOTATE)) from error.__cause__

    def _emit(self, obj: T, step: Emit) -> None:
        said = clean(redact_signed(step.message))  # it may quote a mover, a node or a name (laws L8 and L11)
        whose = step.about or Reference(self._kind.resource, obj.metadata)
        self._recorder.record(
            whose.metadata, whose.resource, step.type, step.reason, said, step.action, related=step.related
        )
        if step.type == "Warning" and not self._kind.is_told(obj):
            self._tell(obj, Line(f"{step.reason}: {said}", logging.WARNING))

    def _tell(self, obj: T, line: Line) -> None:
        """Log what was done for an object: one form for all lines, so that its story can be searched."""
        _log.log(line.level, "%s/%s: %s", obj.metadata.namespace, obj.metadata.name, line.text)


async def _make(secret: MakeSecrets) -> dict[str, str]:
    """Return what a Secret is to hold, as it is sent."""
    made = secret()
    found = await made if inspect.isawaitable(made) else made
    return {key: base64.b64encode(value).decode() for key, value in found.items()}


def _unquoted(error: ApiError) -> ApiError:
    """Return the error without the server's words, unless they are those of authorization, which looks at no content."""
    if isinstance(error, Forbidden) and lacks_right(error):
        return error
    words = f"{error.status} {error.reason or type(error).__name__} (its words are not repeated, for they may quote the secret)"
    return type(error)(words, status=error.status, reason=error.reason, retry_after=error.retry_after)
