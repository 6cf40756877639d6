"""An image from a web server that behaves, and from ones that do not: real requests on loopback."""

import base64
import gzip
import hashlib
import lzma
import os
import time
from pathlib import Path

import pytest

from datamover.agent.importer import connection
from support.certificates import make_certificate
from support.image_server import ImageServer, Plain, Request, Says, serving
from support.importing import MIB, Volume, noise, refused, succeeded

IMAGE = noise(2 * MIB + 12345)


def padded(image: bytes, size: int = 8 * MIB) -> bytes:
    return image + bytes(size - len(image))


# --- what is taken -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress], ids=["raw", "gz", "xz"])
def test_an_image_becomes_the_disk_however_it_is_packed_and_grows_to_its_size(
    volume: Volume, server: ImageServer, pack
) -> None:
    sent = pack(IMAGE)
    server.objects["/image"] = Plain(sent)
    asked = f"sha256:{hashlib.sha256(sent).hexdigest()}"
    outcome = succeeded(volume.run(URL=server.url("/image"), CHECKSUM=asked))
    assert volume.disk.read_bytes() == padded(IMAGE)
    assert volume.left() == ["disk.img"]
    assert volume.disk.stat().st_mode & 0o777 == 0o660
    assert (outcome.bytes, outcome.transferred_bytes) == (8 * MIB, len(sent))
    assert (outcome.verified, outcome.verification) == (True, "sha256")
    assert "read back" in outcome.message


def test_zeros_of_an_image_need_no_room(volume: Volume, server: ImageServer) -> None:
    image = noise(4096) + bytes(4 * MIB) + noise(MIB)
    server.objects["/image"] = Plain(image)
    succeeded(volume.run(URL=server.url("/image")))
    assert volume.disk.read_bytes() == padded(image)
    assert volume.disk.stat().st_blocks * 512 < 2 * MIB


def test_preallocation_gives_the_disk_all_its_room(volume: Volume, server: ImageServer) -> None:
    server.objects["/image"] = Plain(noise(4096))
    succeeded(volume.run(URL=server.url("/image"), PREALLOCATION="true"))
    assert volume.disk.stat().st_blocks * 512 >= 8 * MIB


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
def test_every_checksum_that_can_be_asked_for_is_compared(volume: Volume, server: ImageServer, algorithm: str) -> None:
    server.objects["/image"] = Plain(IMAGE)
    digits = hashlib.new(algorithm, IMAGE).hexdigest()
    assert succeeded(volume.run(URL=server.url("/image"), CHECKSUM=f"{algorithm}:{digits.upper()}")).verified
    wrong = digits[:-1] + ("0" if digits[-1] != "0" else "1")
    outcome = refused(volume.run(URL=server.url("/image"), CHECKSUM=f"{algorithm}:{wrong}"), "ChecksumMismatch")
    assert digits in outcome.message
    assert volume.left() == []


def test_a_device_with_old_bytes_has_nothing_but_the_image_afterwards(volume: Volume, server: ImageServer) -> None:
    image = noise(MIB) + bytes(2 * MIB) + noise(MIB + 700)
    server.objects["/image"] = Plain(image)
    volume.make_device(8 * MIB, old=b"somebody's old bytes")
    outcome = succeeded(volume.run(URL=server.url("/image"), VOLUME_MODE="Block"))
    assert volume.device.read_bytes() == padded(image)
    assert outcome.bytes == 8 * MIB


def test_an_answer_in_chunks_and_with_a_checksum_one_without_a_length_are_read_to_their_end(
    volume: Volume, server: ImageServer
) -> None:
    checksum = f"sha512:{hashlib.sha512(IMAGE).hexdigest().upper()}"
    for behaviour, proof in ((Plain(IMAGE, chunked=True), ""), (Plain(IMAGE, length=-1), checksum)):
        server.objects["/image"] = behaviour
        succeeded(volume.run(URL=server.url("/image"), CHECKSUM=proof))
        assert volume.disk.read_bytes() == padded(IMAGE)


def test_a_disk_that_an_earlier_attempt_has_left_is_replaced_and_half_a_disk_goes(
    volume: Volume, server: ImageServer
) -> None:
    volume.disk.write_bytes(b"old" * MIB)
    (volume.data / ".datamover-import" / "more").mkdir(parents=True)
    (volume.data / ".datamover-import" / "disk.img").write_bytes(b"half")
    (volume.data / "lost+found").mkdir()
    server.objects["/image"] = Plain(IMAGE)
    succeeded(volume.run(URL=server.url("/image")))
    assert volume.disk.read_bytes() == padded(IMAGE)
    assert volume.left() == ["disk.img", "lost+found"]


