"""An importer that waits for its bytes: until an upload was taken, whole and on the disk."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from datamover.agent.children import Stop
from datamover.agent.environment import Reader
from datamover.agent.errors import Failure, Misconfigured, Stopped
from datamover.agent.importer.upload.receiver import Offer, Receiver, load_tls
from datamover.agent.importer.upload.taken import Taken
from datamover.agent.progress import Reporter
from datamover.api import importer, outside, transfer, upload

_LONGEST_KEY = 4096


class _Sized(Protocol):
    """What became of an upload."""

    @property
    def size(self) -> int:
        """Bytes of the disk, or of all files."""
        ...


F = TypeVar("F", bound=_Sized)


def open_receiver(
    environ: Mapping[str, str], *, place: Callable[[str], str], archive: bool, stop: Stop, say: Callable[[str], None]
) -> Receiver:
    """Return the receiver that the environment asks for. `place` is where a path of the container is here. Raises Misconfigured."""
    read = Reader(environ)
    uid, port = read.text(upload.UID), read.text(transfer.LISTEN_PORT, str(importer.UPLOAD_PORT))
    if not uid:
        read.problems.append(f"{upload.UID} is not set; it is the UID of the DataVolume")
    try:
        number = outside.integer(port, low=0, high=65535)
    except outside.Unusable:
        number = 0
        read.problems.append(f"{transfer.LISTEN_PORT} is {port!r}; write a number from 0 to 65535")
    limit = read.number(upload.LIMIT, upload.DEFAULT_LIMIT, low=1, high=1e9)
    if read.problems:
        raise Misconfigured(f"The importer's environment is wrong: {'; '.join(read.problems)}.")
    folder = place(importer.TLS_PATH)
    return Receiver(
        tls=load_tls(f"{folder}/{upload.CERTIFICATE}", f"{folder}/{upload.PRIVATE_KEY}"),
        key=_read_key(f"{place(importer.TOKEN_PATH)}/{upload.KEY}"),
        uid=uid,
        archive=archive,
        stop=stop,
        say=say,
        port=number,
        limit=limit,
    )


def receive(
    receiver: Receiver, fill: Callable[[Offer], F], *, report: Reporter, say: Callable[[str], None]
) -> tuple[F, Taken]:
    """Wait for an upload and let `fill` take it; return what became of it. One that fails is begun anew. Raises Stopped."""
    with receiver.listening():
        say(f"Waiting for an upload on port {receiver.port} ...")
        while True:
            report.phase(transfer.AWAITING)
            offer = receiver.take()
            say("An upload begins.")
            report.phase(transfer.RECEIVING)
            try:
                filled = fill(offer)
                if not offer.body.complete:
                    raise AssertionError("an upload was taken before its end")
            except Failure as failure:
                say(f"{failure.message} Another upload is waited for.")
                receiver.refuse(offer, failure)
                continue
            except Stopped:
                receiver.refuse(
                    offer,
                    Failure(
                        transfer.INTERRUPTED,
                        transfer.REASON_INTERRUPTED,
                        "the receiver was told to stop: send it again",
                    ),
                )
                raise
            receiver.accept(offer, disk=filled.size)
            return filled, Taken(offer.body.received, offer.body.checksum)


def _read_key(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - start-up budget
            key = file.read(_LONGEST_KEY)
    except OSError as error:
        raise Misconfigured(f"The key of tokens cannot be read: {error.strerror}.") from None
    if len(key) < upload.KEY_BYTES:
        raise Misconfigured(f"The key of tokens is shorter than {upload.KEY_BYTES} bytes.")
    return key
