"""What must be true of source and destination before a byte is moved (law L3). Pure decisions.

Each function returns None when all is well, or the Failure to raise: its sentence names what was found and every way out.
"""

import math

import msgspec

from datamover.agent.environment import Owner
from datamover.agent.errors import Failure
from datamover.agent.printing import quote_names
from datamover.api import transfer

_FEW = 10
"""So many files are a matter for the share, whatever has come instead; of fewer, what follows them counts (see `rotation`)."""
_LARGE = 1 << 20
"""Bytes from which the loss of a few files of many is a matter for their bytes alone."""


class Mirror(msgspec.Struct, frozen=True, kw_only=True):
    """A mirror's destination as it was found.

    `owner` is what the marker says, None without one. `foreign` counts the objects that no run of this mirror wrote,
    `foreign_names` gives the first few; `mirrored` what it wrote and could delete, `stale` what this run would delete; `source` the
    objects that the source has. Earlier runs wrote `written` objects of `written_bytes` (`mirrored` without what is just being adopted);
    the files of `gone` of them, of `gone_bytes`, are neither there nor renamed, but `followed` of these, of `followed_bytes`, have files that
    follow them in a row of dates or numbers; those of `shrunk` have less than a tenth of their size. The source has
    `source_bytes`. `nested` names folders below that are another mover's destination. `strangers` are the volumes, other than this one,
    that the last runs here were of; `unexplained` names runs that may have been the last here and of which no record says whose they were.
    """

    place: str
    owner: Owner | None
    objects: int = 0
    foreign: int = 0
    foreign_names: tuple[str, ...] = ()
    mirrored: int = 0
    stale: int = 0
    written: int = 0
    gone: int = 0
    gone_bytes: int = 0
    followed: int = 0
    followed_bytes: int = 0
    shrunk: int = 0
    source: int = 0
    source_bytes: int = 0
    written_bytes: int = 0
    nested: tuple[str, ...] = ()
    strangers: tuple[Owner, ...] = ()
    unexplained: tuple[str, ...] = ()


def check_source_names(
    *,
    too_long: tuple[str, ...],
    too_long_count: int,
    collisions: tuple[str, ...],
    link_like: tuple[str, ...] = (),
    link_like_count: int = 0,
    misspelt: tuple[str, ...] = (),
    misspelt_count: int = 0,
) -> Failure | None:
    """Refuse a source with names that the store cannot hold, before anything is moved: a copy without them is no backup."""
    if too_long:
        return Failure(
            transfer.SOURCE_UNREADABLE,
            transfer.REASON_NAME_TOO_LONG,
            f"{_files(too_long_count)} in the source {_have(too_long_count)} a path of more than 1024 bytes together with the destination's prefix,"
            f" which object stores do not take: {quote_names(too_long, too_long_count)}. Shorten the names, use a shorter {transfer.CUSTOM_PATH_PREFIX}, or exclude them (RCLONE_EXCLUDE)."
            " Nothing was moved.",
            problems=too_long,
        )
    if collisions:
        return Failure(
            transfer.SOURCE_UNREADABLE,
            transfer.REASON_NAME_COLLISION,
            f"Two paths of the source would become one object: {quote_names(collisions, len(collisions))}. A symbolic link x is kept as"
            " x.rclonelink, and a file of that name is there too. Rename one of them. Nothing was moved.",
            problems=collisions,
        )
    if misspelt:
        return Failure(
            transfer.SOURCE_UNREADABLE,
            transfer.REASON_NAME_REFUSED,
            f"{_files(misspelt_count)} of the source, symbolic links, {_have(misspelt_count)} a name that rclone keeps under another one and does"
            f" not bring back: {quote_names(misspelt, misspelt_count)}. (It is the wide full stop of Asian scripts.) Rename or remove them, or"
            " exclude them (RCLONE_EXCLUDE). Nothing was moved.",
            problems=misspelt,
        )
    if link_like:
        return Failure(
            transfer.SOURCE_UNREADABLE,
            transfer.REASON_NAME_REFUSED,
            f"{_files(link_like_count)} of the source {_have(link_like_count)} a name that ends with .rclonelink, which rclone takes for a symbolic"
            f" link and cannot read: {quote_names(link_like, link_like_count)}. (Brought back without --links, links become such files.) Rename or"
            " remove them, exclude them (RCLONE_EXCLUDE), or set RCLONE_SKIP_LINKS where no links are to be kept. Nothing was moved.",
            problems=link_like,
        )
    return None


def check_reserved(reserved: bool) -> Failure | None:
    """Refuse to mirror a source that has `.datamover` at its top: it would be written into our own records."""
    if not reserved:
        return None
    return Failure(
        transfer.GUARD,
        transfer.REASON_RESERVED_NAME,
        f"The source has {transfer.STATE_FOLDER!r} at its top, where datamover keeps its records at the destination"
        " (a copy of a destination, records included?). Rename or remove it, or set addTimestampPrefix. Nothing was moved.",
        problems=(transfer.STATE_FOLDER,),
    )


