"""That what is said to be there is there. Real engine, real servers, and servers that lie."""

import asyncio
import gzip
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import Container, Ended
from support.proxy import Proxy
from support.s3 import S3Server, run_server

# somebody else's tool: in parts, and without a checksum beside it
IN_PARTS = {
    "RCLONE_S3_UPLOAD_CUTOFF": "5M",
    "RCLONE_S3_CHUNK_SIZE": "5M",
    "RCLONE_S3_DISABLE_CHECKSUM": "true",
}


def fill(container: Container, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = container.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


class LyingStore(Proxy):
    """Answers 200 to the PUT of one key and keeps nothing of it."""

    swallow = b"/backups/lost"

    async def _serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"PUT " + self.swallow + b"?"):
            length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
            await reader.readexactly(length)
            writer.write(b'HTTP/1.1 200 OK\r\nConnection: close\r\nETag: "0"\r\nContent-Length: 0\r\n\r\n')
            await writer.drain()
            writer.close()
            return
        theirs, upstream = await asyncio.open_connection("127.0.0.1", self._target)
        head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        upstream.write(head)
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if length and int(length[1]):
            upstream.write(await reader.readexactly(int(length[1])))
        await upstream.drain()
        while data := await theirs.read(1 << 16):
            writer.write(data)
        await writer.drain()
        writer.close()
        upstream.close()


def test_a_store_that_says_yes_and_keeps_nothing_is_found_out_even_without_verification(
    container: Container, s3: S3Server
) -> None:
    fill(container, {"kept": b"1", "lost": b"2"})
    with LyingStore(s3.port) as store:
        ended = container.run(BUCKET_PORT=str(store.port), DATAMOVER_RUN_ID="run-1")
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (transfer.VERIFY, transfer.REASON_VERIFICATION_FAILED)
    assert outcome.retryable
    assert "lost (missing)" in outcome.message
    assert ".datamover/runs/run-1/outcome.json" not in s3.objects(records=True)
    again = container.run(DATAMOVER_RUN_ID="run-1")
    assert again.code == 0
    assert s3.objects() == {"kept": b"1", "lost": b"2"}


def test_bytes_that_differ_are_found_by_verification_and_nothing_is_deleted(container: Container, s3: S3Server) -> None:
    fill(container, {"a": b"11", "b": b"22", "c": b"33", "gone": b"44"})
    container.run()
    fill(container, {"b": b"xx"})
    (container.data / "gone").unlink()
    # compared by size alone, because the user says so: the change is missed
    ended = container.run(RCLONE_SIZE_ONLY="true", VERIFY_BACKUP="false")
    assert ended.outcome.verified is None
    assert s3.objects()["b"] == b"22"
    container.run()
    fill(container, {"b": b"yy", "more": b"55"})
    (container.data / "c").unlink()
    checked = container.run(RCLONE_SIZE_ONLY="true", VERIFY_BACKUP="true")
    outcome = checked.outcome
    assert (outcome.failure_class, outcome.verified) == (transfer.VERIFY, False), checked.output
    assert "b" in outcome.problems
    assert "c" in s3.objects()


def test_a_large_object_without_a_checksum_is_never_taken_for_unchanged(
    any_container: Container, any_s3: S3Server
) -> None:
    theirs, ours = os.urandom(6 << 20), os.urandom(6 << 20)
    any_s3.put({"image.raw": theirs}, options=IN_PARTS)
    fill(any_container, {"image.raw": ours})
    ended = any_container.run(DATAMOVER_ADOPT_DESTINATION="true")
    assert ended.code == 0, ended.output
    assert any_s3.objects() == {"image.raw": ours}


def test_verification_reads_back_what_has_no_checksum(any_container: Container, any_s3: S3Server) -> None:
    content = os.urandom(6 << 20)
    fill(any_container, {"image.raw": content, "small": b"1"})
    ended = any_container.run(VERIFY_BACKUP="true", **IN_PARTS)
    assert ended.code == 0, ended.output
    assert ended.outcome.verified is True
    if any_s3.name == "versitygw":
        assert "1 hashes could not be checked" in ended.said


