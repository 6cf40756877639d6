"""What a status says of the chosen method: where the other side connects and with which keys; what was done in a repository. Pure."""

from dataclasses import dataclass

from datamover.api import reasons
from datamover.api.volsync import names
from datamover.api.volsync.names import Method
from datamover.movers import rsync_ssh
from datamover.plans.steps import Emit
from datamover.reconcilers.replication.ask import FIELDS, Ask
from datamover.reconcilers.replication.facts import Facts
from datamover.reconcilers.replication.needs import address_of, generated_secrets, is_of_another, serves
from datamover.reconcilers.replication.order import status_of
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


def tell_lost_keys(ask: Ask, facts: Facts) -> tuple[Emit, ...]:
    """Return the event that tells that published keys are gone, and others are generated: without it the other side would find out alone.

    Whoever deletes them may not know: a source and a destination of one name in a namespace share the Secret of rsync-tls, and it goes with the
    object that it was made for.
    """
    generated, status = generated_secrets(ask), status_of(facts.obj)
    published = (
        getattr(status.rsync, "ssh_keys", None),
        getattr(getattr(status, "rsync_tls", None), "key_secret", None),
    )
    if not any(published) or not generated or facts.belongings.generated or facts.run.refused() is not None:
        return ()
    field = "keySecret" if ask.method == Method.RSYNC_TLS else "sshKeys"
    message = (
        f"the generated Secret {generated[0]} is gone, and new keys are generated: give the other side the new ones. A Secret of your own in "
        f"spec.{FIELDS[ask.method]}.{field} goes with no object"
    )
    return (Emit("Warning", reasons.SECRET_NOT_FOUND, message, "Create"),)
