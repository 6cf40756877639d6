"""Jobs: defaults, the generated selector, what may change, and a status that cannot contradict itself."""

from collections.abc import Iterator, Mapping

from localkube.store.metadata import check_labels, label_faults
from localkube.store.statuses import OMITTED, Fault, required, unsupported, wrong
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

    def validate_status(self, obj: Tree, live: Tree) -> list[Fault]:
        """Check what changed in the status, as the real server does since jobs can be managed by others."""
        return list(_status_faults(obj, live))

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
    if spec.get("completionMode") not in {"NonIndexed", "Indexed"}:
        yield unsupported("spec.completionMode", spec.get("completionMode"), ("NonIndexed", "Indexed"))
    if spec.get("completionMode") == "Indexed" and spec.get("completions") is None:
        yield required("spec.completions", "when completion mode is Indexed")
    yield from _replacement_faults(spec)
    yield from check_labels(labels, "spec.template.labels")
    yield from check_pod_spec(mapping(template.get("spec")), "spec.template.spec")
    policy = look(template, "spec", "restartPolicy")
    if policy in {"Always", "", None}:
        yield required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')
    elif spec.get("podFailurePolicy") and policy != "Never":
        yield wrong(
            "spec.template.spec.restartPolicy", policy, 'only "Never" is supported when podFailurePolicy is specified'
        )
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


def _replacement_faults(spec: Tree) -> Iterator[Fault]:
    policy = spec.get("podReplacementPolicy")
    known = ("Failed",) if spec.get("podFailurePolicy") else ("Failed", "TerminatingOrFailed")
    if policy is not None and policy not in known:
        yield unsupported("spec.podReplacementPolicy", policy, known)


def _status_faults(obj: Tree, live: Tree) -> Iterator[Fault]:
    status, old = mapping(obj.get("status")), mapping(live.get("status"))
    held, before = _conditions(status), _conditions(old)
    path = "status.conditions"
    done, failed = "Complete" in held, "Failed" in held
    finished, was_finished = done or failed, bool({"Complete", "Failed"} & before)
    for name in ("active", "succeeded", "failed", "ready", "terminating"):
        number = status.get(name)
        if isinstance(number, int) and number < 0:
            yield wrong(f"status.{name}", number, "must be greater than or equal to 0")
    for name in ("Failed", "Complete", "FailureTarget"):
        if name in before and name not in held:
            yield wrong(path, OMITTED, f"cannot disable the terminal {name}=True condition")
    for name in ("failed", "succeeded"):
        if (status.get(name) or 0) < (old.get(name) or 0):
            yield wrong(f"status.{name}", status.get(name) or 0, f"cannot decrease the {name} counter")
    if done and failed:
        yield wrong(path, OMITTED, "cannot set Complete=True and Failed=true conditions")
    if done and "FailureTarget" in held:
        yield wrong(path, OMITTED, "cannot set Complete=True and FailureTarget=true conditions")
    yield from _time_faults(obj, status, old, held=held, before=before)
    if failed and "Failed" not in before and "FailureTarget" not in held:
        yield wrong(path, OMITTED, "cannot set Failed=True condition without the FailureTarget=true condition")
    if done and "Complete" not in before and "SuccessCriteriaMet" not in held:
        yield wrong(path, OMITTED, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition")
    for name in ("Failed", "FailureTarget"):
        if "SuccessCriteriaMet" in held and name in held:
            yield wrong(path, OMITTED, f"cannot set SuccessCriteriaMet=True and {name}=true conditions")
    if finished and not was_finished:
        for name in ("active", "terminating"):
            if status.get(name):
                yield wrong(f"status.{name}", status[name], f"{name}>0 is invalid for finished job")
        pods = mapping(status.get("uncountedTerminatedPods"))
        if pods.get("succeeded") or pods.get("failed"):
            yield wrong("status.uncountedTerminatedPods", pods, "must be empty for finished job")
    if (status.get("ready") or 0) > (status.get("active") or 0) and (
        status.get("ready") != old.get("ready") or status.get("active") != old.get("active")
    ):
        yield wrong("status.ready", status["ready"], "cannot set more ready pods than active")


def _time_faults(obj: Tree, status: Tree, old: Tree, *, held: set[str], before: set[str]) -> Iterator[Fault]:
    started, ended = status.get("startTime"), status.get("completionTime")
    moved = started != old.get("startTime") or ended != old.get("completionTime")
    done = "Complete" in held
    if ended and not done and (ended != old.get("completionTime") or "Complete" in before):
        yield wrong(
            "status.completionTime", ended, "cannot set completionTime when there is no Complete=True condition"
        )
    if done and not ended and "Complete" not in before:
        yield required("status.completionTime", "completionTime is required for Complete jobs")
    if ended and old.get("completionTime") and ended != old.get("completionTime"):
        yield wrong("status.completionTime", ended, IMMUTABLE)
    if moved and started and ended and text(ended) < text(started):
        yield wrong("status.completionTime", ended, "must be equal to or after `startTime`")
    suspended = look(obj, "spec", "suspend") is True
    ended_now = bool(held & {"Complete", "Failed"}) and not before & {"Complete", "Failed"}
    if ended_now and not started and not (suspended and look(obj, "spec", "completions") == 0):
        yield required("status.startTime", "startTime is required for finished job")
    if old.get("startTime") and started != old.get("startTime") and not suspended:
        yield wrong("status.startTime", started, "field is immutable for unsuspended job once set")


def _conditions(status: Tree) -> set[str]:
    return {
        text(condition.get("type"))
        for condition in entries(status.get("conditions"))
        if condition.get("status") == "True"
    }
