"""The node as a process of its own, killed with -9 at random moments of its work."""

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from localkube.http_server import serve
from localkube.node import process
from localkube.node.kinds import CLAIMS, VOLUMES
from localkube.node.leftovers import MARKER, end_leftovers, marker_prefix
from localkube.node.pod_kinds import PODS

SRC = str(Path(process.__file__).parents[2])
NODE = """
import asyncio, json, sys
from pathlib import Path
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.http import HttpTransport
from localkube.node.node import LocalNode, NodeOptions
async def main():
    client = Client(HttpTransport(load_config(Path(sys.argv[1]))))
    options = NodeOptions(name="n", stop_grace=0.3, crash_base=0.05)
    node = LocalNode(client, state_dir=Path(sys.argv[2]), images={"host": ()}, options=options)
    running = asyncio.create_task(node.run())
    await node.ready.wait()
    print("ready", flush=True)
    await running
asyncio.run(main())
"""


class Crashing:
    """An embedded API server with its HTTP face, and a node that can be killed."""

    def __init__(self, world, kubeconfig, state):
        self.world = world
        self._arguments = [sys.executable, "-c", NODE, str(kubeconfig), str(state)]
        self._node = None

    async def start(self):
        environment = {**os.environ, "PYTHONPATH": SRC}
        self._node = await asyncio.create_subprocess_exec(
            *self._arguments, env=environment, stdout=asyncio.subprocess.PIPE
        )

    async def ready(self):
        async with asyncio.timeout(20):
            assert await self._node.stdout.readline() == b"ready\n"

    async def kill(self, number=signal.SIGKILL):
        if self._node is not None and self._node.returncode is None:
            self._node.send_signal(number)
            await self._node.communicate()


@pytest.fixture
async def crashing(offline, tmp_path, state):
    face = await serve(offline.server)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(face.kubeconfig()))
    made = Crashing(offline, kubeconfig, state)
    try:
        yield made
    finally:
        await made.kill()
        await face.close()
        await asyncio.to_thread(end_leftovers, state, patience=10)


def marked(state):
    prefix = f"{MARKER}={marker_prefix(state)}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if prefix in (entry / "environ").read_bytes():
                found.append(entry.name)
        except OSError:
            continue
    return found


async def outcome(world, name):
    pod = await world.get(PODS, name)
    return pod.status.phase, (pod.status.reason or "")


@pytest.mark.parametrize("seed", range(4))
async def test_wherever_the_node_is_killed_the_end_is_the_same(crashing, tmp_path, state, seed):
    world, chance = crashing.world, random.Random(seed)
    pods, clones = [f"p{n}" for n in range(6)], [f"c{n}" for n in range(6)]
    source = tmp_path / "source"
    source.mkdir()
    for number in range(400):
        (source / f"{number}").write_text("x" * number)
    ran = tmp_path / "ran"
    ran.mkdir()
    await world.storage_class()
    await crashing.start()
    await crashing.ready()
    await adopt(world, source)
    for name in clones:
        await world.claim(name, dataSource={"kind": "PersistentVolumeClaim", "name": "src"})
    for name in pods:
        await world.pod(name, f"echo x >> {ran}/{name}; sleep 0.{chance.randrange(1, 6)}; exit 0")
    for _ in range(4):
        await asyncio.sleep(chance.random() * 0.5)
        await crashing.kill()
        await crashing.start()
    await crashing.ready()
    ends = [(await world.until_phase(name)) and await outcome(world, name) for name in pods]
    assert set(ends) <= {("Succeeded", ""), ("Failed", "NodeRestart")}
    written = {(ran / name).read_text() for name in os.listdir(ran)}
    assert written <= {"", "x\n"}  # never twice; empty when it was cut off before it wrote
    for name in clones:
        directory = await world.bound(name)
        assert len(os.listdir(directory)) == 400
    places = [v.directory for v in await world.client.list(VOLUMES)]
    assert len(places) == len(set(places)) == 1 + len(clones)
    for name in pods:
        await world.delete(PODS, name, grace_period_seconds=0)
    for name in clones:
        await world.delete(CLAIMS, name)

    async def clean():
        left = os.listdir(state / "volumes") + os.listdir(state / "pods")
        return not left and len(await world.client.list(VOLUMES)) == 1

    await world.until(clean, what="nothing is left")
    assert marked(state) == []
    assert len(os.listdir(source)) == 400


async def adopt(world, source):
    """Make the source directory a claim, as the node's own helper does it."""
    from localkube.node.adoption import adopt_directory

    await adopt_directory(world.client, name="src", path=source, node="n", storage_class="local", state_dir=world.state)
    await world.bound("src")


async def test_objects_that_went_while_the_node_was_away_are_cleared_up(crashing, state):
    world = crashing.world
    await world.storage_class()
    await crashing.start()
    await crashing.ready()
    await world.claim("c")
    await world.bound("c")
    await world.pod("p", "exec sleep 100")
    await world.until_phase("p", "Running")
    await crashing.kill()
    await world.delete(PODS, "p", grace_period_seconds=0)
    await world.delete(CLAIMS, "c")
    await world.until_gone(CLAIMS, "c")
    await crashing.start()
    await crashing.ready()

    async def clean():
        return (
            not os.listdir(state / "volumes")
            and not os.listdir(state / "pods")
            and not await world.client.list(VOLUMES)
        )

    await world.until(clean)
    assert marked(state) == []


async def test_sigterm_to_the_node_ends_its_containers(crashing, state):
    await crashing.start()
    await crashing.ready()
    await crashing.world.pod("p", "exec sleep 100")
    await crashing.world.until_phase("p", "Running")
    await crashing.kill(signal.SIGTERM)

    async def none():
        return not marked(state)

    await crashing.world.until(none)
