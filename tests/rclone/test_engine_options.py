"""Options of the engine: the refused ones before the first request, the others with a true end. Real engine, real servers."""

import json
from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import Container
from support.s3 import S3Server

FIRST = {"same": b"12345", "changed": b"aaaaa", "grown": b"1", "gone": b"x", "sub/deep": b"22", "sub/kept": b"3"}
SECOND = {"same": b"12345", "changed": b"bbbbb", "grown": b"1234", "new": b"nn", "sub/deep": b"44", "sub/kept": b"3"}

REFUSED = {
    "RCLONE_COMPARE_DEST": "s3generic:backups/other",
    "RCLONE_COPY_DEST": "s3generic:backups/other",
    "RCLONE_BACKUP_DIR": "s3generic:backups/old",
    "RCLONE_SUFFIX": ".bak",
    "RCLONE_IGNORE_EXISTING": "true",
    "RCLONE_UPDATE": "true",
    "RCLONE_REFRESH_TIMES": "true",
    "RCLONE_IGNORE_SIZE": "true",
    "RCLONE_NAME_TRANSFORM": "all,uppercase",
    "RCLONE_S3_VERSIONS": "true",
    "RCLONE_S3_VERSION_AT": "2020-01-01",
    "RCLONE_S3_DIRECTORY_MARKERS": "true",
    "RCLONE_CONFIG_S3GENERIC_TYPE": "alias",
    "RCLONE_CONFIG_S3GENERIC_OVERRIDE.SIZE_ONLY": "true",
    "RCLONE_RC": "true",
    "RCLONE_DUMP": "goroutines",
    "RCLONE_METADATA_MAPPER": "/bin/cat",
    "RCLONE_HASH_FILTER": "@/2",
    "RCLONE_CONFIG": "/data/rclone.conf",
}

# What may go on, with values that would show if they did harm: those about comparing and listing alone, the others by the handful.
ALONE = {
    "RCLONE_CHECKSUM": "false",
    "RCLONE_IGNORE_TIMES": "true",
    "RCLONE_IGNORE_CHECKSUM": "true",
    "RCLONE_NO_CHECK_DEST": "true",
    "RCLONE_NO_TRAVERSE": "true",
    "RCLONE_DUMP": "headers",
    "RCLONE_S3_NO_HEAD_OBJECT": "true",
    "RCLONE_S3_DISABLE_CHECKSUM": "true",
    "RCLONE_S3_LIST_VERSION": "1",
    "RCLONE_S3_ENCODING": "Slash,InvalidUtf8,Dot,BackSlash",
    "RCLONE_MIN_AGE": "0s",
}
TOGETHER = {
    "RCLONE_CHECK_FIRST": "true",
    "RCLONE_ORDER_BY": "size,mixed,50",
    "RCLONE_MAX_BACKLOG": "1",
    "RCLONE_FAST_LIST": "false",
    "RCLONE_LIST_CUTOFF": "1",
    "RCLONE_TRANSFERS": "1",
    "RCLONE_CHECKERS": "1",
    "RCLONE_MULTI_THREAD_CUTOFF": "1",
    "RCLONE_RETRIES": "0",
    "RCLONE_LOW_LEVEL_RETRIES": "1",
    "RCLONE_MAX_CONNECTIONS": "8",
    "RCLONE_TRACK_RENAMES": "true",
    "RCLONE_DELETE_BEFORE": "true",
    "RCLONE_IGNORE_ERRORS": "true",
    "RCLONE_INPLACE": "true",
    "RCLONE_PARTIAL_SUFFIX": ".part",
    "RCLONE_HUMAN_READABLE": "true",
    "RCLONE_DUMP_BODIES": "true",
    "RCLONE_METADATA": "true",
    "RCLONE_NO_UPDATE_MODTIME": "true",
    "RCLONE_SERVER_SIDE_ACROSS_CONFIGS": "true",
    "RCLONE_S3_NO_HEAD": "false",
    "RCLONE_S3_MIGHT_GZIP": "true",
    "RCLONE_S3_USE_ACCEPT_ENCODING_GZIP": "false",
    "RCLONE_S3_USE_MULTIPART_ETAG": "true",
    "RCLONE_S3_LIST_CHUNK": "2",
    "RCLONE_S3_LIST_URL_ENCODE": "true",
    "RCLONE_S3_NO_SYSTEM_METADATA": "true",
    "RCLONE_S3_USE_UNSIGNED_PAYLOAD": "true",
    "RCLONE_S3_LIST_VERSIONS_OLDEST_FIRST": "true",
    "RCLONE_S3_DIRECTORY_BUCKET": "false",
    "RCLONE_USE_MMAP": "true",
    "RCLONE_BUFFER_SIZE": "0",
    "RCLONE_MAX_AGE": "10y",
    "RCLONE_HASH_FILTER": "0/1",
    "RCLONE_MODIFY_WINDOW": "1ms",  # within a window of a second the files of this test would not have changed
    "RCLONE_DEFAULT_TIME": "1990-01-01T00:00:00Z",
    "RCLONE_COLOR": "ALWAYS",
    "RCLONE_STATS_UNIT": "bits",
    "RCLONE_TIMEOUT": "2m",
}
HANDFULS = [{name: value} for name, value in ALONE.items()] + [
    dict(list(TOGETHER.items())[start::7]) for start in range(7)
]

# These end a run on purpose; what they leave out is never said to be there.
LIMITS = {
    "RCLONE_MAX_TRANSFER": "3",
    "RCLONE_MAX_DURATION": "1ns",
    "RCLONE_IMMUTABLE": "true",
}


