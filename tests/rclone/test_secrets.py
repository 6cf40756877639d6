"""No secret leaves the mover, at any verbosity (law L8). Real engine, real servers."""

import base64
import json
import stat
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import pytest

from datamover.api import transfer
from support.agent import Container, Ended
from support.answering import Answering, s3_error
from support.s3 import S3Server, find_rclone

PASSWORD = 'hunter2&"quoted"/and+more'
LOUD = {"RCLONE_DUMP": "headers,bodies,requests,responses", "RCLONE_LOG_LEVEL": "DEBUG"}


def expect_silence(ended: Ended, secrets: Iterable[str], *records: bytes) -> None:
    """Nothing that the mover says or writes has a secret in it, in any of the forms that one meets."""
    said = "\n".join(
        [ended.output, ended.errors, ended.message.decode(), *(record.decode("utf-8", "replace") for record in records)]
    )
    for secret in secrets:
        for form in (
            secret,
            quote(secret, safe=""),
            quote(secret),
            json.dumps(secret)[1:-1],
            base64.b64encode(secret.encode()).decode().rstrip("="),
            base64.b64encode(f"somebody:{secret}".encode()).decode().rstrip("=")[12:-1],
        ):
            assert form not in said, f"{form} is in {said[max(0, said.index(form) - 200) : said.index(form) + 100]}"


def records_of(server: S3Server) -> list[bytes]:
    return [content for name, content in server.objects(records=True).items() if name.endswith(".json")]


@pytest.mark.parametrize("timestamped", ["true", "false"])
def test_a_run_that_dumps_all_says_no_secret(any_container: Container, any_s3: S3Server, timestamped: str) -> None:
    (any_container.data / "a").write_text("a")
    header = "open-sesame-1234"
    ended = any_container.run(
        ADD_TIMESTAMP_PREFIX=timestamped,
        RCLONE_HEADER=f"X-Login: {header}",
        RCLONE_HEADER_UPLOAD="Authorisation: Basic c29tZWJvZHk6aHVudGVyMg==",
        NO_PROXY="127.0.0.1",
        HTTPS_PROXY=f"http://somebody:{quote(PASSWORD, safe='')}@proxy.invalid:3128",
        SOME_OTHER_PASSWORD=PASSWORD,
        **LOUD,
    )
    assert ended.code == 0, ended.output
    assert "HTTP REQUEST" in ended.said
    secrets = [any_s3.access_key, any_s3.secret_key, PASSWORD, header, "c29tZWJvZHk6aHVudGVyMg"]
    expect_silence(ended, secrets, *records_of(any_s3))


BAD = {
    "a host with a password": {"BUCKET_HOST": f"https://somebody:{PASSWORD}@minio.example.com"},
    "a proxy that cannot be read": {"RCLONE_HTTP_PROXY": f"http://somebody:{PASSWORD} %zz@proxy.invalid:3128"},
    "a proxy that is not there": {
        "HTTP_PROXY": f"http://somebody:{quote(PASSWORD, safe='')}@127.0.0.1:1",
        "BUCKET_HOST": "s3.invalid",
    },
    "a header that cannot be": {"RCLONE_HEADER": f'"Authorization: Bearer {PASSWORD}'},
    "a switch that is a password": {"TLS_HOST": f"https://somebody:{PASSWORD}@minio"},
    "an endpoint with a password": {"RCLONE_S3_ENDPOINT": f"http://somebody:{quote(PASSWORD, safe='')}@127.0.0.1:1"},
    "a key of the wrong length": {"RCLONE_S3_SSE_CUSTOMER_KEY": PASSWORD, "RCLONE_S3_SSE_CUSTOMER_ALGORITHM": "AES256"},
    "a wrong secret key": {"AWS_SECRET_ACCESS_KEY": PASSWORD},
    "a wrong token": {"AWS_SESSION_TOKEN": PASSWORD},
}


@pytest.mark.parametrize("case", BAD)
def test_what_goes_wrong_with_a_secret_is_told_without_it(container: Container, s3: S3Server, case: str) -> None:
    (container.data / "a").write_text("a")
    ended = container.run(DATAMOVER_OUTAGE_LIMIT="2", **BAD[case], **LOUD)
    if case not in {"a host with a password", "a switch that is a password"}:
        assert "HTTP REQUEST" in ended.said, "nothing was dumped"
    expect_silence(ended, [s3.access_key, s3.secret_key, PASSWORD, "hunter2&", "and+more"], *records_of(s3))


def test_a_server_that_says_the_key_again_is_quoted_without_it(container: Container, s3: S3Server) -> None:
    """Servers do that: the string that they signed, the key that they do not know. The quotation is cut, and half a key is one as well."""
    (container.data / "a").write_text("a")
    for length in range(60, 140, 20):
        echo = s3_error(
            403, "SignatureDoesNotMatch", f"{'x' * length} {s3.secret_key} {s3.access_key} is not it {'y' * 300}"
        )
        with Answering(s3.port, lambda _, echo=echo: echo) as server:
            ended = container.run(BUCKET_PORT=str(server.port))
        assert ended.outcome.reason == transfer.REASON_WRONG_CREDENTIALS
        halves = [s3.secret_key[:12], s3.secret_key[-12:], s3.access_key[:10], s3.access_key[-10:]]
        expect_silence(ended, halves)


def test_an_engine_that_does_not_stay_is_asked_for_its_version_without_the_secret(
    container: Container, s3: S3Server, tmp_path: Path
) -> None:
    (container.data / "a").write_text("a")
    wrapper = tmp_path / "rclone-wrapper"
    wrapper.write_text(
        f'#!/bin/sh\n[ "$1" = rcd ] && exit 1\n[ "$1" = version ] && env > {tmp_path}/environment\nexec {find_rclone()} "$@"\n'
    )
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    ended = container.run(DATAMOVER_RCLONE=str(wrapper), RCLONE_S3_SSE_KMS_KEY_ID="", SOME_PASSWORD=PASSWORD)
    assert not ended.outcome.succeeded
    assert ended.outcome.engine.startswith("rclone v")
    environment = (tmp_path / "environment").read_text()
    assert "PATH=" in environment
    for secret in (s3.access_key, s3.secret_key, PASSWORD):
        assert secret not in environment
