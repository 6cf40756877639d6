"""An idle fleet of ReplicationSources: memory, writes at rest, and how soon a copy trigger is taken up."""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.operator import connect
from bench.processes import operator_process, settle, usage
from datamover.api.copy_trigger import STATUS_ANNOTATION, TRIGGER_ANNOTATION, USE_ANNOTATION, Status
from datamover.api.volsync.names import CREATED_BY_VALUE
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from kubekit.client.client import Client
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, SERVICE_ACCOUNTS
from kubekit.words.rbac import ROLE_BINDINGS, ROLES

_NAMESPACE = "default"
_LABELS = {"app.kubernetes.io/created-by": CREATED_BY_VALUE}
_CLAIM = {"accessModes": ["ReadWriteOnce"], "storageClassName": "csi", "resources": {"requests": {"storage": "1Gi"}}}
_SYNCED = {
    "lastSyncTime": "2026-11-29T11:12:59Z",
    "lastSyncDuration": "8.5s",
    "lastManualSync": "t1",
    "latestMoverStatus": {"result": "Successful"},
    "restic": {},
    "conditions": [
        {
            "type": "Synchronizing",
            "status": "False",
            "reason": "WaitingForManual",
            "message": "Waiting for manual trigger",
            "lastTransitionTime": "2026-11-29T11:12:59Z",
        }
    ],
}
_TRIGGERED = 5


def measure(kubeconfig: Path, *, count: int) -> dict[str, Any]:
    """Start the operator over `count` ReplicationSources that are in sync, each with its lasting children; then trigger a few copies."""

    async def fill() -> None:
        async with connect(kubeconfig) as client:
            gate = asyncio.Semaphore(16)
            await asyncio.gather(*(_one(client, gate, f"fleet-{index}") for index in range(count)))

    asyncio.run(fill())
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log"
        with operator_process(
            kubeconfig, log, environment={"REPLICATION": "true", "VOLSYNC_NAMESPACE": "default"}
        ) as process:
            ready = settle(process.pid)
            before = asyncio.run(_versions(kubeconfig))
            first = usage(process.pid)
            time.sleep(10)
            second = usage(process.pid)
            after = asyncio.run(_versions(kubeconfig))
            reactions = [asyncio.run(_trigger(kubeconfig, f"fleet-{index}")) for index in range(_TRIGGERED)]
    return {
        f"{count} sources idle: start to rest, s": round(ready, 1),
        f"{count} sources idle: CPU in 10 s, s": round(second.cpu - first.cpu, 3),
        f"{count} sources idle: RSS MiB": round(second.rss),
        f"{count} sources idle: objects written in 10 s": sum(before[name] != after[name] for name in before),
        f"{count} sources: trigger to InProgress, median of {_TRIGGERED}, s": round(statistics.median(reactions), 3),
    }


async def _one(client: Client, gate: asyncio.Semaphore, name: str) -> None:
    async with gate:
        claim = {
            "metadata": {"name": f"data-{name}", "namespace": _NAMESPACE, "annotations": {USE_ANNOTATION: ""}},
            "spec": _CLAIM,
        }
        await client.create(PERSISTENT_VOLUME_CLAIMS, claim)
        await _set_status(
            client, PERSISTENT_VOLUME_CLAIMS, f"data-{name}", {"phase": "Bound", "capacity": {"storage": "1Gi"}}
        )
        spec = {
            "sourcePVC": f"data-{name}",
            "trigger": {"manual": "t1"},
            "restic": {"copyMethod": "Clone", "repository": "storage"},
        }
        await client.create(REPLICATION_SOURCES, {"metadata": {"name": name, "namespace": _NAMESPACE}, "spec": spec})
        await _set_status(client, REPLICATION_SOURCES, name, _SYNCED)
        account = {"name": f"volsync-src-{name}", "namespace": _NAMESPACE, "labels": _LABELS}
        await client.create(SERVICE_ACCOUNTS, {"metadata": account})
        await client.create(ROLES, {"metadata": account, "rules": []})
        role = {"apiGroup": ROLES.group, "kind": "Role", "name": account["name"]}
        await client.create(ROLE_BINDINGS, {"metadata": account, "roleRef": role, "subjects": []})
        cache = {"name": f"volsync-src-{name}-cache", "namespace": _NAMESPACE, "labels": _LABELS}
        await client.create(PERSISTENT_VOLUME_CLAIMS, {"metadata": cache, "spec": _CLAIM})


async def _set_status(client: Client, resource: Any, name: str, status: Any) -> None:
    await client.patch(
        resource, name, {"status": status}, namespace=_NAMESPACE, subresource="status", field_manager="bench"
    )


async def _versions(kubeconfig: Path) -> dict[str, str]:
    async with connect(kubeconfig) as client:
        kinds: list[Any] = [REPLICATION_SOURCES, PERSISTENT_VOLUME_CLAIMS]
        found = [each for kind in kinds for each in await client.list(kind, namespace=_NAMESPACE)]
        return {each.metadata.uid: each.metadata.resource_version for each in found}


async def _trigger(kubeconfig: Path, name: str) -> float:
    """Ask for a synchronisation, trigger its copy once that is waited for, and return how long it takes until the copy is begun."""
    async with connect(kubeconfig) as client:
        await client.patch(
            REPLICATION_SOURCES,
            name,
            {"spec": {"trigger": {"manual": "t2"}}},
            namespace=_NAMESPACE,
            field_manager="bench",
        )
        await _await_status(client, name, Status.WAITING)
        begun = time.monotonic()
        annotate = {"metadata": {"annotations": {TRIGGER_ANNOTATION: f"go-{name}"}}}
        await client.patch(
            PERSISTENT_VOLUME_CLAIMS, f"data-{name}", annotate, namespace=_NAMESPACE, field_manager="bench"
        )
        await _await_status(client, name, Status.IN_PROGRESS)
        return time.monotonic() - begun


async def _await_status(client: Client, name: str, wanted: str) -> None:
    async with asyncio.timeout(60):
        while True:
            claim = await client.get(PERSISTENT_VOLUME_CLAIMS, f"data-{name}", namespace=_NAMESPACE)
            if claim.metadata.annotation(STATUS_ANNOTATION) == wanted:
                return
            await asyncio.sleep(0.02)
