"""`datamover upload`: who may send, what is compared, and what is tried again."""

import base64
import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from datamover.agent.errors import Failure
from datamover.api import transfer, upload
from datamover.cli import upload as command
from datamover.cli import uploading
from datamover.cli.main import main
from datamover.cli.upload import UploadRequest
from datamover.cli.upload_file import File
from datamover.cli.upload_keys import make_keys
from datamover.cli.uploading import Done, Errand, Exit, Keys, UploadError
from kubekit.client.client import Client
from kubekit.client.cluster import ClusterConfig
from kubekit.client.http import HttpTransport
from kubekit.client.transport import Request, Response
from support.tiny_server import TinyServer
from support.uploads import DISK, KEY, UID, Running, running

VOLUMES = "/apis/cdi.kubevirt.io/v1beta1/namespaces/default/datavolumes"
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
SECRETS = "/api/v1/namespaces/default/secrets"


class Cluster:
    """An API server that knows one DataVolume."""

    def __init__(self) -> None:
        self.server = TinyServer()
        self.client = Client(self.server.transport(self._find))
        self.said: list[str] = []

    async def _find(self, request: Request) -> Response | None:
        return None if request.path in self.server.objects else Response(404, {}, b'{"reason":"NotFound"}')

    def put(self, phase: str = "UploadReady", *, source: Any = None, uid: str = UID, **metadata: Any) -> None:
        conditions = [{"type": "Ready", "status": "False", "message": "the receiver starts"}]
        self.server.put(
            VOLUMES,
            "disk",
            metadata={"uid": uid, **metadata},
            spec={"source": source or {"upload": {}}, "storage": {}},
            status={"phase": phase, "conditions": conditions},
        )

    def put_secret(self, **data: bytes) -> None:
        found = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}
        self.server.put(SECRETS, upload.name_of(UID), data=found)

    async def ready(self, timeout: float = 0) -> Any:
        return await uploading.await_ready(
            self.client, namespace="default", name="disk", timeout=timeout, say=self.said.append
        )


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(uploading, "LOOK", 0.01)
    monkeypatch.setattr(uploading, "_LOST", 0.2)

    async def no_pause(_: float) -> None:
        return None

    monkeypatch.setattr(uploading, "_pause", no_pause)
    return Cluster()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(DISK)
    return path


def direct(one: Running) -> HttpTransport:
    server = f"https://127.0.0.1:{one.receiver.port}"
    return HttpTransport(ClusterConfig(server, ca=one.certificate.read_bytes(), source="test"))


async def errand(cluster: Cluster, file: File, **changes: Any) -> Errand:
    given: dict[str, Any] = {"volume": await cluster.ready(), "keys": Keys(KEY, b""), "file": file, "retries": 2}
    return Errand(**{**given, **changes})


async def send(cluster: Cluster, asked: Errand, way: Any) -> Done:
    try:
        return await uploading.send(asked, way, cluster.client, say=cluster.said.append, sent=lambda _: None)
    finally:
        if isinstance(way, HttpTransport):
            await way.close()


# Before.


@pytest.mark.parametrize(
    ("phase", "source", "metadata", "code", "words"),
    [
        ("Succeeded", None, {}, Exit.USAGE, "complete already"),
        ("Failed", None, {}, Exit.FAILED, "has failed"),
        ("Pending", {"blank": {}}, {}, Exit.USAGE, "another source"),
        ("Pending", None, {"deletionTimestamp": "2026-11-30T00:00:00Z"}, Exit.USAGE, "being deleted"),
        ("UploadScheduled", None, {}, Exit.TIMEOUT, "the receiver starts"),
    ],
)
async def test_what_does_not_wait_for_an_upload_says_why(
    cluster: Cluster, phase: str, source: Any, metadata: dict[str, Any], code: Exit, words: str
) -> None:
    cluster.put(phase, source=source, **metadata)
    with pytest.raises(UploadError, match=words) as error:
        await cluster.ready()
    assert error.value.code == code


