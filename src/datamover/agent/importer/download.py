"""An object of a web or S3 server, read from its beginning to its end over as many requests as that takes.

Guarantees: the bytes are those of one version of the object. After a cut they go on only where the server proves that it still is the same (its ETag or
its time of change, its length and the place are as before; or a checksum proves the whole in the end). Credentials and headers go to the server that
they were given for, and to no other that it redirects to.
"""

import base64
import hashlib
import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from datamover.agent.children import Stop
from datamover.agent.errors import Failure
from datamover.agent.importer import addresses, answers, signing
from datamover.agent.importer.addresses import Address, AddressError
from datamover.agent.importer.connection import SLOWEST, Connection, CutError, LieError, TrustError
from datamover.agent.importer.headers import Header
from datamover.agent.importer.proxies import ProxyError
from datamover.agent.importer.settings import Settings
from datamover.agent.progress import Reporter
from datamover.api import outside, transfer

PIECE: Final = 1 << 20
_HOPS: Final = 10
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 10.0
_FEW: Final = 1 << 16
"""Bytes of an answer. A server that breaks off before gets a pause, a longer one each time."""
_LONGEST_WORD: Final = 4096
"""Letters of a version's name that a request takes."""
_AGENT: Final = "datamover-importer"


class ChangedError(Exception):
    """The rest of the object cannot be had as a part of what came: it is read from its beginning once more. The message is a sentence without a full stop."""


class Version(msgspec.Struct, frozen=True):
    """What tells one version of an object from another. `length` is None where the server does not say."""

    length: int | None
    etag: str
    changed: str

    @property
    def condition(self) -> str:
        """What `If-Range` may hold: a weak ETag does not say that bytes are the same."""
        said = self.changed if not self.etag or self.etag.startswith("W/") else self.etag
        return said if len(said) <= _LONGEST_WORD else ""

    @property
    def digest(self) -> str:
        """A digest of what the server says of the version; empty where it says nothing by which another one would be known."""
        said = ("etag", self.etag) if self.etag else ("changed", self.changed, str(self.length))
        return f"sha256:{hashlib.sha256(chr(0).join(said).encode()).hexdigest()}" if said[1] else ""


