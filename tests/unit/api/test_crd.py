"""The CustomResourceDefinition: what is installed, what users rely on, what `kubectl explain` shows."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from datamover.api import crd, names, pods
from datamover.api.definitions import crds
from datamover.api.pods import Image, doc
from datamover.api.v1alpha1 import definition
from datamover.api.v1alpha1.datamover import DataMover
from datamover.api.v1alpha1.validation import check_spec
from kubekit.words.meta import Condition, Model, ObjectMeta, Resource
from localkube.store.crds import _crd_faults, kinds_of
from support.parsing import read_yaml

REPOSITORY = Path(__file__).parents[3]
INSTALLED = REPOSITORY / "deploy" / "crds"
DOCUMENTS = REPOSITORY / "tests" / "scenario" / "documents"

DEFINITION = definition.data_mover_crd()
VERSION = DEFINITION["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]
SPEC = SCHEMA["properties"]["spec"]
STATUS = SCHEMA["properties"]["status"]


def test_the_installed_definition_is_the_generated_one() -> None:
    for found in crds():
        installed = INSTALLED / f"{found['spec']['names']['plural']}.yaml"
        assert installed.read_text() == crd.render((found,)), f"{installed} is not what the types say: run `make crds`"


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
    columns = {column["name"].upper(): (column["type"], column["jsonPath"]) for column in definition.PRINTER_COLUMNS}
    assert columns["PHASE"] == ("string", ".status.phase")
    assert columns["AGE"] == ("date", ".metadata.creationTimestamp")
    assert definition.PRINTER_COLUMNS[0]["name"] == "Phase", "scripts read it as the first column after the name"
    shown = [column["name"] for column in definition.PRINTER_COLUMNS if not column.get("priority")]
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
    assert {rule for _, rule, _ in RULES} == {rule for rules in definition.RULES.values() for rule, _ in rules}


def test_conditions_are_a_map_by_type() -> None:
    conditions = STATUS["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert conditions["items"]["required"] == ["type", "status"]


EXAMPLES = sorted(DOCUMENTS.glob("*.yaml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_of_the_documents_is_read_as_it_is_meant(example: Path) -> None:
    manifest = read_yaml(example.read_text())
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


class Errand(Model, frozen=True):
    """What somebody is to fetch."""

    what: Annotated[str, doc("Thing to fetch.", minLength=1)]
    times: Annotated[int, doc("How often.", format="int32", minimum=1)] = 1
    image: Annotated[Image | None, doc("Image of who fetches it.")] = None


class ErrandStatus(Model, frozen=True):
    """What came of it."""

    tries: Annotated[int, doc("How often it was tried.")] = 0
    conditions: Annotated[tuple[Condition, ...] | None, doc("Conditions.")] = None


class ErrandObject(Model, frozen=True):
    """Fetches something."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Errand | None = None
    status: ErrandStatus | None = None


class Settled(Model, frozen=True):
    """A kind of the cluster, with a spec only."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Errand | None = None


class TestAnyKind:
    """The generator knows no kind: this one is made up."""

    made = crd.crd(
        Resource("toys.example.com", "v1", "errands", "Errand", ErrandObject),
        rules={Errand: (("self.what != 'nothing'", "nothing cannot be fetched: choose something"),), **pods.RULES},
        columns=({"name": "What", "type": "string", "jsonPath": ".spec.what"},),
        selectable_fields=(".spec.what",),
        short_names=("er",),
    )

    def test_names_come_from_the_resource(self) -> None:
        assert self.made["metadata"]["name"] == "errands.toys.example.com"
        assert self.made["spec"]["group"] == "toys.example.com"
        assert self.made["spec"]["names"] == {
            "kind": "Errand",
            "listKind": "ErrandList",
            "plural": "errands",
            "singular": "errand",
            "shortNames": ["er"],
        }

    def test_the_version_has_columns_selectable_fields_and_the_status_subresource(self) -> None:
        (version,) = self.made["spec"]["versions"]
        assert (version["name"], version["served"], version["storage"]) == ("v1", True, True)
        assert version["additionalPrinterColumns"] == [{"name": "What", "type": "string", "jsonPath": ".spec.what"}]
        assert version["selectableFields"] == [{"jsonPath": ".spec.what"}]
        assert version["subresources"] == {"status": {}}

    def test_the_schema_is_that_of_its_types_with_the_rules_of_the_words_that_it_uses(self) -> None:
        schema = self.made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        assert schema["description"] == "Fetches something."
        assert schema["required"] == ["spec"]
        spec = schema["properties"]["spec"]
        assert spec["required"] == ["what"]
        assert spec["properties"]["times"] == {
            "type": "integer",
            "format": "int32",
            "minimum": 1,
            "description": "How often.",
            "default": 1,
        }
        assert [rule["rule"] for rule in spec["x-kubernetes-validations"]] == ["self.what != 'nothing'"]
        assert len(spec["properties"]["image"]["x-kubernetes-validations"]) == len(pods.RULES[Image])

    def test_the_status_has_no_defaults(self) -> None:
        status = self.made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
        assert "default" not in status["properties"]["tries"]
        assert status["properties"]["conditions"]["x-kubernetes-list-map-keys"] == ["type"]

    def test_a_kind_of_the_cluster_without_a_status_says_no_more_than_it_has(self) -> None:
        resource = Resource("toys.example.com", "v1", "settled", "Settled", Settled, namespaced=False)
        made = crd.crd(resource, rules={}, required=())
        (version,) = made["spec"]["versions"]
        assert made["spec"]["scope"] == "Cluster"
        assert set(version) == {"name", "served", "storage", "schema"}
        assert "required" not in version["schema"]["openAPIV3Schema"]

    def test_an_api_server_takes_it(self) -> None:
        assert list(_crd_faults(self.made)) == []
        assert [kind.kind for kind in kinds_of(self.made)] == ["Errand"]
