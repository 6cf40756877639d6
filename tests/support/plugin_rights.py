"""The rights that docs/velero-plugin.md names for the plugin: as the page has them, given to whom a test names, and held against what was asked."""

import copy
import re
from pathlib import Path
from typing import Any, NamedTuple

from support.kubernetes import ControlPlane, collection_path
from support.parsing import read_documents

PAGE = (Path(__file__).resolve().parents[2] / "docs/velero-plugin.md").read_text(encoding="utf-8")
VELERO = "velero"
"""Velero's namespace on the page."""


def objects(kind: str) -> list[dict[str, Any]]:
    """Return the objects of a kind that the page shows."""
    texts = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [each for text in texts for each in read_documents(text) if each["kind"] == kind]


class Right(NamedTuple):
    """One thing that may be done; `namespace` is empty where it may be done everywhere, `name` where it may be done to each."""

    namespace: str
    group: str
    resource: str
    verb: str
    name: str

    def allows(self, asked: "Right") -> bool:
        """Tell whether a request, which has a namespace and a name as far as it is about one, needs no other right than this."""
        return asked == Right(
            self.namespace or asked.namespace, self.group, self.resource, self.verb, self.name or asked.name
        )


def granted() -> set[Right]:
    """Return all that the page's roles allow."""
    return {
        Right(role["metadata"].get("namespace", ""), group, resource, verb, name)
        for role in (*objects("ClusterRole"), *objects("Role"))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def grant(plane: ControlPlane, user: str, *, velero: str) -> None:
    """Create the page's roles and bindings: as they stand there, but for Velero's namespace and for who gets them."""
    for kind in ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"):
        for each in objects(kind):
            made = copy.deepcopy(each)
            if "namespace" in made["metadata"]:
                assert made["metadata"]["namespace"] == VELERO
                made["metadata"]["namespace"] = velero
            if "subjects" in made:
                made["subjects"] = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]
            status, answer = plane.call("POST", collection_path(made), made)
            assert status in (201, 409), (
                answer
            )  # those of the whole cluster are there when it is done for a second Velero
