"""The definition that a cluster has, against the one that this version needs."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from datamover.api.installed import INSTALL, describe_absence, find_gap
from datamover.api.v1alpha1.definition import data_mover_crd

Definition = dict[str, Any]


def version(crd: Definition) -> Definition:
    return crd["spec"]["versions"][0]


def properties(crd: Definition, *path: str) -> Definition:
    found = version(crd)["schema"]["openAPIV3Schema"]["properties"]
    for name in path:
        found = found[name]["properties"]
    return found


def original(crd: Definition) -> None:
    """What the original operator's definition has of ours."""
    version(crd)["schema"]["openAPIV3Schema"]["properties"]["status"] = {
        "type": "object",
        "properties": {"phase": {"type": "string"}, "restoredPvcName": {"type": "string"}},
    }
    spec = properties(crd, "spec")
    documented = ("sourcePvc", "secretName", "additionalEnv", "addTimestampPrefix", "deletePvcAfterBackup", "image")
    for name in [name for name in spec if name not in documented]:
        del spec[name]


def no_subresource(crd: Definition) -> None:
    del version(crd)["subresources"]


def other_version(crd: Definition) -> None:
    version(crd)["name"] = "v1beta1"


def not_served(crd: Definition) -> None:
    version(crd)["served"] = False


def text_for_number(crd: Definition) -> None:
    properties(crd, "status", "run")["attempts"] = {"type": "string"}


def without_items(crd: Definition) -> None:
    del properties(crd, "status")["conditions"]["items"]["properties"]["reason"]


def going(crd: Definition) -> None:
    crd["metadata"]["deletionTimestamp"] = "2024-08-06T14:30:52Z"


def bad_names(crd: Definition) -> None:
    crd["status"] = {"conditions": [{"type": "NamesAccepted", "status": "False", "message": "dm is taken"}]}


def emptied(crd: Definition) -> None:
    version(crd).pop("schema")


LACKING: dict[str, tuple[Callable[[Definition], None], tuple[str, ...]]] = {
    "the original operator's": (original, ("status.run", "status.conditions", "spec.copyMethod", " more; ")),
    "no status subresource": (no_subresource, ("has no status subresource",)),
    "another version only": (other_version, ("has no version v1alpha1 that is served",)),
    "a version that is not served": (not_served, ("has no version v1alpha1 that is served",)),
    "a field of another type": (text_for_number, ("has no status.run.attempts of type integer",)),
    "a field within a list": (without_items, ("has no status.conditions[].reason",)),
    "no schema at all": (emptied, ("has no status, apiVersion, kind", "spec")),
}
BROKEN: dict[str, tuple[Callable[[Definition], None], tuple[str, ...]]] = {
    "being deleted": (going, ("is being deleted, with every object of its kind", INSTALL)),
    "names that another definition has": (bad_names, ("NamesAccepted is False", "dm is taken", "kubectl describe crd")),
}


@pytest.mark.parametrize("case", LACKING)
def test_what_is_missing_is_named_with_the_way_out(case: str) -> None:
    change, words = LACKING[case]
    found = found_after(change)
    for word in (*words, "datamovers.datamover.a-cup-of.coffee", INSTALL, "--force-conflicts"):
        assert word in found, word


@pytest.mark.parametrize("case", BROKEN)
def test_a_definition_that_is_not_served_is_explained(case: str) -> None:
    change, words = BROKEN[case]
    found = found_after(change)
    assert all(word in found for word in words), found


def found_after(change: Callable[[Definition], None]) -> str:
    installed = copy.deepcopy(data_mover_crd())
    change(installed)
    found = find_gap(installed, data_mover_crd())
    assert found is not None
    return found


def test_what_is_below_a_missing_field_is_not_told_as_well() -> None:
    found = found_after(original)
    assert "status.run" in found
    assert "status.run." not in found


def a_newer_one(crd: Definition) -> None:
    properties(crd, "status")["future"] = {"type": "string"}
    crd["spec"]["versions"].append({"name": "v1", "served": True})
    crd["status"] = {"conditions": [{"type": "Established", "status": "True"}]}


def an_open_one(crd: Definition) -> None:
    version(crd)["schema"]["openAPIV3Schema"]["properties"]["status"] = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
    }


@pytest.mark.parametrize("change", [lambda crd: None, a_newer_one, an_open_one], ids=["ours", "newer", "open"])
def test_what_keeps_all_that_is_written_is_right(change: Callable[[Definition], None]) -> None:
    installed = copy.deepcopy(data_mover_crd())
    change(installed)
    assert find_gap(installed, data_mover_crd()) is None


def test_a_missing_definition_is_told_with_the_command_that_installs_it() -> None:
    assert describe_absence(data_mover_crd()) == (
        f"the cluster has no CustomResourceDefinition datamovers.datamover.a-cup-of.coffee: install it with {INSTALL}"
    )
