"""What becomes of the objects of VolSync's operator when ours takes its place."""

from typing import Any

import msgspec
import pytest

from datamover.api.volsync.replication_source import ReplicationSource
from datamover.cli.takeover import judge

RESTIC: dict[str, Any] = {"sourcePVC": "data", "restic": {"copyMethod": "Clone", "repository": "r"}}
RUNNING: dict[str, Any] = {"lastSyncStartTime": "2026-11-29T11:12:51Z"}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], set[tuple[str, str]], bool, str, str]] = {
    "idle, with its cache": (
        RESTIC,
        {},
        {("PersistentVolumeClaim", "volsync-src-nightly-cache")},
        True,
        "restic",
        "cache volsync-src-nightly-cache and the repository are used as they are",
    ),
    "its cache is gone": (RESTIC, {}, set(), True, "restic", "a new cache is filled"),
    "a mover runs": (
        RESTIC,
        RUNNING,
        {("Job", "volsync-src-nightly")},
        True,
        "restic",
        "Job volsync-src-nightly is followed to its end",
    ),
    "a copy is made": (
        RESTIC,
        RUNNING,
        {("PersistentVolumeClaim", "volsync-nightly-src")},
        True,
        "restic",
        "its copy volsync-nightly-src is used",
    ),
    "paused": ({**RESTIC, "paused": True}, {}, set(), True, "restic", "paused, and stays so"),
    "syncthing": ({"sourcePVC": "data", "syncthing": {}}, {}, set(), False, "syncthing", "not moved by this operator"),
    "external": ({"sourcePVC": "data", "external": {"provider": "x"}}, {}, set(), False, "external", "left alone"),
    "two methods": (
        {**RESTIC, "rclone": {"copyMethod": "Clone"}},
        {},
        set(),
        False,
        "none",
        "only one replication method",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_object_is_told_what_becomes_of_it(case: str) -> None:
    spec, status, children, goes_on, method, note = CASES[case]
    manifest = {"metadata": {"name": "nightly", "namespace": "shop", "uid": "u"}, "spec": spec, "status": status}
    row = judge(msgspec.convert(manifest, ReplicationSource), "ReplicationSource", children)

    assert (row.goes_on, row.method) == (goes_on, method)
    assert any(note in each for each in row.notes), row.notes
    assert row.state == ("synchronising" if status else "new")
