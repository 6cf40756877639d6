import asyncio
import errno
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import pytest

from cluster.certificates import Authority
from kubekit.runtime.access import Verdict
from kubekit.runtime.serving import Heartbeat, StatusServer
from support.clock import VirtualClock, settle


async def fetch(server, path):
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}{path}") as answer,
    ):
        return answer.status, answer.content_type, await answer.text()


def serve(**options):
    return StatusServer(host="127.0.0.1", port=0, **options)


async def test_without_checks_all_is_well():
    async with serve() as server:
        for path in ("/healthz", "/livez", "/readyz"):
            assert await fetch(server, path) == (200, "text/plain", "ok\n")
        assert (await fetch(server, "/metrics"))[0] == 404
        assert (await fetch(server, "/"))[0] == 404


async def test_each_check_is_listed_and_one_that_fails_fails_the_whole():
    problem = "not synced yet"
    async with serve(ready=lambda: {"things": lambda: problem, "lease": lambda: None}) as server:
        status, _, text = await fetch(server, "/readyz")
        assert (status, text) == (503, "[+] lease\n[-] things: not synced yet\nnot ok\n")
        problem = None
        assert await fetch(server, "/readyz") == (200, "text/plain", "[+] lease\n[+] things\nok\n")
        assert (await fetch(server, "/healthz"))[0] == 200


async def test_a_check_that_fails_itself_is_a_failed_check():
    async with serve(alive={"loop": lambda: 1 / 0}) as server:
        status, _, text = await fetch(server, "/healthz")
        assert (status, text) == (503, "[-] loop: ZeroDivisionError\nnot ok\n")


async def test_metrics_come_as_they_are():
    content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    async with (
        serve(metrics=lambda: (b"up 1\n", content_type)) as server,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}/metrics") as answer,
    ):
        assert answer.headers["Content-Type"] == content_type
        assert await answer.read() == b"up 1\n"


async def test_it_runs_until_cancelled_and_then_frees_its_port():
    server = serve()
    task = asyncio.create_task(server.run())
    async with asyncio.timeout(5):
        while not server.port:
            await asyncio.sleep(0)
        port = server.port
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert server.port == 0
    again = StatusServer(host="127.0.0.1", port=port)
    async with again:
        assert again.port == port
    await again.stop()


async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open():
    async with serve() as first:
        with pytest.raises(OSError, match="address already in use"):
            await StatusServer(host="127.0.0.1", port=first.port).start()


async def test_the_heart_beats_while_the_loop_runs_and_its_silence_is_told(caplog):
    clock = VirtualClock()
    heart = Heartbeat(clock=clock)
    task = asyncio.create_task(heart.run())
    await settle()
    await clock.advance(300)
    assert heart.check() is None
    assert "blocked" not in caplog.text
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await clock.advance(60)
    assert heart.check() == "the event loop has not run its tasks for 60 s"


async def fetch_metrics(server, **headers):
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}/metrics", headers=headers) as answer,
    ):
        return answer.status, answer.headers.get("WWW-Authenticate"), await answer.text()


@pytest.mark.parametrize("verdict", Verdict)
async def test_a_guard_decides_on_metrics_and_on_nothing_else(verdict):
    asked = []

    async def guard(authorization):
        asked.append(authorization)
        return verdict

    async with serve(metrics=lambda: (b"up 1\n", "text/plain"), guard=guard) as server:
        status, challenge, text = await fetch_metrics(server, Authorization="Bearer t")
        assert status == int(verdict)
        assert (challenge == "Bearer") == (verdict is Verdict.UNAUTHENTICATED)
        assert ("up 1" in text) == (verdict is Verdict.ALLOWED)
        assert (await fetch(server, "/healthz"))[0] == (await fetch(server, "/readyz"))[0] == 200
    assert asked == ["Bearer t"]


async def test_everything_is_served_over_tls_with_a_certificate():
    authority = Authority()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with TemporaryDirectory() as directory:
        context.load_cert_chain(*authority.server("metrics").write(Path(directory), "tls"))
    trust = ssl.create_default_context(cadata=authority.pem.decode())
    async with serve(tls=context) as server, aiohttp.ClientSession() as session:
        async with session.get(f"https://127.0.0.1:{server.port}/healthz", ssl=trust) as answer:
            assert answer.status == 200
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://127.0.0.1:{server.port}/healthz")


async def test_without_a_host_every_family_is_served():
    async with StatusServer(port=0) as server, aiohttp.ClientSession() as session:
        hosts = ["127.0.0.1", *(["[::1]"] if socket.has_dualstack_ipv6() else [])]
        for host in hosts:
            async with session.get(f"http://{host}:{server.port}/healthz") as answer:
                assert answer.status == 200


async def test_without_ipv6_the_other_family_is_served(monkeypatch):
    real = socket.create_server

    def create(address, *, family=socket.AF_INET, **options):
        if family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "no such family")
        return real(address, family=family, **options)

    monkeypatch.setattr(socket, "create_server", create)
    async with StatusServer(port=0) as server:
        assert (await fetch(server, "/healthz"))[0] == 200
