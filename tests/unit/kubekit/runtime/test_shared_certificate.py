"""The certificate of a webhook, shared by replicas, told to the API server, renewed in time."""

import asyncio
import base64
import contextlib
import logging
import ssl
from datetime import UTC, datetime

import pytest

from kubekit.client.client import Client
from kubekit.client.errors import TransportError
from kubekit.client.transport import Request, Response
from kubekit.runtime.certificates import LIFETIME
from kubekit.runtime.rotation import RENEWS, SETTLES
from kubekit.runtime.shared_certificate import RETRY, SharedCertificate
from support.clock import VirtualClock, settle
from support.scripted_transport import failure
from support.tiny_server import TinyServer

SECRETS = "/api/v1/namespaces/system/secrets"
SECRET = f"{SECRETS}/webhook-keys"
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
CONFIGURATION = f"{CONFIGURATIONS}/stamp"
DAY = 86400.0


def configured(server: TinyServer) -> None:
    place = {"service": {"namespace": "system", "name": "webhook", "path": "/stamp"}}
    other = {"service": {"namespace": "system", "name": "other"}, "caBundle": "b3RoZXI="}
    server.put(
        CONFIGURATIONS,
        "stamp",
        webhooks=[
            {"name": "ours", "clientConfig": place, "sideEffects": "None"},
            {"name": "other", "clientConfig": other},
        ],
    )


class Notices:
    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def __call__(self, reason: str, message: str) -> None:
        self.said.append((reason, message))


def shared(server: TinyServer, clock: VirtualClock, interfere=None, notices: Notices | None = None, **more):
    client = Client(server.transport(interfere), clock=clock)
    return SharedCertificate(
        client,
        namespace="system",
        secret="webhook-keys",
        service="webhook",
        configuration="stamp",
        seeds={"permit.key": 32},
        notice=notices or Notices(),
        clock=clock,
        **more,
    )


@contextlib.asynccontextmanager
async def running(*certificates: SharedCertificate):
    tasks = [asyncio.create_task(each.run()) for each in certificates]
    await settle(60)
    try:
        yield
        assert not any(task.done() for task in tasks), "it never ends by itself"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def clock_of_now() -> VirtualClock:
    """Clients that check certificates go by the machine's clock."""
    return VirtualClock(datetime.now(UTC).replace(microsecond=0))


def kept(server: TinyServer, key: str) -> bytes:
    return base64.b64decode(server.objects[SECRET]["data"].get(key, ""))


def bundle(server: TinyServer) -> bytes:
    return base64.b64decode(server.objects[CONFIGURATION]["webhooks"][0]["clientConfig"].get("caBundle", ""))


def writes(server: TinyServer) -> list[str]:
    return [f"{each.method} {each.path}" for each in server.requests if each.method != "GET"]


