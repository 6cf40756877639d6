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
_MIRROR: Final = "mirror"
"""The place that rclone writes to: plain files, no repository."""
_REPOSITORIES: Final = ("directory", "s3")
_PLACES: Final = (*_REPOSITORIES, _MIRROR)
_REMOTE: Final = "store"


def secrets_of(*, password: str, server: str, bucket: str, keys: Mapping[str, str]) -> list[Manifest]:
    """Return the Secrets of restic's repositories, one in a directory that is mounted, one at a server, and rclone's configuration.

    `server` is its address; `keys` are called as AWS' own variables are.
    """
    values: dict[str, dict[str, str]] = {
        "restic-directory": {"RESTIC_REPOSITORY": f"/mnt/{REPOSITORY}/restic", "RESTIC_PASSWORD": password},
        "restic-s3": {"RESTIC_REPOSITORY": f"s3:{server}/{bucket}/restic", **keys, "RESTIC_PASSWORD": password},
        "rclone-config": {"rclone.conf": _configuration(server, keys), "RCLONE_LINKS": "true"},
    }
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": said}
        for name, said in values.items()
    ]


def _configuration(server: str, keys: Mapping[str, str]) -> str:
    said = {
        "type": "s3",
        "provider": "Other",
        "endpoint": server,
        **{name.removeprefix("AWS_").lower(): value for name, value in keys.items()},
    }
    return "\n".join((f"[{_REMOTE}]", *(f"{name} = {value}" for name, value in said.items()), ""))


def sources_of(claim: str, *, bucket: str) -> list[Manifest]:
    """Return a ReplicationSource for each place."""
    return [
        _make("ReplicationSource", f"to-{place}", place, bucket, {"sourcePVC": claim}, {"copyMethod": "Snapshot"})
        for place in _PLACES
    ]


def destinations_of(claims: Mapping[str, str], *, bucket: str) -> list[Manifest]:
    """Return a ReplicationDestination for each place, into the claim that is named for it."""
    return [
        _make(
            "ReplicationDestination",
            f"from-{place}",
            place,
            bucket,
            {},
            {"copyMethod": "Direct", "destinationPVC": claims[place]},
        )
        for place in _PLACES
    ]


def restored_claims() -> dict[str, str]:
    """Return the claims that what comes back is written into, by place."""
    return {place: f"restored-from-{place}" for place in _PLACES}


def _make(kind: str, name: str, place: str, bucket: str, spec: Manifest, copied: Manifest) -> Manifest:
    method = _rclone(bucket) if place == _MIRROR else _restic(place)
    moved = {each: {**options, **copied} for each, options in method.items()}
    return {
        "apiVersion": _API,
        "kind": kind,
        "metadata": {"name": name},
        "spec": {**spec, "trigger": {"manual": "demo"}, **moved},
    }


def _restic(place: str) -> dict[str, Manifest]:
    volumes = [{"mountPath": REPOSITORY, "volumeSource": {"persistentVolumeClaim": {"claimName": REPOSITORY}}}]
    mounted = {"moverVolumes": volumes} if place == "directory" else {}
    return {"restic": {"repository": f"restic-{place}", **mounted}}


def _rclone(bucket: str) -> dict[str, Manifest]:
    named = {"rcloneConfig": "rclone-config", "rcloneConfigSection": _REMOTE}
    return {"rclone": {**named, "rcloneDestPath": f"{bucket}/{_MIRROR}"}}


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
