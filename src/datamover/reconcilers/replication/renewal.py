"""What was made as its object asked for it then, serves nobody yet, and is asked for otherwise by now: it is made anew. Pure.

Neither a Job's Pod nor a claim can be changed. A Job that Pod Security refuses, or a claim of a class that cannot make it, would otherwise wait for
ever, whatever is mended in the spec. What serves already is left alone: a mover that runs ends, and a claim that has or had a volume may hold data.
But a mover that listens ends when somebody has come, and with a key of yesterday nobody comes: it is made anew too, for another key only, as it may
be in the middle of a transfer.
Each carries a digest of what was asked for; what carries none (a version, or a project, that does not say it) stays.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from datamover.api import reasons
from datamover.api.ownership import Owner
from datamover.api.volsync import names
from datamover.api.volsync.replication_destination import ResticDestination, RsyncDestination, RsyncTLSDestination
from datamover.api.volsync.replication_source import ResticSource
from datamover.movers.outcomes import is_running
from datamover.plans.steps import Create, Delete, Effect, ProveGone, ProvePods, ProveSame
from datamover.reconcilers.replication.ask import Ask
from datamover.reconcilers.replication.facts import Facts, Settings, Temporary
from datamover.reconcilers.replication.jobs import KEYS, digest_of
from datamover.reconcilers.replication.needs import lasting_owner, serves
from datamover.reconcilers.replication.order import ANOTHER_MOVER, NOTHING_COPIED
from datamover.runs.facts import Unread
from datamover.runs.order import Order
from datamover.runs.verdict import Answer, Facet, Rest, refused, working
from datamover.volumes.binding import is_bound, is_lost, is_snapshot_ready
from kubekit.words.batch import JOBS, Job
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from kubekit.words.meta import HasMeta, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS

_Candidate = tuple[Owner, Resource[Any], HasMeta]
_VOLUMES = (PERSISTENT_VOLUME_CLAIMS, VOLUME_SNAPSHOTS)


def renew(order: Order, facts: Facts, ask: Ask, job: Job, *, settings: Settings) -> Answer | None:
    """Return how a Job is replaced that was asked for otherwise and whose mover does not run; None where it stays."""
    if not order.owner.owns(job):
        return None
    lost = _find_lost_claims(order, facts)
    gone = bool(lost)
    outdated = tuple(_outdated(order, facts, ask))
    otherwise, unmade = asks_otherwise(job, facts, settings=settings), gone or bool(outdated)
    if not otherwise and not unmade:
        return None
    unheard = otherwise and serves(ask) and _asks_for_another_key(job, facts, settings)
    if not unheard and any(is_running(pod, order.transfer.container) for pod in facts.run.pods):
        return None
    refusal = facts.run.refused()
    if refusal is not None:
        return refused(refusal, action="Synchronize")
    why = "its claim is deleted" if gone else "something else was asked for before its mover had started"
    message = f"Job {job.metadata.name} is made anew: {why}"
    copied = ("True", reasons.JOB_CREATED, ANOTHER_MOVER)
    if unmade:
        copied = ("False", reasons.RUN_RECORDED, NOTHING_COPIED)
    return replace(
        working(reasons.JOB_CREATED, message),
        facets={Facet.COPY: copied},
        # Its mover may run by now, and there may be other claims.
        before=(ProvePods(), *lost, *(ProveSame(resource, child.metadata) for resource, child in outdated)),
        after=(Delete(JOBS, job.metadata),),
    )


def _find_lost_claims(order: Order, facts: Facts) -> tuple[ProveSame | ProveGone, ...]:
    """Return the proofs that somebody deletes what a mover reads or writes without a copy, or its cache; empty where nobody does. A Pod that has
    failed keeps the claim from going, and the claim that goes keeps the next Pod from starting: only without the Job does either get on.
    """
    claims = (facts.run.source if order.copy.direct else None, facts.belongings.cache)
    lost = [
        ProveSame(PERSISTENT_VOLUME_CLAIMS, claim.metadata)
        for claim in claims
        if claim is not None and claim.metadata.terminating
    ]
    if order.copy.direct and facts.run.source is None:
        return (ProveGone(PERSISTENT_VOLUME_CLAIMS, order.copy.source), *lost)
    return tuple(lost)


def asks_otherwise(job: HasMeta, facts: Facts, *, settings: Settings) -> bool:
    """Tell whether a Job was made for something else than what is asked for now."""
    said = job.metadata.annotation(names.ASKED_ANNOTATION)
    if said is None or facts.namespace is Unread.NOT_SYNCED or isinstance(facts.ask, str):
        return False  # of a version, or a project, that does not say it; or its namespace's part in it is not known yet
    return said != digest_of(facts.ask, facts, settings)


def _asks_for_another_key(job: HasMeta, facts: Facts, settings: Settings) -> bool:
    if isinstance(facts.ask, str):
        return False
    said = job.metadata.annotation(names.ASKED_ANNOTATION) or ""
    return said.partition(KEYS)[2] != digest_of(facts.ask, facts, settings).partition(KEYS)[2]


def find_outdated(order: Order, facts: Facts, ask: Ask) -> tuple[Temporary, ...]:
    """Return claims and snapshots that nothing was written to, and that are asked for otherwise by now. With a Job nothing is: that goes first."""
    job = facts.run.job
    return () if job is not None and order.owner.holds(job) else tuple(_outdated(order, facts, ask))


def stamp(answer: Answer, ask: Ask) -> Answer:
    """Return the answer with what was asked for written on each volume and snapshot that it makes."""
    if isinstance(answer, Rest):
        return replace(answer, steps=_stamped(answer.steps, ask))
    return replace(answer, before=_stamped(answer.before, ask), after=_stamped(answer.after, ask))


def _outdated(order: Order, facts: Facts, ask: Ask) -> Iterator[Temporary]:
    claim, snapshot, lasting = facts.run.claim, facts.run.snapshot, lasting_owner(ask)
    found: list[_Candidate] = []
    if claim is not None and _has_no_volume(claim):
        found.append((order.owner, PERSISTENT_VOLUME_CLAIMS, claim))
    if snapshot is not None and claim is None and not is_snapshot_ready(snapshot):
        found.append((order.owner, VOLUME_SNAPSHOTS, snapshot))
    made = (facts.run.source if ask.makes_claim else None, facts.belongings.cache)
    found.extend(
        (lasting, PERSISTENT_VOLUME_CLAIMS, each) for each in made if each is not None and _has_no_volume(each)
    )
    for owner, resource, child in found:
        if owner.owns(child) and _was_asked_otherwise(resource, child, ask):
            yield resource, child


def _has_no_volume(claim: PersistentVolumeClaim) -> bool:
    """Tell whether nothing can have been written to a claim. One that is lost has had a volume, and what names one is about to be bound to it."""
    return not is_bound(claim) and not is_lost(claim) and not (claim.spec is not None and claim.spec.volume_name)


def _was_asked_otherwise(resource: Resource[Any], child: HasMeta, ask: Ask) -> bool:
    said = child.metadata.annotation(names.ASKED_ANNOTATION)
    return said is not None and said != _digest_volume(ask, resource, child.metadata.name)


def _stamped(steps: tuple[Effect, ...], ask: Ask) -> tuple[Effect, ...]:
    return tuple(
        replace(step, manifest=_noted(step.resource, step.manifest, ask))
        if isinstance(step, Create) and step.resource in _VOLUMES
        else step
        for step in steps
    )


def _noted(resource: Resource[Any], manifest: dict[str, Any], ask: Ask) -> dict[str, Any]:
    metadata = manifest["metadata"]
    annotations = {
        **metadata.get("annotations", {}),
        names.ASKED_ANNOTATION: _digest_volume(ask, resource, metadata["name"]),
    }
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def _digest_volume(ask: Ask, resource: Resource[Any], name: str) -> str:
    """Return a digest of all that people choose of a volume or snapshot: a larger cache takes nobody's snapshot away, which may take its hour."""
    options = ask.options
    if resource is VOLUME_SNAPSHOTS:
        return _digest((ask.claim, options.volume_snapshot_class_name))
    volume = (options.storage_class_name, options.access_modes)
    if isinstance(options, ResticSource | ResticDestination) and name == names.cache_claim(ask.role, ask.metadata.name):
        cache = (options.cache_capacity, options.cache_storage_class_name, options.cache_access_modes)
        return _digest((*cache, *volume))
    mode = options.volume_mode if isinstance(options, RsyncDestination | RsyncTLSDestination) else None
    return _digest((ask.claim, ask.copy_method, options.capacity, *volume, mode))


def _digest(chosen: tuple[Any, ...]) -> str:
    return hashlib.sha256(msgspec.json.encode(chosen)).hexdigest()[:16]
