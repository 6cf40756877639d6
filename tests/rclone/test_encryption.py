"""Buckets whose ETags are no checksums, as AWS answers for one with default encryption by KMS. Real engine, real servers behind a proxy."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import Container
from support.encrypting import EncryptingStore
from support.s3 import S3Server, run_server

PARTS = {"RCLONE_S3_UPLOAD_CUTOFF": "5M", "RCLONE_S3_CHUNK_SIZE": "5M"}
LARGE = bytes(range(256)) * (6 << 12)
FILES = {"a": b"1", "sub/b": b"22", "large": LARGE}


def fill(container: Container, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = container.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture
def faithful(tmp_path: Path) -> Iterator[S3Server]:
    for server in run_server("versitygw", tmp_path):
        server.bucket()
        yield server


@pytest.fixture(params=[("aws:kms", True), ("aws:kms:dsse", True), ("aws:kms", False)], ids=["kms", "dsse", "odd"])
def store(request: pytest.FixtureRequest, faithful: S3Server) -> Iterator[EncryptingStore]:
    algorithm, hexadecimal = request.param
    with EncryptingStore(faithful.port, algorithm=algorithm, hexadecimal=hexadecimal) as store:
        yield store


@pytest.fixture
def inside(tmp_path: Path, faithful: S3Server, store: EncryptingStore) -> Container:
    secret = dict(faithful.secret(BUCKET_PORT=str(store.port)))
    return Container(tmp_path / "container", secret | PARTS)


def test_a_mirror_goes_on_run_after_run(inside: Container, faithful: S3Server, store: EncryptingStore) -> None:
    fill(inside, FILES | {"gone": b"x"})
    first = inside.run(VERIFY_BACKUP="true")
    assert first.code == 0, first.output
    assert faithful.objects() == FILES | {"gone": b"x"}
    assert first.outcome.comparison == "time"
    assert (first.outcome.verified, first.outcome.checked_files, first.outcome.read_files) == (True, 0, 4)
    assert (
        "4 of 4 files were read back and compared with the source, for the store has no checksums"
        in first.outcome.message
    )
    assert "ETags are no checksums" in first.outcome.message
    second = inside.run()
    assert (second.code, second.outcome.transferred_files) == (0, 0), second.output
    (inside.data / "gone").unlink()
    fill(inside, {"a": b"2", "sub/c": b"3"})
    third = inside.run()
    assert (third.code, third.outcome.transferred_files, third.outcome.deleted) == (0, 2, 1), third.output
    assert faithful.objects() == FILES | {"a": b"2", "sub/c": b"3"}
    # the bucket's own encryption stays in force: nothing else is asked for
    assert not any(b"x-amz-server-side-encryption" in request.lower() for request in store.requests)


def test_a_timestamped_copy_arrives(inside: Container, faithful: S3Server) -> None:
    fill(inside, FILES)
    ended = inside.run(ADD_TIMESTAMP_PREFIX="true", DATAMOVER_TIMESTAMP="2026-01-01-000000", VERIFY_BACKUP="download")
    assert ended.code == 0, ended.output
    assert faithful.objects("2026-01-01-000000") == FILES


def test_rot_at_rest_is_found_by_either_method(inside: Container, faithful: S3Server) -> None:
    fill(inside, FILES)
    assert inside.run().code == 0
    path = faithful.directory / "backups" / "sub" / "b"
    with path.open("r+b") as file:
        file.write(b"9")
    for method in ("true", "download"):
        outcome = inside.run(VERIFY_BACKUP=method).outcome
        assert (outcome.reason, outcome.problems) == (transfer.REASON_VERIFICATION_FAILED, ("sub/b",))


def test_with_the_users_own_encryption_by_kms_checksums_decide(tmp_path: Path, faithful: S3Server) -> None:
    with EncryptingStore(faithful.port) as store:
        secret = dict(faithful.secret(BUCKET_PORT=str(store.port)))
        container = Container(tmp_path / "container", secret | PARTS | {"RCLONE_S3_SERVER_SIDE_ENCRYPTION": "aws:kms"})
        fill(container, FILES)
        first = container.run()
        if first.code:  # a server that does not know the header may refuse it
            pytest.skip(f"this server refuses encryption: {first.outcome.message}")
        second = container.run(VERIFY_BACKUP="true")
        assert (second.code, second.outcome.comparison) == (0, "checksum"), second.output
        assert second.outcome.transferred_files == 0
        # what the engine wrote beside the objects is no checksum of the store's
        assert (second.outcome.checked_files, second.outcome.read_files) == (0, 3)


def test_a_plain_bucket_is_still_compared_by_checksum(tmp_path: Path, faithful: S3Server) -> None:
    container = Container(tmp_path / "container", dict(faithful.secret()) | PARTS)
    fill(container, FILES)
    container.run()
    stamp = (container.data / "a").stat()
    (container.data / "a").write_bytes(b"7")
    os.utime(container.data / "a", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    ended = container.run()
    assert (ended.outcome.comparison, ended.outcome.transferred_files) == ("checksum", 1)
