"""Who counts as a mover that runs."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from datamover.reconcilers.replication.turns import count_running
from kubekit.words.batch import Job
from support.theatre import SETTINGS, Theatre


def job(name: str = "job", uid: str | None = "other", parallelism: int = 1, ended: str = "") -> Job:
    labels = {"volsync.backube/cleanup": uid} if uid else {}
    status: dict[str, Any] = {"conditions": [{"type": ended, "status": "True"}]} if ended else {}
    made = {"metadata": {"name": name, "labels": labels}, "spec": {"parallelism": parallelism}, "status": status}
    return msgspec.convert(made, Job)


@pytest.mark.parametrize(
    ("found", "counts"),
    [
        (job(), 1),
        (job(uid="mine"), 0),
        (job(uid=None), 0),  # another kind's
        (job(parallelism=0), 0),
        (job(ended="Complete"), 0),
        (job(ended="Failed"), 0),
        (job(ended="FailureTarget"), 1),
        (job("server"), 0),
    ],
)
def test_who_counts(found: Job, counts: int) -> None:
    assert count_running([found], but="mine", listens=lambda each: each.metadata.name == "server") == counts


@pytest.mark.parametrize("method", ["rsyncTLS", "rsync"])
def test_a_mover_that_others_connect_to_takes_no_turn(method: str) -> None:
    it = Theatre.destination(method, settings=replace(SETTINGS, most_at_once=1))
    it.running = 5
    it.finish()
    assert it.synced
