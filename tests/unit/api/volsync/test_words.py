"""ReplicationSource and ReplicationDestination: every recorded object is read whole, and names are the published ones."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from datamover.api.crd import render
from datamover.api.definitions import replication_crds
from datamover.api.volsync import names
from datamover.api.volsync.replication_destination import ReplicationDestination
from datamover.api.volsync.replication_source import ReplicationSource

REPOSITORY = Path(__file__).parents[4]
RECORDED: dict[str, Any] = json.loads((REPOSITORY / "tests/support/recorded/replication.json").read_text())
KINDS = {"ReplicationSource": ReplicationSource, "ReplicationDestination": ReplicationDestination}


@pytest.mark.parametrize("case", RECORDED)
def test_a_recorded_object_is_read_and_written_without_loss(case: str) -> None:
    recorded = RECORDED[case]
    for status in recorded["statuses"]:
        whole = {"metadata": {"name": recorded["name"]}, "spec": recorded["spec"], "status": status}

        assert json.loads(msgspec.json.encode(msgspec.convert(whole, KINDS[recorded["kind"]]))) == whole


@pytest.mark.parametrize("definition", replication_crds(), ids=lambda each: each["metadata"]["name"])
def test_the_installed_definition_is_the_generated_one(definition: dict[str, Any]) -> None:
    file = REPOSITORY / "deploy/crds" / f"{definition['spec']['names']['plural']}.yaml"
    assert file.read_text() == render((definition,)), "run `make crds`"


@pytest.mark.parametrize("definition", replication_crds(), ids=lambda each: each["metadata"]["name"])
def test_a_definition_has_no_defaults_and_requires_nothing_of_an_object(definition: dict[str, Any]) -> None:
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    defaults = [path for path, node in _walk(schema, "") if "default" in node]

    assert defaults == []
    assert "required" not in schema
    assert "required" not in schema["properties"]["spec"]


def _walk(schema: dict[str, Any], path: str) -> list[tuple[str, dict[str, Any]]]:
    below = {**schema.get("properties", {}), **({"[]": schema["items"]} if "items" in schema else {})}
    return [(path, schema), *(each for name, child in below.items() for each in _walk(child, f"{path}.{name}"))]


NAMES = [
    (names.job_name(names.Method.RESTIC, names.SOURCE, "n"), "volsync-src-n"),
    (names.job_name(names.Method.RCLONE, names.DESTINATION, "n"), "volsync-rclone-dst-n"),
    (names.job_name(names.Method.RSYNC_TLS, names.SOURCE, "n"), "volsync-rsync-tls-src-n"),
    (names.job_name(names.Method.RSYNC, names.DESTINATION, "n"), "volsync-rsync-dst-n"),
    (names.copy_name("n"), "volsync-n-src"),
    (names.destination_claim(names.Method.RESTIC, "n"), "volsync-n-dest"),
    (names.destination_claim(names.Method.RSYNC_TLS, "n"), "volsync-n-dst"),
    (names.cache_claim(names.DESTINATION, "n"), "volsync-dst-n-cache"),
    (names.account_name(names.SOURCE, "n" * 70), "volsync-src-" + "n" * 70),
    # CRC-32 (IEEE) of the name, where prefix and name together are longer than a label's value may be
    (names.job_name(names.Method.RESTIC, names.SOURCE, "a" * 51), "volsync-src-" + "a" * 51),
    (names.job_name(names.Method.RESTIC, names.SOURCE, "a" * 52), "volsync-src-b6af0329"),
]


@pytest.mark.parametrize(("found", "published"), NAMES)
def test_children_have_the_published_names(found: str, published: str) -> None:
    assert found == published


def test_recorded_children_have_these_names() -> None:
    made = {
        child["metadata"]["name"]
        for recorded in RECORDED.values()
        for child in recorded["children"]
        if child["kind"] == "Job"
    }
    methods = {"restic": "restic", "rclone": "rclone", "rsync": "rsync", "rsyncTLS": "rsync-tls"}
    expected = {
        names.job_name(
            methods[next(key for key in recorded["spec"] if key in methods)],
            names.SOURCE if recorded["kind"] == "ReplicationSource" else names.DESTINATION,
            recorded["name"],
        )
        for recorded in RECORDED.values()
    }
    assert made == expected
