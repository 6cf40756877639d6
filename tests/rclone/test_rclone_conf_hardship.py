"""The rclone mover of ReplicationSources and ReplicationDestinations: servers, authorities, volumes and configurations that are not as they should be."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from datamover.agent.rclone_conf import modes
from support.answering import Answering, s3_error
from support.certificates import make_certificate
from support.rclone_conf import Mover, local_place, served_place
from support.s3 import S3Server, find_rclone, run_server, s3

__all__ = ["s3"]

QUICK = {"RCLONE_RETRIES": "1", "RCLONE_LOW_LEVEL_RETRIES": "1", "DATAMOVER_OUTAGE_LIMIT": "2"}
AUTHORITIES = {"right": None, "of another": "other", "empty": "", "garbage": "hello"}


@pytest.mark.parametrize("case", AUTHORITIES)
def test_only_the_authority_that_signed_lets_a_server_be_trusted(tmp_path: Path, case: str) -> None:
    certificate, key = make_certificate(tmp_path)
    for server in run_server("rclone", tmp_path, tls=(certificate, key)):
        server.bucket()
        place = served_place(server)
        place.options["endpoint"] = f"https://127.0.0.1:{server.port}"
        source = Mover(tmp_path / "source", place, source=True)
        (source.data / "a").write_text("a")
        folder = source.container.root / "customca"
        folder.mkdir()
        given = AUTHORITIES[case]
        if given == "other":
            make_certificate(folder)[0].rename(folder / "ca.crt")
        else:
            (folder / "ca.crt").write_text(certificate.read_text() if given is None else given)
        ended = source.run(CUSTOM_CA="/customca/ca.crt", SSL_CERT_FILE=None, **QUICK)
        if given is None:
            assert ended.code == 0, ended.output
        else:
            assert ended.outcome.reason == "TLSUntrusted", ended.output
            assert "spec.rclone.customCA" in ended.outcome.message
            assert not server.objects()


REFUSALS = {
    "no writing": ("PUT", s3_error(403, "AccessDenied", "Access Denied."), "AccessDenied", "put and delete"),
    "no deleting": ("DELETE POST", s3_error(403, "AccessDenied", "Access Denied."), "AccessDenied", "put and delete"),
    "full": ("PUT", s3_error(403, "QuotaExceeded", "Bucket quota exceeded"), "NoSpaceLeft", "Make room there"),
    "busy": (
        "GET PUT",
        s3_error(503, "SlowDown", "Please reduce your request rate."),
        "ServerError",
        "RCLONE_TPSLIMIT",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_a_server_refuses_is_told_and_deletes_nothing(tmp_path: Path, s3: S3Server, case: str) -> None:
    methods, reply, reason, told = REFUSALS[case]
    s3.bucket()
    s3.put({"volumes/old": "old"})
    with Answering(s3.port, lambda request: reply if request.method in methods.split() else None) as proxy:
        place = served_place(s3)
        place.options["endpoint"] = f"http://127.0.0.1:{proxy.port}"
        source = Mover(tmp_path / "source", place, source=True)
        (source.data / "a").write_text("a")
        ended = source.run(**QUICK)
    assert ended.outcome.reason == reason, ended.output
    assert told in ended.outcome.message
    assert place.files()["old"] == b"old"


def test_a_file_of_windows_lines_is_an_rclone_conf_too(tmp_path: Path) -> None:
    place = local_place(tmp_path / "remote")
    source = Mover(tmp_path / "source", place, source=True)
    (source.data / "a").write_text("a")
    source.configuration.write_bytes(b"\xef\xbb\xbf" + place.configuration.replace("\n", "\r\n").encode())
    assert source.run(RCLONE_DEST_PATH=f"{place.path}\n", RCLONE_CONFIG_SECTION="store\n").code == 0
    assert "a" in place.files()


def test_a_variable_that_lets_everything_go_to_memory_is_no_backup(tmp_path: Path) -> None:
    place = local_place(tmp_path / "remote")
    source = Mover(tmp_path / "source", place, source=True)
    (source.data / "a").write_text("a")
    ended = source.run(RCLONE_CONFIG_STORE_TYPE="memory")
    assert ended.outcome.reason == "InvalidConfiguration"
    assert "gone with its Pod" in ended.outcome.message


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv")
def test_a_file_that_may_not_be_read_keeps_its_old_copy(tmp_path: Path) -> None:
    place = local_place(tmp_path / "remote")
    place.put("b", "old")
    place.put("gone", "old")
    source = Mover(tmp_path / "source", place, source=True)
    (source.data / "a").write_text("a")
    (source.data / "b").write_text("b")
    os.chown(source.data / "b", 12345, 12345)
    (source.data / "b").chmod(0o600)
    source.container.wrapper = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    ended = source.run(**QUICK)
    assert ended.outcome.reason == "SourceUnreadable", ended.output
    assert "moverSecurityContext" in ended.outcome.message
    assert (place.files()["b"], place.files()["gone"]) == (b"old", b"old")


def test_a_restore_leads_nothing_out_of_the_volume_by_its_links(tmp_path: Path) -> None:
    place = local_place(tmp_path / "remote")
    for name in ("folder/file", "deep/folder/file", "top"):
        place.put(name, "restored")
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "file").write_text("theirs")
    (outside / "folder" / "file").write_text("theirs")
    back = Mover(tmp_path / "destination", place, source=False)
    (back.data / "folder").symlink_to(outside)
    (back.data / "deep").symlink_to(outside)
    (back.data / "other").symlink_to(outside)
    (back.data / "top").symlink_to(outside / "file")
    ended = back.run()
    assert ended.code == 0, ended.output
    assert "2 symbolic links to a folder replaced" in ended.outcome.message
    assert (outside / "file").read_text() == (outside / "folder" / "file").read_text() == "theirs"
    assert (back.data / "deep" / "folder" / "file").read_text() == "restored"
    assert (back.data / "other").is_symlink()


def test_a_link_that_rclone_writes_in_its_own_way_leads_nothing_out_either(tmp_path: Path) -> None:
    place = local_place(tmp_path / "remote")
    outside = tmp_path / "outside"
    outside.mkdir()
    back = Mover(tmp_path / "destination", place, source=False)
    odd = ["new\nline", "del\x7f", os.fsdecode(b"latin-\xe9"), "pic\u240a", "wide\uff0e", "quo\u201bte", "\u201b"]
    for name in odd:
        place.put(f"{name}/{len(name)}", "restored")
        (back.data / name).symlink_to(outside)
    back.run(**QUICK)
    assert os.listdir(outside) == []


def test_a_store_without_checksums_and_times_gets_new_modes_and_what_it_does_not_get_is_told(tmp_path: Path) -> None:
    place = local_place(tmp_path / "remote")
    with serve_webdav(place.folder) as port:
        place.options = {"type": "webdav", "url": f"http://127.0.0.1:{port}", "vendor": "other"}
        source = Mover(tmp_path / "source", place, source=True)
        changes = {"RCLONE_DEST_PATH": "volume", **QUICK}
        (source.data / "a").write_text("one")
        (source.data / "a").chmod(0o600)
        assert source.run(**changes).code == 0
        modes_before = place.files()["volume/permissions.facl"]
        (source.data / "a").write_text("two")
        (source.data / "a").chmod(0o060)
        told = source.run(**changes).outcome
        assert told.succeeded
        assert "by their size alone" in told.message
        assert told.comparison == "size"
        now = place.files()
        assert len(now["volume/permissions.facl"]) == len(modes_before)
        assert now["volume/permissions.facl"] != modes_before
        everything = source.run(RCLONE_IGNORE_TIMES="true", **changes)
        assert everything.code == 0, everything.output
        assert place.files()["volume/a"] == b"two"


@pytest.mark.parametrize(
    "way", ["a variable", "the file", "the file, and a variable for what it is", "a remote in a remote", "a plugin"]
)
def test_a_file_of_the_volume_names_no_program_that_is_run(tmp_path: Path, way: str) -> None:
    place = local_place(tmp_path / "remote")
    source = Mover(tmp_path / "source", place, source=True)
    profile, ran = source.data / "profile", tmp_path / "ran"
    profile.write_text(f"[default]\ncredential_process = touch {ran}\n")
    place.options = {"provider": "Other", "env_auth": "true", "endpoint": "http://127.0.0.1:1"}
    changes = {"RCLONE_CONFIG_STORE_TYPE": "s3"}
    if way == "a variable":
        changes["RCLONE_CONFIG_STORE_SHARED_CREDENTIALS_FILE"] = str(profile)
    elif way == "a plugin":
        changes["RCLONE_PLUGIN_PATH"] = str(source.data)
    elif way == "a remote in a remote":
        changes["RCLONE_CONFIG_STORE_TYPE"] = "alias"
        place.options = {"remote": f":s3,env_auth,endpoint='http://127.0.0.1:1',shared_credentials_file='{profile}':b"}
    else:
        place.options["shared_credentials_file"] = str(profile)
        if way == "the file":
            place.options["type"] = "s3"
    source.configuration.write_text(place.configuration)
    ended = source.run(**QUICK, **changes)
    assert not ran.exists()
    assert ended.outcome.reason == "InvalidConfiguration", ended.output
    assert "runs a program" in ended.outcome.message


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("who", ["the agent", "rclone"])
def test_what_is_killed_at_any_step_is_tried_again_and_the_next_one_completes(
    tmp_path: Path, who: str, number: int
) -> None:
    place = local_place(tmp_path / "remote")
    place.put("gone", "old")
    source = Mover(tmp_path / "source", place, source=True)
    for name in ("a", "b"):
        (source.data / name).write_text(name)
    killer = tmp_path / "rclone"
    victim = "$PPID" if who == "the agent" else "$$"
    killer.write_text(
        f'#!/bin/sh\necho x >> {tmp_path}/count\n[ $(wc -l < {tmp_path}/count) = {number} ] && kill -9 {victim}\nexec {find_rclone()} "$@"\n'
    )
    killer.chmod(0o755)
    ended = source.run(DATAMOVER_RCLONE=str(killer), **QUICK)
    if who == "the agent":
        assert ended.code == -9
        assert not ended.message
    else:
        assert (ended.outcome.reason, ended.outcome.retryable) == ("OutOfMemory", True), ended.output
    assert source.run(**QUICK).code == 0
    assert set(place.files()) == {"a", "b", "permissions.facl"}
    assert place.files()["permissions.facl"].count(b"# file: ") == 3


@contextmanager
def serve_webdav(folder: Path) -> Iterator[int]:
    """Serve a folder by a protocol that has neither checksums nor times."""
    rclone = find_rclone()
    assert rclone is not None
    process = subprocess.Popen(
        [rclone, "serve", "webdav", "--addr", "127.0.0.1:0", "--config", "", str(folder)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        found = next(match for line in process.stderr if (match := re.search(r"http://127\.0\.0\.1:([0-9]+)", line)))
        yield int(found[1])
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_a_list_of_modes_without_end_is_not_read(tmp_path: Path) -> None:
    place = local_place(tmp_path / "remote")
    place.put("a", "restored")
    with (place.folder / "permissions.facl").open("wb") as file:
        file.truncate(16 * modes.LIMIT)
    back = Mover(tmp_path / "destination", place, source=False)
    ended = back.run()
    assert ended.code == 0, ended.output
    assert "permissions.facl is larger than 256 MiB and is not read" in ended.outcome.message
    assert (back.data / "a").read_text() == "restored"
