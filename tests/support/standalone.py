"""A real API server without a CDI: our operator fills DataVolumes and collects them at once, our node is the kubelet, and the worker is the real one."""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from datamover.api import names
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from datamover.api.definitions import data_volume_crds
from datamover.cli.datavolumes import data_volume_kinds
from datamover.cli.options import DataVolumeOptions, Options
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import Resource
from support.filling import VOLUMES
from support.kubernetes import ControlPlane
from support.scenario import AGENT, CLASS, IMAGES, Cluster, real_cluster

MIB = 2**20
GROUP = "/apis/cdi.kubevirt.io/v1beta1"
STORAGE = {"resources": {"requests": {"storage": "4Mi"}}, "storageClassName": CLASS}
WANTED = DataVolumeOptions(collection=True, ttl=0, population=True)


def define(plane: ControlPlane) -> None:
    """Install the definitions, and wait until they are served."""
    for each in data_volume_crds():
        if plane.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", each)[0] == 201:
            path = f"{GROUP}/{each['spec']['names']['plural']}"
            plane.api_server.wait_until(lambda path=path: plane.call("GET", path)[0] == 200, seconds=30)


@asynccontextmanager
async def standalone(
    plane: ControlPlane, namespace: str, place: Path, *, images: Mapping[str, tuple[str, ...]] = IMAGES
) -> AsyncGenerator[Cluster]:
    """A cluster whose operator fills DataVolumes of one namespace, and collects at once those that ask for it or are made from now on."""
    define(plane)
    wanted = replace(WANTED, home=namespace)
    kinds = data_volume_kinds(Options(data_volumes=wanted))
    async with real_cluster(plane, namespace, place, kinds=kinds, images=images, data_volumes=wanted) as found:
        yield found
    for plural in ("dataimportcrons", "datavolumes"):
        plane.call("DELETE", f"{GROUP}/namespaces/{namespace}/{plural}")


async def trees(world: Cluster, resource: Resource[Any]) -> dict[str, Any]:
    """Return all objects of a kind by their names, as they are stored."""
    found = await world.client.request_json("GET", resource.path(namespace=world.namespace))
    return {each["metadata"]["name"]: each for each in found["items"]}


async def reached(world: Cluster, phase: str, name: str = "disk") -> DataVolume:
    """Wait until a DataVolume is in a phase."""

    async def is_there() -> bool:
        found = await world.client.get(DATA_VOLUMES, name, namespace=world.namespace)
        return found.status is not None and found.status.phase == phase

    await world.wait_for(is_there)
    return await world.client.get(DATA_VOLUMES, name, namespace=world.namespace)


async def read_disk(world: Cluster, name: str = "disk") -> bytes:
    """Return what is in the disk of a claim, as a machine would see it."""
    claim = await world.client.get(PERSISTENT_VOLUME_CLAIMS, name, namespace=world.namespace)
    volume = await world.client.get(VOLUMES, claim.spec.volume_name)
    return (Path(volume.directory) / "disk.img").read_bytes()


async def make_upload(world: Cluster, name: str = "disk", **annotations: str) -> None:
    """Create a DataVolume that waits for an upload."""
    spec = {"source": {"upload": {}}, "storage": STORAGE}
    await world.create(DATA_VOLUMES, name, metadata={"annotations": annotations}, spec=spec)


def free_port() -> int:
    """Return a port for a receiver: the Pods of this rig share one address."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return listener.getsockname()[1]


def listening_on(port: int) -> Mapping[str, tuple[str, ...]]:
    """Return images whose receivers listen there."""
    return {names.DEFAULT_IMAGE_REPOSITORY: (AGENT[0], f"LISTEN_PORT={port}", *AGENT[1:])}


async def send(
    world: Cluster, plane: ControlPlane, file: Path, *, port: int, name: str = "disk"
) -> "subprocess.CompletedProcess[str]":
    """Upload a file with the command, straight to the receiver."""
    command = [sys.executable, "-m", "datamover.cli.entry", "upload", name, str(file)]
    command += ["-n", world.namespace, "--kubeconfig", str(plane.admin_kubeconfig)]
    command += ["--server", f"https://127.0.0.1:{port}", "-o", "json"]
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
