"""The stock kubectl against both worlds: the commands that a user of ours types."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.kubernetes import MissingPrograms, find_programs
from support.manifests import config_map, job
from support.widgets import widget
from support.worlds import World


class Kubectl:
    """Runs kubectl against one world."""

    def __init__(self, program: Path, kubeconfig: Path, namespace: str) -> None:
        self._command = (str(program), "--kubeconfig", str(kubeconfig), "-n", namespace)
        self._home = kubeconfig.parent

    async def __call__(self, *arguments: str, text: str | None = None, status: int = 0) -> str:
        """Return what it prints, errors included; another exit code than `status` fails the test."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"HOME": str(self._home), "PATH": "/usr/bin:/bin"},
        )
        try:
            async with asyncio.timeout(40):
                output, _ = await process.communicate((text or "").encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == status, output.decode()
        return output.decode()


@pytest.fixture
async def kubectl(world: World, tmp_path: Path) -> AsyncIterator[Kubectl]:
    try:
        program = find_programs().kubectl
    except MissingPrograms as missing:
        pytest.skip(f"REAL API SERVER MISSING: {missing}")
    if program is None:
        pytest.skip("REAL API SERVER MISSING: there is no kubectl; run: python tools/build.py kubernetes")
    path = tmp_path / "kubeconfig"
    async with world.kubeconfig() as config:
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        yield Kubectl(program, path, world.namespace)


pytestmark = pytest.mark.kubernetes


def text(*manifests: dict[str, Any]) -> str:
    return "\n---\n".join(json.dumps(manifest) for manifest in manifests)


async def test_apply_creates_changes_and_leaves(world: World, kubectl: Kubectl) -> None:
    assert "widget.testing.datamover.example/a created" in await kubectl("apply", "-f", "-", text=text(widget("a")))
    assert "unchanged" in await kubectl("apply", "-f", "-", text=text(widget("a")))
    assert "configured" in await kubectl("apply", "-f", "-", text=text(widget("a", size=2)))

    assert (await world.read("widgets", "a"))["spec"]["size"] == 2


async def test_server_side_apply(world: World, kubectl: Kubectl) -> None:
    printed = await kubectl(
        "apply", "--server-side", "--field-manager=me", "-f", "-", text=text(widget("a"), config_map("c"))
    )

    assert "widget.testing.datamover.example/a serverside-applied" in printed
    assert "configmap/c serverside-applied" in printed
    manager = (await world.read("widgets", "a"))["metadata"]["managedFields"][0]
    assert (manager["manager"], manager["operation"]) == ("me", "Apply")


async def test_server_side_apply_tells_of_conflicts(world: World, kubectl: Kubectl) -> None:
    await world.apply("widgets", widget("a", size=1), manager="operator")

    printed = await kubectl("apply", "--server-side", "-f", "-", text=text(widget("a", size=2)), status=1)

    assert 'conflict with "operator": .spec.size' in printed


async def test_apply_validates_before_it_stores(world: World, kubectl: Kubectl) -> None:
    unknown = await kubectl("apply", "-f", "-", text=text(widget("a", bogus=1)), status=1)
    wrong = await kubectl("apply", "-f", "-", text=text(widget("a", color="pink")), status=1)

    assert 'unknown field "spec.bogus"' in unknown
    assert 'spec.color: Unsupported value: "pink": supported values: "red", "green", "blue"' in wrong
    assert (await world.get("widgets", "a")).status == 404


async def test_apply_of_a_list_validates_by_itself(world: World, kubectl: Kubectl) -> None:
    def listed(**more: Any) -> str:
        return text({"apiVersion": "v1", "kind": "List", "items": [config_map("a"), {**config_map("b"), **more}]})

    # kubectl reads the older OpenAPI document for this kind, in protobuf
    unknown = await kubectl("apply", "-f", "-", text=listed(bogus=1), status=1)
    printed = await kubectl("apply", "-f", "-", text=listed())

    assert 'unknown field "bogus" in io.k8s.api.core.v1.ConfigMap' in unknown
    assert "configmap/a created" in printed
    assert "configmap/b created" in printed


async def test_get_prints_our_columns_and_knows_short_names_and_categories(world: World, kubectl: Kubectl) -> None:
    await world.create("widgets", widget("a", size=7))
    (await world.patch("widgets", "a", {"status": {"phase": "On"}}, sub="status")).expect(200)

    short = (await kubectl("get", "wdg")).splitlines()
    named = (await kubectl("get", "widget", "a", "-o", "wide")).splitlines()
    category = await kubectl("get", "testing")

    assert short[0].split() == ["NAME", "SIZE", "PHASE", "AGE"]
    assert short[1].split()[:3] == ["a", "7", "On"]
    assert named[0].split() == ["NAME", "SIZE", "PHASE", "READY", "AGE"]
    assert named[1].split()[:3] == ["a", "7", "On"]
    assert "widget.testing.datamover.example/a" in category or "a " in category


async def test_get_prints_yaml_json_and_names(world: World, kubectl: Kubectl) -> None:
    created = await world.create("widgets", widget("a"))

    assert (
        yaml.safe_load(await kubectl("get", "widget", "a", "-o", "yaml"))["metadata"]["uid"]
        == created["metadata"]["uid"]
    )
    assert json.loads(await kubectl("get", "widgets", "-o", "json"))["items"][0]["spec"] == created["spec"]
    assert (await kubectl("get", "widgets", "-o", "name")).strip() == "widget.testing.datamover.example/a"
    assert await kubectl("get", "widget", "a", "-o", "jsonpath={.spec.size}") == "1"


async def test_get_of_what_is_not_there(kubectl: Kubectl) -> None:
    assert 'widgets.testing.datamover.example "a" not found' in await kubectl("get", "widget", "a", status=1)
    assert "No resources found" in await kubectl("get", "widgets")
    assert """the server doesn't have a resource type "things\"""" in await kubectl("get", "things", status=1)


async def test_describe_shows_the_object(world: World, kubectl: Kubectl) -> None:
    await world.create("widgets", widget("a", size=7))
    await world.create(
        "persistentvolumeclaims",
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "c"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": "none",
            },
        },
    )

    widgets, claims = await kubectl("describe", "widget", "a"), await kubectl("describe", "pvc", "c")

    assert "Size:     7" in widgets or "Size:" in widgets
    assert "Kind:         Widget" in widgets
    assert "Status:        Pending" in claims


