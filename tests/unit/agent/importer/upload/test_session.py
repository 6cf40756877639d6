"""The importer as a server, as its container runs it: a process that waits, takes one upload, and ends with an outcome that tells of it."""

import contextlib
import gzip
import hashlib
import http.client
import io
import re
import signal
import socket
import ssl
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from datamover.api import upload
from support.agent import Container, Running
from support.certificates import make_certificate
from support.importing import MIB, Volume
from support.uploads import KEY, UID, wait_until

DISK = bytes(range(256)) * 8192


@contextlib.contextmanager
def waiting(root: Path, **changes: str) -> Iterator[tuple[Running, int]]:
    """Run an importer until it waits for an upload; yield it and its port."""
    volume = Volume(root)
    certificate, key = make_certificate(root)
    for name in ("tls", "token"):
        (root / name).mkdir()
    certificate.rename(root / "tls" / upload.CERTIFICATE)
    key.rename(root / "tls" / upload.PRIVATE_KEY)
    (root / "token" / upload.KEY).write_bytes(KEY)
    variables = volume.variables(SOURCE="upload", UPLOAD_UID=UID, LISTEN_PORT="0", **changes)
    with Container(root, variables, arguments=["importer"]).start() as running:
        wait_until(lambda: "Waiting for an upload" in running.output or running.process.poll() is not None)
        found = re.search(r"on port (\d+)", running.output)
        assert found, running.output
        yield running, int(found[1])


def send(port: int, body: bytes, *, path: str = upload.PATH) -> tuple[int, upload.Received | None]:
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=ssl._create_unverified_context(), timeout=60)
    token = upload.sign(KEY, uid=UID, now=time.time())
    with contextlib.closing(connection):
        connection.request("PUT", path, body=body, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, upload.read_received(answer.read())


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_g8_a_disk_that_is_packed_lies_on_the_volume_before_it_is_called_complete(tmp_path: Path) -> None:
    packed = gzip.compress(DISK)
    with waiting(tmp_path) as (running, port):
        status, answer = send(port, packed)
        assert status == 200
        assert answer is not None
        assert (answer.checksum, answer.bytes, answer.disk) == (digest(packed), len(packed), 8 * MIB)
        assert (tmp_path / "data" / "disk.img").read_bytes()[: len(DISK)] == DISK
        ended = running.wait()
    assert ended.code == 0
    assert ended.outcome.succeeded
    assert (ended.outcome.bytes, ended.outcome.transferred_bytes) == (8 * MIB, len(packed))
    assert digest(packed) in ended.outcome.message


def test_a_stop_is_heard_also_while_a_client_is_silent_and_nothing_is_left(tmp_path: Path) -> None:
    context = ssl._create_unverified_context()
    with waiting(tmp_path) as (running, port):
        bare = socket.create_connection(("127.0.0.1", port), timeout=30)
        with contextlib.closing(context.wrap_socket(bare)) as connection:
            token = upload.sign(KEY, uid=UID, now=time.time())
            head = f"PUT {upload.PATH} HTTP/1.1\r\nContent-Length: 99999\r\nAuthorization: Bearer {token}\r\n\r\n"
            connection.sendall(head.encode() + b"abc")
            wait_until(lambda: "An upload begins" in running.output)
            begun = time.monotonic()
            running.terminate()
            answer = connection.makefile("rb").read()
        ended = running.wait()
    assert time.monotonic() - begun < 15, "and not a minute"
    assert ended.outcome.reason == "Interrupted"
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert list((tmp_path / "data").iterdir()) == []


def test_what_is_no_disk_or_too_large_is_refused_and_the_next_one_is_taken(tmp_path: Path) -> None:
    with waiting(tmp_path) as (running, port):
        status, answer = send(port, b"<!doctype html><html>login</html>")
        assert status not in (200, 500)
        assert answer is not None
        assert answer.reason
        status, answer = send(port, bytes(9 * MIB))
        assert status == 413
        assert not (tmp_path / "data" / "disk.img").exists()
        assert send(port, DISK)[0] == 200
        assert running.wait().outcome.succeeded
    assert (tmp_path / "data" / "disk.img").read_bytes()[: len(DISK)] == DISK


def test_an_upload_that_is_cut_leaves_nothing_and_a_stop_ends_the_waiting(tmp_path: Path) -> None:
    with waiting(tmp_path) as (running, port):
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=ssl._create_unverified_context())
        connection.putrequest("PUT", upload.PATH)
        connection.putheader("Authorization", f"Bearer {upload.sign(KEY, uid=UID, now=time.time())}")
        connection.putheader("Content-Length", str(len(DISK)))
        connection.endheaders()
        connection.send(DISK[:MIB])
        connection.close()
        wait_until(lambda: "The upload was cut" in running.output)
        assert not list((tmp_path / "data").iterdir())
        running.process.send_signal(signal.SIGTERM)
        ended = running.wait()
    assert (ended.code, ended.outcome.reason) == (143, "Interrupted")


def test_an_archive_becomes_files(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo("folder/file")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"hello"))
    with waiting(tmp_path, CONTENT_TYPE="archive") as (running, port):
        assert send(port, stream.getvalue())[0] == 400
        assert send(port, stream.getvalue(), path=upload.ARCHIVE_PATH)[0] == 200
        assert running.wait().outcome.succeeded
    assert (tmp_path / "data" / "folder" / "file").read_bytes() == b"hello"


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"UPLOAD_UID": ""}, "UPLOAD_UID"), ({"LISTEN_PORT": "x"}, "LISTEN_PORT"), ({}, "certificate")],
)
def test_an_environment_that_is_wrong_is_told(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    ended = Volume(tmp_path).run(SOURCE="upload", **{"UPLOAD_UID": UID, "LISTEN_PORT": "0", **changes})
    assert ended.outcome.reason == "InvalidConfiguration"
    assert words in ended.outcome.message
