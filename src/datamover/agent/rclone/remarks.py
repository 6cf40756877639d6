"""What people should know about an attempt although nothing is wrong. Pure. Sentences without their full stop."""

from collections.abc import Sequence

from datamover.agent.files.walk import Tally
from datamover.agent.printing import quote_names
from datamover.agent.rclone.deleting import Deletions
from datamover.api import amounts, outside


def about_success(files: int, size: int, *, moved: int, deleted: int) -> str:
    """Return what an attempt has done; `size` in bytes."""
    are, were = ("is" if files == 1 else "are"), ("was" if moved == 1 else "were")
    return f"{amounts.count(files, 'file')} ({amounts.size(size)}) of the source {are} at the destination; {moved} {were} moved, {deleted} deleted"


def about_source(tally: Tally) -> list[str]:
    """Return what the walk found that will not be at the destination, or not be read."""
    lines: list[str] = []
    if tally.special:
        lines.append(
            f"{tally.special} special file(s) (fifo, socket, device) cannot be kept in an object store and are left out:"
            f" {', '.join(tally.special_names)}"
        )
    if tally.unreadable:
        lines.append(f"{tally.unreadable} path(s) cannot be read: {', '.join(tally.unreadable_names)}")
    if tally.lost_and_found:
        lines.append("lost+found at the top of the volume is left out")
    return lines


def about_shortened(paths: Sequence[str]) -> list[str]:
    """Return that attributes of files are not in the manifest."""
    if not paths:
        return []
    limit = outside.LINE_LIMIT >> 20
    return [
        f"{len(paths)} path(s) have more than {limit} MiB of extended attributes, which are left out of the manifest: {', '.join(paths[:3])}"
    ]


def about_vanished(count: int) -> list[str]:
    """Return that files went from the live source before they were moved, or with their older contents at the destination."""
    return [f"{count} file(s) vanished from the live source meanwhile and are not counted"] if count else []


def about_comparison(*, size_only: bool, by_time: bool) -> list[str]:
    """Return how unchanged files were recognised, where that can miss a change."""
    if size_only:
        return [
            "unchanged files were told by their size alone (RCLONE_SIZE_ONLY), so a change that keeps the size is not at the destination"
        ]
    if by_time:
        return [
            "the store's ETags are no checksums (as where it encrypts with KMS), so unchanged files were told by size and time of change"
        ]
    return []


def about_found(count: int) -> list[str]:
    """Return that objects stay of which nobody knows who wrote them."""
    if not count:
        return []
    came = f"{count} object(s) came to the mirror while or after a run of the live source was broken off, and are not in the source"
    return [f"{came}; nobody knows whose they are, so they stay"]


def about_odd(count: int, examples: list[str]) -> list[str]:
    """Return that objects stay because nothing deletes them and no others."""
    if not count:
        return []
    those = f"{count} object(s) have keys that no file's path becomes, or that two objects are listed by: {quote_names(examples, count)}"
    return [f"{those}; rclone could take them for other objects, so they stay until they are deleted by hand"]


def about_extra(count: int, names: list[str]) -> list[str]:
    """Return that the folder of a timestamped copy holds what is not of this copy."""
    return [f"{count} object(s) in the folder are not of this copy: {', '.join(names)}"] if count else []


def about_taken_over(count: int, size: int, *, folder: str) -> list[str]:
    """Return what the store has copied itself from the copy in `folder`; `size` in bytes."""
    if not count:
        return []
    were = "was" if count == 1 else "were"
    return [
        f"{amounts.count(count, 'unchanged file')} ({amounts.size(size)}) {were} copied within the store from {folder}"
    ]


def about_deletions(deletions: Deletions) -> list[str]:
    """Return what was not deleted although it seemed to be gone."""
    if not deletions.spared:
        return []
    stay = f"{deletions.spared} object(s) stay although their files seemed to be gone from the source"
    return [f"{stay}: {', '.join(deletions.spared_names)}"]
