import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from localkube.controllers.suite import LocalControllers
from localkube.node.kinds import CLAIMS, STORAGE_CLASSES, VOLUMES
from localkube.node.names import DRIVER
from localkube.node.node import LocalNode, NodeOptions
from localkube.node.pod_kinds import PODS
from support.embedded import Embedded, embedded

IMAGES = {"host": (), "greeter": ("sh", "-c", 'echo "hello $0"')}


class NodeWorld(Embedded):
    """The embedded API server with controllers and a node; containers of image `host` run programs of this machine."""

    def __init__(self, base: Embedded, state: Path, *, node_name: str = "n") -> None:
        super().__init__(base.client, base.server, namespace=base.namespace)
        self.state = state
        self.node_name = node_name
        self.node: LocalNode
        self._node_task: Any = None

    async def start_node(self, **options: Any) -> LocalNode:
        settings = {"name": self.node_name, "stop_grace": 0.5, "crash_base": 0.05, **options}
        self.node = LocalNode(self.client, state_dir=self.state, images=IMAGES, options=NodeOptions(**settings))
        self._node_task = self.run(self.node.run)
        return self.node

    async def stop_node(self) -> None:
        await self.stop(self._node_task)

    async def storage_class(
        self, name: str = "local", *, mode: str = "Immediate", reclaim: str = "Delete", **parameters: str
    ) -> None:
        manifest = {
            "metadata": {"name": name},
            "provisioner": DRIVER,
            "volumeBindingMode": mode,
            "reclaimPolicy": reclaim,
            "parameters": parameters,
        }
        await self.create(STORAGE_CLASSES, manifest)

    async def claim(self, name: str = "c", *, size: str = "1Gi", storage_class: str = "local", **spec: Any) -> Any:
        body = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": size}},
            **spec,
        }
        return await self.create(CLAIMS, {"metadata": {"name": name}, "spec": body})

    async def bound(self, name: str = "c") -> Path:
        """Wait until a claim is bound and return its directory."""

        async def is_bound() -> Any:
            claim = await self.get(CLAIMS, name)
            return claim if claim is not None and claim.phase == "Bound" else None

        claim = await self.until(is_bound, what=f"{name} is bound")
        return Path((await self.get(VOLUMES, claim.volume_name)).directory)

    async def pod(self, name: str = "p", script: str = "exit 0", *, container: Any = None, **spec: Any) -> Any:
        main = {"name": "main", "image": "host", "command": ["sh", "-c", script], **(container or {})}
        body = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [main], **spec}
        return await self.create(PODS, {"metadata": {"name": name}, "spec": body})

    async def until_phase(self, name: str = "p", *phases: str) -> Any:
        async def has() -> Any:
            pod = await self.get(PODS, name)
            return (
                pod
                if pod is not None and pod.status and pod.status.phase in (phases or ("Succeeded", "Failed"))
                else None
            )

        return await self.until(has, what=f"{name} {phases or 'has ended'}")

    async def until_waiting(self, reason: str, name: str = "p") -> dict[str, Any]:
        async def has() -> Any:
            pod = await self.get(PODS, name)
            for status in (pod.status.container_statuses if pod and pod.status else None) or ():
                if (status["state"].get("waiting") or {}).get("reason") == reason:
                    return status["state"]["waiting"]
            return None

        return await self.until(has, what=f"{name} waits with {reason}")

    async def log(self, name: str = "p", container: str = "main") -> str:
        data = await self.client.logs(name, namespace=self.namespace, container=container)
        return data.decode("utf-8", "replace")

    async def told(self, reason: str) -> str:
        """Wait for an Event with this reason and return its note."""

        async def has() -> Any:
            return [note for _, each, note in await self.events() if each == reason]

        return (await self.until(has, what=f"event {reason}"))[0]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
async def offline(state: Path) -> AsyncIterator[NodeWorld]:
    """Controllers without a node."""
    async with embedded() as base:
        world = NodeWorld(base, state)
        world.run(LocalControllers(base.client, server=base.server, job_backoff_base=0.01).run)
        try:
            yield world
        finally:
            await world.close()
            shutil.rmtree(state, ignore_errors=True)


@pytest.fixture
async def world(offline: NodeWorld) -> NodeWorld:
    """Controllers and a node."""
    await offline.start_node()
    offline.server.set_log_reader(lambda *arguments: offline.node.read_log(*arguments))
    return offline


@pytest.fixture
def node_world_type() -> type[NodeWorld]:
    """For fixtures that make their own world."""
    return NodeWorld
