"""`datamover cancel`: asks for the end of a backup or a restore in a cluster, through its API server, with the rights of whoever asks.

CancelError    it cannot be asked for; the message says what to do
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from datamover.api import reasons
from datamover.api.names import FIELD_MANAGER, ConditionType, Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from datamover.api.v1alpha1.restore import DATA_MOVER_RESTORES, DataMoverRestore
from datamover.cli import logs
from datamover.cli.loop import start
from datamover.cli.terminal import open_console, print_document, say, warn
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.errors import KubeError, NotFound
from kubekit.client.http import HttpTransport
from kubekit.words.meta import Resource

Found = DataMover | DataMoverRestore

RESOURCES: Final[dict[str, Resource[Any]]] = {
    "datamover": DATA_MOVERS,
    "datamoverrestore": DATA_MOVER_RESTORES,
}
"""What can be cancelled."""
_LOOK_AGAIN: Final = 1.0
"""Seconds between two looks of `--wait`."""


class CancelError(Exception):
    """It cannot be asked for."""


class Exit(IntEnum):
    """Exit codes, documented in docs/cli.md."""

    CANCELLED = 0
    ENDED = 1
    USAGE = 2


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """What was asked. `kind` is a key of the kinds that can be cancelled, `wait` whether its end is waited for."""

    kubeconfig: Path | None
    context: str | None
    namespace: str | None
    kind: str
    name: str
    wait: bool
    machine: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What has become of it: the exit code, the object as it was last seen, and a sentence."""

    code: Exit
    found: Found
    sentence: str


def perform(request: CancelRequest) -> Exit:
    """Ask for it, print, and return the exit code."""
    logs.set_up(level="error")
    console = open_console(stderr=request.machine)
    try:
        told = start(_ask(request))
    except (CancelError, KubeError, OSError) as error:
        warn(f"datamover cancel: {error}")
        if request.machine:
            print_document(msgspec.json.encode({"exitCode": Exit.USAGE, "error": str(error)}))
        return Exit.USAGE
    if request.machine:
        print_document(to_json(told))
    else:
        say(console, told.sentence)
    return told.code


async def _ask(request: CancelRequest) -> Told:
    config = load_config(request.kubeconfig, request.context)
    transport = HttpTransport(config)
    try:
        client = Client(transport, user_agent="datamover-cancel")
        namespace = request.namespace or config.namespace
        return await cancel(client, request.kind, request.name, namespace=namespace, wait=request.wait)
    finally:
        await transport.close()


async def cancel(
    client: Client,
    kind: str,
    name: str,
    *,
    namespace: str,
    wait: bool,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Told:
    """Ask for the end of an object, and `wait` for it where that is wanted. Raises CancelError and KubeError.

    What has ended stays as it is. Asked is for the end of the very object that was seen: one of the same name that is created meanwhile goes on.
    """
    resource = RESOURCES[kind]
    found = await _get(client, resource, name, namespace=namespace)
    if has_ended(found):
        return _tell(resource, found)
    wish = {"metadata": {"uid": found.metadata.uid}, "spec": {"cancel": True}}
    asked: Found = await client.patch(resource, name, wish, field_manager=FIELD_MANAGER, namespace=namespace)
    if asked.spec is None or not asked.spec.cancel:
        raise CancelError(
            f"the cluster's definition of {resource.kind} has no spec.cancel: upgrade it (datamover crds | kubectl apply --server-side -f -)"
        )
    while wait and not has_ended(asked):
        await sleep(_LOOK_AGAIN)
        asked = await _get(client, resource, name, namespace=namespace)
        if asked.metadata.uid != found.metadata.uid:
            raise CancelError(f"{resource.kind} {namespace}/{name} was deleted, and there is another one of that name")
    return _tell(resource, asked)


async def _get(client: Client, resource: Resource[Any], name: str, *, namespace: str) -> Found:
    try:
        return await client.get(resource, name, namespace=namespace)
    except NotFound:
        raise CancelError(f"there is no {resource.kind} {name} in namespace {namespace}") from None


def has_ended(found: Found) -> bool:
    """Tell whether it stays as it is, whoever cancels it."""
    return found.status is not None and found.status.phase in Phase.TERMINAL


def _tell(resource: Resource[Any], found: Found) -> Told:
    place = f"{resource.kind} {found.metadata.namespace}/{found.metadata.name}"
    if not has_ended(found):
        return Told(Exit.CANCELLED, found, f"{place}: to be cancelled; --wait shows its end")
    status = found.status
    ready = status.condition(ConditionType.READY) if status is not None else None
    reason, message = (ready.reason if ready is not None else ""), (status.message if status is not None else "") or ""
    if reason == reasons.CANCELLED:
        return Told(Exit.CANCELLED, found, f"{place}: {message}")
    phase = status.phase if status is not None else ""
    return Told(Exit.ENDED, found, f"{place} has ended as {phase} ({reason}), and stays so: {message}")


def to_json(told: Told) -> bytes:
    """Return one JSON document: `exitCode`, `message`, and kind, name, namespace and status of the object."""
    meta = told.found.metadata
    document: dict[str, Any] = {
        "exitCode": int(told.code),
        "message": told.sentence,
        "kind": DATA_MOVERS.kind if isinstance(told.found, DataMover) else DATA_MOVER_RESTORES.kind,
        "name": meta.name,
        "namespace": meta.namespace,
        "status": msgspec.to_builtins(told.found.status) if told.found.status is not None else {},
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2)
