import http.client
import ssl
from contextlib import asynccontextmanager

import pytest

from cluster.certificates import Authority
from kubekit.runtime.clock import SystemClock
from localkube.node.endpoint import EndpointError, LogEndpoint, read_options, subject

PATH = "/containerLogs/ns/pod/main"


class Reviews:
    """An API server that lets only one user in."""

    def __init__(self, allowed):
        self.allowed = allowed
        self.asked = []

    async def request_json(self, method, path, *, body):
        self.asked.append((body["spec"]["user"], body["spec"]["groups"], body["spec"]["resourceAttributes"]))
        return {"status": {"allowed": body["spec"]["user"] == self.allowed}}


async def logs(namespace, pod, container, options):
    if pod != "pod":
        raise KeyError(f'pod "{namespace}/{pod}" is not on this node')

    async def pieces():
        yield b"one\n"
        yield f"{container} {options.tail}\n".encode()

    return pieces()


@asynccontextmanager
async def endpoint(tmp_path, authority, reviews):
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    made = LogEndpoint(reviews, node="n", read_log=logs, client_ca=tmp_path / "ca.crt", clock=SystemClock())
    port = await made.open()
    try:
        yield port
    finally:
        await made.close()
        await made.close()


def context(pair, tmp_path):
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if pair is not None:
        pair.write(tmp_path, "client")
        made.load_cert_chain(tmp_path / "client.crt", tmp_path / "client.key")
    return made


async def ask(port, pair, tmp_path, path=PATH):
    import asyncio

    def talk():
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context(pair, tmp_path))
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    return await asyncio.to_thread(talk)


async def test_only_whom_the_api_server_lets_in_reads_logs(tmp_path):
    authority, reviews = Authority(), Reviews("api-server")
    async with endpoint(tmp_path, authority, reviews) as port:
        trusted = authority.client("api-server", ["system:masters"])
        assert await ask(port, trusted, tmp_path, PATH + "?tailLines=3") == (200, "one\nmain 3\n")
        assert await ask(port, trusted, tmp_path) == (200, "one\nmain None\n")
        assert len(reviews.asked) == 1
        assert reviews.asked[0] == (
            "api-server",
            ["system:masters"],
            {"verb": "get", "resource": "nodes", "subresource": "proxy", "name": "n"},
        )
        status, text = await ask(port, authority.client("mallory", []), tmp_path)
        assert status == 403
        assert "user=mallory" in text


@pytest.mark.parametrize(
    "pair", [None, Authority().client("api-server", ["system:masters"])], ids=["no certificate", "another authority"]
)
async def test_without_a_certificate_of_the_authority_there_is_no_connection(tmp_path, pair):
    async with endpoint(tmp_path, Authority(), Reviews("api-server")) as port:
        with pytest.raises((OSError, ssl.SSLError, http.client.HTTPException)):
            await ask(port, pair, tmp_path)


async def test_other_things_are_refused_by_name(tmp_path):
    authority = Authority()
    async with endpoint(tmp_path, authority, Reviews("api-server")) as port:
        trusted = authority.client("api-server", [])
        assert await ask(port, trusted, tmp_path, "/exec/ns/pod/main?command=id") == (
            501,
            "this node serves logs only, not exec",
        )
        assert await ask(port, trusted, tmp_path, "/containerLogs/ns/none/main") == (
            400,
            'pod "ns/none" is not on this node',
        )
        assert (await ask(port, trusted, tmp_path, PATH + "?tailLines=x"))[0] == 400


async def test_an_unreadable_authority_is_said(tmp_path):
    made = LogEndpoint(Reviews(""), node="n", read_log=logs, client_ca=tmp_path / "none", clock=SystemClock())
    with pytest.raises(EndpointError, match="client CA"):
        await made.open()


def test_options_are_read_as_a_kubelet_reads_them():
    found = read_options(
        {
            "follow": "true",
            "previous": "1",
            "timestamps": "false",
            "limitBytes": "5",
            "sinceTime": "2026-01-01T00:00:00Z",
        }
    )
    assert (found.follow, found.previous, found.timestamps, found.limit) == (True, True, False, 5)
    assert found.since.year == 2026


def test_user_and_groups_are_read_from_the_certificate():
    peer = {"subject": ((("organizationName", "a"),), (("organizationName", "b"),), (("commonName", "u"),))}
    assert subject(peer) == ("u", ("a", "b"))
