"""Sending a disk to a DataVolume that waits for one: who may, where to, and whether it arrived.

Whoever may read the Secret that belongs to the DataVolume makes a token with it. The bytes go through the API server, which forwards them to the
receiver's Service, or straight to an address that is given; there the receiver shows a certificate that the Secret vouches for.

Guarantees: an upload is called complete when the DataVolume is. What arrived is compared with what was read. One that was cut is sent again from its
beginning, with a new token. No token and no key is printed (law L8).
Assumptions: the file does not change meanwhile; one that becomes shorter is found out.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Protocol

import msgspec

from datamover.api import importer, upload
from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from datamover.api.outside import clean
from datamover.cli.upload_file import File, Reading
from kubekit.client.client import Client
from kubekit.client.errors import Forbidden, KubeError, NotFound, TransportError
from kubekit.client.transport import Request, Response
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import Model, ObjectMeta, Resource

LOOK: Final = 1.0
"""Seconds between two looks at a DataVolume."""
IDLE: Final = 90.0
"""Seconds after which an upload that does not go on is given up."""
ANSWER: Final = 6 * 3600.0
"""Seconds for the answer after the last byte: a large disk is written to the storage meanwhile, and read back."""
_RETRIED: Final = frozenset({500, 502, 503, 504})
_LOST: Final = 20.0
"""Seconds in which a DataVolume becomes Succeeded whose receiver's answer was lost."""


class Exit(IntEnum):
    """Exit codes of `datamover upload`, documented in docs/cli.md."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    TIMEOUT = 4


class UploadError(Exception):
    """It cannot be sent, or was not taken. The message says what to do."""

    def __init__(self, message: str, *, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code


class Way(Protocol):
    """The way to the receiver."""

    async def send(
        self, request: Request, chunks: AsyncIterator[bytes], *, idle_timeout: float, answer_timeout: float
    ) -> Response:
        """Send a body of any length and return the answer. Raises TransportError."""
        ...


class _Secret(Model, frozen=True):
    """A Secret with its values, which are wanted here and nowhere else."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, bytes] | None = None

    def __repr__(self) -> str:
        return f"Secret {self.metadata.name}"


_SECRETS: Final = Resource("", "v1", "secrets", "Secret", _Secret)


@dataclass(frozen=True, slots=True)
class Keys:
    """What the Secret of an upload holds, as far as it is needed here."""

    key: bytes = field(repr=False)
    authority: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """What was sent. `disk` is the size of what became of it, 0 where the receiver's answer was lost."""

    bytes: int
    checksum: str
    disk: int


# Before.


async def await_ready(
    client: Client,
    *,
    namespace: str,
    name: str,
    timeout: float,  # noqa: ASYNC109 - the command's own
    say: Callable[[str], None],
) -> DataVolume:
    """Return the DataVolume when it waits for an upload. Raises UploadError."""
    end, said = time.monotonic() + timeout, ""
    while True:
        volume = await _get(client, namespace, name)
        phase = (volume.status.phase if volume.status is not None else None) or ""
        if phase == names.Phase.UPLOAD_READY:
            return volume
        _check_waits(volume, phase)
        ready = volume.status.condition(names.ConditionType.READY) if volume.status is not None else None
        why = clean((ready.message if ready is not None else None) or phase or "nobody has looked at it yet")
        if time.monotonic() >= end:
            raise UploadError(f"DataVolume {name} does not wait for an upload yet: {why}", code=Exit.TIMEOUT)
        if why != said:
            said = why
            say(f"waiting for DataVolume {name}: {why}")
        await asyncio.sleep(LOOK)


async def _get(client: Client, namespace: str, name: str) -> DataVolume:
    try:
        return await client.get(DATA_VOLUMES, name, namespace=namespace)
    except NotFound:
        raise UploadError(await _explain_missing(client, namespace, name), code=Exit.USAGE) from None


