"""What the API server holds, read past its API: by the cluster's parts, by the laws, by tests. Never to be changed in place."""

import json
from typing import Any

from kubekit.words.meta import Resource
from localkube.store.apiserver import ApiServer
from localkube.store.storage import Record
from support.simulation.calls import Tree


class Objects:
    """Decodes each version of an object once."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._known: dict[tuple[str, str], tuple[bytes, Tree]] = {}

    def all(self, resource: Resource[Any] | str) -> list[Tree]:
        """Return all objects of a resource, by name."""
        shelf = resource if isinstance(resource, str) else resource.group_resource
        return [self._decode(shelf, record) for record in self._server.storage.collection(shelf).scan("")]

    def find(self, resource: Resource[Any] | str, name: str, namespace: str = "") -> Tree | None:
        """Return an object, or None."""
        shelf = resource if isinstance(resource, str) else resource.group_resource
        record = self._server.storage.collection(shelf).get(namespace, name)
        return self._decode(shelf, record) if record is not None else None

    def _decode(self, shelf: str, record: Record) -> Tree:
        known = self._known.get((shelf, record.key))
        if known is not None and known[0] is record.data:
            return known[1]
        tree: Tree = json.loads(record.data)
        self._known[shelf, record.key] = (record.data, tree)
        return tree
