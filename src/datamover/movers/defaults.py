"""The operator's defaults for how movers run, used where an object sets nothing itself. Pure."""

import re
from collections.abc import Iterable
from typing import Any, cast

import msgspec

from datamover.api.pods import Mover, PodSecurityContext
from datamover.api.validation import check_mover, quote

_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = re.compile(rf"(?:[a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_NAME}")
_VALUE = re.compile(rf"(?:{_NAME})?")


class DefaultsError(ValueError):
    """The defaults are wrong. The message names the field and says what to write."""


class MoverDefaults(Mover, frozen=True):
    """`spec.mover` of all DataMovers, with what only an operator may add: labels of Jobs and Pods, and annotations of Pods."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


NONE = MoverDefaults()


def read_defaults(document: object) -> MoverDefaults:
    """Return the defaults that a document (as parsed from YAML or JSON) holds; an empty one holds none. Raises DefaultsError."""
    if document is None:
        return NONE
    try:
        found = msgspec.convert(document, MoverDefaults)
    except msgspec.ValidationError as error:
        raise DefaultsError(str(error)) from None
    unknown = _find_unknown(document, msgspec.to_builtins(found))
    if unknown:
        raise DefaultsError(f"{unknown} is no field of a mover; `kubectl explain datamover.spec.mover` lists them, and labels and annotations may be given")  # fmt: skip
    if found.service_account_name:
        # it would hand an API token to every mover, in namespaces that may not have the account
        raise DefaultsError("serviceAccountName is for a DataMover to choose, not for all: remove it")
    finding = check_mover(found, where="")
    if finding:
        raise DefaultsError(finding.message)
    for field, pairs in (("labels", found.labels), ("annotations", found.annotations)):
        for key, value in (pairs or {}).items():
            if not _KEY.fullmatch(key) or (field == "labels" and not _VALUE.fullmatch(value)):
                raise DefaultsError(f"{field} has {quote(key)}: {quote(value)}, which Kubernetes does not take; write it like example.com/team: storage")  # fmt: skip
    return found


def fill(chosen: Mover | None, defaults: MoverDefaults) -> Mover:
    """Return how a mover runs: what its DataMover chose, field by field, then the defaults; the security context by its own fields."""
    own = chosen or Mover()
    taken = {name: _first(getattr(own, name), getattr(defaults, name)) for name in Mover.__struct_fields__}
    if own.security_context is not None and defaults.security_context is not None:
        taken["security_context"] = _merge(own.security_context, defaults.security_context)
    return Mover(**taken)


def _merge(own: PodSecurityContext, defaults: PodSecurityContext) -> PodSecurityContext:
    taken = {name: _first(getattr(own, name), getattr(defaults, name)) for name in own.__struct_fields__}
    if own.run_as_user is not None:
        taken["run_as_non_root"] = own.run_as_non_root  # whoever chooses the user has said whether it may be root
    return PodSecurityContext(**taken)


def _first(own: Any, default: Any) -> Any:
    return default if own is None else own


def _find_unknown(given: object, known: object, path: str = "") -> str:
    """Return the path of the first given field that was not understood, or the empty string."""
    for key, value in _entries(given):
        place = f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}" if path else str(key)
        below = dict(_entries(known))
        if value is None:
            continue
        if key not in below:
            return place
        if found := _find_unknown(value, below[key], place):
            return found
    return ""


def _entries(tree: object) -> Iterable[tuple[object, object]]:
    """Return the entries of a mapping or of a list, by key or number; none of anything else."""
    if isinstance(tree, dict):
        return cast("dict[object, object]", tree).items()
    return enumerate(cast("list[object]", tree)) if isinstance(tree, list | tuple) else ()
