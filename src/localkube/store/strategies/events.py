"""Events: one object, served in two API groups (core/v1 and events.k8s.io/v1), forgotten after an hour."""

from collections.abc import Iterator, Mapping

from localkube.store.statuses import Fault, required, wrong
from localkube.store.strategies.base import Strategy
from localkube.store.trees import Tree, is_tree, look, mapping, text

TTL_SECONDS = 3600.0
"""How long an event is kept after its last change, as the real server keeps it by default."""

_SOURCE = ("source", "deprecatedSource")
_TIMES = (("firstTimestamp", "deprecatedFirstTimestamp"), ("lastTimestamp", "deprecatedLastTimestamp"))
_PAIRS = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    _SOURCE,
    *_TIMES,
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)
_NOTE_LENGTH = 1024
_CORE, _NEW = "v1", "events.k8s.io/v1"
_FIELDS = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_FREE = frozenset({"default", ""})


def to_new(obj: Tree) -> None:
    """Turn a stored event into one of events.k8s.io/v1, in place."""
    obj["apiVersion"] = _NEW
    for old, new in _PAIRS:
        if old in obj:
            obj[new] = obj.pop(old)


def to_core(obj: Tree) -> None:
    """Turn an event of events.k8s.io/v1 into its stored form, in place."""
    obj["apiVersion"] = _CORE
    for old, new in _PAIRS:
        if new in obj:
            obj[old] = obj.pop(new)
    obj.setdefault("involvedObject", {})


class EventStrategy(Strategy):
    """Events of either API group; `subject` is the field that says what the event is about."""

    counts_generations = False
    unconditional_update = True
    create_on_update = True
    collected = False

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
        """Return what field selectors see, under the names of both API groups: the record is shared."""
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
        """The namespace is the subject's; the newer API group has required fields."""
        faults = list[Fault]()
        namespace = text(look(obj, "metadata", "namespace"))
        about = text(look(obj, self._subject, "namespace"))
        if about != namespace and not (not about and namespace in _FREE):
            faults.append(wrong(f"{self._subject}.namespace", about, "does not match event.namespace"))
        return [*faults, *_new_faults(obj)] if self._strict else faults

    def default(self, obj: Tree) -> None:
        """Leave the fields in that Go leaves in, empty as they are."""
        names = (_SOURCE[1], *(new for _, new in _TIMES)) if self._strict else (_SOURCE[0], *(old for old, _ in _TIMES))
        obj.setdefault(names[0], {})
        for name in names[1:]:
            obj.setdefault(name, None)
        if not self._strict:
            obj.setdefault("eventTime", None)
            obj.setdefault("reportingComponent", "")
            obj.setdefault("reportingInstance", "")


def _new_faults(obj: Tree) -> Iterator[Fault]:
    if not obj.get("eventTime"):
        yield required("eventTime")
    else:
        for name, limit in (("reportingController", 0), ("reportingInstance", 128), ("action", 128), ("reason", 128)):
            value = text(obj.get(name))
            if not value:
                yield required(name)
            elif limit and len(value) > limit:
                yield wrong(name, value, f"can have at most {limit} characters")
    if obj.get("type") not in {"Normal", "Warning"}:
        yield wrong("type", text(obj.get("type")), f"has invalid value: {text(obj.get('type'))}")
    if len(text(obj.get("note"))) > _NOTE_LENGTH:
        yield wrong("message", "", f"can have at most {_NOTE_LENGTH} characters")
    series = obj.get("series")
    if is_tree(series):
        count = series.get("count")
        if not isinstance(count, int) or count < 2:
            yield wrong("series.count", count, "should be at least 2")
        if not series.get("lastObservedTime"):
            yield required("series.lastObservedTime")
