"""Events of what is made and of what is published, as users of the original know them: reason, action and note are the contract. Pure."""

from typing import Any

from datamover.api.volsync import names
from datamover.api.volsync.common import CommonStatus
from datamover.api.volsync.names import EventAction, EventReason, Method
from datamover.api.volsync.replication_destination import ReplicationDestinationStatus
from datamover.plans.steps import Create, Effect, Emit, Step, WriteStatus
from datamover.reconcilers.replication.ask import Ask
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, SERVICES
from kubekit.words.meta import ObjectMeta, Reference
from kubekit.words.snapshot import VOLUME_SNAPSHOTS


def announce_made(steps: tuple[Effect, ...], ask: Ask | None) -> tuple[Effect, ...]:
    """Return the steps with an event after each thing that is made; of movers, of those of rsync only."""
    told: list[Effect] = []
    for step in steps:
        told.append(step)
        event = _tell_made(step, ask) if isinstance(step, Create) else None
        if event is not None:
            told.append(event)
    return tuple(told)


def announce_address(ask: Ask | None, before: CommonStatus, written: tuple[Step[Any], ...]) -> tuple[Emit, ...]:
    """Return the event that tells the address which a status is the first to say, where one is written that does."""
    found = (_address_in(step.status) for step in written if isinstance(step, WriteStatus))
    address = next(found, None)
    if ask is None or address is None or address == _address_in(before):
        return ()
    name = names.job_name(ask.method, ask.role, ask.metadata.name)
    service = Reference(SERVICES, ObjectMeta(name=name, namespace=ask.metadata.namespace))
    message = f"Service/{name} has the address {address}{'' if ask.is_source else ': the source connects there'}"
    return (Emit("Normal", EventReason.ADDRESS, message, EventAction.PUBLISH_ADDRESS, related=service),)


def _tell_made(step: Create, ask: Ask | None) -> Emit | None:
    metadata = step.manifest["metadata"]
    made = Reference(step.resource, ObjectMeta(name=metadata["name"], namespace=metadata.get("namespace")))
    if step.resource is PERSISTENT_VOLUME_CLAIMS:
        return Emit("Normal", EventReason.CLAIM_CREATED, _origin(step), EventAction.CREATE_CLAIM, related=made)
    if step.resource is VOLUME_SNAPSHOTS:
        return Emit("Normal", EventReason.SNAPSHOT_CREATED, _origin(step), EventAction.CREATE_SNAPSHOT, related=made)
    if step.resource is JOBS and ask is not None and ask.method in (Method.RSYNC, Method.RSYNC_TLS):
        purpose = "to transmit data" if ask.is_source else "to receive data"
        message = f"starting Job/{metadata['name']} {purpose}"
        return Emit("Normal", EventReason.TRANSFER_STARTED, message, EventAction.CREATE_MOVER, related=made)
    return None


def _origin(step: Create) -> str:
    kind, name = step.resource.kind, step.manifest["metadata"]["name"]
    spec = step.manifest["spec"]
    source = spec.get("dataSource")
    if kind == VOLUME_SNAPSHOTS.kind:
        return f"created {kind}/{name} from PersistentVolumeClaim/{spec['source']['persistentVolumeClaimName']}"
    if source is None:
        return f"created {kind}/{name} to receive incoming data"
    return f"created {kind}/{name} {'as a clone of' if source['kind'] == kind else 'from'} {source['kind']}/{source['name']}"


def _address_in(status: CommonStatus) -> str | None:
    if status.rsync is not None:
        return status.rsync.address
    tls = status.rsync_tls if isinstance(status, ReplicationDestinationStatus) else None
    return tls.address if tls is not None else None
