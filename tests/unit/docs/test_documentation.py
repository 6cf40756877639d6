"""The documentation says what is there: blocks are valid, links lead somewhere, and each word of the code has its place."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from datamover.api import reasons, restore, transfer, upload
from datamover.api.cdi.names import PopulationReason
from datamover.api.definitions import crds, data_volume_crds, replication_crds
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from datamover.api.v1alpha1.definition import data_mover_crd
from datamover.api.v1alpha1.validation import check_spec
from datamover.api.volsync.names import EventReason, Synchronizing, WaitReason
from datamover.api.waits import WAITS, EndedBy
from datamover.cli.exits import Exit
from datamover.cli.main import main
from datamover.metrics.datamover import DataMoverMetrics
from datamover.metrics.datavolumes import CollectionMetrics, ModeMetrics
from datamover.metrics.exposition import new_registry
from datamover.metrics.hosted_control_planes import HostedControlPlaneMetrics
from datamover.metrics.images import ImageMetrics
from datamover.metrics.objects import ObjectFamily
from datamover.metrics.population import PopulationMetrics
from datamover.metrics.replication import ReplicationMetrics
from datamover.metrics.restores import RestoreMetrics
from datamover.metrics.runtime import RuntimeMetrics
from datamover.metrics.summaries import ObjectSummary
from datamover.metrics.webhook import WebhookMetrics
from datamover.reconcilers.cdi_mode import Mode
from datamover.reconcilers.collection.decide import COLLECTED, GIVEN_BACK
from datamover.reconcilers.collection.obstacles import Reason
from datamover.reconcilers.data_source.resolve import Reason as SourceReason
from datamover.reconcilers.import_cron.asking import Reason as ImportReason
from datamover.volumes.cloning import CloneReason
from datamover.webhook.stamping import Outcome
from kubekit.client.transport import Request
from localkube.store.apiserver import ApiServer
from support.parsing import read_documents, read_yaml

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
SCHEMA: dict[str, Any] = data_mover_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
ALL_REASONS = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)} | {
    value for name, value in vars(transfer).items() if name.startswith("REASON_")
}
REPLICATION_REASONS = {
    value
    for words in (Synchronizing, EventReason, WaitReason)
    for name, value in vars(words).items()
    if name.isupper() and isinstance(value, str) and name != "TYPE"
}
COLLECTION_REASONS = {reason.value for reason in Reason} | {COLLECTED, GIVEN_BACK}
VARIABLES = {
    value
    for name, value in (vars(transfer) | vars(restore)).items()
    if name.isupper() and isinstance(value, str) and re.fullmatch(r"[A-Z][A-Z_]{5,}", value)
}


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    place: str
    language: str
    text: str


def blocks(path: Path, *languages: str) -> Iterator[Block]:
    text = path.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if match[1] in languages:
            line = text.count("\n", 0, match.start()) + 1
            yield Block(f"{path.relative_to(ROOT)}:{line}", match[1], match[2])


def all_blocks(*languages: str) -> list[Any]:
    found = [block for path in PAGES for block in blocks(path, *languages)]
    return [pytest.param(block, id=block.place) for block in found]


def manifests() -> list[Any]:
    """Every Kubernetes object in the documentation."""
    found = []
    for parameter in all_blocks("yaml"):
        block: Block = parameter.values[0]
        for number, document in enumerate(read_documents(block.text), start=1):
            if isinstance(document, dict) and "kind" in document:
                found.append(pytest.param(document, id=f"{block.place}#{number}"))
    return found


def rules() -> list[Any]:
    """Every alert rule in the documentation."""
    return [
        pytest.param(rule, id=rule["alert"])
        for parameter in all_blocks("yaml")
        for document in read_documents(parameter.values[0].text)
        if isinstance(document, dict) and "groups" in document
        for group in document["groups"]
        for rule in group["rules"]
    ]


# --- blocks -------------------------------------------------------------------------------------------------------


def check_values(document: dict[str, Any], known: dict[str, Any]) -> None:
    """Check that the chart has such values; what they install is tested with the chart."""
    for key, value in document.items():
        assert key in known
        if isinstance(value, dict):
            check_values(value, known[key])


@pytest.mark.parametrize("block", all_blocks("yaml"))
def test_a_yaml_block_is_something_that_is_checked_here(block: Block) -> None:
    documents = list(read_documents(block.text))
    assert documents
    for document in documents:
        assert isinstance(document, dict)
        if "kind" in document:
            assert document["apiVersion"]
            assert document["metadata"]["name"]
        elif "groups" in document:
            assert all(group["name"] and group["rules"] for group in document["groups"])
        elif "dataVolumes" in document:
            check_values(document, read_yaml(page("deploy/charts/datamover/values.yaml")))
        else:
            assert set(document) == {"status"}, f"{block.place}: what is this? Write whole objects"
            check_fields(document["status"], SCHEMA["properties"]["status"], "status")


@pytest.mark.parametrize("manifest", [each for each in manifests() if each.values[0]["kind"] == "DataMover"])
def test_a_data_mover_is_valid(manifest: dict[str, Any]) -> None:
    assert manifest["apiVersion"] == DATA_MOVERS.api_version
    check_fields(manifest["spec"], SCHEMA["properties"]["spec"], "spec")
    mover = msgspec.convert(manifest, DataMover)
    assert mover.spec is not None
    assert check_spec(mover.spec) is None


BEYOND = {"CronJob", "Role", "RoleBinding", "NetworkPolicy"}
"""Kinds that the embedded world does not have. A scenario on the real cluster applies them; of the NetworkPolicy see `test_importer.py` of the movers."""
OF_VELERO = {"ClusterRole", "ClusterRoleBinding", "DataProtectionApplication", "Deployment"}
"""Kinds of the page about the plugin for Velero, which `test_velero_plugin.py` checks."""


@pytest.mark.parametrize("manifest", [each for each in manifests() if each.values[0]["kind"] not in BEYOND | OF_VELERO])
async def test_an_object_is_accepted_by_an_api_server(manifest: dict[str, Any]) -> None:
    server = ApiServer()
    for needed in (
        *crds(),
        *replication_crds(),
        *data_volume_crds(),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
    ):
        await create(server, needed)
    namespace = manifest["metadata"].get("namespace")
    if namespace not in {None, "shop", "default"}:
        await create(server, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    await create(server, manifest)


async def create(server: ApiServer, manifest: dict[str, Any]) -> None:
    version, kind = manifest["apiVersion"], manifest["kind"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    listed = json.loads((await server.handle(Request("GET", root))).body)
    found = [each for each in listed["resources"] if each["kind"] == kind and "/" not in each["name"]]
    assert found, f"no {kind} in {version}"
    namespace = manifest["metadata"].get("namespace", "default")
    middle = f"/namespaces/{namespace}" if found[0]["namespaced"] else ""
    request = Request(
        "POST",
        f"{root}{middle}/{found[0]['name']}",
        (("fieldValidation", "Strict"),),
        {"content-type": "application/json"},
        json.dumps(manifest).encode(),
    )
    answer = await server.handle(request)
    assert answer.status == 201, answer.body


def check_fields(value: Any, schema: dict[str, Any], path: str) -> None:
    """Fail at a field that the CRD does not have, and at a value of another type."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if schema.get("x-kubernetes-int-or-string"):
        assert isinstance(value, int | str), path
        return
    types = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    assert isinstance(value, types[schema["type"]]), f"{path} is not {schema['type']}"
    assert "enum" not in schema or value in schema["enum"], f"{path} is {value!r}"
    if schema["type"] == "array":
        for number, item in enumerate(value):
            check_fields(item, schema["items"], f"{path}[{number}]")
    elif "additionalProperties" in schema:
        for key, item in value.items():
            check_fields(item, schema["additionalProperties"], f"{path}.{key}")
    elif schema["type"] == "object":
        assert not set(value) - set(schema["properties"]), f"{path} has unknown fields"
        assert set(schema.get("required", ())) <= set(value), f"{path} lacks required fields"
        for key, item in value.items():
            check_fields(item, schema["properties"][key], f"{path}.{key}")


