"""Volumes and mounts of a container, mapped to directories.

Each container has a root directory of its own. A mount at `/data` is a symbolic link `<root>/data` to the volume's directory; programs find
it through the variable `DATAMOVER_ROOT`. What a symbolic link cannot do is refused: nested mounts, a mount at `/`.
The planning is pure; `write_files` and `link_mounts` touch the disk (blocking: call them in a thread).

MountError          the message is for people
├── MountRefused    this node does not do it, ever
└── MountFailed     it cannot be done as things are: something is missing
"""

import os
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from localkube.node.environment import ConfigurationError, Sources, expand, field_value, resource_value
from localkube.node.pod_kinds import (
    ConfigMapVolume,
    Container,
    DownwardVolume,
    KeyToPath,
    Pod,
    ProjectedVolume,
    TokenProjection,
    Volume,
)

ROOT_VARIABLE = "DATAMOVER_ROOT"
"""Programs that were written for the node read it under this name, so it never changes."""
DEFAULT_TERMINATION_PATH = "/dev/termination-log"
_DEFAULT_MODE = 0o644


class MountError(Exception):
    """A volume cannot be given to a container."""


class MountRefused(MountError):  # noqa: N818 - says what happened
    """Not done by this node, whatever else is there."""


class MountFailed(MountError):  # noqa: N818
    """Something is missing; tried again when it appears."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of a volume that is made from API objects."""

    path: str
    content: bytes
    mode: int

    def __repr__(self) -> str:
        return f"File({self.path!r})"  # contents may be secret (law L8)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A volume that is a claim's."""

    claim: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Scratch:
    """An empty directory that lives as long as the Pod."""


@dataclass(frozen=True, slots=True)
class Files:
    """A directory of files made from API objects. `token` is a service account token that is still to be fetched."""

    files: tuple[File, ...]
    tokens: tuple[TokenProjection, ...] = ()


