"""How long DataVolumes stay, from the webhook's own caches."""

import asyncio
import contextlib

import pytest

from datamover.api.cdi import names
from datamover.webhook.lifetimes import CachedLifetimes
from kubekit.client.client import Client
from kubekit.client.transport import Request, Response
from support.clock import VirtualClock, settle
from support.scripted_transport import failure
from support.tiny_server import TinyServer

NAMESPACES = "/api/v1/namespaces"
CONFIGS = "/apis/cdi.kubevirt.io/v1beta1/cdiconfigs"


@contextlib.asynccontextmanager
async def watching(server: TinyServer, *, own: int | None = None, namespace: str | None = None, refused: dict | None = None):  # fmt: skip
    async def interfere(request: Request) -> Response | None:
        return failure((refused or {})[request.path]) if request.path in (refused or {}) else None

    clock = VirtualClock()
    lifetimes = CachedLifetimes(Client(server.transport(interfere), clock=clock), own=own, namespace=namespace, clock=clock)  # fmt: skip
    assert lifetimes(namespace or "shop") is None
    task = asyncio.create_task(lifetimes.run())
    await settle(60)
    yield lifetimes
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def labelled(server: TinyServer, value: str, name: str = "shop") -> None:
    server.put(NAMESPACES, name, metadata={"name": name, "labels": {names.TTL_LABEL: value}})


@pytest.mark.parametrize(
    ("label", "own", "config", "seconds"),
    [
        (None, None, None, None),
        (None, None, 10, 10),
        (None, 5, 10, 5),
        ("0", 5, 10, 0),
        ("-1", 5, 10, None),
        ("soon", 5, 10, None),
        (None, -1, 10, None),
    ],
)
async def test_the_label_comes_before_the_own_setting_and_that_before_cdiconfig(label, own, config, seconds):
    server = TinyServer()
    if label is not None:
        labelled(server, label)
    if config is not None:
        server.put(CONFIGS, "config", spec={"dataVolumeTTLSeconds": config})
    async with watching(server, own=own) as lifetimes:
        assert lifetimes("shop").seconds == seconds


async def test_a_change_is_followed():
    server = TinyServer()
    async with watching(server, own=5) as lifetimes:
        labelled(server, "7")
        await settle(60)
        assert lifetimes("shop").seconds == 7
        server.delete(f"{NAMESPACES}/shop")
        await settle(60)
        assert lifetimes("shop").seconds == 5


async def test_without_the_kind_cdiconfig_says_nothing():
    async with watching(TinyServer(), refused={CONFIGS: 404}) as lifetimes:
        assert lifetimes("shop").seconds is None


@pytest.mark.parametrize("path", [NAMESPACES, CONFIGS])
async def test_what_may_not_be_read_is_not_known(path):
    async with watching(TinyServer(), refused={path: 403}) as lifetimes:
        assert lifetimes("shop") is None


async def test_where_the_operator_has_a_setting_cdiconfig_is_not_needed():
    async with watching(TinyServer(), own=0, refused={CONFIGS: 403}) as lifetimes:
        assert lifetimes("shop").seconds == 0


async def test_only_the_watched_namespace_is_of_interest():
    async with watching(TinyServer(), own=0, namespace="shop") as lifetimes:
        assert lifetimes("shop").seconds == 0
        assert lifetimes("other").seconds is None
