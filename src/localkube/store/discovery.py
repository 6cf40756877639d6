"""Discovery: which kinds there are. Legacy documents and the aggregated one (v2), which kubectl asks for first."""

from localkube.store.calls import SUBRESOURCES
from localkube.store.kinds import Kind, Registry
from localkube.store.statuses import no_route
from localkube.store.trees import Tree

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""The media type of aggregated discovery."""

VERSION: Tree = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.3+localkube",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "python",
    "platform": "embedded/localkube",
}
"""Which Kubernetes version's semantics are followed; the build metadata says what this really is."""


def wants_aggregated(accept: str) -> bool:
    """Tell whether a client asks for aggregated discovery before anything else that can be given."""
    for clause in accept.split(","):
        parts = {part.strip() for part in clause.split(";")}
        if "application/json" not in parts:
            continue
        return {"g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"} <= parts
    return False


def aggregated(registry: Registry, *, core: bool) -> Tree:
    """Return the APIGroupDiscoveryList of `/api` (core) or `/apis`."""
    groups = registry.groups()
    items = [
        {
            "metadata": {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None},
            "versions": [
                {
                    "version": version,
                    "resources": [_discovered(kind) for kind in _kinds(registry, group, version)],
                    "freshness": "Current",
                }
                for version in versions
            ],
        }
        for group, versions in groups.items()
        if core == (not group)
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _kinds(registry: Registry, group: str, version: str) -> list[Kind]:
    return sorted((k for k in registry if (k.group, k.version) == (group, version)), key=lambda k: k.plural)


def _discovered(kind: Kind) -> Tree:
    found: Tree = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        found["shortNames"] = list(kind.short_names)
    if kind.categories:
        found["categories"] = list(kind.categories)
    below = [
        {
            "subresource": name,
            "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
            "verbs": list(verbs),
        }
        for name, verbs in _subresources(kind)
    ]
    if below:
        found["subresources"] = below
    return found


def _subresources(kind: Kind) -> list[tuple[str, tuple[str, ...]]]:
    found = [(name, verbs) for resource, name, verbs in SUBRESOURCES if resource == kind.resource]
    if kind.status:
        found.append(("status", ("get", "patch", "update")))
    return sorted(found)


def versions() -> Tree:
    """Return the document of `/api`."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
    }


def group_list(registry: Registry) -> Tree:
    """Return the document of `/apis`."""
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [_group(name, found) for name, found in registry.groups().items() if name],
    }


def group(registry: Registry, name: str) -> Tree:
    """Return the document of one group. Raises StatusError 404."""
    found = registry.groups().get(name)
    if not found:
        raise no_route()
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, found)}


def _group(name: str, found: list[str]) -> Tree:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in found]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def resource_list(registry: Registry, group: str, version: str) -> Tree:
    """Return the document of one version of a group. Raises StatusError 404."""
    kinds = _kinds(registry, group, version)
    if not kinds:
        raise no_route()
    resources = list[Tree]()
    for kind in kinds:
        entry: Tree = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": list(kind.verbs),
        }
        if kind.short_names:
            entry["shortNames"] = list(kind.short_names)
        if kind.categories:
            entry["categories"] = list(kind.categories)
        resources.append(entry)
        resources += [
            {
                "name": f"{kind.plural}/{name}",
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": list(verbs),
            }
            for name, verbs in _subresources(kind)
        ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": resources,
    }
