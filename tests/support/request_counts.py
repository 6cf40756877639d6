"""What an API server was asked: its own counters, and its audit log."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

WRITES = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
_LINE = re.compile(r"^apiserver_request_total\{(?P<labels>.*)\} (?P<value>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class RequestKind(NamedTuple):
    """What requests are counted by. `verb` is GET, LIST, WATCH, POST, PUT, PATCH, APPLY, DELETE or DELETECOLLECTION."""

    verb: str
    group: str
    resource: str
    subresource: str
    code: int


class RequestCounts(Counter[RequestKind]):
    """Requests by kind. `after - before` is what happened in between; counters only grow while the server runs."""

    def total(  # pyright: ignore[reportIncompatibleMethodOverride] - narrower by keyword, the same without
        self,
        *,
        verbs: Iterable[str] | None = None,
        resource: str | None = None,
        group: str | None = None,
        code: int | None = None,
    ) -> int:
        """Return how many requests match everything that is given."""
        wanted = None if verbs is None else frozenset(verbs)
        return sum(
            count
            for kind, count in self.items()
            if (wanted is None or kind.verb in wanted)
            and (resource is None or kind.resource == resource)
            and (group is None or kind.group == group)
            and (code is None or kind.code == code)
        )

    def __sub__(self, other: Counter[RequestKind]) -> "RequestCounts":
        return RequestCounts(super().__sub__(other))


def parse_request_counts(text: str) -> RequestCounts:
    """Read `apiserver_request_total` from a /metrics page."""
    counts = RequestCounts()
    for match in _LINE.finditer(text):
        labels = dict(_LABEL.findall(match["labels"]))
        kind = RequestKind(
            verb=labels["verb"],
            group=labels["group"],
            resource=labels["resource"],
            subresource=labels["subresource"],
            code=int(labels["code"]),
        )
        counts[kind] += int(float(match["value"]))
    return counts


class AuditEntry(NamedTuple):
    """One answered request. `verb` is get, list, watch, create, update, patch, delete or deletecollection."""

    number: int
    user: str
    agent: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    uri: str

    @property
    def writes(self) -> bool:
        """Tell whether it was meant to change something."""
        return self.verb in {"create", "update", "patch", "delete", "deletecollection"}


def count_audit_lines(path: Path) -> int:
    """Return how many lines there are now."""
    if not path.exists():
        return 0
    with path.open("rb") as lines:
        return sum(1 for _ in lines)


def read_audit_log(path: Path, *, user: str | None = None, since: int = 0) -> tuple[AuditEntry, ...]:
    """Return the finished requests of `user` (or all), from line number `since` on. The server writes the line before it answers or right after."""
    entries: list[AuditEntry] = []
    if not path.exists():
        return ()
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if number < since or not line.endswith("\n"):
                continue
            event = json.loads(line)
            if user is not None and event["user"].get("username") != user:
                continue
            target = event.get("objectRef") or {}
            entries.append(
                AuditEntry(
                    number=number,
                    user=event["user"].get("username", ""),
                    agent=event.get("userAgent", ""),
                    verb=event["verb"],
                    group=target.get("apiGroup", ""),
                    resource=target.get("resource", ""),
                    subresource=target.get("subresource", ""),
                    namespace=target.get("namespace", ""),
                    name=target.get("name", ""),
                    code=(event.get("responseStatus") or {}).get("code", 0),
                    uri=event["requestURI"],
                )
            )
    return tuple(entries)
