"""stunnel: its configuration, the running process, and what its log tells of the connections.

Guarantees: the key is only in a file that nobody else may read; whatever strangers do who reach the port, memory does not grow and the log for
people gets at most one line in `QUIET` seconds of those that were turned away.
"""

import re
import threading
import time
from collections.abc import Callable, Mapping

import msgspec

from datamover.agent.children import Stop
from datamover.agent.errors import Failure
from datamover.agent.printing import printable
from datamover.agent.rsync import process
from datamover.agent.rsync.confinement import Reach, run_confined
from datamover.api import outside, transfer

QUIET = 10.0
"""Seconds between two lines about peers that are turned away."""
_STARTS_WITHIN = 20.0
_LINE = re.compile(r"\S+ \S+ LOG([0-7])\[([^\]]{1,40})\]: (.*)")
_OPENED = re.compile(r"Service \[[^\]]*\] accepted connection from (\S{1,100})")
_AGREED = re.compile(r"TLS (?:connected|accepted): ")
_CLOSED = re.compile(r"Connection (?:closed|reset)")
_BOUND = re.compile(r"Service \[[^\]]*\] \(FD=[0-9]+\) bound to ")
_OTHER_KEY = re.compile(
    r"binder does not verify|alert (?:illegal parameter|decrypt error|bad record mac|unknown psk identity|access denied|handshake failure)|psk identity not found"
    r"|decryption failed|digest check failed",
    re.IGNORECASE,
)
_OTHER_TLS = re.compile(r"SSL_(?:accept|connect): ", re.IGNORECASE)
_NETWORK = re.compile(r"s_connect: |connect_blocking: |Error resolving|No more addresses|TIMEOUTconnect", re.IGNORECASE)
_EARLY = re.compile(r"\[[.!]\] (.*(?:error|fail|in use|denied|invalid).*)", re.IGNORECASE)
_COMMON = """\
foreground = yes
syslog = no
debug = 6
pid =
socket = l:SO_KEEPALIVE=1
socket = l:TCP_KEEPIDLE=60
socket = l:TCP_KEEPINTVL=15
socket = l:TCP_KEEPCNT=6
socket = r:SO_KEEPALIVE=1
socket = r:TCP_KEEPIDLE=60
socket = r:TCP_KEEPINTVL=15
socket = r:TCP_KEEPCNT=6
[volume]
ciphers = PSK
sslVersionMin = TLSv1.3
TIMEOUTconnect = 20
TIMEOUTbusy = 20
"""
"""A peer that is gone without a word is noticed after two and a half minutes; one that only thinks for long is not cut off. `TIMEOUTbusy` is for the
greeting: of a scanner that says nothing, or of a server that is no destination. stunnel's own five minutes would keep either side waiting.
"""


def at_source(*, key: str, port: int, peer: str, peer_port: int) -> str:
    """Return the configuration of the source's end: from a port on loopback to the destination."""
    return f"{_COMMON}client = yes\nPSKsecrets = {key}\naccept = 127.0.0.1:{port}\nconnect = {peer}:{peer_port}\ndelay = yes\n"


def at_destination(*, key: str, accept: str, connect: str) -> str:
    """Return the configuration of the destination's end. `connect` is what it hands connections to: lines of the configuration."""
    return f"{_COMMON}PSKsecrets = {key}\naccept = {accept}\n{connect}"


class Seen(msgspec.Struct):
    """What the log has told so far. `agreed`: connections with a peer that has the key. `trouble`, `other_key`
    and `other_tls` are about the last connections, and are forgotten by `Tunnel.forget`.
    """

    opened: int = 0
    agreed: int = 0
    closed: int = 0
    refused: int = 0
    trouble: str = ""
    other_key: bool = False
    other_tls: str = ""
    ready: bool = False
    complaint: str = ""


