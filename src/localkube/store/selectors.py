"""Label and field selectors: parsing of the query's text, matching of stored records.

Source of the grammar: Kubernetes "Labels and Selectors" and "Field Selectors".
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from localkube.store.statuses import StatusError, bad_request
from localkube.store.storage import Record

_KEY = re.compile(r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_SET = re.compile(r"(\S+)\s+(in|notin)\s*\(([^()]*)\)")
_COMPARE = re.compile(r"([^=!<>\s]+)\s*(==|=|!=|>|<)\s*(.*)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term. `operator` is one of in, notin, exists, absent, gt, lt."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def holds(self, found: Mapping[str, str]) -> bool:
        """Tell whether labels satisfy the term. `notin` holds for an absent key, as Kubernetes has it."""
        value = found.get(self.key)
        if self.operator == "in":
            return value is not None and value in self.values
        if self.operator == "notin":
            return value is None or value not in self.values
        if self.operator == "exists":
            return value is not None
        if self.operator == "absent":
            return value is None
        try:
            number, bound = int(value or ""), int(next(iter(self.values)))
        except ValueError:
            return False
        return number > bound if self.operator == "gt" else number < bound


@dataclass(frozen=True, slots=True)
class Selector:
    """What a list or a watch wants to see. Empty means everything."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.labels or self.fields)

    def matches(self, record: Record) -> bool:
        """Tell whether the record is selected."""
        if self.labels:
            found: Mapping[str, str] = record.labels or {}
            if not all(term.holds(found) for term in self.labels):
                return False
        return all(self._field_holds(term, record) for term in self.fields)

    @staticmethod
    def _field_holds(term: Requirement, record: Record) -> bool:
        if term.key == "metadata.name":
            value = record.name
        elif term.key == "metadata.namespace":
            value = record.namespace
        else:
            value = (record.fields or {}).get(term.key, "")
        return (value in term.values) == (term.operator == "in")

    @property
    def name(self) -> str | None:
        """The one name that is selected, when `metadata.name=` is a term."""
        for term in self.fields:
            if term.key == "metadata.name" and term.operator == "in" and len(term.values) == 1:
                return next(iter(term.values))
        return None


EVERYTHING = Selector()


def parse_selector(labels: str, fields: str, *, known: Collection[str], custom: bool = False) -> Selector:
    """Return the selector of a request. `known` are the field names that the kind can select by; `custom` kinds refuse others in their own words.

    Raises StatusError 400 for text that does not parse and for an unknown field.
    """
    if not labels and not fields:
        return EVERYTHING
    return Selector(parse_labels(labels), _parse_fields(fields, known, custom=custom))


def parse_labels(source: str) -> tuple[Requirement, ...]:
    """Return the terms of a label selector. Raises StatusError 400."""
    return tuple(_label_term(term.strip(), source) for term in _split(source)) if source.strip() else ()


def _split(source: str) -> list[str]:
    # commas inside parentheses separate values, not terms
    terms, depth, start = list[str](), 0, 0
    for position, char in enumerate(source):
        if char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == "," and depth == 0:
            terms.append(source[start:position])
            start = position + 1
    terms.append(source[start:])
    return terms


def _label_term(term: str, source: str) -> Requirement:
    if match := _SET.fullmatch(term):
        values = frozenset(value.strip() for value in match[3].split(","))
        return _checked(Requirement(match[1], match[2], values), source)
    if match := _COMPARE.fullmatch(term):
        if "=" in match[3]:
            raise bad_request("found '=', expected: ',' or 'end of string'")
        operator = {"=": "in", "==": "in", "!=": "notin", ">": "gt", "<": "lt"}[match[2]]
        return _checked(Requirement(match[1], operator, frozenset({match[3].strip()})), source)
    if term.startswith("!"):
        return _checked(Requirement(term[1:].strip(), "absent"), source)
    return _checked(Requirement(term, "exists"), source)


def _checked(requirement: Requirement, source: str) -> Requirement:
    if not _KEY.fullmatch(requirement.key):
        raise _unparsable(
            source, f'<nil>: Invalid value: "{requirement.key}": name part must consist of alphanumeric characters'
        )
    for value in requirement.values:
        if not _VALUE.fullmatch(value):
            raise _unparsable(
                source, f'values[0][{requirement.key}]: Invalid value: "{value}": a valid label must be alphanumeric'
            )
        if requirement.operator in {"gt", "lt"} and not re.fullmatch(r"-?\d+", value):
            raise _unparsable(
                source, f"values[0]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the value must be an integer"
            )
    return requirement


def _unparsable(source: str, why: str) -> StatusError:
    return bad_request(f'unable to parse requirement in "{source}": {why}')


def _unknown_field(name: str, known: Collection[str], *, custom: bool) -> str:
    if known or custom:
        return f"field label not supported: {name}"
    return f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def _parse_fields(source: str, known: Collection[str], *, custom: bool) -> tuple[Requirement, ...]:
    if not source.strip():
        return ()
    terms = list[Requirement]()
    for term in source.split(","):
        if not term.strip():
            continue
        match = _COMPARE.fullmatch(term.strip())
        if not match or match[2] in {"<", ">"}:
            raise bad_request(f"invalid selector: '{source}'; can't understand '{term}'")
        name, operator, value = match[1], match[2], match[3].replace("\\,", ",").replace("\\=", "=")
        if name not in {"metadata.name", "metadata.namespace"} and name not in known:
            raise bad_request(_unknown_field(name, known, custom=custom))
        terms.append(Requirement(name, "notin" if operator == "!=" else "in", frozenset({value})))
    return tuple(terms)
