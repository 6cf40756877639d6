"""Preflight checks of a DataMover: what must be true before its run starts. Pure.

What is missing becomes a condition with a reason, not a crash loop and not a silent wait; it heals by itself when the missing thing
appears.
"""

from collections.abc import Callable
from typing import Final

from datamover.api import reasons
from datamover.api.credentials import KEYS, METADATA_DISABLED, find_credentials
from datamover.api.transfer import REQUIRED_VARIABLES, runs_programs
from datamover.api.v1alpha1.datamover import DataMoverSpec
from datamover.api.v1alpha1.validation import check_spec
from datamover.api.validation import quote
from datamover.reconcilers.datamover.facts import Facts, Unread
from datamover.reconcilers.datamover.order import FIELDS, copy_of
from datamover.runs import preflight as runs
from datamover.volumes.binding import Obstacle
from kubekit.words.core import SecretKeys

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
    return check_secret(spec, facts.secret)


def check_secret(spec: DataMoverSpec, secret: SecretKeys | Unread) -> Obstacle | None:
    """Return what the Secret lacks, or has that it may not have. Without the right to read it nothing is claimed: the mover says it then."""
    promised = spec.mover is not None and spec.mover.service_account_name is not None
    if secret is Unread.MISSING:
        wanted = [key for key in REQUIRED_VARIABLES if not promised or key not in KEYS]
        return Obstacle(
            reasons.SECRET_NOT_FOUND,
            f"Secret {spec.secret_name} does not exist in this namespace: create it with {', '.join(wanted)}, "
            "or correct spec.secretName",
            waits=True,
        )
    if isinstance(secret, Unread):
        return None
    said = {variable.name for variable in spec.additional_env or ()}
    programs = [key for key in secret.keys if runs_programs(key) and key not in said]
    if programs:
        return Obstacle(
            reasons.SECRET_KEY_REFUSED,
            f"Secret {spec.secret_name} has {', '.join(map(quote, programs))}: each key becomes a variable of the mover, and with these it would run other "
            "programs than its image means to. Remove them there, or set them in spec.additionalEnv if that is meant",
            waits=True,
        )
    given = {variable.name for variable in spec.additional_env or () if variable.value or variable.value_from}
    found = find_credentials(
        lambda name: name in given or (name in secret.keys and name not in secret.empty),
        # the Secret's values are not known here; the mover looks whether it is meant
        promised=promised or METADATA_DISABLED in given or METADATA_DISABLED in secret.keys,
    )
    required = [key for key in REQUIRED_VARIABLES if key not in KEYS or key in found.missing]
    missing = [key for key in required if key not in given and key not in secret.keys]
    empty = [key for key in required if key not in given and key in secret.empty]
    if not missing and not empty:
        return None
    parts = [f"lacks {', '.join(missing)}"] if missing else []
    parts += [f"has no value for {', '.join(empty)}"] if empty else []
    near = [key for key in secret.keys if key.strip().upper() in missing and key not in REQUIRED_VARIABLES]
    hint = f" (it has {', '.join(quote(key) for key in near)}: names are exact)" if near else ""
    keyless = (
        ""
        if len(found.missing) < len(KEYS)
        else "; or name a service account with a role in spec.mover.serviceAccountName"
    )
    return Obstacle(
        reasons.SECRET_KEY_MISSING,
        f"Secret {spec.secret_name} {' and '.join(parts)}{hint}: add the keys there or to spec.additionalEnv{keyless}",
        waits=True,
    )


CHECKS: Final[tuple[Check, ...]] = (
    _check_spec,  # what the definition's own schema cannot see
    _check_copy,  # the source is there, and its driver can copy it
    _check_secret,  # the mover is given what it needs to reach the destination
)
