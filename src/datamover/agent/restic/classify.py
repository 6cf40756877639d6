"""From a restic command that failed to a class, a reason and a sentence that says what to do. Pure.

restic tells a missing repository, a lock and a wrong password by exit codes of their own; everything else is read from its words, and those
are restic's, its libraries' or the server's.
"""

import re
from collections.abc import Sequence
from typing import Final

from datamover.agent.errors import Failure
from datamover.agent.printing import quote_names
from datamover.agent.restic.causes import CAUSES, Words, cause_of, find_cause
from datamover.agent.restic.messages import ERROR, EXIT_ERROR, Message
from datamover.agent.restic.process import Answer
from datamover.api import restic, transfer

NO_REPOSITORY: Final = 10
LOCKED: Final = 11
WRONG_PASSWORD: Final = 12
INCOMPLETE: Final = 3
"""Of a backup: some files could not be read, and the snapshot is without them."""
KILLED: Final = -9
RESTORING: Final = "the restore"
"""What was done, in sentences, when the volume is what may be full."""
_EXAMPLES: Final = 5
_LONGEST: Final = 300

_NO_SPACE: Final = Words(
    r"no space left on device|disk quota exceeded|file too large|quota (?:was |is |has been )?exceeded|QuotaExceeded|storage ?full|minimum free drive|insufficient storage"
)
_ABSENT: Final = Words(
    r"repository does not exist|specified bucket does not exist|NoSuchBucket|NoSuchKey|specified key does not exist"
    r"|unable to open config file: (?:stat|Stat|lstat)[^\n]*(?:no such file|does not exist|not found)"
)
"""What a server says of a repository, or its bucket, that is not there yet."""
_TRANSIENT: Final = frozenset({transfer.REASON_SERVER_UNREACHABLE, transfer.REASON_SERVER_ERROR})
_RETRYING: Final = re.compile(r"^\S.* returned error, retrying after")
_RECOVERED: Final = re.compile(r"^\S.* operation successful after \d+ retr")
_LEFT_OUT: Final = re.compile(r"^Ignoring .*failed to load snapshot")
_LOCK_DENIED: Final = re.compile(r"^Save\(<lock/")
_LOCK_KEPT: Final = re.compile(r"^Remove\(<lock/[^>]*>\) (?:failed|returned error)")
_VANISHED: Final = Words(r"no such file or directory|stale file handle")


def is_absent(answer: Answer) -> bool:
    """Tell whether the repository is not there, so that it may be made: never where only nobody answered."""
    if answer.code == NO_REPOSITORY:
        return True
    found = next(
        (
            cause
            for cause in CAUSES
            if cause.reason != transfer.REASON_BUCKET_NOT_FOUND and cause.words.search(answer.text)
        ),
        None,
    )
    # restic asks "Is there a repository at the following location?" whatever went wrong, so that says nothing
    return answer.code != 0 and _ABSENT.search(answer.text) is not None and found is None


def is_definite(text: str) -> bool:
    """Tell whether a server has said something that asking again does not change."""
    if _NO_SPACE.search(text):
        return True
    cause = find_cause(text)
    return _ABSENT.search(text) is not None if cause is None else cause.reason not in _TRANSIENT


def is_hopeless(text: str) -> bool:
    """Tell whether restic says that it asks once more, and that will not help."""
    return _RETRYING.search(text) is not None and is_definite(text)


def is_lock_denied(answer: Answer) -> bool:
    """Tell whether a command ended because it may not leave a lock in the repository."""
    line = _find_line(answer, _LOCK_DENIED)
    cause = find_cause(line)
    return answer.code != 0 and cause is not None and cause.reason == transfer.REASON_ACCESS_DENIED


def find_kept_lock(answer: Answer) -> str:
    """Return what restic said when it could not remove its own lock; empty when it could."""
    line = _find_line(answer, _LOCK_KEPT)
    return "" if _RECOVERED.search(answer.text) else line


def is_recovered(message: Message) -> bool:
    """Tell whether restic says that a request that failed has succeeded at last."""
    return _RECOVERED.search(message.message) is not None


def is_retrying(message: Message) -> bool:
    """Tell whether restic says that a request failed, and that it tries again by itself."""
    return _RETRYING.search(message.message) is not None


def failure_of(
    answer: Answer, *, repository: str, doing: str, folders: Sequence[str] = (), padded_password: bool = False
) -> Failure:
    """Return what to tell of a command that failed. `doing` is what it was for, such as `the backup`; `folders` are restic's own, for its cache
    and what is temporary; `padded_password`: white space begins or ends the password.
    """
    if answer.code == KILLED and not answer.timed_out:
        return Failure(
            transfer.INTERNAL,
            transfer.REASON_OUT_OF_MEMORY,
            "restic was killed, as the kernel does when a container reaches its memory limit, or the node's memory runs out. Raise"
            " spec.restic.moverResources.limits.memory.",
        )
    if answer.code == NO_REPOSITORY:
        return Failure(
            transfer.NOT_FOUND,
            transfer.REASON_REPOSITORY_NOT_FOUND,
            f"There is no repository at {repository}: check {restic.REPOSITORY} in the Secret. A backup or a restore makes one.",
        )
    full = _find_line(answer, _NO_SPACE)
    if full:
        own = any(f"{folder}/" in full for folder in folders)
        return _full(full, own=own, repository=repository, restoring=doing == RESTORING)
    cause = cause_of(transfer.REASON_WRONG_PASSWORD) if answer.code == WRONG_PASSWORD else find_cause(answer.text)
    if cause is None and answer.timed_out:
        cause = cause_of(transfer.REASON_SERVER_UNREACHABLE)
    if cause is None:
        return Failure(
            transfer.INTERNAL,
            transfer.REASON_ENGINE_FAILED,
            f"{doing[0].upper()}{doing[1:]} failed: restic ended with exit code {answer.code}{_quote(_last_words(answer))}. Its log has more.",
        )
    sentence = cause.sentence.format(repository=repository)
    if cause.reason == transfer.REASON_WRONG_PASSWORD and padded_password:
        sentence += " The password in the Secret begins or ends with white space, such as a new line, and that counts."
    quoted = _quote(_find_line(answer, cause.words) or _last_words(answer))
    return Failure(cause.failure_class, cause.reason, f"{sentence}{quoted}", retryable=cause.retryable)


