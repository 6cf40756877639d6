"""From a call of the host to the action that it means: by registered name, bounded in time, with one clear error, whatever comes.

An action runs in a thread of its own beside the call, so that one that hangs costs its call and nothing else: no thread can be ended, but waiting for it can.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from datetime import datetime
from typing import Any, TypeVar

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp

from datamover.velero.actions import (
    CALL_LIMIT,
    ActionError,
    BackupAction,
    Call,
    Executed,
    Operations,
    Progress,
    RestoreAction,
    Restored,
    Selector,
)
from datamover.velero.generated import backup_item_action_pb2 as backup_messages
from datamover.velero.generated import restore_item_action_pb2 as restore_messages
from datamover.velero.generated.shared_pb2 import OperationProgress, ResourceSelector
from datamover.velero.logs import Log
from datamover.velero.wire import Method, serve
from kubekit.words.text import clean

BACKUP_KIND, RESTORE_KIND = "BackupItemActionV2", "RestoreItemActionV2"
_LOOK = 0.5
"""Seconds between two looks whether the host still waits."""
_WORKERS = 32
_NAME_LIMIT = 200
_NEVER = -62_135_596_800
"""Seconds of the Unix clock at which Go's clock begins: what the host takes for "no time". Nothing at all it would take for 1970."""

_Action = TypeVar("_Action", BackupAction, RestoreAction)
_Answer = TypeVar("_Answer")


