"""Client and runtime against a real API server: what the fakes of the other tests take for granted."""

import asyncio
import time
from contextlib import asynccontextmanager, suppress

import pytest

from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.errors import AlreadyExists, Conflict, Forbidden, Invalid, KubeError, NotFound
from kubekit.client.http import HttpTransport
from kubekit.runtime.events import EVENTS, EventRecorder
from kubekit.runtime.informer import Informer, State
from kubekit.runtime.instruments import Silence
from kubekit.runtime.leader import LeaderElector
from kubekit.runtime.named import FORBIDDEN, MISSING, NamedInformers
from kubekit.runtime.store import Key
from kubekit.words.core import CONFIG_MAPS, NAMESPACES, PERSISTENT_VOLUME_CLAIMS, SECRETS
from kubekit.words.meta import ObjectMeta, PartialObject, Resource

MAPS = CONFIG_MAPS
PARTIAL_MAPS = Resource("", "v1", "configmaps", "ConfigMap", PartialObject)


class Relists(Silence):
    def __init__(self):
        self.reasons = []

    def relisted(self, resource, reason, /):
        self.reasons.append(reason)


@asynccontextmanager
async def connect(kubeconfig):
    config = load_config(kubeconfig, environ={})
    client = Client(HttpTransport(config))
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def client(kubernetes):
    async with connect(kubernetes.admin_kubeconfig) as client:
        yield client


@asynccontextmanager
async def running(*things):
    tasks = [asyncio.create_task(thing.run()) for thing in things]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        await asyncio.sleep(0.01)


def config_map(namespace, name, **data):
    return {"metadata": {"name": name, "namespace": namespace, "labels": {"test": "yes"}}, "data": data}


async def test_objects_are_made_read_changed_and_removed(client, namespace):
    made = await client.create(MAPS, config_map(namespace, "a", x="1"))
    with pytest.raises(AlreadyExists):
        await client.create(MAPS, config_map(namespace, "a"))
    patched = await client.patch(MAPS, "a", {"data": {"x": "2"}}, namespace=namespace, field_manager="t")
    assert int(patched.metadata.resource_version) > int(made.metadata.resource_version)
    operations = [{"op": "test", "path": "/data/x", "value": "1"}]
    with pytest.raises(Invalid):
        await client.patch(MAPS, "a", operations, namespace=namespace, kind="json", field_manager="t")
    applied = await client.apply(MAPS, config_map(namespace, "a", y="3"), field_manager="t")
    assert (await client.get(MAPS, "a", namespace=namespace)).metadata == applied.metadata
    stale = {
        **config_map(namespace, "a"),
        "metadata": {**config_map(namespace, "a")["metadata"], "resourceVersion": "1"},
    }
    with pytest.raises(Conflict):
        await client.apply(MAPS, stale, field_manager="t")
    with pytest.raises(Conflict):
        await client.apply(MAPS, config_map(namespace, "a", y="4"), field_manager="other", force=False)
    with pytest.raises(Conflict):
        await client.delete(MAPS, "a", namespace=namespace, uid="another")
    await client.delete(MAPS, "a", namespace=namespace, uid=made.metadata.uid)
    for call in (client.get(MAPS, "a", namespace=namespace), client.delete(MAPS, "a", namespace=namespace)):
        with pytest.raises(NotFound):
            await call


async def test_lists_come_in_pages_and_as_metadata_only(client, namespace):
    for number in range(5):
        await client.create(MAPS, config_map(namespace, f"m{number}"))
    pages = [page async for page in client.pages(MAPS, namespace=namespace, label_selector="test=yes", limit=2)]
    assert [len(page.items) for page in pages] == [2, 2, 1]
    assert len({page.resource_version for page in pages}) == 1
    partial = await client.list(PARTIAL_MAPS, namespace=namespace, field_selector="metadata.name=m3")
    assert [(each.kind, each.metadata.name) for each in partial] == [("PartialObjectMetadata", "m3")]
    assert (await client.get(PARTIAL_MAPS, "m3", namespace=namespace)).kind == "PartialObjectMetadata"


