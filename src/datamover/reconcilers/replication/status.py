"""What is said of a ReplicationSource or ReplicationDestination: the only module that composes their status. Pure.

`Synchronizing` and the fields beside it are the contract, word by word. `Ready`, `Stalled` and `CopyReady` are ours: they say what goes on,
what it waits for, and what to do (law L10).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from datamover.api import reasons, transfer
from datamover.api.copy_trigger import describe_timeout
from datamover.api.volsync.common import CommonStatus, MoverStatus, SshStatus
from datamover.api.volsync.names import ConditionType, EventAction, EventReason, Method, MoverResult, Synchronizing
from datamover.api.volsync.replication_destination import (
    DestinationTLSStatus,
    Image,
    ReplicationDestination,
    ReplicationDestinationStatus,
)
from datamover.api.volsync.replication_source import (
    ReplicationSourceStatus,
    SourceResticStatus,
    SourceTLSStatus,
)
from datamover.api.waits import PLANNED
from datamover.plans.conditions import Said, State, merge
from datamover.plans.steps import Create, Delete, Effect, Emit, Plan, ProveStatus, Step, WriteStatus
from datamover.reconcilers.replication.announcements import announce_address, announce_made
from datamover.reconcilers.replication.ask import Ask, Replication
from datamover.reconcilers.replication.failures import count_in_words, told_failures
from datamover.reconcilers.replication.noted import NOTHING, Noted
from datamover.reconcilers.replication.order import ANOTHER_MOVER, NOTHING_COPIED, is_halted
from datamover.runs.verdict import Answer, Facet, News, Rest, Verdict
from kubekit.words.durations import duration_of_seconds
from kubekit.words.timestamps import moment_of, seconds

ORDER: Final = (
    Synchronizing.TYPE,
    ConditionType.READY,
    ConditionType.STALLED,
    ConditionType.COPY_TRIGGERED,
    ConditionType.COPY_READY,
)
_PARTS: Final = {Facet.COPY: ConditionType.COPY_READY, Facet.TRIGGER: ConditionType.COPY_TRIGGERED}
ERRORS: Final = frozenset(
    {
        Synchronizing.ERROR,
        reasons.INVALID_SPEC,
        reasons.SOURCE_NOT_FOUND,
        reasons.SECRET_NOT_FOUND,
        reasons.SECRET_KEY_MISSING,
        reasons.SECRET_KEY_REFUSED,
        reasons.STORAGE_CLASS_NOT_FOUND,
        reasons.SNAPSHOTS_NOT_SUPPORTED,
        reasons.SNAPSHOT_CLASS_NOT_FOUND,
        reasons.CLASS_CANNOT_CLONE,
        reasons.BLOCK_NOT_SUPPORTED,
        reasons.NAME_TAKEN,
        reasons.CLONE_FORBIDDEN,
        reasons.PERMISSION_MISSING,
        reasons.CHILD_REFUSED,
        transfer.REASON_INTERNAL_ERROR,
    }
)
"""What the contract calls an error: nothing goes on before somebody has done something."""


_FREE: Final = "nothing stands in its way"
_WANTED: Final = "it waits, as somebody has wanted it to"
_NO_MORE: Final = "there is no more to say"
"""A condition without a message is refused where the original's definitions are installed."""


def begun(obj: Replication, ask: Ask, *, now: datetime) -> Plan[Any]:
    """Return the plan that records a synchronisation, before its first effect (law L6)."""
    current = _current(obj)
    status = _change(
        _without_trigger(obj),
        {
            Synchronizing.TYPE: ("True", Synchronizing.IN_PROGRESS, Synchronizing.MESSAGES[Synchronizing.IN_PROGRESS]),
            ConditionType.READY: ("False", reasons.RUN_RECORDED, "the synchronisation has begun"),
            ConditionType.STALLED: ("False", reasons.RUN_RECORDED, _FREE),
            ConditionType.COPY_READY: ("False", reasons.RUN_RECORDED, NOTHING_COPIED),
        },
        now=now,
        last_sync_start_time=seconds(now),
        latest_mover_status=current.latest_mover_status or MoverStatus(),
        **_method_fields(current, ask, NOTHING),
    )
    return Plan((WriteStatus(status),))


