"""Sources as they are in life: odd names, links, special files, unreadable, vanishing and growing ones. Real engine and servers."""

import contextlib
import gzip
import json
import os
import random
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from datamover.agent.files import names
from datamover.api import transfer
from support.agent import Container
from support.s3 import S3Server, find_rclone, wait_for

ODD = [
    " leading",
    "trailing ",
    "#hash",
    ";semicolon",
    "new\nline",
    "tab\there",
    "100%",
    "a+b c",
    "a&b<c>'\"",
    "back\\slash",
    "[brackets]{braces}*?",
    "~tilde",
    "...",
    ".hidden",
    "e\u0301-decomposed",
    "\u00e9-composed",
    "日本語/файл",
    "\U0001f600",
    "\u201bquote",
    "\u240asymbol",
    "a\uff0fb",
    "\uff0e",
    "\ufffd",
    "COM1",
    "a:b",
    "name.rclonelink",
    "x" * 255,
]
NOT_UTF8 = b"bad\xff\xfename"


def make_odd(container: Container) -> dict[bytes, bytes]:
    content: dict[bytes, bytes] = {}
    for raw in [name.encode() for name in ODD] + [NOT_UTF8]:
        path = os.path.join(os.fsencode(container.data), raw)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        content[raw] = b"content of " + raw
        with open(path, "wb") as file:
            file.write(content[raw])
    return content


def read_back(server: S3Server, target: Path, *, folder: str = "") -> dict[bytes, bytes]:
    """Bring everything back with plain rclone, as somebody without our tool would, and return path to content."""
    program = find_rclone()
    assert program
    subprocess.run(
        [program, "copy", f"back:backups/{folder}", str(target), "--exclude", "/.datamover/**", "--links"],
        env=server.remote("back") | {"RCLONE_LOCAL_ENCODING": "Raw", "RCLONE_NO_UNICODE_NORMALIZATION": "true"},
        check=True,
        capture_output=True,
    )
    found: dict[bytes, bytes] = {}
    root = os.fsencode(target)
    for parent, _, files in os.walk(root):
        for name in files:
            path = os.path.join(parent, name)
            content = os.readlink(path) if os.path.islink(path) else Path(os.fsdecode(path)).read_bytes()
            found[os.path.relpath(path, root)] = content
    return found


def manifest_of(server: S3Server, run: str = "run-1") -> list[dict[str, object]]:
    raw = server.objects(records=True)[f".datamover/runs/{run}/manifest.jsonl.gz"]
    lines = [json.loads(line) for line in gzip.decompress(raw).splitlines()]
    return [line for line in lines if line.get("type") not in {"digest", "digests"}]


def test_odd_names_arrive_change_and_go(any_container: Container, any_s3: S3Server, tmp_path: Path) -> None:
    content = make_odd(any_container)
    del content[b"name.rclonelink"]
    (any_container.data / "name.rclonelink").unlink()  # reads back as a link, see below
    first = any_container.run(VERIFY_BACKUP="true")
    assert first.code == 0, first.output
    assert read_back(any_s3, tmp_path / "first") == content
    unchanged = any_container.run()
    assert unchanged.outcome.transferred_files == 0
    gone = sorted(content)[::3]
    for raw in gone:
        os.unlink(os.path.join(os.fsencode(any_container.data), raw))
        del content[raw]
    second = any_container.run()
    assert second.code == 0, second.output
    assert second.outcome.deleted == len(gone)
    assert read_back(any_s3, tmp_path / "second") == content


def test_names_with_control_characters_arrive_or_are_refused_by_name(
    any_container: Container, any_s3: S3Server
) -> None:
    for name in ("plain", "\x01start", "carriage\rreturn", "100%+"):
        (any_container.data / name).write_text(name)
    ended = any_container.run()
    if ended.code == 0:
        assert ended.outcome.files == 4
        assert any_container.run().outcome.transferred_files == 0
    else:
        assert ended.outcome.reason == transfer.REASON_NAME_REFUSED
        assert "start" in ended.outcome.message
        assert any_s3.objects() == {}