class Tunnel:
    """A running stunnel. Its log is read by a thread; `changed` is set at each of its lines and at its end."""

    def __init__(
        self,
        command: list[str],
        *,
        stop: Stop,
        environment: Mapping[str, str],
        folder: str,
        changed: threading.Event,
        refused: Callable[[str], None] = lambda _: None,
        reach: Reach | None = None,
    ) -> None:
        """Start it in `folder`. `refused` is told, not too often, of a peer that was turned away: its address. `reach`: what it, and what it starts
        for connections, may touch; None is everything.
        """
        self.seen = Seen()
        self._changed = changed
        self._refused = refused
        self._told = -QUIET
        self._expected = 0
        self._serving: set[str] = set()
        self._peers: dict[str, str] = {}
        self._over = threading.Event()

        def start() -> process.Child:
            return process.start(command, stop=stop, environment=environment, folder=folder)

        self._child = start() if reach is None else run_confined(start, reach=reach, until=self._over)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self._child.ended

    @property
    def busy(self) -> bool:
        """Whether there are connections, of whomever."""
        return self.seen.opened > self.seen.closed

    @property
    def serving(self) -> bool:
        """Whether there are connections with a peer that has the key."""
        return bool(self._serving)

    def wait_ready(self, stop: Stop) -> None:
        """Wait until it listens. Raises Failure and Stopped."""
        end = time.monotonic() + _STARTS_WITHIN
        while not self.seen.ready:
            stop.check()
            if self.ended or time.monotonic() > end:
                self._reader.join(1)
                stop.check()
                raise Failure(
                    transfer.INTERNAL,
                    transfer.REASON_ENGINE_FAILED,
                    f"stunnel does not start: {self.seen.complaint or self.seen.trouble or 'it says nothing'}.",
                )
            self._changed.wait(0.2)
            self._changed.clear()

    def check(self, stop: Stop) -> None:
        """Raise Stopped when the mover is to end, and Failure when stunnel has ended by itself."""
        stop.check()
        if self.ended:
            stop.check()
            raise Failure(
                transfer.INTERNAL,
                transfer.REASON_ENGINE_FAILED,
                f"stunnel ended by itself: {self.seen.complaint or 'it does not say why'}.",
            )

    def forget(self) -> None:
        """Begin anew with what is wrong."""
        self.seen.trouble, self.seen.other_key, self.seen.other_tls = "", False, ""

    def expect(self) -> None:
        """Count on one more connection: its lines may be read later than it is over."""
        self._expected += 1

    def settle(self, *, seconds: float) -> None:
        """Wait until no connection is left, and none is expected, at most so long: what ended tells why a little later than rsync notices it."""
        self._wait(lambda: self.busy or self.seen.opened < self._expected, seconds)

    def finish(self, *, seconds: float) -> None:
        """Wait until no peer with the key is served any more, at most so long: strangers who say nothing are no reason to wait."""
        self._wait(lambda: self.serving, seconds)

    def _wait(self, going_on: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while going_on() and not self.ended and (left := end - time.monotonic()) > 0:
            self._changed.wait(min(left, 0.2))
            self._changed.clear()

    def close(self) -> None:
        """End it."""
        if not self.ended:
            self._child.end(grace=2)
        self._reader.join(5)
        self._child.close()
        self._over.set()

    def _read(self) -> None:
        try:
            self._child.read(self._take)
        finally:
            self._changed.set()

    def _take(self, raw: bytes) -> None:
        line = raw.decode("utf-8", "backslashreplace")
        match = _LINE.fullmatch(line)
        if match is None:
            # what it says before its log is set up
            if early := _EARLY.fullmatch(line):
                self.seen.complaint = self.seen.complaint or _clean(early[1])
            return
        level, connection, text = match.groups()
        seen = self.seen
        if opened := _OPENED.match(text):
            seen.opened += 1
            if len(self._peers) < 1000:
                self._peers[connection] = opened[1].removeprefix("::ffff:")
        elif _AGREED.match(text):
            seen.agreed += 1
            self._serving.add(connection)
        elif _CLOSED.match(text):
            seen.closed += 1
            self._serving.discard(connection)
            self._peers.pop(connection, None)
        elif _BOUND.match(text):
            seen.ready = True
        elif level in "0123":
            self._wrong(connection, text)
        self._changed.set()

    def _wrong(self, connection: str, text: str) -> None:
        seen = self.seen
        if connection == "ui":
            if "No trusted certificates" not in text:
                seen.complaint = seen.complaint or _clean(text)
            return
        if _OTHER_KEY.search(text):
            seen.other_key = True
        elif _OTHER_TLS.match(text):
            seen.other_tls = _clean(text)
        elif _NETWORK.search(text):
            seen.trouble = seen.trouble or _clean(text)
            return
        else:
            return
        seen.refused += 1
        now = time.monotonic()
        if now - self._told >= QUIET:
            self._told = now
            self._refused(self._peers.get(connection, ""))


def _clean(text: str) -> str:
    return outside.clean(printable(text), limit=outside.NAME_LIMIT)
