"""One request, and its answer as it comes. Blocking, and watched: whoever waits for a server is woken when the attempt is to end, when nothing comes
within the patience, and when what comes is less than a trickle.

Guarantees: the length of an answer is what its header said, no byte less and none more; bytes in a coding that nobody takes off are not handed on;
handshake, head and body are bounded in time; no word of a server's is in an error, for it may be a secret that it has heard from us.
"""

import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Final, Self

from datamover.agent.children import Stop
from datamover.agent.importer.addresses import HTTPS, Address, AddressError, is_near
from datamover.agent.importer.headers import Header
from datamover.agent.importer.proxies import find_proxy
from datamover.api import outside

SLOWEST: Final = 1024
"""Bytes a second. Who sends less keeps us waiting on purpose, or is as good as gone."""
_CONNECTING: Final = 30.0
_LOOK: Final = 0.1
_LINGERING: Final = 0.2
"""Seconds in which a server that sends more than it said shows itself."""
_SMALL: Final = 1 << 16
_MOST_BEFORE: Final = 16
_CODINGS: Final = frozenset({"", "identity", "gzip", "x-gzip"})
"""What the bytes may be called. What is gzip shows itself, and is unpacked like any file that is; nothing shows the others."""
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_TUNNEL: Final = re.compile(r"Tunnel connection failed: ([0-9]{3})\b")


class CutError(Exception):
    """The server could not be asked, or its answer ended early. The message is a sentence without a full stop; another request may do better."""


class TrustError(Exception):
    """No other request will do better: the server's certificate is not trusted. The message is a sentence without a full stop."""


class LieError(Exception):
    """What the server sends is not what its header said, or the header cannot be, so nobody knows what the object is. The message is a sentence without
    a full stop.
    """


class _Answer(http.client.HTTPResponse):
    """An answer. What a server says before it (1xx) is no answer yet."""

    def begin(self) -> None:
        """Read the head. Raises what the base class does, and HTTPException where no answer follows what was said before it."""
        for _ in range(_MOST_BEFORE):
            super().begin()
            if self.status == http.client.SWITCHING_PROTOCOLS or self.status >= http.client.OK:
                return
            vars(self).update(headers=None, msg=None)  # the mark of the base class for a head that is not read yet
        raise http.client.HTTPException


class Watch:
    """A thread that wakes whoever waits at a socket. `patience`: seconds of waiting within which `SLOWEST` of them must come."""

    def __init__(self, stop: Stop, *, patience: float) -> None:
        self._stop = stop
        self._patience = patience
        self._left = patience
        self._came = 0
        self._begun: float | None = None
        self._socket: socket.socket | None = None
        self._over = threading.Event()
        self.expired = False
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def connect(self, place: tuple[str, int], timeout: float, source: tuple[str, int] | None) -> socket.socket:
        """Connect, and wake whoever waits at this connection, from before anything is said: a proxy and a handshake may take for ever as well."""
        connected = socket.create_connection(place, timeout, source)
        # a handle of our own: TLS takes the other one over before its handshake
        self._socket = connected.dup()
        return connected

    def wait(self, receive: Callable[[], int]) -> int:
        """Return what `receive` returns, a number of bytes. Only the time in here counts: the disk may be slow as well."""
        begun = self._begun = time.monotonic()
        try:
            count = receive()
        finally:
            self._begun = None
            self._left -= time.monotonic() - begun
        self._came += count
        if self._came >= self._patience * SLOWEST:
            self._left, self._came = self._patience, 0
        return count

    def end(self) -> None:
        """Nobody waits any more."""
        self._over.set()
        self._thread.join()
        if self._socket is not None:
            self._socket.close()

    def _look(self) -> None:
        while not self._over.wait(_LOOK):
            begun = self._begun
            self.expired = self.expired or (begun is not None and time.monotonic() - begun > self._left)
            if (self.expired or self._stop.why is not None) and self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue


class Connection:
    """A request that was sent, and its answer: status, headers, and the body that comes piece by piece."""

    def __init__(
        self,
        address: Address,
        *,
        headers: Iterable[Header],
        context: ssl.SSLContext,
        environ: Mapping[str, str],
        stop: Stop,
        patience: float,
        far: bool = False,
    ) -> None:
        """Send it and read the head of the answer. Raises AddressError, CutError, LieError, ProxyError, TrustError and Stopped.

        `far`: nothing is sent to an address of the Pod itself or of its node's link.
        """
        self._stop = stop
        self._address = address
        self._watch = Watch(stop, patience=patience)
        self._patience = patience
        self._far = far
        self._connected: socket.socket | None = None
        self.peer = ""
        """The IP address that answers; empty where a proxy stands in between."""
        try:
            self._client, target, more = self._prepare(context, environ)
            self._answer = self._ask(target, (*headers, *more))
            if self._answer.status in {200, 206}:
                self._demand_plain()
        except BaseException:
            self._watch.end()
            raise
        self.status = self._answer.status
        self._chunked = self._answer.chunked
        self._left = None if self._chunked else self._answer.length

    @property
    def framed(self) -> bool:
        """Whether the server says where the body ends. Else any cut looks like its end."""
        return self._chunked or self._left is not None

    @property
    def length(self) -> int | None:
        """Bytes of the body that are still to come, None where the server does not say."""
        return self._left

    def header(self, name: str, *, limit: int = outside.NAME_LIMIT) -> str:
        """Return a header of the answer, clean and cut; empty where it is not there."""
        return outside.clean(self._answer.getheader(name, ""), limit=limit)

    def location(self) -> str:
        """Return where a redirection leads, as it came."""
        return self._answer.getheader("Location", "")

    def read_into(self, view: memoryview) -> int:
        """Read some bytes; return how many, 0 at the end. Raises CutError, LieError and Stopped."""
        if self._left == 0:
            return 0
        if self._left is not None:
            view = view[: self._left]
        count = self._guarded(lambda: self._receive(view))
        if self._left is not None:
            if not count:
                raise CutError(f"{self._address.host} ended the answer {self._left} bytes before its end")
            self._left -= count
            if not self._left:
                self._look_behind()
        return count

    def read_small(self) -> bytes:
        """Return the beginning of the body, of an answer that says what is wrong. Raises nothing: then there is none."""
        room = memoryview(bytearray(_SMALL))
        filled = 0
        try:
            while filled < _SMALL and (count := self.read_into(room[filled:])):
                filled += count
        except (CutError, LieError):
            pass
        return bytes(room[:filled])

    def close(self) -> None:
        """End it."""
        self._watch.end()
        self._answer.close()
        self._client.close()

    def __enter__(self) -> Self:
        """Return this connection."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _prepare(
        self, context: ssl.SSLContext, environ: Mapping[str, str]
    ) -> tuple[http.client.HTTPConnection, str, tuple[Header, ...]]:
        """Return the client, the target as the request line has it, and what the proxy wants to hear."""
        address, proxy = self._address, find_proxy(environ, self._address)
        timeout = min(_CONNECTING, self._patience)
        host, port = (proxy.host, proxy.port) if proxy else (address.host, address.port)
        greeting = {"Proxy-Authorization": proxy.authorization} if proxy and proxy.authorization else {}
        if address.scheme != HTTPS:
            target = f"http://{address.authority}{address.target}" if proxy else address.target
            plain = http.client.HTTPConnection(host, port, timeout=timeout)
            vars(plain)["_create_connection"] = self._watch.connect if proxy else self._connect
            return plain, target, tuple(greeting.items())
        client = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        vars(client)["_create_connection"] = self._watch.connect if proxy else self._connect
        if proxy:
            client.set_tunnel(address.host, address.port, headers=greeting)
        return client, address.target, ()

    def _connect(self, place: tuple[str, int], timeout: float, source: tuple[str, int] | None) -> socket.socket:
        """Connect, and look whom we have met before anything is said: what a name stands for is known only now. Raises AddressError."""
        connected = self._watch.connect(place, timeout, source)
        self.peer = str(connected.getpeername()[0])
        if self._far and is_near(self.peer):
            connected.close()
            raise AddressError(
                f"it leads to {outside.clean(self.peer)}, an address of the Pod itself or of its node (loopback or link-local), and the URL does not"
            )
        return connected

    def _demand_plain(self) -> None:
        """See that the body is the object's own bytes, and that its end is clear. Raises LieError."""
        answer, host = self._answer, self._address.host
        why = ""
        if answer.getheader("Transfer-Encoding", "chunked").strip().lower() != "chunked":
            why = "in a coding of the transfer that it was not asked for"
        elif answer.getheader("Content-Encoding", "").strip().lower() not in _CODINGS:
            why = "in a coding (Content-Encoding) that it was not asked for"
        elif not answer.chunked:
            said = {each.strip() for each in answer.headers.get_all("Content-Length", [])}
            if len(said) > 1 or any(not _LENGTH.fullmatch(each) for each in said):
                why = "with a length that is none, or with two of them"
        if why:
            answer.close()
            self._client.close()
            raise LieError(f"{host} sends the object {why}")

    def _ask(self, target: str, headers: Iterable[Header]) -> http.client.HTTPResponse:
        client, answers = self._client, list[http.client.HTTPResponse]()

        def ask() -> int:
            vars(client)["response_class"] = _Answer
            client.connect()
            connected: socket.socket = client.sock
            connected.settimeout(self._patience)
            self._connected = connected
            if isinstance(connected, ssl.SSLSocket):
                # an end that TLS does not vouch for is a cut: anybody on the way can make one
                vars(connected)["suppress_ragged_eofs"] = False
            client.putrequest("GET", target, skip_host=True, skip_accept_encoding=True)
            client.putheader("Host", self._address.authority)
            for name, value in headers:
                client.putheader(name, value)
            client.putheader("Connection", "close")
            client.endheaders()
            answers.append(client.getresponse())
            return 0

        try:
            self._guarded(ask)
        except BaseException:
            client.close()
            for answer in answers:
                answer.close()
            raise
        return answers[0]

    def _guarded(self, receive: Callable[[], int]) -> int:
        """Return what is received. What goes wrong is said as what it means."""
        host = outside.clean(self._address.host, limit=outside.NAME_LIMIT)
        try:
            count = self._watch.wait(receive)
        except ssl.SSLCertVerificationError as error:
            raise TrustError(
                f"The certificate of {host} is not trusted: {outside.clean(error.verify_message)}"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            self._stop.check()
            raise CutError(self._explain(error, host)) from None
        self._stop.check()
        if self._watch.expired:
            raise CutError(f"{host} sends less than {SLOWEST} bytes a second")
        return count

    def _explain(self, error: Exception, host: str) -> str:
        if self._watch.expired or isinstance(error, TimeoutError):
            return f"{host} did not answer, or sent less than {SLOWEST} bytes a second, for {self._patience:g} s"
        if isinstance(error, socket.gaierror):
            return f"The name {host} cannot be resolved: {error.strerror}"
        if isinstance(error, ssl.SSLError):
            return f"{host}:{self._address.port} does not speak TLS as it should: {outside.clean(str(error.reason or error))}"
        tunnel = _TUNNEL.match(str(error))
        why = (
            f"the proxy answers {tunnel[1]}"
            if tunnel
            else (error.strerror if isinstance(error, OSError) else None)
            or f"what was answered is no HTTP ({type(error).__name__})"
        )
        return f"The connection to {host}:{self._address.port} failed: {outside.clean(why, limit=outside.NAME_LIMIT)}"

    def _receive(self, view: memoryview) -> int:
        if self._chunked:
            piece = self._answer.read1(len(view))
            if len(piece) > len(view):  # the size of the chunk was below zero
                raise http.client.HTTPException
            view[: len(piece)] = piece
            return len(piece)
        # the response's own method waits until all of a view is full
        return self._answer.fp.readinto1(view)

    def _look_behind(self) -> None:
        """See that nothing follows: we have asked the server to end the connection here."""
        if self._connected is not None:
            self._connected.settimeout(_LINGERING)
        try:
            more = self._answer.fp.peek(1)
        except (OSError, ValueError):
            return
        if more:
            raise LieError(f"{self._address.host} sends more than the length that it told")