def check_owner(mirror: Mirror, *, owner: Owner, adopt: bool) -> Failure | None:
    """Refuse a destination that is not, or not only, this volume's mirror, unless it is to be adopted."""
    if mirror.nested and (adopt or mirror.owner != owner):
        return _not_owned(
            f"{mirror.place} holds other movers' destinations in folders below it: {quote_names(mirror.nested, len(mirror.nested))};"
            " a mirror here would sweep them away, so it cannot be adopted either",
            ways=f"Set {transfer.CUSTOM_PATH_PREFIX} to a prefix of its own, or addTimestampPrefix.",
            problems=mirror.nested,
        )
    if adopt:
        return None
    if mirror.owner is not None and not mirror.owner.pvc:
        return _not_owned(f"{mirror.place} has a marker that names no volume, so nobody knows whose mirror it is")
    if mirror.owner is not None and mirror.owner != owner:
        return _not_owned(f"{mirror.place} is the mirror of {mirror.owner}, not of {owner}")
    lost = (
        ""
        if mirror.owner
        else f" Its marker ({transfer.STATE_FOLDER}/owner.json) is lost, so the records of its runs have to tell whose it is."
    )
    if mirror.strangers:
        those = " and ".join(map(str, mirror.strangers))
        return _not_owned(f"{mirror.place} was last mirrored to from {those}, not from {owner} alone.{lost}")
    if mirror.owner is None and mirror.unexplained and mirror.objects:
        those = quote_names(mirror.unexplained, len(mirror.unexplained))
        return _not_owned(
            f"{mirror.place} holds objects, and no record says whose the run(s) {those} were, which mirrored there last.{lost}",
            problems=mirror.unexplained,
        )
    if mirror.foreign:
        those = quote_names(mirror.foreign_names, mirror.foreign)
        return _not_owned(
            f"{mirror.place} holds {mirror.foreign} object{'s' if mirror.foreign > 1 else ''} that no run of this mirror wrote, or of which the records are lost: {those}",
            problems=mirror.foreign_names,
        )
    return None


def check_listing(hidden: tuple[str, ...], count: int, place: str) -> Failure | None:
    """Refuse to go by a listing that leaves out objects which are there: what it says of all others is worth no more."""
    if not count:
        return None
    return Failure(
        transfer.GUARD,
        transfer.REASON_LISTING_INCOMPLETE,
        f"The listing of {place} is not whole: it does not show {quote_names(hidden, count)}, which {'is' if count == 1 else 'are'} there when asked"
        " for by name. Nothing was moved or deleted. It is tried again; if it comes back, look at the store, which lists less than it holds."
        " If an object that it names is not needed any more, it may be deleted there by hand.",
        retryable=True,
        problems=hidden,
    )


def check_later_copy(later: tuple[str, str], *, moment: str, now: str, place: str) -> Failure | None:
    """Refuse to mirror a copy of `moment` where a `later` one (moment and run) was mirrored, or was begun to be.

    Moments and `now` are `YYYY-MM-DD-HHMMSS`. A moment after `now` is of a clock that went wrong; adoption forgets it.
    """
    at, run_id = later
    if at <= moment:
        return None
    way = (
        "That moment has not come yet, so a clock has gone wrong. If that run is not newer, adopt the destination (spec.guards.adoptDestination:"
        " true) for one run."
        if at > now
        else "To keep the newer backup nothing has to be done. For one of the volume as it is now, create a new DataMover: it makes a copy of its"
        " own. A retry would move the same copy again."
    )
    return Failure(
        transfer.GUARD,
        transfer.REASON_NEWER_BACKUP_EXISTS,
        f"{place} holds a newer backup of this volume, whole or in part: run '{run_id}' moved a copy of {at} (UTC) or later, and this run has one of"
        f" {moment}. The older one does not replace it. Nothing was moved or deleted. {way}",
        problems=(run_id,),
    )


