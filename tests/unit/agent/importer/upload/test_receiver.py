"""The receiver of an upload, over TLS on loopback: who is let in, one at a time, and what becomes of bytes that are cut, changed or too many."""

import contextlib
import hashlib
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from datamover.agent.errors import Failure, Misconfigured
from datamover.agent.importer.upload import receiver, wire
from datamover.agent.importer.upload.receiver import load_tls
from datamover.api import transfer, upload
from support.uploads import DISK, KEY, UID, Running, running, wait_until


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("receiver")) as found:
        yield found


@pytest.fixture
def one(shared: Running) -> Running:
    """The receiver of all tests here, which remembers nothing of the test before."""
    wait_until(lambda: shared.send(b"", method="HEAD")[0] == 200)
    for each in (shared.taken, shared.failures, shared.said):
        each.clear()
    return shared


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("path", [upload.PATH, "/v1alpha1/upload", f"{upload.PATH}?name=x"])
def test_g8_a_disk_that_is_sent_with_a_token_arrives_and_its_checksum_is_told_back(
    one: Running, method: str, path: str
) -> None:
    status, answer = one.send(DISK, method=method, path=path)
    assert status == 200
    assert answer is not None
    assert (answer.checksum, answer.bytes, answer.disk) == (digest(DISK), len(DISK), len(DISK))
    assert one.taken == [DISK]


def test_a_disk_of_unknown_length_comes_in_chunks(one: Running) -> None:
    status, answer = one.send(iter([DISK[:1000], DISK[1000:]]), Transfer_Encoding="chunked")
    assert status == 200
    assert answer is not None
    assert answer.checksum == digest(DISK)
    assert one.taken == [DISK]


def test_the_token_may_come_in_a_header_of_its_own_for_proxies_that_keep_the_other(one: Running) -> None:
    connection = one.connect()
    with contextlib.closing(connection):
        connection.request("PUT", upload.PATH, body=DISK, headers={upload.TOKEN_HEADER: one.token()})
        assert connection.getresponse().status == 200


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("", "not one of this receiver"),
        ("nonsense", "not one of this receiver"),
        (upload.sign(b"o" * 32, uid=UID, now=time.time()), "not one of this receiver"),
        (upload.sign(KEY, uid="another", now=time.time()), "another DataVolume"),
        (upload.sign(KEY, uid=UID, now=time.time() - 7200), "expired"),
    ],
    ids=["none", "nonsense", "of another key", "of another DataVolume", "expired"],
)
def test_nothing_is_read_without_a_token_that_is_right(one: Running, token: str, why: str) -> None:
    status, answer = one.send(DISK, token=token)
    assert status == 401
    assert answer is not None
    assert answer.reason == upload.REASON_TOKEN_REFUSED
    assert why in answer.message
    assert not one.taken
    assert one.send(DISK)[0] == 200, "and the right one is let in afterwards"


def test_a_client_that_asks_first_is_answered_before_it_sends(one: Running) -> None:
    head = f"PUT {upload.PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n"
    assert one.say(f"{head}Authorization: Bearer wrong\r\n\r\n".encode()) == b"HTTP/1.1 401 Unauthorized"
    assert one.say(f"{head}Authorization: Bearer {one.token()}\r\n\r\nabc".encode()) == b"HTTP/1.1 100 Continue"


def test_the_right_checksum_is_taken_and_a_wrong_one_refuses_all_of_it(one: Running) -> None:
    status, answer = one.send(DISK, X_Datamover_Checksum=digest(b"another"))
    assert status == 422
    assert answer is not None
    assert answer.reason == upload.REASON_CHECKSUM_DIFFERS
    assert not one.taken
    status, _ = one.send(DISK, X_Datamover_Checksum=digest(DISK).upper().replace("SHA256", "sha256"))
    assert status == 200
    assert one.taken == [DISK]


def test_an_upload_that_is_cut_counts_for_nothing_and_the_next_one_begins_anew(one: Running) -> None:
    with contextlib.closing(one.open()) as connection:
        head = f"PUT {upload.PATH} HTTP/1.1\r\nContent-Length: {len(DISK)}\r\nAuthorization: Bearer {one.token()}\r\n"
        connection.sendall(f"{head}\r\n".encode() + DISK[:5000])
    wait_until(lambda: bool(one.failures))
    assert one.failures[0].reason == upload.REASON_CUT
    assert "after 5000 bytes" in one.failures[0].message
    assert not one.taken
    assert one.send(DISK)[0] == 200
    assert one.taken == [DISK]


