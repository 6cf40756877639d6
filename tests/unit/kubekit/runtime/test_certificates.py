"""Certificates of our own making."""

import asyncio
import ssl
import tempfile
from datetime import UTC, datetime, timedelta

import pytest

from kubekit.runtime import certificates
from kubekit.runtime.certificates import BACKDATED, ends_of, load_pair, make_pair, new_context, read_pair
from kubekit.runtime.serving_certificate import CertificateError

NOW = datetime.now(UTC).replace(microsecond=0)
HOSTS = ("webhook.system.svc", "127.0.0.1")
PAIR = make_pair(HOSTS, now=NOW)
OTHER = make_pair(HOSTS, now=NOW)


async def handshake(context: ssl.SSLContext, trusted: bytes, host: str = HOSTS[0]) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        trust = ssl.create_default_context(cadata=trusted.decode())
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname=host)
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("host", HOSTS)
async def test_a_client_that_trusts_the_authority_gets_through(host):
    context = new_context()
    load_pair(context, certificate=PAIR.certificate, key=PAIR.key)
    await handshake(context, PAIR.authority, host)


@pytest.mark.parametrize(
    ("trusted", "host"),
    [(OTHER.authority, HOSTS[0]), (PAIR.authority, "other.system.svc")],
    ids=["another authority", "another name"],
)
async def test_a_client_that_trusts_another_one_or_wants_another_name_does_not(trusted, host):
    context = new_context()
    load_pair(context, certificate=PAIR.certificate, key=PAIR.key)
    with pytest.raises(ssl.SSLCertVerificationError):
        await handshake(context, trusted, host)


async def test_where_the_system_has_no_nameless_memory_a_file_does(monkeypatch, tmp_path):
    monkeypatch.delattr(certificates.os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    context = new_context()
    load_pair(context, certificate=PAIR.certificate, key=PAIR.key)
    await handshake(context, PAIR.authority)
    assert list(tmp_path.iterdir()) == []


def test_what_was_made_is_read_again_as_it_was():
    read = read_pair(PAIR.certificate, PAIR.key, PAIR.authority, hosts=HOSTS)
    assert read == PAIR
    assert (read.made, read.ends) == (NOW, NOW + timedelta(days=90))
    assert read.serves(NOW - BACKDATED)
    assert not read.serves(NOW + timedelta(days=90))
    assert ends_of(PAIR.authority) == PAIR.ends


@pytest.mark.parametrize(
    ("certificate", "key", "authority", "hosts", "problem"),
    [
        (PAIR.certificate, OTHER.key, PAIR.authority, HOSTS, "not that of the certificate"),
        (PAIR.certificate, PAIR.key, OTHER.authority, HOSTS, "cannot be used"),
        (PAIR.certificate, PAIR.key, PAIR.authority, ("another.system.svc",), "for other names"),
        (b"", PAIR.key, PAIR.authority, HOSTS, "cannot be used"),
        (PAIR.certificate, b"no key", PAIR.authority, HOSTS, "cannot be used"),
        (PAIR.authority, PAIR.key, PAIR.authority, HOSTS, "cannot be used"),
        (PAIR.certificate, PAIR.key + b" " * 20_000, PAIR.authority, HOSTS, "longer than"),
    ],
    # keys are made anew in each worker, and all have to call a test the same
    ids=["other key", "other authority", "other name", "no certificate", "no key", "authority", "too long"],
)
def test_what_does_not_belong_together_is_refused_and_not_quoted(certificate, key, authority, hosts, problem):
    with pytest.raises(CertificateError, match=problem) as caught:
        read_pair(certificate, key, authority, hosts=hosts)
    assert "BEGIN" not in str(caught.value)


def test_a_certificate_without_its_key_is_not_loaded():
    with pytest.raises(CertificateError, match="cannot be loaded"):
        load_pair(new_context(), certificate=PAIR.certificate, key=OTHER.key)


def test_a_pair_does_not_show_its_key():
    assert "PRIVATE" not in repr(PAIR)


def test_what_is_no_authority_has_no_end():
    assert ends_of(b"nothing") is None
