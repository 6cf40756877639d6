"""What ends a restore early, in words: each failure has a reason, a sentence with the way out, and says what the target is now. Pure."""

import errno

from datamover.agent.errors import Failure
from datamover.agent.printing import printable, quote_names
from datamover.api import amounts, transfer

UNTOUCHED = "The directory was not touched."
MARK = transfer.RESTORE_MARK
_LISTED = f"The directory is marked as not whole; the list is in its {MARK}/problems.txt. The same command tries what is missing again. To take it as it is, remove {MARK}."
MARKED = f"The directory is neither what it was nor whole, and is marked as that ({MARK}): the same command goes on from there."

ROLLED_BACK = "The directory is as it was before: it was rolled back from its safety copy."

LEFT = f"The target holds a part of it, and is marked as neither what it was nor whole ({MARK}): empty it, that folder included, and restore anew."


def not_empty(directory: str, names: list[str]) -> Failure:
    """There is something in the target."""
    return Failure(
        transfer.GUARD,
        transfer.REASON_TARGET_NOT_EMPTY,
        f"{printable(directory)} is not empty: {quote_names(names, len(names))}. Name an empty directory or one that is not there, or say --overwrite: then files of the point"
        f" replace what is at their paths, and everything else stays. {UNTOUCHED}",
        problems=tuple(names),
    )


def unfinished(directory: str, *, run: str, place: str, begun: str, path: str) -> Failure:
    """Another restore has begun there and not ended."""
    what = f"of '{path}' " if path else ""
    return Failure(
        transfer.GUARD,
        transfer.REASON_TARGET_UNFINISHED,
        f"{printable(directory)} holds an unfinished restore {what}of run {run} from {place}, begun {begun}. Run that one again to finish it; or empty the directory, its"
        f" {MARK} included, and begin anew; or name another directory. Nothing was changed.",
    )


def damaged_mark(directory: str, why: str) -> Failure:
    """The mark in the target cannot be read."""
    return Failure(
        transfer.GUARD,
        transfer.REASON_TARGET_UNFINISHED,
        f"{printable(directory)} has a {MARK}, so a restore into it has not ended, but which one cannot be told: {why}. Empty the directory,"
        f" {MARK} included, or name another one. Nothing was changed.",
    )


def busy(directory: str) -> Failure:
    """Another process restores into the target now."""
    return Failure(
        transfer.GUARD,
        transfer.REASON_TARGET_BUSY,
        f"Another restore into {printable(directory)} is running. Wait until it has ended, or name another directory. Nothing was changed.",
    )


def no_directory(directory: str, why: str, *, reason: str = transfer.REASON_TARGET_UNUSABLE) -> Failure:
    """The target cannot be used as it is."""
    return Failure(transfer.CONFIG, reason, f"{printable(directory)} cannot be restored into: {why}. {UNTOUCHED}")


def too_small(directory: str, *, needed: int, free: int, files: bool = False) -> Failure:
    """There is not enough room; sizes in bytes, or numbers of files."""
    need, have = (str(needed), str(free)) if files else (amounts.size(needed), amounts.size(free))
    what = "more files (inodes)" if files else "of room"
    return Failure(
        transfer.NO_SPACE,
        transfer.REASON_TARGET_TOO_SMALL,
        f"{printable(directory)} is too small: the restore needs at least {need} {what}, and its file system has {have} free. Make room, name a directory on a larger"
        f" one, or restore a part (--path). {UNTOUCHED}",
        retryable=False,
    )


def tell_mark(failure: Failure) -> None:
    """Say what the target is, where a failure of the store or of this machine does not."""
    if MARK not in failure.message:
        failure.message = f"{failure.message} {MARKED}"


def full(said: str, *, marked: bool = True) -> Failure:
    """The room ended in the middle, or when the directory was to be `marked`."""
    return Failure(
        transfer.NO_SPACE,
        transfer.REASON_TARGET_TOO_SMALL,
        f"No space was left where the files go, or a quota was reached. Make room. {MARKED if marked else UNTOUCHED} ({printable(said)})",
    )


def broken(directory: str, error: OSError) -> Failure:
    """The file system of the target failed in the middle."""
    reason = transfer.REASON_TARGET_READ_ONLY if error.errno == errno.EROFS else transfer.REASON_TARGET_UNUSABLE
    return Failure(
        transfer.CONFIG,
        reason,
        f"Writing to {printable(directory)} failed: {printable(error.strerror or str(error))}. Look at its file system. {MARKED}",
    )


