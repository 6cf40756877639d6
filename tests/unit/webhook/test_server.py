"""The webhook's server, over real TLS on loopback."""

import asyncio
import base64
import contextlib
import io
import json
import socket
import ssl
from collections import Counter

import aiohttp
import pytest

from datamover.api.cdi import names
from datamover.volumes.collection_time import Lifetime
from datamover.webhook import server as room
from datamover.webhook.review import LIMIT
from datamover.webhook.server import WebhookServer
from datamover.webhook.stamping import Stamper
from kubekit.client.client import Client
from kubekit.runtime.clock import SystemClock
from kubekit.runtime.shared_certificate import SharedCertificate
from support.admission import asked, patched
from support.tiny_server import TinyServer

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
HOST = "webhook.system.svc"
VOLUME = {"metadata": {"name": "disk", "annotations": None}, "spec": {"source": {"blank": {}}}}


class Permits:
    """Stands for those who ask about requesters: whoever is believed gets one."""

    async def find_permit(self, question, volume) -> str:
        return "a permit"


class Running:
    def __init__(self, server: WebhookServer, certificate: SharedCertificate, kubernetes: TinyServer) -> None:
        self.server = server
        self.certificate = certificate
        self.kubernetes = kubernetes
        self.counted: Counter[str] = Counter()

    async def post(self, path: str, body: bytes, *, trusted: bytes | None = None) -> tuple[int, bytes]:
        told = self.kubernetes.objects[f"{CONFIGURATIONS}/stamp"]["webhooks"][0]["clientConfig"]
        pem = trusted or base64.b64decode(told["caBundle"])
        context = ssl.create_default_context(cadata=pem.decode())
        address = f"https://127.0.0.1:{self.server.port}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.post(address, data=io.BytesIO(body), ssl=context, server_hostname=HOST) as answer,
        ):
            return answer.status, await answer.read()

    async def ask(self, path: str = "/") -> dict:
        status, body = await self.post(path, json.dumps(asked(VOLUME)).encode())
        assert status == 200
        return patched(VOLUME, body)["metadata"]["annotations"]


@contextlib.asynccontextmanager
async def running(port: int = 0, complaints: list | None = None):
    kubernetes = TinyServer()
    kubernetes.put(CONFIGURATIONS, "stamp", webhooks=[{"name": "a", "clientConfig": {"service": {"namespace": "system", "name": "webhook"}}}])  # fmt: skip
    clock = SystemClock()
    certificate = SharedCertificate(
        Client(kubernetes.transport()),
        namespace="system",
        secret="keys",
        service="webhook",
        configuration="stamp",
        seeds={"path.key": 16},
        path_seed="path.key",
        clock=clock,
    )
    counted: Counter[str] = Counter()
    stamper = Stamper(lambda _: Lifetime(0, "a test"), requesters=Permits(), count=lambda each: counted.update([each]))  # type: ignore[arg-type]
    complain = (complaints if complaints is not None else []).append
    server = WebhookServer(
        stamper, certificate, host="127.0.0.1", port=port, complain=lambda *said: complain(said), clock=clock
    )
    tasks = [asyncio.create_task(certificate.run()), asyncio.create_task(server.run())]
    found = Running(server, certificate, kubernetes)
    found.counted = counted
    try:
        if not port:
            async with asyncio.timeout(20):
                await server.listening.wait()
        yield found
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_api_server_that_trusts_the_bundle_is_answered():
    async with running() as webhook:
        assert await webhook.ask() == {names.DELETE_AFTER_COMPLETION: "true", names.STAMPED: "true"}


async def test_only_who_knows_the_path_of_the_configuration_gets_a_permit():
    async with running() as webhook:
        told = webhook.kubernetes.objects[f"{CONFIGURATIONS}/stamp"]["webhooks"][0]["clientConfig"]["service"]["path"]
        assert (await webhook.ask(told))[names.CLONE_PERMIT] == "a permit"
        for other in ("/", told[:-1], f"{told}/", "/stamp", "/%c3%bc"):
            assert names.CLONE_PERMIT not in await webhook.ask(other)


@pytest.mark.parametrize("body", [b"", b"nothing", b"{}", b"[" * 5000])
async def test_what_is_no_question_is_a_bad_request(body):
    async with running() as webhook:
        status, said = await webhook.post("/", body)
        assert status == 400
        assert len(said) < 300


async def test_a_question_that_is_too_large_is_not_read():
    async with running() as webhook:
        status, _ = await webhook.post("/", b" " * (LIMIT + 1))
        assert status == 413
        assert (await webhook.ask())[names.STAMPED] == "true"


async def test_a_question_that_does_not_come_whole_is_given_up(monkeypatch):
    monkeypatch.setattr(room, "BODY_SECONDS", 0.2)
    async with running() as webhook:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection("127.0.0.1", webhook.server.port, ssl=context)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        async with asyncio.timeout(20):
            assert b" 408 " in await reader.readline()
        writer.close()
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            await writer.wait_closed()


async def test_a_certificate_that_is_made_anew_is_shown_without_a_restart():
    async with running() as webhook:
        before = webhook.kubernetes.objects["/api/v1/namespaces/system/secrets/keys"]["data"]["tls.crt"]
        port = webhook.server.port
        webhook.kubernetes.delete("/api/v1/namespaces/system/secrets/keys")
        webhook.certificate._wrote = float("-inf")
        async with asyncio.timeout(20):
            while webhook.certificate.problem or webhook.kubernetes.objects.get("/api/v1/namespaces/system/secrets/keys", {"data": {"tls.crt": before}})["data"]["tls.crt"] == before:  # fmt: skip
                await asyncio.sleep(0.02)
            while True:
                with contextlib.suppress(aiohttp.ClientConnectorCertificateError):
                    if await webhook.ask():
                        break
                await asyncio.sleep(0.02)
        assert webhook.server.port == port


async def test_a_port_that_is_taken_is_said_and_tried_again(monkeypatch):
    monkeypatch.setattr(room, "RETRY", 0.05)
    complaints: list[tuple[str, str]] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with running(port, complaints) as webhook:
            async with asyncio.timeout(20):
                while not complaints:
                    await asyncio.sleep(0.01)
            assert complaints[0][0] == "Server"
            assert str(port) in complaints[0][1]
            taken.close()
            async with asyncio.timeout(20):
                await webhook.server.listening.wait()
            assert (await webhook.ask())[names.STAMPED] == "true"
