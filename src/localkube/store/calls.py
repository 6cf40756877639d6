"""A request as the server understands it: which kind, which object, which verb, which options."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote

from kubekit.client.transport import Request
from localkube.store.kinds import Kind, Registry
from localkube.store.statuses import Fault, StatusError, bad_request, invalid, no_route, not_allowed

SUBRESOURCES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("pods", "log", ("get",)),
    ("pods", "binding", ("create",)),
    ("namespaces", "finalize", ("update",)),
)
"""Subresources beside status: resource, name, verbs."""

_MANAGER_LENGTH = 128
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "HEAD": "get"}


@dataclass(slots=True)
class Call:
    """One request for a resource. Header names are lower-case; of a repeated query key the first value counts."""

    verb: str
    kind: Kind
    namespace: str
    name: str
    subresource: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    warnings: list[str] = field(default_factory=list[str])

    @property
    def resource(self) -> str:
        """What counters and messages call it: `plural.group`, with the subresource behind a slash."""
        return f"{self.kind.resource}/{self.subresource}" if self.subresource else self.kind.resource

    def flag(self, name: str) -> bool:
        """Return a boolean parameter. Raises StatusError 400 when it is neither."""
        value = self.query.get(name)
        if value is None or value in {"false", "0", "False", "f", "F"}:
            return False
        if value in {"", "true", "1", "True", "t", "T"}:
            return True
        raise bad_request(f'unable to parse query parameter "{name}": {value}')

    def number(self, name: str) -> int | None:
        """Return an integer parameter, or None when it is absent. Raises StatusError 400."""
        value = self.query.get(name)
        if not value:
            return None
        # ASCII digits only, as Go reads them, and never thousands of them
        if not re.fullmatch(r"[+-]?[0-9]{1,19}", value):
            raise bad_request(f'strconv.ParseInt: parsing "{value[:60]}": invalid syntax')
        return int(value)

    @property
    def dry_run(self) -> bool:
        """Whether nothing shall be stored. Raises StatusError 400 for anything but `All`."""
        value = self.query.get("dryRun", "")
        if value not in {"", "All"}:
            raise bad_request(f'invalid dryRun: Unsupported value: "{value}": supported values: "All"')
        return value == "All"

    @property
    def validation(self) -> str:
        """`Strict`, `Warn` or `Ignore`: what happens to unknown and repeated fields."""
        value = self.query.get("fieldValidation") or "Warn"
        if value not in {"Strict", "Warn", "Ignore"}:
            raise bad_request(
                f'CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "{value}": supported values: "Ignore", "Strict", "Warn"'
            )
        return value

    @property
    def manager(self) -> str:
        """The field manager: as given, else the user agent up to its first slash. Raises StatusError 422."""
        given = self.query.get("fieldManager") or ""
        if len(given) > _MANAGER_LENGTH:
            why = Fault("FieldValueTooLong", "fieldManager", detail=f"may not be more than {_MANAGER_LENGTH} bytes")
            raise invalid("meta.k8s.io", "CreateOptions", "", [why])
        return given or self.headers.get("user-agent", "").split("/", 1)[0] or "unknown"


def read_query(request: Request) -> dict[str, str]:
    """Return the query's first values."""
    query: dict[str, str] = {}
    for name, value in request.query:
        query.setdefault(name, value)
    return query


class _Target(NamedTuple):
    """What a path names; empty is what it does not name."""

    group: str
    version: str
    plural: str
    namespace: str
    name: str
    subresource: str


def read_call(request: Request, registry: Registry) -> Call | None:
    """Return the call that a request makes, or None when its path is not that of a resource.

    Raises StatusError 404 for an unknown resource and 405 for a verb that it does not know.
    """
    target = _read_path(request.path)
    if target is None:
        return None
    _, _, _, namespace, name, subresource = target
    kind = registry.find(*target[:3])
    if kind is None or (namespace and not kind.namespaced) or not served(kind, subresource):
        raise no_route()
    if name and kind.namespaced and not namespace:
        raise no_route()
    query = read_query(request)
    headers = {key.lower(): value for key, value in request.headers.items()}
    verb = _verb(request.method, query, headers, name=name, subresource=subresource)
    if not verb:
        raise StatusError(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
            details={},
        )
    if not subresource and {"apply": "patch"}.get(verb, verb) not in kind.verbs:
        raise not_allowed(kind.group, kind.plural, verb)
    if verb == "create" and kind.namespaced and not namespace:
        raise bad_request("an empty namespace may not be set during creation")
    return Call(verb, kind, namespace, name, subresource, query, headers, request.body)


def _read_path(path: str) -> _Target | None:
    """Take a path apart; None when it is not below a version of a group. Raises StatusError 404 for one that is too long."""
    parts = path.split("/")[1:]
    if "%" in path:
        parts = [unquote(part) for part in parts]
    if parts and not parts[-1]:
        parts.pop()
    match parts:
        case ["api", version, *rest] if rest:
            group = ""
        case ["apis", group, version, *rest] if rest:
            pass
        case _:
            return None
    namespace = ""
    # /namespaces/NAME/status and /finalize are subresources of a namespace, not resources in it
    if rest[0] == "namespaces" and len(rest) >= 3 and (group or rest[2] not in {"status", "finalize"}):
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3:
        raise no_route()
    plural, name, subresource = [*rest, "", ""][:3]
    return _Target(group, version, plural, namespace, name, subresource)


def _verb(method: str, query: Mapping[str, str], headers: Mapping[str, str], *, name: str, subresource: str) -> str:
    """Return the verb of a method, or the empty string when the path does not know it."""
    verb = _VERBS.get(method.upper(), "")
    if not name:  # a collection
        verb = {"get": "list", "delete": "deletecollection"}.get(verb, verb)
        if verb == "list" and query.get("watch", "false") in {"1", "true", "True", ""}:
            return "watch"
        return verb if verb in {"list", "create", "deletecollection"} else ""
    if verb == "create" and not subresource:
        return ""
    if verb == "patch" and headers.get("content-type", "").startswith("application/apply-patch"):
        return "apply"
    return verb


def served(kind: Kind, subresource: str) -> bool:
    """Tell whether the kind has the subresource; the empty one is the object itself."""
    if not subresource:
        return True
    if subresource == "status":
        return kind.status
    return any((kind.resource, subresource) == entry[:2] for entry in SUBRESOURCES)
