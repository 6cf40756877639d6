"""The pages on the two kinds of `volsync.backube`: each field has its row, each example runs to its end, and each name is the one that is made."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datamover.api.volsync import names
from datamover.api.volsync.definition import replication_destination_crd, replication_source_crd
from datamover.reconcilers.replication.ask import Ask
from support.parsing import read_documents
from support.theatre import Theatre

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGES = {
    "ReplicationSource": (DOCS / "replicationsource.md").read_text(encoding="utf-8"),
    "ReplicationDestination": (DOCS / "replicationdestination.md").read_text(encoding="utf-8"),
}
SCHEMAS: dict[str, dict[str, Any]] = {
    kind: crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    for kind, crd in (
        ("ReplicationSource", replication_source_crd),
        ("ReplicationDestination", replication_destination_crd),
    )
}
METHODS = {
    "restic": "Of restic",
    "rclone": "Of rclone",
    "rsyncTLS": "Of rsync through TLS",
    "rsync": "Of rsync over SSH",
}
SHARED = "Of movers that need not be root"
BEYOND = {"ReplicationSource": "syncthing.", "ReplicationDestination": None}
"""Fields that are taken as they are and mean nothing here."""


def section(page: str, heading: str) -> str:
    found = re.search(rf"^(##+) {re.escape(heading)}\n(.*?)(?=^##+ |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[2]


def rows(page: str, heading: str) -> list[str]:
    cells = re.findall(r"^\| (`[^|]*`) \|", section(page, heading), re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def fields(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, child in schema.get("properties", {}).items():
        yield f"{prefix}{name}"
        yield from fields(child.get("items", child), f"{prefix}{name}{'[]' if child.get('type') == 'array' else ''}.")


@pytest.mark.parametrize("kind", PAGES)
def test_every_field_of_the_spec_has_one_row_and_no_row_is_made_up(kind: str) -> None:
    page = PAGES[kind]
    told = rows(page, "Spec")
    for method, heading in METHODS.items():
        told += [f"{method}.{name}" for name in rows(page, "Of every mover")]
        told += rows(page, heading)
        if method != "rsync":
            told += [f"{method}.{name}" for name in rows(PAGES["ReplicationSource"], SHARED)]
    wanted = [name for name in fields(SCHEMAS[kind]["spec"]) if not name.startswith(BEYOND[kind] or "/")]
    assert sorted(told) == sorted(wanted)


@pytest.mark.parametrize("kind", PAGES)
def test_every_field_of_the_status_has_one_row_and_no_row_is_made_up(kind: str) -> None:
    beyond = ("conditions[]", "syncthing.")
    wanted = [name for name in fields(SCHEMAS[kind]["status"]) if not name.startswith(beyond)]
    assert sorted(rows(PAGES[kind], "Status")) == sorted(wanted)


def test_the_values_of_the_copy_method_are_told() -> None:
    for kind, page in PAGES.items():
        row = next(line for line in page.splitlines() if line.startswith("| `copyMethod`"))
        allowed = SCHEMAS[kind]["spec"]["properties"]["restic"]["properties"]["copyMethod"]["enum"]
        assert all(f"`{value}`" in row for value in allowed), row


def test_every_condition_and_reason_of_the_contract_is_told() -> None:
    told = section(PAGES["ReplicationSource"], "Conditions")
    for words in (names.Synchronizing, names.ConditionType):
        for name, value in vars(words).items():
            if name.isupper() and isinstance(value, str):
                assert f"`{value}`" in told, value


def test_every_event_is_told() -> None:
    text = "".join(section(page, "Events") for page in PAGES.values())
    told = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    events = {value for name, value in vars(names.EventReason).items() if name.isupper()}
    assert told == events | {names.WaitReason.TURN}


@pytest.mark.parametrize(
    "name", [names.ALLOW_EMPTY_ANNOTATION, names.REMOVE_STALE_LOCKS_ANNOTATION, names.DEBUG_ANNOTATION]
)
def test_every_annotation_that_people_set_is_told(name: str) -> None:
    assert name in section(PAGES["ReplicationSource"], "Annotations")


# --- the examples -------------------------------------------------------------------------------------------------


def documents() -> Iterator[dict[str, Any]]:
    for page in sorted(DOCS.glob("*.md")):
        for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            yield from (each for each in read_documents(block) if isinstance(each, dict))


DOCUMENTS = list(documents())
EXAMPLES = [each for each in DOCUMENTS if each.get("kind") in PAGES]
SECRETS = {each["metadata"]["name"]: tuple(each["stringData"]) for each in DOCUMENTS if each.get("kind") == "Secret"}
SECRETS["restic-secret"] = ("RESTIC_REPOSITORY", "RESTIC_PASSWORD")  # of the page on copy triggers, which shows none


def staged(example: dict[str, Any]) -> Theatre:
    theatre = Theatre(example["kind"], example["metadata"]["name"], example["spec"])
    theatre.secrets = dict(SECRETS)
    for role in (names.SOURCE, names.DESTINATION):  # what the operator has generated it reads again
        secret = names.ssh_secret(role, "main", example["metadata"]["name"])
        theatre.secrets[secret] = ("source", "source.pub", "destination", "destination.pub")
    wanted = {example["spec"].get("sourcePVC"), *(each.get("destinationPVC") for each in methods(example))}
    wanted |= {name for each in methods(example) for name in mounted(each)}
    for name in wanted - {None}:
        theatre.claim(str(name))
    return theatre


def mounted(method: dict[str, Any]) -> Iterator[str]:
    for volume in method.get("moverVolumes", ()):
        claim = volume["volumeSource"].get("persistentVolumeClaim")
        if claim:
            yield claim["claimName"]


def methods(example: dict[str, Any]) -> list[dict[str, Any]]:
    return [example["spec"][method] for method in METHODS if method in example["spec"]]


def surround(theatre: Theatre) -> None:
    """Let storage, scheduler and cloud do their part."""
    for (kind, name), found in theatre.objects.items():
        if kind == "PersistentVolumeClaim" and name.startswith("volsync-"):
            found["status"] = {"phase": "Bound"}
            found["spec"].setdefault("storageClassName", "fast")
        if kind == "VolumeSnapshot":
            theatre.ready(name)
        if kind == "Service" and found["spec"]["type"] == "LoadBalancer":
            found["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each["metadata"]["name"])
def test_an_example_runs_to_its_end(example: dict[str, Any]) -> None:
    theatre = staged(example)
    assert isinstance(theatre.ask, Ask), theatre.ask
    theatre.act()
    for _ in range(6):
        surround(theatre)
        theatre.act()
        assert theatre.condition()[1] != "Error", theatre.condition()
        if seen := [each for each in theatre.statuses if each.get("lastSyncTime")]:
            break
        if any(kind == "Job" for kind, _ in theatre.objects):
            theatre.succeed()
    assert seen[0]["latestMoverStatus"]["result"] == "Successful"


def test_there_is_an_example_for_each_mover_of_each_kind() -> None:
    shown = {(each["kind"], method) for each in EXAMPLES for method in METHODS if method in each["spec"]}
    assert shown == {(kind, method) for kind in PAGES for method in METHODS}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each["metadata"]["name"])
def test_what_an_example_makes_is_called_as_its_page_says(example: dict[str, Any]) -> None:
    theatre, name = staged(example), example["metadata"]["name"]
    theatre.act()
    told = set(re.findall(r"`([\w-]*NAME[\w-]*)`", section(PAGES[example["kind"]], "What is made, and what goes")))
    for made in theatre.created:
        assert made["metadata"]["name"].replace(name, "NAME") in told, made["metadata"]["name"]
