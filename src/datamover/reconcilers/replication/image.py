"""A destination's volume and the image of it: made, awaited, published when it is whole. Pure."""

from dataclasses import replace

from datamover.api import reasons
from datamover.api.names import CopyMethod
from datamover.api.volsync import names
from datamover.api.volsync.replication_destination import Image, RsyncDestination, RsyncTLSDestination
from datamover.movers.belongings import build_claim
from datamover.plans.steps import Create
from datamover.reconcilers.replication.ask import FIELDS, Ask
from datamover.reconcilers.replication.facts import Facts
from datamover.reconcilers.replication.leftovers import LOOK_AGAIN
from datamover.reconcilers.replication.needs import lasting_owner
from datamover.runs.copy import take_snapshot
from datamover.runs.order import Copy, Order
from datamover.runs.preflight import check_snapshots
from datamover.runs.verdict import Answer, Rest, blocked
from datamover.volumes.binding import is_lost, is_read_only
from kubekit.words.batch import Job
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import Manifest
from kubekit.words.snapshot import VOLUME_SNAPSHOTS, VolumeSnapshot
from kubekit.words.timestamps import compact, moment_of, parse


def find_claim(facts: Facts, ask: Ask) -> Answer | None:
    """Return what stands against writing the claim, or how it is made; None when it is there. It need not be bound: the mover may be what binds it."""
    name, claim, field = ask.destination, facts.run.source, f"spec.{FIELDS[ask.method]}"
    if claim is None and not ask.makes_claim:
        message = f'PersistentVolumeClaim "{name}" not found: create it, or correct {field}.destinationPVC'
        return blocked(reasons.SOURCE_NOT_FOUND, message, action="Check")
    if claim is None:
        return _make_claim(ask)
    if claim.metadata.terminating:
        message = f"PersistentVolumeClaim {name} is being deleted; the synchronisation goes on when there is a new one"
        return blocked(reasons.SOURCE_TERMINATING, message, action="Check")
    if is_lost(claim):
        message = f"PersistentVolumeClaim {name} has lost its volume: delete it, and provide another one"
        return blocked(reasons.SOURCE_LOST, message, action="Check")
    if claim.spec is not None and claim.spec.volume_mode == "Block" and not ask.moves_blocks:
        message = f"PersistentVolumeClaim {name} is a Block volume, and its mover moves files: use a Filesystem volume"
        return blocked(reasons.BLOCK_NOT_SUPPORTED, message, action="Check")
    if is_read_only(claim):
        message = (
            f"PersistentVolumeClaim {name} can be mounted for reading only (ReadOnlyMany), and a destination is written: name one in "
            f"{field}.destinationPVC that has ReadWriteOnce or ReadWriteMany"
        )
        return blocked(reasons.INVALID_SPEC, message, action="Check")
    if ask.makes_claim and not lasting_owner(ask).holds(claim):
        message = f"PersistentVolumeClaim {name} exists and is not this {ask.resource.kind}'s: delete or rename it, or name it in {field}.destinationPVC"
        return blocked(reasons.NAME_TAKEN, message, action="Check")
    return None


def check_image(order: Order, facts: Facts, ask: Ask) -> Answer | None:
    """Return why no image could be made of what is written: told before it is written, not after the whole transfer."""
    found = (
        check_snapshots(_image_copy(ask, None), order.fields, facts.run)
        if ask.copy_method == CopyMethod.SNAPSHOT
        else None
    )
    return blocked(found.reason, found.message, action="Check") if found is not None else None


def _image_copy(ask: Ask, name: str | None) -> Copy:
    return Copy(CopyMethod.SNAPSHOT, ask.destination, None, name, snapshot_class=ask.options.volume_snapshot_class_name)


def _make_claim(ask: Ask) -> Answer:
    options, field = ask.options, f"spec.{FIELDS[ask.method]}"
    missing = [
        f"{field}.{key}"
        for key, value in (("capacity", options.capacity), ("accessModes", options.access_modes))
        if not value
    ]
    if missing:
        message = f"{' and '.join(missing)} must be set where no {field}.destinationPVC is given: a volume is made for the data"
        return blocked(reasons.INVALID_SPEC, message, action="Check")
    return Rest((Create(PERSISTENT_VOLUME_CLAIMS, build_volume(ask)),))


def build_volume(ask: Ask) -> Manifest:
    """Return the claim that a destination makes for itself."""
    options = ask.options
    mode = options.volume_mode if isinstance(options, RsyncDestination | RsyncTLSDestination) else None
    return build_claim(
        lasting_owner(ask),
        ask.destination,
        size=options.capacity,
        access_modes=options.access_modes or (),
        storage_class=options.storage_class_name,
        volume_mode=mode or "Filesystem",
        labels={names.CLEANUP_LABEL: ask.metadata.uid} if ask.cleans_claim else None,
    )


def image_of(ask: Ask, job: Job | None) -> str | None:
    """Return the name of the snapshot that follows a Job that has succeeded: its second is the Job's end, so that it is decided once (law L6)."""
    done = job.condition("Complete") if job is not None else None
    if ask.is_source or ask.copy_method != CopyMethod.SNAPSHOT or job is None or done is None:
        return None
    ended = (job.status.completion_time if job.status is not None else None) or done.last_transition_time
    return (
        names.image_name(ask.destination, compact(parse(ended))) if moment_of(ended, default=None) and ended else None
    )


def publish(order: Order, facts: Facts, ask: Ask) -> Image | Answer | None:
    """Return the image to publish once it can be used, None for a source, else what it is waiting for."""
    if ask.is_source:
        return None
    if ask.copy_method == CopyMethod.DIRECT:
        return Image(api_group="", kind=PERSISTENT_VOLUME_CLAIMS.kind, name=ask.destination)
    owner, copy = lasting_owner(ask), _image_copy(ask, image_of(ask, facts.run.job))
    if facts.image is not None and not owner.holds(facts.image):
        # Another destination may write the same claim, and have ended in the same second: that is not what this one has written (law L4).
        name = facts.image.metadata.name
        message = (
            f"VolumeSnapshot {name} exists and is not this {ask.resource.kind}'s: delete it, and the image is taken"
        )
        return blocked(reasons.NAME_TAKEN, message, action="Check", wake_after=LOOK_AGAIN)
    taken = take_snapshot(replace(order, owner=owner, copy=copy), replace(facts.run, snapshot=facts.image))
    if not isinstance(taken, VolumeSnapshot):
        return taken
    return Image(api_group=VOLUME_SNAPSHOTS.group, kind=VOLUME_SNAPSHOTS.kind, name=taken.metadata.name)
