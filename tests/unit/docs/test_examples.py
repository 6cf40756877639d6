"""The examples on the pages of kubekit and localkube are run as they are printed."""

import asyncio
import importlib.util
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import pytest

import kubekit
import localkube
from kubekit.client.client import Client
from kubekit.client.connection import connect
from kubekit.words.core import CONFIG_MAPS, EVENTS
from localkube.store.apiserver import ApiServer
from localkube.transport import LocalTransport
from support.kubernetes import ControlPlane

DOCS = Path(__file__).resolve().parents[3] / "docs"


def example(page: str, heading: str, *, number: int = 0) -> str:
    """Return a Python block below a heading."""
    text = (DOCS / page).read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[number]


def load(text: str, place: Path) -> ModuleType:
    file = place / "example.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location("example_of_a_page", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def running(module: ModuleType, client: Client) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(module.run(client, stop))
    try:
        yield
        stop.set()
        async with asyncio.timeout(30):
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def count_keys(module: ModuleType, client: Client, namespace: str) -> None:
    """Let the operator of kubekit's page count the keys of ConfigMaps: one that is there before it, one that changes, one that is not asked for."""

    def config_map(name: str, keys: int, **labels: str) -> dict[str, object]:
        data = {f"key-{index}": "" for index in range(keys)}
        return {"metadata": {"name": name, "namespace": namespace, "labels": labels}, "data": data}

    async def counted(name: str, wanted: str) -> None:
        async with asyncio.timeout(30):
            while True:
                found = await client.get(CONFIG_MAPS, name, namespace=namespace)
                if found.metadata.annotation("example.com/keys") == wanted:
                    return
                await asyncio.sleep(0.02)

    asked = {"example.com/count": "yes"}
    await client.create(CONFIG_MAPS, config_map("before", 1, **asked))
    await client.create(CONFIG_MAPS, config_map("other", 1))
    async with running(module, client):
        await counted("before", "1")
        await client.create(CONFIG_MAPS, config_map("later", 2, **asked))
        await counted("later", "2")
        patch = {"data": {"one-more": ""}}
        await client.patch(CONFIG_MAPS, "before", patch, namespace=namespace, field_manager="test")
        await counted("before", "2")
    other = await client.get(CONFIG_MAPS, "other", namespace=namespace)
    assert other.metadata.annotation("example.com/keys") is None
    events = await client.list(EVENTS, namespace=namespace)
    told = {(event.involved_object.name, event.message) for event in events if event.involved_object}
    assert told == {("before", "it has 1 keys"), ("later", "it has 2 keys"), ("before", "it has 2 keys")}


async def test_the_operator_of_the_page_runs_on_the_embedded_server(tmp_path: Path) -> None:
    module = load(example("kubekit.md", "An operator"), tmp_path)
    await count_keys(module, Client(LocalTransport(ApiServer())), "default")


async def test_the_operator_of_the_page_runs_on_a_real_api_server(
    kubernetes: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    module = load(example("kubekit.md", "An operator"), tmp_path)
    async with connect(kubernetes.admin_kubeconfig) as client:
        await count_keys(module, client, namespace)


def test_a_kind_of_ones_own_is_declared_as_the_page_says(tmp_path: Path) -> None:
    module = load(example("kubekit.md", "An operator", number=1), tmp_path)
    assert module.WIDGETS.path(namespace="default", name="one") == "/apis/example.com/v1/namespaces/default/widgets/one"


def test_the_test_of_the_page_passes_by_itself(tmp_path: Path) -> None:
    """With pytest and nothing of this repository's configuration."""
    (tmp_path / "test_example.py").write_text(example("localkube.md", "A test"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(
        [*command, "--rootdir", ".", "test_example.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("package", [kubekit, localkube], ids=lambda package: package.__name__)
def test_every_name_that_a_building_offers_is_there(package: ModuleType) -> None:
    assert all(getattr(package, name) is not None for name in package.__all__)
    assert set(package.__all__) == set(package._HOMES)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        package.nonsense  # noqa: B018


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import kubekit.words.meta", "aiohttp"),
        ("import kubekit, localkube", "aiohttp"),
        ("from kubekit import Key", "aiohttp"),
    ],
)
def test_a_name_loads_only_what_it_needs(statement: str, unwanted: str) -> None:
    check = f"import sys; {statement}; sys.exit({unwanted!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], timeout=30, check=False).returncode == 0
