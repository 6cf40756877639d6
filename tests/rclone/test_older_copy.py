"""Timestamped copies that take over what has not changed: the store copies it itself, and what is there afterwards is the source all the same."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import Container, Ended
from support.memory_s3 import MemoryS3
from support.s3 import S3Server

MIB = 1 << 20
FIRST, SECOND, THIRD = "2024-08-06-143052", "2024-08-07-143052", "2024-08-08-143052"
LARGE = {"db/large": os.urandom(7 * MIB), "db/odd \u00fc;name": os.urandom(5 * MIB), "db/other": os.urandom(6 * MIB)}
SMALL = {"small": b"small", "db/empty": b""}


def fill(container: Container, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = container.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def copy(container: Container, stamp: str, **changes: str | None) -> Ended:
    wanted = {"ADD_TIMESTAMP_PREFIX": "true", "DATAMOVER_TIMESTAMP": stamp, "DATAMOVER_RUN_ID": f"run-{stamp}"}
    ended = container.run(**wanted | changes)
    assert ended.code == 0, ended.output
    return ended


def keep_times(path: Path, content: bytes) -> None:
    """Change what is in a file and nothing that tells so."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_has_not_changed_is_copied_by_the_store(any_container: Container, any_s3: S3Server) -> None:
    files = LARGE | SMALL
    fill(any_container, files)
    first = copy(any_container, FIRST).outcome
    assert (first.transferred_files, first.copied_files) == (5, 0)
    files |= {"db/other": os.urandom(6 * MIB), "new": os.urandom(5 * MIB)}
    fill(any_container, {name: files[name] for name in ("db/other", "new")})
    ended = copy(any_container, SECOND)
    second = ended.outcome
    assert any_s3.objects(SECOND) == files
    assert (second.copied_files, second.copied_bytes) == (2, 12 * MIB)
    assert (second.transferred_files, second.transferred_bytes) == (4, 11 * MIB + len(b"small"))
    assert f"2 unchanged files (12.0 MiB) were copied within the store from {FIRST}" in second.message
    third = copy(any_container, THIRD, VERIFY_BACKUP="true").outcome
    assert (third.copied_files, third.verified) == (4, True)
    assert f"from {SECOND}" in third.message
    assert any_s3.objects(THIRD) == files


def test_a_change_that_no_time_tells_is_sent(any_container: Container, any_s3: S3Server) -> None:
    fill(any_container, LARGE)
    copy(any_container, FIRST)
    changed = bytes(7 * MIB)
    keep_times(any_container.data / "db/large", changed)
    second = copy(any_container, SECOND).outcome
    assert any_s3.objects(SECOND) == LARGE | {"db/large": changed}
    assert (second.copied_files, second.transferred_files) == (2, 1), (
        "what was copied and sent all the same counts as sent"
    )


def test_what_is_not_there_any_more_is_sent(any_container: Container, any_s3: S3Server) -> None:
    fill(any_container, LARGE)
    copy(any_container, FIRST)
    (any_s3.directory / "backups" / FIRST / "db" / "large").unlink()
    second = copy(any_container, SECOND).outcome
    assert any_s3.objects(SECOND) == LARGE
    assert (second.copied_files, second.transferred_files) == (2, 1)


def test_only_a_complete_copy_of_the_same_volume_is_taken_from(tmp_path: Path) -> None:
    with MemoryS3() as store:
        container = Container(tmp_path / "container", store.secret())
        fill(container, LARGE)
        copy(container, FIRST, DATAMOVER_OWNER_PVC="another")
        assert copy(container, SECOND).outcome.copied_files == 0
        outcome = f".datamover/runs/run-{SECOND}/outcome.json"
        ended = store.objects(records=True)[outcome]
        store.remove(outcome)
        assert copy(container, THIRD).outcome.copied_files == 0
        store.put({outcome: ended.replace(b'"succeeded":true', b'"succeeded":false')})
        store.remove(f".datamover/runs/run-{THIRD}/outcome.json")
        assert copy(container, "2024-08-09-143052").outcome.copied_files == 0
        assert copy(container, "2024-08-10-143052").outcome.copied_files == 3, "the one before is complete"
        there = store.objects()
    assert {name: there[f"2024-08-10-143052/{name}"] for name in LARGE} == LARGE


