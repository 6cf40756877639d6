"""Requests as the harness sees them: verb, kind, name."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kubekit.client.transport import Request

Tree = dict[str, Any]

SENT = "X-Sent-At"
_APPLY = "application/apply-patch"


@dataclass(frozen=True)
class Call:
    """One request. `resource` is `plural.group`; `name` is empty for a collection."""

    request: Request
    verb: str
    resource: str
    namespace: str
    name: str
    subresource: str

    @property
    def writes(self) -> bool:
        return self.verb not in {"get", "list", "watch"}

    @cached_property
    def body(self) -> Tree:
        return json.loads(self.request.body) if self.request.body else {}

    @property
    def sent(self) -> float:
        """When it was sent, seconds; it may have been on its way for long."""
        return float(self.request.headers.get(SENT, "inf"))

    @property
    def agent(self) -> str:
        return self.request.headers.get("User-Agent", "")

    def __str__(self) -> str:
        plural = self.resource.partition(".")[0]
        name = self.name or (self.body.get("metadata") or {}).get("name", "")
        what = "/".join(part for part in (plural, name, self.subresource) if part)
        return f"{self.verb} {what}"


def read_call(request: Request) -> Call:
    """Return what a request asks for. What is no resource has its path as `resource`."""
    parts = request.path.strip("/").split("/")
    query = dict(request.query)
    if parts[0] == "api" and len(parts) > 2:
        group, rest = "", parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, rest = parts[1], parts[3:]
    else:
        return Call(request, request.method.lower(), request.path, "", "", "")
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else ""
    resource = f"{rest[0]}.{group}" if group else rest[0]
    subresource = rest[2] if len(rest) > 2 else ""
    return Call(request, _verb(request, query, named=bool(name)), resource, namespace, name, subresource)


def _verb(request: Request, query: dict[str, str], *, named: bool) -> str:
    match request.method:
        case "GET":
            return "watch" if query.get("watch") == "true" else "get" if named else "list"
        case "PATCH":
            applies = request.headers.get("Content-Type", "").startswith(_APPLY)
            return "apply" if applies else "patch"
        case method:
            return {"POST": "create", "PUT": "update", "DELETE": "delete"}.get(method, method.lower())
