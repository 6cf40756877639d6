"""The act of `datamover demo` about replication: what is applied, and whether what came back is what was there. Nothing is run here."""

import filecmp
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

from kubekit.words.meta import Manifest

REPOSITORY: Final = "repository"
"""The claim with the repository in a directory."""
_API: Final = "volsync.backube/v1alpha1"
_PLACES: Final = ("directory", "s3")


def secrets_of(*, password: str, s3: str, keys: Mapping[str, str]) -> list[Manifest]:
    """Return the Secrets of both repositories: one in a directory that is mounted, one at a server that `s3` names."""
    values: dict[str, dict[str, str]] = {
        "directory": {"RESTIC_REPOSITORY": f"/mnt/{REPOSITORY}/restic"},
        "s3": {"RESTIC_REPOSITORY": s3, **keys},
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"restic-{place}"},
            "stringData": {**values[place], "RESTIC_PASSWORD": password},
        }
        for place in _PLACES
    ]


def sources_of(claim: str) -> list[Manifest]:
    """Return a ReplicationSource for each repository."""
    return [
        _make("ReplicationSource", f"to-{place}", place, {"sourcePVC": claim}, {"copyMethod": "Snapshot"})
        for place in _PLACES
    ]


def destinations_of(claims: Mapping[str, str]) -> list[Manifest]:
    """Return a ReplicationDestination for each repository, into the claim that is named for it."""
    return [
        _make(
            "ReplicationDestination",
            f"from-{place}",
            place,
            {},
            {"copyMethod": "Direct", "destinationPVC": claims[place]},
        )
        for place in _PLACES
    ]


def restored_claims() -> dict[str, str]:
    """Return the claims that what comes back is written into, by place."""
    return {place: f"restored-from-{place}" for place in _PLACES}


def _make(kind: str, name: str, place: str, spec: Manifest, restic: Manifest) -> Manifest:
    volumes = [{"mountPath": REPOSITORY, "volumeSource": {"persistentVolumeClaim": {"claimName": REPOSITORY}}}]
    mounted = {"moverVolumes": volumes} if place == "directory" else {}
    return {
        "apiVersion": _API,
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            **spec,
            "trigger": {"manual": "demo"},
            "restic": {"repository": f"restic-{place}", **restic, **mounted},
        },
    }


def render(manifests: list[Manifest]) -> str:
    """Return manifests as YAML."""
    return yaml.safe_dump_all(manifests, sort_keys=False)


def find_differences(one: Path, other: Path) -> list[str]:
    """Return the paths that differ: in their kind, mode, content or target."""
    paths = {path.relative_to(root) for root in (one, other) for path in root.rglob("*")}
    return sorted(str(path) for path in paths if not _are_same(one / path, other / path))


def _are_same(one: Path, other: Path) -> bool:
    try:
        first, second = one.lstat(), other.lstat()
    except FileNotFoundError:
        return False
    if first.st_mode != second.st_mode:
        return False
    if stat.S_ISLNK(first.st_mode):
        return one.readlink() == other.readlink()
    return not stat.S_ISREG(first.st_mode) or filecmp.cmp(one, other, shallow=False)