# --- what is not an image ------------------------------------------------------------------------------------------------

VDI = b"<<< Oracle VM VirtualBox Disk Image >>>\n".ljust(64, b"\0") + b"\x7f\x10\xda\xbe" + bytes(4096)
# made when a test wants them: packing takes longer than all else that is done to find the tests
BAD = {
    "a page": (lambda: b"\n<!DOCTYPE html><html><body>Log in</body></html>", "NotAnImage"),
    "another page": (lambda: b"<html>" + bytes(9000), "NotAnImage"),
    "nothing": (lambda: b"", "NotAnImage"),
    "a packed page": (lambda: gzip.compress(b"<html><body>not here</body></html>"), "NotAnImage"),
    "vmdk": (lambda: b"KDMV" + bytes(4096), "ImageRefused"),
    "vdi": (lambda: VDI, "ImageRefused"),
    "vhdx": (lambda: b"vhdxfile" + bytes(4096), "ImageRefused"),
    "a dynamic vhd": (lambda: b"conectix" + bytes(4096), "ImageRefused"),
    "a fixed vhd": (lambda: noise(MIB) + b"conectix".ljust(512, b"\1"), "ImageRefused"),
    "zstd": (lambda: b"\x28\xb5\x2f\xfd" + bytes(100), "ImageRefused"),
    "zip": (lambda: b"PK\x03\x04" + bytes(100), "ImageRefused"),
    "gz in gz": (lambda: gzip.compress(gzip.compress(IMAGE)), "ImageRefused"),
    "xz in gz": (lambda: gzip.compress(lzma.compress(IMAGE)), "ImageRefused"),
    "vmdk in xz": (lambda: lzma.compress(b"KDMV" + bytes(4096)), "ImageRefused"),
    "a tar": (lambda: b"name".ljust(257, b"\0") + b"ustar" + bytes(4096), "ImageRefused"),
    "gz that is cut off": (lambda: gzip.compress(IMAGE)[:-100], "ImageDamaged"),
    "xz that is cut off": (lambda: lzma.compress(IMAGE)[:-100], "ImageDamaged"),
    "gz with a flipped bit": (lambda: gzip.compress(IMAGE)[:-6] + b"\1\2\3\4\5\6", "ImageDamaged"),
    "gz and what is none": (lambda: gzip.compress(IMAGE) + b"rubbish behind it", "ImageDamaged"),
    "too large": (lambda: noise(8 * MIB + 1), "DestinationTooSmall"),
    "far too large": (lambda: noise(MIB) * 100, "DestinationTooSmall"),
    "a gzip bomb": (lambda: gzip.compress(bytes(64 * MIB)), "DestinationTooSmall"),
    "an xz bomb": (lambda: lzma.compress(bytes(64 * MIB)), "DestinationTooSmall"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_image_or_does_not_fit_is_refused_with_a_reason_and_leaves_no_disk(
    volume: Volume, server: ImageServer, case: str
) -> None:
    make, reason = BAD[case]
    server.objects["/image"] = Plain(make(), headers={"Content-Type": "text/html"})
    refused(volume.run(URL=server.url("/image")), reason)
    assert volume.left() == []


def test_two_gz_members_in_a_row_and_zeros_behind_them_are_one_stream(volume: Volume, server: ImageServer) -> None:
    server.objects["/image"] = Plain(gzip.compress(IMAGE[:MIB]) + gzip.compress(IMAGE[MIB:]) + bytes(1000))
    succeeded(volume.run(URL=server.url("/image")))
    assert volume.disk.read_bytes() == padded(IMAGE)


def test_an_image_larger_than_its_disk_is_refused_before_it_is_written_where_the_length_is_known(
    volume: Volume, server: ImageServer
) -> None:
    volume.make_device(4 * MIB, old=b"x")
    server.objects["/image"] = Plain(noise(5 * MIB))
    refused(volume.run(URL=server.url("/image"), VOLUME_MODE="Block", TARGET_SIZE=str(4 * MIB)), "DestinationTooSmall")
    assert volume.device.read_bytes() == b"x" * (4 * MIB)


# --- cuts ----------------------------------------------------------------------------------------------------------------


def test_a_download_that_is_cut_goes_on_where_it_was(volume: Volume, server: ImageServer) -> None:
    server.objects["/image"] = Plain(IMAGE, cut_after=700_000, cuts=3)
    outcome = succeeded(volume.run(URL=server.url("/image")))
    assert volume.disk.read_bytes() == padded(IMAGE)
    assert [request.first for request in server.requests] == [0, 700_000, 1_400_000, 2_100_000]
    assert all(request.headers["if-range"] for request in server.requests[1:])
    assert outcome.transferred_bytes == len(IMAGE)


OTHERS = {
    "another etag": Plain(IMAGE[::-1], etag='"other"'),
    "the same etag and another length": Plain(IMAGE + b"more"),
    "no ranges": Plain(IMAGE, ranges=False),
    "shorter": Says(416),
}


@pytest.mark.parametrize("case", OTHERS)
def test_after_a_cut_nothing_is_put_together_of_two_versions(volume: Volume, server: ImageServer, case: str) -> None:
    etag = '"one"' if case == "the same etag and another length" else None
    second = OTHERS[case]
    if etag:
        second = Plain(IMAGE + b"more", etag=etag)
    last = Plain(second.body, etag=second.etag) if isinstance(second, Plain) else Plain(IMAGE)
    server.objects["/image"] = [Plain(IMAGE, etag=etag, cut_after=700_000), second, last]
    succeeded(volume.run(URL=server.url("/image")))
    assert volume.disk.read_bytes() == padded(last.body)


def test_without_a_word_about_the_version_it_is_read_anew_unless_a_checksum_proves_the_whole(
    volume: Volume, server: ImageServer
) -> None:
    server.objects["/image"] = [Plain(IMAGE, etag="", cut_after=700_000), Plain(IMAGE, etag="")]
    succeeded(volume.run(URL=server.url("/image")))
    assert [request.first for request in server.requests] == [0, 0]
    server.objects["/image"] = [Plain(IMAGE, etag="", cut_after=700_000), Plain(IMAGE, etag="")]
    succeeded(volume.run(URL=server.url("/image"), CHECKSUM=f"md5:{hashlib.md5(IMAGE).hexdigest()}"))
    assert server.requests[-1].first == 700_000
    assert volume.disk.read_bytes() == padded(IMAGE)


def test_a_server_that_changes_each_time_is_given_up(volume: Volume, server: ImageServer) -> None:
    server.objects["/image"] = lambda request, send: Plain(IMAGE, etag=f'"{request.number}"', cut_after=100_000).answer(
        request, send
    )
    refused(volume.run(URL=server.url("/image")), "SourceChanged")
    assert volume.left() == []


def test_a_server_that_tells_too_great_a_length_is_given_up_after_the_patience(
    volume: Volume, server: ImageServer
) -> None:
    server.objects["/image"] = lambda request, send: Plain(
        IMAGE, length=len(IMAGE) + 5000 - request.first, ranges=bool(request.first)
    ).answer(request, send)
    ended = volume.run(URL=server.url("/image"), DATAMOVER_OUTAGE_LIMIT="1")
    assert ended.outcome.reason in {"ServerUnreachable", "SourceChanged"}, ended.outcome
    assert volume.left() == []


def test_a_server_that_tells_too_small_a_length_is_refused(volume: Volume, server: ImageServer) -> None:
    server.objects["/image"] = Plain(IMAGE, length=len(IMAGE) - 100)
    outcome = refused(volume.run(URL=server.url("/image")), "ServerError")
    assert "more than the length" in outcome.message
    assert volume.left() == []


def test_a_server_that_drips_is_given_up(volume: Volume, server: ImageServer) -> None:
    server.objects["/image"] = Plain(IMAGE, piece=10, slowly=0.05)
    outcome = refused(volume.run(URL=server.url("/image"), DATAMOVER_OUTAGE_LIMIT="1"), "ServerUnreachable")
    assert str(connection.SLOWEST) in outcome.message


def test_a_server_that_drips_its_headers_is_given_up(volume: Volume, server: ImageServer) -> None:
    def drip(request: Request, send) -> None:
        send(b"HTTP/1.1 200 OK\r\n")
        for number in range(500):
            send(b"X-%d: y\r\n" % number)
            time.sleep(0.05)

    server.objects["/image"] = drip
    refused(volume.run(URL=server.url("/image"), DATAMOVER_OUTAGE_LIMIT="1"), "ServerUnreachable")


def test_a_server_that_fails_for_a_moment_is_asked_again(volume: Volume, server: ImageServer) -> None:
    server.objects["/image"] = [Says(503, {"Retry-After": "0"}), Says(500), Plain(IMAGE)]
    ended = volume.run(URL=server.url("/image"))
    succeeded(ended)
    assert any("answers 503" in each.trouble for each in ended.progress)
    assert not ended.progress[-1].trouble


ANSWERS = {
    401: "WrongCredentials", 403: "AccessDenied", 404: "SourceNotFound", 410: "SourceNotFound", 418: "ServerError", 204: "ServerError",
    503: "ServerError",
}  # fmt: skip


@pytest.mark.parametrize("status", ANSWERS)
def test_an_answer_that_is_no_object_says_what_to_do(volume: Volume, server: ImageServer, status: int) -> None:
    server.objects["/image"] = Says(status, body=b"")
    outcome = refused(volume.run(URL=server.url("/image?token=geheim"), DATAMOVER_OUTAGE_LIMIT="1"), ANSWERS[status])
    assert str(status) in outcome.message
    assert "geheim" not in outcome.message
    assert outcome.retryable == (status == 503)


def test_nobody_listens(volume: Volume, server: ImageServer) -> None:
    server.close()
    outcome = refused(volume.run(URL=server.url("/image"), DATAMOVER_OUTAGE_LIMIT="1"), "ServerUnreachable")
    assert outcome.retryable


def test_a_stop_ends_a_download_that_waits(volume: Volume, server: ImageServer) -> None:
    server.objects["/image"] = Plain(IMAGE, piece=100_000, slowly=0.5)
    container = volume.container(URL=server.url("/image"), DATAMOVER_OUTAGE_LIMIT="100")
    with container.start() as running:
        end = time.monotonic() + 30
        while not server.requests and time.monotonic() < end:
            time.sleep(0.02)
        running.terminate()
        ended = running.wait(timeout=30)
    assert ended.code == 143
    assert ended.outcome.reason == "Interrupted"
    assert volume.left() == []


def test_after_a_kill_at_any_moment_the_next_attempt_makes_a_whole_disk(volume: Volume, server: ImageServer) -> None:
    for pause in (0.15, 0.3, 0.45):
        server.objects["/image"] = Plain(IMAGE, piece=200_000, slowly=0.05)
        with volume.container(URL=server.url("/image")).start() as running:
            time.sleep(pause)
            running.process.kill()
            running.wait()
    server.objects["/image"] = Plain(IMAGE)
    succeeded(volume.run(URL=server.url("/image")))
    assert volume.disk.read_bytes() == padded(IMAGE)
    assert volume.left() == ["disk.img"]


# --- redirections and secrets ----------------------------------------------------------------------------------------------

KEYS = {"ACCESS_KEY_ID": "alice", "SECRET_KEY": "geheim123"}
BASIC = f"Basic {base64.b64encode(b'alice:geheim123').decode()}"


def test_user_password_and_headers_go_to_the_server_that_they_are_for_and_to_no_other(
    volume: Volume, server: ImageServer
) -> None:
    folder = volume.root / "secret-headers" / "0"
    folder.mkdir(parents=True)
    (folder / "one").write_text("X-Token: hush-hush\n")
    given = KEYS | {"EXTRA_HEADERS": '["X-Extra: plain"]'}
    with serving() as other:
        other.objects["/there"] = Plain(IMAGE, cut_after=500_000)
        server.objects["/here"] = Says(302, {"Location": "/again"})
        server.objects["/again"] = Says(307, {"Location": other.url("/there")})
        ended = volume.run(URL=server.url("/here"), **given)
        succeeded(ended)
        for request in server.requests:
            assert request.headers["authorization"] == BASIC
            assert (request.headers["x-token"], request.headers["x-extra"]) == ("hush-hush", "plain")
        assert len(other.requests) == 2  # the rest is asked for where the first part came from
        for request in other.requests:
            assert not {"authorization", "x-token", "x-extra"} & set(request.headers)
    assert not [word for word in ("geheim123", "hush-hush", BASIC) if word in ended.output]
    assert volume.disk.read_bytes() == padded(IMAGE)


def test_redirections_that_never_end_or_lead_nowhere_are_refused(volume: Volume, server: ImageServer) -> None:
    server.objects["/loop"] = Says(302, {"Location": "/loop"})
    for number in range(20):
        server.objects[f"/{number}"] = Says(302, {"Location": f"/{number + 1}"})
    server.objects["/file"] = Says(302, {"Location": "file:///etc/passwd"})
    server.objects["/odd"] = Says(301, {"Location": "http://[broken"})
    for path in ("/loop", "/0", "/file", "/odd"):
        refused(volume.run(URL=server.url(path)), "RedirectRefused")
    assert len(server.requests) < 20


def test_the_place_of_a_redirection_that_does_not_hold_any_longer_is_asked_for_anew(
    volume: Volume, server: ImageServer
) -> None:
    server.objects["/image"] = [Says(302, {"Location": "/first"}), Says(302, {"Location": "/second"})]
    server.objects["/first"] = [Plain(IMAGE, cut_after=700_000), Says(403)]
    server.objects["/second"] = Plain(IMAGE)
    succeeded(volume.run(URL=server.url("/image")))
    assert volume.disk.read_bytes() == padded(IMAGE)


@pytest.fixture
def secure(tmp_path: Path):
    certificate, key = make_certificate(tmp_path)
    with serving(tls=(certificate, key)) as found:
        yield found, certificate


def test_https_wants_a_certificate_that_is_trusted(volume: Volume, secure) -> None:
    server, certificate = secure
    server.objects["/image"] = Plain(IMAGE)
    assert not refused(volume.run(URL=server.url("/image")), "TLSUntrusted").retryable
    succeeded(volume.run(URL=server.url("/image"), INSECURE_SKIP_VERIFY="true"))
    folder = volume.root / "certificates"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(certificate.read_bytes())
    os.symlink("nowhere", folder / "..data")
    succeeded(volume.run(URL=server.url("/image")))
    (folder / "ca.pem").write_text("no certificate")
    refused(volume.run(URL=server.url("/image")), "InvalidConfiguration")


def test_from_https_nothing_leads_to_http_but_bytes_that_are_proved_and_no_secret(
    volume: Volume, server: ImageServer, secure
) -> None:
    safe, _ = secure
    server.objects["/image"] = Plain(IMAGE)
    safe.objects["/image"] = Says(302, {"Location": server.url("/image")})
    skip = {"INSECURE_SKIP_VERIFY": "true"}
    checksum = {"CHECKSUM": f"md5:{hashlib.md5(IMAGE).hexdigest()}"}
    refused(volume.run(URL=safe.url("/image"), **skip), "RedirectRefused")
    refused(volume.run(URL=safe.url("/image"), **skip, **KEYS, **checksum), "RedirectRefused")
    succeeded(volume.run(URL=safe.url("/image"), **skip, **checksum))


def test_a_proxy_of_the_operator_is_used_but_for_what_it_leaves_out(volume: Volume, server: ImageServer) -> None:
    server.objects["http://images.example/image"] = Plain(IMAGE)
    proxy = {"HTTP_PROXY": f"http://user:pass@127.0.0.1:{server.port}"}
    succeeded(volume.run(URL="http://images.example/image", **proxy))
    assert server.requests[0].headers["proxy-authorization"] == f"Basic {base64.b64encode(b'user:pass').decode()}"
    assert server.requests[0].headers["host"] == "images.example"
    server.objects["/image"] = Plain(IMAGE)
    succeeded(volume.run(URL=server.url("/image"), HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="localhost,127.0.0.0/8"))


WRONG = {
    "SOURCE": "imageio", "URL": "ftp://x/y", "CHECKSUM": "sha256:12", "VOLUME_MODE": "Tape", "CONTENT_TYPE": "film", "TARGET_SIZE": "-1",
    "EXTRA_HEADERS": '["Range: bytes=0-1"]', "PREALLOCATION": "yes",
}  # fmt: skip


def test_everything_that_is_wrong_with_the_environment_is_said_at_once(volume: Volume) -> None:
    ended = volume.run(**WRONG)
    outcome = refused(ended, "InvalidConfiguration")
    assert [name for name in WRONG if name not in outcome.message and name != "URL"] == []
    assert "spec.source.http.url" in refused(volume.run(URL="ftp://x/y"), "InvalidConfiguration").message