async def test_a_watch_gives_what_came_after_its_version_and_ends_by_its_time(client, namespace):
    made = await client.create(MAPS, config_map(namespace, "a"))
    before = str(int(made.metadata.resource_version) - 1)
    async with client.watch(
        PARTIAL_MAPS, namespace=namespace, resource_version=before, timeout_seconds=1, idle_timeout=20
    ) as events:
        found = [event async for event in events]
    assert [(event.type, event.object.metadata.name) for event in found if event.object][-1] == ("ADDED", "a")


async def test_an_informer_follows_the_server_through_its_restarts(client, kubernetes, namespace):
    informer = Informer(client, MAPS, namespace=namespace, label_selector="test=yes", page_size=2)
    gone = []
    informer.add_handler(lambda old, new: gone.append(old.metadata.name) if new is None else None)
    for number in range(5):
        await client.create(MAPS, config_map(namespace, f"m{number}", x="1"))

    async def real():
        return {
            each.metadata.name: each.metadata.resource_version
            for each in await client.list(MAPS, namespace=namespace, label_selector="test=yes")
        }

    def cached():
        return {each.metadata.name: each.metadata.resource_version for each in informer.store.list()}

    async with running(informer):
        await asyncio.wait_for(informer.synced.wait(), 30)
        expected = await real()
        await until(lambda: cached() == expected)  # the first list may come from a cache that lags
        await client.delete(MAPS, "m0", namespace=namespace)
        await client.patch(MAPS, "m1", {"data": {"x": "2"}}, namespace=namespace, field_manager="t")
        await client.patch(MAPS, "m2", {"metadata": {"labels": {"test": "no"}}}, namespace=namespace, field_manager="t")
        expected = await real()
        await until(lambda: cached() == expected)
        assert gone == ["m0", "m2"]
        written = await client.patch(MAPS, "m3", {"data": {"x": "2"}}, namespace=namespace, field_manager="t")
        informer.store.observe(written)
        assert cached()["m3"] == written.metadata.resource_version
        await asyncio.to_thread(kubernetes.restart_api_server)
        await client.delete(MAPS, "m4", namespace=namespace)
        await client.patch(
            MAPS, "m2", {"metadata": {"labels": {"test": "yes"}}}, namespace=namespace, field_manager="t"
        )
        expected = await real()
        assert sorted(expected) == ["m1", "m2", "m3"]
        await until(lambda: cached() == expected and informer.state is State.WATCHING)


async def test_what_vanished_while_history_was_forgotten_is_told_as_deleted(client, kubernetes, namespace):
    relists = Relists()
    informer = Informer(client, MAPS, namespace=namespace, label_selector="test=yes", metrics=relists)
    gone = []
    informer.add_handler(lambda old, new: gone.append(old.metadata.name) if new is None else None)
    for name in "abc":
        await client.create(MAPS, config_map(namespace, name))
    async with running(informer):
        await until(lambda: len(informer.store) == 3)
    await client.delete(MAPS, "a", namespace=namespace)
    kubernetes.compact()
    await asyncio.to_thread(kubernetes.restart_api_server)  # its own memory of events goes too
    async with running(informer):
        await until(lambda: gone == ["a"])
        await until(lambda: informer.state is State.WATCHING)
    assert len(informer.store) == 2
    assert relists.reasons == ["start", "expired"]


