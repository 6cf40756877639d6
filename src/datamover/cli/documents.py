"""YAML text in, plain JSON values out, as kubectl reads them: a date is text, a key is there once, and what JSON cannot hold is an error.

DocumentError    the text is no YAML, or holds what no manifest can; the message says where and what to do
"""

import math
from typing import Any, cast

import yaml

_MAX_DEPTH = 100
_MAX_VALUES = 1_000_000
"""An alias stands for all that its anchor holds, so a few lines can stand for more values than any machine has memory for."""
_MAX_INTEGER = 2**63
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_MERGE = "tag:yaml.org,2002:merge"


class DocumentError(Exception):
    """The text cannot be used."""


class _Loader(yaml.SafeLoader):
    """Reads dates as text, and refuses a key that is there twice: which of the two was meant?"""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the base class's own way of being told
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return the mapping's node. Here merges are not resolved yet: a key that overrides a merged one is no second one."""
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice: remove one", key.start_mark
                )
            seen.add(key.value)
        return node


def read_documents(text: str) -> list[Any]:
    """Return the documents of a YAML text as plain values, none of which shares parts with another. Raises DocumentError."""
    try:
        documents: list[Any] = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        words = " ".join(str(error).split()).replace('in "<unicode string>", line', "at line")
        raise DocumentError(f"is not YAML: {words[:200]}") from error
    except (ValueError, OverflowError) as error:  # a number or date that Python cannot make
        raise DocumentError(f"holds a value that cannot be read: {str(error)[:200]}") from error
    except RecursionError:
        raise DocumentError(_TOO_DEEP) from None
    count = _Count()
    return [_plain(document, "", depth=0, count=count) for document in documents]


_TOO_DEEP = f"is nested more than {_MAX_DEPTH} levels deep; that is not a manifest"


class _Count:
    """How many values there are, aliases counted as what they stand for."""

    def __init__(self) -> None:
        self.values = 0


def _plain(value: Any, path: str, *, depth: int, count: _Count) -> Any:
    """Return a copy that JSON can hold. An anchor within itself is endlessly deep, so it ends here as well."""
    count.values += 1
    if count.values > _MAX_VALUES:
        raise DocumentError(f"stands for more than {_MAX_VALUES} values, aliases included; that is not a manifest")
    if depth > _MAX_DEPTH:
        raise DocumentError(_TOO_DEEP)
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for key, item in cast("dict[Any, Any]", value).items():
            name = _key(key, path)
            found[name] = _plain(item, f"{path}.{name}" if path else name, depth=depth + 1, count=count)
        return found
    if isinstance(value, list):
        items = enumerate(cast("list[Any]", value))
        return [_plain(item, f"{path}[{index}]", depth=depth + 1, count=count) for index, item in items]
    _check_scalar(value, path)
    return value


def _key(key: Any, path: str) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, int):
        return str(key)
    if not isinstance(key, str):
        raise DocumentError(f"has a key{f' in {path}' if path else ''} that is no text: {str(key)[:60]!r}")
    _check_scalar(key, path)
    return key


def _check_scalar(value: Any, path: str) -> None:
    place = path or "the document"
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise DocumentError(f"{place} holds half of a character (a surrogate): write the character itself")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise DocumentError(
                f"{place} is {value}, which is no number that a manifest can hold: quote it if text is meant"
            )
    elif isinstance(value, int):
        if not -_MAX_INTEGER <= value < _MAX_INTEGER:
            raise DocumentError(f"{place} is a number of more than 64 bits: quote it if text is meant")
    elif value is not None:
        raise DocumentError(
            f"{place} is of the YAML type {type(value).__name__}, which no manifest can hold: write it as text"
        )
