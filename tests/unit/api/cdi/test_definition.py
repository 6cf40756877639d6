"""Whose definition of DataVolume it is, and what `kubectl explain` shows of the kinds."""

from collections.abc import Iterator
from typing import Any

import pytest

from datamover.api.cdi.definition import data_volume_crd, is_ours
from datamover.api.definitions import data_volume_crds

OURS = data_volume_crd()["metadata"]["labels"]
MANAGER = "app.kubernetes.io/managed-by"


@pytest.mark.parametrize(
    ("labels", "ours"),
    [
        pytest.param(OURS, True, id="applied as it is"),
        pytest.param(OURS | {MANAGER: "Helm"}, True, id="installed by Helm, which writes its own name there"),
        pytest.param(OURS | {MANAGER: "cdi-operator"}, False, id="taken over by a CDI that leaves our other labels"),
        pytest.param({MANAGER: "Helm"}, False, id="another chart's"),
        pytest.param({MANAGER: "cdi-operator", "cdi.kubevirt.io": ""}, False, id="a CDI's"),
        pytest.param({key: value for key, value in OURS.items() if key != MANAGER}, False, id="managed by nobody"),
        pytest.param({}, False, id="without any"),
    ],
)
def test_a_definition_is_ours_when_we_or_our_chart_have_installed_it_and_nobody_else_has_it_now(
    labels: dict[str, str], ours: bool
) -> None:
    assert is_ours(labels) == ours


def fields(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}.{name}", inner
        yield from fields(inner.get("items", inner), f"{path}.{name}")


@pytest.mark.parametrize("definition", data_volume_crds(), ids=lambda each: each["spec"]["names"]["kind"])
def test_every_field_is_described(definition: dict[str, Any]) -> None:
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["description"]
    found = dict(fields(schema, ""))
    assert len(found) > 3
    silent = [path for path, each in found.items() if not each.get("description")]
    assert silent == [".metadata"], "kubectl explain shows nothing"
