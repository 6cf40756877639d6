import asyncio
import base64
import io
import json
import random
import ssl

import aiohttp
import pytest

from localkube import http_server
from localkube.store.apiserver import ApiServer
from support.clock import VirtualClock

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def server():
    return ApiServer(clock=VirtualClock(), random=random.Random(1))


@pytest.fixture
async def listening(server):
    listening = await http_server.serve(server, plain=True, token="let-me-in")
    yield listening
    await listening.close()


@pytest.fixture
async def http(listening):
    async with aiohttp.ClientSession(listening.url, headers={"Authorization": "Bearer let-me-in"}) as session:
        yield session


async def test_who_holds_the_token_is_served(http):
    async with http.post(MAPS, json={"metadata": {"name": "a"}}) as answer:
        assert answer.status == 201
    async with http.get(MAPS, params={"labelSelector": "a!=b,c notin (d)"}) as answer:
        assert [item["metadata"]["name"] for item in (await answer.json())["items"]] == ["a"]


@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", "Bearer ", "let-me-in", "Basic let-me-in", "Bearer let-me-inn"]
)
async def test_nobody_else_gets_in(listening, header):
    headers = {"Authorization": header} if header else {}
    async with aiohttp.ClientSession(listening.url, headers=headers) as session, session.get(MAPS) as answer:
        assert answer.status == 401
        assert (await answer.json())["reason"] == "Unauthorized"


async def test_health_needs_no_token(listening):
    async with aiohttp.ClientSession(listening.url) as session, session.get("/readyz") as answer:
        assert (answer.status, await answer.text()) == (200, "ok")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
async def test_only_loopback_is_served(server, host):
    with pytest.raises(ValueError, match=r"."):
        await http_server.serve(server, host=host)


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_that_is_too_long_is_refused(http, chunked):
    async def pieces():
        for _ in range(4):
            yield b"x" * (1024 * 1024)

    body = pieces() if chunked else io.BytesIO(b"x" * (4 * 1024 * 1024))
    async with http.post(MAPS, data=body) as answer:
        assert answer.status == 413
        assert (await answer.json())["reason"] == "RequestEntityTooLarge"


async def test_a_watch_streams_and_ends_cleanly_when_the_server_closes(listening, http, server):
    async with http.get(MAPS, params={"watch": "1"}) as answer:
        await (await http.post(MAPS, json={"metadata": {"name": "a"}})).release()
        event = json.loads(await answer.content.readline())
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "a")
        closing = asyncio.ensure_future(listening.close())
        assert await answer.content.read() == b""  # an end, not a broken connection
        await closing
    await listening.close()
    assert server.cut_watches() == 0


async def test_a_client_that_leaves_ends_its_watch(http, server):
    answer = await http.get(MAPS, params={"watch": "1"})
    assert len(server._streams.open_watches()) == 1
    answer.close()
    await (await http.post(MAPS, json={"metadata": {"name": "a"}})).release()

    async with asyncio.timeout(5):
        while server._streams.open_watches():
            await (await http.post(MAPS, json={"metadata": {"generateName": "a"}})).release()
            await asyncio.sleep(0.005)


async def test_an_endless_log_does_not_keep_the_server_open(listening, http, server):
    async def reader(namespace, pod, container, options):
        async def lines():
            yield b"first\n"
            await asyncio.Event().wait()

        return lines()

    server.set_log_reader(reader)
    spec = {"nodeName": "n", "containers": [{"name": "c", "image": "x"}]}
    await (await http.post("/api/v1/namespaces/default/pods", json={"metadata": {"name": "p"}, "spec": spec})).release()
    async with http.get("/api/v1/namespaces/default/pods/p/log", params={"follow": "true"}) as answer:
        assert await answer.content.readline() == b"first\n"
        async with asyncio.timeout(5):
            await listening.close()


async def test_a_taken_port_is_an_error_and_leaves_nothing_behind(listening, server):
    port = int(listening.url.rpartition(":")[2])

    with pytest.raises(OSError, match=r"."):
        await http_server.serve(server, port=port, plain=True)


async def test_by_default_there_is_tls_with_a_certificate_of_its_own_and_a_random_token():
    one = await http_server.serve(ApiServer())
    config = one.kubeconfig()
    token = config["users"][0]["user"]["token"]
    authority = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    try:
        assert one.url.startswith("https://127.0.0.1:")
        assert config["clusters"][0]["cluster"]["server"] == one.url
        assert config["current-context"] == config["contexts"][0]["name"]
        headers = {"Authorization": f"Bearer {token}"}
        connector = aiohttp.TCPConnector(ssl=context)
        async with (
            aiohttp.ClientSession(one.url, headers=headers, connector=connector) as session,
            session.get("/version") as answer,
        ):
            assert (await answer.json())["major"] == "1"
    finally:
        await one.close()


async def test_tokens_are_never_the_same(server):
    one, two = await http_server.serve(server, plain=True), await http_server.serve(server, plain=True)
    tokens = {listening.kubeconfig()["users"][0]["user"]["token"] for listening in (one, two)}
    await one.close()
    await two.close()

    assert len(tokens) == 2
    assert min(map(len, tokens)) >= 32


# --- hostile clients ----------------------------------------------------------------------------------------------


