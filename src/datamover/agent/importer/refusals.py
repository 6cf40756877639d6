"""Why an import ends: the failures that more than one way of filling a disk knows. Pure.

Each sentence says what is wrong with what, and the way out.
"""

import errno
from typing import Final

from datamover.agent.errors import Failure
from datamover.agent.importer import formats
from datamover.api import transfer

_CONVERT: Final = "Convert it (`qemu-img convert -O raw`, or `-O qcow2`) and serve the result."


def too_large(size: int, limit: int, *, what: str) -> Failure:
    """Return what becomes of a disk that does not fit. `size` is how much there is at least."""
    return Failure(
        transfer.NO_SPACE,
        transfer.REASON_DESTINATION_TOO_SMALL,
        f"The {what} has {size} bytes or more, and the disk may have {limit}: ask for a larger one, in a new DataVolume.",
        retryable=False,
    )


def of_volume(error: OSError) -> Failure:
    """Return what an error while writing to the volume means."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return Failure(
            transfer.NO_SPACE,
            transfer.REASON_NO_SPACE,
            "No space is left in the volume: ask for a larger one, or look at what else its storage holds.",
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return Failure(
            transfer.DENIED,
            transfer.REASON_ACCESS_DENIED,
            f"The volume cannot be written to: {error.strerror}. Look at its access mode, and whether its driver gives it to the group of the Pod (fsGroup).",
        )
    return Failure(
        transfer.INTERNAL,
        transfer.REASON_ENGINE_FAILED,
        f"The volume fails: {error.strerror or error}. Look at the storage.",
    )


def not_as_written() -> Failure:
    """Return what it means that the storage does not give back what it was given."""
    return Failure(
        transfer.VERIFY,
        transfer.REASON_VERIFICATION_FAILED,
        "What was read back from the disk is not what was written. It is tried again from the beginning; if it happens again, look at the storage, or at who"
        " else writes there.",
    )


def not_an_image(found: str) -> Failure:
    """Return what becomes of bytes that are no disk: nothing at all, or a web page."""
    what = "nothing: zero bytes" if found == formats.EMPTY else found
    return Failure(
        transfer.CONFIG,
        transfer.REASON_NOT_AN_IMAGE,
        f"What came is {what}, and no image. Look at the URL: it may lead to a page with a link, or to a login.",
    )


def of_format(found: str, *, within: str = "") -> Failure:
    """Return what becomes of a format that is not read, or not within another one."""
    place = f" within {within}" if within else ""
    return Failure(
        transfer.CONFIG,
        transfer.REASON_IMAGE_REFUSED,
        f"The image is {found}{place}, which is not read; raw and qcow2 are, as they are or packed once with gzip or xz. {_CONVERT}",
    )


def of_image(why: str) -> Failure:
    """Return what becomes of an image that is not taken, for what is in it."""
    return Failure(transfer.CONFIG, transfer.REASON_IMAGE_REFUSED, f"The image is not taken: {why}. {_CONVERT}")


def damaged(why: str) -> Failure:
    """Return what becomes of an image that cannot be read to its end. The next attempt may get another one."""
    return Failure(
        transfer.SOURCE_CHANGED,
        transfer.REASON_IMAGE_DAMAGED,
        f"The image cannot be read: {why}. It is tried again from the beginning; if it happens again, look at what the server has.",
    )


def of_unknown_length() -> Failure:
    """Return what becomes of an answer that nobody can tell from the beginning of one: it just ends, as it does when it is cut."""
    return Failure(
        transfer.CONFIG,
        transfer.REASON_LENGTH_UNKNOWN,
        "The server says neither how long the object is (Content-Length) nor where it ends (chunks), so that a cut would look like its end. Name a checksum (of an http source), which"
        " proves the whole, in a new DataVolume; or let the server, or the proxy before it, say the length.",
    )


def other_checksum(algorithm: str, digits: str) -> Failure:
    """Return what becomes of bytes that are not the ones that were asked for."""
    return Failure(
        transfer.VERIFY,
        transfer.REASON_CHECKSUM_MISMATCH,
        f"The {algorithm} of what came is {digits}, which is not the checksum of the object. Look at which of the two is meant; nothing of it is kept as a disk.",
    )


def no_converter() -> Failure:
    """Return what becomes of qcow2 where nothing can convert it."""
    return Failure(
        transfer.CONFIG,
        transfer.REASON_ENGINE_MISSING,
        "The image is qcow2, and this mover's image has no qemu-img. Use an image of datamover's that has it, or serve the image raw (it may be packed with gzip or xz).",
    )


def no_scratch() -> Failure:
    """Return what becomes of qcow2 that has no room before it is converted."""
    return Failure(
        transfer.NO_SPACE,
        transfer.REASON_NO_LOCAL_SPACE,
        "The image is qcow2, which is kept in the mover's own scratch space before it is converted, and there is too little: let the node have more, or serve the image raw.",
    )
