"""The result of `datamover run`: exit codes, and what is shown of each object to people and as JSON."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from datamover.api import amounts
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from datamover.api.copy_trigger import TRIGGER_ANNOTATION
from datamover.api.names import RETRY_ADVICE, ConditionType, Phase
from datamover.api.reasons import (
    CANCELLED,
    COPY_TRIGGER_TIMED_OUT,
    COPY_TRIGGER_WAITING,
    SOURCE_NOT_FOUND,
    TARGET_NOT_FOUND,
)
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover, DataMoverStatus, Run
from datamover.api.v1alpha1.restore import DATA_MOVER_RESTORES, DataMoverRestore, DataMoverRestoreStatus
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.api.waits import EndedBy, are_data_safe
from datamover.cli import fillings, synchronisations
from datamover.cli.exits import Exit
from datamover.cli.patience import ended_by, held_by
from datamover.cli.runnables import Name, Ours, Replication, Runnable, kind_of, name_of

_ASIDE = re.compile(r" ?\([^()]*kubectl[^()]*\)")
_CLAUSES = re.compile(r"(?<=[.;:]) ")


@dataclass(frozen=True, slots=True)
class Shown:
    """One object as it is shown."""

    kind: str
    name: str
    namespace: str
    phase: str
    reason: str
    message: str
    progress: str
    stalled: bool

    @property
    def ended(self) -> bool:
        """Tell whether the run is over."""
        return self.phase in Phase.TERMINAL

    @property
    def cancelled(self) -> bool:
        """Tell whether the run is over because somebody has wished so."""
        return self.phase == Phase.FAILED and self.reason == CANCELLED

    @property
    def word(self) -> str:
        """What became of it: the phase, which is `Failed` as well where somebody has cancelled it."""
        return "Cancelled" if self.cancelled else self.phase

    @property
    def title(self) -> str:
        """Namespace and name, with the kind before them where it is no DataMover."""
        place = f"{self.namespace}/{self.name}"
        return place if self.kind == DATA_MOVERS.kind else f"{self.kind} {place}"


def show(obj: Runnable) -> Shown:
    """Return what is shown of an object."""
    match obj:
        case DataMover():
            return _show_ours(obj, obj.status or DataMoverStatus())
        case DataMoverRestore():
            return _show_ours(obj, obj.status or DataMoverRestoreStatus())
        case DataVolume():
            return _show_volume(obj)
        case _:
            return _show_replication(obj)


def _show_replication(obj: Replication) -> Shown:
    """Progress is among its words, for its status has no field for it."""
    return Shown(
        kind=kind_of(obj),
        name=obj.metadata.name,
        namespace=obj.metadata.namespace or "",
        phase=synchronisations.phase_of(obj),
        reason=synchronisations.reason_of(obj),
        message=for_here(synchronisations.message_of(obj)),
        progress="",
        stalled=synchronisations.hold_of(obj) is not None,
    )


def _show_volume(volume: DataVolume) -> Shown:
    return Shown(
        kind=DATA_VOLUMES.kind,
        name=volume.metadata.name,
        namespace=volume.metadata.namespace or "",
        phase=fillings.phase_of(volume),
        reason=fillings.reason_of(volume),
        message=for_here(fillings.message_of(volume)),
        progress=fillings.progress_of(volume),
        stalled=fillings.hold_of(volume) is not None,
    )


def _show_ours(obj: Ours, status: DataMoverStatus | DataMoverRestoreStatus) -> Shown:
    ready = status.condition(ConditionType.READY)
    stalled = status.condition(ConditionType.STALLED)
    return Shown(
        kind=kind_of(obj),
        name=obj.metadata.name,
        namespace=obj.metadata.namespace or "",
        phase=status.phase or "Pending",
        reason=ready.reason if ready else "",
        message=for_here(status.message or ""),
        progress=(status.run.progress if status.run else None) or "",
        stalled=stalled is not None and stalled.status == "True",
    )


def for_here(message: str) -> str:
    """Return a status message without its advice to use kubectl: the embedded world ends with the command, so there is nothing to ask."""
    why, separator, advice = message.partition(RETRY_ADVICE)
    if "kubectl" in why:
        clauses = _CLAUSES.split(_ASIDE.sub("", why))
        why = " ".join(clause for clause in clauses if "kubectl" not in clause).rstrip("; ")
        why += "" if why.endswith(".") or not why else "."
    first, asks_more, _ = advice.partition("kubectl ")  # what has to be done before, such as to take spec.cancel back
    return f"{why} To try again: {first if asks_more else ''}run the same command." if separator else why


_RUN_AGAIN = "To try again: run the same command."
_NO_TRIGGER = (
    f"Nobody can annotate the claim while this command runs: give the claim in a manifest, with {TRIGGER_ANNOTATION} and a new value, "
    "and run again; or use `datamover local up`, where kubectl annotate reaches it"
)


def explain(obj: Runnable) -> str | None:
    """Return why an object is not Completed and how to go on from here; None when it is."""
    if held_by(obj) in (COPY_TRIGGER_WAITING, COPY_TRIGGER_TIMED_OUT):
        return _join(show(obj).message, _NO_TRIGGER)
    match obj:
        case DataMover():
            return _explain_mover(obj)
        case DataMoverRestore():
            return _explain_restore(obj)
        case _:
            return _explain_other(obj)


def _explain_other(obj: Replication | DataVolume) -> str | None:
    shown = show(obj)
    if shown.phase == Phase.COMPLETED or not shown.message:
        return None
    claim = None if isinstance(obj, DataVolume) else synchronisations.claim_of(obj)
    if shown.reason == SOURCE_NOT_FOUND and claim is not None:
        return _missing_volume(shown.message, claim)
    held = held_by(obj)
    hints = [_RUN_AGAIN] if shown.phase == Phase.FAILED else []
    if held is not None and ended_by(held) is not EndedBy.PERSON:
        hints.append("That may come right by itself.")
    return _join(shown.message, *hints)


def _missing_volume(why: str, claim: str) -> str:
    return f"{why}. Here a directory stands for it: --volume {claim}=DIR"


def _join(why: str, *hints: str) -> str:
    return " ".join((f"{why.rstrip('.')}.", *hints)) if hints else why


def _explain_mover(mover: DataMover) -> str | None:
    status = mover.status
    if status is None or status.phase == Phase.COMPLETED or not status.message:
        return None
    why = for_here(status.message)
    if RETRY_ADVICE in status.message:
        return why
    ready, reason = status.condition(ConditionType.READY), held_by(mover)
    if ready is not None and ready.reason == SOURCE_NOT_FOUND and mover.spec is not None:
        return _missing_volume(why, mover.spec.source_pvc)
    hints: list[str] = []
    if are_data_safe(reason or "", status.phase or Phase.NONE):
        hints.append(f"{_describe_data(status.run)} Only the clean-up is left.")
    if reason is not None and ended_by(reason) is not EndedBy.PERSON:
        hints.append("That may come right by itself.")
    return _join(why, *hints)


def _explain_restore(restore: DataMoverRestore) -> str | None:
    status = restore.status
    if status is None or status.phase == Phase.COMPLETED or not status.message:
        return None
    why, reason = for_here(status.message), held_by(restore)
    if RETRY_ADVICE in status.message or reason is None:
        return why
    if reason == TARGET_NOT_FOUND and restore.spec is not None:
        return _missing_volume(why, restore.spec.target.claim_name)
    return _join(why, *(["That may come right by itself."] if ended_by(reason) is not EndedBy.PERSON else []))


def _describe_data(run: Run | None) -> str:
    """Return the sentence that the files of a run are at the destination, with their number where that is known."""
    where = f" at {run.destination}" if run is not None and run.destination else " at the destination"
    amount = (
        f": {amounts.count(run.files, 'file')}, {amounts.size(run.bytes or 0)}{where}"
        if run is not None and run.files is not None
        else where
    )
    return f"The data are safe{amount}."


def exit_code(movers: Sequence[Runnable], *, timed_out: bool = False) -> Exit:
    """Return 0 only when every object is Completed; otherwise the code of the most important failure. One that was cancelled is none, and told when nothing else is left."""
    words = {show(mover).word for mover in movers}
    if words == {Phase.COMPLETED}:
        return Exit.COMPLETED
    if Phase.FAILED in words:
        return Exit.FAILED
    if words and words <= {Phase.COMPLETED, "Cancelled"}:
        return Exit.CANCELLED
    return Exit.TIMEOUT if timed_out else Exit.BLOCKED


def error_to_json(error: str, *, code: Exit, state: str) -> bytes:
    """Return the document of a command that ran nothing: `error` says why, and there are no objects."""
    document: dict[str, Any] = {
        "exitCode": int(code),
        "state": plain(state),
        "error": plain(error),
        **{name: [] for name in LISTS.values()},
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def plain(text: str) -> str:
    """Return text that JSON can hold: bytes that are no UTF-8, such as in the name of a file, are escaped."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


