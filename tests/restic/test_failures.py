"""What goes wrong ends in a reason and a sentence with the way out, and nothing is lost. Real restic, real servers."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import Ended
from support.certificates import make_certificate
from support.restic import PASSWORD, Mover
from support.s3 import S3Server, run_server

QUICK = {"DATAMOVER_OUTAGE_LIMIT": "2"}


def expect(ended: Ended, failure_class: str, reason: str, *words: str) -> transfer.Outcome:
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (failure_class, reason), ended.output
    assert ended.code == outcome.exit_code
    for word in words:
        assert word in outcome.message, f"{word} is not in: {outcome.message}"
    assert PASSWORD not in ended.output
    return outcome


def store(server: S3Server, **changes: str) -> dict[str, str]:
    """The variables of a repository in the bucket of the server."""
    return {
        "RESTIC_REPOSITORY": f"s3:{'https' if server.tls else 'http'}://127.0.0.1:{server.port}/backups/below",
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        **changes,
    }


def test_a_wrong_password_is_told_with_the_new_line_at_its_end(mover: Mover) -> None:
    (mover.data / "file").write_text("x")
    ended = mover.act("backup", RESTIC_PASSWORD=f"{PASSWORD}\n")
    outcome = expect(ended, transfer.CREDENTIALS, transfer.REASON_WRONG_PASSWORD, "RESTIC_PASSWORD", "new line")
    assert not outcome.retryable
    assert "wrong password" in outcome.log
    assert mover.snapshots() == []


def test_a_new_repository_whose_password_ends_with_a_new_line_says_so(bare_mover: Mover) -> None:
    (bare_mover.data / "file").write_text("x")
    ended = bare_mover.act("backup", RESTIC_PASSWORD=f"{PASSWORD}\n", RESTIC_REPOSITORY="/mnt/repository\n")
    assert ended.code == 0, ended.output
    assert "such as a new line" in ended.outcome.message
    again = bare_mover.act("backup", RESTIC_PASSWORD=f"{PASSWORD}\n")
    assert again.code == 0
    assert "new line" not in again.outcome.message


def test_a_prune_alone_makes_no_repository(bare_mover: Mover) -> None:
    expect(bare_mover.act("prune"), transfer.NOT_FOUND, transfer.REASON_REPOSITORY_NOT_FOUND, "RESTIC_REPOSITORY")
    assert not bare_mover.repository.exists()


@pytest.mark.parametrize("address", ["s3:http://127.0.0.1:1/backups", "rest:http://somebody:pa55word@127.0.0.1:1/x"])
def test_a_server_that_does_not_answer_is_given_up_soon(bare_mover: Mover, address: str) -> None:
    (bare_mover.data / "file").write_text("x")
    keys = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "s3cr3t-s3cr3t"}
    ended = bare_mover.act("backup", RESTIC_REPOSITORY=address, **QUICK, **keys)
    outcome = expect(ended, transfer.NETWORK, transfer.REASON_SERVER_UNREACHABLE, "connection refused")
    assert outcome.retryable
    assert "pa55word" not in ended.output + ended.message.decode()
    assert any("connection refused" in each.trouble for each in ended.progress)


def test_missing_and_wrong_keys_are_told_at_once(bare_mover: Mover, s3: S3Server) -> None:
    (bare_mover.data / "file").write_text("x")
    ended = bare_mover.act("backup", **store(s3, AWS_SECRET_ACCESS_KEY="wrong-wrong"))
    expect(ended, transfer.CREDENTIALS, transfer.REASON_WRONG_CREDENTIALS, "keys in the Secret")
    without = store(s3, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    ended = bare_mover.act("backup", **without, **QUICK)
    expect(ended, transfer.CREDENTIALS, transfer.REASON_WRONG_CREDENTIALS, "There are no credentials")
    assert s3.objects() == {}


def test_a_certificate_that_nobody_trusts_and_then_one_that_is_given(mover: Mover, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    (mover.data / "file").write_text("x")
    for server in run_server("rclone", tmp_path, tls=(certificate, key)):
        shutil.copytree(mover.repository, server.bucket() / "below")
        refused = mover.act("backup", SSL_CERT_FILE=None, **store(server))
        expect(refused, transfer.NETWORK, transfer.REASON_TLS_UNTRUSTED, "spec.restic.customCA")
        (mover.root / "customca").mkdir()
        shutil.copy(certificate, mover.root / "customca" / "ca.crt")
        trusted = mover.act("backup", CUSTOM_CA="/customca/ca.crt", **store(server))
        assert trusted.code == 0, trusted.output
        plain = store(server, RESTIC_REPOSITORY=f"s3:http://127.0.0.1:{server.port}/backups/below")
        expect(mover.act("backup", **plain), transfer.NETWORK, transfer.REASON_TLS_MISMATCH, "HTTPS")


def test_a_damaged_repository_is_told_and_nothing_is_forgotten(mover: Mover) -> None:
    (mover.data / "file").write_bytes(os.urandom(1_000_000))
    mover.act("backup")
    (mover.data / "file").unlink()
    for pack in (mover.repository / "data").rglob("*"):
        if pack.is_file():
            pack.chmod(0o600)
            pack.write_bytes(bytes(pack.stat().st_size))
    shutil.rmtree(mover.root / "cache")
    ended = mover.act("restore")
    expect(ended, transfer.GUARD, transfer.REASON_REPOSITORY_DAMAGED, "restic check")


@pytest.mark.parametrize(
    ("variable", "value", "word"),
    [
        ("RESTIC_REPOSITORY", "s3:http://127.0.0.1/N_", "no address"),
        ("RESTORE_OPTIONS", "--delete --target /", "--target"),
        ("FORGET_OPTIONS", "--keep-last 1 --prune", "--prune"),
        ("RESTORE_AS_OF", "yesterday", "RFC 3339"),
        ("SELECT_PREVIOUS", "-1", "SELECT_PREVIOUS"),
        ("RESTIC_PASSWORD", "", "RESTIC_PASSWORD is not set"),
    ],
)
def test_what_is_wrong_with_a_variable_is_told(bare_mover: Mover, variable: str, value: str, word: str) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "s3cr3t-s3cr3t"}
    (bare_mover.data / "file").write_text("x")
    ended = bare_mover.act("backup", **keys, **{variable: value})
    expect(ended, transfer.CONFIG, transfer.REASON_INVALID_CONFIGURATION, word)


def test_no_action_and_an_unknown_one_are_refused(bare_mover: Mover) -> None:
    for actions in ((), ("check",), ("restore", "backup")):
        ended = bare_mover.act(*actions)
        assert ended.outcome.reason == transfer.REASON_INVALID_CONFIGURATION


@pytest.fixture
def small(mover: Mover) -> Iterator[Path]:
    """A file system of six megabytes, at /mnt/small."""
    folder = mover.root / "mnt" / "small"
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_repository_is_told_and_what_it_has_stays(mover: Mover, small: Path) -> None:
    (mover.data / "file").write_text("precious")
    shutil.copytree(mover.repository, small / "repository")
    full = {"RESTIC_REPOSITORY": "/mnt/small/repository"}
    assert mover.act("backup", **full).code == 0
    (mover.data / "large").write_bytes(os.urandom(20_000_000))
    outcome = expect(mover.act("backup", **full), transfer.NO_SPACE, transfer.REASON_NO_SPACE, "spec.restic.retain")
    assert outcome.retryable
    (mover.data / "file").unlink()
    mover.act("restore", **full)
    assert (mover.data / "file").read_text() == "precious"


def test_a_full_volume_ends_a_restore(mover: Mover, small: Path) -> None:
    (mover.data / "large").write_bytes(os.urandom(20_000_000))
    assert mover.act("backup").code == 0
    ended = mover.act("restore", DATA_DIR="/mnt/small")
    expect(ended, transfer.NO_SPACE, transfer.REASON_NO_SPACE, "spec.restic.capacity")
    assert os.statvfs(small).f_bavail == 0


def test_a_full_cache_keeps_no_backup_from_being_made(mover: Mover, small: Path) -> None:
    (small / "filler").write_bytes(bytes(6_000_000))
    (mover.data / "file").write_bytes(os.urandom(1_000_000))
    ended = mover.act("backup", RESTIC_CACHE_DIR="/mnt/small")
    assert ended.code == 0, ended.output
    assert len(mover.snapshots()) == 1


def test_a_volume_that_is_not_there_is_told(mover: Mover) -> None:
    expect(mover.act("backup", DATA_DIR="/mnt/nowhere"), transfer.SOURCE_UNREADABLE, transfer.REASON_SOURCE_NOT_FOUND)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv")
def test_files_that_may_not_be_read_fail_the_backup_and_forget_nothing(mover: Mover) -> None:
    (mover.data / "file").write_text("x")
    assert mover.act("backup", FORGET_OPTIONS="--keep-last 1").code == 0
    private = mover.data / "private"
    private.write_text("x")
    private.chmod(0o600)
    os.chown(private, 12345, 12345)
    mover.wrapper = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    ended = mover.act("backup", FORGET_OPTIONS="--keep-last 1")
    mover.wrapper = []
    outcome = expect(
        ended, transfer.SOURCE_UNREADABLE, transfer.REASON_SOURCE_UNREADABLE, "private", "moverSecurityContext"
    )
    assert not outcome.retryable
    assert len(mover.snapshots()) == 2