def test_the_engine_spells_names_as_we_think(tmp_path: Path) -> None:
    chosen = random.Random(7)
    letters = [
        *"ab./ \n\t\x01\x1f\x7f",
        "\u201b",
        "\u2400",
        "\u240a",
        "\u241f",
        "\u2420",
        "\u2421",
        "\uff0f",
        "\uff0e",
        "\u00e9",
    ]
    raws: set[bytes] = {name.encode() for name in ODD if "/" not in name} | {NOT_UTF8, b"\xe2\x80", b"\xc3\x28"}
    while len(raws) < 400:
        name = "".join(chosen.choice(letters) for _ in range(chosen.randint(1, 4))).replace("/", "-").encode()
        name += chosen.choice([b"", b"", b"\xff", b"\x80"])
        if name not in (b".", b".."):
            raws.add(name)
    for raw in raws:
        open(os.path.join(os.fsencode(tmp_path), raw), "wb").close()
    program = find_rclone()
    assert program
    listed = subprocess.run(
        [program, "lsf", str(tmp_path)],
        env={"RCLONE_LOCAL_ENCODING": "Raw", "RCLONE_CONFIG": "/dev/null"},
        check=True,
        capture_output=True,
    ).stdout.splitlines()
    assert sorted(listed) == sorted(names.key_of(raw) for raw in raws)
    assert sorted(names.raw_of(key) for key in listed) == sorted(raws)


def test_links_are_kept_and_special_files_are_told(any_container: Container, any_s3: S3Server, tmp_path: Path) -> None:
    data = any_container.data
    (data / "file").write_text("content")
    (data / "relative").symlink_to("file")
    (data / "dangling").symlink_to("/nowhere/at all")
    os.mkfifo(data / "fifo")
    (data / "empty").mkdir()
    os.link(data / "file", data / "second-name")
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(data):  # its path may not be long
        server.bind("socket")
    ended = any_container.run(DATAMOVER_RUN_ID="run-1")
    assert ended.code == 0, ended.output
    assert (ended.outcome.skipped_special, ended.outcome.symlinks, ended.outcome.files) == (2, 2, 4)
    assert set(ended.outcome.problems) == {"fifo", "socket"}
    back = read_back(any_s3, tmp_path / "back")
    assert back == {
        b"file": b"content",
        b"second-name": b"content",
        b"relative": b"file",
        b"dangling": b"/nowhere/at all",
    }
    entries = {str(entry.get("path")): entry for entry in manifest_of(any_s3)}
    assert entries["fifo"]["type"] == "fifo"
    assert entries["socket"]["type"] == "socket"
    assert entries["empty"]["type"] == "directory"
    assert entries["dangling"]["target"] == "/nowhere/at all"
    assert entries["file"]["hardlink"] == entries["second-name"]["hardlink"]


def test_a_link_and_a_file_that_would_be_one_object_are_refused(container: Container, s3: S3Server) -> None:
    (container.data / "x").symlink_to("target")
    (container.data / "x.rclonelink").write_text("a file of that name")
    ended = container.run()
    assert (ended.outcome.failure_class, ended.outcome.reason) == (
        transfer.SOURCE_UNREADABLE,
        transfer.REASON_NAME_COLLISION,
    )
    assert s3.objects(records=True) == {}


def test_a_path_too_long_for_a_key_is_named_before_anything_is_moved(container: Container, s3: S3Server) -> None:
    deep = container.data
    for _ in range(5):
        deep = deep / ("d" * 200)
    deep.mkdir(parents=True)
    (deep / ("f" * 100)).write_text("deep")
    (container.data / "plain").write_text("plain")
    ended = container.run()
    assert ended.outcome.reason == transfer.REASON_NAME_TOO_LONG
    assert "1024 bytes" in ended.outcome.message
    assert ended.outcome.problems[0].startswith("ddd")
    assert s3.objects(records=True) == {}


def test_the_manifest_has_what_a_store_cannot_keep(container: Container, s3: S3Server) -> None:
    data = container.data
    (data / "script").write_text("#!/bin/sh\n")
    os.chmod(data / "script", 0o4751)
    os.utime(data / "script", ns=(1, 1_500_000_000_123_456_789))
    with open(data / "sparse", "wb") as file:
        file.truncate(1 << 20)
    try:
        os.setxattr(data / "script", "user.note", b"\x00remember")
        noted = True
    except OSError:
        noted = False
    container.run(DATAMOVER_RUN_ID="run-1")
    header, *entries = manifest_of(s3)
    assert header["datamover"] == "manifest"
    assert header["source"] == {"cluster": "11111111-2222", "namespace": "production", "pvc": "app-data"}
    by_path = {entry.get("path"): entry for entry in entries}
    script = by_path["script"]
    assert (script["mode"], script["mtime"], script["size"]) == (0o4751, 1_500_000_000_123_456_789, 10)
    assert by_path["sparse"]["sparse"] is True
    if noted:
        assert script["xattrs"] == {"user.note": "AHJlbWVtYmVy"}
    assert entries[0]["type"] == "top"
    assert (entries[0]["mode"], entries[0]["mtime"]) == (data.stat().st_mode & 0o7777, data.stat().st_mtime_ns)
    assert entries[-1] == {"type": "end", "entries": 3}