class Dispatch:
    """All actions of this program."""

    def __init__(
        self,
        backup_actions: Sequence[BackupAction],
        restore_actions: Sequence[RestoreAction],
        *,
        log: Log,
        limit: float = CALL_LIMIT,
    ) -> None:
        """`limit`: seconds that an action may be silent within a call."""
        self._backup = {action.name: action for action in backup_actions}
        self._restore = {action.name: action for action in restore_actions}
        self._log = log
        self._limit = limit
        self._threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="action")

    def names(self) -> tuple[tuple[str, str], ...]:
        """Return kind and name of each action."""
        return (*((BACKUP_KIND, name) for name in self._backup), *((RESTORE_KIND, name) for name in self._restore))

    def services(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return the two services of actions."""
        b, r = backup_messages, restore_messages
        return (
            serve(
                "v2.BackupItemAction",
                {
                    "AppliesTo": Method(b.BackupItemActionAppliesToRequest, self._backup_applies),
                    "Execute": Method(b.ExecuteRequest, self._backup_execute),
                    "Progress": Method(b.BackupItemActionProgressRequest, self._backup_progress),
                    "Cancel": Method(b.BackupItemActionCancelRequest, self._backup_cancel),
                },
            ),
            serve(
                "v2.RestoreItemAction",
                {
                    "AppliesTo": Method(r.RestoreItemActionAppliesToRequest, self._restore_applies),
                    "Execute": Method(r.RestoreItemActionExecuteRequest, self._restore_execute),
                    "Progress": Method(r.RestoreItemActionProgressRequest, self._no_operation),
                    "Cancel": Method(r.RestoreItemActionCancelRequest, self._no_operation),
                    "AreAdditionalItemsReady": Method(r.RestoreItemActionItemsReadyRequest, self._all_ready),
                },
            ),
        )

    def _backup_applies(self, request: Any, _: grpc.ServicerContext) -> Any:
        action = _find(self._backup, request.plugin)
        return backup_messages.BackupItemActionAppliesToResponse(ResourceSelector=_selector(action.selector))

    def _backup_execute(self, request: Any, context: grpc.ServicerContext) -> Any:
        action = _find(self._backup, request.plugin)
        done: Executed = self._run(
            action.name, context, lambda call: action.execute(request.item, request.backup, call)
        )
        return backup_messages.ExecuteResponse(item=done.item, operationID=done.operation)

    def _backup_progress(self, request: Any, context: grpc.ServicerContext) -> Any:
        name, operations = _operations(self._backup, request)
        found: Progress = self._run(
            name, context, lambda call: operations.progress(request.operationID, request.backup, call)
        )
        return backup_messages.BackupItemActionProgressResponse(progress=_progress(found))

    def _backup_cancel(self, request: Any, context: grpc.ServicerContext) -> Any:
        name, operations = _operations(self._backup, request)
        self._run(name, context, lambda call: operations.cancel(request.operationID, request.backup, call))
        return Empty()

    def _restore_applies(self, request: Any, _: grpc.ServicerContext) -> Any:
        action = _find(self._restore, request.plugin)
        return restore_messages.RestoreItemActionAppliesToResponse(ResourceSelector=_selector(action.selector))

    def _restore_execute(self, request: Any, context: grpc.ServicerContext) -> Any:
        action = _find(self._restore, request.plugin)
        done: Restored = self._run(action.name, context, lambda _: action.execute(request.item, request.restore))
        return restore_messages.RestoreItemActionExecuteResponse(item=done.item, skipRestore=done.skip)

    def _no_operation(self, request: Any, _: grpc.ServicerContext) -> Any:
        action = _find(self._restore, request.plugin)
        raise ActionError(
            f"{action.name} starts no operations, so there is none with the id {_quoted(request.operationID)}"
        )

    def _all_ready(self, request: Any, _: grpc.ServicerContext) -> Any:
        _find(self._restore, request.plugin)
        return restore_messages.RestoreItemActionItemsReadyResponse(ready=True)

    def _run(self, name: str, context: grpc.ServicerContext, work: Callable[[Call], _Answer]) -> _Answer:
        """Return what the action answers. Raises ActionError, for anything that goes wrong in it."""
        call = Call(limit=self._limit, wanted=context.is_active)
        future: Future[_Answer] = self._threads.submit(work, call)
        try:
            return self._await(name, future, call)
        except ActionError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the host gets one sentence and this process goes on
            self._log.error(f"fault in {name}: {error!r}", trace=traceback.format_exc()[-900:])
            raise ActionError(f"{name} has failed by a fault of its own: {type(error).__name__}") from None
        finally:
            call.end()

    def _await(self, name: str, future: "Future[_Answer]", call: Call) -> _Answer:
        while True:
            left = call.left()
            try:
                return future.result(timeout=max(min(left, _LOOK), 0))
            except NotYet:
                if future.done():  # the action's own
                    raise
            if left <= 0:
                future.cancel()
                raise ActionError(f"{name} did not answer in time, and is not waited for any longer")
            if not call.wanted():
                future.cancel()
                raise ActionError(f"nobody waits for the answer of {name} any more")


def _find(actions: Mapping[str, _Action], name: str) -> _Action:
    found = actions.get(name)
    if found is None:
        raise ActionError(f"this plugin has no action {_quoted(name)} of that kind; it has {', '.join(actions)}")
    return found


def _operations(actions: Mapping[str, BackupAction], request: Any) -> tuple[str, Operations]:
    action = _find(actions, request.plugin)
    if action.operations is None:
        raise _none(action.name, request.operationID)
    return action.name, action.operations


def _none(name: str, operation: str) -> ActionError:
    return ActionError(f"{name} starts no operations, so there is none with the id {_quoted(operation)}")


def _quoted(name: str) -> str:
    return f"“{clean(name, limit=_NAME_LIMIT)}”"


def _selector(selector: Selector) -> ResourceSelector:
    return ResourceSelector(includedResources=selector.resources, selector=selector.labels)


def _progress(found: Progress) -> OperationProgress:
    return OperationProgress(
        completed=found.completed,
        err=found.error if found.completed else "",
        nCompleted=found.done,
        nTotal=found.total,
        operationUnits=found.units,
        description=found.description,
        started=_timestamp(found.started),
        updated=_timestamp(found.updated),
    )


def _timestamp(moment: datetime | None) -> Timestamp:
    if moment is None:
        return Timestamp(seconds=_NEVER)
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
