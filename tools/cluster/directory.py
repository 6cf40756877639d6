"""The cluster's directory: whose it is, one command on it at a time, and its end.

`down` removes a directory as root with all that is in it, so it must be sure whose it is: `up` leaves a mark in a directory that it finds
empty, and nothing without that mark is ever removed.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.layout import ClusterError, Layout
from cluster.mounts import mount_points

_WORDS = "This directory is a cluster's (tools/cluster). `python -m cluster down` removes it with all that is in it.\n"


class DirectoryError(ClusterError):
    """The directory is not a cluster's, is in use, or cannot be removed."""


def is_cluster(layout: Layout) -> bool:
    """Tell whether the directory is a cluster's: it has the mark, or all that one from before the mark has."""
    return layout.marker.is_file() or (layout.pids.is_dir() and (layout.secrets / "ca.crt").is_file())


def demand_cluster(layout: Layout) -> None:
    """Raise DirectoryError unless the directory is a cluster's."""
    if not is_cluster(layout):
        raise DirectoryError(f"no cluster at {layout.directory}")


@contextmanager
def claimed(layout: Layout) -> Iterator[None]:
    """Make the directory a cluster's and hold it. Raises DirectoryError when it has other things in it, or is held."""
    layout.directory.mkdir(parents=True, exist_ok=True)
    with _locked(layout.directory):
        if not is_cluster(layout) and any(layout.directory.iterdir()):
            raise DirectoryError(
                f"{layout.directory} is not empty, and not a cluster's; nothing in it was touched. Cure: name an empty directory in "
                "DATAMOVER_CLUSTER"
            )
        layout.marker.write_text(_WORDS)
        yield


@contextmanager
def held(layout: Layout) -> Iterator[None]:
    """Hold a cluster's directory. Raises DirectoryError when it is not a cluster's, or is held."""
    demand_cluster(layout)
    with _locked(layout.directory):
        layout.marker.write_text(_WORDS)  # one from before the mark gets it, so that its removal can be taken up again
        yield


def remove(layout: Layout) -> None:
    """Remove the directory with all its files, the mark last. Raises DirectoryError when something is mounted below it.

    A directory that is a mount point itself stays, empty: somebody else put it there.
    """
    directory = layout.directory
    points = mount_points(directory)
    if points:
        raise DirectoryError(f"still mounted, so nothing was removed: {', '.join(map(str, points))}")
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _empty(handle, directory, spare=layout.marker.name)
    finally:
        os.close(handle)
    layout.marker.unlink()
    if not directory.is_mount():
        directory.rmdir()


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Lock a directory until the end, which the end of this process is as well."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DirectoryError(f"another `up` or `down` is at work in {directory}. Cure: wait for its end") from None
        if not directory.exists() or not os.path.samestat(os.fstat(handle), directory.stat()):
            raise DirectoryError(f"{directory} was removed this moment. Cure: try again")
        yield
    finally:
        os.close(handle)


def _empty(folder: int, path: Path, *, spare: str | None = None) -> None:
    """Remove what is in an open folder, but never what another mount has: it may have come after we looked.

    Device numbers do not tell: a bind mount has that of its source, and a btrfs subvolume one of its own.
    """
    mount = _mount_of(folder)
    with os.scandir(folder) as entries:
        listed = list(entries)
    for entry in listed:
        if entry.name == spare:
            continue
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=folder)
            continue
        inner = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        try:
            if _mount_of(inner) != mount:
                raise DirectoryError(f"{path / entry.name} was mounted this moment, so it was not removed")
            _empty(inner, path / entry.name)
        finally:
            os.close(inner)
        os.rmdir(entry.name, dir_fd=folder)


def _mount_of(folder: int) -> str:
    """Return the number of the mount that an open folder belongs to."""
    fields = Path(f"/proc/self/fdinfo/{folder}").read_text().split()
    return fields[fields.index("mnt_id:") + 1]