async def test_g22_a_name_that_was_collected_is_told_as_such(cluster: Cluster) -> None:
    with pytest.raises(UploadError, match="there is no DataVolume disk"):
        await cluster.ready()
    cluster.server.put(CLAIMS, "disk", metadata={"annotations": {}})
    with pytest.raises(UploadError, match="somebody else's"):
        await cluster.ready()
    cluster.server.put(CLAIMS, "disk", metadata={"annotations": {"cdi.kubevirt.io/garbageCollected": "true"}})
    with pytest.raises(UploadError, match="was collected: it is complete"):
        await cluster.ready()


async def test_it_waits_until_the_receiver_is_ready_and_says_for_what(cluster: Cluster) -> None:
    cluster.put("UploadScheduled")

    def become_ready(line: str) -> None:
        cluster.said.append(line)
        cluster.put("UploadReady")

    found = await uploading.await_ready(cluster.client, namespace="default", name="disk", timeout=20, say=become_ready)
    assert found.metadata.uid == UID
    assert cluster.said == ["waiting for DataVolume disk: the receiver starts"]


async def test_keys_come_from_the_secret_of_the_datavolume(cluster: Cluster) -> None:
    cluster.put()
    volume = await cluster.ready()
    with pytest.raises(UploadError, match="virtctl"):
        await uploading.read_keys(cluster.client, volume)
    cluster.put_secret(key=KEY)
    with pytest.raises(UploadError, match=r"lacks key or ca\.crt"):
        await uploading.read_keys(cluster.client, volume)
    cluster.put_secret(key=KEY, ca_crt=b"PEM")
    keys = await uploading.read_keys(cluster.client, volume)
    assert (keys.key, keys.authority) == (KEY, b"PEM")
    assert "kkkk" not in repr(keys)


# Sending.


async def test_g8_a_file_arrives_and_what_is_told_back_is_compared(
    cluster: Cluster, tmp_path: Path, disk: Path
) -> None:
    cluster.put()
    with running(tmp_path) as one:
        done = await send(cluster, await errand(cluster, File(str(disk)), wanted=digest(DISK)), direct(one))
    assert done == Done(len(DISK), digest(DISK), len(DISK))
    assert one.taken == [DISK]


async def test_standard_input_is_sent_as_it_comes(cluster: Cluster, tmp_path: Path) -> None:
    cluster.put()
    with running(tmp_path) as one:
        done = await send(cluster, await errand(cluster, File(None, stdin=io.BytesIO(DISK))), direct(one))
    assert done.checksum == digest(DISK)
    assert one.taken == [DISK]


async def test_an_archive_goes_to_its_own_place(cluster: Cluster) -> None:
    cluster.put()
    assert uploading.path_of(await cluster.ready()) == upload.PATH
    cluster.server.put(VOLUMES, "disk", spec={"source": {"upload": {}}, "storage": {}, "contentType": "archive"})
    assert uploading.path_of(await cluster.ready()) == upload.ARCHIVE_PATH


async def test_through_the_api_server_it_goes_to_the_service(cluster: Cluster) -> None:
    cluster.put()
    volume = await cluster.ready()
    assert uploading.forwarded(volume) == f"/api/v1/namespaces/default/services/https:upload-{UID}:443/proxy"
    assert uploading.host_of(volume) == f"upload-{UID}.default.svc"


async def test_what_the_receiver_refuses_is_told_and_not_tried_again(
    cluster: Cluster, tmp_path: Path, disk: Path
) -> None:
    cluster.put()
    too_large = Failure(transfer.NO_SPACE, transfer.REASON_TOO_LARGE, "it does not fit into the claim")
    with running(tmp_path, refuse=lambda _: too_large) as one:
        with pytest.raises(UploadError, match=r"TooLarge\): it does not fit"):
            await send(cluster, await errand(cluster, File(str(disk))), direct(one))
        with pytest.raises(UploadError, match="not one of this receiver"):
            await send(cluster, await errand(cluster, File(str(disk)), keys=Keys(b"o" * 32, b"")), direct(one))
        with pytest.raises(UploadError, match="UploadChecksumDiffers"):
            await send(cluster, await errand(cluster, File(str(disk)), wanted=digest(b"another")), direct(one))
    assert len(one.failures) == 2
    assert not cluster.said


