"""A thousand completed DataVolumes whose time has not come: memory and writes at rest. Then they are collected at once: requests, writes, seconds.

They lie there as `kubectl apply` and a CDI leave them behind, each with its claim and its volume. Nothing is moved.
The operator fills and collects: of the two ways to run it with DataVolumes the one that keeps more in memory.
"""

import asyncio
import json
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from bench.operator import connect
from bench.processes import operator_process, settle, usage
from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES
from kubekit.client.client import Client
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kubekit.words.timestamps import seconds
from support import cdi

_NAMESPACE = "default"
_SIZE = {"resources": {"requests": {"storage": "1Gi"}}}
_CLAIM = {"accessModes": ["ReadWriteOnce"], "storageClassName": "csi", **_SIZE}
_WAITS = "999999999"
"""Seconds that a completed DataVolume stays: longer than the bench."""
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_READS = frozenset({"get", "list", "watch"})
_LIMIT = 600.0

Requests = Counter[tuple[str, str]]
"""How often the operator has asked for what: by verb and resource."""


def measure(kubeconfig: Path, *, count: int) -> dict[str, Any]:
    """Fill the server with `count` completed DataVolumes that ask for their collection; measure the operator while they wait, then as they go."""
    asyncio.run(_fill(kubeconfig, count))
    waiting, collected = f"{count} DataVolumes waiting", f"{count} DataVolumes collected"
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log"
        figures = {"without any of these kinds: RSS MiB": _measure_nothing(kubeconfig, log)}
        figures |= _measure_first(kubeconfig, log, count)
        figures |= _measure_rest(kubeconfig, log, waiting)
        figures |= _measure_collection(kubeconfig, log, count)
        figures |= _measure_rest(kubeconfig, log, collected)
    return figures


def _measure_nothing(kubeconfig: Path, log: Path) -> int:
    """Return the memory of an operator that sees the same claims and volumes, and no DataVolumes."""
    with operator_process(kubeconfig, log) as process:
        settle(process.pid)
        return round(usage(process.pid).rss)


def _measure_first(kubeconfig: Path, log: Path, count: int) -> dict[str, Any]:
    """Start an operator that sees the DataVolumes for the first time: it tells of each, once, why it stays."""
    before = asyncio.run(_versions(kubeconfig))
    with operator_process(kubeconfig, log, environment=_environment(_WAITS)) as process:
        took = settle(process.pid, limit=_LIMIT)
        used = usage(process.pid)
    return {
        f"{count} DataVolumes seen for the first time: start to rest, s": round(took, 1),
        f"{count} DataVolumes seen for the first time: CPU s": round(used.cpu, 1),
        f"{count} DataVolumes seen for the first time: RSS MiB": round(used.rss),
        f"{count} DataVolumes seen for the first time: objects written": _changed(
            before, asyncio.run(_versions(kubeconfig))
        ),
    }


def _measure_rest(kubeconfig: Path, log: Path, title: str) -> dict[str, Any]:
    """Start the operator, wait until it rests, and look at it for ten seconds. What it writes counts from its start on."""
    before = asyncio.run(_versions(kubeconfig))
    with operator_process(kubeconfig, log, environment=_environment(_WAITS)) as process:
        ready = settle(process.pid)
        first = usage(process.pid)
        time.sleep(10)
        second, after = usage(process.pid), asyncio.run(_versions(kubeconfig))
    return {
        f"{title}: start to rest, s": round(ready, 1),
        f"{title}: CPU in 10 s, s": round(second.cpu - first.cpu, 3),
        f"{title}: RSS MiB": round(second.rss),
        f"{title}: objects written by then": _changed(before, after),
    }


