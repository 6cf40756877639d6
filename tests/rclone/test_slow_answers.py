"""Servers that take their time, and such as never answer: the first are waited for, the others given up. Real engine, scaled limits."""

import asyncio
import contextlib
import re
import subprocess
import time
from pathlib import Path

import pytest

from datamover.agent.rclone import options
from datamover.api import transfer
from datamover.api.periods import read_period
from support.agent import Container
from support.proxy import Proxy
from support.s3 import S3Server, find_rclone

LARGE = bytes(range(256)) * (6 << 12)
PARTS = {"RCLONE_S3_UPLOAD_CUTOFF": "5M", "RCLONE_S3_CHUNK_SIZE": "5M"}
LIMIT = 3
"""The outage limit of these runs, in seconds; the slow answers take more than twice that."""


class Slow(Proxy):
    """Holds back the answer to requests whose first line matches `slow`, for `seconds`; each connection carries one request."""

    def __init__(self, target: int, slow: bytes, *, seconds: float = 2.5 * LIMIT, once: bool = True) -> None:
        super().__init__(target)
        self._slow = re.compile(slow)
        self._seconds = seconds
        self._once = once
        self.held = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        upstream = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            theirs, upstream = await asyncio.open_connection("127.0.0.1", self._target)
            changed = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head)
            upstream.write(changed.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            if length and int(length[1]):
                upstream.write(await reader.readexactly(int(length[1])))
            await upstream.drain()
            answer = b""
            with contextlib.suppress(ConnectionError):  # a busy server may end a connection so that its answer is lost
                answer = await theirs.read(-1)
            if self._slow.match(head) and not (self._once and self.held):
                self.held += 1
                await asyncio.sleep(self._seconds)
                answer = self.answer(answer)
            writer.write(answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(writer)
            for end in (writer, upstream):
                if end is not None:
                    end.close()
                    with contextlib.suppress(OSError, asyncio.CancelledError):
                        await end.wait_closed()

    def answer(self, answer: bytes) -> bytes:
        """Return what is said after the wait."""
        return answer


class Failing(Slow):
    """Says 200 to the completion of an upload, and in the body that it failed, as S3 may."""

    def answer(self, answer: bytes) -> bytes:
        body = (
            b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>We encountered an error</Message></Error>"
        )
        return (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s"
            % (
                len(body),
                body,
            )
        )


def fill(container: Container) -> None:
    (container.data / "large").write_bytes(LARGE)
    (container.data / "small").write_bytes(b"1")


SLOW = {
    "the completion of an upload in parts": rb"POST [^ ]*uploadId=",
    "the upload of a file": rb"PUT /backups/small",
    "the upload of a record": rb"PUT /backups/\.datamover/owner",
    "the listing of all": rb"GET /backups/?\?(?![^ ]*delimiter)",
}


@pytest.mark.parametrize("what", SLOW)
def test_an_answer_that_takes_longer_than_the_outage_limit_is_waited_for(
    container: Container, s3: S3Server, what: str
) -> None:
    fill(container)
    with Slow(s3.port, SLOW[what]) as proxy:
        ended = container.run(BUCKET_PORT=str(proxy.port), DATAMOVER_OUTAGE_LIMIT=str(LIMIT), **PARTS)
        assert proxy.held == 1
    assert ended.code == 0, ended.output
    assert s3.objects() == {"large": LARGE, "small": b"1"}


@pytest.mark.parametrize(
    "what", ["the upload of a file", "the upload of a record", "the listing of all"], ids=["data", "record", "listing"]
)
def test_a_server_that_takes_requests_and_answers_none_any_more_is_given_up_in_time(
    container: Container, s3: S3Server, what: str
) -> None:
    fill(container)

    class Dying(Slow):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self.held:  # it has hung itself up: whoever asks now gets no answer either
                self._slow = re.compile(rb"")
                self._once = False
            await super()._serve(reader, writer)

    begun = time.monotonic()
    with Dying(s3.port, SLOW[what], seconds=600) as proxy:
        outcome = container.run(BUCKET_PORT=str(proxy.port), DATAMOVER_OUTAGE_LIMIT=str(LIMIT), **PARTS).outcome
    assert (outcome.failure_class, outcome.reason) == (transfer.NETWORK, transfer.REASON_SERVER_UNREACHABLE)
    assert outcome.retryable
    assert "DATAMOVER_OUTAGE_LIMIT" in outcome.message
    assert time.monotonic() - begun < 50


def test_a_success_with_an_error_inside_for_ever_ends_the_run(container: Container, s3: S3Server) -> None:
    fill(container)
    with Failing(s3.port, SLOW["the completion of an upload in parts"], seconds=0, once=False) as proxy:
        outcome = container.run(
            BUCKET_PORT=str(proxy.port), RCLONE_LOW_LEVEL_RETRIES="2", RCLONE_RETRIES="1", **PARTS
        ).outcome
    assert not outcome.succeeded
    assert outcome.retryable
    assert "large" not in s3.objects() or outcome.reason == transfer.REASON_SERVER_ERROR, outcome.message


def test_no_limit_of_ours_is_below_the_engines_own(tmp_path: Path) -> None:
    program = find_rclone()
    assert program
    text = subprocess.run([program, "help", "flags"], capture_output=True, text=True, check=True).stdout
    defaults = dict(
        re.findall(r"--(timeout|contimeout|expect-continue-timeout) Duration.*\(default ([0-9a-z]+)\)", text)
    )
    assert read_period(defaults["timeout"]) == options.ENGINE_TIMEOUT
    given = options._DEFAULTS
    for name, default in defaults.items():
        ours = given.get(f"RCLONE_{name.upper().replace('-', '_')}", default)
        assert (read_period(ours) or 0) >= (read_period(default) or 0)
