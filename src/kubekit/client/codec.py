"""JSON of the API machinery: lists, watch events, and the lines of a watch stream. Pure.

An object that does not fit its struct (a *poison* object) never spoils its neighbours: it is set apart with as much of its
metadata as can be read, and the caller goes on.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from kubekit.client.errors import ApiError, DecodeError, api_error
from kubekit.words.meta import ObjectMeta, PartialObject
from kubekit.words.unknown import KeepsUnknown, finisher, wire_of

T = TypeVar("T")

ADDED = "ADDED"
MODIFIED = "MODIFIED"
DELETED = "DELETED"
BOOKMARK = "BOOKMARK"
ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Poison:
    """An object that does not fit its struct. `metadata` holds what could be read; its `name` is empty when nothing could."""

    metadata: ObjectMeta
    problem: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list. `resource_version` is that of the whole list; `token` continues it and is empty on the last page."""

    items: tuple[T, ...]
    resource_version: str
    token: str = ""
    poison: tuple[Poison, ...] = ()

    @property
    def poisoned(self) -> int:
        """How many objects of the page do not fit their struct."""
        return len(self.poison)


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[T]):
    """One event of a watch.

    `type` is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR. `object` is None for a bookmark, an error and a poison object;
    `resource_version` is empty when it could not be read.
    """

    type: str
    object: T | None = None
    resource_version: str = ""
    error: ApiError | None = None
    poison: Poison | None = None


class _ListMeta(msgspec.Struct, gc=False):
    resourceVersion: str | None = None  # noqa: N815 - the wire's name
    token: str | None = msgspec.field(default=None, name="continue")


class _RawList(msgspec.Struct, gc=False):
    metadata: _ListMeta | None = None
    items: list[msgspec.Raw] | None = None


class _TypedList(msgspec.Struct, Generic[T], gc=False):
    items: list[T]
    metadata: _ListMeta


class _RawEvent(msgspec.Struct, gc=False):
    type: str
    object: msgspec.Raw


class _Version(msgspec.Struct, gc=False):
    resourceVersion: str | None = None  # noqa: N815 - the wire's name


class _Versioned(msgspec.Struct, gc=False):
    metadata: _Version | None = None


class _Names(msgspec.Struct, gc=False, rename="camel"):
    """The least that identifies an object, for one whose other metadata are broken too."""

    name: str = ""
    namespace: str | None = None
    uid: str = ""
    resource_version: str = ""


class _Named(msgspec.Struct, gc=False):
    metadata: _Names


class _Code(msgspec.Struct, gc=False):
    code: int | None = None


FLAWS: Final = (ValueError, RecursionError)
"""What decoding raises: msgspec's own errors, letters that are no UTF-8, numbers of thousands of digits, brackets within each other
without an end. Whoever answers, a proxy or a webhook among them, may send any of these.
"""


@lru_cache(maxsize=256)
def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


@lru_cache(maxsize=256)
def _reader(type_: Any) -> Callable[[bytes | msgspec.Raw], Any]:
    """Return what reads one object, and keeps what its status holds beside our fields where its type asks for that."""
    plain = _decoder(type_)
    if not _keeps(type_):
        return plain.decode
    kept = cast("type[KeepsUnknown]", type_)
    wire = _decoder(wire_of(kept))
    finish: Callable[[Any], Any] = finisher(kept)

    def read(body: bytes | msgspec.Raw) -> Any:
        try:
            return finish(wire.decode(body))
        except FLAWS:
            return plain.decode(body)  # it fails as well, and names the field by its path within the object

    return read


def _keeps(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, KeepsUnknown)


def encode(value: Any) -> bytes:
    """Return `value` as JSON."""
    return msgspec.json.encode(value)


def decode_any(body: bytes) -> Any:
    """Return JSON as plain dicts and lists. Raises DecodeError."""
    try:
        return msgspec.json.decode(body)
    except FLAWS as error:
        raise DecodeError(f"the server's answer is not JSON: {error}") from error


def decode_object(body: bytes | msgspec.Raw, type_: type[T]) -> T:
    """Return one object. Raises DecodeError, which names the field and quotes nothing."""
    try:
        return cast("T", _reader(type_)(body))
    except FLAWS as error:
        raise DecodeError(f"the server's object does not fit {type_.__name__}: {error}") from error


