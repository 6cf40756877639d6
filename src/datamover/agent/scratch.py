# ruff: noqa: PTH102, PTH108  # a start-up budget that pathlib would take a tenth of
"""A directory of the attempt's own for what is temporary, and what it means that there is no room in it."""

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from datamover.agent.errors import Failure
from datamover.api import transfer

if TYPE_CHECKING:
    import sqlite3

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Error numbers of a place without room."""


_PROBE = 1 << 16
"""Bytes for which there has to be room beside what was written."""


def prove_room(path: str) -> None:
    """Raise Failure where there is no room beside a file that another program has written: what it could not write is missing there, and not every
    program says so.
    """
    with keeping("What the engine lists", wants="about 100 bytes an object"):
        probe = f"{path}.room"
        handle = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            left = _PROBE
            while left:
                left -= os.write(handle, bytes(left))
        finally:
            os.close(handle)
            os.unlink(probe)


@contextmanager
def keeping(what: str, *, wants: str) -> Generator[None]:
    """Do something for which the directory needs room. `what` is kept there, and of it `wants` is how much it takes, both for people. Raises
    Failure where it has no room for it.
    """
    import sqlite3

    try:
        yield
    except sqlite3.Error as error:
        raise failure_of_table(error, what, wants=wants) from None
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise _no_room(what, wants, error.strerror or str(error)) from None


def failure_of_table(error: "sqlite3.Error", what: str = "What is kept in a table", *, wants: str = "room") -> Failure:
    """Return what it means that a table in the directory cannot be written or read. `what` and `wants` as `keeping` has them."""
    import sqlite3

    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:  # the latter where a quota is reached
        return _no_room(what, wants, str(error))
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}:
        advice = "The place for temporary files does not lock files as it should, as some network file systems, or another program has the file open: give TMPDIR a place on a local disk."
    else:
        advice = "Look at the file system of the place for temporary files, or give TMPDIR another place."
    return Failure(
        transfer.CONFIG, transfer.REASON_INVALID_CONFIGURATION, f"{what} cannot be used here: {error}. {advice}"
    )


def _no_room(what: str, wants: str, why: str) -> Failure:
    return Failure(
        transfer.NO_SPACE,
        transfer.REASON_NO_LOCAL_SPACE,
        f"{what} cannot be kept here: {why}. It wants {wants}: give TMPDIR a place with room, or a mover's node more ephemeral storage.",
    )


@contextmanager
def scratch_folder(config: str) -> Generator[str]:
    """Give a directory of our own below `config` (of a mover; empty for a command), or where temporary files go; it is gone afterwards.

    Raises Failure when there is no place.
    """
    import shutil

    name = f"datamover-{os.urandom(4).hex()}"
    for parent in (config, os.environ.get("TMPDIR", ""), "/tmp"):  # noqa: S108 - our own folder in it, 0700
        if not parent:
            continue
        path = f"{parent}/{name}"
        try:
            os.mkdir(path, 0o700)
        except OSError:
            continue
        break
    else:
        raise Failure(
            transfer.CONFIG,
            transfer.REASON_INVALID_CONFIGURATION,
            f"There is no place for temporary files: neither {config or os.environ.get('TMPDIR') or 'TMPDIR (it is not set)'} nor /tmp can be written to."
            + (
                f" Mount an emptyDir at {transfer.CONFIG_PATH}."
                if config
                else " Set TMPDIR to a directory that you may write to."
            ),
        )
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