def close_to(container: Container, path: Path) -> None:
    """Make a path unreadable for the mover: as it is for a Pod's user where the volume ignores fsGroup."""
    os.chmod(path, 0)
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("needs setpriv to take root's right to read everything")
        os.chown(path, 65534, 65534)
        container.wrapper = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def test_unreadable_files_fail_the_run_by_name_and_nothing_is_deleted(container: Container, s3: S3Server) -> None:
    data = container.data
    for number in range(6):
        (data / f"file-{number}").write_text(str(number))
    assert container.run().code == 0
    (data / "file-0").unlink()
    (data / "new").write_text("new")
    (data / "file-1").write_text("one, but secret")
    (data / "closed").mkdir()
    (data / "closed/inner").write_text("inner")
    close_to(container, data / "file-1")
    close_to(container, data / "closed")
    ended = container.run()
    os.chmod(data / "closed", 0o700)
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (
        transfer.SOURCE_UNREADABLE,
        transfer.REASON_SOURCE_UNREADABLE,
    ), ended.output
    assert not outcome.retryable
    assert {"file-1", "closed"} <= set(outcome.problems)
    objects = s3.objects()
    assert objects["new"] == b"new"
    assert objects["file-0"] == b"0"
    assert objects["file-1"] == b"1"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_unreadable_paths_that_filters_admit_delete_nothing(container: Container, s3: S3Server, kind: str) -> None:
    data = container.data
    for number in range(6):
        (data / f"file-{number}").write_text(str(number))
    (data / "closed").mkdir()
    (data / "closed/inner").write_text("inner")
    filters = {"RCLONE_EXCLUDE": "*.tmp"}
    assert container.run(**filters).code == 0
    before = s3.objects()
    (data / "file-0").unlink()
    (data / "closed/inner").write_text("other")
    close_to(container, data / "closed" / "inner" if kind == "file" else data / "closed")
    ended = container.run(**filters)
    os.chmod(data / "closed", 0o700)
    assert ended.outcome.reason == transfer.REASON_SOURCE_UNREADABLE, ended.output
    assert s3.objects() == before


@pytest.mark.parametrize("was_there", [False, True], ids=["new", "changed since the last run"])
def test_a_file_that_vanishes_from_a_live_source_is_no_failure(
    container: Container, s3: S3Server, was_there: bool
) -> None:
    if was_there:
        (container.data / "file-39").write_bytes(b"1" * 50_000)
        assert container.run(DATAMOVER_COPY_METHOD="Direct").code == 0
    for number in range(40):
        (container.data / f"file-{number:02}").write_bytes(bytes(50_000))
    with container.start(
        DATAMOVER_COPY_METHOD="Direct",
        RCLONE_TRANSFERS="1",
        RCLONE_BWLIMIT="400k",
        RCLONE_RETRIES="1",
        RCLONE_VERBOSE="1",
        DATAMOVER_RUN_ID="run-2",
    ) as running:
        wait_for(lambda: "Copied (new)" in running.output)
        (container.data / "file-39").unlink()
        ended = running.wait()
    assert ended.code == 0, ended.output
    assert "1 file(s) vanished from the live source" in ended.outcome.message
    found = s3.objects()
    assert len(found) == 39 + was_there
    assert not was_there or found["file-39"] == b"1" * 50_000
    assert {"type": "vanished", "path": "file-39"} in manifest_of(s3, "run-2")


