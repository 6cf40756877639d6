"""What a ReplicationSource or -Destination says of the one synchronisation that `datamover run` waits for."""

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from rich.console import Console

from datamover.api import reasons
from datamover.api.volsync.replication_destination import ReplicationDestination
from datamover.api.volsync.replication_source import ReplicationSource
from datamover.cli.applying import Wanted
from datamover.cli.display import LineDisplay, print_summary
from datamover.cli.exits import Exit
from datamover.cli.outcome import exit_code, explain, show, to_json
from datamover.cli.patience import PERSON_PATIENCE, Patience
from datamover.cli.resuming import Begin, GoOn, Kept, decide
from datamover.cli.runnables import name_of
from datamover.cli.synchronisations import find_fault
from datamover.cli.watched import Watched

BEGUN = "2026-01-31T02:00:00Z"
ENDED = "2026-01-31T02:00:05Z"
NOW = datetime(2026, 1, 31, 14, tzinfo=UTC)
RESTIC = {"repository": "s", "copyMethod": "Clone"}


def source(*, version: int = 5, trigger: dict[str, str] | None = None, **status: Any) -> ReplicationSource:
    """Return a source; what is called like a condition is one, as `reason: message`."""
    conditions = [
        {"type": kind, "status": state, "reason": reason, "message": message, "lastTransitionTime": BEGUN}
        for kind, (state, reason, message) in status.pop("conditions", {}).items()
    ]
    manifest = {
        "metadata": {"name": "backup", "namespace": "default", "uid": "u", "resourceVersion": str(version)},
        "spec": {
            "sourcePVC": "app-data",
            "trigger": {"manual": "one"} if trigger is None else trigger,
            "restic": RESTIC,
        },
        "status": {**status, "conditions": conditions},
    }
    return msgspec.convert(manifest, ReplicationSource)


def working(message: str = "moving: 1 of 3 files", **fields: Any) -> ReplicationSource:
    conditions = {
        "Synchronizing": ("True", "SyncInProgress", "Synchronization in-progress"),
        "Ready": ("False", "Synchronizing", message),
        "CopyReady": ("True", "JobCreated", "attempt 1 of the mover"),
    }
    return source(lastSyncStartTime=BEGUN, conditions=conditions, **fields)


def done(told: str = "WaitingForManual", **fields: Any) -> ReplicationSource:
    conditions = {"Synchronizing": ("False", told, "..."), "Ready": ("True", "Synchronized", "3 files")}
    latest = {"result": "Successful", "logs": "snapshot 1a2b saved\nRestic completed in 3s"}
    return source(
        lastSyncTime=ENDED, lastSyncDuration="5.238062s", latestMoverStatus=latest, conditions=conditions, **fields
    )


def failed() -> ReplicationSource:
    return working("wrong password", latestMoverStatus={"result": "Failed", "logs": "Fatal: wrong password"})


def stuck(reason: str, message: str) -> ReplicationSource:
    error = ("False", "Error", message) if reason == "Error" else ("True", "SyncInProgress", "...")
    conditions = {
        "Synchronizing": error,
        "Ready": ("False", reason, message),
        "Stalled": ("True", reason, message),
    }
    return source(lastSyncStartTime=BEGUN, conditions=conditions)


@pytest.mark.parametrize(
    ("obj", "phase"),
    [
        (source(), "Pending"),
        (working(), "SyncInProgress"),
        (done("CleaningUp"), "CleaningUp"),
        (done("CleaningUp", trigger={}), "Completed"),
        (done("WaitingForSchedule", trigger={"schedule": "@daily"}), "Completed"),
        (done(), "Completed"),
        (failed(), "Failed"),
        (stuck("Error", "no password"), "Error"),
    ],
)
def test_how_far_it_is(obj: ReplicationSource, phase: str) -> None:
    assert show(obj).phase == phase


def test_codes_are_those_of_datamovers() -> None:
    assert exit_code((done(), done())) is Exit.COMPLETED
    assert exit_code((done(), failed())) is Exit.FAILED
    assert exit_code((done(), stuck("SecretNotFound", "no Secret"))) is Exit.BLOCKED
    assert exit_code((working(),), timed_out=True) is Exit.TIMEOUT


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        (done(), None),
        (failed(), "wrong password. To try again: run the same command."),
        (
            stuck(reasons.SOURCE_NOT_FOUND, "PersistentVolumeClaim app-data does not exist"),
            "PersistentVolumeClaim app-data does not exist. Here a directory stands for it: --volume app-data=DIR",
        ),
        (stuck("MoverUnschedulable", "no node takes it"), "no node takes it. That may come right by itself."),
        (stuck("Error", "spec.restic.repository is not set: name one"), "spec.restic.repository is not set: name one"),
    ],
)
def test_why_it_is_not_done(obj: ReplicationSource, words: str | None) -> None:
    assert explain(obj) == words


