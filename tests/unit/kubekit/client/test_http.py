import asyncio
import ssl
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from cluster.certificates import Authority, KeyPair
from kubekit.client.auth import Identity, StaticIdentity
from kubekit.client.cluster import ClusterConfig
from kubekit.client.errors import ConfigError, TransportError, TransportTimeout
from kubekit.client.http import HttpTransport, _environment_proxy
from kubekit.client.transport import Request


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Renewing:
    """Credentials of which the first are refused."""

    def __init__(self, *tokens):
        self.tokens = list(tokens)
        self.refused = []

    async def identity(self):
        return Identity(f"Bearer {self.tokens[0]}")

    async def renew(self, refused):
        self.refused.append(refused.authorization)
        if len(self.tokens) == 1:
            return False
        self.tokens.pop(0)
        return True


class Server:
    """A real HTTP server whose every answer the test gives."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = []
        self.connections = set()
        self.peers = []
        self.url = ""

    async def _handle(self, request):
        self.requests.append((request.method, request.raw_path, dict(request.headers), await request.read()))
        self.connections.add(request.transport)
        self.peers.append(request.transport.get_extra_info("peercert"))
        return await self.answer(request)


@asynccontextmanager
async def serve(answer, *, context=None, **options):
    server = Server(answer)
    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/{rest:.*}", server._handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    scheme = "https" if context else "http"
    server.url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    transport = HttpTransport(ClusterConfig(server.url, source="test", **options.pop("config", {})), **options)
    try:
        yield server, transport
    finally:
        await transport.close()
        await runner.cleanup()


def serving(pair, tmp_path, *, clients=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair.write(tmp_path, "server"))
    if clients:
        context.load_verify_locations(cadata=clients.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


async def well(request):
    return web.Response(text="well", headers=[("X-One", "1"), ("Warning", "299 - a"), ("Warning", "299 - b")])


GET = Request("GET", "/api/v1/pods")


async def test_a_request_arrives_as_it_was_made():
    async with serve(well, config={"auth": StaticIdentity(Identity("Bearer tok"))}) as (server, transport):
        query = (("labelSelector", "a=b,c in (d, ü)"), ("continue", "x/+=&"), ("a", "1"))
        request = Request(
            "PATCH", "/apis/x/v1/things/a%20b", query, {"Content-Type": "x/y", "User-Agent": "me"}, b"body"
        )
        answer = await transport.request(request)
        assert (answer.status, answer.body) == (200, b"well")
        assert answer.headers["x-one"] == "1"
        assert answer.headers["warning"] == "299 - a, 299 - b"
        ((method, path, headers, body),) = server.requests
        assert (method, body) == ("PATCH", b"body")
        assert path == "/apis/x/v1/things/a%20b?labelSelector=a%3Db%2Cc+in+%28d%2C+%C3%BC%29&continue=x%2F%2B%3D%26&a=1"
        assert headers["Content-Type"] == "x/y"
        assert headers["User-Agent"] == "me"
        assert headers["Authorization"] == "Bearer tok"
        assert headers["Accept-Encoding"] == "identity"


async def test_a_body_of_megabytes_arrives_whole_and_may_be_sent_again():
    body = bytes(range(256)) * 8192
    async with serve(well) as (server, transport):
        for _ in range(2):
            assert (
                await transport.request(Request("PUT", "/x", headers={"Content-Type": "x/y"}, body=body))
            ).status == 200
        assert [sent for *_, sent in server.requests] == [body, body]


async def test_a_server_under_a_path_is_asked_there():
    async with serve(well) as (server, transport):
        transport._config = ClusterConfig(f"{server.url}/k8s/clusters/c-1")
        await transport.request(GET)
        assert server.requests[0][1] == "/k8s/clusters/c-1/api/v1/pods"


async def test_an_error_status_and_a_redirect_are_answers():
    async def answer(request):
        return web.Response(status=302 if request.path == "/r" else 500, text="no", headers={"Location": "/elsewhere"})

    async with serve(answer) as (server, transport):
        assert (await transport.request(GET)).status == 500
        assert (await transport.request(Request("GET", "/r"))).status == 302
        assert len(server.requests) == 2


async def test_connections_are_used_again():
    async with serve(well) as (server, transport):
        for _ in range(20):
            await transport.request(GET)
        assert len(server.connections) == 1


async def test_requests_at_once_are_bounded_and_watches_do_not_count():
    running, most, gate = 0, 0, asyncio.Event()

    async def answer(request):
        nonlocal running, most
        if "watch" in request.query:
            return await endless(request)
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        return web.Response()

    async with serve(answer, connections=3) as (_, transport):
        watches = [transport.stream(Request("GET", "/", (("watch", "true"),))) for _ in range(10)]
        for watch in watches:
            await watch.__aenter__()
        requests = [asyncio.create_task(transport.request(GET)) for _ in range(12)]
        async with asyncio.timeout(5):
            while running < 3:
                await asyncio.sleep(0.01)
            gate.set()
            await asyncio.gather(*requests)
        assert most == 3
        for watch in watches:
            await watch.__aexit__(None, None, None)


async def endless(request):
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"first\n")
    try:
        while True:
            await asyncio.sleep(60)
    finally:
        ended.append(request.path)


ended = []


# Who we are.


async def test_after_a_401_the_credentials_are_renewed_and_the_request_is_sent_once_more():
    async def answer(request):
        return web.Response(status=200 if request.headers["Authorization"] == "Bearer new" else 401)

    auth = Renewing("old", "new")
    async with serve(answer, config={"auth": auth}) as (server, transport):
        assert (await transport.request(Request("POST", "/", body=b"x"))).status == 200
        assert [body for *_, body in server.requests] == [b"x", b"x"]
        assert auth.refused == ["Bearer old"]
        auth.tokens.insert(0, "old")
        async with transport.stream(GET) as stream:
            assert stream.status == 200


async def test_a_401_again_is_the_answer():
    async def answer(request):
        return web.Response(status=401)

    async with serve(answer, config={"auth": Renewing("a", "b", "c")}) as (server, transport):
        assert (await transport.request(GET)).status == 401
        assert len(server.requests) == 2
        async with transport.stream(GET) as stream:
            assert stream.status == 401
        assert len(server.requests) == 4


async def test_a_401_without_anything_newer_is_the_answer_at_once():
    async def answer(request):
        return web.Response(status=401)

    async with serve(answer, config={"auth": Renewing("a")}) as (server, transport):
        assert (await transport.request(GET)).status == 401
        assert len(server.requests) == 1


async def test_credentials_that_cannot_be_renewed_leave_no_connection_open():
    class Failing(Renewing):
        async def renew(self, refused):
            raise ConfigError("no more")

    async def answer(request):
        return web.Response(status=401)

    async with serve(answer, config={"auth": Failing("a")}) as (_, transport):
        for _ in range(2):
            with pytest.raises(ConfigError, match="no more"):
                await transport.request(GET)
            with pytest.raises(ConfigError, match="no more"):
                async with transport.stream(GET):
                    pass


# TLS.


async def test_the_clusters_authority_is_trusted_and_our_certificate_is_shown(authority, tmp_path):
    context = serving(authority.server("api"), tmp_path, clients=authority.pem)
    pair = authority.client("ann")
    config = {"ca": authority.pem, "auth": StaticIdentity(Identity(None, pair.certificate, pair.key))}
    async with serve(well, context=context, config=config) as (server, transport):
        assert (await transport.request(GET)).body == b"well"
        async with transport.stream(GET) as stream:
            assert [chunk async for chunk in stream.chunks] == [b"well"]
        assert [dict(part[0] for part in peer["subject"])["commonName"] for peer in server.peers] == ["ann", "ann"]


async def test_no_key_stays_on_the_disk(authority, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    pair = authority.client("ann")
    context = serving(authority.server("api"), tmp_path)
    config = {"ca": authority.pem, "auth": StaticIdentity(Identity(None, pair.certificate, pair.key))}
    async with serve(well, context=context, config=config) as (_, transport):
        await transport.request(GET)
    assert list((tmp_path / "temp").iterdir()) == []


async def test_a_new_certificate_is_used_from_the_next_request_on(authority, tmp_path):
    context = serving(authority.server("api"), tmp_path, clients=authority.pem)
    pairs = [authority.client(name) for name in ("ann", "bob")]

    class Rotating:
        async def identity(self):
            return Identity(None, pairs[0].certificate, pairs[0].key)

    config = {"ca": authority.pem, "auth": Rotating()}
    async with serve(well, context=context, config=config) as (server, transport):
        for _ in range(2):
            await transport.request(GET)
        pairs.pop(0)
        await transport.request(GET)
        names = [dict(part[0] for part in peer["subject"])["commonName"] for peer in server.peers]
        assert names == ["ann", "ann", "bob"]


async def test_a_server_that_nobody_vouches_for_is_not_talked_to(authority, tmp_path):
    context = serving(authority.server("api"), tmp_path)
    async with serve(well, context=context, config={"ca": Authority().pem}) as (server, transport):
        with pytest.raises(TransportError, match=r"certificate verify failed"):
            await transport.request(GET)
        assert server.requests == []


async def test_insecure_means_that_anybody_is_talked_to(authority, tmp_path):
    context = serving(authority.server("api", hosts=["other"]), tmp_path)
    async with serve(well, context=context, config={"insecure": True}) as (_, transport):
        assert (await transport.request(GET)).body == b"well"


async def test_the_certificate_may_be_for_another_name_that_is_given(authority, tmp_path):
    context = serving(authority.server("api", hosts=["kubernetes"]), tmp_path)
    async with serve(well, context=context, config={"ca": authority.pem}) as (_, transport):
        with pytest.raises(TransportError, match="certificate"):
            await transport.request(GET)
    config = {"ca": authority.pem, "tls_server_name": "kubernetes"}
    async with serve(well, context=context, config=config) as (_, transport):
        assert (await transport.request(GET)).body == b"well"


@pytest.mark.parametrize("what", ["authority", "no authority", "authority PEM", "certificate", "key", "pair"])
async def test_certificates_that_cannot_be_used_are_said_to_be(authority, what):
    one, other = authority.client("a"), authority.client("b")
    pair, ca = one, authority.pem
    match what:
        case "authority":
            ca = b"hunter2"
        case "no authority":
            ca = b""
        case "authority PEM":
            ca = b"-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n"
        case "certificate":
            pair = KeyPair(b"hunter2", one.key)
        case "key":
            pair = KeyPair(one.certificate, b"hunter2")
        case "pair":
            pair = KeyPair(one.certificate, other.key)
    auth = StaticIdentity(Identity(None, pair.certificate, pair.key))
    transport = HttpTransport(ClusterConfig("https://127.0.0.1:1", auth, ca=ca, source="/home/ann/config"))
    with pytest.raises(ConfigError, match=r"^/home/ann/config: the ") as caught:
        await transport.request(GET)
    assert "hunter2" not in str(caught.value)
    await transport.close()


# When there is no answer.


async def test_nobody_there_is_a_transport_error():
    transport = HttpTransport(ClusterConfig("http://127.0.0.1:1", StaticIdentity(Identity("Bearer hunter2"))))
    with pytest.raises(TransportError, match=r"http://127\.0\.0\.1:1: Cannot connect") as caught:
        await transport.request(GET)
    assert not isinstance(caught.value, TransportTimeout)
    assert caught.value.__cause__ is None  # aiohttp's own errors carry our headers
    with pytest.raises(TransportError):
        async with transport.stream(GET):
            pass
    await transport.close()


@pytest.mark.parametrize("where", ["transport", "call"])
async def test_a_slow_answer_is_given_up(where):
    async def answer(request):
        await asyncio.sleep(60)

    options = {"request_timeout": 0.05} if where == "transport" else {}
    async with serve(answer, **options) as (_, transport):
        with pytest.raises(TransportTimeout, match=r"within 0\.05 s"):
            await transport.request(GET, timeout=0.05 if where == "call" else None)


async def test_a_connection_that_breaks_within_the_answer_is_a_transport_error():
    async def answer(request):
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"part")
        request.transport.abort()
        return response

    async with serve(answer) as (_, transport):
        with pytest.raises(TransportError):
            await transport.request(GET)


async def test_after_closing_there_are_no_more_answers():
    async with serve(well) as (_, transport):
        await transport.request(GET)
        await transport.close()
        await transport.close()
        with pytest.raises(TransportError, match="closed"):
            await transport.request(GET)


# Streams.


async def test_a_line_of_many_megabytes_passes():
    size = 6 * 1024 * 1024

    async def answer(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x" * size + b"\n")
        return response

    async with serve(answer) as (_, transport), transport.stream(GET) as stream:
        assert sum([len(chunk) async for chunk in stream.chunks]) == size + 1


async def test_bytes_are_given_out_as_they_come():
    gate = asyncio.Event()

    async def answer(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one")
        await gate.wait()
        await response.write(b"two")
        return response

    async with serve(answer) as (_, transport), transport.stream(GET) as stream:
        chunks = aiter(stream.chunks)
        assert await anext(chunks) == b"one"
        gate.set()
        assert await anext(chunks) == b"two"
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)


async def test_a_silent_stream_is_given_up():
    async with serve(endless) as (_, transport), transport.stream(GET, idle_timeout=0.1) as stream:
        chunks = aiter(stream.chunks)
        assert await anext(chunks) == b"first\n"
        with pytest.raises(TransportTimeout):
            await anext(chunks)


async def test_a_stream_that_breaks_is_told_from_one_that_ends():
    async def answer(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"part")
        request.transport.abort()
        return response

    async with serve(answer) as (_, transport), transport.stream(GET) as stream:
        with pytest.raises(TransportError):
            [chunk async for chunk in stream.chunks]


async def test_leaving_a_stream_ends_it_on_the_servers_side():
    ended.clear()
    async with serve(endless) as (_, transport):
        async with transport.stream(Request("GET", "/left")) as stream:
            await anext(aiter(stream.chunks))
        async with asyncio.timeout(5):
            while "/left" not in ended:
                await asyncio.sleep(0.01)


async def test_a_stream_that_is_given_up_while_it_opens_is_closed_once_it_is_open():
    came, go = asyncio.Event(), asyncio.Event()

    async def answer(request):
        came.set()
        await go.wait()
        return await endless(request)

    ended.clear()
    async with serve(answer) as (_, transport):

        async def watch():
            async with transport.stream(Request("GET", "/given-up")):
                pytest.fail("nobody wants it")

        watching = asyncio.create_task(watch())
        await came.wait()
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        assert transport._opening, (
            "the connection is let alone while it opens: closed amid its handshake, uvloop would complain"
        )
        go.set()
        async with asyncio.timeout(5):
            while "/given-up" not in ended:
                await asyncio.sleep(0.01)
        assert not transport._opening


async def test_closing_waits_for_no_stream_that_is_given_up_and_never_opens(monkeypatch):
    monkeypatch.setattr("kubekit.client.http._FAREWELL", 0.01)
    came = asyncio.Event()

    async def answer(request):
        came.set()
        await asyncio.Event().wait()

    async with serve(answer) as (_, transport):
        watching = asyncio.create_task(transport.stream(GET).__aenter__())
        await came.wait()
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        async with asyncio.timeout(5):
            await transport.close()


async def test_closing_ends_the_streams():
    async with serve(endless) as (_, transport), transport.stream(GET) as stream:
        chunks = aiter(stream.chunks)
        await anext(chunks)
        await transport.close()
        with pytest.raises((TransportError, StopAsyncIteration)):
            await anext(chunks)


# Proxies.


@pytest.mark.parametrize(
    ("server", "environ", "proxy"),
    [
        ("https://api.example", {}, None),
        ("https://api.example", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("https://api.example", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("http://api.example", {"https_proxy": "http://p:1"}, None),
        ("https://api.example:6443", {"https_proxy": "http://p:1", "no_proxy": "api.example"}, None),
        ("https://10.0.0.1", {"https_proxy": "http://p:1", "no_proxy": "10.0.0.1"}, None),
        ("https://127.0.0.1:6443", {"https_proxy": "http://p:1"}, None),
        ("https://[::1]:6443", {"https_proxy": "http://p:1"}, None),
        ("https://localhost:6443", {"https_proxy": "http://p:1"}, None),
    ],
)
def test_the_environment_may_name_a_proxy_but_not_for_loopback(server, environ, proxy, monkeypatch):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert _environment_proxy(server) == proxy


async def test_a_proxy_is_asked_for_the_servers_url():
    async with serve(well) as (proxy, _):
        transport = HttpTransport(ClusterConfig("http://api.example:8080", proxy_url=proxy.url))
        assert (await transport.request(GET)).body == b"well"
        assert proxy.requests[0][1] == "http://api.example:8080/api/v1/pods"
        await transport.close()


def test_nothing_is_opened_before_the_first_request(tmp_path):
    HttpTransport(ClusterConfig("https://127.0.0.1:1", ca=b"nonsense", source=str(Path(tmp_path))))


async def pieces(*parts, pause=0.0):
    for part in parts:
        await asyncio.sleep(pause)
        yield part


async def test_a_body_of_any_length_is_sent_as_it_comes():
    async with serve(lambda _: asyncio.sleep(0, web.Response(text="taken"))) as (server, transport):
        known = Request("PUT", "/one", headers={"Content-Length": "6"})
        assert (
            await transport.send(known, pieces(b"abc", b"def"), idle_timeout=20, answer_timeout=20)
        ).body == b"taken"
        assert (
            await transport.send(Request("PUT", "/two"), pieces(b"x" * 100_000), idle_timeout=20, answer_timeout=20)
        ).status == 200
    first, second = server.requests
    assert (first[3], first[2].get("Transfer-Encoding"), first[2]["Expect"]) == (b"abcdef", None, "100-continue")
    assert (len(second[3]), second[2]["Transfer-Encoding"]) == (100_000, "chunked")


async def test_a_refusal_is_heard_before_the_body_goes():
    taken = []

    async def body():
        taken.append(True)
        yield b"x" * 1000

    async def refuse(request):
        return web.Response(status=401, text="no")

    app = web.Application()
    app.router.add_put("/", refuse, expect_handler=refuse)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    transport = HttpTransport(ClusterConfig(f"http://127.0.0.1:{runner.addresses[0][1]}", source="test"))
    try:
        answer = await transport.send(
            Request("PUT", "/", headers={"Content-Length": "1000"}), body(), idle_timeout=20, answer_timeout=20
        )
    finally:
        await transport.close()
        await runner.cleanup()
    assert (answer.status, answer.body) == (401, b"no")
    assert not taken


async def test_a_body_that_goes_on_has_time_and_an_answer_that_does_not_come_is_given_up():
    async def answer(request):
        if request.path == "/never":
            await asyncio.sleep(60)
        return web.Response()

    async with serve(answer) as (_, transport):
        slow = pieces(*[b"x"] * 6, pause=0.1)
        assert (await transport.send(Request("PUT", "/slow"), slow, idle_timeout=0.35, answer_timeout=5)).status == 200
        with pytest.raises(TransportTimeout, match="gave no answer"):
            await transport.send(Request("PUT", "/never"), pieces(b"x"), idle_timeout=0.1, answer_timeout=0.2)


async def test_a_body_that_cannot_be_read_is_its_own_error():
    async def broken():
        yield b"x"
        raise FileNotFoundError("gone")

    async with serve(lambda _: asyncio.sleep(0, web.Response())) as (_, transport):
        with pytest.raises((TransportError, FileNotFoundError)):
            await transport.send(Request("PUT", "/"), broken(), idle_timeout=5, answer_timeout=5)


async def test_a_connection_that_breaks_amid_a_body_is_a_transport_error():
    async def hang_up(request):
        request.transport.close()
        return web.Response()

    async with serve(hang_up) as (_, transport):
        with pytest.raises(TransportError):
            await transport.send(Request("PUT", "/"), pieces(b"x" * 10), idle_timeout=5, answer_timeout=5)
