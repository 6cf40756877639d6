from datetime import UTC, datetime

import pytest

from kubekit.client.transport import Request
from localkube.store.pod_logs import LogOptions
from support.manifests import pod


class Reader:
    """A node with one log; it notes what it was asked."""

    def __init__(self, *chunks):
        self.chunks = chunks
        self.asked = []

    async def __call__(self, namespace, name, container, options):
        self.asked.append((namespace, name, container, options))
        if not self.chunks:
            raise KeyError(container)
        return self.read()

    async def read(self):
        for chunk in self.chunks:
            yield chunk


async def ask(api, name="p", **query):
    items = tuple((key, str(value)) for key, value in query.items())
    return await api.server.handle(Request("GET", api.path("pods", name, "log"), items))


async def test_a_log_comes_from_the_node_as_it_is_asked_for(api):
    api.create("pods", pod("p", nodeName="one"))
    reader = Reader(b"one\n", b"two\n")
    api.server.set_log_reader(reader)

    answer = await ask(
        api, tailLines=5, limitBytes=9, timestamps="true", sinceTime="2024-08-06T14:30:00Z", follow="false"
    )

    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "text/plain", b"one\ntwo\n")
    moment = datetime(2024, 8, 6, 14, 30, tzinfo=UTC)
    assert reader.asked == [("default", "p", "c", LogOptions(timestamps=True, tail=5, limit=9, since=moment))]
    assert api.server.requests["get", "pods/log", 200] == 1


async def test_a_log_can_be_followed(api):
    api.create("pods", pod("p", nodeName="one"))
    api.server.set_log_reader(Reader(b"one\n", b"two\n"))

    stream = await api.server.stream(Request("GET", api.path("pods", "p", "log"), (("follow", "true"),)))

    assert [chunk async for chunk in stream.chunks] == [b"one\n", b"two\n"]


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({"container": "nope"}, 400, "container nope is not valid for pod p"),
        (
            {},
            400,
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]",
        ),
        ({"container": "a", "tailLines": "x"}, 400, "invalid syntax"),
        ({"container": "a", "sinceTime": "x"}, 400, "sinceTime"),
        ({"container": "a", "sinceTime": "2024-08-06T14:30:00Z", "sinceSeconds": 1}, 422, "at most one of"),
    ],
)
async def test_a_wrong_question_is_refused(api, query, status, said):
    containers = [{"name": name, "image": "x"} for name in "ab"]
    api.create("pods", pod("p", nodeName="one", containers=containers, initContainers=[{"name": "i", "image": "x"}]))
    api.server.set_log_reader(Reader(b"x"))

    answer = await ask(api, **query)

    assert answer.status == status
    assert said in answer.body.decode()


async def test_a_container_without_a_log_says_why(api):
    api.create("pods", pod("p", nodeName="one"))
    api.server.set_log_reader(Reader())
    status = {
        "containerStatuses": [
            {"name": "c", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}
        ]
    }
    api.merge("pods", "p", {"status": status}, sub="status").expect(200)

    answer = await ask(api)

    assert answer.status == 400
    assert b"is waiting to start: ErrImagePull: no such image" in answer.body
    assert b"previous terminated container" in (await ask(api, previous="true")).body


async def test_a_pod_without_a_node_has_an_empty_log_and_no_node_is_an_error(api):
    api.create("pods", pod("p"))
    api.create("pods", pod("q", nodeName="one"))

    assert (await ask(api)).body == b""
    assert (await ask(api, "q")).status == 503
    assert (await ask(api, "nope")).status == 404