def begun_again(obj: Replication, answer: Verdict, *, now: datetime) -> Plan[Any]:
    """Return the plan that ends a synchronisation whose copy is lost, and records the next one: another copy is of another moment."""
    status = _change(
        _without_trigger(obj),
        {
            ConditionType.READY: ("False", answer.reason, answer.message),
            ConditionType.STALLED: ("False", reasons.RUN_RECORDED, _FREE),
            ConditionType.COPY_READY: ("False", answer.reason, answer.message),
        },
        now=now,
        last_sync_start_time=seconds(now),
        latest_mover_status=_failed(answer),
    )
    told = Emit("Warning", answer.reason, f"{answer.message}. Another copy is taken", EventAction.CREATE_MOVER)
    return Plan((*answer.before, WriteStatus(status, cause=answer.reason), told))


def waiting(
    obj: Replication,
    reason: str,
    *,
    now: datetime,
    next_sync: datetime | None,
    steps: tuple[Effect, ...] = (),
    wake: float | None,
    unwanted: Verdict | None = None,
) -> Plan[Any]:
    """Return the plan between two synchronisations. `steps` remove what is left of the last one; what was wrong meanwhile is over.

    `unwanted` is why that cannot be removed.
    """
    said: dict[str, Said] = {Synchronizing.TYPE: ("False", reason, Synchronizing.MESSAGES[reason])}
    stalled = _current(obj).condition(ConditionType.STALLED)
    if unwanted is not None:
        said[ConditionType.STALLED] = ("True", unwanted.reason, unwanted.message)
    elif stalled is not None and stalled.status == "True":
        said[ConditionType.READY] = ("True", reasons.SYNCHRONIZED, "the last synchronisation has ended well")
        said[ConditionType.STALLED] = ("False", reasons.SYNCHRONIZED, _FREE)
    status = _change(
        obj,
        said,
        now=now,
        next_sync_time=seconds(next_sync) if next_sync is not None else None,
    )
    written: tuple[Step[Any], ...] = (WriteStatus(status),) if status != obj.status else ()
    if written and unwanted is not None and (stalled is None or stalled.reason != unwanted.reason):
        written = (*written, Emit("Warning", unwanted.reason, unwanted.message, unwanted.action))
    return Plan((*steps, *written), wake)


def ended(
    obj: Replication,
    ask: Ask,
    answer: Verdict,
    *,
    noted: Noted,
    image: Image | None,
    now: datetime,
    next_sync: datetime | None,
) -> Plan[Any]:
    """Return the plan that records the end of a synchronisation. What is temporary goes afterwards."""
    current = _current(obj)
    start = moment_of(current.last_sync_start_time, default=now.timestamp())
    outcome = answer.tally.outcome if answer.tally is not None else None
    message = _sentence(answer)
    status = _change(
        obj,
        {
            Synchronizing.TYPE: ("False", Synchronizing.CLEANING_UP, Synchronizing.MESSAGES[Synchronizing.CLEANING_UP]),
            ConditionType.READY: ("True", reasons.SYNCHRONIZED, message),
            ConditionType.STALLED: ("False", reasons.SYNCHRONIZED, _FREE),
        },
        now=now,
        last_sync_time=seconds(now),
        last_sync_start_time=None,
        last_sync_duration=duration_of_seconds(max(0.0, now.timestamp() - start)),
        next_sync_time=seconds(next_sync) if next_sync is not None else None,
        last_manual_sync=ask.trigger.manual or None,
        latest_mover_status=MoverStatus(MoverResult.SUCCESSFUL, (outcome.log or None) if outcome is not None else None),
        **_method_fields(current, ask, noted),
        **({"latest_image": image} if image is not None else {}),
    )
    return Plan((*answer.before, WriteStatus(status), *answer.events))


