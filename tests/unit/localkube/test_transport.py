import asyncio
import random

import pytest

from kubekit.client.errors import TransportError
from kubekit.client.transport import Request, Response
from localkube.store.apiserver import ApiServer
from localkube.transport import LocalTransport
from support.clock import VirtualClock

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def transport():
    return LocalTransport(ApiServer(clock=VirtualClock(), random=random.Random(1)))


async def test_requests_are_answered_without_a_network(transport):
    answer = await transport.request(Request("POST", MAPS, body=b'{"metadata":{"name":"a"}}'))

    assert (answer.status, answer.headers["content-type"]) == (201, "application/json")
    await transport.close()


async def test_leaving_a_stream_closes_it(transport):
    async with transport.stream(Request("GET", MAPS, (("watch", "1"),))) as stream:
        assert stream.status == 200
        await transport.request(Request("POST", MAPS, body=b'{"metadata":{"name":"a"}}'))
        assert b'"ADDED"' in await anext(aiter(stream.chunks))

    assert transport._server.cut_watches() == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_stream_that_is_silent_for_too_long_is_an_error(transport):
    async with transport.stream(Request("GET", MAPS, (("watch", "1"),)), idle_timeout=0.01) as stream:
        with pytest.raises(TransportError, match="silent"):
            await anext(aiter(stream.chunks))


async def test_a_server_that_does_not_answer_is_an_error(transport):
    async def hang(request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    transport._server.intercept = hang
    with pytest.raises(TransportError, match="no answer"):
        await transport.request(Request("GET", MAPS), timeout=0.01)


async def test_a_refused_stream_is_an_answer_with_its_status(transport):
    async with transport.stream(Request("GET", "/api/v1/nopes", (("watch", "1"),))) as stream:
        assert stream.status == 404
        assert b'"NotFound"' in b"".join([chunk async for chunk in stream.chunks])


async def test_a_busy_client_lets_others_run(transport):
    ran = []

    async def other():
        ran.append("other")

    task = asyncio.ensure_future(other())
    await transport.request(Request("GET", MAPS))

    assert ran == ["other"]
    await task
