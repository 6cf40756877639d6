"""Live sources (copyMethod Direct): whatever happens to a file while it is moved, nothing whole goes before its successor is there.

Real engine; a store in memory, whose requests are the moments at which the files change.
"""

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import Container
from support.memory_s3 import MemoryS3
from support.s3 import S3Server

LIVE = {"DATAMOVER_COPY_METHOD": "Direct"}
QUIET = {f"quiet-{number}": f"contents {number}" for number in range(5)}
SIZE = 12 << 20
IN_PARTS = {"RCLONE_S3_UPLOAD_CUTOFF": "5M", "RCLONE_S3_UPLOAD_CONCURRENCY": "1"}
SEVERAL_THREADS = {"RCLONE_MULTI_THREAD_CUTOFF": "6M", "RCLONE_S3_UPLOAD_CONCURRENCY": "1"}


@pytest.fixture
def container(store: MemoryS3, tmp_path: Path) -> Container:
    made = Container(tmp_path / "container", store.secret())
    for name, content in QUIET.items():
        (made.data / name).write_text(content)
    return made


class Writer:
    """An application that writes to `state.db` each time that bytes of it go to the store."""

    def __init__(self, container: Container, store: MemoryS3, how: str) -> None:
        self.path = container.data / "state.db"
        self.count = 0
        self.at = "PUT"
        self._write: Callable[[], None] = getattr(self, how)
        self._lock = threading.Lock()
        store.busy = self._look

    def _look(self, method: str, key: str) -> None:
        if method == self.at and key.endswith("state.db"):
            with self._lock:
                self.count += 1
                self._write()

    def rewrite(self) -> None:
        size = os.path.getsize(self.path)
        self.path.write_bytes(bytes([97 + self.count % 20]) * size)

    def grow(self) -> None:
        with self.path.open("ab") as file:
            file.write(b"more")

    def shrink(self) -> None:
        os.truncate(self.path, os.path.getsize(self.path) // 2)

    def rename(self) -> None:
        other = self.path.with_suffix(".tmp")
        other.write_bytes(bytes([97 + self.count % 20]) * os.path.getsize(self.path))
        other.rename(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize("how", ["rewrite", "rename", "grow"])
def test_a_file_that_never_rests_keeps_its_last_good_copy(tmp_path: Path, how: str, versioned: bool) -> None:
    with MemoryS3(versioned=versioned) as store:
        container = Container(tmp_path / "container", store.secret())
        for name, content in (QUIET | {"state.db": "good"}).items():
            (container.data / name).write_text(content)
        assert container.run(**LIVE).code == 0
        (container.data / "state.db").write_bytes(b"new" * 30_000)
        (container.data / "quiet-0").write_text("changed")
        (container.data / "late").write_text("new")
        Writer(container, store, how)
        ended = container.run(**LIVE)
        outcome = ended.outcome
        assert (outcome.failure_class, outcome.reason) == (transfer.SOURCE_CHANGED, transfer.REASON_SOURCE_CHANGED), (
            ended.output
        )
        assert outcome.retryable
        assert "state.db" in outcome.message
        assert outcome.deleted == 0
        expected = {name: content.encode() for name, content in QUIET.items()}
        assert store.objects() == expected | {"quiet-0": b"changed", "late": b"new", "state.db": b"good"}
        assert (outcome.transferred_files, outcome.transferred_bytes) == (2, len("changed") + len("new"))
        assert not [key for key in store.objects(records=True) if "/arriving/" in key]


@pytest.mark.parametrize("settings", [IN_PARTS, SEVERAL_THREADS], ids=["in parts", "several threads"])
@pytest.mark.parametrize("there", [True, False])
def test_a_large_file_that_never_rests_is_never_half_old_and_half_new(
    container: Container, store: MemoryS3, settings: dict[str, str], there: bool
) -> None:
    """Sent in parts, one after the other or by several threads, it would be made of two contents."""
    path = container.data / "state.db"
    if there:
        path.write_text("good")
        assert container.run(**LIVE).code == 0
    path.write_bytes(b"a" * SIZE)
    Writer(container, store, "rewrite")
    ended = container.run(**LIVE, **settings, RCLONE_BUFFER_SIZE="0")
    assert ended.outcome.reason == transfer.REASON_SOURCE_CHANGED, ended.output
    found = store.objects().get("state.db", b"")
    assert found == b"good" if there else len(set(found)) <= 1


def test_a_file_that_rests_in_the_end_arrives_whole(container: Container, store: MemoryS3) -> None:
    path = container.data / "state.db"
    path.write_text("good")
    assert container.run(**LIVE).code == 0
    path.write_bytes(b"a" * 1000)
    writer = Writer(container, store, "rewrite")
    writer._write = lambda: writer.rewrite() if writer.count == 1 else None
    ended = container.run(**LIVE, VERIFY_BACKUP="true")
    assert ended.code == 0, ended.output
    assert store.objects()["state.db"] == path.read_bytes() == b"b" * 1000
    assert (ended.outcome.transferred_files, ended.outcome.transferred_bytes) == (1, 1000)


def test_a_file_that_goes_while_it_is_moved_leaves_its_old_copy(container: Container, store: MemoryS3) -> None:
    path = container.data / "state.db"
    path.write_text("good")
    assert container.run(**LIVE).code == 0
    path.write_bytes(b"a" * 100)
    Writer(container, store, "remove")
    ended = container.run(**LIVE)
    assert store.objects()["state.db"] in (b"good", b"a" * 100), ended.output
    store.busy = lambda _, __: None
    after = container.run(**LIVE)
    assert (after.code, after.outcome.deleted) == (0, 1), after.output


def test_an_unchanged_live_source_sends_nothing(container: Container, store: MemoryS3) -> None:
    assert container.run(**LIVE).code == 0
    store.seen.clear()
    ended = container.run(**LIVE)
    assert (ended.code, ended.outcome.transferred_files) == (0, 0), ended.output
    assert not [key for method, key in store.seen if method == "PUT" and ".datamover/" not in key]
    assert "ERROR" not in ended.said


def test_changed_files_of_a_live_source_are_replaced_without_a_word_of_errors(
    any_container: Container, any_s3: S3Server
) -> None:
    data = any_container.data
    for name in ("a", "b", "d/c"):
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_text(name)
    os.symlink("a", data / "link")
    open(os.path.join(os.fsencode(data), b"bad\xff"), "w").close()
    assert any_container.run(**LIVE).code == 0
    (data / "a").write_text("A")
    (data / "d/c").write_text("longer")
    (data / "new").write_text("new")
    (data / "link").unlink()
    os.symlink("b", data / "link")
    Path(os.fsdecode(os.path.join(os.fsencode(data), b"bad\xff"))).write_text("written")
    ended = any_container.run(**LIVE, VERIFY_BACKUP="true")
    assert ended.code == 0, ended.output
    assert ended.outcome.transferred_files == 5
    there = any_s3.objects()
    assert [content for key, content in there.items() if key.startswith("bad")] == [b"written"]
    expected = {"a": b"A", "b": b"b", "d/c": b"longer", "new": b"new", "link.rclonelink": b"b"}
    assert {key: content for key, content in there.items() if not key.startswith("bad")} == expected
    assert "ERROR" not in ended.said
    assert "Errors:" not in ended.said
    assert not any(line.errors for line in ended.progress)
    assert any_container.run(**LIVE).outcome.transferred_files == 0


def test_what_the_user_wants_never_replaced_is_not(container: Container, store: MemoryS3) -> None:
    assert container.run(**LIVE).code == 0
    (container.data / "quiet-0").write_text("changed")
    ended = container.run(**LIVE, RCLONE_IMMUTABLE="true")
    assert not ended.outcome.succeeded, ended.output
    assert "immutable file modified" in ended.outcome.message
    assert store.objects()["quiet-0"] == QUIET["quiet-0"].encode()


def test_filters_choose_among_the_changed_files_of_a_live_source(container: Container, store: MemoryS3) -> None:
    assert container.run(**LIVE).code == 0
    (container.data / "quiet-0").write_text("changed")
    (container.data / "quiet-1").write_text("changed")
    assert container.run(**LIVE, RCLONE_EXCLUDE="quiet-1").code == 0
    assert store.objects()["quiet-0"] == b"changed"
    assert store.objects()["quiet-1"] == QUIET["quiet-1"].encode()


def test_what_a_killed_attempt_left_beside_is_removed_and_never_used(container: Container, store: MemoryS3) -> None:
    path = container.data / "state.db"
    path.write_text("good")
    assert container.run(**LIVE, DATAMOVER_RUN_ID="run-1").code == 0
    path.write_text("half of something")
    there = threading.Event()
    store.busy = lambda method, key: (
        (there.set(), threading.Event().wait(30))[1] if method == "PUT" and key == "state.db" else None
    )  # type: ignore[func-returns-value]
    with container.start(**LIVE, DATAMOVER_RUN_ID="run-2") as running:
        assert there.wait(30)
        children = running.children()
        running.process.kill()
        for child in children:
            os.kill(child, 9)
    store.busy = lambda _, __: None
    assert [key for key in store.objects(records=True) if "/arriving/" in key]
    path.write_text("whole")
    ended = container.run(**LIVE, DATAMOVER_RUN_ID="run-3", DATAMOVER_GRACE_PERIOD="1")
    assert ended.code == 0, ended.output
    assert store.objects()["state.db"] == b"whole"
    assert not [key for key in store.objects(records=True) if "/arriving/" in key]


def test_a_path_too_long_to_be_put_beside_keeps_its_old_copy_and_is_told(container: Container, store: MemoryS3) -> None:
    long = "/".join(["d" * 250] * 3 + ["f" * 240])
    (container.data / long).parent.mkdir(parents=True)
    (container.data / long).write_text("good")
    assert container.run(**LIVE).code == 0
    (container.data / long).write_text("changed")
    (container.data / "quiet-0").write_text("changed")
    ended = container.run(**LIVE)
    assert ended.outcome.reason == transfer.REASON_NAME_TOO_LONG, ended.output
    assert store.objects()[long] == b"good"
    assert store.objects()["quiet-0"] == b"changed"


def test_a_timestamped_copy_of_a_live_source_keeps_what_an_earlier_attempt_brought(
    container: Container, store: MemoryS3
) -> None:
    path = container.data / "state.db"
    path.write_text("good")
    stamped = {"ADD_TIMESTAMP_PREFIX": "true", "DATAMOVER_TIMESTAMP": "2024-08-06-143052", "DATAMOVER_RUN_ID": "run-1"}
    assert container.run(**LIVE, **stamped).code == 0
    path.write_bytes(b"new" * 100)
    Writer(container, store, "rewrite")
    ended = container.run(**LIVE, **stamped)
    assert ended.outcome.reason == transfer.REASON_SOURCE_CHANGED, ended.output
    assert store.objects()["2024-08-06-143052/state.db"] == b"good"


@pytest.mark.parametrize("how", ["rewrite", "rename"])
def test_checksums_that_are_not_compared_replace_nothing_by_what_changed(
    container: Container, store: MemoryS3, how: str
) -> None:
    path = container.data / "state.db"
    path.write_text("good")
    assert container.run(**LIVE).code == 0
    path.write_bytes(b"new" * 100)
    Writer(container, store, how)
    ended = container.run(**LIVE, RCLONE_IGNORE_CHECKSUM="true")
    assert ended.outcome.reason == transfer.REASON_SOURCE_CHANGED, ended.output
    assert store.objects()["state.db"] == b"good"


# --- whose fault it is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["Direct", "Clone"])
def test_a_store_that_loses_what_it_took_is_told_as_the_store(
    container: Container, store: MemoryS3, method: str
) -> None:
    store.loses = lambda key: key.endswith("quiet-3")
    ended = container.run(DATAMOVER_COPY_METHOD=method)
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (transfer.VERIFY, transfer.REASON_VERIFICATION_FAILED), (
        ended.output
    )
    assert "quiet-3" in outcome.message
    assert "look at the server" in outcome.message


def test_a_store_that_changes_what_it_took_is_told_as_the_store(container: Container, store: MemoryS3) -> None:
    store.changes = lambda key, content: content[:-1] if key.endswith("quiet-3") else content
    ended = container.run(**LIVE)
    assert ended.outcome.reason == transfer.REASON_VERIFICATION_FAILED, ended.output


@pytest.mark.parametrize("changes", [False, True])
def test_verification_tells_a_changed_file_from_a_store_that_changed_it(
    container: Container, store: MemoryS3, changes: bool
) -> None:
    store.changes = lambda key, content: content.swapcase() if key.endswith("quiet-3") else content
    changed: list[str] = []

    def change(method: str, key: str) -> None:
        if (
            changes
            and method == "GET"
            and not key
            and [k for m, k in store.seen if m == "PUT" and k == "quiet-3"]
            and not changed
        ):
            changed.append(key)
            (container.data / "quiet-3").write_text("CONTENTS X")

    store.busy = change
    ended = container.run(**LIVE, VERIFY_BACKUP="download")
    reason = transfer.REASON_SOURCE_CHANGED if changes else transfer.REASON_VERIFICATION_FAILED
    assert ended.outcome.reason == reason, ended.output


def test_a_live_store_that_names_other_checksums_replaces_nothing(container: Container, store: MemoryS3) -> None:
    assert container.run(**LIVE).code == 0
    (container.data / "quiet-3").write_text("changed")
    store.etag = lambda content: "0" * 32 if content == b"changed" else hashlib.md5(content).hexdigest()
    ended = container.run(**LIVE)
    assert ended.outcome.reason == transfer.REASON_VERIFICATION_FAILED, ended.output
    assert set(store.objects()) == set(QUIET)


def test_what_the_engine_itself_removes_from_a_mirror_is_counted_and_told(
    container: Container, store: MemoryS3
) -> None:
    """Of a clone, which does not change, that means that the store errs."""
    assert container.run().code == 0
    (container.data / "quiet-3").write_text("changed")
    (container.data / "new").write_text("changed")
    store.etag = lambda content: "0" * 32 if content == b"changed" else hashlib.md5(content).hexdigest()
    ended = container.run()
    assert ended.outcome.reason == transfer.REASON_VERIFICATION_FAILED, ended.output
    assert set(store.objects()) == set(QUIET) - {"quiet-3"}
    assert ended.outcome.deleted == 1
    assert "removed 1 object(s) of the mirror" in ended.outcome.message
    assert (ended.outcome.transferred_files, ended.outcome.transferred_bytes) == (0, 0)


def test_what_is_sent_again_counts_once(container: Container, store: MemoryS3) -> None:
    """The first try of one file fails, and the engine sends it once more."""
    refused: list[str] = []

    def refuse_once(method: str, key: str) -> None:
        if method == "PUT" and key == "quiet-0" and not refused:
            refused.append(key)
            (container.data / key).write_text("contents X")

    store.busy = refuse_once
    ended = container.run(**LIVE)
    assert ended.code == 0, ended.output
    assert (ended.outcome.transferred_files, ended.outcome.transferred_bytes) == (5, 50)
    assert len([key for method, key in store.seen if method == "PUT" and key == "quiet-0"]) == 2