def check_source_size(
    mirror: Mirror, *, allow_empty: bool, max_delete_percent: float, max_delete: int | None
) -> Failure | None:
    """Refuse a source that is empty, or with which so much of the mirror would be lost that something must have gone wrong with it.

    Three things count as such, each with more than the share. Objects are gone, ten or more, whatever the source has instead: a volume that
    was made anew may have more files than the one before. Objects and their bytes are gone, however few they are: volumes of disks and
    dumps have few files; of several large ones the bytes alone are enough. Or objects are gone or shrunk to a tenth, and so is the whole in
    bytes. A file that another one follows may go, and logs be rotated. Renamed files are not lost, where their checksums prove it.
    """
    if not mirror.source and mirror.mirrored:
        if allow_empty:
            return None
        return Failure(
            transfer.GUARD,
            transfer.REASON_EMPTY_SOURCE,
            f"The source has no files, but its mirror {mirror.place} holds {mirror.mirrored}. Nothing was deleted. If the volume is meant"
            f" to be empty, allow it explicitly (spec.guards.allowEmptySource: true); else look at the volume and its copy.",
        )
    few = _FEW if max_delete_percent else 1
    if mirror.gone >= few and mirror.gone * 100 > max_delete_percent * mirror.written:
        return _shrunk(
            f"The source has {_files(mirror.source)}. Of the {mirror.written} objects of its mirror {mirror.place}, the files of {mirror.gone}"
            f" ({_percent(mirror.gone, mirror.written)}) are gone, not renamed",
            max_delete_percent,
        )
    left, left_bytes = mirror.gone - mirror.followed, mirror.gone_bytes - mirror.followed_bytes
    many = left * 100 > max_delete_percent * mirror.written or (left > 1 and left_bytes >= _LARGE)
    if many and left_bytes * 100 > max_delete_percent * mirror.written_bytes:
        return _shrunk(
            f"The source has {_files(mirror.source)}. Of the {mirror.written} objects of its mirror {mirror.place}, with {mirror.written_bytes} bytes, the"
            f" files of {left} ({_percent(left, mirror.written)}), with {left_bytes} bytes ({_percent(left_bytes, mirror.written_bytes)}), are gone,"
            " not renamed, and none of the same name but for a date or a number has come instead",
            max_delete_percent,
        )
    lost = mirror.gone + mirror.shrunk
    lost_bytes = mirror.written_bytes - mirror.source_bytes
    if (
        lost * 100 > max_delete_percent * mirror.written
        and lost_bytes * 100 > max_delete_percent * mirror.written_bytes
    ):
        what = [f"the files of {mirror.gone} are gone, not renamed"] if mirror.gone else []
        what += [f"those of {mirror.shrunk} have shrunk to less than a tenth"] if mirror.shrunk else []
        return _shrunk(
            f"The source has {_files(mirror.source)} of {mirror.source_bytes} bytes. Of the {mirror.written} objects of its mirror {mirror.place}"
            f" with {mirror.written_bytes} bytes, {' and '.join(what)}: {lost} of them ({_percent(lost, mirror.written)}) and"
            f" {_percent(lost_bytes, mirror.written_bytes)} of the bytes would be lost",
            max_delete_percent,
        )
    adopted = mirror.mirrored - mirror.written
    if adopted and mirror.source < mirror.mirrored and mirror.stale * 100 > max_delete_percent * mirror.mirrored:
        # what is being adopted may go, but a source that is smaller than all that looks like the wrong one
        return _shrunk(
            f"The source has {_files(mirror.source)}, and {mirror.place}, which is to be adopted, {mirror.mirrored} objects; {mirror.stale} of them"
            f" ({_percent(mirror.stale, mirror.mirrored)}) would be deleted",
            max_delete_percent,
        )
    if max_delete is not None and mirror.stale > max_delete >= 0:
        return Failure(
            transfer.GUARD,
            transfer.REASON_SOURCE_SHRUNK,
            f"{mirror.stale} objects of the mirror {mirror.place} would be deleted, and RCLONE_MAX_DELETE allows {max_delete}. Nothing was moved"
            " or deleted.",
        )
    return None


def _shrunk(finding: str, max_delete_percent: float) -> Failure:
    return Failure(
        transfer.GUARD,
        transfer.REASON_SOURCE_SHRUNK,
        f"{finding}, and {max_delete_percent:g} % is allowed. Nothing was moved or deleted. Look at the volume: is it the right one, and"
        f" are its files whole? If all that is meant, raise spec.guards.maxDeletePercent for this run ({transfer.MAX_DELETE_PERCENT} for a run"
        " by hand); 100 allows all.",
    )


def _percent(part: int, whole: int) -> str:
    """Return a share for people; never rounded down to what is allowed."""
    return f"{math.ceil(1000 * part / whole) / 10:g} %"


def check_busy(others: tuple[str, ...], place: str) -> Failure | None:
    """Refuse to go on, above all to delete, when another run has begun to mirror to the same place."""
    if not others:
        return None
    return Failure(
        transfer.GUARD,
        transfer.REASON_DESTINATION_BUSY,
        f"Another run mirrors to {place} at the same time: {quote_names(others, len(others))}. Nothing was deleted. Let only one DataMover at a time"
        f" mirror there, or give each its own {transfer.CUSTOM_PATH_PREFIX}.",
        retryable=True,
        problems=others,
    )


def _not_owned(finding: str, *, ways: str | None = None, problems: tuple[str, ...] = ()) -> Failure:
    out = ways or (
        f"Ways out: set {transfer.CUSTOM_PATH_PREFIX} to a prefix of its own, set addTimestampPrefix (such copies delete nothing), or, if"
        f" what lies there may be replaced and deleted, adopt the destination (spec.guards.adoptDestination: true)."
    )
    return Failure(
        transfer.GUARD,
        transfer.REASON_DESTINATION_NOT_OWNED,
        f"{finding.rstrip('.')}. Nothing was moved or deleted. {out}",
        problems=problems,
    )


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"
