"""Errors that the server answers with, each a `v1.Status` on the wire.

StatusError                      anything below; carries the whole Status
├── bad_request            400   BadRequest
├── unauthorized           401   Unauthorized
├── forbidden              403   Forbidden
├── not_found, no_route    404   NotFound
├── not_allowed            405   MethodNotAllowed
├── not_acceptable         406   NotAcceptable
├── already_exists         409   AlreadyExists
├── conflict               409   Conflict
├── apply_conflict         409   Conflict, one cause a field
├── expired                410   Expired
├── too_large              413   RequestEntityTooLarge
├── unsupported_media      415   UnsupportedMediaType
├── invalid                422   Invalid, one cause a field
├── too_many_requests      429   TooManyRequests
└── internal               500   InternalError

The branches are functions, not classes: nothing inside the server tells them apart, only clients do. The wording follows
the real API server, because people and scripts match on it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from localkube.store.trees import Tree, encode


class StatusError(Exception):
    """A refusal. `status` is the complete Status object; `headers` go with the answer."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Tree | None = None,
        headers: dict[str, str] | None = None,
        metadata: Tree | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.headers = headers or {}
        self.status: Tree = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata or {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            **({"details": details} if details else {}),
            "code": code,
        }

    def body(self) -> bytes:
        """Return the Status as JSON."""
        return encode(self.status)


class _Omitted:
    """Marks a value that is not shown."""


OMITTED: Any = _Omitted()
"""As the value of a `Fault`: do not print it."""

_WORDS = {
    "FieldValueNotFound": "Not found",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueTypeInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueTooLong": "Too long",
    "FieldValueTooShort": "Too short",
    "FieldValueTooMany": "Too many",
    "FieldValueTooFew": "Too few",
    "InternalError": "Internal error",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an object: what kind (`reason`), where (`field`, a path as people write it), the value and why."""

    reason: str
    field: str
    value: Any = OMITTED
    detail: str = ""

    @property
    def message(self) -> str:
        """The sentence without the field's name."""
        said = _WORDS.get(self.reason, self.reason)
        if self.value is not OMITTED:
            said += f": {_shown(self.value)}"
        return f"{said}: {self.detail}" if self.detail else said


def required(field: str, detail: str = "") -> Fault:
    """A value is missing."""
    return Fault("FieldValueRequired", field, detail=detail)


def wrong(field: str, value: Any, detail: str) -> Fault:
    """A value is malformed."""
    return Fault("FieldValueInvalid", field, value, detail)


def prohibited(field: str, detail: str) -> Fault:
    """A value may not be there, or may not change."""
    return Fault("FieldValueForbidden", field, detail=detail)


def duplicate(field: str, value: Any) -> Fault:
    """A value that must be unique is there twice."""
    return Fault("FieldValueDuplicate", field, value)


def unsupported(field: str, value: Any, known: Iterable[str]) -> Fault:
    """A value is not one of the known ones."""
    listed = ", ".join(_quoted(word) for word in known)
    return Fault("FieldValueNotSupported", field, value, f"supported values: {listed}" if listed else "")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int | float):
        return str(value)
    return encode(value).decode()


def _quoted(word: str) -> str:
    return encode(word).decode()


def _where(group: str, resource: str, name: str = "") -> tuple[str, Tree]:
    qualified = f"{resource}.{group}" if group else resource
    details: Tree = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    details["kind"] = resource
    return qualified, details


def bad_request(message: str) -> StatusError:
    """400: the request itself is malformed."""
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    """401: no credentials, or not ours."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, resource: str, name: str, why: str, *, causes: Sequence[Tree] = ()) -> StatusError:
    """403: admission refuses."""
    qualified, details = _where(group, resource, name)
    if causes:
        details["causes"] = list(causes)
    named = f'{qualified} "{name}"' if name else qualified
    return StatusError(403, "Forbidden", f"{named} is forbidden: {why}", details=details)


def not_found(group: str, resource: str, name: str) -> StatusError:
    """404: no such object."""
    qualified, details = _where(group, resource, name)
    return StatusError(404, "NotFound", f'{qualified} "{name}" not found', details=details)


def no_route() -> StatusError:
    """404: no such path on this server."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", details={})


def not_allowed(group: str, resource: str, verb: str) -> StatusError:
    """405: the kind does not know the verb."""
    qualified, details = _where(group, resource)
    return StatusError(
        405, "MethodNotAllowed", f'{verb} is not supported on resources of kind "{qualified}"', details=details
    )


def not_acceptable(known: Iterable[str]) -> StatusError:
    """406: none of the media types asked for can be given."""
    return StatusError(406, "NotAcceptable", f"only the following media types are accepted: {', '.join(known)}")


def already_exists(group: str, resource: str, name: str) -> StatusError:
    """409 on create."""
    qualified, details = _where(group, resource, name)
    return StatusError(409, "AlreadyExists", f'{qualified} "{name}" already exists', details=details)


def conflict(group: str, resource: str, name: str, why: str) -> StatusError:
    """409: a precondition does not hold."""
    qualified, details = _where(group, resource, name)
    return StatusError(
        409, "Conflict", f'Operation cannot be fulfilled on {qualified} "{name}": {why}', details=details
    )


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
"""Why a write with an outdated resourceVersion is refused."""


def apply_conflict(message: str, causes: Sequence[Tree]) -> StatusError:
    """409 of server-side apply: other managers own fields that the applied object wants otherwise."""
    return StatusError(409, "Conflict", message, details={"causes": list(causes)})


def expired(message: str, *, token: str | None = None) -> StatusError:
    """410: the revision is no longer in the history. `token` continues a paged list without consistency."""
    return StatusError(410, "Expired", message, metadata={"continue": token} if token else None)


def too_large(limit: int) -> StatusError:
    """413: the body is longer than the server reads."""
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def unsupported_media(known: Iterable[str]) -> StatusError:
    """415: the body has a media type that the server does not read."""
    return StatusError(
        415,
        "UnsupportedMediaType",
        f"the body of the request was in an unknown format - accepted media types include: {', '.join(known)}",
    )


def invalid(group: str, kind: str, name: str, faults: Sequence[Fault]) -> StatusError:
    """422: the object is not valid; every fault is said."""
    qualified = f"{kind}.{group}" if group else kind
    said = list(dict.fromkeys(f"{fault.field}: {fault.message}" for fault in faults))
    summary = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    details: Tree = {"name": name, "group": group, "kind": kind} if group else {"name": name, "kind": kind}
    details["causes"] = [{"reason": f.reason, "message": f.message, "field": f.field} for f in faults]
    return StatusError(422, "Invalid", f'{qualified} "{name}" is invalid: {summary}', details=details)


def too_many_requests(seconds: int) -> StatusError:
    """429: come again in `seconds`."""
    return StatusError(
        429,
        "TooManyRequests",
        "the server has received too many requests and has asked us to try again later",
        details={"retryAfterSeconds": seconds},
        headers={"retry-after": str(seconds)},
    )


def internal(message: str) -> StatusError:
    """500: the server failed at something that is not the caller's fault."""
    return StatusError(
        500, "InternalError", f"Internal error occurred: {message}", details={"causes": [{"message": message}]}
    )


def success(details: Tree) -> Tree:
    """Return the Status that says that an object is gone."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
