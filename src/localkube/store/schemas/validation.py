"""Validation of custom resources against their structural schema, with the paths and sentences of the real server.

Caveat: CEL rules are not evaluated. `format` is checked for the formats that Kubernetes names and for no other.
"""

import base64
import binascii
import importlib
import ipaddress
import math
import re
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from localkube.store.schemas.custom import read_part
from localkube.store.schemas.list_keys import item_key
from localkube.store.schemas.nodes import UNSET, Node
from localkube.store.statuses import OMITTED, Fault, duplicate, required, unsupported, wrong
from localkube.store.trees import Tree, encode, is_list, is_tree, mapping, same, sequence, text

_ABSENT: Any = UNSET


def validate(
    value: Any, node: Node, *, path: str = "", old: Any = _ABSENT, skip: frozenset[str] = frozenset()
) -> list[Fault]:
    """Return everything wrong with `value`. What equals `old` at the same place is not judged again (ratcheting).

    Top-level keys in `skip` are not looked at.
    """
    if skip and is_tree(value):
        value = {key: item for key, item in value.items() if key not in skip}
    faults = list(_faults(value, node, path, old))
    if any(fault.reason in _BLOCKING for fault in faults) and _has_expressions(node):
        # the real server says this of its rules in CEL, which here are never checked
        faults.append(wrong("<nil>", None, _UNCHECKED))
    return faults


_BLOCKING = frozenset(
    {"FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"}
)
_UNCHECKED = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"


def _has_expressions(node: Node) -> bool:
    if "x-kubernetes-validations" in node.rules:
        return True
    below = [*(node.fields or {}).values(), node.values, node.items]
    return any(each is not None and not each.definition and _has_expressions(each) for each in below)


