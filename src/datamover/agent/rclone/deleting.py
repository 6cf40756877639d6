# ruff: noqa: PTH116, PTH208  # bytes paths, which pathlib lacks
"""What a mirror may delete. The most dangerous decision of the agent, so it is made here and nowhere else (law L3).

An object goes only when all of this holds:

a. it is *stale*: an earlier run of this mirror wrote it, the user's filters do not hide it, and the walk met no file or link that
   becomes it; and its key is one that a file's path can become, so that the engine deletes it and no other (see `Ledger.stale`);
b. the engine did not move it in this attempt;
c. a look at the source right before the deletion finds no such file (`ENOENT`, `ENOTDIR`, a name that no file can have, or
   something of another kind under the name; or a file that the walk has met under another spelling, where the volume takes both for one
   name). A file that is there, and an error of any other kind, keep the object;
d. nothing of the source was unreadable in this attempt: what cannot be read may hold anything. Where the user's filters choose, the engine
   has listed the source as well, without an error; what the walk could not read is then what the filters leave out.

Where b or c contradicts a, the source was not what the walk saw. In a frozen copy (Clone, Snapshot) that must not be, so nothing is
deleted and the attempt fails, to be tried again. A live source (Direct) may well have changed: the object stays, the manifest says so,
and the next run decides anew.

Caveats: between the look and the deletion of an object of a live source are the other deletions of the same run. A file that comes back
in that time is moved by the next run, as one that comes later.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence

from datamover.agent import printing
from datamover.agent.errors import AgentError, Failure
from datamover.agent.files import names
from datamover.agent.files.walk import Tally
from datamover.agent.printing import quote_names
from datamover.agent.rclone.ledger import Ledger
from datamover.api import transfer

IN_SOURCE = "its file is there"
"""Why an object stays: the file that becomes it is in the source."""
MOVED = "it was just moved"
"""Why an object stays: the engine has just moved it."""
OUT_OF_REACH = "rclone lists it by this name and does not find it under it"
"""Why an object stays: the engine would delete nothing, or another one."""

GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
"""The errors that say that there is no such file; any other says nothing."""
_EXAMPLES = 5
_BATCH = 1000


def reason_to_stay(source: bytes, key: bytes, *, uploaded: bool, follows: bool) -> str | None:
    """Return why a stale object must stay after all (rules b and c), or None when it may go.

    `uploaded`: the engine moved it in this attempt. `follows`: the user lets the engine follow links, so a file behind one counts.
    """
    if uploaded:
        return MOVED
    candidates: list[tuple[bytes, Callable[[int], bool]]] = [(names.raw_of(key), stat.S_ISREG)]
    if key.endswith(names.LINK_SUFFIX):
        candidates.append((names.raw_of(key.removesuffix(names.LINK_SUFFIX)), stat.S_ISLNK))
    for raw, is_of_kind in candidates:
        if b"\0" in raw or not all(raw.split(b"/")):
            continue  # no file can have that name; a key made by hand may
        try:
            found = os.stat(source + b"/" + raw) if follows else _look(source, raw)
        except OSError as error:
            if error.errno in GONE:
                continue
            return error.strerror or type(error).__name__
        if is_of_kind(found.st_mode):
            return IN_SOURCE
    return None


def _look(source: bytes, raw: bytes) -> os.stat_result:
    """Return what is at a path, following nothing: the engine does not enter a folder through a link either."""
    place = source
    *folders, name = raw.split(b"/")
    for folder in folders:
        place += b"/" + folder
        if not stat.S_ISDIR(os.lstat(place).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    return os.lstat(place + b"/" + name)


def find_alias(source: bytes, key: bytes) -> bytes | None:
    """Return the key of the file that a look at another key finds, on a volume that takes two spellings for one name (letter case,
    Unicode forms); None where the folders have the very bytes, and where that cannot be told.
    """
    link = key.endswith(names.LINK_SUFFIX) and not _is_there(source + b"/" + names.raw_of(key))
    raw = names.raw_of(key.removesuffix(names.LINK_SUFFIX) if link else key)
    place = source
    try:
        for part in raw.split(b"/"):
            found = os.lstat(place + b"/" + part)
            place += b"/" + _spell(place, part, found)
    except OSError:
        return None
    real = names.key_of(place[len(source) + 1 :]) + (names.LINK_SUFFIX if link else b"")
    return None if real == key else real


def _is_there(path: bytes) -> bool:
    try:
        os.lstat(path)
    except OSError:
        return False
    return True


def _spell(folder: bytes, name: bytes, found: os.stat_result) -> bytes:
    """Return the name by which a folder lists what is `found` under `name`; `name` itself where it lists neither."""
    listing = os.listdir(folder)  # as it is now: an older one could lack a name that has come since
    if name in listing:
        return name
    for listed in listing:
        status = os.lstat(folder + b"/" + listed)
        if (status.st_dev, status.st_ino) == (found.st_dev, found.st_ino):
            return listed
    return name


def tell_deletions(count: int) -> str:
    """Return, for a failure's sentence, what had been deleted before it."""
    return f"{count} object(s) had been deleted that the source does not have" if count else "Nothing was deleted"