def tell(
    obj: Replication,
    answer: Answer,
    *,
    now: datetime,
    ask: Ask | None = None,
    noted: Noted = NOTHING,
) -> Plan[Any]:
    """Return the plan of a synchronisation that goes on, waits, or has to be mended."""
    if isinstance(answer, Rest):
        written = _note(obj, answer, ask, noted, now=now)
        # The names are the same in all synchronisations: who does not know yet which one it is must neither make nor remove anything.
        behind = bool(answer.steps) and isinstance(answer.steps[0], Create | Delete)
        fence = (ProveStatus(),) if behind else ()
        told = (*announce_address(ask, _current(obj), written), *answer.events)
        return Plan((*fence, *announce_made(answer.steps, ask), *written, *told), answer.wake_after)
    current = _current(obj)
    fields = _method_fields(current, ask, noted)
    if answer.reason == reasons.COPY_TRIGGER_TIMED_OUT and ask is not None:
        # the contract: it is told as a failure of the mover, and waits on
        fields["latest_mover_status"] = MoverStatus(MoverResult.FAILED, describe_timeout(ask.claim or ""))
    status = _change(obj, _conditions(obj, answer), now=now, **fields)
    written: tuple[Step[Any], ...] = ()
    if _is_news(current, status, answer):
        written = (WriteStatus(status, cause=answer.cause),)
    # that a mover starts is told by the Job that is made
    told = tuple(event for event in answer.events if event.reason != reasons.JOB_CREATED)
    events = (*announce_address(ask, _current(obj), written), *told) if written or answer.after else ()
    if answer.state is State.BLOCKED and written and not answer.announced and not _said_so(current, answer):
        events = (Emit("Warning", answer.reason, answer.message, answer.action), *events)
    after, before = announce_made(answer.after, ask), announce_made(answer.before, ask)
    if answer.after and (answer.fenced or not written):
        return Plan((*before, ProveStatus(), *after, *written, *events), answer.wake_after)
    return Plan((*before, *written, *after, *events), answer.wake_after)


def failed(
    obj: Replication, answer: Verdict, *, failures: int, now: datetime, wait: float | None, steps: tuple[Effect, ...]
) -> Plan[Any]:
    """Return the plan after a Job has failed for the `failures`th time in this synchronisation. `wait` seconds are left until the next one."""
    status = _change(
        obj,
        {
            ConditionType.READY: ("False", answer.reason, answer.message),
            ConditionType.STALLED: ("True", answer.reason, f"{count_in_words(failures)}{answer.message}"),
            ConditionType.COPY_READY: ("True", reasons.JOB_CREATED, ANOTHER_MOVER),
        },
        now=now,
        latest_mover_status=_failed(answer),
    )
    if status == obj.status:
        return Plan(steps, wait)
    told = Emit(
        "Warning",
        EventReason.TRANSFER_FAILED,
        f"mover Job backoff limit reached: {answer.message}",
        EventAction.DELETE_MOVER,
    )
    return Plan((*answer.before, WriteStatus(status, cause=answer.reason), *steps, told), wait)


def _conditions(obj: Replication, answer: Verdict) -> dict[str, Said]:
    """Return the conditions of a synchronisation that is under way."""
    in_error = answer.state is State.BLOCKED and answer.reason in ERRORS
    sync: Said = ("True", Synchronizing.IN_PROGRESS, Synchronizing.MESSAGES[Synchronizing.IN_PROGRESS])
    if in_error:
        sync = ("False", Synchronizing.ERROR, answer.message)
    said = {Synchronizing.TYPE: sync, ConditionType.READY: ("False", answer.reason, answer.message)}
    before = told_failures(_current(obj))
    if answer.state is State.BLOCKED and answer.reason not in PLANNED:
        said[ConditionType.STALLED] = ("True", answer.reason, f"{count_in_words(before)}{answer.message}")
    elif not before:
        said[ConditionType.STALLED] = ("False", answer.reason, _WANTED if answer.reason in PLANNED else _FREE)
    said.update({_PARTS[facet]: words for facet, words in answer.facets.items() if facet in _PARTS})
    tries = answer.tally.attempts if answer.tally is not None else None
    if answer.job is not None or (tries is not None and tries > 0):
        said[ConditionType.COPY_READY] = ("True", reasons.JOB_CREATED, f"attempt {max(tries or 1, 1)} of the mover")
    return said


