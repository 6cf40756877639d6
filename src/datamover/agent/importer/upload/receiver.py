"""The server that waits for an upload: who may send, and one at a time.

Connections are accepted in a thread, and each is proved in one of its own. What is allowed in is handed to the main thread, which reads the body and
fills the disk there: signals and the deadline end it like any other attempt.
"""

import contextlib
import queue
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator
from http import HTTPStatus
from typing import Final

import msgspec

from datamover.agent.children import Stop
from datamover.agent.errors import Failure, Misconfigured
from datamover.agent.importer.upload import requests
from datamover.agent.importer.upload.body import Body
from datamover.agent.importer.upload.requests import Head, Refusal
from datamover.agent.importer.upload.wire import CutError, Wire
from datamover.api import outside, transfer, upload

_MOST_CONNECTIONS: Final = 32
_HEAD_SECONDS: Final = 15.0
"""For TLS and the head of a request, together."""
IDLE_SECONDS: Final = 60.0
"""A client that sends nothing for so long is gone: another one may begin."""
_LOOK: Final = 0.2
_BACKLOG: Final = 16

_STATUS: Final = {
    transfer.NO_SPACE: HTTPStatus.INSUFFICIENT_STORAGE,
    transfer.VERIFY: HTTPStatus.UNPROCESSABLE_ENTITY,
    transfer.NETWORK: HTTPStatus.BAD_REQUEST,
    transfer.CONFIG: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    transfer.INTERRUPTED: HTTPStatus.SERVICE_UNAVAILABLE,
}


class Offer(msgspec.Struct, frozen=True):
    """An upload that was let in, and waits to be taken."""

    wire: Wire
    body: Body
    expects: bool
    limit: float
    check: Callable[[], None]

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes; see `Body.pieces`. A client that waits for our word gets it now, and its time begins."""
        self.wire.expect(seconds=self.limit, check=self.check)
        if self.expects:
            with contextlib.suppress(OSError):
                self.wire.send(requests.CONTINUE)
        yield from self.body.pieces()


def load_tls(certificate: str, key: str) -> ssl.SSLContext:
    """Return the settings of the server. Raises Misconfigured."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(
            f"The receiver's certificate cannot be used: {error.strerror or type(error).__name__}."
        ) from None
    return context