LISTS = {
    DATA_MOVERS.kind: "dataMovers",
    DATA_MOVER_RESTORES.kind: "dataMoverRestores",
    DATA_VOLUMES.kind: "dataVolumes",
    REPLICATION_SOURCES.kind: "replicationSources",
    REPLICATION_DESTINATIONS.kind: "replicationDestinations",
}
"""Where the objects of each kind are in the document."""


def _status_to_tree(status: Any) -> dict[str, Any]:
    """Return a status whose messages, those of conditions included, do not mention kubectl: there is no cluster to use it on."""
    tree: dict[str, Any] = msgspec.to_builtins(status)
    for holder in (tree, *tree.get("conditions", ())):
        if "message" in holder:
            holder["message"] = for_here(holder["message"])
    return tree


def to_json(
    objects: Sequence[Runnable], *, code: Exit, state: str, disks: Mapping[Name, Path] = MappingProxyType({})
) -> bytes:
    """Return the result as one JSON document: `exitCode`, `state`, and of each kind a list with name, namespace and status of each object.

    What is no DataMover has `result` as well: `Completed`, `Failed`, `Cancelled`, or how far it is. A DataVolume that is filled has `disk`, where that is.
    """
    document: dict[str, Any] = {"exitCode": int(code), "state": plain(state), **{name: [] for name in LISTS.values()}}
    for obj in objects:
        entry: dict[str, Any] = {
            "name": obj.metadata.name,
            "namespace": obj.metadata.namespace,
            "status": _status_to_tree(obj.status) if obj.status else {},
        }
        if not isinstance(obj, DataMover):
            entry["result"] = show(obj).word
        disk = disks.get(name_of(obj))
        if disk is not None:
            entry["disk"] = plain(os.fspath(disk))
        document[LISTS[kind_of(obj)]].append(entry)
    return msgspec.json.format(msgspec.json.encode(document), indent=2)