@pytest.mark.parametrize("block", all_blocks("json"))
def test_a_json_block_is_json(block: Block) -> None:
    assert json.loads(block.text)


def test_the_progress_line_of_the_mover_page_is_one() -> None:
    block = next(block for block in blocks(ROOT / "docs/mover.md", "json") if "progress" in block.text)
    assert transfer.read_progress(block.text) is not None


def test_the_blocks_have_a_language_so_that_they_are_checked() -> None:
    known = {"sh", "console", "yaml", "json", "python", "text", "dockerfile"}
    for path in PAGES:
        fences = re.findall(r"^```(\w*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(fences[::2]) <= known, path
        assert set(fences[1::2]) <= {""}, path


# --- commands -----------------------------------------------------------------------------------------------------


def commands(group: click.Group, prefix: str = "datamover") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


COMMANDS = dict(commands(main))


def section(text: str, heading: str) -> str:
    match = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"no section {heading!r}"
    return match[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_and_its_options_are_documented(name: str) -> None:
    text = section(page("docs/cli.md"), name)
    options = [each for each in COMMANDS[name].params if isinstance(each, click.Option)]
    for option in options:
        for spelling in (*option.opts, *option.secondary_opts):
            assert re.search(rf"`{spelling}[ `]", text), f"{name} {spelling}"
        if option.envvar:
            assert f"`{option.envvar}`" in text, f"{name}: {option.envvar}"
    words = {
        word for each in COMMANDS[name].params if isinstance(each.type, click.Choice) for word in each.type.choices
    }
    assert all(f"`{word}`" in text for word in words), f"{name}: {words}"
    documented = set(re.findall(r"`(--?[a-z][a-z-]*)[ `]", text.partition("\n| option |")[2].partition("\n\n")[0]))
    known = {spelling for option in options for spelling in (*option.opts, *option.secondary_opts)}
    assert documented <= known | {"--volume"}


def test_the_groups_of_commands_are_documented() -> None:
    text = page("docs/cli.md")
    assert all(f"`datamover {name}" in text for name in main.commands)
    assert all(spelling in text for each in main.params for spelling in each.opts)


def test_every_exit_code_of_a_run_is_documented() -> None:
    rows = re.findall(r"^\| (\d+) \|", section(page("docs/cli.md"), "datamover run"), re.MULTILINE)
    assert {int(row) for row in rows} == {int(code) for code in Exit}


@pytest.mark.parametrize("block", all_blocks("sh", "console"))
def test_a_shell_block_uses_commands_options_and_targets_that_exist(block: Block) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", page("Makefile"), re.MULTILINE))
    for words in shell_commands(block.text):
        if words[0] == "make":
            assert set(words[1:]) <= targets, words
        if words[0] != "datamover":
            continue
        name = next((each for each in COMMANDS if " ".join(words).startswith(each)), None)
        assert name, f"no such command: {words}"
        known = {spelling for each in COMMANDS[name].params for spelling in (*each.opts, *each.secondary_opts)}
        given = {word.partition("=")[0] for word in words if word.startswith("-") and len(word) > 1}
        assert given <= known, words


def shell_commands(text: str) -> Iterator[list[str]]:
    """Yield the simple commands of a shell block, roughly: good enough for the ones in the documentation."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("();<>|&"):
                if words:
                    yield words
                words = []
            else:
                words.append(word)


# --- links --------------------------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        where = (path.parent / file).resolve() if file else path
        assert where.exists(), f"{path.name}: {target}"
        assert ROOT in where.parents, f"{path.name}: {target}"
        assert not anchor or anchor in anchors(where), f"{path.name}: {target}"


def test_every_page_is_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[a-z-]+\.md)", page("README.md")))
    assert linked == {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}


# --- words --------------------------------------------------------------------------------------------------------


OF_UPLOADS = tuple(value for name, value in vars(upload).items() if name.startswith("REASON_"))


def test_every_reason_has_a_row_and_no_row_is_made_up() -> None:
    text = page("docs/reasons.md")
    of_replication, of_data_volumes = section(text, "Of replication"), section(text, "Of DataVolumes")
    of_population = section(text, "Of population")
    of_images = text.partition("## Of images")[2].partition("\n## ")[0]
    apart = (
        of_replication,
        of_data_volumes,
        of_population,
        of_images,
        section(text, "Of backups of hosted control planes"),
    )
    rest = reduce(lambda left, each: left.replace(each, ""), apart, text)
    rows_of_images = re.findall(r"^\| (`[^|]+`) \|", of_images, re.MULTILINE)
    known_of_images = {*SourceReason, *ImportReason} - {"InternalError"}
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows_of_images))) == sorted(known_of_images)
    rows_of_population = re.findall(r"^\| (`[^|]+`) \|", of_population, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows_of_population))) == sorted(
        (*PopulationReason, *CloneReason, *OF_UPLOADS)
    )
    rows = re.findall(r"^\| `(\w+)` \|", rest, re.MULTILINE)
    assert sorted(rows) == sorted(ALL_REASONS)
    assert sorted(re.findall(r"^\| `(\w+)` \|", of_data_volumes, re.MULTILINE)) == sorted(COLLECTION_REASONS)
    assert sorted(re.findall(r"^\| `(\w+)` \|", of_replication, re.MULTILINE)) == sorted(REPLICATION_REASONS)


def test_the_reasons_say_of_each_wait_who_ends_it_whether_the_data_are_safe_and_how_urgent_it_is() -> None:
    """The table of the page is the one that the command line and the alerts go by."""
    text = page("docs/reasons.md")
    rows = re.findall(
        r"^\| `(\w+)` \| ([A-Z ]+) \| ([^|]*)\| ([^|]*)\| ([^|]*)\|", section(text, "Of the operator"), re.MULTILINE
    )
    replication = re.findall(
        r"^\| `(\w+)` \| ([^|]*)\| ([^|]*)\| ([^|]*)\| ([^|]*)\|", section(text, "Of replication"), re.MULTILINE
    )
    told = {
        reason: tuple(map(str.strip, cells)) for reason, _, *cells in (*rows, *replication) if "".join(cells).strip()
    }
    apart = re.search(
        r"`(InternalError)` of a run that has not ended: ([^;]+); ([^;]+);\s+(\w+)\.", text.replace("\n", " ")
    )
    assert apart
    told[apart[1]] = (apart[2], apart[3], apart[4])
    assert told == {reason: (w.ended_by.value, w.safe.value, w.severity.value) for reason, w in WAITS.items()}
    assert {reason for reason, marks, *_ in rows if {"W", "S"} & set(marks)} == set(WAITS) - {
        apart[1]
    } - REPLICATION_REASONS
    assert all(WAITS[reason].ended_by is EndedBy.PERSON for reason, marks, *_ in rows if "S" in marks.split())


def test_every_reason_has_an_entry_in_the_cookbook() -> None:
    text = page("docs/failures.md")
    entries = set(re.findall(r"^### (\w+)$", text, re.MULTILINE))
    harmless = set(re.findall(r"`(\w+)`", section(text, "Reasons that are no failure")))
    assert entries | harmless == ALL_REASONS | REPLICATION_REASONS | COLLECTION_REASONS
    assert not entries & harmless


def test_every_entry_of_the_cookbook_says_why_or_what_is_seen_and_what_to_do() -> None:
    text = page("docs/failures.md")
    for entry in re.findall(r"^### (\w+)$", text, re.MULTILINE):
        body = re.split(r"^## ", section_of_entry(text, entry), flags=re.MULTILINE)[0]
        assert "**Do.**" in body, entry
        assert "**Why.**" in body or "**You see.**" in body, entry


def section_of_entry(text: str, entry: str) -> str:
    match = re.search(rf"^### {entry}\n(.*?)(?=^### |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match
    return match[1]


def fields(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any], bool]]:
    for name, child in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        yield path, child, name in schema.get("required", ())
        yield from fields(child.get("items", child), f"{path}[]." if child.get("type") == "array" else f"{path}.")


SPEC = {path: (child, required) for path, child, required in fields(SCHEMA["properties"]["spec"])}
STATUS = {path: (child, required) for path, child, required in fields(SCHEMA["properties"]["status"])}


@pytest.mark.parametrize("path", SPEC)
def test_a_field_of_the_spec_is_documented_with_its_default_and_its_values(path: str) -> None:
    row = re.search(rf"^\| `{re.escape(path)}` \|.*$", section(page("docs/datamover.md"), "Spec"), re.MULTILINE)
    assert row, f"docs/datamover.md has no row for {path}"
    child, required = SPEC[path]
    if "default" in child:
        assert f"`{json.dumps(child['default']).strip(chr(34))}`" in row[0]
    for value in child.get("enum", ()):
        assert f"`{value}`" in row[0]
    assert ("required" in row[0]) == required


@pytest.mark.parametrize("path", STATUS)
def test_a_field_of_the_status_is_documented(path: str) -> None:
    assert re.search(rf"^\|[^|]*`{re.escape(path)}`[^|]*\|", section(page("docs/datamover.md"), "Status"), re.MULTILINE)


def test_no_field_is_documented_that_does_not_exist() -> None:
    text = page("docs/datamover.md")
    rows = re.findall(r"^\| (`[\w.\[\]]+`(?:, `[\w.\[\]]+`)*) \|", section(text, "Spec"), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == set(SPEC)
    table = section(text, "Status").partition("\n\nWhat that looks like")[0]
    rows = re.findall(r"^\| (`[\w.\[\]]+`(?:, `[\w.\[\]]+`)*) \|", table, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == set(STATUS)


@pytest.mark.parametrize("variable", sorted(VARIABLES))
def test_a_variable_of_the_mover_is_documented(variable: str) -> None:
    assert f"`{variable}`" in page("docs/mover.md")


def test_the_exit_codes_of_the_mover_are_documented() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \|", page("docs/mover.md"), re.MULTILINE)
    wanted = [
        (each, *(str(transfer.exit_code(each, retryable=retryable)) for retryable in (False, True)))
        for each in transfer.FAILURE_CLASSES
    ]
    assert rows == wanted


def test_the_classes_that_end_a_run_at_once_are_documented() -> None:
    match = re.search(r"^(.*) are final unless", page("docs/mover.md"), re.MULTILINE)
    assert match
    assert set(re.findall(r"`(\w+)`", match[1])) == transfer.TERMINAL_CLASSES


# --- metrics ------------------------------------------------------------------------------------------------------


class Family(NamedTuple):
    type: str
    labels: tuple[str, ...]


class Recording(CollectorRegistry):
    """A registry that remembers what was registered, to ask for labels."""

    def __init__(self) -> None:
        super().__init__()
        self.families: dict[str, Family] = {}

    def register(self, collector: Any) -> None:
        super().register(collector)
        if isinstance(collector, MetricWrapperBase):
            found = Family(collector._type, tuple(collector._labelnames))
            self.families[exposed(collector._name, collector._type)] = found
        elif isinstance(collector, ObjectFamily | ObjectSummary):
            for family in collector.describe():
                self.families[exposed(family.name, family.type)] = Family(family.type, collector.labels)


def exposed(name: str, type_: str) -> str:
    return f"{name}_total" if type_ == "counter" else name


def our_families() -> dict[str, Family]:
    registry = Recording()
    RuntimeMetrics(registry)
    DataMoverMetrics(registry)
    RestoreMetrics(registry)
    ReplicationMetrics(registry, now=lambda: 0.0)
    PopulationMetrics(registry)
    ImageMetrics(registry)
    HostedControlPlaneMetrics(registry)
    WebhookMetrics(registry, outcomes=Outcome)
    CollectionMetrics(registry)
    ModeMetrics(registry, Mode)
    return registry.families


FAMILIES = our_families()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_metric_has_a_row_with_its_type_and_labels(name: str) -> None:
    family = FAMILIES[name]
    row = re.search(rf"^\| `{name}` \| (\w+) \| ([^|]*) \|", page("docs/metrics.md"), re.MULTILINE)
    assert row, name
    assert row[1] == family.type
    assert re.findall(r"`(\w+)`", row[2]) == list(family.labels)


def test_no_metric_is_documented_that_is_not_exposed() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (?:counter|gauge|histogram|summary) \|", page("docs/metrics.md"), re.MULTILINE)
    assert sorted(rows) == sorted(FAMILIES)


def test_the_metrics_of_the_process_are_listed() -> None:
    text = page("docs/metrics.md")
    for family in new_registry().collect():
        assert f"`{exposed(family.name, family.type)}`" in text


_KEYWORDS = {"and", "or", "unless", "by", "on", "offset", "bool", "ignoring", "without", "group_left", "group_right"}


def metrics_in(expression: str) -> set[str]:
    """Return the metric names in a PromQL expression."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", "", bare)
    return {
        match[1]
        for match in re.finditer(r"(?<![\w.])([a-zA-Z_:][\w:]*)(?!\w*\s*\()", bare)
        if match[1] not in _KEYWORDS
    }


def labels_in(expression: str) -> set[str]:
    inside = "".join(re.findall(r"\{([^}]*)\}", expression))
    grouped = ",".join(re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression))
    return set(re.findall(r"(\w+)\s*[=!]~?", inside)) | set(re.findall(r"\w+", grouped))


SCRAPED = {"namespace"}
"""Labels that the scrape adds to series that do not have them, as a ServiceMonitor does: here that of the operator's namespace."""


@pytest.mark.parametrize("rule", rules())
def test_an_alert_names_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    named = metrics_in(rule["expr"])
    assert named
    assert named <= set(FAMILIES)
    labels = SCRAPED | {label for name in named for label in FAMILIES[name].labels}
    assert labels_in(rule["expr"]) <= labels
    text = " ".join(rule["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", text)) <= labels
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert {"summary", "description", "runbook_url"} <= set(rule["annotations"])


def test_the_documented_alert_is_there_as_it_was_published() -> None:
    published = 'increase(datamover_cleanup_operations_total{status="failure"}[5m]) > 0'
    found = {rule.values[0]["alert"]: rule.values[0]["expr"] for rule in rules()}
    assert found["DataMoverCleanupFailing"] == published


def test_metric_names_and_labels_are_found_in_expressions() -> None:
    expression = 'sum by (a, b) (rate(one_total{c=~"x|y"}[5m])) > 2 * three unless four offset 1h'
    assert metrics_in(expression) == {"one_total", "three", "four"}
    assert labels_in(expression) == {"a", "b", "c"}
