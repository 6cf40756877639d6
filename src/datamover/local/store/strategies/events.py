"""Events: one object, two dressings (core/v1 and events.k8s.io/v1), forgotten after an hour."""

from collections.abc import Mapping

from datamover.local.store.statuses import Fault, required, wrong
from datamover.local.store.strategies.base import Strategy
from datamover.local.store.trees import Tree, is_tree, look, mapping, text

TTL_SECONDS = 3600.0
"""How long an event is kept after its last change, as the real server keeps it by default."""

_PAIRS = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)
_CORE, _NEW = "v1", "events.k8s.io/v1"
_FIELDS = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_FREE = frozenset({"default", ""})


def to_new(obj: Tree) -> None:
    """Dress a stored event as events.k8s.io/v1, in place."""
    obj["apiVersion"] = _NEW
    for old, new in _PAIRS:
        if old in obj:
            obj[new] = obj.pop(old)


def to_core(obj: Tree) -> None:
    """Dress an event of events.k8s.io/v1 as it is stored, in place."""
    obj["apiVersion"] = _CORE
    for old, new in _PAIRS:
        if new in obj:
            obj[old] = obj.pop(new)
    obj.setdefault("involvedObject", {})


class EventStrategy(Strategy):
    """Events of either dressing; `subject` is the field that says what the event is about."""

    counts_generations = False
    unconditional_update = True
    create_on_update = True

    def __init__(self, *, subject: str, strict: bool) -> None:
        self._subject = subject
        self._strict = strict
        about = {f"{subject}.{name}": (subject, name) for name in _FIELDS}
        if strict:
            self.selectable: Mapping[str, tuple[str, ...]] = {
                **about,
                "reason": ("reason",),
                "type": ("type",),
                "reportingController": ("reportingController",),
            }
        else:
            self.selectable = {
                **about,
                "reason": ("reason",),
                "reportingComponent": ("reportingComponent",),
                "source": ("source", "component"),
                "type": ("type",),
            }

    def fields(self, obj: Tree) -> Mapping[str, str] | None:
        """Return what field selectors see, under the names of both dressings: the record is shared."""
        about = mapping(obj.get("involvedObject"))
        source = text(look(obj, "source", "component")) or text(obj.get("reportingComponent"))
        found = {
            f"{word}.{name}": text(about.get(name)) for word in ("involvedObject", "regarding") for name in _FIELDS
        }
        return {
            **found,
            "reason": text(obj.get("reason")),
            "type": text(obj.get("type")),
            "source": source,
            "reportingComponent": text(obj.get("reportingComponent")),
            "reportingController": text(obj.get("reportingComponent")),
        }

    def validate(self, obj: Tree) -> list[Fault]:
        """The namespace is the subject's; the new dressing needs its words."""
        faults = list[Fault]()
        namespace = text(look(obj, "metadata", "namespace"))
        about = text(look(obj, self._subject, "namespace"))
        if about != namespace and not (not about and namespace in _FREE):
            faults.append(wrong(f"{self._subject}.namespace", about, "does not match event.namespace"))
        if not self._strict:
            return faults
        if not obj.get("eventTime"):
            faults.append(required("eventTime"))
        for name, limit in (("reportingController", 0), ("reportingInstance", 128), ("action", 128), ("reason", 128)):
            value = text(obj.get(name))
            if not value:
                faults.append(required(name))
            elif limit and len(value) > limit:
                faults.append(wrong(name, value, f"can have at most {limit} characters"))
        if obj.get("type") not in {"Normal", "Warning"}:
            faults.append(wrong("type", text(obj.get("type")), "has invalid value: " + text(obj.get("type"))))
        note = text(obj.get("note"))
        if len(note) > 1024:
            faults.append(wrong("message", "", "can have at most 1024 characters"))
        series = obj.get("series")
        if is_tree(series):
            tree = mapping(series)
            if not isinstance(tree.get("count"), int) or tree["count"] < 2:
                faults.append(wrong("series.count", tree.get("count"), "should be at least 2"))
            if not tree.get("lastObservedTime"):
                faults.append(required("series.lastObservedTime"))
        return faults