async def test_explain_shows_the_descriptions(kubectl: Kubectl) -> None:
    kind, field = await kubectl("explain", "widget"), await kubectl("explain", "widget.spec.size")
    core = await kubectl("explain", "pod.spec.restartPolicy")

    assert "A thing to test with." in kind
    assert "What the widget shall be." in kind
    assert "<integer>" in field
    assert "<string>" in core


async def test_wait_sees_conditions_and_deletions(world: World, kubectl: Kubectl) -> None:
    await world.create("widgets", widget("a"))
    waiting = asyncio.create_task(kubectl("wait", "widget/a", "--for=condition=Ready", "--timeout=20s"))
    status = {"conditions": [{"type": "Ready", "status": "True"}]}

    (await world.patch("widgets", "a", {"status": status}, sub="status")).expect(200)
    assert "condition met" in await waiting
    assert "condition met" in await kubectl("wait", "widget/a", "--for=jsonpath={.spec.size}=1", "--timeout=20s")
    leaving = asyncio.create_task(kubectl("wait", "widget/a", "--for=delete", "--timeout=20s"))
    await world.delete("widgets", "a")
    await leaving


async def test_wait_gives_up_in_time(world: World, kubectl: Kubectl) -> None:
    await world.create("widgets", widget("a"))

    printed = await kubectl("wait", "widget/a", "--for=condition=Ready", "--timeout=1s", status=1)

    assert "timed out waiting for the condition" in printed


