"""Jobs: defaults, the generated selector, and what may change. The status is written by our own controller, which is believed."""

from collections.abc import Iterator, Mapping

from localkube.store.metadata import check_labels, label_faults
from localkube.store.statuses import Fault, required, wrong
from localkube.store.strategies.base import IMMUTABLE, Strategy
from localkube.store.strategies.podspecs import check_pod_spec, default_pod_spec
from localkube.store.trees import Tree, child, copy, entries, is_tree, look, mapping, same, text

_UID_LABELS = ("controller-uid", "batch.kubernetes.io/controller-uid")
_NAME_LABELS = ("job-name", "batch.kubernetes.io/job-name")
_COUNTS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_FIXED = ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")


class JobStrategy(Strategy):
    """Jobs. As in batch/v1, deleting one without a propagation policy orphans its Pods."""

    unconditional_update = True
    orphans_by_default = True
    selectable: Mapping[str, tuple[str, ...]] = {"status.successful": ("status", "succeeded")}

    def default(self, obj: Tree) -> None:
        """Fill in what the API defaults."""
        spec = child(obj, "spec")
        template = child(spec, "template")
        child(template, "metadata")
        default_pod_spec(child(template, "spec"))
        if spec.get("completions") is None and spec.get("parallelism") is None:
            spec["completions"] = 1
        for name, value in (
            ("parallelism", 1),
            ("backoffLimit", 6 if spec.get("backoffLimitPerIndex") is None else 2**31 - 1),
            ("completionMode", "NonIndexed"),
            ("suspend", False),
            ("podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"),
            ("manualSelector", False),
        ):
            if spec.get(name) is None:
                spec[name] = value
        labels = mapping(look(template, "metadata", "labels"))
        meta = child(obj, "metadata")
        if labels and not meta.get("labels"):
            meta["labels"] = copy(labels)

    def prepare_create(self, obj: Tree) -> None:
        """Generate the selector, unless it is given by hand."""
        obj["status"] = {}
        spec = mapping(obj["spec"])
        if spec.get("manualSelector"):
            return
        uid, name = text(look(obj, "metadata", "uid")), text(look(obj, "metadata", "name"))
        labels = child(child(mapping(spec["template"]), "metadata"), "labels")
        for label in _NAME_LABELS:
            labels.setdefault(label, name)
        for label in _UID_LABELS:
            labels.setdefault(label, uid)
        child(child(spec, "selector"), "matchLabels").setdefault(_UID_LABELS[1], uid)
        meta = child(obj, "metadata")
        if not meta.get("labels"):
            meta["labels"] = copy(labels)

    def warnings(self, obj: Tree) -> list[str]:
        """Say that a name is no DNS label."""
        faults = label_faults(text(look(obj, "metadata", "name")))
        if not faults:
            return []
        why = "this is used in Pod names and hostnames, which can result in surprising behavior"
        return [f"metadata.name: {why}; a DNS label is recommended: [{' '.join(faults)}]"]

    def validate(self, obj: Tree) -> list[Fault]:
        """Check the whole spec."""
        return list(_job_faults(obj))

    def validate_update(self, obj: Tree, live: Tree) -> list[Fault]:
        """The template and what depends on it stay, but for scheduling of a suspended Job that never started."""
        faults = self.validate(obj)
        spec, old = mapping(obj["spec"]), mapping(live["spec"])
        elastic = old.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
        if not elastic and not same(spec.get("completions"), old.get("completions")):
            faults.append(wrong("spec.completions", spec.get("completions"), IMMUTABLE))
        for name in _FIXED:
            if not same(spec.get(name), old.get(name)):
                faults.append(wrong(f"spec.{name}", spec.get(name), IMMUTABLE))
        template, former = mapping(spec["template"]), mapping(copy(old["template"]))
        if old.get("suspend") and not look(live, "status", "active"):
            _allow(template, former)
        if not same(template, former):
            faults.append(wrong("spec.template", template, IMMUTABLE))
        return faults

    def fields(self, obj: Tree) -> Mapping[str, str] | None:
        """Return how many Pods succeeded, as text."""
        return {"status.successful": str(look(obj, "status", "succeeded") or 0)}


def _allow(template: Tree, former: Tree) -> None:
    spec, old = mapping(template.get("spec")), mapping(former.get("spec"))
    for field in ("nodeSelector", "tolerations", "affinity", "schedulingGates"):
        if field in spec:
            old[field] = spec[field]
        else:
            old.pop(field, None)
    former["metadata"] = template.get("metadata")
    for group in ("containers", "initContainers"):
        for container, before in zip(entries(spec.get(group)), entries(old.get(group)), strict=False):
            if container.get("name") == before.get("name") and "resources" in container:
                before["resources"] = container["resources"]


def _job_faults(obj: Tree) -> Iterator[Fault]:
    spec = mapping(obj.get("spec"))
    template = mapping(spec.get("template"))
    labels = mapping(look(template, "metadata", "labels"))
    if not spec.get("manualSelector"):
        for label, value in _expected(obj):
            if label not in labels:
                yield required(f"spec.template.metadata.labels[{label}]", f"must be '{value}'")
            elif labels[label] != value:
                yield wrong(f"spec.template.metadata.labels[{label}]", labels[label], f"must be '{value}'")
    for name in _COUNTS:
        number = spec.get(name)
        if isinstance(number, int) and number < 0:
            yield wrong(f"spec.{name}", number, "must be greater than or equal to 0")
    yield from check_labels(labels, "spec.template.labels")
    yield from check_pod_spec(mapping(template.get("spec")), "spec.template.spec")
    if look(template, "spec", "restartPolicy") in {"Always", "", None}:
        yield required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')
    selector = spec.get("selector")
    if not is_tree(selector):
        yield required("spec.selector")
        return
    wanted = mapping(mapping(selector).get("matchLabels"))
    expected = dict(_expected(obj))
    if not spec.get("manualSelector") and any(wanted[key] != expected.get(key) for key in wanted):
        yield wrong("spec.selector", selector, "`selector` not auto-generated")
    if any(labels.get(key) != value for key, value in wanted.items()):
        yield wrong("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")


def _expected(obj: Tree) -> list[tuple[str, str]]:
    """Return the labels that a generated selector needs."""
    uid, name = text(look(obj, "metadata", "uid")), text(look(obj, "metadata", "name"))
    return [*((label, uid) for label in _UID_LABELS), *((label, name) for label in _NAME_LABELS)]
