"""What goes wrong between the mover and the server, and what people are told. Real engine, real servers."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from datamover.api import transfer
from support.agent import Container, Ended
from support.certificates import make_certificate
from support.proxy import Proxy
from support.s3 import S3Server, run_server, wait_for


def fill(container: Container, count: int = 3, size: int = 10) -> None:
    for number in range(count):
        (container.data / f"file-{number:05}").write_bytes(bytes([number % 256]) * size)


def expect(ended: Ended, failure_class: str, reason: str, *words: str) -> transfer.Outcome:
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (failure_class, reason), f"{outcome}\n{ended.output}"
    assert not outcome.succeeded
    assert ended.code == outcome.exit_code
    for word in words:
        assert word in outcome.message
    return outcome


def test_an_unknown_key_is_told_as_credentials(any_container: Container, any_s3: S3Server) -> None:
    fill(any_container)
    ended = any_container.run(AWS_ACCESS_KEY_ID="AKIAWRONGWRONGWRONG1")
    outcome = expect(ended, transfer.CREDENTIALS, transfer.REASON_WRONG_CREDENTIALS, "AWS_ACCESS_KEY_ID")
    assert not outcome.retryable
    assert ended.code in transfer.TERMINAL_EXIT_CODES
    assert any_s3.objects(records=True) == {}


def test_a_wrong_secret_is_told_as_credentials_in_both_modes(any_container: Container) -> None:
    fill(any_container)
    for mode in ("true", "false"):
        ended = any_container.run(AWS_SECRET_ACCESS_KEY="wrongwrongwrongwrong", ADD_TIMESTAMP_PREFIX=mode)
        expect(ended, transfer.CREDENTIALS, transfer.REASON_WRONG_CREDENTIALS)
        assert "SignatureDoesNotMatch" in ended.said


def test_a_missing_bucket_is_named_and_never_made(any_container: Container, any_s3: S3Server) -> None:
    fill(any_container)
    ended = any_container.run(BUCKET_NAME="misspelt")
    outcome = expect(ended, transfer.NOT_FOUND, transfer.REASON_BUCKET_NOT_FOUND, "'misspelt'")
    assert not outcome.retryable
    assert not (any_s3.directory / "misspelt").exists()


def test_a_refused_connection_is_told_within_its_patience(container: Container, s3: S3Server) -> None:
    fill(container)
    s3.stop()
    begun = time.monotonic()
    ended = container.run(DATAMOVER_OUTAGE_LIMIT="4")
    outcome = expect(
        ended, transfer.NETWORK, transfer.REASON_SERVER_UNREACHABLE, f"127.0.0.1:{s3.port}", "connection refused"
    )
    assert outcome.retryable
    assert ended.code in transfer.RETRYABLE_EXIT_CODES
    assert time.monotonic() - begun < 20


def test_a_server_that_comes_up_a_little_later_is_waited_for(container: Container, s3: S3Server) -> None:
    fill(container)
    s3.stop()
    with container.start() as running:
        wait_for(lambda: '"trouble":"' in running.output.replace('"trouble":""', ""))
        s3.start()
        ended = running.wait()
    assert ended.code == 0, ended.output
    assert len(s3.objects()) == 3
    assert any("connection refused" in progress.trouble for progress in ended.progress), (
        "nobody is told what is waited for"
    )
    assert not ended.progress[-1].trouble


def test_a_mover_that_is_stopped_while_it_waits_says_for_what(container: Container, s3: S3Server) -> None:
    fill(container)
    s3.stop()
    with container.start() as running:
        wait_for(lambda: '"trouble":"' in running.output.replace('"trouble":""', ""))
        running.terminate()
        ended = running.wait()
    expect(ended, transfer.INTERRUPTED, transfer.REASON_INTERRUPTED, "connection refused", f"127.0.0.1:{s3.port}")


def test_an_unknown_host_is_told_as_network(container: Container) -> None:
    ended = container.run(BUCKET_HOST="no-such-host.invalid", DATAMOVER_OUTAGE_LIMIT="2")
    expect(ended, transfer.NETWORK, transfer.REASON_SERVER_UNREACHABLE, "BUCKET_HOST")


def test_plain_http_where_https_was_said(container: Container) -> None:
    outcome = expect(container.run(TLS_HOST="true"), transfer.NETWORK, transfer.REASON_TLS_MISMATCH, "TLS_HOST")
    assert not outcome.retryable


def test_a_certificate_that_nobody_trusts_and_then_one_that_is_given(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    for server in run_server("rclone", tmp_path, tls=(certificate, key)):
        server.bucket()
        container = Container(tmp_path / "container", server.secret())
        fill(container)
        refused = container.run(SSL_CERT_FILE=None)
        expect(refused, transfer.NETWORK, transfer.REASON_TLS_UNTRUSTED, "CA_CERT")
        trusted = container.run(CA_CERT=certificate.read_text())
        assert trusted.code == 0, trusted.output
        plain = container.run(TLS_HOST="false")
        assert plain.outcome.failure_class == transfer.NETWORK


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"days": -1}, "renew it"), ({"address": "192.0.2.1"}, "is for another name")],
    ids=["old", "another"],
)
def test_a_certificate_that_is_old_or_anothers_is_told_as_that(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    certificate, key = make_certificate(tmp_path, **changes)
    for server in run_server("rclone", tmp_path, tls=(certificate, key)):
        container = Container(tmp_path / "container", server.secret())
        refused = container.run(CA_CERT=certificate.read_text())
        expect(refused, transfer.NETWORK, transfer.REASON_TLS_UNTRUSTED, words)
        assert not refused.outcome.retryable


def test_a_server_that_is_gone_for_good_meets_the_limit(container: Container, s3: S3Server) -> None:
    fill(container, count=200, size=20_000)
    with (
        Proxy(s3.port, rate=300_000) as proxy,
        container.start(
            BUCKET_PORT=str(proxy.port), DATAMOVER_OUTAGE_LIMIT="6", RCLONE_TRANSFERS="2", RCLONE_VERBOSE="1"
        ) as running,
    ):
        wait_for(lambda: "Copied (new)" in running.output)
        proxy.cut()
        ended = running.wait(timeout=90)
    outcome = expect(ended, transfer.NETWORK, transfer.REASON_SERVER_UNREACHABLE)
    assert outcome.retryable
    assert outcome.transferred_files > 0


def test_a_server_that_comes_back_is_gone_on_with(container: Container, s3: S3Server) -> None:
    fill(container, count=60, size=20_000)
    with (
        Proxy(s3.port, rate=300_000) as proxy,
        container.start(BUCKET_PORT=str(proxy.port), RCLONE_TRANSFERS="2", RCLONE_VERBOSE="1") as running,
    ):
        wait_for(lambda: "Copied (new)" in running.output)
        proxy.cut()
        time.sleep(1)
        proxy.restore()
        ended = running.wait(timeout=90)
    assert ended.code == 0, ended.output
    assert len(s3.objects()) == 60


def test_a_deadline_ends_the_run(container: Container, s3: S3Server) -> None:
    fill(container, count=300, size=20_000)
    with Proxy(s3.port, rate=100_000) as proxy:
        ended = container.run(BUCKET_PORT=str(proxy.port), RCLONE_TRANSFERS="2", DATAMOVER_DEADLINE="3", timeout=60)
    outcome = expect(ended, transfer.DEADLINE_EXCEEDED, transfer.REASON_DEADLINE_EXCEEDED, "3 s")
    assert not outcome.retryable


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"AWS_ACCESS_KEY_ID": None}, "AWS_ACCESS_KEY_ID is not set"),
        ({"BUCKET_HOST": ""}, "BUCKET_HOST is empty"),
        ({"TLS_HOST": "True"}, "TLS_HOST is 'True'"),
        ({"BUCKET_PORT": "https"}, "BUCKET_PORT is 'https'"),
        ({"CUSTOM_PATH_PREFIX": "../other"}, "CUSTOM_PATH_PREFIX"),
        ({"CUSTOM_PATH_PREFIX": "a/.datamover/b"}, "CUSTOM_PATH_PREFIX"),
        ({"BUCKET_HOST": "http://minio:9000"}, "only the host"),
        ({"RCLONE_DRY_RUN": "true"}, "RCLONE_DRY_RUN"),
    ],
)
def test_a_wrong_environment_is_refused_before_anything_starts(
    container: Container, s3: S3Server, changes: dict[str, str | None], word: str
) -> None:
    fill(container)
    ended = container.run(**changes)
    expect(ended, transfer.CONFIG, transfer.REASON_INVALID_CONFIGURATION, word)
    assert ended.code in transfer.TERMINAL_EXIT_CODES
    assert s3.objects(records=True) == {}


def test_a_missing_engine_is_told(container: Container) -> None:
    ended = container.run(DATAMOVER_RCLONE="/nowhere/rclone")
    expect(ended, transfer.CONFIG, transfer.REASON_ENGINE_MISSING, "/nowhere/rclone")


def test_a_missing_source_is_told(container: Container) -> None:
    container.data.rmdir()
    expect(container.run(), transfer.SOURCE_UNREADABLE, transfer.REASON_SOURCE_NOT_FOUND)


def test_a_store_that_is_full_is_told(any_container: Container, any_s3: S3Server) -> None:
    """A server answers with the words of its file system; here they come by the proxy of a scripted answer."""
    fill(any_container, count=60)
    with FullStore(any_s3.port) as store:
        ended = any_container.run(BUCKET_PORT=str(store.port))
    outcome = expect(ended, transfer.NO_SPACE, transfer.REASON_NO_SPACE, "No space left on device")
    assert outcome.retryable
    assert re.search(r"no space left on device|XMinioStorageFull", ended.said, re.IGNORECASE)


class FullStore(Proxy):
    """Answers every PUT of data as a full MinIO does; everything else goes to the server."""

    async def _serve(self, reader, writer):
        import asyncio

        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"PUT ") and b"/.datamover/" not in head.split(b"\r\n", 1)[0]:
            length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
            await reader.readexactly(length)
            body = (
                b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>XMinioStorageFull</Code><Message>Storage backend has reached its'
                b" minimum free drive threshold. Please delete a few objects to proceed.</Message></Error>"
            )
            answer = b"HTTP/1.1 507 Insufficient Storage\r\nConnection: close\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n"
            writer.write(answer % len(body) + body)
            await writer.drain()
            writer.close()
            return
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self._target)
        head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        upstream.write(head)
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if length and int(length[1]):
            upstream.write(await reader.readexactly(int(length[1])))
        await upstream.drain()
        while data := await upstream_reader.read(1 << 16):
            writer.write(data)
        await writer.drain()
        writer.close()
        upstream.close()