async def test_delete_waits_until_it_is_gone(world: World, kubectl: Kubectl) -> None:
    await world.create("widgets", widget("a"))
    await world.create("jobs", job("j", suspend=True))

    assert "deleted" in await kubectl("delete", "widget/a", "job/j")

    assert (await world.get("widgets", "a")).status == 404
    assert (await world.get("jobs", "j")).status == 404


async def test_edit_by_label_annotate_patch_and_replace(world: World, kubectl: Kubectl) -> None:
    await world.create("widgets", widget("a"))

    await kubectl("label", "widget", "a", "x=1")
    await kubectl("annotate", "widget", "a", "y=2")
    await kubectl("patch", "widget", "a", "--type=merge", "-p", '{"spec":{"size":3}}')
    await kubectl("patch", "widget", "a", "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"On"}}')
    current = await world.read("widgets", "a")
    await kubectl("replace", "-f", "-", text=text(current | {"spec": {"size": 4}}))

    final = await world.read("widgets", "a")
    assert (final["metadata"]["labels"], final["metadata"]["annotations"]["y"]) == ({"x": "1"}, "2")
    assert (final["spec"]["size"], final["status"]["phase"]) == (4, "On")


async def test_get_watches(world: World, kubectl: Kubectl) -> None:
    await world.create("widgets", widget("a"))
    watching = asyncio.create_task(kubectl("get", "widgets", "-w", "--request-timeout=4s", "-o", "name"))
    await asyncio.sleep(1)  # kubectl lists before it watches; nothing tells when it does
    await world.create("widgets", widget("b"))

    assert {"widget.testing.datamover.example/a", "widget.testing.datamover.example/b"} <= set((await watching).split())


async def test_api_resources_version_and_rights(kubectl: Kubectl) -> None:
    resources = await kubectl("api-resources", "--api-group=testing.datamover.example")

    assert resources.splitlines()[1].split() == ["widgets", "wdg", "testing.datamover.example/v1", "true", "Widget"]
    assert "Server Version: v1." in await kubectl("version")
    assert (await kubectl("auth", "can-i", "create", "widgets")).strip() == "yes"


async def test_diff_shows_what_apply_would_change(world: World, kubectl: Kubectl) -> None:
    await kubectl("apply", "--server-side", "-f", "-", text=text(widget("a")))

    printed = await kubectl("diff", "--server-side", "-f", "-", text=text(widget("a", size=2)), status=1)

    assert "+  size: 2" in printed
    assert (await world.read("widgets", "a"))["spec"]["size"] == 1


async def test_create_shortcuts(world: World, kubectl: Kubectl) -> None:
    await kubectl("create", "secret", "generic", "s", "--from-literal=k=v")
    await kubectl("create", "configmap", "c", "--from-literal=k=v")
    await kubectl("create", "job", "j", "--image=example.com/none", "--dry-run=server")

    assert (await world.read("secrets", "s"))["data"] == {"k": "dg=="}
    assert (await world.read("configmaps", "c"))["data"] == {"k": "v"}
    assert (await world.get("jobs", "j")).status == 404


async def test_events_are_listed(world: World, kubectl: Kubectl) -> None:
    about = await world.create("widgets", widget("a"))
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "eventTime": "2026-01-02T03:04:05.000000Z",
        "reportingController": "example.com/test",
        "reportingInstance": "one",
        "action": "Testing",
        "reason": "Tested",
        "type": "Normal",
        "note": "It was tested.",
        "regarding": {
            "apiVersion": about["apiVersion"],
            "kind": "Widget",
            "name": "a",
            "namespace": world.namespace,
            "uid": about["metadata"]["uid"],
        },
    }
    path = f"/apis/events.k8s.io/v1/namespaces/{world.namespace}/events"
    (await world.send("POST", path, event)).expect(201)

    assert "It was tested." in await kubectl("events", "--for", "widget/a")
    assert "It was tested." in await kubectl("describe", "widget", "a")
    assert "Tested" in await kubectl("get", "events")
