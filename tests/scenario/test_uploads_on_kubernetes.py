"""A disk is uploaded with the command to a receiver of our node, beside a real API server.

`services/proxy` is not shown here: an API server forwards to no loopback address, and that is where the Pods of this rig are.
"""

import asyncio
import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datamover.api import upload
from datamover.api.cdi.names import DELETE_AFTER_COMPLETION
from datamover.cli.uploading import read_keys
from kubekit.words.batch import JOBS
from support.importing import noise
from support.kubernetes import ControlPlane
from support.scenario import Cluster
from support.standalone import MIB, free_port, listening_on, make_upload, reached, read_disk, send, standalone

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def port() -> int:
    """Where the receiver listens: the Pods of this rig share one address."""
    return free_port()


@pytest.fixture
async def world(kubernetes: ControlPlane, namespace: str, tmp_path: Path, port: int) -> AsyncIterator[Cluster]:
    async with standalone(kubernetes, namespace, tmp_path, images=listening_on(port)) as found:
        yield found


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=5)):
        return True
    return False


def put(port: int, token: str) -> int:
    """Send a few bytes with a token, and return the answer's code."""
    context = ssl._create_unverified_context()
    with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)) as connection:
        connection.request("PUT", upload.PATH, body=b"x" * 512, headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status


async def test_an_upload_arrives_and_no_token_but_a_good_one_opens_the_receiver(
    world: Cluster, kubernetes: ControlPlane, port: int
) -> None:
    await make_upload(world, **{DELETE_AFTER_COMPLETION: "false"})
    volume = await reached(world, "UploadReady")
    await world.wait_for(lambda: asyncio.to_thread(listens, port))
    keys = await read_keys(world.client, volume)
    uid, now = volume.metadata.uid, time.time()
    refused = {
        "expired": upload.sign(keys.key, uid=uid, now=now - 2 * upload.SECONDS),
        "forged": upload.sign(b"k" * upload.KEY_BYTES, uid=uid, now=now),
        "of another DataVolume": upload.sign(keys.key, uid="6f1a3c52-0000-4000-8000-000000000001", now=now),
        "none": "x",
    }
    answers = {why: await asyncio.to_thread(put, port, token) for why, token in refused.items()}
    assert set(answers.values()) == {401}, answers
    await reached(world, "UploadReady")

    image = noise(MIB)
    file = world.place / "mine.raw"
    file.write_bytes(image)
    done = await send(world, kubernetes, file, port=port)
    assert done.returncode == 0, done.stdout + done.stderr
    for token in refused.values():
        assert token not in done.stdout + done.stderr or token == "x"
    await reached(world, "Succeeded")
    disk = await read_disk(world)
    assert disk[:MIB] == image
    assert not any(disk[MIB:])

    async def is_tidy() -> bool:
        return not await world.client.list(JOBS, namespace=world.namespace)

    await world.wait_for(is_tidy)