def fill(container: Container, files: dict[str, bytes]) -> None:
    for path in sorted(container.data.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    for name, content in files.items():
        path = container.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize(("variable", "value"), REFUSED.items())
def test_a_refused_option_ends_the_run_before_the_first_request(tmp_path: Path, variable: str, value: str) -> None:
    # nothing listens at the port of the Secret: a request would be told as a server that cannot be reached
    nobody = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "BUCKET_HOST": "127.0.0.1", "BUCKET_PORT": "1"}
    container = Container(tmp_path / "container", nobody | {"BUCKET_NAME": "backups", "TLS_HOST": "false"})
    fill(container, FIRST)
    outcome = container.run(**{variable: value}).outcome
    assert (outcome.reason, outcome.succeeded) == (transfer.REASON_INVALID_CONFIGURATION, False)
    assert variable in outcome.message
    assert outcome.exit_code in transfer.TERMINAL_EXIT_CODES


@pytest.mark.parametrize("given", HANDFULS, ids=lambda given: next(iter(given)))
def test_with_any_other_option_completed_is_true(container: Container, s3: S3Server, given: dict[str, str]) -> None:
    fill(container, FIRST)
    assert container.run(**given).code == 0
    assert s3.objects() == FIRST
    fill(container, SECOND)
    ended = container.run(**given)
    assert ended.code == 0, ended.output
    assert s3.objects() == SECOND
    assert ended.outcome.files == len(SECOND)
    assert ended.outcome.deleted == 1


@pytest.mark.parametrize(("variable", "value"), LIMITS.items())
@pytest.mark.parametrize("mode", ["HARD", "CAUTIOUS"])
def test_a_limit_of_the_engine_fails_the_run_and_deletes_nothing(
    container: Container, s3: S3Server, variable: str, value: str, mode: str
) -> None:
    fill(container, FIRST)
    assert container.run().code == 0
    fill(container, SECOND)
    ended = container.run(**{variable: value, "RCLONE_CUTOFF_MODE": mode})
    if ended.code == 0:  # so fast that the limit came too late
        assert s3.objects() == SECOND
    else:
        assert "gone" in s3.objects()
        assert not ended.outcome.succeeded
    assert container.run().code == 0
    assert s3.objects() == SECOND


def test_compared_by_size_alone_the_end_says_so(container: Container, s3: S3Server) -> None:
    fill(container, FIRST)
    container.run()
    fill(container, SECOND)
    ended = container.run(RCLONE_SIZE_ONLY="true")
    assert ended.code == 0
    assert s3.objects()["changed"] == b"aaaaa"
    assert ended.outcome.comparison == "user"
    assert "by their size alone (RCLONE_SIZE_ONLY)" in ended.outcome.message


def test_a_configuration_file_that_lies_there_changes_nothing(container: Container, s3: S3Server) -> None:
    (container.root / "config" / "rclone.conf").write_text(
        "[s3generic]\ntype = s3\noverride.dry_run = true\nversion_at = 2020-01-01\n"
    )
    fill(container, FIRST)
    assert container.run().code == 0
    assert s3.objects() == FIRST


def test_an_option_that_nobody_knows_is_told_and_does_nothing(container: Container, s3: S3Server) -> None:
    fill(container, FIRST)
    ended = container.run(RCLONE_EXLUDE="*", RCLONE_CONFIG_OTHER_TYPE="memory")
    assert ended.code == 0
    assert s3.objects() == FIRST
    assert "Note: RCLONE_EXLUDE is no variable that this mover knows of rclone; it has no effect." in ended.said


def test_a_mapper_that_the_data_mover_allows_runs(container: Container, s3: S3Server, tmp_path: Path) -> None:
    mapper = tmp_path / "mapper"
    trace = tmp_path / "trace"
    mapper.write_text(f"#!/bin/sh\ncat > {trace}\nprintf '%s' '{json.dumps({'Metadata': {}})}'\n")
    mapper.chmod(0o755)
    fill(container, FIRST)
    given = {"RCLONE_METADATA": "true", "RCLONE_METADATA_MAPPER": str(mapper)}
    assert container.run(**given).outcome.reason == transfer.REASON_INVALID_CONFIGURATION
    assert not trace.exists()
    assert container.run(DATAMOVER_ALLOW_COMMANDS="RCLONE_METADATA_MAPPER", **given).code == 0
    assert trace.exists()
    assert s3.objects() == FIRST


@pytest.mark.parametrize(
    "chosen", [{"RCLONE_IGNORE_CHECKSUM": "true"}, {"RCLONE_CHECKSUM": "true"}], ids=lambda it: next(iter(it))
)
def test_what_has_no_checksum_and_kept_its_size_is_moved_whoever_chose_to_go_by_checksums(
    container: Container, s3: S3Server, chosen: dict[str, str]
) -> None:
    parts = {"RCLONE_S3_DISABLE_CHECKSUM": "true", "RCLONE_S3_UPLOAD_CUTOFF": "5M", "RCLONE_S3_CHUNK_SIZE": "5M"}
    fill(container, {"large": b"a" * (6 << 20)})
    assert container.run(**parts, **chosen).code == 0
    fill(container, {"large": b"b" * (6 << 20)})
    ended = container.run(**parts, **chosen)
    assert (ended.code, ended.outcome.transferred_files) == (0, 1), ended.output
    assert s3.objects()["large"] == b"b" * (6 << 20)