def decode_page(body: bytes, type_: type[T]) -> Page[T]:
    """Return one page of a list. Poison objects are set apart; raises DecodeError when the list itself is no list."""
    try:  # the whole page at once is twice as fast, and hardly ever fails
        items, meta = _typed_items(body, type_)
        return Page(items, meta.resourceVersion or "", meta.token or "")
    except FLAWS:
        pass
    try:
        raw: _RawList = _decoder(_RawList).decode(body)
    except FLAWS as error:
        raise DecodeError(f"the server's list of {type_.__name__} cannot be read: {error}") from error
    sound: list[T] = []
    poison: list[Poison] = []
    decode = _reader(type_)
    for item in raw.items or ():
        try:
            sound.append(decode(item))
        except FLAWS as error:
            poison.append(_poison(item, error))
    meta = raw.metadata or _ListMeta()
    return Page(tuple(sound), meta.resourceVersion or "", meta.token or "", tuple(poison))


def _typed_items(body: bytes, type_: type[T]) -> tuple[tuple[T, ...], _ListMeta]:
    """Return all objects of a page at once. Raises what decoding raises, also where one object alone is at fault."""
    kept = cast("type[KeepsUnknown]", type_) if _keeps(type_) else None
    read: Any = type_ if kept is None else wire_of(kept)
    typed = _decoder(cast("Any", _TypedList)[read]).decode(body)
    items: Iterable[Any] = typed.items if kept is None else map(finisher(kept), typed.items)
    return tuple(items), typed.metadata


def decode_event(line: bytes, type_: type[T]) -> WatchEvent[T]:
    """Return the event of one line. Raises DecodeError when the line is no event at all."""
    try:
        event: _RawEvent = _decoder(_RawEvent).decode(line)
    except FLAWS as error:
        raise DecodeError(f"a watch event cannot be read: {error}") from error
    if event.type == BOOKMARK:
        return WatchEvent(BOOKMARK, resource_version=_version(event.object))
    if event.type == ERROR:
        return WatchEvent(ERROR, error=_stream_error(event.object))
    try:
        decoded = _reader(type_)(event.object)
    except FLAWS as error:
        poison = _poison(event.object, error)
        return WatchEvent(event.type, resource_version=poison.metadata.resource_version, poison=poison)
    return WatchEvent(event.type, decoded, decoded.metadata.resource_version)


def _stream_error(raw: msgspec.Raw) -> ApiError:
    body = bytes(raw)
    try:
        code = _decoder(_Code).decode(body).code
    except FLAWS:
        code = None
    return api_error(code or 500, body, {})


def _version(raw: msgspec.Raw) -> str:
    try:
        found: _Versioned = _decoder(_Versioned).decode(raw)
    except FLAWS:
        return ""
    return (found.metadata and found.metadata.resourceVersion) or ""


def _poison(raw: msgspec.Raw, problem: Exception) -> Poison:
    try:
        return Poison(_decoder(PartialObject).decode(raw).metadata, str(problem))
    except FLAWS:
        pass
    try:
        names: _Names = _decoder(_Named).decode(raw).metadata
    except FLAWS:
        return Poison(ObjectMeta(resource_version=_version(raw)), str(problem))
    meta = ObjectMeta(
        name=names.name, namespace=names.namespace, uid=names.uid, resource_version=names.resource_version
    )
    return Poison(meta, str(problem))


@dataclass(slots=True)
class LineSplitter:
    """Cuts a stream of chunks into lines of any length; copies each byte at most twice, however the chunks fall."""

    _pending: list[bytes] = field(default_factory=list[bytes])

    def feed(self, chunk: bytes) -> Iterable[bytes]:
        """Return the lines that `chunk` completes, without their line ends and without empty ones."""
        head, newline, rest = chunk.partition(b"\n")
        if not newline:
            self._pending.append(chunk)
            return ()
        self._pending.append(head)
        lines = [b"".join(self._pending), *rest.split(b"\n")]
        tail = lines.pop()
        self._pending = [tail] if tail else []
        return [line for line in lines if line.strip()]
