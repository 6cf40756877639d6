"""What of the objects of one `datamover run` waits for which: whoever copies the claim of a DataVolume begins when that is filled. Pure.

A claim whose storage is written by the worker itself is bound before there is anything in it, so nobody else could tell.
"""

from collections.abc import Mapping
from typing import Any, Final

from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.cli.runnables import Name
from kubekit.runtime.store import Key
from kubekit.words.meta import Manifest

_SOURCES: Final = {DATA_MOVERS.kind: "sourcePvc", REPLICATION_SOURCES.kind: "sourcePVC"}
"""The field that names the claim which is copied."""


def find_waits(manifests: Mapping[Name, Manifest]) -> dict[Name, Name]:
    """Return for each object that copies or overwrites the claim of a DataVolume among these objects which DataVolume that is."""
    found: dict[Name, Name] = {}
    for name, manifest in manifests.items():
        claim = _claim_in(name.kind, manifest.get("spec"))
        volume = Name(DATA_VOLUMES.kind, Key(name.key.namespace, claim)) if claim else None
        if volume is not None and volume in manifests and name != volume:
            found[name] = volume
    return found


def _claim_in(kind: str, spec: Any) -> str:
    if not isinstance(spec, dict):
        return ""
    fields: dict[str, Any] = spec  # pyright: ignore[reportUnknownVariableType] - JSON
    if kind in _SOURCES:
        return _text(fields.get(_SOURCES[kind]))
    if kind != REPLICATION_DESTINATIONS.kind:
        return ""
    movers: list[dict[str, Any]] = [each for each in fields.values() if isinstance(each, dict)]
    return next((_text(each["destinationPVC"]) for each in movers if "destinationPVC" in each), "")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
