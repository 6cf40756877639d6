"""Preflight checks of a DataMoverRestore: what must be true before it is recorded. Pure.

What is missing becomes a condition with a reason, not a crash loop and not a silent wait; it heals by itself when the missing thing appears.
"""

from collections.abc import Callable
from typing import Final

from datamover.api import reasons
from datamover.api.v1alpha1.datamover import DataMover
from datamover.api.v1alpha1.restore import DataMoverRestoreSpec
from datamover.api.v1alpha1.restore_validation import check_spec
from datamover.api.validation import quote
from datamover.api.variables import carries_secret
from datamover.reconcilers.restore.facts import Facts
from datamover.reconcilers.restore.gather import secret_of
from datamover.reconcilers.restore.safety import check_copyable
from datamover.reconcilers.restore.target import check_target
from datamover.reconcilers.secrets import check_secret
from datamover.runs.facts import Unread
from datamover.volumes.binding import Obstacle

_SHOWN: Final = 5
"""Names of variables that a message has at most."""

Check = Callable[[Facts, DataMoverRestoreSpec], Obstacle | None]


def find_obstacle(facts: Facts, spec: DataMoverRestoreSpec) -> Obstacle | None:
    """Return the first thing that stands against the restore, or None."""
    return next((found for check in CHECKS if (found := check(facts, spec)) is not None), None)


def _check_spec(facts: Facts, spec: DataMoverRestoreSpec) -> Obstacle | None:
    finding = check_spec(spec, now=facts.run.now)
    return Obstacle(finding.reason, finding.message, waits=False) if finding is not None else None


def _check_mover(facts: Facts, spec: DataMoverRestoreSpec) -> Obstacle | None:
    name = spec.source.data_mover
    if name is None or isinstance(facts.mover, DataMover):
        return None
    known = "does not exist in this namespace" if facts.mover is Unread.MISSING else "cannot be read by the operator"
    return Obstacle(
        reasons.DATA_MOVER_NOT_FOUND,
        f"DataMover {name} {known}: correct spec.source.dataMover, or name the bucket itself: spec.source.bucket needs no DataMover",
        waits=True,
    )


def _check_literals(facts: Facts, spec: DataMoverRestoreSpec) -> Obstacle | None:
    """What is taken from a DataMover is recorded, and a status is read by many who may read no Secret (law L8)."""
    taken = facts.mover.spec.additional_env or () if isinstance(facts.mover, DataMover) and facts.mover.spec else ()
    plain = [each.name for each in taken if each.value and carries_secret(each.name, each.value)]
    if not plain:
        return None
    shown = ", ".join(map(quote, plain[:_SHOWN])) + (f" and {len(plain) - _SHOWN} more" if len(plain) > _SHOWN else "")
    return Obstacle(
        reasons.INVALID_ENVIRONMENT,
        f"DataMover {spec.source.data_mover} has credentials as plain values in its spec.additionalEnv ({shown}), and what a restore takes from there is "
        "recorded in its status: put them into its Secret, or take them from one by valueFrom.secretKeyRef. Or name spec.source.bucket, and what else is "
        "needed in spec.additionalEnv of the restore, which is not recorded",
        waits=True,
    )


def _check_target(facts: Facts, spec: DataMoverRestoreSpec) -> Obstacle | None:
    return check_target(facts, spec.target.claim_name)


def _check_safety(facts: Facts, spec: DataMoverRestoreSpec) -> Obstacle | None:
    return check_copyable(facts.run, spec.target.claim_name) if spec.in_place else None


def _check_secret(facts: Facts, spec: DataMoverRestoreSpec) -> Obstacle | None:
    name = secret_of(spec, facts.mover)
    if name is None:
        return None
    taken = facts.mover.spec.additional_env or () if isinstance(facts.mover, DataMover) and facts.mover.spec else ()
    return check_secret(
        name,
        facts.secret,
        environment=(*taken, *(spec.additional_env or ())),
        promised=spec.mover is not None and spec.mover.service_account_name is not None,
        field="spec.source",
    )


CHECKS: Final[tuple[Check, ...]] = (
    _check_spec,  # what the definition's own schema cannot see
    _check_mover,  # the DataMover that is named is there
    _check_literals,  # nothing that is secret would be recorded
    _check_target,  # the claim is there or can be made, and takes files
    _check_safety,  # in place, the claim can be copied
    _check_secret,  # the mover is given what it needs to reach the bucket
)