def test_nobody_can_pull_a_copy_trigger_while_the_command_runs_and_that_is_said() -> None:
    waits = stuck(reasons.COPY_TRIGGER_WAITING, "app-data waits for its trigger; kubectl annotate pvc app-data x=y")
    told = explain(waits) or ""
    assert told.startswith("app-data waits for its trigger.")
    assert "volsync.backube/copy-trigger" in told
    assert "datamover local up" in told


@pytest.mark.parametrize(
    ("obj", "seconds"),
    [
        (stuck("Error", "x"), PERSON_PATIENCE),
        (stuck(reasons.COPY_TRIGGER_WAITING, "x"), PERSON_PATIENCE),
        (stuck(reasons.MOVER_UNSCHEDULABLE, "x"), 100.0),
        (working(), None),
        (failed(), 0.0),
        (done(), 0.0),
    ],
)
def test_when_nobody_waits_any_more(obj: ReplicationSource, seconds: float | None) -> None:
    patience = Patience(limit=100.0)
    moments = (0.0, 4.9, PERSON_PATIENCE, 99.9, 100.0, 1e6)
    assert next((now for now in moments if patience.is_over({name_of(obj): obj}, now=now)), None) == seconds


def test_the_next_command_begins_anew_or_goes_on() -> None:
    def decided(kept: ReplicationSource, *, hours: int = 24) -> Begin | GoOn:
        return decide(Kept(before=kept, now=kept), now=NOW, max_copy_age=timedelta(hours=hours))

    assert decided(done()) == Begin()
    assert decided(failed()) == Begin(), "a failed one takes a fresh copy"
    gone_on = decided(working())
    assert isinstance(gone_on, GoOn)
    assert "2026-01-31 02:00:00Z, 12h ago" in (gone_on.words or "")
    assert isinstance(decided(working(), hours=11), Begin)
    assert decided(stuck("SecretNotFound", "x")) == GoOn(), "nothing was copied yet, so nothing is told of a copy"


def test_of_a_source_that_begins_again_at_once_the_first_end_counts() -> None:
    endless = {"trigger": {}}
    watched = Watched({name_of(done()): Wanted("u", 5)})
    assert watched.see(done("CleaningUp", version=4, **endless)) is None, "of before what was applied"
    watched.see(working(version=6, **endless))
    first = done("CleaningUp", version=7, **endless)
    assert watched.see(first) is first
    again = working(version=8, lastSyncTime=ENDED, **endless)
    assert watched.see(again) is first


def test_the_end_of_an_earlier_synchronisation_is_not_that_of_the_one_that_goes_on() -> None:
    watched = Watched({name_of(done()): Wanted("u", 5, ended_before=ENDED)})
    assert watched.see(done()) is None
    assert watched.see(working(lastSyncTime=ENDED)) is not None


def test_lines_and_the_table_at_the_end_name_the_kind_and_show_the_log() -> None:
    console = Console(file=io.StringIO(), width=200)
    LineDisplay(console, now=lambda: NOW).update((working(),))
    print_summary(console, (done(),))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "ReplicationSource default/backup  SyncInProgress  moving: 1 of 3 files" in text
    assert "backup  ReplicationSource  Completed  5.2s  2026-01-31 02:00:05Z" in text
    assert "backup: 3 files\n  snapshot 1a2b saved\n  Restic completed in 3s" in text


def test_json_has_a_list_for_each_kind() -> None:
    document = json.loads(to_json((done(),), code=Exit.COMPLETED, state="/s"))
    (entry,) = document["replicationSources"]
    assert (entry["result"], entry["status"]["lastSyncDuration"], entry["name"]) == ("Completed", "5.238062s", "backup")
    assert (document["dataMovers"], document["replicationDestinations"]) == ([], [])


def destination(**spec: Any) -> ReplicationDestination:
    return msgspec.convert({"metadata": {"name": "d", "namespace": "default"}, "spec": spec}, ReplicationDestination)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"rsyncTLS": {"copyMethod": "Direct"}}, "the embedded world has none"),
        ({"rsync": {"copyMethod": "Direct"}}, "the embedded world has none"),
        ({"restic": {"copyMethod": "Direct"}, "trigger": {"schedule": "0 0 31 2 *"}}, "spec.trigger.schedule"),
        ({}, "no replication method is given"),
        ({"restic": {"copyMethod": "Direct"}}, None),
    ],
)
def test_what_cannot_be_run_here_is_told_before_anything_runs(spec: dict[str, Any], words: str | None) -> None:
    fault = find_fault(destination(**spec))
    assert fault is None if words is None else words in (fault or "")
