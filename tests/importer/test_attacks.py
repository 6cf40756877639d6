"""Raw answers that a server should never give, and sizes at the edge: each ends in a good disk, or in a reason and no disk."""

import gzip
import hashlib
import lzma
import struct
import threading
import time
import zlib

import pytest

from support.image_server import ImageServer, Plain, Request, Says
from support.importing import MIB, Volume, noise, refused, succeeded

IMAGE = noise(MIB + 512)
SIZED = f"Content-Length: {len(IMAGE)}\r\n"


def raw(head: str, body: bytes = IMAGE):
    def answer(_: Request, send) -> None:
        send(head.encode("latin-1") + b"\r\n" + body)

    return answer


def chunks(*pieces: bytes, extension: bytes = b"", last: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x%s\r\n%s\r\n" % (len(each), extension, each) for each in pieces) + last


CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
GOOD = {
    "HTTP/1.0": raw(f"HTTP/1.0 200 OK\r\n{SIZED}"),
    "100 before": raw(f"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n{SIZED}"),
    "103 before": raw(f"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n{SIZED}"),
    "extensions of chunks": raw(CHUNKED, chunks(IMAGE[:1000], IMAGE[1000:], extension=b";name=value")),
    "a trailer": raw(CHUNKED, chunks(IMAGE, last=b"0\r\nX-Trailer: x\r\n\r\n")),
    "two members of gzip": raw(CHUNKED, chunks(gzip.compress(IMAGE[:5000]) + gzip.compress(IMAGE[5000:]))),
    "zeros behind gzip": raw(CHUNKED, chunks(gzip.compress(IMAGE) + bytes(512))),
    "two streams of xz": raw(CHUNKED, chunks(lzma.compress(IMAGE[:5000]) + lzma.compress(IMAGE[5000:]))),
    "the same length twice": raw(f"HTTP/1.1 200 OK\r\n{SIZED}{SIZED}"),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_what_a_server_may_say_is_understood(volume: Volume, server: ImageServer, case: str) -> None:
    server.objects["/image"] = GOOD[case]
    succeeded(volume.run(URL=server.url("/image")))
    assert volume.disk.read_bytes()[: len(IMAGE)] == IMAGE


def xz_that_wants_much() -> bytes:
    """A stream whose one filter wants 1.5 GiB, by its header alone."""
    made = bytearray(lzma.compress(IMAGE, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]))
    size = (made[12] + 1) * 4
    place = made.index(b"\x21\x01", 12) + 2
    made[place] = 39
    made[12 + size - 4 : 12 + size] = struct.pack("<I", zlib.crc32(bytes(made[12 : 12 + size - 4])))
    return bytes(made)


BAD = {
    "a header of a megabyte": (raw("HTTP/1.1 200 OK\r\nX: " + "y" * MIB + "\r\n"), {"ServerUnreachable"}),
    "thousands of headers": (raw("HTTP/1.1 200 OK\r\n" + "X: y\r\n" * 5000), {"ServerUnreachable"}),
    "a chunk that is cut": (raw(CHUNKED, chunks(IMAGE)[:-1000]), {"SourceChanged", "ServerUnreachable"}),
    "no last chunk": (raw(CHUNKED, chunks(IMAGE, last=b"")), {"SourceChanged", "ServerUnreachable"}),
    "a chunk of a size that is none": (raw(CHUNKED, b"xyz\r\n" + IMAGE), {"SourceChanged", "ServerUnreachable"}),
    "a chunk without an end of its size": (raw(CHUNKED, b"1" * 200_000), {"SourceChanged", "ServerUnreachable"}),
    "rubbish behind gzip": (raw(CHUNKED, chunks(gzip.compress(IMAGE) + b"rubbish")), {"ImageDamaged"}),
    "rubbish behind xz": (raw(CHUNKED, chunks(lzma.compress(IMAGE) + b"rubbish!")), {"ImageDamaged"}),
    "xz that wants much": (raw(CHUNKED, chunks(xz_that_wants_much())), {"ImageRefused"}),
    "nothing but what comes before": (raw("HTTP/1.1 103 Early Hints\r\n\r\n" * 99), {"ServerUnreachable"}),
    "a status that is none": (raw("HTTP/1.1 999999 OK\r\n"), {"ServerUnreachable"}),
    "no content": (raw("HTTP/1.1 204 No Content\r\n", b""), {"ServerError"}),
    "all of it and no byte": (raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", b""), {"NotAnImage"}),
    "switching protocols": (raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n"), {"ServerError"}),
    "a redirection to nowhere": (Says(302), {"ServerError"}),
    "a redirection to a file": (Says(302, {"Location": "file:///etc/passwd"}), {"RedirectRefused"}),
    "a redirection with credentials": (Says(302, {"Location": "ftp://me:geheim123@host/"}), {"RedirectRefused"}),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_no_server_may_say_ends_in_a_reason_and_no_disk(volume: Volume, server: ImageServer, case: str) -> None:
    server.objects["/image"], reasons = BAD[case]
    ended = volume.run(URL=server.url("/image"), DATAMOVER_OUTAGE_LIMIT="1")
    assert not ended.outcome.succeeded, ended.outcome
    assert ended.outcome.reason in reasons, ended.outcome
    assert "geheim123" not in ended.output
    assert volume.left() == []


def test_a_flood_of_answers_before_the_answer_has_an_end(volume: Volume, server: ImageServer) -> None:
    over = threading.Event()

    def flood(_: Request, send) -> None:
        while not over.is_set():
            send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    server.objects["/image"] = flood
    begun = time.monotonic()
    try:
        refused(volume.run(URL=server.url("/image"), DATAMOVER_OUTAGE_LIMIT="1"), "ServerUnreachable")
    finally:
        over.set()
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("mode", ["Filesystem", "Block"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_an_image_as_large_as_the_disk_fits_and_one_byte_more_does_not(
    volume: Volume, server: ImageServer, mode: str, pack
) -> None:
    whole = noise(8 * MIB)
    if mode == "Block":
        volume.make_device(8 * MIB)
    server.objects["/image"] = Plain(pack(whole))
    succeeded(volume.run(URL=server.url("/image"), VOLUME_MODE=mode))
    assert (volume.device if mode == "Block" else volume.disk).read_bytes() == whole
    server.objects["/image"] = Plain(pack(whole + b"x"))
    outcome = refused(volume.run(URL=server.url("/image"), VOLUME_MODE=mode), "DestinationTooSmall")
    assert str(8 * MIB) in outcome.message


def test_an_image_that_is_larger_than_its_device_is_refused(volume: Volume, server: ImageServer) -> None:
    volume.make_device(4 * MIB)
    server.objects["/image"] = Plain(noise(4 * MIB + 512))
    refused(volume.run(URL=server.url("/image"), VOLUME_MODE="Block", TARGET_SIZE=str(4 * MIB)), "DestinationTooSmall")


def test_a_part_is_what_was_asked_for_or_the_object_begins_anew(volume: Volume, server: ImageServer) -> None:
    etag = f'"{hashlib.md5(IMAGE).hexdigest()}"'

    def another(request: Request, send) -> None:
        first = request.first - 512  # the part before what was asked for
        head = f"HTTP/1.1 206 Partial Content\r\nETag: {etag}\r\nContent-Range: bytes {first}-{len(IMAGE) - 1}/{len(IMAGE)}\r\n"
        send(f"{head}Content-Length: {len(IMAGE) - first}\r\n\r\n".encode() + IMAGE[first:])

    def mute(request: Request, send) -> None:
        head = f"HTTP/1.1 206 Partial Content\r\nETag: {etag}\r\nContent-Length: {len(IMAGE) - request.first}\r\n\r\n"
        send(head.encode() + IMAGE[request.first :])

    for rest in (another, mute, Plain(IMAGE, ranges=False), Says(416), Plain(IMAGE, etag='"other"')):
        server.objects["/image"] = [Plain(IMAGE, etag=etag, cut_after=700_000), rest, Plain(IMAGE)]
        succeeded(volume.run(URL=server.url("/image")))
        assert volume.disk.read_bytes()[: len(IMAGE)] == IMAGE


@pytest.mark.parametrize("source", ["http", "s3"])
def test_a_secret_that_ends_in_a_new_line_is_told_or_works_and_is_never_repeated(
    volume: Volume, server: ImageServer, source: str
) -> None:
    server.objects["/image"] = Plain(IMAGE)
    server.objects["/bucket/image"] = Plain(IMAGE)
    given = {"ACCESS_KEY_ID": "alice-geheim123\n", "SECRET_KEY": "wort-geheim123\n"}
    ended = volume.run(SOURCE=source, URL=server.url("/bucket/image"), **given)
    assert "geheim123" not in ended.output + ended.outcome.message
    if not ended.outcome.succeeded:
        assert ended.outcome.reason == "InvalidConfiguration", ended.outcome


def test_l8_no_word_of_an_address_that_may_be_a_secret_is_told(volume: Volume, server: ImageServer) -> None:
    server.objects["/image"] = Plain(IMAGE)
    address = server.url("/image").replace("//", "//alice:geheim%20123@") + "?token=geheim123&sig=geheim123#geheim123"
    for path in ("", "/missing"):
        ended = volume.run(URL=address.replace("/image", path or "/image"), DATAMOVER_OUTAGE_LIMIT="1")
        assert ended.outcome.succeeded == (not path)
        assert "geheim" not in ended.output + ended.outcome.message
