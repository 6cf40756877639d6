"""What the CDIConfig named `config` is to say: its spec is the CDI object's, its status has what counts where nobody says anything. Pure."""

import re
from dataclasses import dataclass
from typing import Any, Final, cast

from datamover.api.cdi import names
from datamover.plans.known import UNKNOWN, Known
from datamover.plans.steps import REST, Emit, Patch, Plan, Step, WriteStatus
from datamover.reconcilers.cdi_config.objects import CONFIGS, Stored, Tree, active_of, merge_patch
from datamover.volumes.classes import find_default
from kubekit.words.storage import IS_DEFAULT_CLASS, StorageClass

OVERHEAD: Final = "0.06"
"""Share of a volume that its file system takes, where nobody says otherwise."""
ACTION: Final = "Configure"
REFUSED: Final = "ConfigNotWritten"
_SHARE: Final = re.compile(r"0(?:\.[0-9]{1,3})?|1")


@dataclass(frozen=True, slots=True)
class Facts:
    """A CDIConfig, the cluster's CDI objects, and its classes."""

    config: Stored
    installations: tuple[Stored, ...] = ()
    classes: tuple[StorageClass, ...] = ()
    known: Known = UNKNOWN


def decide(facts: Facts) -> Plan[Tree]:
    """Hand the spec on first, then say what it comes to."""
    meta, refusal = facts.config.metadata, facts.known.refusal
    if meta.name != names.CONFIG_NAME or meta.terminating:
        return REST
    if refusal is not None and refusal.fresh:
        event = Emit("Warning", REFUSED, refusal.message, ACTION)
        return Plan(() if facts.known.told == event else (event,), refusal.retry_after)
    steps: list[Step[Tree]] = []
    patch = _hand_on(facts)
    if patch:
        return Plan((Patch(CONFIGS, meta, patch),))
    status = describe(facts)
    if status != (facts.config.status or {}):
        steps.append(WriteStatus(status))
    return Plan(tuple(steps))


def _hand_on(facts: Facts) -> Tree:
    """Return the patch that gives it the CDI object's configuration. Where that has none, whoever edits CDIConfig itself is left alone."""
    source = active_of(facts.installations)
    wanted = (source.spec or {}).get("config") if source is not None else None
    if not isinstance(wanted, dict):
        return {}
    spec = merge_patch(facts.config.spec or {}, cast("Tree", wanted))
    marked = facts.config.metadata.annotation(names.CONFIG_AUTHORITY) is not None
    return {
        **({"spec": spec} if spec else {}),
        **({} if marked else {"metadata": {"annotations": {names.CONFIG_AUTHORITY: ""}}}),
    }


def describe(facts: Facts) -> Tree:
    """Return the status. What others have written there stays."""
    spec, classes = facts.config.spec or {}, [each.metadata.name for each in facts.classes]
    scratch = spec.get("scratchSpaceStorageClass")
    known: Tree = {
        "filesystemOverhead": _overhead_of(spec.get("filesystemOverhead"), classes),
        "preallocation": spec.get("preallocation") is True,
        "scratchSpaceStorageClass": scratch
        if scratch in classes
        else find_default(facts.classes, mark=IS_DEFAULT_CLASS),
        "importProxy": spec.get("importProxy"),
        "imagePullSecrets": spec.get("imagePullSecrets"),
        "defaultPodResourceRequirements": spec.get("podResourceRequirements"),
        "uploadProxyURL": spec.get("uploadProxyURLOverride"),
    }
    others = {key: value for key, value in (facts.config.status or {}).items() if key not in known}
    return {**others, **{key: value for key, value in known.items() if value is not None}}


def _overhead_of(said: Any, classes: list[str]) -> Tree:
    given = cast("Tree", said) if isinstance(said, dict) else {}
    each_class = given.get("storageClass")
    by_class = cast("Tree", each_class) if isinstance(each_class, dict) else {}
    general = _share(given.get("global")) or OVERHEAD
    return {
        "global": general,
        **(
            {"storageClass": {name: _share(by_class.get(name)) or general for name in sorted(classes)}}
            if classes
            else {}
        ),
    }


def _share(said: Any) -> str | None:
    return said if isinstance(said, str) and _SHARE.fullmatch(said) is not None else None
