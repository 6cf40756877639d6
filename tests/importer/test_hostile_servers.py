"""Servers that want a wrong disk to be called a good one, or the worker to hang, to hammer, or to repeat a secret."""

import gzip
import hashlib
import os
import socket
import threading
import time

import pytest

from datamover.agent.importer import connection, disk
from support.certificates import make_certificate
from support.image_server import ImageServer, Plain, Request, Says, serving
from support.importing import MIB, Volume, noise, refused, succeeded

IMAGE = noise(MIB + 12345)
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(IMAGE), IMAGE)
SIZED = f"Content-Length: {len(IMAGE)}"


def says(*lines: str, body: bytes = IMAGE):
    def answer(_: Request, send) -> None:
        send("\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode("latin-1") + body)

    return answer


# --- what the body is ----------------------------------------------------------------------------------------------------

CODED = {
    "brotli": (says(SIZED, "Content-Encoding: br"), "ServerError"),
    "deflate": (says(SIZED, "Content-Encoding: deflate"), "ServerError"),
    "two codings": (says(SIZED, "Content-Encoding: gzip, br"), "ServerError"),
    "a coding of the transfer": (says("Transfer-Encoding: gzip, chunked", body=CHUNKED), "ServerError"),
    "a coding that nobody knows": (says("Transfer-Encoding: x-odd", body=IMAGE), "ServerError"),
    "two lengths": (says("Content-Length: 100", SIZED), "ServerError"),
    "a length that is none": (says("Content-Length: many"), "ServerError"),
    "a length below zero": (says("Content-Length: -1"), "ServerError"),
    "a length with an underscore": (says("Content-Length: 1_000"), "ServerError"),
    "a chunk below zero": (says("Transfer-Encoding: chunked", body=b"-5\r\n" + IMAGE), "ServerUnreachable"),
}  # fmt: skip


@pytest.mark.parametrize("case", CODED)
def test_a_body_that_is_not_the_plain_bytes_of_a_known_length_is_never_written_as_a_disk(
    volume: Volume, server: ImageServer, case: str
) -> None:
    server.objects["/image"], reason = CODED[case]
    ended = volume.run(URL=server.url("/image"), DATAMOVER_OUTAGE_LIMIT="1")
    if case == "a chunk below zero":
        assert ended.outcome.reason in {reason, "SourceChanged"}, ended.outcome
    else:
        refused(ended, reason)
    assert volume.left() == []


def test_a_file_that_is_packed_and_called_so_is_read_like_one_that_is_not_called_so(
    volume: Volume, server: ImageServer
) -> None:
    for name in ("gzip", "x-gzip", "identity"):
        server.objects["/image"] = Plain(gzip.compress(IMAGE), headers={"Content-Encoding": name})
        succeeded(volume.run(URL=server.url("/image")))
        assert volume.disk.read_bytes()[: len(IMAGE)] == IMAGE


@pytest.mark.parametrize("how", ["too little in chunks", "too much in chunks", "too little until the end"])
def test_the_rest_after_a_cut_has_the_length_that_the_whole_was_told_to_have(
    volume: Volume, server: ImageServer, how: str
) -> None:
    etag = '"one"'

    def rest(request: Request, send) -> None:
        first = request.first
        if not first:
            raise ConnectionError
        body = IMAGE[first : first + 1000] if "little" in how else IMAGE[first:] + b"more" * 1000
        head = f"HTTP/1.1 206 Partial Content\r\nETag: {etag}\r\nContent-Range: bytes {first}-{len(IMAGE) - 1}/{len(IMAGE)}\r\n"
        if "chunks" in how:
            send(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        else:
            send(f"{head}\r\n".encode() + body)

    server.objects["/image"] = [Plain(IMAGE, etag=etag, cut_after=700_000), rest]
    ended = volume.run(URL=server.url("/image"), DATAMOVER_OUTAGE_LIMIT="1")
    if ended.outcome.succeeded:  # it has asked for the rest of the rest until it had all of it
        assert "little" in how
        assert volume.disk.read_bytes()[: len(IMAGE)] == IMAGE
    else:
        assert ended.outcome.reason in {"ServerError", "ServerUnreachable"}, ended.outcome
        assert volume.left() == []


def test_a_tls_connection_that_is_cut_without_a_farewell_is_no_end_of_an_object(volume: Volume, tmp_path) -> None:
    with serving(tls=make_certificate(tmp_path)) as server:
        server.objects["/image"] = says()  # no length, and the helper closes without TLS's own end
        proof = f"sha256:{hashlib.sha256(IMAGE).hexdigest()}"
        ended = volume.run(
            URL=server.url("/image"), INSECURE_SKIP_VERIFY="true", DATAMOVER_OUTAGE_LIMIT="1", CHECKSUM=proof
        )
    assert ended.outcome.reason in {"SourceChanged", "ServerUnreachable"}, ended.outcome
    assert volume.left() == []


PAGES = {
    "a comment before the page": b"<!-- made by a proxy -->\n<html>log in</html>",
    "xhtml": b'<?xml version="1.0"?>\n<!DOCTYPE html><html/>',
    "an error of a store": b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>',
    "a bare title": b"<title>Sign in</title>" + b"<p>text</p>" * 1000,
    "json": b'{"error": "not found"}\n',
    "a sentence": b"404 page not found\n",
}


@pytest.mark.parametrize("case", PAGES)
def test_a_text_is_no_disk(volume: Volume, server: ImageServer, case: str) -> None:
    server.objects["/image"] = Plain(PAGES[case])
    refused(volume.run(URL=server.url("/image")), "NotAnImage")
    assert volume.left() == []


# --- time, and how often a server is asked ---------------------------------------------------------------------------------


def test_a_server_that_breaks_off_at_once_each_time_is_not_hammered(volume: Volume, server: ImageServer) -> None:
    def nothing(request: Request, send) -> None:
        Plain(IMAGE, etag='"one"', cut_after=500_000 if not request.first else 0, cuts=99).answer(request, send)

    server.objects["/image"] = nothing
    refused(volume.run(URL=server.url("/image"), DATAMOVER_OUTAGE_LIMIT="2"), "ServerUnreachable")
    assert len(server.requests) < 12


def test_an_etag_of_any_length_and_letters_can_be_sent_back_or_is_not(volume: Volume, server: ImageServer) -> None:
    for etag in (f'"{"e" * 300}"', '"\x81\x90"'):
        server.objects["/image"] = Plain(IMAGE, changed="x" * 300)
        server.objects["/image"] = _latin(etag)
        succeeded(volume.run(URL=server.url("/image")))
        assert volume.disk.read_bytes()[: len(IMAGE)] == IMAGE


def _latin(etag: str):
    cut = [700_000]

    def answer(request: Request, send) -> None:
        def recoded(data: bytes) -> None:
            send(data.replace(b"@@@", etag.encode("latin-1")) if b"@@@" in data[:500] else data)

        plain = Plain(IMAGE, etag="@@@", cut_after=cut.pop() if cut else None)
        plain.answer(request, recoded)

    return answer


def test_a_handshake_that_drips_is_given_up_and_hears_a_stop(volume: Volume, monkeypatch) -> None:
    monkeypatch.setattr(connection, "_CONNECTING", 2.0)
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip() -> None:
        while not over.is_set():
            try:
                client, _ = listener.accept()
                with client:
                    client.recv(1 << 16)
                    client.sendall(b"\x16\x03\x03\x10\x00")  # a record of TLS that takes its time
                    while not over.wait(0.1):
                        client.sendall(b"\2")
            except OSError:
                continue

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    begun = time.monotonic()
    try:
        ended = volume.run(URL=f"https://127.0.0.1:{listener.getsockname()[1]}/image", DATAMOVER_OUTAGE_LIMIT="1")
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
    refused(ended, "ServerUnreachable")
    assert time.monotonic() - begun < 15


# --- secrets -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["hush-hush-1", "HTTP/hush-hush-1 200 OK", "HTTP/1.1 hush-hush-1"])
def test_what_a_server_repeats_of_a_header_is_not_repeated_by_us(
    volume: Volume, server: ImageServer, line: str
) -> None:
    folder = volume.root / "secret-headers" / "0"
    folder.mkdir(parents=True)
    (folder / "one").write_text("X-Odd: hush-hush-1\n")
    server.objects["/image"] = lambda _, send: send(f"{line}\r\n\r\n".encode())
    ended = volume.run(URL=server.url("/image"), DATAMOVER_OUTAGE_LIMIT="1")
    assert not ended.outcome.succeeded
    assert "hush-hush-1" not in ended.output + ended.outcome.message
    assert server.requests[0].headers["x-odd"] == "hush-hush-1"


# --- the volume -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "reason"), [(28, "NoSpaceLeft"), (5, "EngineFailed")])
def test_a_device_that_fails_is_told_from_a_defect_of_ours_and_from_our_own_scratch_space(
    volume: Volume, server: ImageServer, monkeypatch, code: int, reason: str
) -> None:
    server.objects["/image"] = Plain(IMAGE)
    volume.make_device(8 * MIB)

    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "pwrite", fail)
    outcome = refused(volume.run(URL=server.url("/image"), VOLUME_MODE="Block"), reason)
    assert "volume" in outcome.message


def test_a_volume_with_no_room_at_all_gets_no_empty_disk(volume: Volume, monkeypatch) -> None:
    monkeypatch.setattr(disk, "free_space", lambda _: 100)
    refused(volume.run(SOURCE="blank"), "NoSpaceLeft")
    assert volume.left() == []


def test_an_answer_of_a_part_that_nobody_asked_for_is_no_object(volume: Volume, server: ImageServer) -> None:
    server.objects["/image"] = Says(206, {"Content-Range": "bytes 0-1/2"})
    refused(volume.run(URL=server.url("/image")), "ServerError")