async def say(listening, head: bytes, body: bytes = b"") -> tuple[int, bytes]:
    """Send a request as it is, with the token, and return status and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(listening.url.rsplit(":", 1)[1]))
    first, _, rest = head.partition(b"\r\n")
    own = b"" if b"Authorization" in head else b"Authorization: Bearer let-me-in\r\n"
    if b"content-length" not in head.lower():
        rest += b"Content-Length: %d\r\n" % len(body)
    writer.write(b"%s HTTP/1.1\r\nHost: x\r\n%s%s\r\n%s" % (first, own, rest, body))
    await writer.drain()
    got = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in got.lower().split(b"\r\n") if line.startswith(b"content-length"))
    told = await reader.readexactly(length)
    writer.close()
    await writer.wait_closed()
    return int(got.split()[1]), told


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /api\r\nAuthorization: Bearer \xff\xfe\r\n", 401),
        (b"GET %s\r\nAccept: \xff\xc3(\r\n" % MAPS.encode(), 406),
        (b"GET %s\r\nX-Anything: \xe9\r\n" % MAPS.encode(), 200),
        (b"GET %s?labelSelector=%%ff\r\n" % MAPS.encode(), 400),
        (b"GET %s?resourceVersion=%%c2%%b2\r\n" % MAPS.encode(), 400),
        (b"GET %s?limit=%%d9%%a1\r\n" % MAPS.encode(), 400),
        (b"GET %s?limit=%s\r\n" % (MAPS.encode(), b"9" * 5000), 400),
        (b"GET %s/%%ff%%c3\r\n" % MAPS.encode(), 404),
    ],
)
async def test_words_that_are_no_text_are_refused_and_break_nothing(listening, caplog, head, status):
    assert (await say(listening, head))[0] == status
    assert not caplog.records


async def test_a_user_agent_that_is_no_text_may_write(listening):
    head = b"POST %s\r\nContent-Type: application/json\r\nUser-Agent: \xff\xe9\r\n" % MAPS.encode()
    status, told = await say(listening, head, b'{"metadata":{"name":"a"}}')
    assert status == 201
    assert json.loads(told)["metadata"]["name"] == "a"


BOMBS = {
    "lists": ("json", b"[" * 100_000),
    "objects": ("json", b'{"a":' * 100_000),
    "yaml lists": ("yaml", b"- " * 20_000),
    "aliases": ("yaml", b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 10)) for c in range(98, 106))),
    "merges": ("yaml", b"a: &a {k: 1}\n" + b"".join(b"%c: &%c {<<: [%s]}\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 10)) for c in range(98, 112))),
    "itself": ("yaml", b"a: &a [*a]"),
    "merges itself": ("yaml", b"a: &a\n  <<: *a\n"),
    "half a letter": ("yaml", b'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: "\\ud800"}\n'),
    "a key of YAML's own": ("yaml", b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {? [a, b] : c}\n"),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_body_that_stands_for_more_than_it_is_is_refused(listening, caplog, bomb):
    kind, body = BOMBS[bomb]
    status, told = await say(
        listening, b"POST %s\r\nContent-Type: application/%s\r\n" % (MAPS.encode(), kind.encode()), body
    )
    assert (status, json.loads(told)["reason"]) == (400, "BadRequest")
    assert not caplog.records


async def test_yaml_takes_long_to_read_so_it_must_be_short(listening):
    body = b"# " + b"x" * 600_000
    status, _ = await say(listening, b"POST %s\r\nContent-Type: application/yaml\r\n" % MAPS.encode(), body)
    assert status == 413


async def test_a_json_patch_cannot_double_itself_without_end(listening, http):
    async with http.post(MAPS, json={"metadata": {"name": "a"}, "data": {"k": "x" * 1000}}):
        pass
    patch = [{"op": "copy", "from": "/data", "path": f"/data/{number}"} for number in range(40)]
    head = b"PATCH %s/a\r\nContent-Type: application/json-patch+json\r\n" % MAPS.encode()
    status, told = await say(listening, head, json.dumps(patch).encode())
    assert status == 413
    assert b"accumulated size increase of copy operations" in told


async def test_open_paths_have_no_body(listening):
    status, told = await say(
        listening, b"GET /healthz\r\nAuthorization: none\r\nContent-Length: 100000000\r\n", b"x" * 1000
    )
    assert (status, told) == (200, b"ok")


async def test_a_body_that_does_not_come_is_not_waited_for(server):
    listening = http_server.HttpServer(server, token="let-me-in", tls=None, body_seconds=0.1)
    await listening.start("127.0.0.1", 0)
    status, told = await say(
        listening, b"POST %s\r\nContent-Type: application/json\r\nContent-Length: 50\r\n" % MAPS.encode(), b"{"
    )
    assert (status, json.loads(told)["reason"]) == (408, "Timeout")
    await listening.close()


async def test_there_is_an_end_to_open_watches(listening, http, monkeypatch):
    monkeypatch.setattr(http_server, "MAX_STREAMS", 2)
    watches = [await http.get(MAPS, params={"watch": "1"}) for _ in range(2)]
    async with http.get(MAPS, params={"watch": "1"}) as answer:
        assert (answer.status, (await answer.json())["reason"]) == (429, "TooManyRequests")
    watches.pop().close()
    while len(listening._readers) > 1:
        await asyncio.sleep(0)
    async with http.get(MAPS, params={"watch": "1", "timeoutSeconds": "1"}) as answer:
        assert answer.status == 200
    watches.pop().close()
