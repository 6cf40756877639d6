"""What the chart adds for DataVolumes: its switches, each right explained, and the webhook called by a real API server with these rights."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.cli.kinds import KINDS
from datamover.cli.operator import Operator, new_metrics
from datamover.cli.options import DataVolumeOptions, Options, WebhookOptions
from datamover.volumes.permit import CloneSource, find_refusal
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.errors import Forbidden
from kubekit.client.http import HttpTransport
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, SECRET_METAS
from kubekit.words.meta import ObjectMeta
from support.definitions import data_volume_definitions
from support.kubernetes import ControlPlane
from support.parsing import read_yaml
from support.tls import free_port

Render = Callable[..., list[dict[str, Any]]]

PAGE_OF_INSTALLATION = (Path(__file__).resolve().parents[3] / "docs" / "install.md").read_text(encoding="utf-8")
PAGE = (Path(__file__).resolve().parents[3] / "docs" / "permissions.md").read_text(encoding="utf-8")
COLLECTION = "dataVolumes.collection.enabled=true"
POPULATION = "dataVolumes.population.enabled=true"
NO_WEBHOOK = "dataVolumes.webhook.enabled=false"
NO_RESTORES = "restores.population.enabled=false"
"""What restores need to hand a volume over is granted once, whoever else needs it."""
CHANGING = {"create", "update", "patch", "delete"}
ACCOUNT = "datamover-operator-controller-manager"
RIGHTS = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == kind]


def rules(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rules of all roles that the operator has."""
    roles = of_kind(objects, "ClusterRole") + of_kind(objects, "Role")
    wanted = {"datamover-operator", "datamover-operator-datavolumes"}
    return [rule for role in roles if role["metadata"]["name"] in wanted for rule in role["rules"]]


def pairs(found: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(resource, verb) for rule in found for resource in rule["resources"] for verb in rule["verbs"]}


def arguments(objects: list[dict[str, Any]]) -> set[str]:
    (container,) = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"]
    return set(container["args"])


def test_off_nothing_of_it_is_granted_told_or_installed(render_text: Any) -> None:
    text = render_text(tests=False)
    for word in ("cdi.kubevirt.io", "datavolume", "webhook", "kubevirts"):
        assert word not in text.lower()
    settings = ("dataVolumes.collection.ttlSeconds=5", "dataVolumes.webhook.enabled=true", "dataVolumes.collection.dryRun=true")  # fmt: skip
    assert render_text(*settings, tests=False) == text


def tables() -> dict[str, set[tuple[str, str]]]:
    """Return what the page explains, table by table."""
    match = re.search(r"^## DataVolumes\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    assert match
    parts = re.split(r"^(?=With )", match[1], flags=re.MULTILINE)[1:]
    assert len(parts) == 4
    found = {
        name: {
            (resource, verb)
            for resources, words in re.findall(r"^\| ((?:`[\w./]+`(?:, )?)+)([^|]*) \|", part, re.MULTILINE)
            for resource in re.findall(r"`([\w./]+)`", resources)
            for verb in re.findall(
                r"\b(?:get|list|watch|create|update|patch|delete)\b", words.replace("but for create", "")
            )
        }
        for name, part in zip(("both", "collection", "population", "webhook"), parts, strict=True)
    }
    assert all(found.values())
    return found


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ((COLLECTION, NO_WEBHOOK), ("both", "collection")),
        ((POPULATION, NO_WEBHOOK), ("both", "population")),
        ((COLLECTION, POPULATION), ("both", "collection", "population", "webhook")),
    ],
)
def test_every_right_is_explained_and_no_other(
    settings: tuple[str, ...], parts: tuple[str, ...], render: Render
) -> None:
    before, after = rules(render(NO_RESTORES)), rules(render(NO_RESTORES, *settings))
    events = [rule for rule in after if rule["resources"] == ["events"] and "create" in rule["verbs"]]
    assert len(events) == (2 if "webhook" in parts else 1), (
        "of its own namespace: there may be one only that it watches"
    )
    told = set[tuple[str, str]]().union(*(tables()[part] for part in parts))
    assert pairs([*(rule for rule in after if rule not in before), *events[:-1]]) == told


