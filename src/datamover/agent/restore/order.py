"""What is to be restored, from where, into which directory. Pure."""

import msgspec

from datamover.agent import printing
from datamover.agent.files import manifest
from datamover.api import transfer


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted. `directory` is the target; `path` (raw, without slashes at its ends) what of the point is wanted, empty for all of it.

    `overwrite`: what is at a path of the point is replaced, everything else in the directory stays. `privileges` and `special` as
    `apply-manifest` has them: set-ID bits and the kernel's own attributes; pipes and devices. `restore` is the id of the restore itself, the same for
    all attempts of one; empty for a command, where the user says each time what is wanted. `safety` is where a copy of the whole target is mounted from which
    a restore that fails is rolled back, empty for none.
    """

    directory: str
    path: bytes = b""
    overwrite: bool = False
    privileges: bool = False
    special: bool = False
    restore: str = ""
    safety: str = ""

    def wants(self, entry: manifest.Entry) -> bool:
        """Tell whether a line of the manifest is about what is wanted, or about a folder on the way to it."""
        raw = entry.raw_path
        if is_own(raw):
            return False
        if not self.path:
            return True
        if entry.type == manifest.TOP:
            return False  # the directory is not the volume's top folder then
        if entry.type == manifest.DIRECTORY and self.path.startswith(raw + b"/"):
            return True
        return raw == self.path or raw.startswith(self.path + b"/")


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """A point, as a restore needs it. `place` is its destination's root for people, `folder` where below that its files are (empty, or with
    a final slash), `manifest` the path of its manifest on this machine, whole and its own.
    """

    run_id: str
    place: str
    folder: str
    manifest: str


STATE = transfer.RESTORE_MARK.encode()
"""The folder in a target that marks it as unfinished, and holds what is on its way."""


def is_own(raw: bytes) -> bool:
    """Tell whether a path is the mark of a restore, or below it: the backup of a target that was never finished has one."""
    return raw == STATE or raw.startswith(STATE + b"/")


def read_path(text: str) -> bytes:
    """Return a path of a point as a user wrote it, raw. Raises ValueError with a sentence for people when it is none."""
    raw = text.encode("utf-8", "surrogateescape").strip(b"/")
    while raw.startswith(b"./"):
        raw = raw[2:].lstrip(b"/")
    if raw in {b"", b"."}:
        return b""
    if any(part in {b"", b".", b".."} for part in raw.split(b"/")) or b"\0" in raw:
        raise ValueError(f"'{printing.readable(raw)}' is no path within a volume: write it as `datamover ls` shows it")
    return raw