def test_a_client_that_falls_silent_does_not_keep_others_out_for_ever(tmp_path: Path) -> None:
    with running(tmp_path, idle=0.6) as one, contextlib.closing(one.open()) as connection:
        head = f"PUT {upload.PATH} HTTP/1.1\r\nContent-Length: 9\r\nAuthorization: Bearer {one.token()}\r\n"
        connection.sendall(f"{head}\r\nabc".encode())
        wait_until(lambda: bool(one.failures))
        assert "nothing came any more" in one.failures[0].message
        assert one.failures[0].reason == upload.REASON_TOO_SLOW
        assert one.send(DISK)[0] == 200


def drip(one: Running, connection: ssl.SSLSocket, *, chunked: bool) -> None:
    """Send a byte a tenth of a second until the receiver has had enough."""
    how = "Transfer-Encoding: chunked" if chunked else "Content-Length: 999999"
    connection.sendall(f"PUT {upload.PATH} HTTP/1.1\r\n{how}\r\nAuthorization: Bearer {one.token()}\r\n\r\n".encode())
    end = time.monotonic() + 20
    while not one.failures and time.monotonic() < end:
        with contextlib.suppress(OSError):
            connection.sendall(b"1\r\na\r\n" if chunked else b"a")
        time.sleep(0.1)


@pytest.mark.parametrize("chunked", [True, False], ids=["chunks", "a length"])
def test_a_client_that_drips_makes_way_for_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunked: bool
) -> None:
    monkeypatch.setattr(wire, "_WINDOW", 1.0)
    with running(tmp_path) as one, contextlib.closing(one.open()) as connection:
        drip(one, connection, chunked=chunked)
        assert one.failures[0].reason == upload.REASON_TOO_SLOW
        assert "1024 bytes a second" in one.failures[0].message
        assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 400 ")
        assert one.send(DISK)[0] == 200


def test_an_upload_has_an_end_however_fast_it_comes(tmp_path: Path) -> None:
    with running(tmp_path, limit=1.0) as one, contextlib.closing(one.open()) as connection:
        drip(one, connection, chunked=True)
        assert one.failures[0].reason == upload.REASON_TOO_LONG
        assert "--datavolume-deadline" in one.failures[0].message
        assert one.send(DISK)[0] == 200


def test_time_that_the_disk_takes_is_not_counted_against_a_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "_WINDOW", 0.5)

    def refuse(_: bytes) -> None:
        time.sleep(1.0)

    with running(tmp_path, refuse=refuse) as one:
        assert one.send(DISK)[0] == 200


def test_of_two_at_once_the_second_is_told_to_wait(one: Running) -> None:
    with contextlib.closing(one.open()) as first:
        head = f"PUT {upload.PATH} HTTP/1.1\r\nContent-Length: 4\r\nAuthorization: Bearer {one.token()}\r\n"
        first.sendall(f"{head}\r\nab".encode())
        wait_until(lambda: one.send(b"", method="HEAD")[0] == 503)
        status, answer = one.send(DISK)
        assert status == 503
        assert answer is not None
        assert answer.reason == upload.REASON_BUSY
        first.sendall(b"cd")
        assert first.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
    assert one.taken == [b"abcd"]


def test_what_the_disk_does_not_take_is_told_and_another_upload_may_follow(tmp_path: Path) -> None:
    def refuse(data: bytes) -> Failure | None:
        if len(data) > 10:
            return Failure(transfer.NO_SPACE, transfer.REASON_TOO_LARGE, "it does not fit: make the claim larger")
        return Failure(transfer.NO_SPACE, transfer.REASON_NO_SPACE, "full") if len(data) > 5 else None

    with running(tmp_path, refuse=refuse) as one:
        status, answer = one.send(DISK)
        assert status == 413
        assert answer is not None
        assert answer.message == "it does not fit: make the claim larger"
        assert one.send(b"123456")[0] == 507
        assert one.send(b"123")[0] == 200


