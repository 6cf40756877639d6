"""A bucket with runs of the real agent, read as restore points. Real engine and servers."""

import gzip
from pathlib import Path

import pytest

from datamover.agent.environment import Owner
from datamover.agent.errors import Failure
from datamover.agent.files import manifest
from datamover.agent.points import catalogue
from datamover.api import transfer
from support.agent import Container
from support.points import opened
from support.s3 import S3Server

OWNER = Owner(cluster="11111111-2222", namespace="production", pvc="app-data")


def mirror(container: Container, day: int, **changes: str | None) -> str:
    run_id = f"2024080{day}143052-mirror"
    stamp = f"2024-08-0{day}-143052"
    ended = container.run(DATAMOVER_RUN_ID=run_id, DATAMOVER_TIMESTAMP=stamp, DATAMOVER_COPIED_AT=stamp, **changes)
    assert ended.code == 0, ended.output
    return run_id


def timestamped(container: Container, day: int, **changes: str | None) -> str:
    run_id = f"2024080{day}101500-copy"
    ended = container.run(
        DATAMOVER_RUN_ID=run_id,
        DATAMOVER_TIMESTAMP=f"2024-08-0{day}-101500",
        ADD_TIMESTAMP_PREFIX="true",
        **changes,
    )
    assert ended.code == 0, ended.output
    return run_id


def refusal(bucket, word: str, **how) -> Failure:
    with pytest.raises(Failure) as caught:
        bucket.choose(word, **how)
    return caught.value


def test_of_a_mirror_the_last_complete_run_is_the_point(
    any_container: Container, any_s3: S3Server, tmp_path: Path
) -> None:
    container, s3 = any_container, any_s3
    (container.data / "a.txt").write_text("one")
    first = mirror(container, 1)
    (container.data / "a.txt").write_text("two!")
    second = mirror(container, 2)
    with opened(s3.secret(), tmp_path / "scratch") as bucket:
        point = bucket.choose("latest")
        assert (point.run_id, point.kind, point.state) == (second, catalogue.MIRROR, catalogue.COMPLETE)
        assert (point.moment, point.source, point.folder, point.files) == ("2024-08-02-143052", OWNER, "", 1)
        assert bucket.choose("2024-08-02-143052") == bucket.choose(second) == bucket.choose("as-of:2024-08-03") == point
        entries = list(manifest.entries(bucket.fetch_manifest(point)))
        assert [(entry.path, entry.size) for entry in entries if entry.type == "file"] == [("a.txt", 4)]
        listed = bucket.list_points()
        assert [(each.run_id, each.state) for each in listed.points] == [(second, "complete"), (first, "superseded")]
        found = refusal(bucket, first)
        assert found.reason == transfer.REASON_POINT_UNUSABLE
        assert second in found.message
        assert refusal(bucket, "as-of:2024-08-01").reason == transfer.REASON_POINT_NOT_FOUND


def test_timestamped_copies_are_points_for_ever(container: Container, s3: S3Server, tmp_path: Path) -> None:
    (container.data / "a.txt").write_text("one")
    runs = [timestamped(container, day) for day in (1, 3, 5)]
    with opened(s3.secret(), tmp_path / "scratch") as bucket:
        assert [point.run_id for point in bucket.list_points().points] == runs[::-1]
        assert bucket.choose("latest").run_id == runs[2]
        assert bucket.choose("as-of:2024-08-04").folder == "2024-08-03-101500"
        assert bucket.choose("as-of:8d").run_id == runs[0]
        assert bucket.choose("2024-08-03-101500").run_id == runs[1]
        assert bucket.list_points(limit=1).more == 2


def test_two_volumes_in_one_bucket_ask_for_the_source(container: Container, s3: S3Server, tmp_path: Path) -> None:
    (container.data / "a.txt").write_text("one")
    ours = timestamped(container, 1)
    other = timestamped(container, 2, DATAMOVER_OWNER_PVC="other")
    with opened(s3.secret(), tmp_path / "scratch") as bucket:
        found = refusal(bucket, "latest")
        assert found.reason == transfer.REASON_POINT_AMBIGUOUS
        assert "production/app-data, production/other" in found.message
        assert bucket.choose("latest", source="production/app-data").run_id == ours
        assert bucket.choose("latest", source="production/other").run_id == other
        assert bucket.choose(ours).run_id == ours
        assert "production/none" in refusal(bucket, "latest", source="production/none").message
        assert [each.run_id for each in bucket.list_points(source="production/app-data").points] == [ours]


def test_a_manifest_of_another_run_is_refused(container: Container, s3: S3Server, tmp_path: Path) -> None:
    (container.data / "a.txt").write_text("one")
    first, second = timestamped(container, 1), timestamped(container, 2)
    runs = s3.directory / "backups/.datamover/runs"
    (runs / second / "manifest.jsonl.gz").write_bytes((runs / first / "manifest.jsonl.gz").read_bytes())
    with opened(s3.secret(), tmp_path / "scratch") as bucket:
        assert bucket.choose("latest").run_id == first
        assert second in bucket.notes[0]
        found = refusal(bucket, second)
    assert found.reason == transfer.REASON_POINT_UNUSABLE
    assert f"is of the run '{first}'" in found.message


def test_a_manifest_that_is_cut_off_is_refused(container: Container, s3: S3Server, tmp_path: Path) -> None:
    (container.data / "a.txt").write_text("one")
    run_id = timestamped(container, 1)
    path = s3.directory / "backups/.datamover/runs" / run_id / "manifest.jsonl.gz"
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(lines[:-1])))
    with opened(s3.secret(), tmp_path / "scratch") as bucket:
        point = bucket.choose("latest")
        with pytest.raises(Failure) as caught:
            bucket.fetch_manifest(point)
    assert caught.value.reason == transfer.REASON_RECORD_UNUSABLE
    assert "cut off" in caught.value.message