class Deletions:
    """The deletions of one attempt. `delete` deletes exactly the objects that it is given; it takes all of them before the first goes.

    `listed`: the engine itself has listed the source under the user's filters. `delete` returns how many went. `count` is how many did, `spared` how many stale ones stay; `spared_names` are the first few of these, with the reason.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        source: bytes,
        place: str,
        frozen: bool,
        follows: bool,
        listed: bool,
        delete: Callable[[Iterable[bytes]], int],
    ) -> None:
        self.count = 0
        self.spared = 0
        self.spared_names: list[str] = []
        self._ledger = ledger
        self._source = source
        self._place = place
        self._frozen = frozen
        self._follows = follows
        self._listed = listed
        self._delete = delete
        self._cleared: frozenset[bytes] = frozenset()

    def clear_the_way(self, tally: Tally) -> None:
        """Delete what stands in the way of the source's paths, before anything is moved. Raises Failure when that is not certain."""
        blockers = self._ledger.blockers()
        if blockers:
            self._demand_readable(tally, moved=False)
            going = tuple(self._judged(blockers))
            self._remove(going)
            self._cleared = frozenset(going)

    def sweep(self, tally: Tally) -> None:
        """Delete what the source no longer has. Raises Failure when that is not certain; then nothing was deleted by this call."""
        if self._ledger.stale_count() > len(self._cleared):
            self._demand_readable(tally, moved=True)
            stale = (key for key in self._ledger.stale() if key not in self._cleared)
            self._remove(self._judged(stale))

    def _remove(self, keys: Iterable[bytes]) -> None:
        try:
            self.count += self._delete(keys)
        except AgentError as error:
            self.count += error.deleted
            raise

    def keep(self, keys: Sequence[bytes]) -> None:
        """Note objects that are still there, because the engine does not find them under the keys by which it lists them."""
        self._ledger.spare(keys)
        self.count -= len(keys)
        self.spared += len(keys)
        room = max(0, _EXAMPLES - len(self.spared_names))
        self.spared_names += [f"{printing.readable(key)} ({OUT_OF_REACH})" for key in keys[:room]]

    def _demand_readable(self, tally: Tally, *, moved: bool) -> None:
        if tally.unreadable and not self._listed:
            done = tell_deletions(self.count)
            raise Failure(
                transfer.SOURCE_UNREADABLE,
                transfer.REASON_SOURCE_UNREADABLE,
                f"{tally.unreadable} path(s) of the source could not be read: {quote_names(tally.unreadable_names, tally.unreadable)}. So nobody"
                f" can tell whether the {self._ledger.stale_count()} object(s) that seem to be gone from it really are."
                f" {f'Everything else was moved, and {done[0].lower()}{done[1:]}' if moved else done}. Give the mover's user the right to read them (fsGroup,"
                " or the mover's securityContext), or exclude them (RCLONE_EXCLUDE); if they can be read, look at the volume's storage.",
                retryable=True,
                problems=tuple(tally.unreadable_names),
            )

    def _is_alias(self, key: bytes) -> bool:
        """Tell whether a key is only another spelling of one that the walk has met."""
        real = None if self._follows else find_alias(self._source, key)
        return real is not None and self._ledger.was_walked(real)

    def _judged(self, stale: Iterable[bytes]) -> Iterator[bytes]:
        """Yield those that may go; note the others. Of a frozen copy there must be no others."""
        spared: list[bytes] = []
        begun = self.spared
        for key in stale:
            why = reason_to_stay(self._source, key, uploaded=self._ledger.was_uploaded(key), follows=self._follows)
            if why is None or (why == IN_SOURCE and self._is_alias(key)):
                yield key
                continue
            self.spared += 1
            if len(self.spared_names) < _EXAMPLES:
                self.spared_names.append(f"{printing.readable(key)} ({why})")
            spared.append(key)
            if len(spared) >= _BATCH:
                self._ledger.spare(spared)
                spared.clear()
        self._ledger.spare(spared)
        if self._frozen and self.spared > begun:
            raise Failure(
                transfer.SOURCE_UNREADABLE,
                transfer.REASON_SOURCE_UNREADABLE,
                f"{self.spared - begun} object(s) of the mirror {self._place} would have been deleted although the source has their files or cannot be"
                f" looked at: {quote_names(self.spared_names, self.spared - begun)}. A copy of the volume does not change while it is read, so it could"
                f" not be read as a whole. {tell_deletions(self.count)}, and it is tried again. If it comes back, look at the volume's storage and at the"
                " log of the node's kernel.",
                retryable=True,
                problems=tuple(self.spared_names),
            )