class Receiver:
    """Listens. `key` proves tokens for the DataVolume `uid`; `archive` tells what is wanted; `say` takes sentences for people.

    A client may be silent for `idle` seconds, and one upload takes `limit` at most.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext,
        key: bytes,
        uid: str,
        archive: bool,
        stop: Stop,
        say: Callable[[str], None],
        port: int,
        idle: float = IDLE_SECONDS,
        limit: float = upload.DEFAULT_LIMIT,
    ) -> None:
        self._tls = tls
        self._key = key
        self._uid = uid
        self._archive = archive
        self._stop = stop
        self._say = say
        self._idle = idle
        self._limit = limit
        self._socket = _listen(port)
        self._slots = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self._busy = threading.Lock()
        self._offers: queue.Queue[Offer] = queue.Queue(1)
        self._closed = False

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._socket.getsockname()[1]

    @contextlib.contextmanager
    def listening(self) -> Generator[None]:
        """Accept connections until the block is left."""
        accepting = threading.Thread(target=self._accept, daemon=True)
        accepting.start()
        try:
            yield
        finally:
            self._closed = True
            accepting.join()
            self._socket.close()

    def take(self) -> Offer:
        """Return the next upload that is let in. Raises Stopped."""
        while True:
            self._stop.check()
            with contextlib.suppress(queue.Empty):
                return self._offers.get(timeout=_LOOK)

    def accept(self, offer: Offer, *, disk: int) -> None:
        """Tell a client that what it sent lies on the volume. It may be gone by now, which changes nothing."""
        answer = upload.Received(
            checksum=offer.body.checksum, bytes=offer.body.received, disk=disk, message="the disk is complete"
        )
        self._end(offer, HTTPStatus.OK, answer)

    def refuse(self, offer: Offer, failure: Failure) -> None:
        """Tell a client why what it sent is not taken, and let the next one in."""
        too_large = failure.reason in {transfer.REASON_TOO_LARGE, transfer.REASON_DESTINATION_TOO_SMALL}
        status = _STATUS.get(failure.failure_class, HTTPStatus.INTERNAL_SERVER_ERROR)
        if too_large:
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        answer = upload.Received(bytes=offer.body.received, reason=failure.reason, message=failure.message)
        self._end(offer, status, answer)

    def _end(self, offer: Offer, status: HTTPStatus, answer: upload.Received) -> None:
        with contextlib.suppress(OSError):
            offer.wire.send(requests.write(status, answer))
        self._busy.release()
        offer.wire.close(unread=not offer.body.complete)

    # Who may send.

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:
                time.sleep(_LOOK)  # too many files are open: some of them are closed soon
                continue
            if not self._slots.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._meet, args=(connection,), daemon=True).start()

    def _meet(self, connection: socket.socket) -> None:
        """Hear what a client wants. Whatever it does, the others are served."""
        try:
            self._greet(connection)
        except (OSError, CutError):
            connection.close()
        finally:
            self._slots.release()

    def _greet(self, connection: socket.socket) -> None:
        end = time.monotonic() + _HEAD_SECONDS
        secure = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        try:
            _shake_hands(secure, end=end)
        except BaseException:
            secure.close()
            raise
        wire = Wire(secure, idle=self._idle, check=self._check_open)
        try:
            raw = wire.read_until(b"\r\n\r\n", limit=requests.HEAD_LIMIT, seconds=end - time.monotonic())
        except CutError:
            wire.close(unread=False)
            return
        method = ""
        try:
            head = requests.parse(raw)
            method = head.method
            if self._is_answered(head, wire):
                return
            self._let_in(head, wire)
        except Refusal as refusal:
            answer = upload.Received(reason=refusal.reason, message=refusal.message)
            with contextlib.suppress(OSError):
                wire.send(requests.write(refusal.status, answer, headers=refusal.headers, body=method != "HEAD"))
            wire.close(unread=method != "HEAD")

    def _check_open(self) -> None:
        if self._closed:
            raise CutError("the receiver has ended")

    def _is_answered(self, head: Head, wire: Wire) -> bool:
        """Answer what is no upload. Raises Refusal."""
        if head.path == upload.HEALTH_PATH:
            if head.method not in {"GET", "HEAD"}:
                raise _wrong_method("GET, HEAD")
            wire.send(requests.write(HTTPStatus.OK, upload.Received(message="it listens"), body=head.method == "GET"))
            wire.close(unread=False)
            return True
        if head.path not in {upload.PATH, upload.ARCHIVE_PATH}:
            raise Refusal(
                HTTPStatus.NOT_FOUND,
                upload.REASON_BAD_REQUEST,
                f"there is nothing at {outside.clean(head.path, limit=80)}: send a disk to {upload.PATH}, a tar of files to {upload.ARCHIVE_PATH}",
            )
        if head.method not in {"PUT", "POST", "HEAD"}:
            raise _wrong_method("PUT, POST, HEAD")
        try:
            upload.check(head.token, key=self._key, uid=self._uid, now=time.time())
        except upload.TokenRefused as error:
            raise Refusal(
                HTTPStatus.UNAUTHORIZED, upload.REASON_TOKEN_REFUSED, str(error), headers={"WWW-Authenticate": "Bearer"}
            ) from None
        if head.method != "HEAD":
            return False
        if self._busy.locked():
            raise _busy()
        wire.send(requests.write(HTTPStatus.OK, upload.Received(message="it waits for an upload"), body=False))
        wire.close(unread=False)
        return True

    def _let_in(self, head: Head, wire: Wire) -> None:
        """Let an upload in, when no other one is under way. Raises Refusal."""
        if (head.path == upload.ARCHIVE_PATH) != self._archive:
            wanted, place = ("a tar of files", upload.ARCHIVE_PATH) if self._archive else ("a disk", upload.PATH)
            raise Refusal(
                HTTPStatus.BAD_REQUEST,
                upload.REASON_BAD_REQUEST,
                f"the DataVolume's contentType wants {wanted}: send it to {place}",
            )
        body = Body(wire, length=requests.length_of(head), wanted=requests.checksum_of(head))
        if not self._busy.acquire(blocking=False):
            raise _busy()
        self._offers.put(Offer(wire, body, head.expects, self._limit, self._stop.check))


def _shake_hands(secure: ssl.SSLSocket, *, end: float) -> None:
    """Begin TLS within the time: a client may send a byte, and another one much later. Raises OSError."""
    secure.setblocking(False)
    while True:
        left = end - time.monotonic()
        try:
            secure.do_handshake()
        except ssl.SSLWantReadError:
            select.select([secure], [], [], max(0.0, left))
        except ssl.SSLWantWriteError:
            select.select([], [secure], [], max(0.0, left))
        else:
            return
        if left <= 0:
            raise TimeoutError


def _listen(port: int) -> socket.socket:
    try:
        found = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG)
    except (OSError, ValueError):
        try:
            found = socket.create_server(("", port), backlog=_BACKLOG)  # a node without IPv6
        except OSError as error:
            raise Misconfigured(f"Port {port} cannot be listened on: {error.strerror}.") from None
    found.settimeout(_LOOK)
    return found


def _busy() -> Refusal:
    return Refusal(
        HTTPStatus.SERVICE_UNAVAILABLE,
        upload.REASON_BUSY,
        "another upload is under way, and there is one at a time: wait until it has ended",
        headers={"Retry-After": "10"},
    )


def _wrong_method(allowed: str) -> Refusal:
    return Refusal(
        HTTPStatus.METHOD_NOT_ALLOWED,
        upload.REASON_BAD_REQUEST,
        f"this is not done here: use {allowed}",
        headers={"Allow": allowed},
    )
