"""From a request body to an object of a kind: media type, JSON or YAML, identity, unknown and repeated fields, defaults."""

import json
from typing import Any

import yaml

from kubekit.words.yamls import BoundedLoader, demand_few
from localkube.store import protobuf
from localkube.store.calls import Call
from localkube.store.kinds import Kind
from localkube.store.schemas.shaping import UndecodableError, shape_builtin, shape_custom
from localkube.store.statuses import StatusError, bad_request, too_large, unsupported_media
from localkube.store.trees import Tree, child, decode, encode, is_tree, mapping, text

JSON_TYPES = ("application/json", "application/yaml")
"""What bodies of objects may be, beside protobuf for built-in kinds."""
_MAX_YAML = 512 * 1024
"""Bytes of a body in YAML, which takes a thousand times as long to read as JSON does: nobody else is answered meanwhile."""


def media_type(call: Call) -> str:
    """Return the body's media type without parameters; JSON when none is said."""
    return call.headers.get("content-type", "").split(";", 1)[0].strip().lower() or "application/json"


def read_object(call: Call, *, expected: Kind) -> tuple[Tree, list[str]]:
    """Return the object in a body and complaints about repeated fields.

    Raises StatusError: 415 for another media type than JSON, YAML or protobuf, 400 for what does not parse or is of another kind.
    """
    media = media_type(call)
    if media == protobuf.MEDIA_TYPE and not expected.custom:
        try:
            return check_kind(protobuf.read_protobuf(call.body), expected), []
        except ValueError as error:
            raise bad_request(str(error)) from None
    if media not in JSON_TYPES:
        raise unsupported_media((*JSON_TYPES,) if expected.custom else (*JSON_TYPES, protobuf.MEDIA_TYPE))
    tree, repeated = parse_body(call.body, yaml_allowed=media.endswith("yaml"), strict=call.validation != "Ignore")
    return check_kind(tree, expected), repeated


def parse_body(body: bytes, *, yaml_allowed: bool, strict: bool) -> tuple[Tree, list[str]]:
    """Return a JSON object and complaints about repeated keys. Raises StatusError 400."""
    try:
        value: Any = _read_yaml(body) if yaml_allowed else read_json(body)
    except (ValueError, yaml.YAMLError) as error:
        raise bad_request(f"the object provided is unrecognized (must be of type object): {error}") from None
    if not is_tree(value):
        raise bad_request("the object provided is unrecognized (must be of type object)")
    # a key that came twice is gone from what was decoded; only a doubt pays for the slow parse
    doubtful = strict and not yaml_allowed and body.count(b'":') != encode(value).count(b'":')
    return value, _repeated(body) if doubtful else []


def read_json(body: bytes) -> Any:
    """Return what a body holds. Raises ValueError, also for what is nested too deeply."""
    try:
        return decode(body)
    except RecursionError:
        raise ValueError("exceeded max depth") from None


def _read_yaml(body: bytes) -> Any:
    """Return what a body holds. JSON is YAML, and is what clients send. Raises ValueError and YAMLError."""
    try:
        return read_json(body)
    except ValueError:
        if len(body) > _MAX_YAML:
            raise too_large(_MAX_YAML) from None
    value = yaml.load(body, Loader=_Loader)  # noqa: S506 - a safe loader
    demand_few(value)
    try:
        encode(
            value
        )  # an escape may name half of a pair of surrogates, and a tag what JSON lacks: nothing of that can be stored
    except (TypeError, ValueError) as error:
        raise ValueError(f"there is no JSON for it: {error}") from None
    return value


class _Loader(BoundedLoader):
    """YAML as Kubernetes reads it: JSON's types only, so timestamps stay strings."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _repeated(body: bytes) -> list[str]:
    found: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for key, value in items:
            if key in tree:
                found.append(f'duplicate field "{key}"')
            tree[key] = value
        return tree

    json.loads(body, object_pairs_hook=pairs)
    return found


def check_kind(tree: Tree, expected: Kind) -> Tree:
    """Fill in or compare apiVersion and kind. Raises StatusError 400 when they are another kind's."""
    version, kind = text(tree.get("apiVersion")), text(tree.get("kind"))
    if not kind and not version and not expected.custom:
        tree["apiVersion"], tree["kind"] = expected.api_version, expected.kind
        return tree
    if not kind:
        raise bad_request("Object 'Kind' is missing in '" + json.dumps(tree, separators=(",", ":")) + "'")
    if version != expected.api_version and (expected.custom or not version):
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({expected.api_version})"
        )
    if version != expected.api_version:
        raise bad_request(
            f'{kind} in version "{version.rpartition("/")[2]}" cannot be handled as a {expected.kind}: '
            f'no kind "{kind}" is registered for version "{version}"'
        )
    if kind != expected.kind:
        raise bad_request(f'{kind} in version "{version.rpartition("/")[2]}" cannot be handled as a {expected.kind}')
    return tree


def settle(tree: Tree, call: Call, *, repeated: list[str], quiet: bool = False) -> Tree:
    """Shape and default a decoded object in place, as the server does before anything else sees it.

    Unknown and repeated fields become warnings or, with `fieldValidation=Strict`, a StatusError 400; `quiet` passes over them. managedFields are left alone: they are read with care later.
    """
    kind = call.kind
    if not is_tree(tree.get("metadata")) and tree.get("metadata") is not None:
        raise _undecodable(kind, "json: cannot unmarshal number into Go struct field .metadata of type v1.ObjectMeta")
    meta = child(tree, "metadata")
    owners = meta.pop("managedFields", None)
    if kind.custom:
        unknown = shape_custom(tree, kind.node)
    else:
        try:
            unknown = shape_builtin(tree, kind.node)
        except UndecodableError as error:
            raise _undecodable(kind, str(error)) from None
    complaints = repeated + [f'unknown field "{path}"' for path in unknown]
    if complaints and not quiet:
        complain(call, complaints)
    # the metadata of every kind goes through a Go struct that leaves out what is empty
    for key in [key for key, value in meta.items() if not value]:
        del meta[key]
    if owners is not None:
        meta["managedFields"] = owners
    kind.strategy.default(tree)
    return tree


def _undecodable(kind: Kind, why: str) -> StatusError:
    return bad_request(f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}')


def complain(call: Call, complaints: list[str]) -> None:
    """Warn, or refuse with StatusError 400 when the caller wants to be strict."""
    if call.validation == "Strict":
        raise strict_error(call.kind, complaints)
    if call.validation == "Warn":
        call.warnings += complaints


def strict_error(kind: Kind, complaints: list[str]) -> StatusError:
    """Return the refusal of strict decoding."""
    return bad_request(
        f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: strict decoding error: {", ".join(complaints)}'
    )


def clone(tree: Tree) -> Tree:
    """Return a deep copy of an object; through JSON, which is many times faster than walking it."""
    return mapping(decode(encode(tree)))
