"""Why an end of the block differ gives up, as one byte and a sentence on the wire, and as a failure of the agent."""

import errno
from typing import Final

from datamover.agent.errors import Failure
from datamover.api import outside, transfer

PROTOCOL: Final = 1
TOO_SMALL: Final = 2
EMPTY_SOURCE: Final = 3
NO_SPACE: Final = 4
DENIED: Final = 5
BROKEN: Final = 6
MISMATCH: Final = 7
BUSY: Final = 8
UNREADABLE: Final = 9
STOPPED: Final = 10

_MEANINGS: Final = {
    PROTOCOL: (transfer.CONFIG, transfer.REASON_PEER_INCOMPATIBLE, False),
    TOO_SMALL: (transfer.NO_SPACE, transfer.REASON_DESTINATION_TOO_SMALL, False),
    EMPTY_SOURCE: (transfer.GUARD, transfer.REASON_EMPTY_SOURCE, False),
    NO_SPACE: (transfer.NO_SPACE, transfer.REASON_NO_SPACE, True),
    DENIED: (transfer.DENIED, transfer.REASON_ACCESS_DENIED, False),
    BROKEN: (transfer.INTERNAL, transfer.REASON_ENGINE_FAILED, True),
    MISMATCH: (transfer.VERIFY, transfer.REASON_VERIFICATION_FAILED, True),
    BUSY: (transfer.DENIED, transfer.REASON_DESTINATION_BUSY, True),
    UNREADABLE: (transfer.SOURCE_UNREADABLE, transfer.REASON_SOURCE_UNREADABLE, True),
    STOPPED: (transfer.NETWORK, transfer.REASON_SERVER_UNREACHABLE, True),
}

NOT_OURS: Final = (
    "The other side does not speak datamover's protocol of block devices: block volumes can be synchronized between two movers of datamover only."
    " Let datamover run on both sides, or use a volume with a file system."
)


def read(payload: bytes) -> Failure:
    """Return what the peer refuses with as a failure: its sentence is quoted, clean and cut."""
    meaning = _MEANINGS.get(payload[0] if payload else 0)
    if meaning is None:
        meaning = _MEANINGS[BROKEN]
    failure_class, reason, retryable = meaning
    said = outside.clean(payload[1:].decode("utf-8", "replace"), limit=300) or "no reason given"
    return Failure(failure_class, reason, f"The other side refuses: {said}", retryable=retryable)


def refusal(code: int, sentence: str) -> Failure:
    """Return a refusal of our own as a failure."""
    failure_class, reason, retryable = _MEANINGS[code]
    return Failure(failure_class, reason, sentence, retryable=retryable)


def code_of(failure: Failure) -> int:
    """Return the byte for a failure of ours."""
    return next((code for code, (_, reason, _) in _MEANINGS.items() if reason == failure.reason), BROKEN)


def of_destination(error: OSError, *, path: str) -> Failure:
    """Return what an error while writing means."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return refusal(NO_SPACE, "No space is left at the destination: give its volume more.")
    if error.errno == errno.EBUSY:
        return refusal(BUSY, f"The destination {path} is in use, mounted perhaps: end what uses it.")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return refusal(
            DENIED, f"The destination {path} cannot be written to: {error.strerror}. Look at the volume's access mode."
        )
    return refusal(BROKEN, f"The destination {path} fails: {error.strerror}. Look at the storage.")


def of_source(error: OSError, *, path: str) -> Failure:
    """Return what an error while reading means."""
    return refusal(UNREADABLE, f"The source {path} cannot be read: {error.strerror}. Look at the storage.")