@pytest.mark.parametrize(
    ("settings", "granted", "withheld"),
    [
        (
            (COLLECTION, NO_WEBHOOK),
            {("datavolumes", "delete"), ("configmaps", "create")},
            {"secrets", "mutatingwebhookconfigurations", "datavolumes/status", "subjectaccessreviews", "datasources"},
        ),
        ((COLLECTION, "dataVolumes.collection.stamp=false", NO_WEBHOOK), set(), {"configmaps", "secrets"}),
        (
            (POPULATION,),
            {("datavolumes/status", "update"), ("subjectaccessreviews", "create"), ("secrets", "create")},
            {"kubevirts", "virtualmachines", "selfsubjectaccessreviews"},
        ),
        (
            (COLLECTION,),
            {("secrets", "update")},
            {"datavolumes/status", "subjectaccessreviews", "services", "storageprofiles", "cdis/status"},
        ),
    ],
)
def test_each_part_is_granted_what_it_needs_and_no_more(
    settings: tuple[str, ...], granted: set[tuple[str, str]], withheld: set[str], render: Render
) -> None:
    found = pairs(rules(render(*settings)))
    assert granted <= found
    assert not withheld & {resource for resource, _ in found}
    assert "*" not in str(rules(render(*settings)))
    assert (("namespaces", "watch") in found) == (COLLECTION in settings)


def test_in_one_namespace_it_changes_nothing_outside_but_what_the_api_server_asks_by(render: Render) -> None:
    objects = render(COLLECTION, POPULATION, NO_RESTORES, "watchNamespace=shop", "clusterId=a")
    (role,) = [each for each in of_kind(objects, "ClusterRole") if each["metadata"]["name"] == "datamover-operator"]
    changing = {(resource, verb) for resource, verb in pairs(role["rules"]) if verb in CHANGING}
    assert changing == {
        ("mutatingwebhookconfigurations", "update"),
        ("subjectaccessreviews", "create"),
        ("selfsubjectaccessreviews", "create"),
        # what belongs to no namespace can be granted no other way
        ("persistentvolumes", "patch"),
        ("storageprofiles", "create"),
        ("storageprofiles/status", "update"),
        ("cdiconfigs", "create"),
        ("cdiconfigs", "patch"),
        ("cdiconfigs/status", "update"),
        ("cdis/status", "update"),
    }
    (configuration,) = of_kind(objects, "MutatingWebhookConfiguration")
    (webhook,) = configuration["webhooks"]
    assert webhook["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}


def test_secrets_and_configurations_are_granted_by_name_where_they_are_read_or_changed(render: Render) -> None:
    objects = render(COLLECTION, POPULATION)
    (home,) = [each for each in of_kind(objects, "Role") if each["metadata"]["name"] == "datamover-operator-datavolumes"]  # fmt: skip
    for rule in [*rules(render(COLLECTION)), *home["rules"]]:
        if set(rule["resources"]) & {"secrets", "mutatingwebhookconfigurations", "configmaps"}:
            assert rule["verbs"] == ["create"] or len(rule["resourceNames"]) == 1


def test_the_operator_is_told_what_to_do(render: Render) -> None:
    assert not [each for each in arguments(render()) if "datavolume" in each or "webhook" in each]
    said = arguments(render(COLLECTION, "dataVolumes.collection.ttlSeconds=0", "dataVolumes.cdiNamespace=kubevirt"))
    assert {
        "--datavolume-collection",
        "--datavolume-ttl=0",
        "--datavolume-stamp",
        "--datavolume-virtual-machines=Skip",
        "--cdi-namespace=kubevirt",
        "--webhook-bind-address=:9443",
        "--webhook-service=datamover-operator-webhook-service",
        "--webhook-configuration=datamover-operator-webhook",
    } <= said
    assert "--datavolume-population" not in said
    assert "--datavolume-dry-run" not in said
    other = arguments(
        render(
            COLLECTION,
            POPULATION,
            NO_WEBHOOK,
            "dataVolumes.collection.stamp=false",
            "dataVolumes.collection.dryRun=true",
            "dataVolumes.collection.virtualMachines=Collect",
        )
    )
    assert {
        "--no-datavolume-stamp",
        "--datavolume-dry-run",
        "--datavolume-population",
        "--datavolume-virtual-machines=Collect",
    } <= other
    assert not [each for each in other if each.startswith(("--datavolume-ttl", "--webhook"))]


@pytest.mark.parametrize("wrong", ["ttlSeconds=soon", "ttlSeconds=-2", "ttlSeconds=1.5", "virtualMachines=collect"])
def test_what_is_no_such_value_is_refused(wrong: str, render: Render) -> None:
    import subprocess

    with pytest.raises(subprocess.CalledProcessError):
        render(COLLECTION, f"dataVolumes.collection.{wrong}")


def test_the_webhook_fails_open_is_quick_and_asked_at_creation_only(render: Render) -> None:
    objects = render(COLLECTION, "networkPolicy.enabled=true")
    (configuration,) = of_kind(objects, "MutatingWebhookConfiguration")
    (webhook,) = configuration["webhooks"]
    assert webhook["failurePolicy"] == "Ignore"
    assert webhook["timeoutSeconds"] <= 5
    assert webhook["sideEffects"] == "None"
    assert webhook["rules"] == [
        {
            "apiGroups": ["cdi.kubevirt.io"],
            "apiVersions": ["v1beta1"],
            "resources": ["datavolumes"],
            "operations": ["CREATE"],
            "scope": "Namespaced",
        }
    ]
    place = webhook["clientConfig"]["service"]
    (service,) = [each for each in of_kind(objects, "Service") if each["metadata"]["name"] == place["name"]]
    assert (service["metadata"]["namespace"], service["spec"]["ports"][0]["port"]) == (place["namespace"], place["port"])  # fmt: skip
    (container,) = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"]
    assert {"name": "webhook", "containerPort": 9443, "protocol": "TCP"} in container["ports"]
    (policy,) = of_kind(objects, "NetworkPolicy")
    assert [{"port": 9443, "protocol": "TCP"}] in [each["ports"] for each in policy["spec"]["ingress"]]
    assert not of_kind(render(COLLECTION, NO_WEBHOOK), "MutatingWebhookConfiguration")


@pytest.mark.parametrize(("settings", "kinds"), [((COLLECTION,), 0), ((POPULATION,), 6), ((POPULATION, "crds.install=false"), 0)])  # fmt: skip
def test_definitions_come_with_population_only(settings: tuple[str, ...], kinds: int, render: Render) -> None:
    found = of_kind(render(*settings), "CustomResourceDefinition")
    ours = [each for each in found if each["spec"]["group"] == "cdi.kubevirt.io"]
    assert len(ours) == kinds
    assert all(each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "datamover" for each in ours)


def test_the_values_that_the_page_shows_install_what_it_says(render_values: Any) -> None:
    page = PAGE_OF_INSTALLATION.partition("\n## DataVolumes\n")[2].partition("\n## ")[0]
    beside, alone = (read_yaml(each) for each in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))
    where = {"release": "datamover", "namespace": "datamover-operator-system"}
    found, other = render_values(beside, **where), render_values(alone, **where)
    for objects, definitions, webhooks in ((found, 0, 1), (other, 6, 0)):
        kinds = of_kind(objects, "CustomResourceDefinition")
        assert len([each for each in kinds if each["spec"]["group"] == "cdi.kubevirt.io"]) == definitions
        assert len(of_kind(objects, "MutatingWebhookConfiguration")) == webhooks
        assert {"--datavolume-collection", "--datavolume-ttl=3600"} <= arguments(objects)
    assert "--datavolume-population" in arguments(other)