def test_files_go_to_a_place_of_their_own(tmp_path: Path, one: Running) -> None:
    assert one.send(DISK, path=upload.ARCHIVE_PATH)[0] == 400
    other = tmp_path / "archive"
    other.mkdir()
    with running(other, archive=True) as files:
        status, answer = files.send(DISK)
        assert status == 400
        assert answer is not None
        assert upload.ARCHIVE_PATH in answer.message
        assert files.send(DISK, path=upload.ARCHIVE_PATH)[0] == 200


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"PUT /v1beta1/upload HTTP/2.0\r\n\r\n", 400),
        (b"PUT /v1beta1/upload HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"PUT /v1beta1/upload HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        (b"PUT /v1beta1/upload HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 400),
        (b"PUT /v1beta1/upload HTTP/1.1\r\nx: " + b"y" * 40000 + b"\r\n\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 200),
        (b"PUT /healthz HTTP/1.1\r\n\r\n", 405),
        (b"GET /v1beta1/upload HTTP/1.1\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"POST /v1beta1/upload-form HTTP/1.1\r\n\r\n", 404),
        (b"HEAD /v1beta1/upload-async HTTP/1.1\r\n\r\n", 404),
    ],
)
def test_who_says_something_else_is_answered_with_what_is_wrong(one: Running, raw: bytes, status: int) -> None:
    assert one.say(raw).startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("", 411),
        ("Content-Length: -1", 400),
        ("Content-Length: 99999999999999999999999", 400),
        ("Content-Length: 3\r\nContent-Length: 3", 400),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: gzip", 400),
        ("Content-Length: +3", 400),
        ("Content-Length: 3\r\nContent-Encoding: br", 415),
        ("Content-Length: 3\r\nContent-Encoding: gzip\r\nContent-Encoding: br", 400),
        ("Content-Length: 3\r\nX-Datamover-Checksum: md5:00", 400),
    ],
)
def test_a_body_whose_end_is_not_clear_is_not_read(one: Running, headers: str, status: int) -> None:
    lines = "\r\n".join(filter(None, [f"Authorization: Bearer {one.token()}", headers]))
    assert one.say(f"PUT {upload.PATH} HTTP/1.1\r\n{lines}\r\n\r\nabc".encode()).split()[1] == str(status).encode()
    assert not one.taken


@pytest.mark.parametrize(
    "chunks", [b"zz\r\n", b"-1\r\nx", b"3\r\nabcd\r\n", b"f" * 400, b"ffffffffffffffff\r\n", b"\r\n"]
)
def test_chunks_that_are_none_cut_the_upload(one: Running, chunks: bytes) -> None:
    head = f"PUT {upload.PATH} HTTP/1.1\r\nAuthorization: Bearer {one.token()}\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert one.say(head.encode() + chunks).split()[1] == b"400"
    assert one.failures[0].reason == upload.REASON_CUT
    assert not one.taken


def test_many_that_say_nothing_do_not_keep_one_out_for_long(one: Running) -> None:
    silent = [socket.create_connection(("127.0.0.1", one.receiver.port)) for _ in range(12)]
    try:
        assert one.send(DISK)[0] == 200
    finally:
        for each in silent:
            each.close()


def test_handshakes_that_drip_are_ended_in_time(one: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "_HEAD_SECONDS", 1.0)
    with socket.create_connection(("127.0.0.1", one.receiver.port), timeout=20) as dripping:
        dripping.sendall(b"\x16\x03\x01\x02\x00")
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - begun < 10:
                dripping.sendall(b"\1")
                dripping.settimeout(0.2)
                with contextlib.suppress(TimeoutError):
                    if not dripping.recv(100):
                        break
        assert time.monotonic() - begun < 5


def test_a_stop_ends_an_upload_and_the_waiting_for_one(tmp_path: Path) -> None:
    with running(tmp_path) as one, contextlib.closing(one.open()) as connection:
        head = f"PUT {upload.PATH} HTTP/1.1\r\nContent-Length: 9\r\nAuthorization: Bearer {one.token()}\r\n"
        connection.sendall(f"{head}\r\nabc".encode())
        wait_until(lambda: one.send(b"", method="HEAD")[0] == 503)
        begun = time.monotonic()
    assert not one.taken
    assert time.monotonic() - begun < 10, "a silent client does not delay it"


def test_no_answer_and_no_line_has_the_token(one: Running) -> None:
    token = one.token()
    _, answer = one.send(DISK, token=token)
    _, refused = one.send(DISK, token=f"{token}x")
    assert token not in f"{msgspec.json.encode([answer, refused])!r}{one.said}"


def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="certificate"):
        load_tls(str(tmp_path / "missing"), str(tmp_path / "missing"))
