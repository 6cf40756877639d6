"""Preflight checks of a DataMover: what must be true before its run starts. Pure.

What is missing becomes a condition with a reason, not a crash loop and not a silent wait; it heals by itself when the missing thing
appears.
"""

from collections.abc import Callable
from typing import Final

from datamover.api.v1alpha1.datamover import DataMoverSpec
from datamover.api.v1alpha1.validation import check_spec
from datamover.reconcilers.datamover.facts import Facts
from datamover.reconcilers.datamover.order import FIELDS, copy_of
from datamover.reconcilers.secrets import check_secret
from datamover.runs import preflight as runs
from datamover.volumes.binding import Obstacle

Check = Callable[[Facts, DataMoverSpec], Obstacle | None]


def find_obstacle(facts: Facts, spec: DataMoverSpec) -> Obstacle | None:
    """Return the first thing that stands against the run, or None."""
    return next((found for check in CHECKS if (found := check(facts, spec)) is not None), None)


def _check_spec(facts: Facts, spec: DataMoverSpec) -> Obstacle | None:
    del facts
    finding = check_spec(spec)
    return Obstacle(finding.reason, finding.message, waits=False) if finding is not None else None


def _check_copy(facts: Facts, spec: DataMoverSpec) -> Obstacle | None:
    copy = copy_of(facts.mover, spec, None, claim=facts.clone_name, now=facts.run.now)
    return runs.find_obstacle(copy, FIELDS, facts.run)


def _check_secret(facts: Facts, spec: DataMoverSpec) -> Obstacle | None:
    return check_secret(
        spec.secret_name,
        facts.secret,
        environment=spec.additional_env or (),
        promised=spec.mover is not None and spec.mover.service_account_name is not None,
        field="spec.secretName",
    )


CHECKS: Final[tuple[Check, ...]] = (
    _check_spec,  # what the definition's own schema cannot see
    _check_copy,  # the source is there, its driver can copy it, and nobody restores into it
    _check_secret,  # the mover is given what it needs to reach the destination
)
