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
from datamover.api.velero.backup import Backup
from datamover.survey.control_plane import ANSWER_LIMIT, Look, Survey, is_passing, reason_of
from datamover.velero.settings import Settings
from kubekit.client.errors import Conflict, Invalid, KubeError, NotFound
from kubekit.words.core import CONFIG_MAPS
from kubekit.words.meta import Resource
from kubekit.words.text import clean

if TYPE_CHECKING:
    from kubekit.client.client import Client

LOOK_LIMIT = 20.0
"""Seconds for one look at everything; what has not come by then is unread."""
_MANAGER = "datamover-velero-plugin"

T = TypeVar("T")


class UnreadableError(Exception):
    """Something cannot be read or written, and why. `passing` tells that another try may well succeed."""

    def __init__(self, reason: str, *, passing: bool) -> None:
        super().__init__(reason)
        self.passing = passing


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
        self._survey: Survey | None = None

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

        def question(client: "Client") -> Awaitable[Look]:
            self._survey = self._survey or Survey(client)
            return self._survey.look(backup, velero=velero, namespace=namespace)

        return self._ask(question, limit=LOOK_LIMIT)

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
            except KubeError as error:
                raise UnreadableError(reason_of(error), passing=is_passing(error)) from None
            except Exception as error:  # noqa: BLE001 - of a file of credentials, of TLS: whatever it is, it is no word on the data
                raise UnreadableError(f"{type(error).__name__}: {clean(str(error), limit=200)}", passing=True) from None

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


async def _cancel(client: "Client", targets: Sequence[Target]) -> tuple[str, ...]:
    said = await asyncio.gather(*(_cancel_one(client, target) for target in targets))
    return tuple(each for each in said if each)


async def _cancel_one(client: "Client", target: Target) -> str:
    # with the UID, so that another one of the same name is left alone
    patch = {"metadata": {"uid": target.uid}, "spec": {"cancel": True}}
    try:
        await client.patch(target.resource, target.name, patch, namespace=target.namespace, field_manager=_MANAGER)
    except NotFound:
        return ""
    except KubeError as error:
        if isinstance(error, (Conflict, Invalid)) and await _is_gone(client, target):
            return ""
        return f"{target.resource.kind} {target.name} could not be cancelled: {reason_of(error)}"
    return ""


async def _is_gone(client: "Client", target: Target) -> bool:
    """Tell whether there is another one of the name, or none."""
    try:
        found = await _maybe(client.get(target.resource, target.name, namespace=target.namespace))
    except KubeError:
        return False
    return found is None or found.metadata.uid != target.uid


async def _maybe(question: Coroutine[Any, Any, T]) -> T | None:
    """Return the answer, or None where there is no such object (or kind)."""
    try:
        return await question
    except NotFound:
        return None
