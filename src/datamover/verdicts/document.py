"""The verdict as a document: what `datamover hcp explain -o json` prints, and what the watcher keeps. Pure.

Moments are RFC 3339 in UTC. Everything is as clean and as limited as the verdict is.
"""

from datetime import datetime
from typing import Any

import msgspec

from datamover.api.hypershift import HostedControlPlane
from datamover.api.outside import Count
from datamover.verdicts.readings import name
from datamover.verdicts.verdict import Flags, Row, Verdict, Wait
from kubekit.words.timestamps import seconds


class Entry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One thing that is waited for: the fields of `Wait`."""

    claim: str = ""
    kind: str = ""
    name: str = ""
    phase: str = ""
    since: str | None = None
    deadline: str | None = None
    node: str = ""
    pod: str = ""
    sentence: str = ""


class Volume(Entry, frozen=True, kw_only=True, rename="camel"):
    """A claim, and how far it is: the fields of `Row`."""

    finished: bool = False
    bytes_done: Count = 0
    bytes_total: Count = 0


class FlagsDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The four flags, in the document's spelling."""

    pv_backup_started: bool = msgspec.field(default=False, name="PVBackupStarted")
    pv_backup_finished: bool = msgspec.field(default=False, name="PVBackupFinished")
    du_started: bool = msgspec.field(default=False, name="DUStarted")
    du_finished: bool = msgspec.field(default=False, name="DUFinished")


class Plane(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A control plane of a backup, and the verdict on it. `state` is the name of a `State`."""

    namespace: str = ""
    name: str = ""
    platform: str = ""
    state: str = ""
    error: str = ""
    timed_out: bool = False
    description: str = ""
    warnings: tuple[str, ...] = ()
    flags: FlagsDocument = FlagsDocument()
    completed: Count = 0
    total: Count = 0
    bytes_done: Count = 0
    bytes_total: Count = 0
    started: str | None = None
    updated: str | None = None


class ExplainedPlane(Plane, frozen=True, kw_only=True, rename="camel"):
    """The same with each volume and each wait."""

    volumes: tuple[Volume, ...] = ()
    waits: tuple[Entry, ...] = ()


def explain_plane(hcp: HostedControlPlane, verdict: Verdict) -> ExplainedPlane:
    """Return all that is known of a control plane."""
    return ExplainedPlane(
        **fields_of(hcp, verdict),
        volumes=tuple(map(volume_of, verdict.rows)),
        waits=tuple(map(_entry_of, verdict.waits)),
    )


def fields_of(hcp: HostedControlPlane, verdict: Verdict) -> dict[str, Any]:
    """Return what a `Plane` says, by its fields."""
    return {
        "namespace": name(hcp.metadata.namespace),
        "name": name(hcp.metadata.name),
        "platform": verdict.platform,
        "state": verdict.state.name,
        "error": verdict.error,
        "timed_out": verdict.timed_out,
        "description": verdict.description,
        "warnings": verdict.warnings,
        "flags": _flags_of(verdict.flags),
        "completed": verdict.completed,
        "total": verdict.total,
        "bytes_done": verdict.bytes_done,
        "bytes_total": verdict.bytes_total,
        "started": _moment(verdict.started),
        "updated": _moment(verdict.updated),
    }


def volume_of(row: Row) -> Volume:
    """Return a volume as it stands."""
    return Volume(**_common(row), finished=row.finished, bytes_done=row.bytes_done, bytes_total=row.bytes_total)


def _entry_of(wait: Wait) -> Entry:
    return Entry(**_common(wait))


def _common(entry: Row | Wait) -> dict[str, Any]:
    return {
        "claim": entry.claim,
        "kind": entry.kind,
        "name": entry.name,
        "phase": entry.phase,
        "since": _moment(entry.since),
        "deadline": _moment(entry.deadline),
        "node": entry.node,
        "pod": entry.pod,
        "sentence": entry.sentence,
    }


def _flags_of(flags: Flags) -> FlagsDocument:
    return FlagsDocument(
        pv_backup_started=flags.pv_backup_started,
        pv_backup_finished=flags.pv_backup_finished,
        du_started=flags.du_started,
        du_finished=flags.du_finished,
    )


def _moment(moment: datetime | None) -> str | None:
    return seconds(moment) if moment is not None else None