@pytest.fixture
def faithful(tmp_path: Path) -> Iterator[S3Server]:
    """versitygw, which answers with the checksums that it recorded; `rclone serve s3` makes them anew of what lies there."""
    for server in run_server("versitygw", tmp_path):
        server.bucket()
        yield server


SMALL_PARTS = {"RCLONE_S3_UPLOAD_CUTOFF": "5M", "RCLONE_S3_CHUNK_SIZE": "5M"}
LARGE = bytes(range(256)) * (6 << 12)


def flip(path: Path) -> None:
    """Change one byte of an object at rest."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        before = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([before[0] ^ 1]))


@pytest.fixture
def resting(tmp_path: Path, faithful: S3Server) -> Container:
    """A container whose files, 30 small and one in parts, are at a faithful server."""
    container = Container(tmp_path / "container", dict(faithful.secret()) | SMALL_PARTS)
    fill(container, {**{f"small/{number:02}": f"file {number}".encode() for number in range(30)}, "large": LARGE})
    assert container.run().code == 0
    return container


@pytest.mark.parametrize("name", ["small/07", "large"])
@pytest.mark.parametrize("mode", ["mirror", "timestamped"])
def test_reading_everything_back_finds_every_byte_that_was_flipped_at_rest(
    resting: Container, faithful: S3Server, name: str, mode: str
) -> None:
    given = {"ADD_TIMESTAMP_PREFIX": "true"} if mode == "timestamped" else {}
    place = {"DATAMOVER_TIMESTAMP": "2026-01-01-000000", "DATAMOVER_RUN_ID": "run-1"}
    folder = faithful.directory / "backups" / (place["DATAMOVER_TIMESTAMP"] if given else "")
    if given:
        assert resting.run(**given, **place).code == 0
    flip(folder / name)
    ended = resting.run(VERIFY_BACKUP="download", **given, **(place if given else {}))
    outcome = ended.outcome
    assert (outcome.reason, outcome.verified) == (transfer.REASON_VERIFICATION_FAILED, False), ended.output
    assert outcome.problems == (name,)


def test_sizes_are_listed_anew_although_the_engine_finds_everything_unchanged(
    resting: Container, faithful: S3Server
) -> None:
    again = resting.run(DATAMOVER_VERIFY="size").outcome
    assert (again.transferred_files, again.verified, again.verification) == (0, True, "size")
    assert "31 of 31 files were compared with the store's listing by name and size" in again.message
    flip(faithful.directory / "backups" / "small/07")
    assert resting.run(DATAMOVER_VERIFY="size").outcome.verified is True
    found = resting.run(DATAMOVER_VERIFY="download").outcome
    assert (found.reason, found.problems) == (transfer.REASON_VERIFICATION_FAILED, ("small/07",))


def test_what_the_secret_and_the_spec_say_otherwise_is_told_before_anything_is_moved(
    container: Container, s3: S3Server
) -> None:
    fill(container, {"a": b"1"})
    ended = container.run(DATAMOVER_VERIFY="download", VERIFY_BACKUP="true")
    assert (ended.outcome.failure_class, ended.outcome.reason) == (transfer.CONFIG, transfer.REASON_INVALID_SPEC)
    assert not ended.outcome.retryable
    assert s3.objects(records=True) == {}


def test_recorded_checksums_do_not_show_rot_and_do_not_claim_to(resting: Container, faithful: S3Server) -> None:
    flip(faithful.directory / "backups" / "small/07")
    outcome = resting.run(VERIFY_BACKUP="true").outcome
    assert (outcome.verified, outcome.verification) == (True, "checksums")
    assert (outcome.checked_files, outcome.read_files, outcome.files) == (30, 1, 31)
    assert "30 of 31 files were compared with the source by checksums recorded by the store" in outcome.message
    assert "rot at rest shows only in what is read back" in outcome.message


@pytest.mark.parametrize("replaced", [False, True], ids=["flipped", "replaced"])
def test_what_came_in_parts_is_read_back_whatever_checksum_lies_beside_it(
    resting: Container, faithful: S3Server, replaced: bool
) -> None:
    if replaced:  # by another object with the same metadata
        (faithful.directory / "backups" / "large").write_bytes(bytes(len(LARGE)))
    else:
        flip(faithful.directory / "backups" / "large")
    outcome = resting.run(VERIFY_BACKUP="true").outcome
    assert (outcome.reason, outcome.verified) == (transfer.REASON_VERIFICATION_FAILED, False)
    assert outcome.problems == ("large",)


def test_names_that_the_store_spells_otherwise_are_read_back_too(tmp_path: Path, faithful: S3Server) -> None:
    container = Container(tmp_path / "container", dict(faithful.secret()) | SMALL_PARTS)
    path = os.path.join(os.fsencode(container.data), b"bad\xff \xc3\xa9+%")
    with open(path, "wb") as file:
        file.write(LARGE)
    fill(container, {"d é/big +%": LARGE, "small": b"1"})
    outcome = container.run(VERIFY_BACKUP="true").outcome
    assert outcome.verified is True
    assert outcome.read_files >= 2
    assert outcome.checked_files + outcome.read_files == outcome.files == 3


@pytest.mark.parametrize("variable", ["SIZE_ONLY", "IGNORE_TIMES", "IGNORE_CHECKSUM", "NO_CHECK_DEST"])
@pytest.mark.parametrize("method", ["true", "download"])
def test_no_option_about_unchanged_files_weakens_a_check(
    resting: Container, faithful: S3Server, variable: str, method: str
) -> None:
    outcome = resting.run(VERIFY_BACKUP=method, **{f"RCLONE_{variable}": "true"}).outcome
    assert outcome.verified is True
    assert outcome.checked_files == (30 if method == "true" else 0)
    (resting.data / "small/07").write_bytes(b"FILE 7")
    differs = resting.run(VERIFY_BACKUP=method, RCLONE_MAX_TRANSFER="1G", RCLONE_SIZE_ONLY="true").outcome
    assert differs.reason == transfer.REASON_VERIFICATION_FAILED
    assert differs.problems == ("small/07",)


def test_a_sample_reads_back_so_many_and_finds_what_is_in_it(resting: Container, faithful: S3Server) -> None:
    for number in range(30):
        flip(faithful.directory / "backups" / f"small/{number:02}")
    flip(faithful.directory / "backups" / "large")
    outcome = resting.run(VERIFY_BACKUP="sample:0.1%", DATAMOVER_RUN_ID="run-2").outcome
    assert outcome.reason == transfer.REASON_VERIFICATION_FAILED
    assert len(outcome.problems) == 1
    again = resting.run(VERIFY_BACKUP="sample:0.1%", DATAMOVER_RUN_ID="run-2").outcome
    assert again.problems == outcome.problems


def test_a_sample_is_named_as_one(resting: Container) -> None:
    outcome = resting.run(VERIFY_BACKUP="sample:10%").outcome
    assert (outcome.verified, outcome.verification, outcome.read_files) == (True, "sample:10%", 4)
    assert "A sample of 4 of 31 files (sample:10%) was read back" in outcome.message


def test_what_filters_leave_out_is_not_said_to_be_verified(resting: Container) -> None:
    outcome = resting.run(VERIFY_BACKUP="download", RCLONE_EXCLUDE="/small/**").outcome
    assert (outcome.verified, outcome.read_files, outcome.files) == (True, 1, 1)
    nothing = resting.run(VERIFY_BACKUP="true", RCLONE_EXCLUDE="**", DATAMOVER_ALLOW_EMPTY_SOURCE="true").outcome
    assert (nothing.succeeded, nothing.verified, nothing.verification) == (True, None, "checksums")
    assert "There was no file to compare" in nothing.message


@pytest.mark.parametrize("value", ["True", "yes", "1", "sample", "sample:0%", "sample:101%", "sample:5", "downloads"])
def test_an_unknown_method_is_told_and_nothing_is_begun(tmp_path: Path, value: str) -> None:
    nobody = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "BUCKET_HOST": "127.0.0.1", "BUCKET_PORT": "1"}
    container = Container(tmp_path / "container", nobody | {"BUCKET_NAME": "backups", "TLS_HOST": "false"})
    outcome = container.run(VERIFY_BACKUP=value).outcome
    assert outcome.reason == transfer.REASON_INVALID_CONFIGURATION
    assert f"VERIFY_BACKUP is {value!r}" in outcome.message
    assert '"sample:5%"' in outcome.message


@pytest.mark.parametrize("same_volume", [True, False])
def test_two_mirrors_at_once_lose_nothing_and_never_both_succeed_in_silence(
    container: Container, s3: S3Server, same_volume: bool
) -> None:
    other = Container(container.root.parent / "other", dict(container.environment))
    for number in range(30):
        fill(container, {f"ours-{number}": b"1"})
        fill(other, {(f"ours-{number}" if same_volume else f"theirs-{number}"): b"1"})
    ended: dict[str, Ended] = {}
    pvc = "app-data" if same_volume else "other"

    def run(name: str, start: Callable[[], Ended]) -> None:
        ended[name] = start()

    threads = [
        threading.Thread(target=run, args=("one", lambda: container.run(DATAMOVER_RUN_ID="run-1"))),
        threading.Thread(
            target=run, args=("two", lambda: other.run(DATAMOVER_RUN_ID="run-2", DATAMOVER_OWNER_PVC=pvc))
        ),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failed = [end.outcome for end in ended.values() if not end.outcome.succeeded]
    for outcome in failed:
        assert outcome.reason in (transfer.REASON_DESTINATION_BUSY, transfer.REASON_DESTINATION_NOT_OWNED)
    if not same_volume:
        assert failed
    assert all(outcome.deleted == 0 for outcome in (end.outcome for end in ended.values()))


def test_a_damaged_manifest_makes_the_mirror_refuse_rather_than_delete(container: Container, s3: S3Server) -> None:
    fill(container, {"a": b"1", "b": b"2", "c": b"3"})
    container.run(DATAMOVER_RUN_ID="run-1")
    manifest = s3.objects(records=True)[".datamover/runs/run-1/manifest.jsonl.gz"]
    s3.put({".datamover/runs/run-1/manifest.jsonl.gz": manifest[:-20]})
    (container.data / "c").unlink()
    ended = container.run(DATAMOVER_RUN_ID="run-2")
    assert ended.outcome.reason == transfer.REASON_DESTINATION_NOT_OWNED
    assert "manifest of run run-1 is damaged" in ended.said
    assert len(s3.objects()) == 3


def test_an_attempt_that_failed_before_its_first_byte_leaves_the_mirror_as_known_as_before(
    container: Container, s3: S3Server
) -> None:
    fill(container, {"a": b"1", "b": b"2", "c": b"3"})
    container.run(DATAMOVER_RUN_ID="run-1")
    (container.data / "c").unlink()
    # it announces itself, and then the engine refuses to start
    failed = container.run(DATAMOVER_RUN_ID="run-2", RCLONE_TRANSFERS="many")
    assert failed.outcome.failure_class == transfer.CONFIG
    assert "transfers" in failed.outcome.message
    ended = container.run(DATAMOVER_RUN_ID="run-3")
    assert ended.code == 0, ended.output
    assert ended.outcome.deleted == 1
    assert sorted(s3.objects()) == ["a", "b"]
    lines = gzip.decompress(s3.objects(records=True)[".datamover/runs/run-3/manifest.jsonl.gz"]).splitlines()
    assert {"type": "stale", "path": "c"} in [json.loads(line) for line in lines]


def test_lost_records_of_a_mirror_make_it_refuse(container: Container, s3: S3Server) -> None:
    fill(container, {"a": b"1"})
    container.run(DATAMOVER_RUN_ID="run-1")
    other = Path(s3.directory / "backups" / ".datamover")
    owner = other / "owner.json"
    before = owner.read_bytes()
    s3.put({".datamover/owner.json": b"not JSON"})
    ended = container.run(DATAMOVER_RUN_ID="run-2")
    assert ended.outcome.reason == transfer.REASON_DESTINATION_NOT_OWNED
    s3.put({".datamover/owner.json": before})
    assert container.run(DATAMOVER_RUN_ID="run-3").code == 0
