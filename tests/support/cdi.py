"""What a CDI does with a DataVolume and the claim of its name, as far as our handover meets it. Pure.

Written after what a real cdi-controller was seen to do (version 1.66, November 2026), its words and not its code. It judges the claim by the version
that it writes, but the DataVolume by its cache, which may be late by any number of events. That is the whole danger: a DataVolume that is being
deleted, or is gone, may still look alive to it.
"""

from typing import Any

from datamover.api.cdi import names

Tree = dict[str, Any]

API_VERSION = f"{names.GROUP}/{names.VERSION}"


def repair(volume: Tree, claim: Tree, *, adoption: bool = False) -> Tree | None:
    """Return the metadata that CDI patches into a claim for a DataVolume as its cache shows it; None where it does nothing.

    `adoption` is the feature gate DataVolumeClaimAdoption.
    """
    meta = volume["metadata"]
    if "deletionTimestamp" in meta or "deletionTimestamp" in claim["metadata"]:
        return None
    said = _annotations(claim)
    copied = _annotations(volume).get(names.POPULATED_FOR)
    if names.POPULATED_FOR in said or not _is_succeeded(volume):
        copied = None
    patch: Tree = {"annotations": {names.POPULATED_FOR: copied}} if copied is not None else {}
    said = said if copied is None else {**said, names.POPULATED_FOR: copied}
    owners = claim["metadata"].get("ownerReferences") or []
    controlled = any(each.get("controller") for each in owners)
    if not controlled and (said.get(names.POPULATED_FOR) == meta["name"] or _adopts(volume, said, adoption=adoption)):
        others = [each for each in owners if each["uid"] != meta["uid"]]
        patch["ownerReferences"] = [*others, reference_to(volume)]
    return patch or None


def is_its_own(volume: Tree, claim: Tree) -> bool:
    """Tell whether a DataVolume controls a claim."""
    owners = claim["metadata"].get("ownerReferences") or []
    return any(each["uid"] == volume["metadata"]["uid"] and each.get("controller") for each in owners)


def _adopts(volume: Tree, said: Tree, *, adoption: bool) -> bool:
    wish = _annotations(volume).get(names.ALLOW_ADOPTION)
    allowed = wish == "true" or (adoption and wish != "false")
    return allowed and said.get(names.CREATED_FOR) != volume["metadata"]["uid"]


def reference_to(volume: Tree) -> Tree:
    """Return how a claim names its DataVolume."""
    meta = volume["metadata"]
    owner: Tree = {"apiVersion": API_VERSION, "kind": "DataVolume", "name": meta["name"], "uid": meta["uid"]}
    return {**owner, "controller": True, "blockOwnerDeletion": True}


def build_claim(volume: Tree, spec: Tree) -> Tree:
    """Return the claim that CDI makes for a DataVolume: its labels and annotations, its name, and it as owner."""
    meta = volume["metadata"]
    annotations = {**_annotations(volume), names.CREATED_FOR: meta["uid"]}
    annotations.pop(names.POPULATED_FOR, None)  # comes when it has Succeeded
    labels = meta.get("labels") or {}
    return {
        "metadata": {
            "name": meta["name"],
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [reference_to(volume)],
        },
        "spec": spec,
    }


def status_of(volume: Tree, *, phase: str, now: str, adopted: bool = False, ready: bool | None = None) -> Tree:
    """Return the status of a DataVolume in a phase. Conditions that stay as they were keep their time."""
    done = phase == names.Phase.SUCCEEDED
    ready = done if ready is None else ready
    before = {each["type"]: each for each in (volume.get("status") or {}).get("conditions") or ()}

    def condition(kind: str, holds: bool) -> Tree:
        said = "True" if holds else "False"
        old = before.get(kind)
        since = old["lastTransitionTime"] if old is not None and old["status"] == said else now
        return {"type": kind, "status": said, "lastTransitionTime": since, "lastHeartbeatTime": now}

    conditions = [condition("Ready", ready), condition("Bound", True), condition("Running", not done)]
    progress = "N/A" if adopted else "100.0%" if done else "42.00%"
    name = volume["metadata"]["name"]
    return {"claimName": name, "phase": phase, "progress": progress, "restartCount": 0, "conditions": conditions}


def _is_succeeded(volume: Tree) -> bool:
    return (volume.get("status") or {}).get("phase") == names.Phase.SUCCEEDED


def _annotations(obj: Tree) -> Tree:
    return obj["metadata"].get("annotations") or {}
