"""What a real VolSync has made and said for 28 objects, and ours for the same ones, walked through the same stages.

Both are laid out flat, as path and value, so that a difference has one name. What an API server fills in is left out, and what is of one moment
(times, addresses) is called by what it is.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from support.theatre import Theatre

_HERE: Final = Path(__file__).parent / "recorded"
RECORDED: Final[Mapping[str, Mapping[str, Any]]] = json.loads((_HERE / "replication.json").read_text())
EVENTS: Final[list[Mapping[str, Any]]] = json.loads((_HERE / "replication_events.json").read_text())

SECRETS: Final = {
    "restic-secret": ("RESTIC_REPOSITORY", "RESTIC_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "rclone-secret": ("rclone.conf",),
    "tls-psk": ("psk.txt",),
    "ssh-src": ("source", "source.pub", "destination.pub"),
}
METHODS: Final = ("restic", "rclone", "rsyncTLS", "rsync")
ABSENT: Final = "absent"
OURS: Final = frozenset({"Ready", "Stalled", "CopyReady", "CopyTriggered"})
"""Conditions that are ours, beside the one of the contract."""

_FILLED_IN_PATTERNS: Final = (
    r"apiVersion|kind",  # left out of some recordings
    r"metadata/(namespace|finalizers.*)",
    r"spec/(completionMode|manualSelector|podReplacementPolicy|suspend|selector/matchLabels.*)",
    r"spec/template/metadata/labels/(batch.kubernetes.io/.*|controller-uid|job-name)",
    r"spec/template/spec/(dnsPolicy|schedulerName|serviceAccount|terminationGracePeriodSeconds)",
    r"spec/template/spec/containers.*/(terminationMessagePath|terminationMessagePolicy|ports.*/protocol)",
    r"spec/(dataSourceRef/.*|clusterIP|internalTrafficPolicy|ipFamilyPolicy|sessionAffinity)",
    r"spec/(clusterIPs|ipFamilies).*",
    r"subjects.*/namespace",
)
_FILLED_IN: Final = re.compile("|".join(_FILLED_IN_PATTERNS))
_MOMENT: Final = re.compile(r"-[0-9]{14}$")


def walk(name: str) -> Theatre:
    """Let ours do what the other one has done: each stage is one act of storage or of the Job's controller."""
    case = RECORDED[name]
    theatre = Theatre(case["kind"], case["name"], dict(case["spec"]), uid=case["uid"], namespace=case["namespace"])
    if name.startswith("privileged/"):
        theatre.namespace_annotations["volsync.backube/privileged-movers"] = "true"
    theatre.secrets.update(SECRETS)
    for claim in claims_of(case["spec"]):
        theatre.claim(claim)
    theatre.act()
    _let_snapshots_be_ready(theatre)
    for kind, child in tuple(theatre.objects):
        if kind == "PersistentVolumeClaim":
            theatre.bind(child)
    theatre.later(4)
    theatre.act()
    theatre.succeed()
    theatre.act()
    _let_snapshots_be_ready(theatre)
    return theatre


def _let_snapshots_be_ready(theatre: Theatre) -> None:
    for kind, child in tuple(theatre.objects):
        if kind == "VolumeSnapshot":
            theatre.ready(child)
    theatre.act()


def claims_of(spec: Mapping[str, Any]) -> Iterator[str]:
    """Return the claims that a user has to bring."""
    for given in (spec.get("sourcePVC"), *(spec.get(method, {}).get("destinationPVC") for method in METHODS)):
        if given:
            yield given


def by_name(children: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return children by kind and name."""
    return {(child["kind"], _MOMENT.sub("-MOMENT", child["metadata"]["name"])): child for child in children}


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield path, their value and ours of all that differs; ABSENT for what is not there."""
    left, right = _told(theirs), _told(ours)
    for path in sorted(set(left) | set(right)):
        one, other = left.get(path, ABSENT), right.get(path, ABSENT)
        if one != other:
            yield path, one, other


def statuses(written: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the statuses as a user of VolSync sees them: without conditions of ours, and without those that then are the same as the one before."""
    seen: list[dict[str, Any]] = []
    for status in written:
        plain = _plain({**status, "conditions": [each for each in status["conditions"] if each["type"] not in OURS]})
        if not seen or plain != seen[-1]:
            seen.append(plain)
    return seen


def told(type_: str, reason: str, action: str, note: str, related: str) -> tuple[str, ...]:
    """Return what counts of an event."""
    return type_, reason, action, re.sub(r"-[0-9]{14}\b", "-MOMENT", note), _MOMENT.sub("-MOMENT", related)


def _plain(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {inner: _plain(each, inner) for inner, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if key in {"lastSyncTime", "lastSyncStartTime", "lastTransitionTime"}:
        assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z", value), value
        return "a time"
    if key == "lastSyncDuration":
        assert re.fullmatch(r"[0-9]+(\.[0-9]{1,9})?s", value), value
        return "a duration"
    if key == "address":
        assert re.fullmatch(r"10(\.[0-9]{1,3}){3}", value), value
        return "an address"
    return _MOMENT.sub("-MOMENT", value) if isinstance(value, str) else value


def _told(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in _flatten(manifest) if not _FILLED_IN.fullmatch(path)}


def _flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Elements of a list are called by their path or name where they have one."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flatten(inner, f"{path}/{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            named = isinstance(inner, Mapping)
            called = (inner.get("mountPath") or inner.get("name") or number) if named else number
            yield from _flatten(inner, f"{path}[{called}]")
    else:
        yield path, _MOMENT.sub("-MOMENT", value) if isinstance(value, str) and path == "metadata/name" else value
