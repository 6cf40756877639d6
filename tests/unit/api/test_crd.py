"""The CustomResourceDefinition: what is installed, what users rely on, what `kubectl explain` shows."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from datamover.api import crd, names
from datamover.api.v1alpha1.datamover import DataMover
from datamover.api.v1alpha1.validation import check_spec

REPOSITORY = Path(__file__).parents[3]
INSTALLED = REPOSITORY / "deploy" / "crds" / "datamovers.yaml"
DOCUMENTS = REPOSITORY / "tests" / "scenario" / "documents"

DEFINITION = crd.data_mover_crd()
VERSION = DEFINITION["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]
SPEC = SCHEMA["properties"]["spec"]
STATUS = SCHEMA["properties"]["status"]


def test_the_installed_definition_is_the_generated_one() -> None:
    assert INSTALLED.read_text() == crd.render(crd.crds()), (
        "deploy/crds/datamovers.yaml is not what the types say: run `make crds`, or "
        "python -c 'from datamover.api.crd import *; print(render(crds()), end=\"\")' > deploy/crds/datamovers.yaml"
    )


def test_the_published_names_are_kept() -> None:
    assert DEFINITION["metadata"]["name"] == "datamovers.datamover.a-cup-of.coffee"
    assert DEFINITION["spec"]["group"] == "datamover.a-cup-of.coffee"
    assert DEFINITION["spec"]["scope"] == "Namespaced"
    assert {key: DEFINITION["spec"]["names"][key] for key in ("kind", "listKind", "plural", "singular")} == {
        "kind": "DataMover",
        "listKind": "DataMoverList",
        "plural": "datamovers",
        "singular": "datamover",
    }
    assert (VERSION["name"], VERSION["served"], VERSION["storage"]) == ("v1alpha1", True, True)
    assert VERSION["subresources"] == {"status": {}}


def test_short_name_and_categories() -> None:
    assert DEFINITION["spec"]["names"]["shortNames"] == ["dm"]
    assert "datamover" in DEFINITION["spec"]["names"]["categories"]


DOCUMENTED = {
    "sourcePvc": ("string", None),
    "secretName": ("string", None),
    "additionalEnv": ("array", None),
    "addTimestampPrefix": ("boolean", False),
    "deletePvcAfterBackup": ("boolean", False),
    "image": ("object", None),
}


@pytest.mark.parametrize("field", DOCUMENTED)
def test_a_documented_field_keeps_type_and_default(field: str) -> None:
    type_, default = DOCUMENTED[field]
    assert SPEC["properties"][field]["type"] == type_
    assert SPEC["properties"][field].get("default") == default


def test_only_source_and_secret_are_required() -> None:
    assert SPEC["required"] == ["sourcePvc", "secretName"]
    assert SCHEMA["required"] == ["spec"]


def test_the_image_keeps_its_fields_and_defaults() -> None:
    image = SPEC["properties"]["image"]
    defaults = {name: field["default"] for name, field in image["properties"].items()}
    assert defaults == {
        "repository": "ghcr.io/qjoly/datamover-rclone",
        "tag": "latest",
        "pullPolicy": "Always",
    }
    assert image["properties"]["pullPolicy"]["enum"] == ["Always", "Never", "IfNotPresent"]
    assert "required" not in image
    assert "default" not in image, "defaults materialise only where an image is given"


def test_a_variable_needs_a_name_only_and_may_come_from_everywhere() -> None:
    variable = SPEC["properties"]["additionalEnv"]["items"]
    assert variable["required"] == ["name"]
    assert {"configMapKeyRef", "secretKeyRef", "fieldRef", "resourceFieldRef"} <= set(
        variable["properties"]["valueFrom"]["properties"]
    )


def test_the_status_keeps_its_published_fields_as_free_strings() -> None:
    for field in ("phase", "restoredPvcName"):
        assert STATUS["properties"][field]["type"] == "string"
        assert "enum" not in STATUS["properties"][field]
    assert "required" not in STATUS


def test_the_server_adds_nothing_to_what_the_operator_applies() -> None:
    assert [path for path, schema in walk(STATUS, "status") if "default" in schema] == []


def test_the_published_columns_are_there() -> None:
    columns = {column["name"].upper(): (column["type"], column["jsonPath"]) for column in crd.PRINTER_COLUMNS}
    assert columns["PHASE"] == ("string", ".status.phase")
    assert columns["AGE"] == ("date", ".metadata.creationTimestamp")
    assert crd.PRINTER_COLUMNS[0]["name"] == "Phase", "scripts read it as the first column after the name"
    shown = [column["name"] for column in crd.PRINTER_COLUMNS if not column.get("priority")]
    assert len(shown) <= 5, "more do not fit a terminal"
    assert shown[1] == "Reason", "what tells a stuck run from one that works is not cut off"
    assert shown[-1] == "Age", "as everywhere"


def test_phases_can_be_selected() -> None:
    assert VERSION["selectableFields"] == [{"jsonPath": ".status.phase"}]


def walk(schema: dict[str, Any], path: str):
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}")
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from walk(schema["additionalProperties"], f"{path}{{}}")


FIELDS = dict(walk(SCHEMA, "DataMover"))


@pytest.mark.parametrize(
    "path", [path for path in FIELDS if not path.endswith(("[]", "{}")) and path != "DataMover.metadata"]
)
def test_every_field_is_described(path: str) -> None:
    description = FIELDS[path].get("description", "")
    assert len(description) > 5, f"kubectl explain shows nothing for {path}"
    assert description[0].isupper()
    assert "`" not in description


@pytest.mark.parametrize("path", FIELDS)
def test_every_schema_is_structural(path: str) -> None:
    schema = FIELDS[path]
    assert "type" in schema or schema.get("x-kubernetes-int-or-string"), path
    assert not {"$ref", "anyOf", "oneOf", "$defs", "title"} & set(schema), path
    if schema.get("type") == "array":
        assert "items" in schema
        assert schema["x-kubernetes-list-type"] in ("atomic", "map")


RULES = [
    (path, rule["rule"], rule["message"])
    for path, schema in FIELDS.items()
    for rule in schema.get("x-kubernetes-validations", ())
]


@pytest.mark.parametrize(("path", "rule", "message"), RULES)
def test_a_rule_says_the_fix(path: str, rule: str, message: str) -> None:
    ways_out = ("set ", "remove ", "choose ", "put ", "names exactly one", "is a tag such as", "such as")
    assert any(way in message for way in ways_out), message
    assert "\n" not in message
    assert len(message) < 300


def test_the_rules_of_every_type_are_in_the_schema() -> None:
    assert {rule for _, rule, _ in RULES} == {rule for rules in crd.VALIDATIONS.values() for rule, _ in rules}


def test_conditions_are_a_map_by_type() -> None:
    conditions = STATUS["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert conditions["items"]["required"] == ["type", "status"]


EXAMPLES = sorted(DOCUMENTS.glob("*.yaml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_of_the_documents_is_read_as_it_is_meant(example: Path) -> None:
    manifest = yaml.safe_load(example.read_text())
    assert manifest["metadata"]["name"] == example.stem
    if manifest["kind"] != "DataMover":
        assert manifest["kind"] == "Secret"
        return
    assert manifest["apiVersion"] == f"{names.GROUP}/v1alpha1"
    mover = msgspec.convert(manifest, DataMover)
    written = msgspec.to_builtins(mover.spec)
    for field, value in manifest["spec"].items():
        kept = written.get(field, SPEC["properties"][field].get("default"))
        assert (list(kept) if isinstance(kept, tuple) else kept) == value
        assert field in SPEC["properties"]
    assert check_spec(mover.spec) is None


def test_all_examples_are_there() -> None:
    assert {"nightly-backup", "custom-sync", "verified-cleanup", "primary-backup"} <= {path.stem for path in EXAMPLES}
