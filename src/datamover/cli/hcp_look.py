"""What `datamover hcp explain` reads of a cluster: one look, with the rights of whoever asks. Nothing is written.

ExplainError    it cannot be looked at; the message says what to do
"""

from dataclasses import dataclass
from datetime import datetime

from datamover.api.hypershift import CONFIG_MAP, HOSTED_CONTROL_PLANES, HostedControlPlane
from datamover.api.velero.backup import BACKUPS, Backup
from datamover.survey.control_plane import Survey
from datamover.verdicts.configuration import Configuration, ConfigurationError
from datamover.verdicts.filters import includes
from datamover.verdicts.validate import validate_data_mover
from datamover.verdicts.verdict import Verdict
from kubekit.client.client import Client
from kubekit.client.errors import Forbidden, NotFound
from kubekit.words.core import CONFIG_MAPS


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
    survey = Survey(client)
    explained: list[Explained] = []
    for hcp in planes:
        velero, hosted = backup.metadata.namespace or "", hcp.metadata.namespace or ""
        seen = (await survey.look(backup, velero=velero, namespace=hosted)).seen
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
