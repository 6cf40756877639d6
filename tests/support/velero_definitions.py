"""The definitions that a real Velero wants to find, and that of HostedControlPlane, which a cluster has or has not."""

from typing import Any

import yaml

from support.kubernetes import ControlPlane
from support.programs import ProgramError
from support.velero import VeleroPrograms

HOSTED_CONTROL_PLANES: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "hostedcontrolplanes.hypershift.openshift.io"},
    "spec": {
        "group": "hypershift.openshift.io",
        "scope": "Namespaced",
        "names": {
            "plural": "hostedcontrolplanes",
            "singular": "hostedcontrolplane",
            "kind": "HostedControlPlane",
            "shortNames": ["hcp"],
        },
        "versions": [
            {
                "name": "v1beta1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            name: {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                            for name in ("spec", "status")
                        },
                    }
                },
            }
        ],
    },
}
"""As much of the definition of HostedControlPlane as is needed: every field is kept, none is checked."""


_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def define(plane: ControlPlane, programs: VeleroPrograms, *, hosted: bool) -> None:
    """Create Velero's definitions where they are missing, and wait until they are served; that of HostedControlPlane is there then, or is not."""
    files = sorted(programs.definitions.glob("*/*.yaml"))
    _define(plane, [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files])
    if hosted:
        define_hosted(plane)
    else:
        path = f"{_DEFINITIONS}/{HOSTED_CONTROL_PLANES['metadata']['name']}"
        plane.call("DELETE", path)
        plane.api_server.wait_until(lambda: plane.call("GET", path)[0] == 404, seconds=60)


def define_hosted(plane: ControlPlane) -> None:
    """Create the definition of HostedControlPlane where it is missing, and wait until it is served."""
    _define(plane, [HOSTED_CONTROL_PLANES])


def _define(plane: ControlPlane, wanted: list[dict[str, Any]]) -> None:
    for each in wanted:
        status, answer = plane.call("POST", _DEFINITIONS, each)
        if status not in (201, 409):
            raise ProgramError(f"{each['metadata']['name']}: {status} {answer}")
    for each in wanted:
        spec = each["spec"]
        for version in (version["name"] for version in spec["versions"] if version["served"]):
            served = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
            plane.api_server.wait_until(lambda served=served: plane.call("GET", served)[0] == 200, seconds=60)
