"""What `kubectl get` shows of these kinds: CDI's columns first, as scripts read them by position, and with `-o wide` what is waited for."""

import json
from typing import Any

import pytest

from datamover.api.cdi import names
from datamover.api.cdi.data_source import DATA_SOURCES
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.cdi.storage_profile import STORAGE_PROFILES
from datamover.api.definitions import data_volume_crds
from kubekit.client.transport import Request
from kubekit.words.meta import Resource
from localkube.store.apiserver import ApiServer

TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io", "content-type": "application/json"}
READY = {"type": "Ready", "status": "False", "reason": "UnsupportedSource", "message": "a disk of vSphere"}


async def show(
    resource: Resource[Any], manifest: dict[str, Any], status: dict[str, Any]
) -> tuple[list[str], dict[str, Any]]:
    """Return the columns of the narrow table, and the cells of the wide one by column."""
    server = ApiServer()
    for definition in data_volume_crds():
        await send(server, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    namespace = "default" if resource.namespaced else None
    await send(server, "POST", resource.path(namespace=namespace), manifest)
    name = manifest["metadata"]["name"]
    path = resource.path(namespace=namespace, name=name)
    await send(server, "PUT", f"{path}/status", {**await send(server, "GET", path), "status": status})
    table = json.loads((await server.handle(Request("GET", path, (), TABLE, b""))).body)
    columns = table["columnDefinitions"]
    cells = dict(zip((each["name"] for each in columns), table["rows"][0]["cells"], strict=True))
    return [each["name"] for each in columns if each.get("priority", 0) == 0], cells


async def send(server: ApiServer, verb: str, path: str, body: Any = None) -> Any:
    request = Request(verb, path, (), {"content-type": "application/json"}, json.dumps(body).encode() if body else b"")
    answer = await server.handle(request)
    assert answer.status < 300, answer.body
    return json.loads(answer.body)


async def test_a_datavolume_shows_what_it_waits_for_and_why_it_stays() -> None:
    meta = {"name": "disk", "annotations": {names.COLLECTION: "Paused: it is paused"}}
    status = {"phase": "Pending", "progress": "N/A", "restartCount": 2, "conditions": [READY]}
    manifest = {
        "apiVersion": DATA_VOLUMES.api_version,
        "kind": "DataVolume",
        "metadata": meta,
        "spec": {"source": {"blank": {}}},
    }
    columns, cells = await show(DATA_VOLUMES, manifest, status)
    assert columns == ["Name", "Phase", "Progress", "Restarts", "Age"]
    assert (cells["Phase"], cells["Progress"], cells["Restarts"]) == ("Pending", "N/A", 2)
    assert (cells["Reason"], cells["Message"]) == ("UnsupportedSource", "a disk of vSphere")
    assert cells["Collection"] == "Paused: it is paused"


@pytest.mark.parametrize(
    ("resource", "status", "wide"),
    [
        (DATA_SOURCES, {"conditions": [READY], "source": {"pvc": {"name": "golden"}}}, {"Reason": "UnsupportedSource", "Claim": "golden"}),
        (STORAGE_PROFILES, {"provisioner": "csi.example.com"}, {"Provisioner": "csi.example.com"}),
    ],
)  # fmt: skip
async def test_what_has_no_columns_of_cdi_shows_its_age_and_more_with_wide(
    resource: Resource[Any], status: dict[str, Any], wide: dict[str, str]
) -> None:
    manifest = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "x"}, "spec": {}}
    if resource is DATA_SOURCES:
        manifest["spec"] = {"source": {}}
    columns, cells = await show(resource, manifest, status)
    assert columns == ["Name", "Age"]
    assert {name: cells[name] for name in wide} == wide
