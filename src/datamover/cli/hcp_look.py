"""What `datamover hcp explain` reads of a cluster: one look, with the rights of whoever asks. Nothing is written.

ExplainError    it cannot be looked at; the message says what to do
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from datamover.api.hypershift import CONFIG_MAP, HOSTED_CONTROL_PLANES, HostedControlPlane
from datamover.api.velero.backup import BACKUPS, Backup
from datamover.api.velero.names import BACKUP_NAME_LABEL, label_value
from datamover.api.velero.uploads import DATA_UPLOADS, POD_VOLUME_BACKUPS
from datamover.verdicts.configuration import Configuration, ConfigurationError
from datamover.verdicts.selection import includes
from datamover.verdicts.validate import validate_data_mover
from datamover.verdicts.verdict import ClusterSnapshot, Kind, Unread, Verdict
from kubekit.client.client import Client
from kubekit.client.errors import Forbidden, NotFound
from kubekit.words.core import CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS, PODS
from kubekit.words.meta import Resource
from kubekit.words.snapshot import (
    VOLUME_SNAPSHOT_CONTENTS,
    VOLUME_SNAPSHOTS,
    VolumeSnapshot,
    VolumeSnapshotContent,
)

_SINGLY: Final = 32
"""So many contents are read one by one; of more, all of the cluster are listed."""
T = TypeVar("T")


class ExplainError(Exception):
    """It cannot be looked at."""


@dataclass(frozen=True, slots=True)
class Explained:
    """A control plane of a backup, and the verdict on it."""

    hcp: HostedControlPlane
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Explanation:
    """A backup and its control planes. `notes` are on what holds for all of them."""

    backup: Backup
    planes: tuple[Explained, ...]
    notes: tuple[str, ...]


async def explain(
    client: Client, name: str, *, namespace: str | None, control_plane: str | None, now: datetime
) -> Explanation:
    """Look at a backup and its control planes. Raises ExplainError and KubeError."""
    backup = await find_backup(client, name, namespace=namespace)
    planes = await find_planes(client, backup, namespace=control_plane)
    configuration, notes = await read_configuration(client, backup.metadata.namespace or "")
    explained: list[Explained] = []
    for hcp in planes:
        seen = await look(client, backup, hcp)
        verdict = validate_data_mover(hcp=hcp, backup=backup, seen=seen, configuration=configuration, now=now)
        explained.append(Explained(hcp, verdict))
    return Explanation(backup, tuple(explained), notes)


async def find_backup(client: Client, name: str, *, namespace: str | None) -> Backup:
    """Return the Backup of this name, in one namespace or in the only one that has it."""
    try:
        if namespace is not None:
            return await client.get(BACKUPS, name, namespace=namespace)
        found = await client.list(BACKUPS, field_selector=f"metadata.name={name}")
    except NotFound:
        where = f"in namespace {namespace}" if namespace is not None else "here, for the cluster has no kind Backup"
        raise ExplainError(f"there is no Backup {name} {where}") from None
    except Forbidden as error:
        if namespace is not None:
            raise
        raise ExplainError(f"{error}. Name Velero's namespace with -n") from None
    first = next(iter(found), None)
    if first is None:
        raise ExplainError(f"no namespace has a Backup {name}")
    if len(found) > 1:
        where = ", ".join(sorted(each.metadata.namespace or "" for each in found))
        raise ExplainError(f"there is a Backup {name} in each of {where}: name Velero's namespace with -n")
    return first


async def find_planes(client: Client, backup: Backup, *, namespace: str | None) -> tuple[HostedControlPlane, ...]:
    """Return the control planes of a backup in the order of their namespaces; of one namespace where that is named."""
    try:
        found = await client.list(HOSTED_CONTROL_PLANES, namespace=namespace)
    except NotFound:
        raise ExplainError("no HostedControlPlane found: the cluster has no such kind") from None
    except Forbidden as error:
        if namespace is not None:
            raise
        raise ExplainError(f"{error}. Name the control plane's namespace with --control-plane") from None
    if namespace is None:
        found = tuple(each for each in found if includes(backup, each.metadata.namespace or ""))
    if not found:
        where = f"in namespace {namespace}" if namespace is not None else "in the namespaces of this backup"
        raise ExplainError(f"no HostedControlPlane found {where}")
    return tuple(sorted(found, key=lambda each: (each.metadata.namespace or "", each.metadata.name)))


async def read_configuration(client: Client, namespace: str) -> tuple[Configuration, tuple[str, ...]]:
    """Return the plugin's configuration, and what is to be said of it. What cannot be read is as if it were not there."""
    try:
        found = await client.get(CONFIG_MAPS, CONFIG_MAP, namespace=namespace)
        configuration = Configuration.read(found.data)
    except NotFound:
        return Configuration(), ()
    except Forbidden as error:
        return Configuration(), (f"ConfigMap {CONFIG_MAP} cannot be read, so defaults are shown: {error}",)
    except ConfigurationError as error:
        return Configuration(), (f"ConfigMap {CONFIG_MAP} cannot be used, so defaults are shown: {error}",)
    return configuration, tuple(f"ConfigMap {CONFIG_MAP}: {warning}" for warning in configuration.warnings)


async def look(client: Client, backup: Backup, hcp: HostedControlPlane) -> ClusterSnapshot:
    """Return what a verdict needs. A kind that is not served or may not be read is named as unread."""
    velero, hosted = backup.metadata.namespace, hcp.metadata.namespace
    label = f"{BACKUP_NAME_LABEL}={label_value(backup.metadata.name)}"
    unread: list[Unread] = []

    async def read(kind: str, asked: Awaitable[tuple[T, ...]]) -> tuple[T, ...]:
        try:
            return await asked
        except (NotFound, Forbidden) as error:
            unread.append(Unread(kind, str(error)))
            return ()

    def of(resource: Resource[Any], namespace: str | None, selector: str | None = None) -> Any:
        return client.list(resource, namespace=namespace, label_selector=selector)

    snapshots: tuple[VolumeSnapshot, ...] = await read(Kind.SNAPSHOT, of(VOLUME_SNAPSHOTS, hosted, label))
    return ClusterSnapshot(
        snapshots=snapshots,
        contents=await read(Kind.CONTENT, _contents(client, snapshots)),
        data_uploads=await read(Kind.UPLOAD, of(DATA_UPLOADS, velero, label)),
        pod_volume_backups=await read(Kind.POD_VOLUME_BACKUP, of(POD_VOLUME_BACKUPS, velero, label)),
        claims=await read(Kind.CLAIM, of(PERSISTENT_VOLUME_CLAIMS, hosted)),
        pods=await read(Kind.POD, of(PODS, velero)),
        unread=tuple(unread),
    )


async def _contents(client: Client, snapshots: tuple[VolumeSnapshot, ...]) -> tuple[VolumeSnapshotContent, ...]:
    names = [
        name
        for each in snapshots
        if each.status is not None and (name := each.status.bound_volume_snapshot_content_name)
    ]
    if len(names) > _SINGLY:
        return await client.list(VOLUME_SNAPSHOT_CONTENTS)
    found: list[VolumeSnapshotContent] = []
    for name in names:
        try:
            found.append(await client.get(VOLUME_SNAPSHOT_CONTENTS, name))
        except NotFound:
            continue  # it is gone, and is told as missing
    return tuple(found)