def failure_of_silence(doing: str) -> Failure:
    """Return what to tell of a command that calls itself a success, and does not say what it has done (law L4)."""
    return Failure(
        transfer.INTERNAL,
        transfer.REASON_ENGINE_FAILED,
        f"restic ended with exit code 0, and did not say what it has done, so {doing} does not count. Its log has more; look whether the mover's image has restic itself.",
    )


def failure_of_kept_lock(said: str, *, repository: str) -> Failure:
    """Return what to tell of a lock that the mover itself has left a moment ago, because it may not remove it."""
    return Failure(
        transfer.DENIED,
        transfer.REASON_ACCESS_DENIED,
        f"The mover may write to {repository}, but not delete there, not even its own lock, which is in the way now: give its keys the right to delete, and then"
        f" spec.restic.unlock a new value 30 minutes from now.{_quote(said)}",
    )


def check_listing(answer: Answer, *, repository: str) -> None:
    """Raise Failure when a listing of snapshots is without one that could not be read."""
    line = _find_line(answer, _LEFT_OUT)
    if line:
        raise Failure(
            transfer.GUARD,
            transfer.REASON_REPOSITORY_DAMAGED,
            f"The repository {repository} is damaged: a snapshot cannot be read, so it is not known which one is the newest. Nothing was restored. Run `restic check` on it;"
            f" a file below `snapshots` that is beyond repair can be deleted, and the other snapshots are restored then.{_quote(line)}",
        )


def failure_of_files(answer: Answer, *, repository: str) -> Failure:
    """Return what to tell of a backup that left files out."""
    damage = find_cause(answer.text)
    if damage is not None and damage.reason == transfer.REASON_REPOSITORY_DAMAGED:
        sentence = damage.sentence.format(repository=repository)
        # it is compared with an earlier snapshot, of which a part is gone
        return Failure(
            damage.failure_class,
            damage.reason,
            f"{sentence} Nothing was forgotten; do not rely on the snapshot that was made.{_quote(_find_line(answer, damage.words))}",
        )
    names = tuple(dict.fromkeys(each.item for each in answer.complaints if each.item))
    texts = [each.text for each in answer.complaints if each.message_type == ERROR]
    named = quote_names(names[:_EXAMPLES], len(names)) if names else "some files"
    if texts and all(map(_VANISHED.search, texts)):
        return Failure(
            transfer.SOURCE_CHANGED,
            transfer.REASON_SOURCE_CHANGED,
            f"Files vanished while they were read: {named}. The snapshot that was made is without them, and older ones are kept. It is tried again; copyMethod"
            " Snapshot or Clone reads a copy that does not change.",
            problems=names[:_EXAMPLES],
        )
    return Failure(
        transfer.SOURCE_UNREADABLE,
        transfer.REASON_SOURCE_UNREADABLE,
        f"The mover cannot read {named}. The snapshot that was made is without them, and older ones are kept. Give the mover the user of the application by"
        f" spec.restic.moverSecurityContext, or allow privileged movers in the namespace.{_quote(texts[0] if texts else '')}",
        problems=names[:_EXAMPLES],
    )


def _full(line: str, *, own: bool, repository: str, restoring: bool) -> Failure:
    if own:
        reason = transfer.REASON_NO_LOCAL_SPACE
        sentence = "No space is left in the mover's cache or temporary folder: raise spec.restic.cacheCapacity (the cache needs about a hundredth of the data)."
    elif restoring:
        reason = transfer.REASON_NO_SPACE
        sentence = "No space is left in the volume that is restored to: raise spec.restic.capacity, or give a larger destinationPVC."
    else:
        reason = transfer.REASON_NO_SPACE
        sentence = (
            f"No space is left where the repository {repository} is: give it more, keep fewer snapshots (spec.restic.retain), or prune more often"
            " (spec.restic.pruneIntervalDays)."
        )
    return Failure(transfer.NO_SPACE, reason, f"{sentence}{_quote(line)}")


def _find_line(answer: Answer, words: Words | re.Pattern[str]) -> str:
    """Return the first line that has the words, or the empty string."""
    return next((line for line in answer.text.splitlines() if words.search(line)), "")


def _last_words(answer: Answer) -> str:
    """Return the line that says most: restic's last word, else its last complaint."""
    last = [each.text for each in answer.complaints if each.message_type == EXIT_ERROR]
    other = [each.text for each in answer.complaints if each.message_type != EXIT_ERROR]
    chosen = last[-1] if last and "context canceled" not in last[-1] else (other or last or [""])[-1]
    return chosen.split("\n")[0]


def _quote(line: str) -> str:
    return f" ({_brief(line)})" if line else ""


def _brief(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:120]}…{text[-170:]}"