class Download:
    """The object that the settings name."""

    def __init__(
        self,
        settings: Settings,
        *,
        context: ssl.SSLContext,
        environ: Mapping[str, str],
        secret_headers: tuple[Header, ...],
        stop: Stop,
        report: Reporter,
        monotonic: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        assert settings.address is not None
        self._settings = settings
        self._asked = settings.address
        self._region = settings.region
        self._headers = (*settings.headers, *secret_headers)
        self._context = context
        self._environ = environ
        self._stop = stop
        self._report = report
        self._monotonic = monotonic
        self._say = say
        self._place = self._asked
        """Where the redirections of the last request have led."""
        self._peer = ""
        """Who has answered there."""
        self._connection: Connection | None = None
        self._version: Version | None = None
        self.framed = True
        """Whether the server has said where the object ends, in chunks or by a length; it has been asked."""
        self._moved_on = monotonic()
        self._since = 0
        self._pause = 0.0
        self._begun_at = 0
        self.received = 0
        """Bytes of all requests together."""

    @property
    def place(self) -> str:
        """The address for people."""
        return str(self._asked)

    @property
    def length(self) -> int | None:
        """Bytes of the object, as far as the server says; it has been asked."""
        return self._version.length if self._version else None

    @property
    def digest(self) -> str:
        """Which version of the object the server has, as a digest; it has been asked. Empty where nobody can tell."""
        return self._version.digest if self._version else ""

    def open(self) -> None:
        """Ask for the object from its beginning. Raises Failure and Stopped."""
        self.close()
        self._moved_on, self._since = self._monotonic(), 0
        connection = self._insist(0)
        self._version = Version(
            connection.length,
            *(connection.header(name, limit=outside.RECORD_LIMIT) for name in ("ETag", "Last-Modified")),
        )
        self.framed = connection.framed
        self._connection, self._begun_at = connection, self.received

    def pieces(self) -> Iterator[bytes]:
        """Yield the object, which is open, in pieces of `PIECE` bytes; the last one may be shorter. Raises ChangedError, Failure and Stopped."""
        room = memoryview(bytearray(PIECE))
        done = filled = 0
        while True:
            try:
                count = self._connection.read_into(room[filled:]) if self._connection else self._go_on(done + filled)
                self._compare(done + filled + (count or 0), ended=count == 0)
            except CutError as cut:
                self._lose(cut)
                continue
            except LieError as lie:
                raise _unknowable(lie) from None
            if count is None:
                continue
            if count:
                self.received += count
                self._since += count
                self._report.wait("")
                filled += count
                if filled < PIECE:
                    continue
            if filled:
                yield bytes(room[:filled])
                done, filled = done + filled, 0
            if not count:
                return

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _compare(self, count: int, *, ended: bool) -> None:
        """See that no more came than the first answer told, and at the end no less. Raises CutError and LieError."""
        whole = self.length
        if whole is None or count == whole or (count < whole and not ended):
            return
        if count > whole:
            raise LieError(f"{self._place.host} sends more than the length that it told")
        raise CutError(f"{self._place.host} ended the answer {whole - count} bytes before its end")

    # --- after a cut -----------------------------------------------------------------------------------------------

    def _lose(self, cut: CutError) -> None:
        """Note that the connection broke. Raises ChangedError where nothing can be continued."""
        self.close()
        if self._since >= SLOWEST * self._settings.outage_limit:
            # a server that sends a drop each time before it breaks is not one that came back
            self._moved_on, self._since = self._monotonic(), 0
        elif self._monotonic() - self._moved_on > self._settings.outage_limit:
            raise _unreachable(cut)
        self._say(f"{cut}.")
        self._report.wait(f"{cut}.")
        version = self._version
        provable = version is not None and version.length is not None and (version.condition or self._settings.checksum)
        if not provable:
            raise ChangedError(f"{cut}, and the server says too little about the object for reading its rest only")
        few = self.received - self._begun_at < _FEW
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE) if few else 0.0
        self._stop.pause(self._pause)

    def _go_on(self, offset: int) -> None:
        """Ask for the rest. Raises ChangedError, Failure and Stopped."""
        version = self._version
        assert version is not None
        try:
            connection = self._insist(offset)
        except Failure as failure:
            # the place of a redirection may have been for a short while
            if self._place == self._asked or failure.reason not in {
                transfer.REASON_ACCESS_DENIED,
                transfer.REASON_SOURCE_NOT_FOUND,
                transfer.REASON_WRONG_CREDENTIALS,
            }:
                raise
            self._place = self._asked
            connection = self._insist(offset)
        if why := self._find_difference(connection, offset, version):
            connection.close()
            raise ChangedError(f"The rest of {self.place} cannot be read by itself: {why}")
        self._connection, self._begun_at = connection, self.received

    def _find_difference(self, connection: Connection, offset: int, version: Version) -> str:
        """Return what speaks against the answer being the rest of the same version; empty where nothing does."""
        if connection.status == 200:
            return "the server sends all of it"
        if connection.status == 416:
            return "the server says that it is shorter now"
        if answers.read_range(connection.header("Content-Range")) != (offset, version.length):
            return "the server sends another part than what was asked for"
        if version.length is None or connection.length not in {None, version.length - offset}:
            return "the server sends another length than what is left"
        for name, before in (("ETag", version.etag), ("Last-Modified", version.changed)):
            now = connection.header(name, limit=outside.RECORD_LIMIT)
            if now != before and not (self._settings.checksum and not now):
                return f"it has changed meanwhile ({name})"
        return ""

    # --- one request -----------------------------------------------------------------------------------------------

    def _insist(self, offset: int) -> Connection:
        """Return an answer that is the object or a part of it, after as many tries as the patience with a server allows."""
        pause = _FIRST_PAUSE
        while True:
            self._stop.check()
            try:
                connection = self._request(offset)
            except CutError as cut:
                trouble, last = f"{cut}.", _unreachable(cut)
            except LieError as lie:
                raise _unknowable(lie) from None
            except ProxyError as error:
                raise Failure(
                    transfer.CONFIG,
                    transfer.REASON_INVALID_CONFIGURATION,
                    f"The proxy cannot be used: {error}. Correct it in the operator's environment, which is that of its workers, or name {self._place.host}"
                    " in NO_PROXY there.",
                ) from None
            except TrustError as error:
                raise Failure(
                    transfer.NETWORK,
                    transfer.REASON_TLS_UNTRUSTED,
                    f"{error}. Put the certificate of its authority into a ConfigMap and name that in certConfigMap.",
                    retryable=False,
                ) from None
            else:
                if connection.status in {200, 206, 416} if offset else connection.status == 200:
                    return connection
                with connection:
                    body = connection.read_small()
                    last = answers.failure_of(
                        connection.status, body, place=str(self._place), s3=self._settings.source == "s3"
                    )
                    if connection.status not in answers.PASSING:
                        raise last
                    trouble = f"{self._place.host} answers {connection.status}."
                    pause = max(pause, answers.read_pause(connection.header("Retry-After")))
            if self._monotonic() + pause - self._moved_on > self._settings.outage_limit:
                raise last
            self._report.wait(trouble)
            self._stop.pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _request(self, offset: int) -> Connection:
        """Return the answer at the end of all redirections. Raises CutError, TrustError, Failure and Stopped."""
        address, before, seen = self._place, self._place, set[Address]()
        while True:
            try:
                connection = self._send(address, offset)
            except AddressError as error:
                raise _not_followed(before, error) from None
            if address == self._asked:
                self._peer = connection.peer
            location = connection.location() if connection.status in answers.REDIRECTS else ""
            region = connection.header("x-amz-bucket-region")
            if self._settings.is_s3 and connection.status in {301, 307, 400} and self._moves_to(region, address):
                connection.close()
                self._region, address = region, addresses.in_region(address, region)
                continue
            if not location:
                self._place = address
                return connection
            connection.close()
            seen.add(address)
            before = address
            try:
                address = self._follow(address, location, seen)
            except AddressError as error:
                raise _not_followed(before, error) from None

    def _follow(self, address: Address, location: str, seen: set[Address]) -> Address:
        """Return where a redirection leads, which is none of the places where we were. Raises AddressError."""
        if len(seen) > _HOPS:
            raise AddressError(f"it redirects more than {_HOPS} times")
        there = addresses.follow(
            address, location, secret=self._bears_secret(address), proved=self._settings.checksum is not None
        )
        if there in seen:
            raise AddressError("it redirects in a circle")
        return there

    def _moves_to(self, region: str, address: Address) -> bool:
        """Tell whether a server wants another region in the signature; once, so that it cannot go on for ever."""
        return (
            bool(region)
            and region != self._region
            and self._region == self._settings.region
            and address.origin == self._asked.origin
            and addresses.is_region(region)
        )

    def _bears_secret(self, address: Address) -> bool:
        return self._is_trusted(address) and bool(self._settings.user or self._headers)

    def _is_trusted(self, address: Address) -> bool:
        """Tell whether this is the server that the credentials were given for."""
        return address.origin in {self._asked.origin, addresses.in_region(self._asked, self._region).origin}

    def _send(self, address: Address, offset: int) -> Connection:
        said: list[Header] = [("User-Agent", _AGENT), ("Accept", "*/*"), ("Accept-Encoding", "identity")]
        if offset:
            said.append(("Range", f"bytes={offset}-"))
            if self._version is not None and self._version.condition:
                said.append(("If-Range", self._version.condition))
        if self._is_trusted(address):
            chosen = {name.lower() for name, _ in self._headers}
            own = [*self._credentials(address)]
            said = [*(each for each in (*said, *own) if each[0].lower() not in chosen), *self._headers]
            if self._settings.is_s3:
                address = msgspec.structs.replace(address, target=signing.canonical(address.target))
        return Connection(
            address,
            headers=said,
            context=self._context,
            environ=self._environ,
            stop=self._stop,
            patience=self._settings.outage_limit,
            far=not self._is_trusted(address) and not addresses.is_near(self._peer),
        )

    def _credentials(self, address: Address) -> Iterator[Header]:
        settings = self._settings
        if settings.is_s3:
            yield from signing.sign(
                "GET",
                authority=address.authority,
                target=address.target,
                key=settings.user,
                secret=settings.password,
                region=self._region,
                moment=datetime.now(UTC),
            ).items()
        elif settings.user:
            pair = f"{settings.user}:{settings.password}".encode()
            yield "Authorization", f"Basic {base64.b64encode(pair).decode()}"


def _unreachable(cut: CutError) -> Failure:
    return Failure(transfer.NETWORK, transfer.REASON_SERVER_UNREACHABLE, f"{cut}. It is tried again later.")


def _not_followed(address: Address, error: AddressError) -> Failure:
    return Failure(
        transfer.CONFIG,
        transfer.REASON_REDIRECT_REFUSED,
        f"A redirection of {address} is not followed: {error}. Name the final address in the URL.",
    )


def _unknowable(lie: LieError) -> Failure:
    return Failure(
        transfer.NETWORK,
        transfer.REASON_SERVER_ERROR,
        f"{lie}. Nobody can tell what the object is: repair the server, or what stands before it.",
    )
