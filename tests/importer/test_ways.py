"""Which way an image comes: around no proxy, to no place of the node's own, and to an end that can be told from a cut."""

import gzip
import lzma
import socket

import pytest

from support.image_server import ImageServer, Plain, Says
from support.importing import MIB, Volume, noise, refused, succeeded

IMAGE = noise(2 * MIB + 12345)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress], ids=["plain", "gz", "xz"])
def test_an_answer_whose_end_looks_like_a_cut_is_no_disk_unless_a_checksum_proves_it(
    volume: Volume, server: ImageServer, pack
) -> None:
    # of two members that follow each other the first one is whole where it is cut
    server.objects["/image"] = Plain(pack(IMAGE) + pack(IMAGE), length=-1)
    outcome = refused(volume.run(URL=server.url("/image")), "LengthUnknown")
    assert "checksum" in outcome.message
    assert not outcome.retryable
    assert volume.left() == []
    server.objects["/image"] = Plain(b"<html>log in</html>", length=-1)
    refused(volume.run(URL=server.url("/image")), "NotAnImage")


@pytest.mark.parametrize(
    "proxy", ["https://geheim123@proxy:3128", "socks5://proxy:1080", "http://", "http://proxy:x", "//proxy"]
)
def test_a_proxy_that_cannot_be_used_is_not_gone_around(volume: Volume, server: ImageServer, proxy: str) -> None:
    server.objects["/image"] = Plain(IMAGE)
    outcome = refused(volume.run(URL=server.url("/image"), HTTP_PROXY=proxy), "InvalidConfiguration")
    assert "HTTP_PROXY" in outcome.message
    assert "geheim123" not in outcome.message
    assert server.requests == []
    succeeded(volume.run(URL=server.url("/image"), HTTP_PROXY=proxy, NO_PROXY="127.0.0.1"))


NEAR = ["127.0.0.1", "127.8.0.1", "169.254.169.254", "::1", "fe80::1%eth0", "::ffff:169.254.169.254", "0.0.0.0"]


@pytest.mark.parametrize("address", NEAR)
def test_a_redirection_from_elsewhere_does_not_lead_to_the_node_whatever_name_it_has(
    volume: Volume, server: ImageServer, monkeypatch, address: str
) -> None:
    server.objects["/image"] = Says(302, {"Location": f"http://localhost:{server.port}/inner"})
    server.objects["/inner"] = Plain(IMAGE)
    succeeded(volume.run(URL=server.url("/image")))  # who names a near server means it
    met = iter(["192.0.2.1", address])
    monkeypatch.setattr(socket.socket, "getpeername", lambda _: (next(met), 80))
    before = len(server.requests)
    outcome = refused(volume.run(URL=server.url("/image")), "RedirectRefused")
    assert "loopback or link-local" in outcome.message
    assert [each.target for each in server.requests[before:]] == ["/image"]


def test_a_redirection_from_elsewhere_to_elsewhere_is_followed(
    volume: Volume, server: ImageServer, monkeypatch
) -> None:
    server.objects["/image"] = Says(302, {"Location": f"http://localhost:{server.port}/inner"})
    server.objects["/inner"] = Plain(IMAGE, cut_after=700_000)
    monkeypatch.setattr(socket.socket, "getpeername", lambda _: ("10.0.0.1", 80))
    succeeded(volume.run(URL=server.url("/image")))
    assert volume.disk.read_bytes() == IMAGE + bytes(8 * MIB - len(IMAGE))


def test_a_deadline_says_which_setting_it_is_and_that_nothing_is_kept(volume: Volume, server: ImageServer) -> None:
    server.objects["/image"] = Plain(IMAGE, slowly=5.0)
    outcome = refused(volume.run(URL=server.url("/image"), DATAMOVER_DEADLINE="1"), "DeadlineExceeded")
    assert "--datavolume-deadline" in outcome.message
    assert "Nothing of it is kept" in outcome.message
    assert volume.left() == []