async def test_a_file_that_cannot_be_read_or_becomes_shorter_is_told(
    cluster: Cluster, tmp_path: Path, disk: Path
) -> None:
    cluster.put()
    with running(tmp_path) as one:
        shorter = File(str(disk))
        disk.write_bytes(DISK[:1000])
        with pytest.raises(UploadError, match="became shorter"):
            await send(cluster, await errand(cluster, shorter), direct(one))
        disk.unlink()
        with pytest.raises(UploadError, match="cannot be read"):
            await send(cluster, await errand(cluster, shorter), direct(one))
    assert not one.taken


async def test_an_answer_that_was_lost_counts_when_the_datavolume_is_complete(
    cluster: Cluster, tmp_path: Path, disk: Path
) -> None:
    cluster.put()
    asked = await errand(cluster, File(str(disk)))

    def lose() -> bool:
        cluster.put("Succeeded")
        return True

    with running(tmp_path, broken=lose) as one:
        done = await send(cluster, asked, direct(one))
    assert done == Done(len(DISK), digest(DISK), 0)
    assert one.taken == [DISK], "and it is not sent twice"


async def test_the_receiver_is_known_by_the_certificate_of_its_secret_wherever_it_is_reached_and_nobody_else_is(
    cluster: Cluster, tmp_path: Path, disk: Path
) -> None:
    cluster.put()
    made, other = make_keys(upload.hosts_of(UID, "default")), make_keys(upload.hosts_of(UID, "default"))
    pair = tmp_path / "tls.crt", tmp_path / "tls.key"
    for path in pair:
        path.write_bytes(made[path.name])
    asked = UploadRequest(None, None, None, "disk", str(disk))
    with running(tmp_path, pair=pair) as one:
        asked = replace(asked, server=f"https://127.0.0.1:{one.receiver.port}/")
        host = uploading.host_of(await cluster.ready())
        for keys in (Keys(KEY, made["ca.crt"]), Keys(KEY, other["ca.crt"])):
            way = HttpTransport(command._direct(asked, keys, host=host))
            if keys.authority == made["ca.crt"]:
                assert (await send(cluster, await errand(cluster, File(str(disk))), way)).bytes == len(DISK)
                continue
            with pytest.raises(UploadError, match=r"cut after 0 bytes .*certificate"):
                await send(cluster, await errand(cluster, File(str(disk)), retries=0), way)
        (tmp_path / "mine.pem").write_bytes(made["ca.crt"])
        of_user = command._direct(
            replace(asked, authority=tmp_path / "mine.pem"), Keys(KEY, other["ca.crt"]), host="never asked"
        )
        assert (await send(cluster, await errand(cluster, File(str(disk))), HttpTransport(of_user))).bytes == len(DISK)
    assert one.taken == [DISK, DISK]


@pytest.mark.parametrize("server", ["http://host", "host:8443", "https://", ""])
def test_a_receiver_is_spoken_to_by_tls_only(server: str) -> None:
    with pytest.raises(UploadError, match="is no https"):
        command._direct(UploadRequest(None, None, None, "disk", "x", server=server), Keys(KEY, b""), host="h")


class Scripted:
    """A way whose answers are written down: what an API server or a proxy says in the place of a receiver."""

    def __init__(self, *answers: Response) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []

    async def send(self, request: Request, chunks: Any, *, idle_timeout: float, answer_timeout: float) -> Response:
        del idle_timeout, answer_timeout
        self.requests.append(request)
        async for _ in chunks:
            pass
        return self.answers.pop(0)


