"""Records of ours that are in the way: vanished, refused, or asked of a server that trickles. And lists of files. Real engine."""

import asyncio
import time
from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import Container
from support.proxy import Proxy
from support.s3 import S3Server

THREE = {"a.txt": "alpha", "b.txt": "beta", "c.txt": "gamma"}


def fill(container: Container, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = container.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


class Answering(Proxy):
    """Answers requests whose first line begins with `wanted` and holds `word` by itself; each connection carries one request."""

    wanted = b"GET "
    word = b""
    answer = b""

    async def _serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        first = head.split(b"\r\n", 1)[0]
        if first.startswith(self.wanted) and self.word in first:
            self._open.add(writer)
            try:
                await self.tell(writer)
            except ConnectionError:
                pass
            finally:
                writer.close()
                self._open.discard(writer)
            return
        theirs, upstream = await asyncio.open_connection("127.0.0.1", self._target)
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        upstream.write(b"\r\n".join([lines[0], b"Connection: close", *lines[1:]]))
        length = next((int(line[15:]) for line in lines if line.lower().startswith(b"content-length:")), 0)
        if length:
            upstream.write(await reader.readexactly(length))
        await upstream.drain()
        while data := await theirs.read(1 << 16):
            writer.write(data)
        await writer.drain()
        writer.close()
        upstream.close()

    async def tell(self, writer):
        writer.write(self.answer)
        await writer.drain()


MISSING = (
    b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
)
BROKEN = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


def http(status: bytes, body: bytes) -> bytes:
    return (
        b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n"
        % (status, len(body))
        + body
    )


@pytest.mark.parametrize("method", [b"GET ", b"HEAD "])
def test_a_marker_that_vanishes_between_listing_and_reading_is_looked_for_again(
    container: Container, s3: S3Server, method: bytes
) -> None:
    fill(container, THREE)
    assert container.run().code == 0
    with Answering(s3.port) as proxy:
        proxy.wanted, proxy.word = method, b"owner.json"
        proxy.answer = http(b"404 Not Found", MISSING if method == b"GET " else b"")
        ended = container.run(BUCKET_PORT=str(proxy.port))
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (transfer.GUARD, transfer.REASON_RECORD_UNUSABLE), ended.output
    assert outcome.retryable
    assert "s3generic:backups/.datamover/owner.json was there a moment ago" in outcome.message
    assert "fsGroup" not in outcome.message
    assert container.run().code == 0


def test_a_record_that_may_not_be_read_is_named(container: Container, s3: S3Server) -> None:
    fill(container, THREE)
    assert container.run().code == 0
    with Answering(s3.port) as proxy:
        proxy.word, proxy.answer = b"owner.json", http(b"403 Forbidden", BROKEN)
        ended = container.run(BUCKET_PORT=str(proxy.port))
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (transfer.DENIED, transfer.REASON_ACCESS_DENIED), ended.output
    assert outcome.message.startswith("The record s3generic:backups/.datamover/owner.json cannot be read. ")


class Trickling(Answering):
    """Answers a listing of data a letter at a time, for ever."""

    word = b"max-keys="

    async def tell(self, writer):
        writer.write(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/xml\r\n\r\n<?xml version='1.0'?>"
        )
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.2)


def test_a_listing_that_trickles_meets_the_outage_limit(container: Container, s3: S3Server) -> None:
    fill(container, THREE)
    begun = time.monotonic()
    with Trickling(s3.port) as proxy:
        ended = container.run(BUCKET_PORT=str(proxy.port), DATAMOVER_OUTAGE_LIMIT="3", timeout=60)
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (
        transfer.NETWORK,
        transfer.REASON_SERVER_UNREACHABLE,
    ), ended.output
    assert outcome.retryable
    assert "The server has not answered for" in outcome.message
    assert time.monotonic() - begun < 40


# --- lists of files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["RCLONE_FILES_FROM", "RCLONE_FILES_FROM_RAW"])
def test_a_list_of_files_works_on_a_volume_with_lost_and_found(
    container: Container, s3: S3Server, tmp_path: Path, variable: str
) -> None:
    fill(container, THREE | {"lost+found/1": "1"})
    (tmp_path / "list").write_text("a.txt\nc.txt\n")
    for _ in range(2):
        ended = container.run(VERIFY_BACKUP="true", **{variable: str(tmp_path / "list")})
        assert ended.code == 0, ended.output
        assert set(s3.objects()) == {"a.txt", "c.txt"}
    (container.data / "c.txt").unlink()
    ended = container.run(**{variable: str(tmp_path / "list")})
    assert ended.code == 0, ended.output


def test_rules_of_several_files_hold_beside_ours(container: Container, s3: S3Server, tmp_path: Path) -> None:
    fill(container, THREE | {"lost+found/1": "1"})
    (tmp_path / "one").write_text("a.*\n")
    (tmp_path / "two, and more").write_text("b.*\n")
    ended = container.run(RCLONE_EXCLUDE_FROM=f'{tmp_path}/one,"{tmp_path}/two, and more"')
    assert ended.code == 0, ended.output
    assert set(s3.objects()) == {"c.txt"}


@pytest.mark.parametrize("lost_and_found", [False, True])
@pytest.mark.parametrize(
    "variable", ["RCLONE_EXCLUDE_FROM", "RCLONE_INCLUDE_FROM", "RCLONE_FILTER_FROM", "RCLONE_FILES_FROM"]
)
def test_a_list_that_is_not_there_is_the_users_to_mend(
    container: Container, s3: S3Server, variable: str, lost_and_found: bool
) -> None:
    fill(container, THREE | ({"lost+found/1": "1"} if lost_and_found else {}))
    ended = container.run(**{variable: "/no/such/list"})
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (transfer.CONFIG, transfer.REASON_INVALID_CONFIGURATION)
    assert f"{variable} names the file '/no/such/list', which cannot be read: No such file" in outcome.message
    assert s3.objects(records=True) == {}