def colliding(directory: str, pairs: list[str], count: int, *, marked: bool) -> Failure:
    """Paths that the target's file system takes for one another. `marked`: an attempt before this one has marked it."""
    left = f"An earlier attempt has begun there ({MARK}): empty that directory, or remove it." if marked else UNTOUCHED
    return Failure(
        transfer.GUARD,
        transfer.REASON_NAME_COLLISION,
        f"The file system of {printable(directory)} takes {count} path(s) of the point for others, since it does not tell upper from lower case, or two spellings of one letter, apart:"
        f" {quote_names(pairs, count)}. Restore onto a file system that does (ext4, xfs). {left}",
        problems=tuple(pairs[:5]),
    )


def hostile(why: str) -> Failure:
    """The manifest says what no manifest of ours does."""
    return Failure(
        transfer.GUARD,
        transfer.REASON_RECORD_UNUSABLE,
        f"The manifest of this point cannot be used: {printable(why)}. Whoever wrote it, it was no mover. Restore another point. {UNTOUCHED}",
    )


def no_such_path(path: str) -> Failure:
    """The point has nothing at the path that is wanted."""
    return Failure(
        transfer.NOT_FOUND,
        transfer.REASON_PATH_NOT_FOUND,
        f"The point has no '{path}'. `datamover ls POINT` shows what it has; names are as they were, upper and lower case. {UNTOUCHED}",
    )


def otherwise(
    problems: tuple[str, ...], count: int, *, said: str = "", store: bool = True, directory: bool = False
) -> Failure:
    """Some paths did not come back as the manifest has them, for what came of the `store`, for what is in the `directory`, or both; `said` is what the engine
    said of them.
    """
    more = f" ({said})" if said else ""
    again = ", also when they were fetched once more" if store else ""
    advice: list[str] = []
    if store:
        advice.append("Look at the store: something deletes or changes objects there, or the mirror has gone on since.")
    if directory:
        advice.append(
            "Look at the directory: at some of the paths is what cannot be replaced (a folder with files of its own where the point has a file or a link), or its file"
            " system refuses them. Move that away."
        )
    return Failure(
        transfer.VERIFY,
        transfer.REASON_RESTORED_OTHERWISE,
        f"{count} path(s) of the point did not come back as they were{again}: {quote_names(problems, count)}.{more} All the others did and were"
        f" compared. {' '.join(advice)} {_LISTED}",
        problems=problems,
    )


# --- in place -------------------------------------------------------------------------------------------------------


def no_copy(why: str) -> Failure:
    """The safety copy cannot be looked at."""
    return Failure(
        transfer.GUARD,
        transfer.REASON_SAFETY_COPY_UNUSABLE,
        f"The safety copy of the volume cannot be read: {printable(why)}. Without it nothing could be rolled back, so nothing is restored. Let the mover run as root"
        f" (mover.securityContext.runAsUser: 0) if it lacks the right, or restore without inPlace. {UNTOUCHED}",
    )


def other_copy(path: str, why: str) -> Failure:
    """The safety copy is of another volume, or of another moment."""
    return Failure(
        transfer.GUARD,
        transfer.REASON_SAFETY_COPY_UNUSABLE,
        f"The safety copy is not what is in the volume: of '{path}', {why}. Either something has written to the volume since the copy was taken: stop it, and try again; or the"
        f" driver does not copy the whole volume: restore without inPlace. {UNTOUCHED}",
        problems=(path,),
    )


def copy_of_unfinished() -> Failure:
    """What is in the volume is half of a restore already."""
    return Failure(
        transfer.GUARD,
        transfer.REASON_TARGET_UNFINISHED,
        f"The volume holds an unfinished restore ({MARK}), so a copy of it is nothing to roll back to. Finish that one first (the same point with overwrite: true goes on from"
        " there), or empty the volume. Nothing was changed.",
    )


def tell_rolled_back(failure: Failure, *, lost: str) -> None:
    """Say that the target is as it was before, instead of what it was when the failure came. `lost`: what did not come back of it."""
    told = failure.message
    for sentence in (_LISTED, MARKED, LEFT):
        told = told.replace(sentence, "")
    end = f"{ROLLED_BACK} But not all of its attributes came back: {lost}." if lost else ROLLED_BACK
    failure.message = f"{told.replace('  ', ' ').strip()} {end}"


def tell_left(failure: Failure, why: str) -> None:
    """Say that the target could not be rolled back, and why."""
    failure.message = f"{failure.message} It could not be rolled back: {printable(why)}. The safety copy still has everything as it was before."