def answer(status: int, body: bytes = b"") -> Response:
    return Response(status, {}, body)


TAKEN = answer(200, b'{"checksum":"%s","bytes":%d,"disk":7}' % (digest(DISK).encode(), len(DISK)))
BUSY = answer(503, b'{"reason":"UploadBusy","message":"another upload is under way"}')


async def test_a_receiver_that_is_busy_or_not_reached_is_asked_again_with_a_new_token(
    cluster: Cluster, disk: Path
) -> None:
    cluster.put()
    way = Scripted(BUSY, answer(502, b'{"kind":"Status","message":"no endpoints available"}'), TAKEN)
    done = await send(cluster, await errand(cluster, File(str(disk)), prefix="/proxy"), way)
    assert done.disk == 7
    assert [each.path for each in way.requests] == [f"/proxy{upload.PATH}"] * 3
    assert "another upload is under way" in cluster.said[0]
    assert "no endpoints available" in cluster.said[1]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([BUSY] * 3, "begin anew"),
        ([answer(403, b'{"message":"cannot create services/proxy"}')], "--server"),
        ([answer(200, b"<html>login</html>")], "was not taken"),
        ([answer(404, b"\x1b[2Jnothing")], "nothing"),
        ([answer(200, b'{"checksum":"sha256:00","bytes":1}')], "complete with another disk"),
        ([answer(200, b'{"bytes":1}')], "told no checksum"),
    ],
)
async def test_what_is_no_success_is_never_called_one(
    cluster: Cluster, disk: Path, answers: list[Response], words: str
) -> None:
    cluster.put()
    with pytest.raises(UploadError, match=words) as error:
        await send(cluster, await errand(cluster, File(str(disk))), Scripted(*answers))
    assert "\x1b" not in str(error.value)


async def test_standard_input_is_not_sent_twice(cluster: Cluster) -> None:
    cluster.put()
    way = Scripted(BUSY)
    with pytest.raises(UploadError, match="begin anew"):
        await send(cluster, await errand(cluster, File(None, stdin=io.BytesIO(b"abc"))), way)
    assert len(way.requests) == 1


# After.


async def test_it_ends_when_the_datavolume_is_complete_or_was_collected(cluster: Cluster) -> None:
    cluster.put("Succeeded")
    volume = await uploading._get(cluster.client, "default", "disk")
    await uploading.await_done(cluster.client, volume, timeout=0)
    cluster.put("UploadReady")
    with pytest.raises(UploadError, match="not Succeeded yet") as error:
        await uploading.await_done(cluster.client, volume, timeout=0)
    assert error.value.code == Exit.TIMEOUT
    cluster.server.delete(f"{VOLUMES}/disk")
    with pytest.raises(UploadError, match="and its claim with it"):
        await uploading.await_done(cluster.client, volume, timeout=0)
    cluster.server.put(CLAIMS, "disk", metadata={"annotations": {}})
    with pytest.raises(UploadError, match="deleted meanwhile"):
        await uploading.await_done(cluster.client, volume, timeout=0)
    cluster.server.put(CLAIMS, "disk", metadata={"annotations": {"cdi.kubevirt.io/garbageCollected": "true"}})
    await uploading.await_done(cluster.client, volume, timeout=0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["disk"], "Missing argument 'FILE'"),
        (["disk", "x", "--checksum", "md5:00"], "sha256:"),
        (["disk", "x", "-n", "No"], "namespace"),
    ],
)
def test_a_command_line_that_is_wrong_ends_with_2(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(main, ["upload", *arguments])
    assert result.exit_code == 2
    assert words in result.output


def test_a_file_that_is_missing_ends_with_2(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["upload", "disk", str(tmp_path / "missing"), "-o", "json"])
    assert result.exit_code == 2
    assert "cannot be read" in result.output
