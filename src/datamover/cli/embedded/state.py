"""The directory that the embedded world keeps between runs: its identity, the objects of its API server, and a lock against a second process.

    identity    the UID of its cluster, by which mirrors know it; written first, and never changed
    objects     what the API server held, without Secrets
    node        the node's: volumes, clones, Pods (`localkube.node`)
    lock        held by the process that uses it

WorldError    the state directory cannot be used; the message says what to do
"""

import fcntl
import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from datamover.cli.embedded.saving import write_whole
from kubekit.words.core import NAMESPACES
from localkube.store.apiserver import ApiServer

OBJECTS: Final = "objects"
NODE: Final = "node"
_IDENTITY: Final = "identity"
_LOCK: Final = "lock"
_OWN_NAMES: Final = frozenset({_LOCK, OBJECTS, NODE, _IDENTITY})
"""What a state directory has in it, one or the other, from its first moment on."""
_NODE_IDENTITY: Final = f"{NODE}/cluster"
_SYSTEM: Final = "kube-system"
_UID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAX_UID: Final = 64


class WorldError(Exception):
    """The embedded world cannot be started."""


@contextmanager
def held(state: Path) -> Generator[None]:
    """Make the directory, private, and hold it against a second process. Raises WorldError."""
    _make_private(state)
    with _locked(state / _LOCK):
        yield


def restore(server: ApiServer, state: Path) -> None:
    """Load the saved objects into a new server, and save its identity before anything can rely on it. Raises WorldError."""
    identity = read_identity(state)
    restored = _restore_objects(server, state / OBJECTS)
    before = identity or _read_uid(state / _NODE_IDENTITY)
    if not restored and before is not None:
        server.take_identity(before)
    uid = _uid_of(server)
    if identity is None:
        _write(state / _IDENTITY, uid)
    elif identity != uid:
        raise WorldError(
            f"{state}: the files identity and objects are of two worlds: move objects away to go on as the first, "
            "or identity to go on as the second; the volumes and buckets are not touched"
        )
    if not restored and (state / _NODE_IDENTITY).exists():
        # what the node's directories hold no object knows now; a person may, and the node sweeps only for the world that it noted
        _write(state / _NODE_IDENTITY, f"{uid} (its objects are lost)")


def restore_for_reading(server: ApiServer, state: Path) -> None:
    """Load the saved objects, if any, into a new server. Nothing is written, and no lock is taken. Raises WorldError."""
    _restore_objects(server, state / OBJECTS)


def forget_losses(state: Path) -> None:
    """Allow the node to sweep again, after the directories of lost objects have been removed. Raises WorldError."""
    uid = read_identity(state)
    if uid is not None and (state / _NODE_IDENTITY).exists():
        _write(state / _NODE_IDENTITY, uid)


def read_identity(state: Path) -> str | None:
    """Return by which UID mirrors know this directory; None for a new one. Raises WorldError for one that is damaged."""
    path = state / _IDENTITY
    try:
        path.lstat()
    except OSError:
        return None
    uid = _read_uid(path)
    if uid is None:
        raise WorldError(
            f"{path} cannot be read or holds no UID: write back the UID that the mirrors of this state know "
            "(`cluster` in .datamover/owner.json at the destination), or move the file away"
        )
    return uid


def _read_uid(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_UID + 1).decode("ascii", "replace").strip()
    except OSError:
        return None
    return text if _UID.fullmatch(text) else None


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, f"{text}\n".encode())
    except OSError as error:
        raise WorldError(
            f"{path} cannot be written: {error.strerror}: nothing was run; mend that, or choose another directory with --state"
        ) from error


def _uid_of(server: ApiServer) -> str:
    found = server.find(NAMESPACES.group_resource, "", _SYSTEM) or {}
    return str(found["metadata"]["uid"])


def _restore_objects(server: ApiServer, path: Path) -> bool:
    if not path.exists():
        return False
    try:
        server.restore(path.read_bytes())
    except (ValueError, OSError, EOFError) as error:
        raise WorldError(
            f"{path} cannot be read ({error}): move it away to begin with an empty world; the volumes and buckets are not touched"
        ) from error
    return True


def _make_private(state: Path) -> None:
    """Make the directory private. A folder that holds other things is refused and not changed: `--state .` must not change the mode of a user's folder."""
    try:
        os.fsencode(state).decode()
    except UnicodeDecodeError:
        raise WorldError(
            f"{state}: its name is not UTF-8, and movers work below it: choose another directory with --state"
        ) from None
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = {path.name for path in state.iterdir()}
        if found and not found & _OWN_NAMES:
            raise WorldError(f"{state} holds other things than state: choose an empty or new directory with --state")
        state.chmod(0o700)
    except OSError as error:
        raise WorldError(
            f"{state} cannot be used for state: {error.strerror}: choose another directory with --state"
        ) from error


@contextmanager
def _locked(path: Path) -> Generator[None]:
    try:
        file = path.open("a+")
    except OSError as error:
        raise WorldError(f"{path} cannot be opened: {error.strerror}: choose another directory with --state") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise WorldError(
                f"{path.parent} is used by another datamover (pid {holder}): wait for it, or choose another directory with --state"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
