"""The cluster as the actions see it: nothing is asked before the first question, and each question is answered within seconds, or refused.

One thread with an event loop of its own does the talking; it starts with the first question, and so does the loading of what it needs. What cannot be
read is an answer too (`Unread`, `UnreadableError`): it is never taken for none.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import TimeoutError as NotInTime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from datamover.api.hypershift import CONFIG_MAP, HOSTED_CONTROL_PLANES, HostedControlPlane
from datamover.api.velero import names
from datamover.api.velero.backup import Backup
from datamover.api.velero.uploads import DATA_UPLOADS, POD_VOLUME_BACKUPS
from datamover.velero.settings import Settings
from datamover.verdicts.verdict import ClusterSnapshot, Kind, Unread
from kubekit.words.core import CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS, PODS
from kubekit.words.meta import Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOTS, VolumeSnapshot
from kubekit.words.text import clean

if TYPE_CHECKING:
    from kubekit.client.client import Client

ANSWER_LIMIT = 10.0
"""Seconds for one question."""
LOOK_LIMIT = 20.0
"""Seconds for one look at everything; what has not come by then is unread."""
_CONTENTS = 256
"""VolumeSnapshotContents that are read at most. A control plane has a few volumes."""
_REASON_LIMIT = 300
_MANAGER = "datamover-velero-plugin"

T = TypeVar("T")


class UnreadableError(Exception):
    """Something cannot be read or written, and why. `passing` tells that another try may well succeed."""

    def __init__(self, reason: str, *, passing: bool) -> None:
        super().__init__(reason)
        self.passing = passing


class Look(NamedTuple):
    """What was seen; `passing` tells that some of what is unread may well be readable at the next look."""

    seen: ClusterSnapshot
    passing: bool


class Target(NamedTuple):
    """An upload or pod volume backup, by what a request needs of it."""

    resource: Resource[Any]
    namespace: str
    name: str
    uid: str


class Cluster:
    """Reads, and sets `spec.cancel`; nothing else is ever written. Safe for threads."""

    def __init__(self, connect: "Callable[[], Client]") -> None:
        """`connect` is called once, in the thread that talks. It raises ConfigError where there are no credentials."""
        self._connect = connect
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Cluster":
        """Return the cluster that the Velero server belongs to: in a Pod that of its service account, else that of its kubeconfig."""

        def connect() -> "Client":
            from kubekit.client.connection import connect as to_server

            return to_server(settings.kubeconfig, settings.context, user_agent=_MANAGER)

        return cls(connect)

    def configuration(self, namespace: str) -> Mapping[str, str]:
        """Return the data of the plugin's ConfigMap in Velero's namespace; empty where there is none. Raises UnreadableError."""
        found = self._ask(lambda client: _maybe(client.get(CONFIG_MAPS, CONFIG_MAP, namespace=namespace)))
        return (found.data if found is not None else None) or {}

    def control_plane(self, namespace: str, name: str) -> HostedControlPlane | None:
        """Return a control plane as it is now; None where it is gone. Raises UnreadableError."""
        return self._ask(lambda client: _maybe(client.get(HOSTED_CONTROL_PLANES, name, namespace=namespace)))

    def look(self, backup: Backup, *, velero: str, namespace: str) -> Look:
        """Look once at all that moves volumes of the control plane in `namespace` for a backup, in Velero's namespace. Raises UnreadableError."""
        return self._ask(lambda client: _Looking(client).look(backup, velero, namespace), limit=LOOK_LIMIT)

    def cancel(self, targets: Sequence[Target]) -> tuple[str, ...]:
        """Set `spec.cancel` on each. Returns a sentence for each that could not be; one that is gone needs none. Raises UnreadableError."""
        return self._ask(lambda client: _cancel(client, targets), limit=LOOK_LIMIT)

    def close(self) -> None:
        """End the thread. For tests: the program simply ends."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None:
            return
        if self._client is not None:
            asyncio.run_coroutine_threadsafe(self._client.close(), loop).result(ANSWER_LIMIT)
        loop.call_soon_threadsafe(loop.stop)

    def _ask(self, question: "Callable[[Client], Awaitable[T]]", *, limit: float = ANSWER_LIMIT) -> T:
        async def bounded() -> T:
            try:
                async with asyncio.timeout(limit):
                    return await question(self._connected())
            except TimeoutError:
                raise UnreadableError(f"the API server did not answer within {limit:g} s", passing=True) from None
            except _error() as error:
                raise UnreadableError(_said(error), passing=_is_passing(error)) from None

        future = asyncio.run_coroutine_threadsafe(bounded(), self._running())
        try:
            return future.result(limit + 5)
        except NotInTime:
            future.cancel()
            raise UnreadableError(f"nothing was heard within {limit + 5:g} s", passing=True) from None

    def _connected(self) -> "Client":
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_run, args=(self._loop,), name="cluster", daemon=True).start()
            return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


class _Looking:
    """One look: what is needed first, then what its answers name."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._unread: list[Unread] = []
        self._passing = False

    async def look(self, backup: Backup, velero: str, namespace: str) -> Look:
        mark = f"{names.BACKUP_NAME_LABEL}={names.label_value(backup.metadata.name)}"
        snapshots, uploads, copies, claims, movers, copiers = await asyncio.gather(
            self._list(Kind.SNAPSHOT, VOLUME_SNAPSHOTS, namespace, mark),
            self._list(Kind.UPLOAD, DATA_UPLOADS, velero, mark),
            self._list(Kind.POD_VOLUME_BACKUP, POD_VOLUME_BACKUPS, velero, mark),
            self._list(Kind.CLAIM, PERSISTENT_VOLUME_CLAIMS, namespace, None),
            self._list(Kind.POD, PODS, velero, names.DATA_UPLOAD_LABEL),
            self._list(Kind.POD, PODS, velero, names.POD_VOLUME_BACKUP_LABEL),
        )
        bound = sorted({_content_of(each) for each in snapshots} - {""})[:_CONTENTS]
        contents = await asyncio.gather(*map(self._content, bound))
        seen = ClusterSnapshot(
            snapshots=snapshots,
            contents=tuple(each for each in contents if each is not None),
            data_uploads=uploads,
            pod_volume_backups=copies,
            claims=claims,
            pods=(*movers, *copiers),
            unread=tuple(dict.fromkeys(self._unread)),
        )
        return Look(seen, self._passing)

    async def _list(self, kind: str, resource: Resource[T], namespace: str, labels: str | None) -> tuple[T, ...]:
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                return await self._client.list(resource, namespace=namespace, label_selector=labels)
        except (_error(), TimeoutError) as error:
            self._note(kind, error)
            return ()

    async def _content(self, name: str) -> Any:
        try:
            async with asyncio.timeout(LOOK_LIMIT / 3):
                return await _maybe(self._client.get(VOLUME_SNAPSHOT_CONTENTS, name))
        except (_error(), TimeoutError) as error:
            self._note(Kind.CONTENT, error)
            return None

    def _note(self, kind: str, error: Exception) -> None:
        self._unread.append(Unread(kind, _said(error)))
        self._passing = self._passing or _is_passing(error)


