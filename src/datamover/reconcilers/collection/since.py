"""Since when a lifetime of completed DataVolumes is set, so that only what was made since then is stamped. Pure.

It is written down once, in a ConfigMap, and not kept in memory: what was made while nobody looked would be taken for old, or old for new. The
record is one JSON object: under the empty name the moment for the whole cluster, under the name of a namespace with a label of its own the
moment for that one. A moment is null while that says never.

Guarantees: the moment of a lifetime that stays set stays; one that is switched off and on again begins anew. A namespace that loses its label
begins anew where that had said never. What is there when a moment is written is older than it.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, cast

from kubekit.words.timestamps import parse, seconds

CLUSTER: Final = ""
"""The name of the whole cluster."""
DATA_KEY: Final = "since.json"
_MOST: Final = 5000
"""Namespaces that are remembered. A ConfigMap holds more."""

Record = Mapping[str, str | None]


def read_record(data: Mapping[str, str] | None) -> Record:
    """Return what a ConfigMap says. What is no moment is left out, so that it begins anew."""
    try:
        found = json.loads((data or {}).get(DATA_KEY, "{}"))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    fields = cast("dict[str, Any]", found)
    return {name: moment for name, moment in fields.items() if moment is None or _is_moment(moment)}


def write_record(record: Record) -> dict[str, str]:
    """Return what a ConfigMap is to say."""
    return {DATA_KEY: json.dumps(dict(record), sort_keys=True)}


def find_since(record: Record, namespace: str, *, labelled: bool) -> datetime | None:
    """Return since when a lifetime holds for a namespace, which has a label of its own or not; None where that is not recorded."""
    own = _moment(record.get(namespace))
    if labelled:
        return own
    cluster = _moment(record.get(CLUSTER))
    if cluster is None or (namespace in record and own is None):
        return None
    return max(cluster, own) if own is not None else cluster


def renew(record: Record, lifetimes: Mapping[str, bool], *, now: datetime, latest: Mapping[str, datetime]) -> Record:
    """Return the record as it has to be. `lifetimes` says of the cluster, and of each namespace that has a label, whether a lifetime is set;
    `latest` when the last DataVolume was made, by namespace.
    """

    def begin(name: str) -> str:
        made = [moment for namespace, moment in latest.items() if name in (CLUSTER, namespace)]
        # Moments have whole seconds: what was made in this one, or by a clock that is ahead of ours, is not new.
        return seconds(max([now, *(each + timedelta(seconds=1) for each in made)]))

    renewed: dict[str, str | None] = {}
    for name, is_set in lifetimes.items():
        renewed[name] = (record.get(name) or begin(name)) if is_set else None
    for name, moment in record.items():
        if name not in lifetimes:  # it had a label, and has none any more
            renewed[name] = moment or begin(name)
    kept = sorted(renewed.items(), key=lambda each: (each[0] == CLUSTER or each[0] in lifetimes, each[1] or ""))
    return dict(kept[-_MOST:])


def _is_moment(said: object) -> bool:
    return isinstance(said, str) and _moment(said) is not None


def _moment(text: str | None) -> datetime | None:
    try:
        return parse(text) if text else None
    except (ValueError, OverflowError):
        return None