def test_who_has_a_role_of_the_cluster_may_use_the_kinds_where_they_are_ours(render: Render) -> None:
    for word in ("admin", "edit", "view"):
        roles = [each for each in of_kind(render(COLLECTION, POPULATION), "ClusterRole") if each["metadata"]["name"] == f"datamover-{word}"]  # fmt: skip
        granted = pairs([rule for rule in roles[0]["rules"] if rule["apiGroups"] == ["cdi.kubevirt.io"]])
        assert {("datavolumes", "get"), ("datasources", "list"), ("dataimportcrons", "watch")} <= granted
        assert {("datavolumes/status", "get"), ("storageprofiles", "get"), ("cdiconfigs", "list"), ("cdis", "watch")} <= granted  # fmt: skip
        changing = {resource for resource, verb in granted if verb in CHANGING}
        assert changing == (set() if word == "view" else {"datavolumes", "datasources", "dataimportcrons"})
        assert (("datavolumes", "create") in granted) == (word != "view")
        assert not any(resource.endswith("/source") for resource, _ in granted), "who may copy is decided one by one"
    beside = render(COLLECTION)
    assert "cdi.kubevirt.io" not in str([each for each in of_kind(beside, "ClusterRole") if each["metadata"]["name"] == "datamover-edit"])  # fmt: skip


# --- a real API server --------------------------------------------------------------------------------------------

