"""Asking which version of an object there is: real requests on loopback, and nothing is written."""

import re

import pytest

from support.image_server import ImageServer, Plain
from support.importing import Volume, noise, refused, succeeded

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def test_another_version_has_another_digest_and_nothing_is_written(volume: Volume, server: ImageServer) -> None:
    server.objects["/image"] = [Plain(noise(1000)), Plain(noise(1000)), Plain(noise(2000))]
    first, same, other = (succeeded(volume.run(URL=server.url("/image"), POLL="true")).digest for _ in range(3))
    assert DIGEST.fullmatch(first)
    assert first == same != other
    assert volume.left() == []


@pytest.mark.parametrize(("etag", "changed"), [("", "Mon, 30 Nov 2026 01:00:00 GMT"), ('W/"weak"', None)])
def test_a_time_of_change_or_a_weak_etag_will_do(
    volume: Volume, server: ImageServer, etag: str, changed: str | None
) -> None:
    server.objects["/image"] = Plain(noise(1000), etag=etag, changed=changed)
    assert DIGEST.fullmatch(succeeded(volume.run(URL=server.url("/image"), POLL="true")).digest)


def test_a_server_that_says_nothing_of_versions_is_refused(volume: Volume, server: ImageServer) -> None:
    server.objects["/image"] = Plain(noise(1000), etag="")
    outcome = refused(volume.run(URL=server.url("/image"), POLL="true"), "InvalidConfiguration")
    assert "Last-Modified" in outcome.message
    assert outcome.digest == ""


def test_nobody_can_be_asked_about_a_blank_disk(volume: Volume) -> None:
    refused(volume.run(SOURCE="blank", POLL="true"), "InvalidConfiguration")


def test_of_a_large_object_little_is_read(volume: Volume, server: ImageServer) -> None:
    server.objects["/image"] = Plain(noise(1 << 20), slowly=0.5, piece=1 << 10)
    outcome = succeeded(volume.run(URL=server.url("/image"), POLL="true"))
    assert outcome.transferred_bytes == 0