def test_a_file_of_a_live_source_that_was_gone_for_a_moment_is_not_taken_for_its_older_object(
    container: Container, s3: S3Server
) -> None:
    for number in range(40):
        (container.data / f"file-{number:02}").write_bytes(bytes(50_000))
    (container.data / "file-39").write_bytes(b"1" * 50_000)
    assert container.run(DATAMOVER_COPY_METHOD="Direct").code == 0
    for number in range(40):
        (container.data / f"file-{number:02}").write_bytes(b"2" * 50_000)
    slow = {"RCLONE_TRANSFERS": "1", "RCLONE_CHECKERS": "1", "RCLONE_BWLIMIT": "400k", "RCLONE_RETRIES": "1"}
    with container.start(DATAMOVER_COPY_METHOD="Direct", RCLONE_VERBOSE="1", **slow) as running:
        wait_for(lambda: "Copied (" in running.output)
        (container.data / "file-39").unlink()
        wait_for(lambda: "file-38: Copied (" in running.output and "file-37: Copied (" in running.output)
        (container.data / "file-39").write_bytes(b"2" * 50_000)
        ended = running.wait()
    assert s3.objects()["file-39"] == b"1" * 50_000 or ended.code == 0
    assert ended.code == 0 or ended.outcome.reason == transfer.REASON_SOURCE_CHANGED, ended.output


def test_what_a_live_source_brings_beyond_the_intent_is_known_afterwards(container: Container, s3: S3Server) -> None:
    for number in range(20):
        (container.data / f"d{number:02}").mkdir()
        (container.data / f"d{number:02}" / "file").write_bytes(bytes(50_000))
    with container.start(
        DATAMOVER_COPY_METHOD="Direct",
        RCLONE_TRANSFERS="1",
        RCLONE_CHECKERS="1",
        RCLONE_BWLIMIT="400k",
        RCLONE_MAX_BACKLOG="1",
        RCLONE_VERBOSE="1",
    ) as running:
        wait_for(lambda: "Copied (new)" in running.output)
        (container.data / "d19" / "late").write_text("late")
        ended = running.wait()
    assert ended.code == 0, ended.output
    again = container.run(DATAMOVER_COPY_METHOD="Direct")
    assert again.code == 0, again.output
    assert s3.objects()["d19/late"] == b"late"


def test_a_file_that_grows_all_the_time_is_told_as_a_changing_source(container: Container, s3: S3Server) -> None:
    for number in range(3):
        (container.data / f"file-{number}").write_text("quiet")
    stop = threading.Event()

    def grow() -> None:
        with open(container.data / "log", "ab", buffering=0) as log:
            while not stop.is_set():
                log.write(bytes(4096))
                stop.wait(0.001)

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        ended = container.run(DATAMOVER_COPY_METHOD="Direct", RCLONE_BWLIMIT="300k")
    finally:
        stop.set()
        thread.join()
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (transfer.SOURCE_CHANGED, transfer.REASON_SOURCE_CHANGED), (
        ended.output
    )
    assert outcome.retryable
    assert len([key for key in s3.objects() if key.startswith("file-")]) == 3


def test_filters_of_the_user_choose_and_protect(container: Container, s3: S3Server) -> None:
    for name in ("a.txt", "b.tmp", "c.txt", "d.txt", "e.txt"):
        (container.data / name).write_text(name)
    first = container.run()
    assert first.code == 0
    (container.data / "c.txt").unlink()
    (container.data / "b.tmp").write_text("changed")
    second = container.run(RCLONE_EXCLUDE="*.tmp", VERIFY_BACKUP="true")
    assert second.code == 0, second.output
    assert second.outcome.files == 3
    assert s3.objects()["b.tmp"] == b"b.tmp"
    assert "c.txt" not in s3.objects()
    third = container.run(VERIFY_BACKUP="true")
    assert third.code == 0, third.output
    assert s3.objects()["b.tmp"] == b"changed"


def test_what_filters_leave_out_need_not_have_a_fit_name(container: Container, s3: S3Server) -> None:
    (container.data / "fine").write_text("fine")
    (container.data / "x").symlink_to("target")
    (container.data / "x.rclonelink").write_text("collides, but stays")
    (container.data / "lost+found").mkdir(mode=0)
    ended = container.run(RCLONE_EXCLUDE="x.rclonelink")
    assert ended.code == 0, ended.output
    assert set(s3.objects()) == {"fine"}


def test_links_that_the_user_lets_it_follow_are_files(container: Container, s3: S3Server, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/inner").write_text("inner")
    (container.data / "folder").symlink_to(tmp_path / "elsewhere")
    (container.data / "plain").write_text("plain")
    for expected in (2, 0):
        ended = container.run(RCLONE_COPY_LINKS="true", VERIFY_BACKUP="true")
        assert ended.code == 0, ended.output
        assert (ended.outcome.files, ended.outcome.transferred_files, ended.outcome.deleted) == (2, expected, 0)
    assert s3.objects() == {"folder/inner": b"inner", "plain": b"plain"}