VOLUMES = "/apis/cdi.kubevirt.io/v1beta1/namespaces/{}/datavolumes"
NOW = "2026-11-30T12:00:00Z"
SPEC = {"source": {"blank": {}}, "storage": {"resources": {"requests": {"storage": "1Gi"}}}}


@contextlib.asynccontextmanager
async def operating(
    kubernetes: ControlPlane, namespace: str, objects: list[dict[str, Any]], ttl: int
) -> AsyncIterator[Operator]:
    """Run an operator with the chart's rights, that only serves the webhook, until the API server has been told of it."""
    (configuration,) = of_kind(objects, "MutatingWebhookConfiguration")
    place = configuration["webhooks"][0]["clientConfig"]["service"]
    transport = HttpTransport(load_config(kubernetes.service_account_kubeconfig(namespace, ACCOUNT)))
    registry, metrics = new_metrics()
    options = Options(
        namespace=namespace,
        data_volumes=DataVolumeOptions(collection=True, population=True, ttl=ttl, home=namespace),
        webhook=WebhookOptions(f"127.0.0.1:{place['port']}", place["name"], configuration["metadata"]["name"]),
    )
    operator = Operator(
        Client(transport), cluster="c", options=options, registry=registry, metrics=metrics, kinds=KINDS
    )
    stop = asyncio.Event()
    task = asyncio.create_task(operator.run(stop))
    try:
        assert operator.webhook is not None
        async with asyncio.timeout(60):
            await operator.webhook.server.listening.wait()
            while operator.webhook.certificate.problem is not None:
                await asyncio.sleep(0.05)
        yield operator
    finally:
        stop.set()
        await task
        await transport.close()


async def create(kubernetes: ControlPlane, namespace: str, name: str, spec: Any = SPEC, **annotations: str) -> dict[str, Any]:  # fmt: skip
    meta = {"name": name, "namespace": namespace, "annotations": annotations}
    manifest = {"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "metadata": meta, "spec": spec}
    return await asyncio.to_thread(kubernetes.create, manifest)


async def demand_that_only_who_may_gets_a_permit(kubernetes: ControlPlane, namespace: str, operator: Operator) -> None:
    """The API server says who asks: a service account, which has the right for one source, for all of a namespace, or not."""
    assert operator.webhook is not None
    keys, images = operator.webhook.permit_keys(), f"{namespace}-images"
    kubernetes.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": images}})
    config = load_config(kubernetes.service_account_kubeconfig(namespace, "guest"))
    allow(kubernetes, namespace, "guest", where=namespace, resource="datavolumes")
    transport = HttpTransport(config)
    guest = Client(transport, user_agent="guest")

    async def make(name: str, kind: str, source: str) -> str | None:
        meta = {"name": name, "namespace": namespace, "annotations": {names.CLONE_PERMIT: "forged"}}
        spec = {**SPEC, "source": {kind: {"namespace": images, "name": source}}}
        made = await guest.create(DATA_VOLUMES, {"metadata": meta, "spec": spec})
        return find_refusal(made.metadata, CloneSource(kind, images, source), keys=keys)

    try:
        assert "nobody has found" in (await make("without", "pvc", "golden") or ""), "a forged word is taken away"
        allow(kubernetes, namespace, "guest", where=images, resource="datavolumes/source", names=["golden"])
        assert await make("by-name", "pvc", "golden") is None
        assert await make("of-another-name", "pvc", "secret") is not None
        allow(kubernetes, namespace, "guest", where=images, resource="datavolumes/source")
        longest = f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}"
        assert await make("of-all", "snapshot", longest) is None
        assert await make(longest, "pvc", longest) is None
        replayed = (await guest.get(DATA_VOLUMES, longest, namespace=namespace)).metadata.annotations or {}
        for uid in ("before", "after"):  # what was said of it says nothing of others, which the webhook has not seen
            other = ObjectMeta(name=uid, namespace=namespace, creation_timestamp=NOW, annotations=replayed)
            assert "for another DataVolume" in (
                find_refusal(other, CloneSource("pvc", images, longest), keys=keys) or ""
            )
        with pytest.raises(Forbidden):
            await guest.get(PERSISTENT_VOLUME_CLAIMS, "golden", namespace=images)
    finally:
        await transport.close()
        kubernetes.call("DELETE", f"/api/v1/namespaces/{images}")


