"""What a status says of the chosen method: where the other side connects and with which keys; what was done in a repository. Pure."""

from dataclasses import dataclass

from datamover.api.volsync import names
from datamover.api.volsync.common import CommonStatus
from datamover.api.volsync.names import EventAction, EventReason, Method
from datamover.api.volsync.replication_destination import ReplicationDestinationStatus
from datamover.movers import rsync_ssh
from datamover.plans.steps import Emit
from datamover.reconcilers.replication.ask import Ask
from datamover.reconcilers.replication.facts import Facts
from datamover.reconcilers.replication.needs import address_of, generated_secrets, is_of_another, serves
from kubekit.words.core import SERVICES
from kubekit.words.meta import ObjectMeta, Reference
from kubekit.words.timestamps import seconds


@dataclass(frozen=True, slots=True)
class Noted:
    """Of the method's own fields, those that are known; None leaves what is there. An empty `unlocked` takes it away."""

    key_secret: str | None = None
    ssh_keys: str | None = None
    address: str | None = None
    pruned: str | None = None
    unlocked: str | None = None


NOTHING = Noted()


def note(ask: Ask, facts: Facts) -> Noted:
    """Return what is known while a synchronisation is under way. Keys are published when all of them are there."""
    generated, present = generated_secrets(ask), facts.belongings.generated
    whole = bool(generated) and all(name in present for name in generated)
    service = facts.belongings.service
    address = address_of(service) if serves(ask) and not is_of_another(service, ask) else None
    if ask.method == Method.RSYNC_TLS:
        return Noted(key_secret=generated[0] if whole else None, address=address)
    if ask.method == Method.RSYNC:
        keys = rsync_ssh.published_secret(ask.role, ask.metadata.name) if whole else None
        return Noted(ssh_keys=keys, address=address)
    return NOTHING


def announce_address(ask: Ask, before: CommonStatus, after: CommonStatus) -> tuple[Emit, ...]:
    """Return the event that tells the address which a status is the first to say."""
    address = _address_in(after)
    if address is None or address == _address_in(before):
        return ()
    name = names.job_name(ask.method, ask.role, ask.metadata.name)
    service = Reference(SERVICES, ObjectMeta(name=name, namespace=ask.metadata.namespace))
    message = f"Service/{name} has the address {address}{'' if ask.is_source else ': the source connects there'}"
    return (Emit("Normal", EventReason.ADDRESS, message, EventAction.PUBLISH_ADDRESS, related=service),)


def _address_in(status: CommonStatus) -> str | None:
    if status.rsync is not None:
        return status.rsync.address
    tls = status.rsync_tls if isinstance(status, ReplicationDestinationStatus) else None
    return tls.address if tls is not None else None


def note_end(ask: Ask, facts: Facts) -> Noted:
    """Return what is known when the Job has succeeded: what it was made to do is on it."""
    noted, job = note(ask, facts), facts.run.job
    if ask.method != Method.RESTIC or not ask.is_source or job is None:
        return noted
    actions = (job.metadata.annotation(names.ACTIONS_ANNOTATION) or "").split()
    unlocked = job.metadata.annotation(names.UNLOCK_ANNOTATION) if "unlock" in actions else None
    pruned = seconds(facts.run.now) if "prune" in actions else None
    wanted = getattr(ask.options, "unlock", None)
    return Noted(pruned=pruned, unlocked=unlocked if wanted else "")
