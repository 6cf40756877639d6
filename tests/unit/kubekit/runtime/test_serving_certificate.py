"""A server's certificate that follows its files."""

import asyncio
import logging
import ssl
from pathlib import Path

import pytest

from cluster.certificates import Authority
from kubekit.runtime import serving_certificate
from kubekit.runtime.serving_certificate import CertificateError, ServingCertificate
from support.clock import VirtualClock, settle


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def write(authority: Authority, directory: Path, name: str = "metrics") -> tuple[Path, Path]:
    certificate, key = authority.server(name).write(directory, "tls")
    return Path(certificate), Path(key)


async def served(certificate: ServingCertificate, authority: Authority) -> bytes:
    """Return the certificate, in DER, that a new connection is shown."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=certificate.context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        trust = ssl.create_default_context(cadata=authority.pem.decode())
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await writer.wait_closed()
    return shown


async def test_a_renewed_certificate_is_served_from_the_next_connection_on(tmp_path, authority):
    clock = VirtualClock()
    certificate = ServingCertificate(*write(authority, tmp_path), clock=clock)
    before = await served(certificate, authority)
    task = asyncio.create_task(certificate.run())
    await settle()
    write(authority, tmp_path)
    assert await served(certificate, authority) == before
    await clock.advance(serving_certificate.INTERVAL + 1)
    assert await served(certificate, authority) != before
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_files_that_do_not_belong_together_leave_the_former_ones_in_use(tmp_path, authority, caplog):
    certificate = ServingCertificate(*write(authority, tmp_path))
    before = await served(certificate, authority)
    other = tmp_path / "other"
    other.mkdir()
    _, key = write(authority, other)
    kept = (tmp_path / "tls.key").read_bytes()
    (tmp_path / "tls.key").write_bytes(key.read_bytes())
    with caplog.at_level(logging.ERROR):
        assert not certificate.refresh()
    assert "is not renewed" in caplog.text
    assert "PRIVATE" not in caplog.text
    assert await served(certificate, authority) == before
    (tmp_path / "tls.key").write_bytes(kept)
    assert certificate.refresh()


def test_nothing_is_loaded_while_nothing_has_changed(tmp_path, authority):
    certificate = ServingCertificate(*write(authority, tmp_path))
    assert not certificate.refresh()


def test_files_that_go_away_leave_the_former_ones_in_use(tmp_path, authority, caplog):
    certificate = ServingCertificate(*write(authority, tmp_path))
    (tmp_path / "tls.key").unlink()
    assert not certificate.refresh()
    assert "tls.key: No such file" in caplog.text


def test_a_file_that_is_missing_is_named(tmp_path, authority):
    certificate, _ = write(authority, tmp_path)
    with pytest.raises(CertificateError, match=r"cannot read .*/none: No such file or directory"):
        ServingCertificate(certificate, tmp_path / "none")


@pytest.mark.parametrize("swapped", [False, True])
def test_what_is_no_certificate_with_its_key_is_told(tmp_path, authority, swapped):
    certificate, key = write(authority, tmp_path)
    if not swapped:
        key.write_text("nothing")
    with pytest.raises(CertificateError, match="are no certificate with its key"):
        ServingCertificate(*((key, certificate) if swapped else (certificate, key)))
