"""Merge patch (RFC 7386) and JSON patch (RFC 6902); strategic merge is in `localkube.store.strategic`."""

import re
from typing import Any

from localkube.store.calls import Call
from localkube.store.decoding import read_json
from localkube.store.statuses import StatusError, bad_request
from localkube.store.strategic import merge_strategically
from localkube.store.trees import Tree, copy, encode, is_list, is_tree, mapping, same, sequence, text

PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
"""Media types of patches, but for apply."""

_POINTER = re.compile(r"~[01]")
_MAX_OPERATIONS = 10_000
_MAX_COPIED = 3 * 1024 * 1024
"""Bytes that the `copy` operations of one patch may add, as with a real server: each can double what the one before it made."""
_MAX_DIGITS = 10


class _UnfitError(Exception):
    """A JSON patch cannot be carried out."""


def patched(live: Tree, call: Call, *, media: str) -> Tree:
    """Return `live`, of which parts are shared, with the patch of a call carried out. Raises StatusError 400 and 422."""
    try:
        patch: Any = read_json(call.body)
    except ValueError as error:
        raise bad_request(f"error decoding patch: {error}") from None
    if media == "application/json-patch+json":
        if not is_list(patch):
            raise bad_request(
                "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch"
            )
        if len(patch) > _MAX_OPERATIONS:
            raise StatusError(
                413,
                "RequestEntityTooLarge",
                f"Request entity too large: The allowed maximum operations in a JSON patch is {_MAX_OPERATIONS}, got {len(patch)}",
            )
        try:
            return mapping(apply_json_patch(live, patch))
        except _UnfitError:
            raise _unprocessable() from None
    if not is_tree(patch):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        )
    if media == "application/strategic-merge-patch+json":
        return merge_strategically(live, patch, call.kind.node)
    return mapping(merge_json(live, patch))


def _unprocessable() -> StatusError:
    # the real server keeps to itself which operation it was
    return StatusError(422, "Invalid", "the server rejected our request due to an error in our request", details={})


def merge_json(target: Any, patch: Any) -> Any:
    """Return the merge patch's result."""
    if not is_tree(patch):
        return copy(patch)
    result: Tree = dict(target) if is_tree(target) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_json(result.get(key), value)
    return result


def apply_json_patch(target: Any, operations: list[Any]) -> Any:
    """Return the JSON patch's result. Raises when an operation cannot be carried out; then nothing is."""
    document = copy(target)
    allowance = _Allowance()
    for operation in operations:
        document = _operate(document, mapping(operation), allowance)
    return document


class _Allowance:
    """What the copies of one patch may still add, in bytes."""

    def __init__(self) -> None:
        self._copied = 0

    def spend(self, value: Any) -> None:
        """Count a value. Raises StatusError 413 when it is too much."""
        self._copied += len(encode(value))
        if self._copied > _MAX_COPIED:
            raise StatusError(
                413,
                "RequestEntityTooLarge",
                f"Unable to complete the copy, the accumulated size increase of copy operations is {self._copied}, exceeding the limit {_MAX_COPIED}",
            )


def _operate(document: Any, operation: Tree, allowance: _Allowance) -> Any:
    word, path = text(operation.get("op")), _segments(operation.get("path"))
    match word:
        case "add":
            return _put(document, path, copy(operation.get("value")), insert=True)
        case "remove":
            return _remove(document, path)[0]
        case "replace":
            _find(document, path)
            return _put(document, path, copy(operation.get("value")), insert=False)
        case "move":
            document, value = _remove(document, _segments(operation.get("from")))
            return _put(document, path, value, insert=True)
        case "copy":
            value = _find(document, _segments(operation.get("from")))
            allowance.spend(value)
            return _put(document, path, copy(value), insert=True)
        case "test":
            try:
                found = _find(document, path)
            except _UnfitError:
                found = None
                if operation.get("value") is not None:
                    raise
            if not same(found, operation.get("value")):
                raise _UnfitError(f"testing value {text(operation.get('path'))} failed: test failed")
            return document
        case _:
            raise _UnfitError(f"Unexpected kind: {word}")


def _segments(pointer: object) -> list[str]:
    given = text(pointer)
    if not given:
        return []
    return [_POINTER.sub(lambda m: "~" if m[0] == "~0" else "/", part) for part in given.split("/")[1:]]


def _find(document: Any, path: list[str]) -> Any:
    for step in path:
        if is_tree(document):
            if step not in document:
                raise _missing(path)
            document = document[step]
        elif is_list(document):
            document = sequence(document)[_index(step, len(sequence(document)), path)]
        else:
            raise _missing(path)
    return document


def _put(document: Any, path: list[str], value: Any, *, insert: bool) -> Any:
    if not path:
        return value
    parent = _find(document, path[:-1])
    step = path[-1]
    if is_tree(parent):
        parent[step] = value
    elif is_list(parent):
        items = parent
        if not insert:
            items[_index(step, len(items), path)] = value
        elif step == "-":
            items.append(value)
        else:
            items.insert(_index(step, len(items) + 1, path), value)
    else:
        raise _missing(path)
    return document


def _remove(document: Any, path: list[str]) -> tuple[Any, Any]:
    value = _find(document, path)
    if not path:
        return None, value
    parent = _find(document, path[:-1])
    if is_tree(parent):
        del parent[path[-1]]
    else:
        items = sequence(parent)
        del items[_index(path[-1], len(items), path)]
    return document, value


def _index(step: str, size: int, path: list[str]) -> int:
    if len(step) > _MAX_DIGITS or not re.fullmatch(r"0|[1-9][0-9]*|-[0-9]+", step) or not -size <= int(step) < size:
        raise _missing(path)
    return int(step)


def _missing(path: list[str]) -> _UnfitError:
    return _UnfitError(f"the path /{'/'.join(path)} does not exist")