def _change(obj: Replication, said: Mapping[str, Said], *, now: datetime, **fields: Any) -> Any:
    current = _current(obj)
    told = {type_: (state, reason, message or _NO_MORE) for type_, (state, reason, message) in said.items()}
    conditions = merge(current.conditions or (), told, order=ORDER, now=now, generation=None)
    return replace(current, conditions=conditions, **fields)


def _without_trigger(obj: Replication) -> Any:
    """Return the object without what was told of the copy trigger of the synchronisation before: it is over with it."""
    current = _current(obj)
    kept = tuple(each for each in current.conditions or () if each.type != ConditionType.COPY_TRIGGERED)
    return replace(obj, status=replace(current, conditions=kept or None))


def _current(obj: Replication) -> ReplicationSourceStatus | ReplicationDestinationStatus:
    if isinstance(obj, ReplicationDestination):
        return obj.status or ReplicationDestinationStatus()
    return obj.status or ReplicationSourceStatus()


def _method_fields(current: CommonStatus, ask: Ask | None, noted: Noted) -> dict[str, Any]:
    """Return the fields of the chosen method: present and empty from the first status on, as users know them."""
    if ask is None:
        return {}
    if ask.method == Method.RSYNC:
        rsync = current.rsync or SshStatus()
        return {
            "rsync": replace(rsync, ssh_keys=noted.ssh_keys or rsync.ssh_keys, address=noted.address or rsync.address)
        }
    if ask.method == Method.RSYNC_TLS and isinstance(current, ReplicationDestinationStatus):
        tls = current.rsync_tls or DestinationTLSStatus()
        return {
            "rsync_tls": replace(
                tls, key_secret=noted.key_secret or tls.key_secret, address=noted.address or tls.address
            )
        }
    if ask.method == Method.RSYNC_TLS and isinstance(current, ReplicationSourceStatus):
        source = current.rsync_tls or SourceTLSStatus()
        return {"rsync_tls": replace(source, key_secret=noted.key_secret or source.key_secret)}
    if ask.method == Method.RESTIC and isinstance(current, ReplicationSourceStatus):
        restic = current.restic or SourceResticStatus()
        unlocked = noted.unlocked if noted.unlocked is not None else restic.last_unlocked
        return {
            "restic": replace(restic, last_pruned=noted.pruned or restic.last_pruned, last_unlocked=unlocked or None)
        }
    return {}


def _note(obj: Replication, rest: Rest, ask: Ask | None, noted: Noted, *, now: datetime) -> tuple[Step[Any], ...]:
    """Return the write of what the other side has to know, and of single parts, where it is not said yet."""
    current = _current(obj)
    said = {_PARTS[facet]: words for facet, words in rest.facets.items() if facet in _PARTS}
    status = _change(obj, said, now=now, **_method_fields(current, ask if noted != NOTHING else None, noted))
    return (WriteStatus(status),) if status != current else ()


def _failed(answer: Verdict) -> MoverStatus:
    outcome = answer.tally.outcome if answer.tally is not None else None
    logs = outcome.log if outcome is not None and outcome.log else transfer.clean_log(answer.message)
    return MoverStatus(MoverResult.FAILED, logs or None)


def _sentence(answer: Verdict) -> str:
    """Return what was moved: the mover's own words where it left any (law L4: no more than it has proved)."""
    moved = answer.facets.get(Facet.MOVE)
    return moved[2] if moved is not None else answer.message


def _is_news(current: CommonStatus, status: CommonStatus, answer: Verdict) -> bool:
    """Tell whether a status is worth a write (law L9)."""
    if status == current:
        return False
    before, after = current.condition(ConditionType.READY), status.condition(ConditionType.READY)
    same = before is not None and after is not None and before.reason == after.reason
    match answer.news:
        case News.HALTED:
            return (
                not (not is_halted(current) and answer.state is State.WORKING and answer.stage is None)
                or answer.tally is not None
            )
        case News.REASON | News.WORDS:
            return not same
        case _:
            return True


def _said_so(current: CommonStatus, answer: Verdict) -> bool:
    before = current.condition(ConditionType.READY)
    return before is not None and before.reason == answer.reason
