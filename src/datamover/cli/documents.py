"""YAML text in, plain JSON values out, as kubectl reads them: a date is text, a key is there once, and what JSON cannot hold is an error.

DocumentError    the text is no YAML, or holds what no manifest can; the message says where and what to do
"""

import math
import re
from dataclasses import dataclass
from typing import Any, cast

import yaml

from kubekit.words.yamls import MAX_DEPTH, MAX_VALUES, TOO_DEEP, TOO_MANY, BoundedLoader, YamlError

_MAX_INTEGER = 2**63
_EXACT = 2**53
"""Below it every integer is a float of its own."""

_QUOTED = re.compile(r"\b(alias|anchor|tag) '[^']*'")
_TAG = "tag:yaml.org,2002:"
_BOOLEANS = {"y": True, "yes": True, "true": True, "on": True, "n": False, "no": False, "false": False, "off": False}
_WORDS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "|".join(f"{word}|{word.title()}|{word.upper()}" for word in _BOOLEANS), list("yYnNtTfFoO")),
    ("int", r"[-+]?(?:0[bB][01_]+|0[xX][0-9a-fA-F_]+|0[oO]?[0-7_]+|0|[1-9][0-9_]*)", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?", list("-+0123456789.")),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", list("-+.")),
    ("merge", "<<", ["<"]),
)
"""Plain words that are no text: tag, pattern, first letters. The first that fits counts, so integers come before floats.

These are the words of the YAML library in kubectl (YAML 1.1 without numbers to the base of 60, with the octal numbers of 1.2), dates aside.
"""


class DocumentError(Exception):
    """The text cannot be used. `document` is the number of the document that cannot, from 1 on."""

    def __init__(self, message: str, *, document: int = 1) -> None:
        super().__init__(message)
        self.document = document


class _Loader(BoundedLoader):
    """Reads plain words as kubectl does, and refuses a key that is there twice: which of the two was meant?"""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the base class's own way of being told

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return the mapping's node. Merges are not resolved yet here, so a key that overrides a merged one does not count as a duplicate."""
        node = super().compose_mapping_node(anchor)
        seen: dict[str, int] = {}
        for key, _ in node.value:
            name = _name_of(key)
            if name is None:
                continue
            line = key.start_mark.line + 1
            if name in seen:
                lines = f"at line {line}" if seen[name] == line else f"at line {seen[name]} and at line {line}"
                spelt = "" if key.value == name else f" ({key.value} is read as {name})"
                raise DocumentError(f"the key {name!r} is there twice, {lines}{spelt}: remove one")
            seen[name] = line
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the node's value. PyYAML's constructors raise all these errors when a text does not fit its tag."""
        try:
            return cast("Any", super()).construct_object(node, deep=deep)
        except (ValueError, OverflowError, LookupError, AttributeError, TypeError) as error:
            kind, mark = str(node.tag).rpartition(":")[2], node.start_mark
            raise DocumentError(
                f"holds a value that cannot be read as {kind}, at line {mark.line + 1}, column {mark.column + 1}: "
                "quote it if text is meant"
            ) from error

    def construct_yaml_bool(self, node: yaml.ScalarNode) -> bool:
        """Return a boolean. Raises KeyError."""
        return _BOOLEANS[node.value.lower()]

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Return an integer. Raises ValueError."""
        return _read_integer(node.value)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        """Return a float. Raises ValueError."""
        return float(node.value.lower().replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))


_untyped: Any = _Loader
for _kind, _pattern, _first in _WORDS:
    _untyped.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(rf"(?:{_pattern})\Z"), _first)
_Loader.add_constructor(f"{_TAG}bool", _Loader.construct_yaml_bool)
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_yaml_int)
_Loader.add_constructor(f"{_TAG}float", _Loader.construct_yaml_float)


@dataclass(frozen=True, slots=True)
class Document:
    """A document as plain values, none of which shares parts with another, and the line where it begins, from 1 on."""

    value: Any
    line: int


def read_documents(text: str) -> list[Document]:
    """Return the documents of a YAML text. Raises DocumentError."""
    found: list[Document] = []
    count = _Count()
    try:
        loader: Any = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            value = loader.construct_document(node)
            found.append(Document(_plain(value, "", depth=0, count=count), node.start_mark.line + 1))
    except DocumentError as error:
        error.document = len(found) + 1
        raise
    except YamlError as error:
        raise DocumentError(str(error), document=len(found) + 1) from None
    except yaml.YAMLError as error:
        # not as its cause: that would quote the line, which may be a Secret's (law L8)
        raise DocumentError(f"is not YAML: {_told(error)}", document=len(found) + 1) from None
    except RecursionError:
        raise DocumentError(TOO_DEEP, document=len(found) + 1) from None
    return found


def _told(error: yaml.YAMLError) -> str:
    """Return what is wrong and where, without the text itself: an alias or a tag may be a password that nobody has quoted (law L8)."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())[:200]
    parts: list[str] = []
    for words, mark in ((error.context, error.context_mark), (error.problem, error.problem_mark)):
        if words:
            place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            parts.append(_QUOTED.sub(r"\1", words) + place)
    hint = "; quote text that begins with * & or !" if _QUOTED.search(error.problem or "") else ""
    return f"{', '.join(parts)}{hint}"


def _read_integer(text: str) -> int:
    """Return an integer as Go reads it, a leading zero being octal. Raises ValueError."""
    plain = text.replace("_", "").lower()
    digits = plain.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "box"
    return int(plain, 8 if octal else 0)


def _name_of(key: yaml.Node) -> str | None:
    """Return the text that a key becomes in JSON: `1`, `0x1` and `"1"` are one. None for a merge, and for what is refused later."""
    if not isinstance(key, yaml.ScalarNode):
        return None
    if key.tag == f"{_TAG}str":
        return str(key.value)
    try:
        if key.tag == f"{_TAG}int":
            return str(_read_integer(key.value))
        if key.tag == f"{_TAG}bool":
            return "true" if _BOOLEANS[key.value.lower()] else "false"
    except (ValueError, KeyError):  # a text that does not fit its tag is told when the value is made
        return None
    return None


class _Count:
    """How many values there are, aliases counted as what they stand for."""

    def __init__(self) -> None:
        self.values = 0


def _plain(value: Any, path: str, *, depth: int, count: _Count) -> Any:
    """Return a copy that JSON can hold. An anchor within itself is endlessly deep, so it ends here as well."""
    count.values += 1
    if count.values > MAX_VALUES:
        raise DocumentError(TOO_MANY)
    if depth > MAX_DEPTH:
        raise DocumentError(TOO_DEEP)
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for key, item in cast("dict[Any, Any]", value).items():
            name = _key(key, path)  # one that is found already was merged in, and this one overrides it
            found[name] = _plain(item, f"{path}.{name}" if path else name, depth=depth + 1, count=count)
        return found
    if isinstance(value, list):
        items = enumerate(cast("list[Any]", value))
        return [_plain(item, f"{path}[{index}]", depth=depth + 1, count=count) for index, item in items]
    _check_scalar(value, path)
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)  # as Go writes JSON: 60.0 is 60
    return value


def _key(key: Any, path: str) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, int):
        _check_scalar(key, path)
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
