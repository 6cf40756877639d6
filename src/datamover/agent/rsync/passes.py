# ruff: noqa: PTH116  # bytes paths, which pathlib lacks
"""The two passes by which a mirror is sent: first all that the source has, then the removal of what it has not.

The root directory itself is never sent: at the destination it belongs to the volume, and a mover without privileges may change neither its mode nor
its times. So the first pass is given the root's entries. Within folders it removes what the source does not have, after everything has arrived,
so that folders get their times back; the second pass does the same at the root, and only that.
"""

import os

LOST_AND_FOUND = b"lost+found"
"""What file systems keep at their top for themselves. It is neither sent nor deleted."""
_REPORT = ("--info=progress2,stats2", "--no-human-readable", "--outbuf=L")
EXCLUDE = "--exclude=/lost+found"
VANISHED = 24
"""Exit code of rsync: all was sent but files that were gone before they could be read."""
LOST = frozenset({5, 10, 12, 30, 35})
"""Exit codes of rsync that only say that the connection ended; what carries it knows why."""
_KEEP = (
    "--archive",
    "--hard-links",
    "--acls",
    "--sparse",
    "--one-file-system",
    "--numeric-ids",
    "--force",
    "--delete-after",
    EXCLUDE,
)
_REMOVE = (
    "--dirs",
    "--links",
    "--devices",
    "--specials",
    "--existing",
    "--ignore-existing",
    "--delete",
    "--force",
    EXCLUDE,
)


def list_root(folder: str) -> list[bytes]:
    """Return the names of what is to be sent of a volume: no lost+found, nothing that is mounted there. Raises OSError."""
    root = os.fsencode(folder)
    device = os.stat(root).st_dev
    with os.scandir(root) as entries:
        return sorted(
            entry.name
            for entry in entries
            if entry.name != LOST_AND_FOUND and entry.stat(follow_symlinks=False).st_dev == device
        )


def write_list(names: list[bytes], *, path: str) -> None:
    """Write the names into a file that rsync reads; each is a path, so that none is taken for a comment or an option."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.writelines(b"./" + name + b"\0" for name in names)


def copying(*, listed: str, source: str, destination: str, compress: bool = True) -> list[str]:
    """Return rsync's arguments for the first pass. `listed` is the file with the names; `destination` is as rsync writes it."""
    squeezed = ("--compress",) if compress else ()
    # not part of --archive when there is a list
    # (without --no-implied-dirs the root directory would come along)
    wanted = ("--recursive", "--no-implied-dirs", f"--files-from={listed}", "--from0")
    return [*_KEEP, *squeezed, *wanted, *_REPORT, f"{source}/", destination]


def removing(*, source: str, destination: str) -> list[str]:
    """Return rsync's arguments for the second pass."""
    return [*_REMOVE, *_REPORT, f"{source}/", destination]


def told_end(seconds: float) -> str:
    """Return the line that users search for at the end of a transfer."""
    return f"rsync completed in {int(seconds)}s"
