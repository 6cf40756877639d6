"""What a decision believes to be gone because the caches do not show it. Pure.

A cache lags: its watch is slow, or it was filled from a server that was behind. What this process has seen come and go is gone; anything
else that a decision builds upon is asked for once more (laws L4, L7). An undisturbed run asks nothing.
"""

from collections.abc import Iterable
from typing import Any

from datamover.plans.steps import ProveGone
from datamover.runs.facts import RunFacts
from datamover.runs.order import Order
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kubekit.words.meta import HasMeta, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS

_Absent = tuple[Resource[Any], str | None, HasMeta | None]
"""A kind, a name, and what the caches show of it."""


def prove_copy_gone(order: Order, facts: RunFacts) -> tuple[ProveGone, ...]:
    """Return what makes sure that a run has lost its copy, and its snapshot if it had one."""
    return _prove(order, facts, (_claim(order, facts), *_snapshots(order, facts)))


def prove_clean(order: Order, facts: RunFacts) -> tuple[ProveGone, ...]:
    """Return what makes sure that nothing temporary is left."""
    gone: list[_Absent] = []
    if order.job_is_temporary:
        gone.append((JOBS, order.transfer.job, facts.job))
    if order.copy.temporary and not order.copy.direct:
        gone.append(_claim(order, facts))
        gone.append((PERSISTENT_VOLUMES, facts.known.seen.volume, None))
    return _prove(order, facts, (*gone, *_snapshots(order, facts)))


def _claim(order: Order, facts: RunFacts) -> _Absent:
    return PERSISTENT_VOLUME_CLAIMS, order.copy.claim, facts.claim


def _snapshots(order: Order, facts: RunFacts) -> tuple[_Absent, ...]:
    return ((VOLUME_SNAPSHOTS, order.copy.snapshot, facts.snapshot),) if order.copy.by_snapshot else ()


def _prove(order: Order, facts: RunFacts, absent: Iterable[_Absent]) -> tuple[ProveGone, ...]:
    return tuple(
        ProveGone(resource, name, claim=order.copy.claim if resource is PERSISTENT_VOLUMES else None)
        for resource, name, child in absent
        if name is not None and child is None and (resource.kind, name) not in facts.known.seen.children
    )