async def _explain_missing(client: Client, namespace: str, name: str) -> str:
    """Return why there is no such DataVolume: it may have been collected, and its disk is there."""
    try:
        claim = await client.get(PERSISTENT_VOLUME_CLAIMS, name, namespace=namespace)
    except KubeError:
        return f"there is no DataVolume {name} in namespace {namespace}: create it with spec.source.upload, or correct the name"
    if _is_collected(claim.metadata):
        return f"DataVolume {name} was collected: it is complete, and PersistentVolumeClaim {name} has its disk. Choose another name, or delete that claim"
    return f"there is no DataVolume {name} in namespace {namespace}, and PersistentVolumeClaim {name} is somebody else's: choose another name"


def _is_collected(claim: ObjectMeta) -> bool:
    return claim.annotation(names.GARBAGE_COLLECTED) == "true"


def _check_waits(volume: DataVolume, phase: str) -> None:
    """Raise UploadError for a DataVolume that will never wait for an upload."""
    name, source = volume.metadata.name, volume.spec.source if volume.spec is not None else None
    if volume.metadata.terminating:
        raise UploadError(f"DataVolume {name} is being deleted", code=Exit.USAGE)
    if source is None or source.upload is None:
        raise UploadError(f"DataVolume {name} has another source than an upload: create one with spec.source.upload", code=Exit.USAGE)  # fmt: skip
    if phase == names.Phase.SUCCEEDED:
        raise UploadError(f"DataVolume {name} is complete already: its disk is never written again. Create another one", code=Exit.USAGE)  # fmt: skip
    if phase == names.Phase.FAILED:
        raise UploadError(f"DataVolume {name} has failed: kubectl describe says why")


async def read_keys(client: Client, volume: DataVolume) -> Keys:
    """Return what tokens are made with, and what the receiver shows. Raises UploadError."""
    meta = volume.metadata
    name = upload.name_of(meta.uid)
    try:
        secret = await client.get(_SECRETS, name, namespace=meta.namespace)
    except Forbidden:
        raise UploadError(
            f"you may not read Secret {name} of namespace {meta.namespace}, with which tokens for an upload are made: ask for the right to get it"
        ) from None
    except NotFound:
        raise UploadError(
            f"Secret {name} does not exist, so this DataVolume is not one of this operator. Where a CDI fills DataVolumes, upload with virtctl"
        ) from None
    data = secret.data or {}
    if not data.get(upload.KEY) or not data.get(upload.AUTHORITY):
        raise UploadError(
            f"Secret {name} lacks {upload.KEY} or {upload.AUTHORITY}: delete the DataVolume and create it anew"
        )
    return Keys(data[upload.KEY], data[upload.AUTHORITY])


# The way.


def path_of(volume: DataVolume) -> str:
    """Return where the receiver takes what the DataVolume wants."""
    archive = volume.spec is not None and volume.spec.content_type == importer.ARCHIVE
    return upload.ARCHIVE_PATH if archive else upload.PATH


def forwarded(volume: DataVolume) -> str:
    """Return the path at the API server which leads to the receiver's Service."""
    meta = volume.metadata
    return f"/api/v1/namespaces/{meta.namespace}/services/https:{upload.name_of(meta.uid)}:{upload.SERVICE_PORT}/proxy"


def host_of(volume: DataVolume) -> str:
    """Return the name that the receiver's certificate is for."""
    return upload.hosts_of(volume.metadata.uid, volume.metadata.namespace or "")[0]


# Sending.


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One upload: what, where to, and how often it is tried. `prefix` comes before the receiver's paths; `wanted` is a checksum that the user gave."""

    volume: DataVolume
    keys: Keys
    file: File
    prefix: str = ""
    retries: int = 3
    wanted: str = ""


async def send(
    errand: Errand, way: Way, client: Client, *, say: Callable[[str], None], sent: Callable[[int], None]
) -> Done:
    """Send until it is taken. Raises UploadError."""
    tries = 0
    while True:
        reading = errand.file.read(sent)
        problem = ""
        try:
            answer = await way.send(_request(errand), reading.pieces(), idle_timeout=IDLE, answer_timeout=ANSWER)
        except (TransportError, OSError) as error:
            if reading.problem:
                raise UploadError(reading.problem) from None
            if reading.whole and await _succeeds(client, errand.volume):
                return Done(reading.bytes, reading.checksum, 0)
            problem = f"the upload was cut after {reading.bytes} bytes ({clean(str(error))})"
        else:
            done = _judge(errand, answer, reading)
            if isinstance(done, Done):
                return done
            problem = done
        tries += 1
        if tries > errand.retries or (reading.bytes and not errand.file.repeatable):
            raise UploadError(f"{problem}. Nothing of it counts: begin anew with the same command")
        say(f"{problem}; trying again")
        await _pause(min(2.0**tries, 30.0))


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds)


