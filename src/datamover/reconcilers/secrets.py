"""Whether a Secret gives a mover what it needs to reach its store. Pure."""

from collections.abc import Collection

from datamover.api import reasons
from datamover.api.credentials import KEYS, METADATA_DISABLED, find_credentials
from datamover.api.pods import EnvVar
from datamover.api.transfer import REQUIRED_VARIABLES, runs_programs
from datamover.api.validation import quote
from datamover.runs.facts import Unread
from datamover.volumes.binding import Obstacle
from kubekit.words.core import SecretKeys


def check_secret(
    name: str, secret: SecretKeys | Unread, *, environment: Collection[EnvVar], promised: bool, field: str
) -> Obstacle | None:
    """Return what the Secret lacks, or has that it may not have. Without the right to read it nothing is claimed: the mover says it then.

    `environment` is what the mover is given beside it, `promised` whether a service account has a role in the place of keys, `field` how the kind
    calls the Secret's name.
    """
    if secret is Unread.MISSING:
        wanted = [key for key in REQUIRED_VARIABLES if not promised or key not in KEYS]
        return Obstacle(
            reasons.SECRET_NOT_FOUND,
            f"Secret {name} does not exist in this namespace: create it with {', '.join(wanted)}, or correct {field}",
            waits=True,
        )
    if isinstance(secret, Unread):
        return None
    said = {variable.name for variable in environment}
    programs = [key for key in secret.keys if runs_programs(key) and key not in said]
    if programs:
        return Obstacle(
            reasons.SECRET_KEY_REFUSED,
            f"Secret {name} has {', '.join(map(quote, programs))}: each key becomes a variable of the mover, and with these it would run other "
            "programs than its image means to. Remove them there, or set them in spec.additionalEnv if that is meant",
            waits=True,
        )
    given = {variable.name for variable in environment if variable.value or variable.value_from}
    found = find_credentials(
        lambda key: key in given or (key in secret.keys and key not in secret.empty),
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
        f"Secret {name} {' and '.join(parts)}{hint}: add the keys there or to spec.additionalEnv{keyless}",
        waits=True,
    )
