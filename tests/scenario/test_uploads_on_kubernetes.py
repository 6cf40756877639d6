"""A disk is uploaded with the command to a receiver of our node, beside a real API server.

`services/proxy` is not shown here: an API server forwards to no loopback address, and that is where the Pods of this rig are.
"""

import asyncio
import contextlib
import http.client
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from datamover.api import names, upload
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from datamover.api.definitions import data_volume_crds
from datamover.cli.disks import MakePopulate
from datamover.cli.uploading import read_keys
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from support.filling import VOLUMES
from support.importing import noise
from support.kubernetes import ControlPlane
from support.scenario import AGENT, CLASS, Cluster, real_cluster

pytestmark = pytest.mark.kubernetes
MIB = 2**20


def free_port() -> int:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def port() -> int:
    """Where the receiver listens: the Pods of this rig share one address."""
    return free_port()


@pytest.fixture
async def world(kubernetes: ControlPlane, namespace: str, tmp_path: Path, port: int) -> AsyncIterator[Cluster]:
    for each in data_volume_crds():
        kubernetes.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", each)
    images = {names.DEFAULT_IMAGE_REPOSITORY: (AGENT[0], f"LISTEN_PORT={port}", *AGENT[1:])}
    async with real_cluster(kubernetes, namespace, tmp_path, kinds=(MakePopulate(),), images=images) as found:
        yield found
    kubernetes.call("DELETE", f"/apis/cdi.kubevirt.io/v1beta1/namespaces/{namespace}/datavolumes")


async def reached(world: Cluster, phase: str) -> DataVolume:
    async def is_there() -> bool:
        found = await world.client.get(DATA_VOLUMES, "disk", namespace=world.namespace)
        return found.status is not None and found.status.phase == phase

    await world.wait_for(is_there)
    return await world.client.get(DATA_VOLUMES, "disk", namespace=world.namespace)


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
    spec = {
        "source": {"upload": {}},
        "storage": {"resources": {"requests": {"storage": "4Mi"}}, "storageClassName": CLASS},
    }
    await world.create(DATA_VOLUMES, "disk", spec=spec)
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
    command = [sys.executable, "-m", "datamover.cli.entry", "upload", "disk", str(file)]
    command += ["-n", world.namespace, "--kubeconfig", str(kubernetes.admin_kubeconfig)]
    command += ["--server", f"https://127.0.0.1:{port}", "-o", "json"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for token in refused.values():
        assert token not in done.stdout + done.stderr or token == "x"
    await reached(world, "Succeeded")
    claim = await world.client.get(PERSISTENT_VOLUME_CLAIMS, "disk", namespace=world.namespace)
    found = await world.client.get(VOLUMES, claim.spec.volume_name)
    disk = (Path(found.directory) / "disk.img").read_bytes()
    assert disk[:MIB] == image
    assert not any(disk[MIB:])

    async def is_tidy() -> bool:
        return not await world.client.list(JOBS, namespace=world.namespace)

    await world.wait_for(is_tidy)
