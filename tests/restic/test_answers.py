"""S3 servers that refuse, are full, or fail in the middle. Real restic and a real server behind a proxy that answers in its place."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from datamover.api import transfer
from support.answering import Answering, Reply, Request, s3_error, web_page
from support.certificates import make_certificate
from support.proxy import Proxy
from support.restic import Mover
from support.s3 import S3Server, run_server, wait_for

DENIED = s3_error(403, "AccessDenied", "Access Denied.")
GONE = s3_error(404, "NoSuchBucket", "The specified bucket does not exist")
FULL = s3_error(403, "QuotaExceeded", "Bucket quota exceeded")
BUSY = s3_error(503, "SlowDown", "Please reduce your request rate.")


def store(server: S3Server, port: int | None = None) -> dict[str, str]:
    return {
        "RESTIC_REPOSITORY": f"s3:{'https' if server.tls else 'http'}://127.0.0.1:{port or server.port}/backups/below",
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
    }


@pytest.fixture
def filled(mover: Mover, s3: S3Server) -> Mover:
    """A mover whose repository is in the bucket, and a volume."""
    shutil.copytree(mover.repository, s3.bucket() / "below")
    (mover.data / "file").write_bytes(os.urandom(100_000))
    return mover


def puts(reply: Reply) -> Callable[[Request], Reply | None]:
    return lambda request: reply if request.method == "PUT" else None


REFUSALS = {
    "no writing": (puts(DENIED), transfer.DENIED, transfer.REASON_ACCESS_DENIED, "list, read, write and delete"),
    "no deleting": (
        lambda request: DENIED if request.method in {"DELETE", "POST"} else None,
        transfer.DENIED,
        transfer.REASON_ACCESS_DENIED,
        "not even its own lock",
    ),
    "the bucket goes": (puts(GONE), transfer.NOT_FOUND, transfer.REASON_BUCKET_NOT_FOUND, "is gone"),
    "a full bucket": (puts(FULL), transfer.NO_SPACE, transfer.REASON_NO_SPACE, "spec.restic.retain"),
    "a web page": (lambda _: web_page(200), transfer.CONFIG, transfer.REASON_NOT_S3, "proxy's login"),
    "another place": (
        lambda _: Reply(301, b"", {"Location": "http://127.0.0.1:1/"}),
        transfer.CONFIG,
        transfer.REASON_INVALID_CONFIGURATION,
        "another region",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_asking_again_does_not_change_ends_soon_with_its_reason(filled: Mover, s3: S3Server, case: str) -> None:
    rule, failure_class, reason, told = REFUSALS[case]
    with Answering(s3.port, rule) as proxy:
        ended = filled.act("backup", **store(s3, proxy.port))
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (failure_class, reason), ended.output
    assert told in outcome.message
    assert ("Before that: Snapshot" in outcome.message) == (case == "no deleting")


def test_a_server_that_is_busy_for_a_while_is_asked_again(filled: Mover, s3: S3Server) -> None:
    left = 3

    def rule(request: Request) -> Reply | None:
        nonlocal left
        if request.method == "PUT" and "/data/" in request.path and left:
            left -= 1
            return BUSY
        return None

    with Answering(s3.port, rule) as proxy:
        ended = filled.act("backup", **store(s3, proxy.port))
    assert ended.code == 0, ended.output
    assert left == 0


def test_a_server_that_goes_in_the_middle_and_comes_back_costs_nothing(filled: Mover, s3: S3Server) -> None:
    (filled.data / "large").write_bytes(os.urandom(20_000_000))
    filled.arguments = ["restic", "backup"]
    with (
        Proxy(s3.port, rate=10_000_000) as proxy,
        filled.start(**store(s3, proxy.port)) as running,
    ):
        wait_for(lambda: any(path.is_file() for path in (s3.bucket() / "below" / "data").rglob("*")))
        proxy.cut()
        wait_for(lambda: "connection refused" in running.output)
        proxy.restore()
        ended = running.wait()
    assert ended.code == 0, ended.output
    assert any("connection refused" in each.trouble for each in ended.progress)
    assert ended.progress[-1].trouble == ""


CERTIFICATES = {
    "another authority": ("other", transfer.REASON_TLS_UNTRUSTED),
    "an empty file": ("", transfer.REASON_INVALID_CONFIGURATION),
    "no certificate": ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", transfer.REASON_INVALID_CONFIGURATION),
    "no text of the kind": ("ca.crt", transfer.REASON_INVALID_CONFIGURATION),
}  # fmt: skip


@pytest.mark.parametrize("case", CERTIFICATES)
def test_an_authority_that_is_not_the_servers_is_told(mover: Mover, tmp_path: Path, case: str) -> None:
    content, reason = CERTIFICATES[case]
    (mover.data / "file").write_text("x")
    folder = mover.root / "customca"
    folder.mkdir()
    if content == "other":
        content = make_certificate(folder)[0].read_text()
    (folder / "ca.crt").write_text(content)
    for server in run_server("rclone", tmp_path, tls=make_certificate(tmp_path)):
        ended = mover.act("backup", CUSTOM_CA="/customca/ca.crt", **store(server))
        assert ended.outcome.reason == reason, ended.output
        assert "spec.restic.customCA" in ended.outcome.message
        assert not server.objects()