def _faults(value: Any, node: Node, path: str, old: Any) -> Iterator[Fault]:
    if old is not _ABSENT and value == old:
        return
    if value is None:
        if node.type and not node.nullable and not node.preserve:
            yield _type_fault(path, None, node)
        return
    if node.int_or_string:
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield Fault(
                "FieldValueTypeInvalid",
                path or "<nil>",
                _type_of(value),
                f'{_named(path)} must be of type integer,string: "{_type_of(value)}"',
            )
            return
    elif node.type and not _has_type(value, node.type):
        yield _type_fault(path, value, node)
        return
    if is_tree(value):
        yield from _object(value, node, path, old)
    elif is_list(value):
        yield from _array(value, node, path, old)
    elif isinstance(value, str):
        yield from _string(value, node, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(value, node, path)
    yield from _general(value, node, path)


def _named(path: str) -> str:
    return f"{path} in body" if path else "in body"


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if is_list(value) else "object"


def _has_type(value: Any, kind: str) -> bool:
    found = _type_of(value)
    if found == kind:
        return True
    if kind == "number":
        return found == "integer"
    return kind == "integer" and found == "number" and float(value).is_integer()


def _type_fault(path: str, value: Any, node: Node) -> Fault:
    found = _type_of(value)
    kind = "integer,string" if node.int_or_string else node.type
    return Fault("FieldValueTypeInvalid", path or "<nil>", found, f'{_named(path)} must be of type {kind}: "{found}"')


def _object(value: Tree, node: Node, path: str, old: Any) -> Iterator[Fault]:
    prefix = f"{path}." if path else ""
    before = mapping(old) if is_tree(old) else {}
    for name in node.required:
        if name not in value:
            yield required(prefix + name)
    for key, item in value.items():
        below = node.below(key)
        if below is not None:
            yield from _faults(item, below, prefix + key, before.get(key, _ABSENT))
    rules = node.rules
    if (most := rules.get("maxProperties")) is not None and len(value) > most:
        yield Fault(
            "FieldValueTooMany", path, len(value), f"must have at most {most} {'item' if most == 1 else 'items'}"
        )
    if (least := rules.get("minProperties")) is not None and len(value) < least:
        yield wrong(path, value, f"{_named(path)} should have at least {least} properties")


def _array(value: list[Any], node: Node, path: str, old: Any) -> Iterator[Fault]:
    rules = node.rules
    before: dict[str, Any] = {}
    keyed = node.list_type == "map"
    if keyed and is_list(old):
        before = {item_key(item, node) or "": item for item in sequence(old)}
    for position, item in enumerate(value):
        if node.items is not None:
            former = before.get(item_key(item, node) or "-", _ABSENT) if keyed else _ABSENT
            yield from _faults(item, node.items, f"{path}[{position}]", former)
    if (most := rules.get("maxItems")) is not None and len(value) > most:
        yield Fault(
            "FieldValueTooMany", path, len(value), f"must have at most {most} {'item' if most == 1 else 'items'}"
        )
    if (least := rules.get("minItems")) is not None and len(value) < least:
        yield wrong(path, value, f"{_named(path)} should have at least {least} items")
    if rules.get("uniqueItems") and any(same(a, b) for i, a in enumerate(value) for b in value[:i]):
        yield wrong(path, value, f"{_named(path)} shouldn't contain duplicates")
    if node.list_type in {"map", "set"}:
        yield from _repeats(value, node, path)


def _repeats(value: list[Any], node: Node, path: str) -> Iterator[Fault]:
    seen = set[str]()
    for position, item in enumerate(value):
        key = item_key(item, node)
        if key is None:
            continue
        if key in seen:
            keys = mapping(item)
            told = {name: keys[name] for name in node.list_keys if name in keys} if node.list_type == "map" else item
            yield duplicate(f"{path}[{position}]", told)
        seen.add(key)


def _string(value: str, node: Node, path: str) -> Iterator[Fault]:
    # the first of these that does not hold is said, and no other
    rules = node.rules
    if (most := rules.get("maxLength")) is not None and len(value) > most:
        yield Fault(
            "FieldValueTooLong", path, OMITTED, f"may not be more than {most} {'byte' if most == 1 else 'bytes'}"
        )
    elif (least := rules.get("minLength")) is not None and len(value) < least:
        yield wrong(path, value, f"{_named(path)} should be at least {least} chars long")
    elif (pattern := rules.get("pattern")) is not None and not _matches(text(pattern), value):
        yield wrong(path, value, f"{_named(path)} should match '{pattern}'")
    if node.format and not node.int_or_string and not _has_format(value, node.format):
        yield wrong(path, value, f"{_named(path)} must be of type {node.format}: {encode(value).decode()}")


def _matches(pattern: str, value: str) -> bool:
    expression = _compile(pattern)
    return expression is None or expression.search(value) is not None


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> Any:
    """Return the expression, or None for one that nobody can use. RE2 is what a real API server matches with: no pattern takes it long."""
    re2: Any = importlib.import_module("re2")  # where no schema has a pattern it is not needed; it brings no types
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        return None


def _number(value: float, node: Node, path: str) -> Iterator[Fault]:
    rules = node.rules
    if (most := rules.get("maximum")) is not None:
        strict = rules.get("exclusiveMaximum") is True
        if value > most or (strict and value == most):
            yield wrong(path, value, f"{_named(path)} should be less than {'' if strict else 'or equal to '}{most}")
    if (least := rules.get("minimum")) is not None:
        strict = rules.get("exclusiveMinimum") is True
        if value < least or (strict and value == least):
            yield wrong(path, value, f"{_named(path)} should be greater than {'' if strict else 'or equal to '}{least}")
    if (step := rules.get("multipleOf")) and not math.isclose(value / step, round(value / step), abs_tol=1e-9):
        yield wrong(path, value, f"{_named(path)} should be a multiple of {step}")
    bits = {"int32": 31, "int64": 63}.get(node.format)
    if bits is not None and not -(2**bits) <= value < 2**bits:
        yield wrong(path, value, f"Checked value must be of type integer with format {node.format} in {_named(path)}")


def _general(value: Any, node: Node, path: str) -> Iterator[Fault]:
    rules = node.rules
    if (known := rules.get("enum")) is not None and not any(same(value, option) for option in sequence(known)):
        words = [option if isinstance(option, str) else encode(option).decode() for option in sequence(known)]
        yield unsupported(path, value, words)
    if not rules.keys() & {"allOf", "anyOf", "oneOf", "not"}:
        return
    for part in sequence(rules.get("allOf")):
        yield from _faults(value, read_part(mapping(part)), path, _ABSENT)
    for word, count in (("anyOf", None), ("oneOf", 1)):
        parts = sequence(rules.get(word))
        if not parts or node.int_or_string:
            continue
        held = sum(1 for part in parts if not list(_faults(value, read_part(mapping(part)), path, _ABSENT)))
        if held == 0 or (count is not None and held != count):
            said = (
                "must validate at least one schema (anyOf)"
                if count is None
                else "must validate one and only one schema (oneOf)"
            )
            if count is not None and held > 1:
                said += f". Found {held} valid alternatives"
            yield wrong(path or "<nil>", _summary(value), f"{_quoted(path)} {said}")
    if "not" in rules and not list(_faults(value, read_part(mapping(rules["not"])), path, _ABSENT)):
        yield wrong(path or "<nil>", _summary(value), f"{_quoted(path)} must not validate the schema (not)")


def _quoted(path: str) -> str:
    return f'"{path}"'


def _summary(_value: Any) -> str:
    return ""


_UUID = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_HOST = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_DURATION = re.compile(
    r"[-+]?(?:0|(?:\d+(?:\.\d*)?|\.\d+)\s*(?:ns|us|µs|ms|s|m|h|d|w)(?:\s*(?:\d+(?:\.\d*)?|\.\d+)\s*(?:ns|us|µs|ms|s|m|h|d|w))*)"
)
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[-+]\d\d:\d\d)")


def _has_format(value: str, form: str) -> bool:
    try:
        match form:
            case "date-time":
                return bool(_DATE_TIME.fullmatch(value)) and bool(datetime.fromisoformat(value.upper()))
            case "date":
                return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", value)) and bool(datetime.fromisoformat(value))
            case "duration":
                return bool(_DURATION.fullmatch(value))
            case "uuid" | "uuid3" | "uuid4" | "uuid5":
                return bool(_UUID.fullmatch(value))
            case "email":
                return bool(_EMAIL.fullmatch(value))
            case "hostname":
                return bool(_HOST.fullmatch(value))
            case "ipv4":
                return bool(ipaddress.IPv4Address(value))
            case "ipv6":
                return bool(ipaddress.IPv6Address(value))
            case "cidr":
                return bool(ipaddress.ip_interface(value)) and "/" in value
            case "uri":
                return bool(urlsplit(value).scheme or value.startswith("/"))
            case "byte":
                return base64.b64encode(base64.b64decode(value, validate=True)).decode() == value
            case _:
                return True
    except (ValueError, binascii.Error):
        return False