async def test_a_secret_by_name_needs_no_more_than_the_right_to_it(client, kubernetes, namespace):
    roles = "rbac.authorization.k8s.io"
    role = Resource(roles, "v1", "roles", "Role", PartialObject)
    binding = Resource(roles, "v1", "rolebindings", "RoleBinding", PartialObject)
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["mine", "later"], "verbs": ["list", "watch"]}
    await client.create(role, {"metadata": {"name": "r", "namespace": namespace}, "rules": [rule]})
    subject = {"kind": "ServiceAccount", "name": "reader", "namespace": namespace}
    reference = {"apiGroup": roles, "kind": "Role", "name": "r"}
    manifest = {"metadata": {"name": "b", "namespace": namespace}, "subjects": [subject], "roleRef": reference}
    await client.create(binding, manifest)
    secret = {"metadata": {"name": "mine", "namespace": namespace}, "stringData": {"k": "v"}}
    await client.create(SECRETS, secret)
    kubeconfig = kubernetes.service_account_kubeconfig(namespace, "reader")
    async with connect(kubeconfig) as reader:
        with pytest.raises(Forbidden):
            await reader.list(SECRETS, namespace=namespace)
        named = NamedInformers(reader, SECRETS)
        mine, later, theirs = (Key(namespace, name) for name in ("mine", "later", "theirs"))
        async with running(named):
            named.want("run", [mine, later, theirs])
            await until(lambda: not isinstance(named.get(mine), type(MISSING)))
            await until(lambda: named.get(later) is MISSING)
            await until(lambda: named.get(theirs) is FORBIDDEN)
            secret["metadata"]["name"] = "later"
            await client.create(SECRETS, secret)
            await until(lambda: not isinstance(named.get(later), type(MISSING)))


async def test_one_of_two_leads_and_hands_over_at_once(client, namespace):
    working = []

    def elector(identity):
        async def work():
            working.append(identity)
            assert len(working) == 1
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                working.remove(identity)

        return asyncio.create_task(
            LeaderElector(client, namespace=namespace, name="op", identity=identity, retry_period=0.2).run(work)
        )

    first = elector("one")
    await until(lambda: working == ["one"])
    second = elector("two")
    await asyncio.sleep(0.5)
    assert working == ["one"]
    begun = time.monotonic()
    first.cancel()
    await until(lambda: working == ["two"])
    assert time.monotonic() - begun < 5
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)


async def test_events_and_their_series_are_accepted(client, namespace):
    regarding = await client.create(MAPS, config_map(namespace, "a"))

    def recorder():
        return EventRecorder(client, component="datamover-test", series_interval=0.05)

    def say(to):
        to.record(regarding.metadata, MAPS, "Warning", "ItFailed", "the reason why", "Trying")

    async def events():
        found = await client.list(EVENTS, namespace=namespace)
        return [each.series and each.series.count for each in found if each.metadata.name.startswith("a.")]

    one = recorder()
    async with running(one):
        say(one)
        await until(lambda: one.pending == 0)
        assert await events() == [None]
        say(one)
        say(one)
        await until(lambda: one.pending == 0)
        assert await events() == [3]
    another = recorder()
    say(another)
    await another.flush()
    assert await events() == [4]
    cluster_wide = ObjectMeta(name=namespace, uid="u")
    another.record(cluster_wide, NAMESPACES, "Normal", "Seen", "x" * 5000, "Looking")
    await another.flush()
    for each in (one, another):
        each._queue.shutdown()
    await asyncio.sleep(0)


async def test_kinds_that_are_not_there_and_rights_that_are_not_ours_are_told_apart(client, kubernetes, namespace):
    nothing = Resource("example.org", "v1", "nothings", "Nothing", PartialObject)
    with pytest.raises(NotFound):
        await client.list(nothing)
    async with connect(kubernetes.user_kubeconfig("nobody")) as nobody:
        absent = Informer(client, nothing, optional=True)
        forbidden = Informer(nobody, PERSISTENT_VOLUME_CLAIMS, optional=True)
        async with running(absent, forbidden):
            await asyncio.wait_for(absent.settled.wait(), 30)
            await asyncio.wait_for(forbidden.settled.wait(), 30)
            assert (absent.state, forbidden.state) == (State.ABSENT, State.FORBIDDEN)


async def test_a_token_that_the_server_refuses_is_unauthorized(kubernetes, tmp_path):
    content = kubernetes.service_account_kubeconfig("default", "x").read_text()
    broken = tmp_path / "config"
    lines = [f"{line}x" if line.strip().startswith("token:") else line for line in content.splitlines()]
    broken.write_text("\n".join(lines))
    async with connect(broken) as client:
        with pytest.raises(KubeError, match="Unauthorized"):
            await client.list(MAPS, namespace="default")