def _request(errand: Errand) -> Request:
    meta, size = errand.volume.metadata, errand.file.size
    headers = {
        upload.TOKEN_HEADER: upload.sign(errand.keys.key, uid=meta.uid, now=time.time()),
        "Content-Type": "application/octet-stream",
        **({"Content-Length": str(size)} if size is not None else {}),
        **({upload.CHECKSUM_HEADER: errand.wanted} if errand.wanted else {}),
    }
    return Request("PUT", errand.prefix + path_of(errand.volume), headers=headers)


def _judge(errand: Errand, answer: Response, reading: Reading) -> Done | str:
    """Return what was sent, or why it is tried again. Raises UploadError when that would not help."""
    name, received = errand.volume.metadata.name, upload.read_received(answer.body)
    if answer.status == 200 and received is not None:
        if received.checksum != reading.checksum:
            raise UploadError(
                f"the receiver has {received.checksum or 'told no checksum'}, and what was read here is {reading.checksum}: DataVolume {name} is complete with "
                f"another disk than this file. Delete it and create it anew"
            )
        return Done(received.bytes, received.checksum, received.disk)
    if received is not None and received.reason:
        message = f"the receiver refuses it ({received.reason}): {received.message}"
        if received.reason in {upload.REASON_BUSY, upload.REASON_CUT, upload.REASON_TOO_SLOW}:
            return message
        raise UploadError(message)
    if answer.status in _RETRIED:
        return f"the receiver is not reached (status {answer.status}: {_words(answer)})"
    if answer.status == 403:
        raise UploadError(
            f"the API server does not forward it ({_words(answer)}): ask for the right to create services/proxy in the namespace, or reach the receiver "
            f"yourself, as with kubectl port-forward, and say where with --server"
        )
    raise UploadError(f"it was not taken (status {answer.status}: {_words(answer)})")


def _words(answer: Response) -> str:
    """Return what somebody else than the receiver says."""
    try:
        said = msgspec.json.decode(answer.body, type=dict[str, object]).get("message")
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        said = None
    return (
        clean(said if isinstance(said, str) else answer.body[:200].decode("utf-8", "replace"), limit=300) or "no words"
    )


# After.


async def _succeeds(client: Client, volume: DataVolume) -> bool:
    """Tell whether a DataVolume becomes complete all the same: only the answer was lost then."""
    try:
        await await_done(client, volume, timeout=_LOST)
    except (UploadError, KubeError):
        return False
    return True


async def await_done(client: Client, volume: DataVolume, *, timeout: float) -> None:  # noqa: ASYNC109 - the command's own
    """Return when the DataVolume is complete, or was collected as such. Raises UploadError."""
    meta, end = volume.metadata, time.monotonic() + timeout
    while True:
        try:
            found = await client.get(DATA_VOLUMES, meta.name, namespace=meta.namespace)
        except NotFound:
            found = None
        if found is None or found.metadata.uid != meta.uid:
            await _check_collected(client, meta)
            return
        if found.status is not None and found.status.phase == names.Phase.SUCCEEDED:
            return
        if time.monotonic() >= end:
            phase = found.status.phase if found.status is not None else None
            raise UploadError(
                f"DataVolume {meta.name} is not Succeeded yet (phase {phase}): the receiver has taken the disk, look at it with kubectl describe",
                code=Exit.TIMEOUT,
            )
        await asyncio.sleep(LOOK)


async def _check_collected(client: Client, meta: ObjectMeta) -> None:
    try:
        claim = await client.get(PERSISTENT_VOLUME_CLAIMS, meta.name, namespace=meta.namespace)
    except NotFound:
        raise UploadError(f"DataVolume {meta.name} was deleted meanwhile, and its claim with it") from None
    if not _is_collected(claim.metadata):
        raise UploadError(f"DataVolume {meta.name} was deleted meanwhile")
