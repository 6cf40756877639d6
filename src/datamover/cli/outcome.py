"""The result of `datamover run`: exit codes, and what is shown of each DataMover to people and as JSON."""

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import msgspec

from datamover.api import amounts
from datamover.api.names import RETRY_ADVICE, ConditionType, Phase
from datamover.api.reasons import SOURCE_NOT_FOUND
from datamover.api.v1alpha1.datamover import DataMover, DataMoverStatus, Run
from datamover.api.waits import EndedBy, are_data_safe, find_wait
from datamover.cli.patience import held_by

_ASIDE = re.compile(r" ?\([^()]*kubectl[^()]*\)")
_CLAUSES = re.compile(r"(?<=[.;:]) ")


class Exit(IntEnum):
    """Exit codes of `datamover run`, documented in docs/cli.md."""

    COMPLETED = 0
    FAILED = 1
    USAGE = 2
    BLOCKED = 3
    TIMEOUT = 4
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Shown:
    """One DataMover as it is shown."""

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


def show(mover: DataMover) -> Shown:
    """Return what is shown of a DataMover."""
    status = mover.status or DataMoverStatus()
    ready = status.condition(ConditionType.READY)
    stalled = status.condition(ConditionType.STALLED)
    return Shown(
        name=mover.metadata.name,
        namespace=mover.metadata.namespace or "",
        phase=status.phase or "Pending",
        reason=ready.reason if ready else "",
        message=for_here(status.message or ""),
        progress=(status.run.progress if status.run else None) or "",
        stalled=stalled is not None and stalled.status == "True",
    )


def for_here(message: str) -> str:
    """Return a status message without its advice to use kubectl: the embedded world ends with the command, so there is nothing to ask."""
    why, separator, _ = message.partition(RETRY_ADVICE)
    if "kubectl" in why:
        clauses = _CLAUSES.split(_ASIDE.sub("", why))
        why = " ".join(clause for clause in clauses if "kubectl" not in clause).rstrip("; ")
        why += "" if why.endswith(".") or not why else "."
    return f"{why} To try again: run the same command." if separator else why


def explain(mover: DataMover) -> str | None:
    """Return why a DataMover is not Completed and how to go on from here; None when it is."""
    status = mover.status
    if status is None or status.phase == Phase.COMPLETED or not status.message:
        return None
    why = for_here(status.message)
    if RETRY_ADVICE in status.message:
        return why
    ready, reason = status.condition(ConditionType.READY), held_by(mover)
    if ready is not None and ready.reason == SOURCE_NOT_FOUND and mover.spec is not None:
        return f"{why}. Here a directory stands for it: --volume {mover.spec.source_pvc}=DIR"
    hints: list[str] = []
    if are_data_safe(reason or "", status.phase or Phase.NONE):
        hints.append(f"{_describe_data(status.run)} Only the clean-up is left.")
    if reason is not None and find_wait(reason).ended_by is not EndedBy.PERSON:
        hints.append("That may come right by itself.")
    return " ".join((f"{why.rstrip('.')}.", *hints)) if hints else why


def _describe_data(run: Run | None) -> str:
    """Return the sentence that the files of a run are at the destination, with their number where that is known."""
    where = f" at {run.destination}" if run is not None and run.destination else " at the destination"
    amount = (
        f": {amounts.count(run.files, 'file')}, {amounts.size(run.bytes or 0)}{where}"
        if run is not None and run.files is not None
        else where
    )
    return f"The data are safe{amount}."


def exit_code(movers: tuple[DataMover, ...], *, timed_out: bool = False) -> Exit:
    """Return 0 only when every DataMover is Completed; otherwise the code of the most important failure."""
    phases = {show(mover).phase for mover in movers}
    if phases == {Phase.COMPLETED}:
        return Exit.COMPLETED
    if Phase.FAILED in phases:
        return Exit.FAILED
    return Exit.TIMEOUT if timed_out else Exit.BLOCKED


def error_to_json(error: str, *, code: Exit, state: str) -> bytes:
    """Return the document of a command that ran nothing: `error` says why, and there are no DataMovers."""
    document: dict[str, Any] = {"exitCode": int(code), "state": plain(state), "error": plain(error), "dataMovers": []}
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def plain(text: str) -> str:
    """Return text that JSON can hold: bytes that are no UTF-8, such as in the name of a file, are escaped."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _status_to_tree(status: DataMoverStatus) -> dict[str, Any]:
    """Return a status whose messages, those of conditions included, do not mention kubectl: there is no cluster to use it on."""
    tree: dict[str, Any] = msgspec.to_builtins(status)
    for holder in (tree, *tree.get("conditions", ())):
        if "message" in holder:
            holder["message"] = for_here(holder["message"])
    return tree


def to_json(movers: tuple[DataMover, ...], *, code: Exit, state: str) -> bytes:
    """Return the result as one JSON document: `exitCode`, `state`, and name, namespace and status of each DataMover."""
    document: dict[str, Any] = {
        "exitCode": int(code),
        "state": plain(state),
        "dataMovers": [
            {
                "name": mover.metadata.name,
                "namespace": mover.metadata.namespace,
                "status": _status_to_tree(mover.status) if mover.status else {},
            }
            for mover in movers
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2)
