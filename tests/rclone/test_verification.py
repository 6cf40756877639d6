"""That what is said to be there is there. Real engine, real servers, and servers that lie."""

import asyncio
import gzip
import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import Container, Ended
from support.proxy import Proxy
from support.s3 import S3Server

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
