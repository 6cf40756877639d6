"""Restores from stores that lie about their objects. Real engine, a server on loopback."""

from pathlib import Path

import pytest

from datamover.agent.restore.attempt import MARKED, WHOLE
from datamover.api import transfer
from rclone.test_restore import Restores
from support.endless import Endless
from support.memory_s3 import MemoryS3
from support.points import forge

RUN, FOLDER = "20240801101500-copy", "2024-08-01-101500"
MEBIBYTE = 1 << 20


@pytest.fixture
def restores(store: MemoryS3, tmp_path: Path) -> Restores:
    (tmp_path / "restores").mkdir()
    return Restores(store, tmp_path / "restores")


def fill(store: MemoryS3, files: dict[str, int]) -> None:
    """Let the bucket have a point with files of these sizes."""
    lines = [{"type": "file", "path": path, "size": size, "mode": 0o644, "mtime": 1} for path, size in files.items()]
    store.put(forge(RUN, FOLDER, *lines))
    store.put({f"{FOLDER}/{path}": path[:1].encode() * size for path, size in files.items()})


def test_an_object_without_an_end_is_told_by_its_path_and_takes_no_room(
    store: MemoryS3, restores: Restores, tmp_path: Path
) -> None:
    fill(
        store,
        {"endless": 5, "medium": 3 * MEBIBYTE, "large": 70 * MEBIBYTE} | {f"{number}": 100 for number in range(30)},
    )
    target = tmp_path / "target"
    pieces = Endless(target)
    store.gives = lambda key: pieces if key == f"{FOLDER}/endless" else None
    failure = restores.refusal(target)
    assert (failure.reason, restores.facts.target) == (transfer.REASON_RESTORED_OTHERWISE, MARKED)
    assert failure.problems == ("endless: it has more than 5 bytes",)
    assert (restores.facts.fetched, restores.facts.files) == (32, 33)
    assert 0 < pieces.most <= 3 * MEBIBYTE
    store.gives = lambda _: None
    assert restores.run(target).target == WHOLE


def test_objects_that_are_larger_than_the_manifest_says_are_told_by_their_paths(
    store: MemoryS3, restores: Restores, tmp_path: Path
) -> None:
    fill(store, {"small": 5, "medium": 3 * MEBIBYTE, "fine": 100})
    store.put({f"{FOLDER}/small": bytes(300 * MEBIBYTE), f"{FOLDER}/medium": bytes(80 * MEBIBYTE)})
    failure = restores.refusal(tmp_path / "target")
    assert set(failure.problems) == {"small: it has more than 5 bytes", "medium: it has more than 3145728 bytes"}
    assert (tmp_path / "target/fine").read_bytes() == b"f" * 100