def _measure_collection(kubeconfig: Path, log: Path, count: int) -> dict[str, Any]:
    """Start the operator with a lifetime of nothing, and wait until no DataVolume is left and all that is to be told is told."""
    address = f"127.0.0.1:{_free_port()}"
    with operator_process(kubeconfig, log, environment=_environment("0"), status_address=address) as process:
        begun = time.monotonic()
        asyncio.run(_until_gone(kubeconfig))
        took = time.monotonic() - begun
        settle(process.pid)
        used, asked = usage(process.pid), _requests(address)
    writes = {key: number for key, number in asked.items() if key[0] not in _READS}
    events = sum(number for (_, resource), number in writes.items() if resource.startswith("events"))
    reads = sum(number for (verb, _), number in asked.items() if verb == "get")
    return {
        f"{count} collected at once, s, the start of the operator among them": round(took, 1),
        "a collection: writes but events": round((sum(writes.values()) - events) / count, 2),
        "a collection: writes": round(sum(writes.values()) / count, 2),
        "a collection: reads": round(reads / count, 2),
        f"{count} collected at once, operator CPU s": round(used.cpu, 1),
        f"{count} collected at once, operator RSS MiB": round(used.rss),
    }


def _environment(lifetime: str) -> Mapping[str, str]:
    return {
        "DATAVOLUME_COLLECTION": "true",
        "DATAVOLUME_POPULATION": "true",
        "DATAVOLUME_TTL": lifetime,
        "DATAVOLUME_STAMP": "false",
    }


async def _fill(kubeconfig: Path, count: int) -> None:
    async with connect(kubeconfig) as client:
        gate = asyncio.Semaphore(16)
        await asyncio.gather(*(_one(client, gate, f"disk-{index}") for index in range(count)))


async def _one(client: Client, gate: asyncio.Semaphore, name: str) -> None:
    async with gate:
        source = {"http": {"url": f"https://images.example/{name}.qcow2"}}
        asked = {names.DELETE_AFTER_COMPLETION: "true"}
        meta = {"name": name, "namespace": _NAMESPACE, "labels": {"app": "machines"}, "annotations": asked}
        applied = {"metadata": meta, "spec": {"source": source, "pvc": _CLAIM}}
        meta = {**meta, "annotations": {**asked, _APPLIED: json.dumps({**_kind(), **applied})}}
        made = await client.create(DATA_VOLUMES, {**applied, "metadata": meta})
        volume = {"metadata": {**meta, "uid": made.metadata.uid}}
        claim = cdi.build_claim(volume, {**_CLAIM, "volumeName": f"pv-{name}"})
        claim["metadata"]["namespace"] = _NAMESPACE
        await client.create(PERSISTENT_VOLUME_CLAIMS, claim)
        bound = {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}
        await _set_status(client, PERSISTENT_VOLUME_CLAIMS, name, bound)
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "storageClassName": "csi",
            "claimRef": {"namespace": _NAMESPACE, "name": name},
            "csi": {"driver": "csi.example.com", "volumeHandle": name},
        }
        await client.create(PERSISTENT_VOLUMES, {"metadata": {"name": f"pv-{name}"}, "spec": spec})
        done = cdi.status_of(volume, phase=names.Phase.SUCCEEDED, now=seconds(datetime.now(UTC)))
        await _set_status(client, DATA_VOLUMES, name, done)


def _kind() -> Mapping[str, str]:
    return {"apiVersion": DATA_VOLUMES.api_version, "kind": DATA_VOLUMES.kind}


async def _set_status(client: Client, resource: Any, name: str, status: Any) -> None:
    await client.patch(
        resource, name, {"status": status}, namespace=_NAMESPACE, subresource="status", field_manager="bench"
    )


async def _versions(kubeconfig: Path) -> dict[str, str]:
    """Return the version of all that an operator could write to."""
    async with connect(kubeconfig) as client:
        kinds: list[Any] = [DATA_VOLUMES, PERSISTENT_VOLUME_CLAIMS]
        found = [each for kind in kinds for each in await client.list(kind, namespace=_NAMESPACE)]
        return {each.metadata.uid: each.metadata.resource_version for each in found}


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> int:
    return sum(before.get(uid) != after.get(uid) for uid in before.keys() | after.keys())


async def _until_gone(kubeconfig: Path) -> None:
    async with connect(kubeconfig) as client, asyncio.timeout(_LIMIT):
        while await client.list(DATA_VOLUMES, namespace=_NAMESPACE):
            await asyncio.sleep(0.5)


def _requests(address: str) -> Requests:
    """Read what the operator has counted of its own requests."""
    with urlopen(f"http://{address}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found: Requests = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "datamover_api_requests_total":
                found[sample.labels["verb"], sample.labels["resource"]] += int(sample.value)
    return found


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
