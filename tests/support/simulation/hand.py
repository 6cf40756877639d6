"""Writing to the embedded API server without a transport and without faults: as the cluster's own controllers, or as a person."""

import json
from collections.abc import Callable
from typing import Any

from kubekit.client.transport import Request
from kubekit.words.meta import Resource
from localkube.store.apiserver import ApiServer
from support.simulation.calls import Tree
from support.simulation.objects import Objects


class Refused(Exception):
    """The server said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Hand:
    """Reads and writes at once. `on_change` is called after each write; `who` is the field manager."""

    def __init__(self, server: ApiServer, objects: Objects, who: str, on_change: Callable[[], None]) -> None:
        self.server = server
        self.who = who
        self.find = objects.find
        self.all = objects.all
        self._on_change = on_change

    def create(self, resource: Resource[Any], manifest: Tree, namespace: str = "") -> Tree:
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **manifest}
        return self._send("POST", resource.path(namespace=namespace), body)

    def patch(
        self, resource: Resource[Any], name: str, patch: Tree, namespace: str = "", subresource: str | None = None
    ) -> Tree:
        path = resource.path(namespace=namespace, name=name, subresource=subresource)
        return self._send("PATCH", path, patch, "application/merge-patch+json")

    def post(self, resource: Resource[Any], name: str, subresource: str, body: Tree, namespace: str = "") -> Tree:
        return self._send("POST", resource.path(namespace=namespace, name=name, subresource=subresource), body)

    def delete(
        self,
        resource: Resource[Any],
        name: str,
        namespace: str = "",
        *,
        propagation: str = "Background",
        grace: int | None = None,
    ) -> None:
        options: Tree = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        self._send("DELETE", resource.path(namespace=namespace, name=name), options)

    def _send(self, method: str, path: str, body: Tree, content_type: str = "application/json") -> Tree:
        headers = {"Content-Type": content_type, "User-Agent": self.who}
        query = (("fieldManager", self.who),) if method != "DELETE" else ()
        answer = self.server.answer(Request(method, path, query, headers, json.dumps(body).encode()))
        parsed: Tree = json.loads(answer.body)
        if answer.status >= 400:
            raise Refused(answer.status, f"{method} {path}: {parsed.get('message')}")
        self._on_change()
        return parsed