Content = Claimed | Scratch | Files


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a volume appears: container path, volume name, path below the volume."""

    path: str
    volume: str
    sub_path: str
    read_only: bool


def plan_volume(volume: Volume, pod: Pod, sources: Sources) -> Content:
    """Return what a volume of a Pod consists of. Raises MountRefused, MountFailed."""
    try:
        return _plan_volume(volume, pod, sources)
    except ConfigurationError as error:
        raise MountFailed(f'MountVolume.SetUp failed for volume "{volume.name}" : {error}') from error


def _plan_volume(volume: Volume, pod: Pod, sources: Sources) -> Content:
    if volume.persistent_volume_claim is not None:
        claim = volume.persistent_volume_claim
        return Claimed(claim.claim_name, bool(claim.read_only))
    if volume.empty_dir is not None:
        if volume.empty_dir.medium not in (None, "", "Memory"):  # memory is accepted and not enforced: it is on disk
            raise MountRefused(
                f'volume "{volume.name}": this node keeps emptyDir on disk, medium {volume.empty_dir.medium} is not supported'
            )
        return Scratch()
    if volume.secret is not None:
        secret = volume.secret
        reference = ConfigMapVolume(
            name=secret.secret_name, items=secret.items, default_mode=secret.default_mode, optional=secret.optional
        )
        return Files(_secret_files(reference, sources, reference.default_mode))
    if volume.config_map is not None:
        return Files(_config_map_files(volume.config_map, sources, volume.config_map.default_mode))
    if volume.downward_api is not None:
        return Files(_downward_files(volume.downward_api, pod, sources, volume.downward_api.default_mode))
    if volume.projected is not None:
        return _projected(volume, volume.projected, pod, sources)
    raise MountRefused(
        f'volume "{volume.name}" is of a type that this node does not provide; it provides persistentVolumeClaim, emptyDir, '
        "secret, configMap, downwardAPI and projected"
    )


def _projected(volume: Volume, projected: ProjectedVolume, pod: Pod, sources: Sources) -> Files:
    files: list[File] = []
    tokens: list[TokenProjection] = []
    mode = projected.default_mode
    for source in projected.sources or ():
        if source.secret is not None:
            files += _secret_files(source.secret, sources, mode)
        elif source.config_map is not None:
            files += _config_map_files(source.config_map, sources, mode)
        elif source.downward_api is not None:
            files += _downward_files(source.downward_api, pod, sources, mode)
        elif source.service_account_token is not None:
            tokens.append(source.service_account_token)
        else:
            raise MountRefused(f'volume "{volume.name}": this node does not provide one of its projected sources')
    return Files(tuple(files), tuple(tokens))


def _secret_files(reference: ConfigMapVolume, sources: Sources, mode: int | None) -> tuple[File, ...]:
    if reference.optional and reference.name not in sources.secrets:
        return ()
    data = sources.secret(reference.name).data or {}
    return _select(reference, data, mode, "secret")


def _config_map_files(reference: ConfigMapVolume, sources: Sources, mode: int | None) -> tuple[File, ...]:
    if reference.optional and reference.name not in sources.config_maps:
        return ()
    found = sources.config_map(reference.name)
    data = {key: value.encode() for key, value in (found.data or {}).items()} | dict(found.binary_data or {})
    return _select(reference, data, mode, "config")


def _select(reference: ConfigMapVolume, data: Mapping[str, bytes], mode: int | None, what: str) -> tuple[File, ...]:
    default = mode if mode is not None else _DEFAULT_MODE
    items = reference.items or tuple(KeyToPath(key=key, path=key) for key in data)
    files: list[File] = []
    for item in items:
        if item.key in data:
            files.append(File(item.path, data[item.key], item.mode if item.mode is not None else default))
        elif not reference.optional:
            raise ConfigurationError(f"references non-existent {what} key: {item.key}")
    return tuple(files)


def _downward_files(volume: DownwardVolume, pod: Pod, sources: Sources, mode: int | None) -> tuple[File, ...]:
    files: list[File] = []
    for item in volume.items or ():
        text = ""
        if item.field_ref is not None:
            text = field_value(item.field_ref, pod)
        elif item.resource_field_ref is not None:
            text = resource_value(item.resource_field_ref, None, pod, sources.allocatable)
        default = mode if mode is not None else _DEFAULT_MODE
        files.append(File(item.path, text.encode(), item.mode if item.mode is not None else default))
    return tuple(files)


def plan_mounts(container: Container, variables: Mapping[str, str]) -> tuple[Mount, ...]:
    """Return the mounts of a container, outermost first. Raises MountRefused."""
    if container.volume_devices:
        raise MountRefused("this node does not provide block devices (volumeDevices)")
    mounts = [
        Mount(
            path=posixpath.normpath("/" + mount.mount_path.lstrip("/")),
            volume=mount.name,
            sub_path=expand(mount.sub_path_expr, variables) if mount.sub_path_expr else mount.sub_path or "",
            read_only=bool(mount.read_only),
        )
        for mount in container.volume_mounts or ()
    ]
    mounts.sort(key=lambda mount: mount.path)
    for mount in mounts:
        if mount.path == "/":
            raise MountRefused(f'this node cannot mount volume "{mount.volume}" at /')
        if ".." in PurePosixPath(mount.sub_path).parts or mount.sub_path.startswith("/"):
            raise MountRefused(
                f'subPath {mount.sub_path!r} of volume "{mount.volume}" must be a relative path without ..'
            )
    for outer in mounts:
        for inner in mounts:
            if inner is not outer and (inner.path == outer.path or inner.path.startswith(outer.path + "/")):
                raise MountRefused(
                    f"this node cannot mount inside another mount: {inner.path} ({inner.volume}) lies in {outer.path} ({outer.volume})"
                )
    message_path = termination_path(container)
    if any(message_path.startswith(mount.path + "/") for mount in mounts):
        raise MountRefused(
            f"terminationMessagePath {message_path} lies in a volume; this node keeps it outside of volumes"
        )
    return tuple(mounts)


def termination_path(container: Container) -> str:
    """Return the container path of the termination message, normalized."""
    return posixpath.normpath("/" + (container.termination_message_path or DEFAULT_TERMINATION_PATH).lstrip("/"))


def inside(root: Path, path: str) -> Path:
    """Return the place of a container path below the container's root. Raises MountRefused when it would lie outside."""
    parts = [part for part in PurePosixPath(posixpath.normpath("/" + path.lstrip("/"))).parts if part != "/"]
    if ".." in parts:
        raise MountRefused(f"path {path!r} leaves the container's root")
    return root.joinpath(*parts)


def write_files(directory: Path, files: Iterable[File]) -> None:
    """Write a volume that is made of files; nothing of an earlier attempt stays readable half-written."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in files:
        place = inside(directory, file.path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(file.content)
            os.fchmod(opened.fileno(), file.mode & 0o777)


def link_mounts(
    root: Path, mounts: Iterable[Mount], places: Mapping[str, Path], *, untouchable: frozenset[str]
) -> None:
    """Make the links below a container's root. A subPath that is missing is made, unless its volume is in `untouchable`.

    Raises MountFailed, OSError.
    """
    root.mkdir(parents=True, exist_ok=True)
    for mount in mounts:
        if mount.volume not in places:
            raise MountFailed(f'volume "{mount.volume}" is not among the Pod\'s volumes')
        volume = places[mount.volume]
        target = volume / mount.sub_path if mount.sub_path else volume
        if not target.exists():
            if mount.volume in untouchable:
                raise MountFailed(
                    f'subPath {mount.sub_path!r} does not exist in volume "{mount.volume}", which is not written to'
                )
            target.mkdir(parents=True, exist_ok=True)
        if not target.resolve().is_relative_to(volume.resolve()):
            raise MountFailed(f'subPath {mount.sub_path!r} of volume "{mount.volume}" leads out of the volume')
        place = inside(root, mount.path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_symlink():
            place.unlink()
        place.symlink_to(target)
