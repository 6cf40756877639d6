"""The resource definitions that a real API server gets for the tests."""

import copy
from pathlib import Path
from typing import Any

from datamover.api.v1alpha1.definition import data_mover_crd
from localkube.store.bootstrap import bootstrap_objects
from support.kubernetes import REPOSITORY
from support.parsing import read_documents


def own_definitions() -> list[dict[str, Any]]:
    """Return the definitions that datamover installs, as they are in the repository."""
    return _read(REPOSITORY / "deploy" / "crds")


def data_volume_definitions() -> list[dict[str, Any]]:
    """Return those that it installs where it fills DataVolumes."""
    return _read(REPOSITORY / "deploy" / "crds" / "datavolumes")


def _read(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("*.yaml"))
    return [definition for file in files for definition in read_documents(file.read_text()) if definition]


def snapshot_definitions() -> list[dict[str, Any]]:
    """Return those of VolumeSnapshot, VolumeSnapshotClass and VolumeSnapshotContent, which come with a CSI driver.

    They are the ones that the embedded API server brings: external-snapshotter's own, rules and all, with shorter descriptions. So both
    worlds hold objects against the same words, and nothing is fetched for a test.
    """
    found = [manifest for path, manifest in bootstrap_objects() if path.endswith("/customresourcedefinitions")]
    assert len(found) == 3, [each["metadata"]["name"] for each in found]
    return found


_ORIGINAL_FIELDS = (
    "sourcePvc",
    "secretName",
    "additionalEnv",
    "addTimestampPrefix",
    "deletePvcAfterBackup",
    "image",
)


def original_definition() -> dict[str, Any]:
    """The original operator's definition, as far as it matters: no run, no conditions, none of the additive fields."""
    crd = copy.deepcopy(data_mover_crd())
    version = crd["spec"]["versions"][0]
    version["additionalPrinterColumns"] = version["additionalPrinterColumns"][:2]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    text = {"type": "string"}
    properties["status"] = {"type": "object", "properties": {"phase": text, "restoredPvcName": text}}
    spec = properties["spec"]["properties"]
    properties["spec"] = {
        "type": "object",
        "properties": {name: spec[name] for name in _ORIGINAL_FIELDS},
    }
    return crd


POPULATORS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "volumepopulators.populator.storage.k8s.io",
        # names of this group want it, and any address will do
        "annotations": {"api-approved.kubernetes.io": "https://example.com"},
    },
    "spec": {
        "group": "populator.storage.k8s.io",
        "scope": "Cluster",
        "names": {"plural": "volumepopulators", "singular": "volumepopulator", "kind": "VolumePopulator"},
        "versions": [
            {
                "name": "v1beta1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "sourceKind": {
                                "type": "object",
                                "properties": {"group": {"type": "string"}, "kind": {"type": "string"}},
                            }
                        },
                    }
                },
            }
        ],
    },
}
"""The definition of VolumePopulator, which comes with the validator of claims' data sources. As far as it is needed."""
