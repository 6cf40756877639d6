"""Mirrors, with the real engine and real servers."""

import os
from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import Container
from support.s3 import S3Server


def fill(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def source_of(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


THREE = {"a.txt": "alpha", "dir/b.txt": "beta", "dir/deep/c.txt": "gamma"}


def test_a_first_run_mirrors_every_file(any_container: Container, any_s3: S3Server) -> None:
    fill(any_container.data, THREE)
    ended = any_container.run()
    assert ended.code == 0
    assert any_s3.objects() == source_of(any_container.data)
    outcome = ended.outcome
    assert outcome.succeeded
    assert outcome.failure_class is None
    assert outcome.destination == "s3generic:backups/"
    assert (outcome.files, outcome.bytes, outcome.transferred_files, outcome.transferred_bytes) == (3, 14, 3, 14)
    assert outcome.verified is None
    assert outcome.engine.startswith("rclone v1.")


def test_the_intent_is_there_before_the_outcome_and_both_at_the_end(container: Container, s3: S3Server) -> None:
    fill(container.data, THREE)
    container.run(DATAMOVER_RUN_ID="run-1")
    records = {key for key in s3.objects(records=True) if key.startswith(".datamover/")}
    assert records == {
        ".datamover/owner.json",
        ".datamover/runs/run-1/manifest.jsonl.gz",
        ".datamover/runs/run-1/mirror-000000001",
        ".datamover/runs/run-1/outcome.json",
    }


def test_a_second_run_moves_only_what_changed_and_deletes_what_is_gone(
    any_container: Container, any_s3: S3Server
) -> None:
    fill(any_container.data, THREE | {"keep.txt": "same"})
    any_container.run()
    fill(any_container.data, {"a.txt": "ALPHA", "new.txt": "delta"})
    (any_container.data / "dir/b.txt").unlink()
    ended = any_container.run()
    assert ended.code == 0, ended.output
    assert any_s3.objects() == source_of(any_container.data)
    assert (ended.outcome.transferred_files, ended.outcome.deleted) == (2, 1)


def test_a_change_that_keeps_size_and_time_is_still_found(any_container: Container, any_s3: S3Server) -> None:
    fill(any_container.data, {"a": "one", "b": "two"})
    os.utime(any_container.data / "a", ns=(10**18, 10**18))
    any_container.run()
    fill(any_container.data, {"a": "ONE"})
    os.utime(any_container.data / "a", ns=(10**18, 10**18))
    any_container.run()
    assert any_s3.objects()["a"] == b"ONE"


def test_an_unchanged_source_moves_nothing(any_container: Container) -> None:
    fill(any_container.data, THREE)
    any_container.run()
    outcome = any_container.run().outcome
    assert outcome.succeeded
    assert (outcome.files, outcome.transferred_files, outcome.deleted) == (3, 0, 0)


def test_files_of_others_stop_a_mirror_and_stay(any_container: Container, any_s3: S3Server) -> None:
    any_s3.put({"theirs/photo.jpg": "precious", "a.txt": "also theirs"})
    fill(any_container.data, THREE)
    ended = any_container.run()
    assert ended.code in transfer.TERMINAL_EXIT_CODES
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (transfer.GUARD, transfer.REASON_DESTINATION_NOT_OWNED)
    assert "theirs/photo.jpg" in outcome.message
    for way in ("CUSTOM_PATH_PREFIX", "addTimestampPrefix", "adopt"):
        assert way in outcome.message
    assert any_s3.objects(records=True) == {"theirs/photo.jpg": b"precious", "a.txt": b"also theirs"}


def test_files_of_others_that_come_later_stop_the_next_run_and_stay(container: Container, s3: S3Server) -> None:
    fill(container.data, THREE)
    container.run()
    s3.put({"stray.txt": "theirs"})
    ended = container.run()
    assert ended.outcome.reason == transfer.REASON_DESTINATION_NOT_OWNED
    assert "stray.txt" in ended.outcome.message
    assert s3.objects()["stray.txt"] == b"theirs"


def test_another_volume_may_not_mirror_to_the_same_place(container: Container, s3: S3Server) -> None:
    fill(container.data, THREE)
    container.run()
    before = s3.objects(records=True)
    ended = container.run(DATAMOVER_OWNER_PVC="other-data")
    assert ended.outcome.reason == transfer.REASON_DESTINATION_NOT_OWNED
    assert "production/app-data" in ended.outcome.message
    assert s3.objects(records=True) == before


def test_another_volume_may_mirror_below_a_prefix_of_its_own(container: Container, s3: S3Server) -> None:
    fill(container.data, THREE)
    container.run(CUSTOM_PATH_PREFIX="/one/")
    ended = container.run(DATAMOVER_OWNER_PVC="other-data", CUSTOM_PATH_PREFIX="two")
    assert ended.code == 0
    assert ended.outcome.destination == "s3generic:backups/two/"
    assert s3.objects("one") == s3.objects("two") == source_of(container.data)


def test_adoption_takes_over_and_then_mirrors(container: Container, s3: S3Server) -> None:
    s3.put({"old.txt": "theirs"})
    fill(container.data, THREE)
    refused = container.run()
    assert refused.outcome.reason == transfer.REASON_DESTINATION_NOT_OWNED
    adopted = container.run(DATAMOVER_ADOPT_DESTINATION="true")
    assert adopted.code == 0, adopted.output
    assert s3.objects() == source_of(container.data)
    assert container.run().code == 0


def test_adoption_never_deletes_timestamped_copies(container: Container, s3: S3Server) -> None:
    fill(container.data, THREE)
    container.run(ADD_TIMESTAMP_PREFIX="true", DATAMOVER_TIMESTAMP="2024-08-06-143052")
    adopted = container.run(DATAMOVER_ADOPT_DESTINATION="true")
    assert adopted.code == 0, adopted.output
    assert s3.objects("2024-08-06-143052") == source_of(container.data)
    later = container.run()
    assert later.code == 0, later.output
    assert s3.objects("2024-08-06-143052") == source_of(container.data)


def test_adoption_never_sweeps_another_mirror_away(container: Container, s3: S3Server) -> None:
    fill(container.data, THREE)
    container.run(CUSTOM_PATH_PREFIX="nested", DATAMOVER_OWNER_PVC="other")
    ended = container.run(DATAMOVER_ADOPT_DESTINATION="true")
    assert ended.outcome.reason == transfer.REASON_DESTINATION_NOT_OWNED
    assert s3.objects("nested") == source_of(container.data)


def test_an_empty_source_never_empties_a_mirror_unless_allowed(any_container: Container, any_s3: S3Server) -> None:
    fill(any_container.data, THREE)
    any_container.run()
    for name in THREE:
        (any_container.data / name).unlink()
    ended = any_container.run()
    assert ended.outcome.reason == transfer.REASON_EMPTY_SOURCE
    assert len(any_s3.objects()) == 3
    allowed = any_container.run(DATAMOVER_ALLOW_EMPTY_SOURCE="true")
    assert allowed.code == 0, allowed.output
    assert allowed.outcome.deleted == 3
    assert any_s3.objects() == {}


def test_an_empty_source_is_fine_where_nothing_is_mirrored_yet(container: Container, s3: S3Server) -> None:
    ended = container.run()
    assert ended.code == 0
    assert ended.outcome.files == 0


def test_a_source_that_shrank_too_much_is_refused_with_the_numbers(container: Container, s3: S3Server) -> None:
    fill(container.data, {f"{number}.txt": str(number) for number in range(10)})
    container.run()
    for number in range(6):
        (container.data / f"{number}.txt").unlink()
    ended = container.run()
    assert ended.outcome.reason == transfer.REASON_SOURCE_SHRUNK
    assert "6" in ended.outcome.message
    assert "60 %" in ended.outcome.message
    assert len(s3.objects()) == 10
    allowed = container.run(DATAMOVER_MAX_DELETE_PERCENT="60")
    assert allowed.outcome.deleted == 6
    assert len(s3.objects()) == 4


def test_a_renamed_folder_is_no_shrunken_source(container: Container, s3: S3Server) -> None:
    fill(container.data, {f"old/{number}.txt": str(number) for number in range(10)})
    container.run()
    (container.data / "old").rename(container.data / "new")
    ended = container.run()
    assert ended.code == 0
    assert s3.objects() == source_of(container.data)


def test_a_file_that_became_a_folder_and_back(any_container: Container, any_s3: S3Server) -> None:
    fill(any_container.data, {"x": "file", "y/z": "in folder", "other": "o", "more": "m"})
    any_container.run()
    (any_container.data / "x").unlink()
    (any_container.data / "y/z").unlink()
    (any_container.data / "y").rmdir()
    fill(any_container.data, {"x/inner": "now a folder", "y": "now a file"})
    ended = any_container.run()
    assert ended.code == 0, ended.output
    assert any_s3.objects() == source_of(any_container.data)


def test_our_own_folder_in_the_source_is_refused(container: Container, s3: S3Server) -> None:
    fill(container.data, {".datamover/owner.json": "{}"} | THREE)
    ended = container.run()
    assert ended.outcome.reason == transfer.REASON_RESERVED_NAME
    assert s3.objects(records=True) == {}


@pytest.mark.parametrize("stamped", ["false", "true"])
def test_a_half_restored_source_is_refused_and_nothing_is_written(
    container: Container, s3: S3Server, stamped: str
) -> None:
    fill(container.data, {".datamover-restore/marker.json": "{}"} | THREE)
    ended = container.run(ADD_TIMESTAMP_PREFIX=stamped, RCLONE_EXCLUDE="/.datamover-restore/**")
    assert ended.code == 24
    assert (ended.outcome.failure_class, ended.outcome.reason) == (
        transfer.GUARD,
        transfer.REASON_SOURCE_UNFINISHED,
    )
    assert "remove .datamover-restore" in ended.outcome.message
    assert s3.objects(records=True) == {}
    (container.data / ".datamover-restore/marker.json").unlink()
    (container.data / ".datamover-restore").rmdir()
    assert container.run(ADD_TIMESTAMP_PREFIX=stamped).code == 0


def test_lost_and_found_is_left_out_even_unreadable(container: Container, s3: S3Server) -> None:
    fill(container.data, THREE | {"lost+found/inode": "recovered", "dir/lost+found/kept": "an ordinary name here"})
    ended = container.run()
    assert ended.code == 0
    expected = source_of(container.data)
    del expected["lost+found/inode"]
    assert s3.objects() == expected


def test_verification_compares_checksums(any_container: Container) -> None:
    fill(any_container.data, THREE)
    assert any_container.run(VERIFY_BACKUP="true").outcome.verified is True


def test_a_run_done_again_after_its_success_changes_nothing(container: Container, s3: S3Server) -> None:
    fill(container.data, THREE)
    container.run(DATAMOVER_RUN_ID="run-1")
    again = container.run(DATAMOVER_RUN_ID="run-1")
    assert again.code == 0, again.output
    assert again.outcome.transferred_files == 0
    places = [key for key in s3.objects(records=True) if "/mirror-" in key]
    assert places == [".datamover/runs/run-1/mirror-000000001"]
