"""The programs beside us that have to do with DataVolumes, by their versions: a CDI that collects, a KubeVirt that makes what is gone again. Pure."""

import re
from collections.abc import Iterable
from typing import Final

from datamover.api.cdi.config import CDI, CDIConfig
from datamover.api.kubevirt import KubeVirt
from datamover.api.outside import clean
from datamover.runs.facts import Unread

_VERSION: Final = re.compile(r"v?([0-9]{1,4})\.([0-9]{1,4})(?:[.\-+].*)?")
_TOLERANT: Final = ((0, 57), (1, 4))
"""KubeVirt from and to: these do not create a DataVolume again whose claim is marked as collected."""
_COLLECTING: Final = ((1, 50), (1, 61))
"""CDI from and to: these collect by themselves."""
_AT_ONCE: Final = ((1, 55), (1, 56))
"""CDI from and to: these collect at once where nothing is set; the others do not."""


def find_kubevirt(found: Iterable[KubeVirt]) -> str | Unread:
    """Return the version of a cluster's KubeVirt: of several, or while it is being updated, one that makes DataVolumes again. Empty where it does
    not say; MISSING where there is none.
    """
    versions = [version for each in found for version in _versions_of(each)]
    if not versions:
        return Unread.MISSING
    return next((version for version in versions if not is_tolerant(version)), versions[0])


def _versions_of(kubevirt: KubeVirt) -> tuple[str, ...]:
    status = kubevirt.status
    observed = clean((status.observed_kube_virt_version if status is not None else None) or "", limit=64)
    target = clean((status.target_kube_virt_version if status is not None else None) or "", limit=64)
    return (observed, target) if target and target != observed else (observed,)


def is_tolerant(version: str | Unread) -> bool:
    """Tell whether a KubeVirt of this version leaves a claim alone whose DataVolume was collected."""
    found = _read(version)
    return found is not None and _TOLERANT[0] <= found <= _TOLERANT[1]


def find_collector(found: Iterable[CDI], config: CDIConfig | Unread) -> str:
    """Return which CDI collects by itself; empty where none does. One whose setting cannot be read is taken to do so."""
    for each in found:
        said = (each.status or {}).get("observedVersion")
        version = _read(said) if isinstance(said, str) else None
        if version is None or not _COLLECTING[0] <= version <= _COLLECTING[1]:
            continue
        if config in (Unread.FORBIDDEN, Unread.NOT_SYNCED):
            return f"CDI {clean(str(said), limit=64)}"
        spec = config.spec if isinstance(config, CDIConfig) else None
        seconds = spec.data_volume_ttl_seconds if spec is not None else None
        if seconds is None:
            seconds = 0 if _AT_ONCE[0] <= version <= _AT_ONCE[1] else -1
        if seconds >= 0:
            return f"CDI {clean(str(said), limit=64)}"
    return ""


def _read(version: str | Unread) -> tuple[int, int] | None:
    found = _VERSION.fullmatch(version) if isinstance(version, str) else None
    return (int(found[1]), int(found[2])) if found is not None else None
