"""What a decision believes to be gone because the caches do not show it. Pure.

A cache lags: its watch is slow, or it was filled from a server that was behind. What this process has seen come and go is gone; anything
else that a decision builds upon is asked for once more (laws L4, L7). An undisturbed run asks nothing.
"""

from typing import Any

from datamover.api.names import CopyMethod
from datamover.api.v1alpha1.datamover import Run
from datamover.plans.steps import ProveGone
from datamover.reconcilers.datamover.facts import Facts
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kubekit.words.meta import HasMeta, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS


def confirm_copy_gone(facts: Facts, run: Run) -> tuple[ProveGone, ...]:
    """Return what makes sure that a run has lost its clone, and its snapshot if it had one."""
    copies = [_unless_there(facts, PERSISTENT_VOLUME_CLAIMS, _clone(facts), facts.clone)]
    if run.copy_method == CopyMethod.SNAPSHOT:
        copies.append(_unless_there(facts, VOLUME_SNAPSHOTS, run.snapshot_name, facts.snapshot))
    return tuple(step for steps in copies for step in steps)


def confirm_clean(facts: Facts, run: Run, *, deletes: bool) -> tuple[ProveGone, ...]:
    """Return what makes sure that nothing temporary is left. `deletes` tells that the clone and its Job were to go."""
    gone: list[tuple[ProveGone, ...]] = []
    if deletes:
        gone.append(_unless_there(facts, JOBS, run.job_name, facts.job))
        gone.append(_unless_there(facts, PERSISTENT_VOLUME_CLAIMS, _clone(facts), facts.clone))
        gone.append(_unless_there(facts, PERSISTENT_VOLUMES, facts.seen.volume, None))
    if run.copy_method == CopyMethod.SNAPSHOT:
        gone.append(_unless_there(facts, VOLUME_SNAPSHOTS, run.snapshot_name, facts.snapshot))
    return tuple(step for steps in gone for step in steps)


def _unless_there(
    facts: Facts, resource: Resource[Any], name: str | None, child: HasMeta | None
) -> tuple[ProveGone, ...]:
    if name is None or child is not None or (resource.kind, name) in facts.seen.children:
        return ()
    return (ProveGone(resource, name),)


def _clone(facts: Facts) -> str | None:
    return facts.mover.status.restored_pvc_name if facts.mover.status else None