LIES: dict[str, Callable[[str, bytes], bytes | None]] = {
    "cannot copy": lambda _, __: None,
    "copies other bytes": lambda _, content: bytes(len(content)),
    "copies a part": lambda _, content: content[:100],
    "copies nothing of one": lambda key, content: b"" if key.endswith("large") else content,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_store_that_does_not_copy_what_it_says_costs_time_alone(tmp_path: Path, lie: str) -> None:
    with MemoryS3() as store:
        container = Container(tmp_path / "container", store.secret())
        fill(container, LARGE)
        copy(container, FIRST)
        store.copies = LIES[lie]
        second = copy(container, SECOND)
        there = store.objects()
    assert {name: there[f"{SECOND}/{name}"] for name in LARGE} == LARGE
    outcome = second.outcome
    assert outcome.copied_files + outcome.transferred_files == len(LARGE)
    assert outcome.transferred_files >= 1
    assert {name: there[f"{FIRST}/{name}"] for name in LARGE} == LARGE, "the older copy is as it was"
    if lie == "cannot copy":
        assert "could not be copied within the store, so they are sent" in second.output


IN_PARTS = {"RCLONE_S3_UPLOAD_CUTOFF": "5M", "RCLONE_S3_CHUNK_SIZE": "5M"}


def test_what_a_store_copies_is_sent_where_its_listing_has_no_checksum_of_it(tmp_path: Path) -> None:
    """Beside an object that was sent in parts is the MD5 of what was sent. It is copied with it, whatever else was."""
    with MemoryS3() as store:
        container = Container(tmp_path / "container", store.secret())
        fill(container, LARGE)
        copy(container, FIRST, **IN_PARTS)
        store.copies = lambda _, content: bytes(len(content))
        store.marks = lambda _, etag: etag
        second = copy(container, SECOND)
        there = store.objects()
    assert {name: there[f"{SECOND}/{name}"] for name in LARGE} == LARGE
    assert (second.outcome.copied_files, second.outcome.transferred_files) == (0, len(LARGE)), second.output


def test_what_an_earlier_attempt_had_copied_is_sent_where_its_listing_has_no_checksum_of_it(tmp_path: Path) -> None:
    with MemoryS3() as store:
        container = Container(tmp_path / "container", store.secret())
        fill(container, LARGE)
        copy(container, FIRST, **IN_PARTS)
        copy(container, SECOND)
        for name, content in LARGE.items():
            # as a store may copy it: other bytes, and what was beside those that were sent
            copied, sent = store.find(f"{SECOND}/{name}"), store.find(f"{FIRST}/{name}")
            assert copied is not None
            assert sent is not None
            copied.content, copied.etag, copied.metadata = bytes(len(content)), sent.etag, sent.metadata
        again = copy(container, SECOND)
        there = store.objects()
    assert {name: there[f"{SECOND}/{name}"] for name in LARGE} == LARGE
    assert again.outcome.transferred_files == len(LARGE), again.output


@pytest.mark.parametrize(
    "chosen",
    [
        IN_PARTS,
        {"RCLONE_CONFIG_S3GENERIC_COPY_CUTOFF": "5M"},
        {"RCLONE_MULTI_THREAD_CUTOFF": "5M"},
        {"RCLONE_IGNORE_TIMES": "true"},
        {"RCLONE_NO_CHECK_DEST": "true"},
        {"RCLONE_SIZE_ONLY": "true"},
        {"RCLONE_CHECKSUM": "false"},
        {"RCLONE_IMMUTABLE": "true"},
        {"RCLONE_MAX_DURATION": "10m"},
    ],
    ids=" ".join,
)
def test_nothing_is_copied_where_the_users_own_settings_leave_it_unproved_or_sent_all_the_same(
    tmp_path: Path, chosen: dict[str, str]
) -> None:
    with MemoryS3() as store:
        container = Container(tmp_path / "container", store.secret())
        fill(container, LARGE)
        copy(container, FIRST)
        store.seen.clear()
        second = copy(container, SECOND, **chosen)
        there = store.objects()
    assert {name: there[f"{SECOND}/{name}"] for name in LARGE} == LARGE
    assert (second.outcome.copied_files, second.outcome.transferred_files) == (0, len(LARGE))
    assert not [key for _, key in store.seen if FIRST in key], "nor is it looked for an older copy"


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_store_that_copies_and_then_forgets_what_is_sent_over_it_is_found_out(tmp_path: Path, attempts: int) -> None:
    """The file has other contents, of the same size and time: what the store has copied is replaced, or the run fails (law L4)."""
    with MemoryS3() as store:
        container = Container(tmp_path / "container", store.secret())
        fill(container, LARGE)
        copy(container, FIRST)
        keep_times(container.data / "db/large", bytes(7 * MIB))
        store.loses = lambda key: key == f"{SECOND}/db/large" and key in store.versions
        for _ in range(attempts):
            ended = container.run(
                ADD_TIMESTAMP_PREFIX="true", DATAMOVER_TIMESTAMP=SECOND, DATAMOVER_RUN_ID=f"run-{SECOND}"
            )
            assert ended.outcome.reason == transfer.REASON_VERIFICATION_FAILED, ended.output
            assert "db/large" in ended.outcome.message
        store.loses = lambda _: False
        assert copy(container, SECOND).outcome.succeeded
        assert store.objects()[f"{SECOND}/db/large"] == bytes(7 * MIB)


def test_records_that_lie_cost_time_alone(tmp_path: Path) -> None:
    with MemoryS3() as store:
        container = Container(tmp_path / "container", store.secret())
        fill(container, LARGE)
        copy(container, FIRST)
        folder = f".datamover/runs/run-{FIRST}"
        for name, words in (("folder.json", b"{}"), ("manifest.jsonl.gz", b"x" * 99), ("outcome.json", b"[" * 99)):
            before = store.objects(records=True)[f"{folder}/{name}"]
            store.put({f"{folder}/{name}": words})
            stamp = f"2024-08-06-1530{len(name)}"
            ended = copy(container, stamp)
            assert (ended.outcome.copied_files, ended.outcome.transferred_files) == (0, len(LARGE))
            store.put({f"{folder}/{name}": before})
            for path in [path for path in store.objects(records=True) if stamp in path]:
                store.remove(path)
        assert copy(container, SECOND).outcome.copied_files == len(LARGE)


def test_an_older_copy_is_found_among_the_claims_of_many_volumes(tmp_path: Path) -> None:
    with MemoryS3() as store:
        container = Container(tmp_path / "container", store.secret())
        fill(container, LARGE)
        copy(container, FIRST)
        mine = json.loads(store.objects(records=True)[f".datamover/runs/run-{FIRST}/folder.json"])
        for number in range(120):
            stamp, run = f"2024-08-06-15{number // 60:02}{number % 60:02}", f"other-{number}"
            theirs = mine | {"runId": run, "timestamp": stamp, "source": mine["source"] | {"pvc": f"other-{number}"}}
            store.put({f".datamover/claims/{stamp}/{run}.json": json.dumps(theirs)})
        store.put({".datamover/claims/2024-08-06-160000/none.json": b"no claim"})
        store.seen.clear()
        assert copy(container, SECOND).outcome.copied_files == len(LARGE)
        assert not [key for _, key in store.seen if "/runs/other-" in key]


def test_a_copy_that_was_deleted_is_not_relied_on(tmp_path: Path) -> None:
    """Folders are deleted to thin copies out, and their records stay."""
    with MemoryS3() as store:
        container = Container(tmp_path / "container", store.secret())
        fill(container, LARGE)
        copy(container, FIRST)
        copy(container, SECOND)
        for key in store.objects():
            if key.startswith(f"{SECOND}/"):
                store.remove(key)
        third = copy(container, THIRD).outcome
    assert third.copied_files == len(LARGE)
    assert f"from {FIRST}" in third.message


def test_a_manifest_that_is_another_runs_is_not_relied_on(tmp_path: Path) -> None:
    with MemoryS3() as store:
        container = Container(tmp_path / "container", store.secret())
        fill(container, LARGE)
        copy(container, FIRST)
        copy(container, SECOND)
        there = store.objects(records=True)
        for name in ("manifest.jsonl.gz", "outcome.json"):
            store.put({f".datamover/runs/run-{SECOND}/{name}": there[f".datamover/runs/run-{FIRST}/{name}"]})
        assert f"from {FIRST}" in copy(container, THIRD).outcome.message


def test_what_the_store_copies_is_told_apart_from_what_the_run_does(tmp_path: Path) -> None:
    """Else the run would stand still, to whoever looks, for as long as it compares what was copied."""
    with MemoryS3() as store:
        container = Container(tmp_path / "container", store.secret())
        fill(container, LARGE | SMALL)
        copy(container, FIRST)
        ended = copy(container, SECOND)
    told = [found for line in ended.output.splitlines() if (found := transfer.read_progress(line))]
    phases = [progress.phase for progress in told]
    begun = phases.index(transfer.COPYING)
    assert (told[begun].files, told[begun].total_files, told[begun].total_bytes) == (0, 3, 18 * MIB)
    after = next(progress for progress in told[begun:] if progress.phase == transfer.SYNCING)
    assert (after.files, after.bytes, after.total_files) == (0, 0, len(LARGE | SMALL))


def test_small_files_and_live_volumes_are_sent_without_a_look_at_older_copies(
    tmp_path: Path,
) -> None:
    with MemoryS3() as store:
        container = Container(tmp_path / "container", store.secret())
        fill(container, LARGE)
        copy(container, FIRST)
        assert copy(container, SECOND, DATAMOVER_COPY_METHOD="Direct").outcome.copied_files == 0
        for name in LARGE:
            (container.data / name).unlink()
        fill(container, {f"small-{number}": bytes(number) for number in range(30)})
        store.seen.clear()
        assert copy(container, THIRD).outcome.copied_files == 0
        assert not [key for _, key in store.seen if FIRST in key or SECOND in key]