async def _cancel(client: "Client", targets: Sequence[Target]) -> tuple[str, ...]:
    said = await asyncio.gather(*(_cancel_one(client, target) for target in targets))
    return tuple(each for each in said if each)


async def _cancel_one(client: "Client", target: Target) -> str:
    from kubekit.client.errors import KubeError, NotFound

    # with the UID, so that another one of the same name is left alone
    patch = {"metadata": {"uid": target.uid}, "spec": {"cancel": True}}
    try:
        await client.patch(target.resource, target.name, patch, namespace=target.namespace, field_manager=_MANAGER)
    except NotFound:
        return ""
    except KubeError as error:
        return f"{target.resource.kind} {target.name} could not be cancelled: {_said(error)}"
    return ""


def _content_of(snapshot: VolumeSnapshot) -> str:
    return (snapshot.status.bound_volume_snapshot_content_name if snapshot.status is not None else None) or ""


async def _maybe(question: Coroutine[Any, Any, T]) -> T | None:
    """Return the answer, or None where there is no such object (or kind)."""
    from kubekit.client.errors import NotFound

    try:
        return await question
    except NotFound:
        return None


def _error() -> type[Exception]:
    from kubekit.client.errors import KubeError

    return KubeError


def _said(error: BaseException) -> str:
    return clean(str(error), limit=_REASON_LIMIT) or "the API server did not answer in time"


def _is_passing(error: BaseException) -> bool:
    """Tell whether another try may succeed: there was no answer, or one that says "not now"."""
    from kubekit.client.errors import ServerError, TooManyRequests, TransportError

    return isinstance(error, (TimeoutError, TransportError, ServerError, TooManyRequests))