async def shown(certificate: SharedCertificate, trusted: bytes) -> bytes:
    """Return what a client of the API server's kind is shown, in PEM."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=certificate.context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        trust = ssl.create_default_context(cadata=trusted.decode())
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="webhook.system.svc")
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await writer.wait_closed()
    return ssl.DER_cert_to_PEM_cert(found).encode()


async def test_the_first_replica_makes_a_certificate_and_has_the_api_server_trust_it():
    server = TinyServer()
    configured(server)
    certificate = shared(server, clock_of_now())
    async with running(certificate):
        assert certificate.loaded.is_set()
        assert await shown(certificate, bundle(server)) == kept(server, "tls.crt")
        assert bundle(server) == kept(server, "ca.crt")
        assert len(certificate.seed("permit.key") or b"") == 32
        assert certificate.problem is None
    other = server.objects[CONFIGURATION]["webhooks"][1]
    assert other["clientConfig"]["caBundle"] == "b3RoZXI=", "the webhooks of others are left alone"
    assert server.objects[CONFIGURATION]["webhooks"][0]["sideEffects"] == "None"
    assert writes(server) == [f"POST {SECRETS}", f"PUT {CONFIGURATION}"]


async def test_a_second_replica_serves_the_same_and_writes_nothing():
    server = TinyServer()
    configured(server)
    clock = clock_of_now()
    first, second = shared(server, clock), shared(server, clock)
    async with running(first):
        before = writes(server)
        async with running(second):
            assert await shown(second, bundle(server)) == await shown(first, bundle(server))
            assert second.seed("permit.key") == first.seed("permit.key")
            assert writes(server) == before


async def test_two_replicas_that_start_at_once_agree_on_one_certificate():
    server = TinyServer()
    configured(server)
    clock = clock_of_now()
    pair = shared(server, clock), shared(server, clock)
    async with running(*pair):
        await clock.advance(60)
        assert await shown(pair[0], bundle(server)) == await shown(pair[1], bundle(server)) == kept(server, "tls.crt")
        assert pair[0].seed("permit.key") == pair[1].seed("permit.key")
        assert bundle(server) == kept(server, "ca.crt")


async def test_nothing_is_asked_while_nothing_changes():
    server = TinyServer()
    configured(server)
    clock = VirtualClock()
    async with running(shared(server, clock)):
        before = len(server.requests)
        await clock.advance(100)
        assert len(server.requests) == before


@pytest.mark.parametrize("replicas", [1, 2])
async def test_through_a_rotation_each_replica_serves_what_the_api_server_trusts(replicas):
    server = TinyServer()
    configured(server)
    clock = clock_of_now()
    several = [shared(server, clock) for _ in range(replicas)]
    async with running(*several):
        first = kept(server, "tls.crt")
        await clock.advance((LIFETIME - RENEWS).total_seconds() + 1)
        assert kept(server, "tls.crt") == first, "the next one waits until its authority is known"
        assert bundle(server) == kept(server, "ca.crt") + kept(server, "next-ca.crt")
        for each in several:
            assert await shown(each, bundle(server)) == first
        await clock.advance(SETTLES.total_seconds() + 60)
        assert kept(server, "tls.crt") != first
        assert kept(server, "next.crt") == b""
        assert bundle(server) == kept(server, "ca.crt") + kept(server, "former-ca.crt")
        for each in several:
            assert each.ends is not None
            assert each.ends > clock.now() + LIFETIME - 2 * SETTLES
        await clock.advance(RENEWS.total_seconds())
        assert bundle(server) == kept(server, "ca.crt"), "what has ended is forgotten"
        assert len(writes(server)) < 4 + 8 * replicas


async def test_the_new_certificate_is_shown_without_a_restart():
    server = TinyServer()
    configured(server)
    certificate = shared(server, clock_of_now())
    async with running(certificate):
        before = await shown(certificate, bundle(server))
        server.delete(SECRET)
        await settle(60)
        await certificate._clock.advance(30)
        after = await shown(certificate, bundle(server))
        assert after == kept(server, "tls.crt") != before


async def test_a_bundle_that_somebody_replaces_is_put_right():
    server = TinyServer()
    configured(server)
    clock = VirtualClock()
    async with running(shared(server, clock)):
        right = bundle(server)
        configured(server)
        await settle(60)
        await clock.advance(30)
        assert bundle(server) == right


async def test_a_configuration_that_comes_later_is_told_and_its_absence_is_said():
    server, notices, clock = TinyServer(), Notices(), VirtualClock()
    certificate = shared(server, clock, notices=notices)
    async with running(certificate):
        assert notices.said == [
            (
                "Configuration",
                "there is no MutatingWebhookConfiguration stamp, so the API server does not ask this webhook",
            )
        ]
        assert certificate.loaded.is_set()
        configured(server)
        await clock.advance(RETRY)
        assert bundle(server) == kept(server, "ca.crt")
        assert notices.said[-1] == ("", "")


async def test_a_configuration_of_another_service_is_left_alone():
    server, notices = TinyServer(), Notices()
    server.put(CONFIGURATIONS, "stamp", webhooks=[{"name": "other", "clientConfig": {"url": "https://else"}}])
    async with running(shared(server, VirtualClock(), notices=notices)):
        assert "has no webhook at Service system/webhook" in notices.said[0][1]
    assert writes(server) == [f"POST {SECRETS}"]


async def test_a_secret_that_is_half_another_ones_is_made_whole_and_keeps_what_is_not_ours():
    server = TinyServer()
    configured(server)
    clock = clock_of_now()
    async with running(shared(server, clock)):
        pass
    data = server.objects[SECRET]["data"]
    other = TinyServer()
    async with running(shared(other, clock)):
        pass
    data = {**data, "tls.key": other.objects[SECRET]["data"]["tls.key"], "mine": "bWluZQ=="}
    server.put(SECRETS, "webhook-keys", data=data)
    certificate = shared(server, clock)
    async with running(certificate):
        assert await shown(certificate, bundle(server)) == kept(server, "tls.crt")
        assert kept(server, "mine") == b"mine"
        assert server.objects[SECRET]["data"]["permit.key"] == data["permit.key"]


@pytest.mark.parametrize("garbage", ["", "no base64!", "bm90aGluZw=="])
async def test_garbage_in_the_secret_is_replaced(garbage):
    server = TinyServer()
    configured(server)
    keys = ("tls.crt", "tls.key", "ca.crt", "next.crt", "next.key", "next-ca.crt", "former-ca.crt", "permit.key")
    server.put(SECRETS, "webhook-keys", data=dict.fromkeys(keys, garbage))
    certificate = shared(server, clock_of_now())
    async with running(certificate):
        assert await shown(certificate, bundle(server)) == kept(server, "tls.crt")


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [("POST", SECRETS, "Secret"), ("PUT", CONFIGURATION, "Configuration"), ("GET", CONFIGURATION, "Configuration")],
)
@pytest.mark.parametrize("fault", [failure(403, "Forbidden"), failure(500), TransportError("gone")])
async def test_what_is_refused_is_said_and_tried_again(method, path, reason, fault, caplog):
    server, notices, clock = TinyServer(), Notices(), VirtualClock()
    configured(server)
    broken = True

    async def interfere(request: Request) -> Response | None:
        if broken and (request.method, request.path) == (method, path):
            if isinstance(fault, Exception):
                raise fault
            return fault
        return None

    with caplog.at_level(logging.ERROR):
        async with running(shared(server, clock, interfere, notices)):
            await clock.advance(60)
            assert notices.said[0][0] == reason
            assert notices.said[0][1] in caplog.text
            assert len(notices.said) == 1, "one sentence, however often it is tried"
            broken = False
            await clock.advance(RETRY * 2)
            assert notices.said[-1] == ("", "")
            assert bundle(server) == kept(server, "ca.crt")
    assert "PRIVATE" not in caplog.text


@pytest.mark.parametrize("collection", [SECRETS, CONFIGURATIONS])
async def test_what_may_not_be_watched_is_said(collection):
    server, notices, clock = TinyServer(), Notices(), VirtualClock()
    configured(server)

    async def interfere(request: Request) -> Response | None:
        return failure(403, "Forbidden") if request.path == collection else None

    certificate = shared(server, clock, interfere, notices)
    async with running(certificate):
        assert "may not be watched" in notices.said[0][1]
        assert certificate.problem is not None


async def test_a_replica_whose_clock_is_a_year_ahead_does_not_keep_the_server_busy():
    server = TinyServer()
    configured(server)
    clock = VirtualClock()
    ahead = VirtualClock(datetime(2025, 8, 6, 14, 30, tzinfo=UTC))
    async with running(shared(server, clock), shared(server, ahead)):
        for _ in range(60):
            await clock.advance(1)
            await ahead.advance(1)
        assert len(writes(server)) < 40


async def test_the_path_that_is_asked_for_is_told_the_api_server_and_put_right():
    server = TinyServer()
    configured(server)
    clock = VirtualClock()
    certificate = shared(server, clock, path_seed="permit.key")
    async with running(certificate):

        def place() -> str | None:
            return server.objects[CONFIGURATION]["webhooks"][0]["clientConfig"]["service"]["path"]

        assert certificate.path == f"/{kept(server, 'permit.key').hex()}" == place()
        configured(server)
        await settle(60)
        await clock.advance(30)
        assert certificate.path == place()
