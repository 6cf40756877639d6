"""Reads the table of built-in definitions (`builtin.txt`) into schema nodes, once a process and only what is asked for."""

import re
from functools import cache
from importlib.resources import files
from typing import Final

from localkube.store.schemas.nodes import Node
from localkube.store.trees import decode

PREFIX: Final = "io.k8s."
"""What the full names of definitions begin with."""

META: Final = "apimachinery.pkg.apis.meta.v1."
"""Where the common types lie."""

_LINE = re.compile(r"(\S+?)(!?)((?: \S+)*?)(?: : (.*))?")


@cache
def _table() -> dict[str, tuple[str, list[str]]]:
    """Return, by definition, its own line and those of its fields."""
    found: dict[str, tuple[str, list[str]]] = {}
    fields: list[str] = []
    for line in (files("localkube.store.schemas") / "builtin.txt").read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        if line.startswith(" "):
            fields.append(line[1:])
            continue
        name = line.split(" ", 1)[0]
        fields = []
        found[name] = (line, fields)
    return found


def names() -> tuple[str, ...]:
    """Return the names of all definitions."""
    return tuple(_table())


@cache
def kind_of(name: str) -> tuple[str, str, str] | None:
    """Return group, version and kind of a definition that is a kind of its own, else None."""
    match = re.search(r" kind\(([^/)]*)/([^/)]*)/([^/)]*)\)", _table()[name][0].split(" : ", 1)[0])
    return (match[1], match[2], match[3]) if match else None


@cache
def definition(name: str) -> Node:
    """Return the node of a definition. Raises KeyError for an unknown one."""
    line, lines = _table()[name]
    match = _LINE.fullmatch(line)
    options = (match[3] if match else "").split()
    node = Node(definition=name, description=(match[4] if match else "") or "")
    _nodes_in_work[name] = node
    try:
        if options and options[0] == "=":
            _take_type(node, options[1])
            options = options[2:]
        else:
            node.type = "object"
            node.fields = {}
        _take_options(node, options)
        needed: list[str] = []
        for field in lines:
            parsed = _LINE.fullmatch(field)
            if parsed is None or node.fields is None:
                continue
            words = parsed[3].split()
            below = Node(description=parsed[4] or "")
            _take_type(below, words[0])
            _take_options(below, words[1:])
            node.fields[parsed[1]] = below
            if parsed[2]:
                needed.append(parsed[1])
        node.required = tuple(needed)
    finally:
        del _nodes_in_work[name]
    return node


_nodes_in_work: dict[str, Node] = {}
"""Definitions that are being read, so that one that refers to itself finds itself."""


def _take_type(node: Node, word: str) -> None:
    if word.startswith("["):
        node.type = "array"
        node.items = _below(word[1:-1])
    elif word.startswith("{"):
        node.type = "object"
        node.values = _below(word[1:-1])
    elif "." in word:
        _borrow(node, _nodes_in_work.get(word) or definition(word))
    else:
        kind, _, form = word.partition("/")
        node.type = "" if kind == "any" else kind
        node.format = form
        node.int_or_string = form in {"int-or-string", "quantity"}
        if kind in {"any", "object"}:
            node.preserve = True


def _below(word: str) -> Node:
    node = Node()
    _take_type(node, word)
    return node


def _borrow(node: Node, source: Node) -> None:
    # the structure is shared, so a definition that refers to itself costs nothing
    if source.fields is not None:
        node.fields = source.fields
    node.type = source.type
    node.format = source.format
    node.definition = source.definition
    node.required = source.required
    node.map_type = source.map_type
    node.preserve = source.preserve
    node.int_or_string = source.int_or_string
    node.values = source.values
    node.items = source.items


def _take_options(node: Node, options: list[str]) -> None:
    for option in options:
        word, _, rest = option.partition("(")
        inside = rest[:-1]
        match word:
            case "map":
                node.list_type, node.list_keys = "map", tuple(inside.split(","))
            case "set" | "atomic":
                node.list_type = word
            case "opaque":
                node.map_type = "atomic"
            case "always":
                node.always = True
            case "merge":
                node.merge_key = inside
            case "patch":
                node.strategy = inside
            case "default":
                node.default = decode(inside)
            case _:
                pass