def allow(kubernetes: ControlPlane, home: str, account: str, *, where: str, resource: str, **limits: Any) -> None:
    """Let a service account create a resource in a namespace, and wait until the API server knows."""
    name = f"{account}-{resource.replace('/', '-')}{'-some' if limits else ''}"
    rule = {"apiGroups": ["cdi.kubevirt.io"], "resources": [resource], "verbs": ["create", "get"]}
    if limits:
        rule["resourceNames"] = limits["names"]
    meta = {"name": name, "namespace": where}
    group = "rbac.authorization.k8s.io"
    kubernetes.create({"apiVersion": f"{group}/v1", "kind": "Role", "metadata": meta, "rules": [rule]})
    kubernetes.create(
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": home}],
        }
    )
    main, _, sub = resource.partition("/")
    asked = {"namespace": where, "verb": "create", "group": "cdi.kubevirt.io", "resource": main, "subresource": sub}
    asked["name"] = limits["names"][0] if limits else ""
    user = {"user": f"system:serviceaccount:{home}:{account}", "resourceAttributes": asked}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": user}

    def is_known() -> bool:
        _, answer = kubernetes.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return answer["status"]["allowed"] is True

    kubernetes.api_server.wait_until(is_known, seconds=30)


async def stamped(kubernetes: ControlPlane, namespace: str, prefix: str) -> dict[str, Any]:
    """Create DataVolumes until one is stamped: an API server hears of a configuration by its own watch."""
    for number in range(200):
        made = await create(kubernetes, namespace, f"{prefix}-{number}")
        if made["metadata"].get("annotations"):
            return made
        await asyncio.sleep(0.1)
    raise AssertionError("no DataVolume was stamped")


async def test_g11_g12_a_real_api_server_has_new_volumes_stamped_and_creates_them_without_the_operator_too(
    kubernetes: ControlPlane, namespace: str, render: Render
) -> None:
    objects = render(COLLECTION, POPULATION, f"watchNamespace={namespace}", "clusterId=c", namespace=namespace)
    (configuration,) = of_kind(objects, "MutatingWebhookConfiguration")
    place = configuration["webhooks"][0]["clientConfig"]["service"]
    place["port"] = free_port()
    for each in objects:
        if each["kind"] in RIGHTS:
            kubernetes.create(each)
    for each in data_volume_definitions():
        place_of = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{each['metadata']['name']}"
        if kubernetes.call("GET", place_of)[0] == 404:  # another test of this process may have brought it
            kubernetes.create(each)
    # No network of a cluster is here: the API server finds the Service by a name.
    kubernetes.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": place["name"], "namespace": namespace}, "spec": {"type": "ExternalName", "externalName": "localhost"}})  # fmt: skip
    kubernetes.create(configuration)
    path = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{configuration['metadata']['name']}"
    asks = names.DELETE_AFTER_COMPLETION
    try:
        async with operating(kubernetes, namespace, objects, ttl=0) as operator:
            made = await stamped(kubernetes, namespace, "g11")
            assert made["metadata"]["annotations"] == {asks: "true", names.STAMPED: "true"}
            refused = await create(kubernetes, namespace, "g6", **{asks: "false"})
            assert refused["metadata"]["annotations"] == {asks: "false"}
            clone = {**SPEC, "source": {"pvc": {"namespace": "kube-system", "name": "image"}}}
            made = await create(kubernetes, namespace, "clone", clone, **{names.CLONE_PERMIT: "forged"})
            assert operator.webhook is not None
            meta = ObjectMeta(
                name="clone",
                namespace=namespace,
                creation_timestamp=made["metadata"]["creationTimestamp"],
                annotations=made["metadata"]["annotations"],
            )
            source = CloneSource("pvc", "kube-system", "image")
            assert find_refusal(meta, source, keys=operator.webhook.permit_keys()) is None
            await demand_that_only_who_may_gets_a_permit(kubernetes, namespace, operator)
        down = await create(kubernetes, namespace, "down")
        assert "annotations" not in down["metadata"]
        async with operating(kubernetes, namespace, objects, ttl=-1) as operator:
            for number in range(3):
                made = await create(kubernetes, namespace, f"g12-{number}")
                assert "annotations" not in made["metadata"]
            counted = operator.registry.get_sample_value("datamover_webhook_answers_total", {"result": "unchanged"})
            assert counted == 3
        transport = HttpTransport(load_config(kubernetes.service_account_kubeconfig(namespace, ACCOUNT)))
        with pytest.raises(Forbidden):
            await Client(transport).get(SECRET_METAS, "other", namespace="kube-system")
        await transport.close()
    finally:
        kubernetes.call("DELETE", path)
