"""What stands against beginning a run. Pure.

What is missing becomes a condition with a reason, not a crash loop and not a silent wait; it heals by itself when the missing thing
appears (DESIGN: one backup, end to end, step 2).
"""

from datamover.api import reasons
from datamover.api.credentials import KEYS, METADATA_DISABLED, find_credentials
from datamover.api.names import CopyMethod
from datamover.api.transfer import REQUIRED_VARIABLES, runs_programs
from datamover.api.v1alpha1.datamover import DataMoverSpec
from datamover.api.v1alpha1.validation import check_spec
from datamover.api.validation import quote
from datamover.reconcilers.datamover.facts import Facts, Unread
from datamover.volumes.binding import Obstacle, check_class, check_source, choose_snapshot_class
from kubekit.words.core import PersistentVolumeClaim, SecretKeys


def find_obstacle(facts: Facts, spec: DataMoverSpec) -> Obstacle | None:
    """Return the first thing that stands against the run, or None."""
    finding = check_spec(spec)
    if finding is not None:
        return Obstacle(finding.reason, finding.message, waits=False)
    method = spec.copy_method
    found = check_source(spec.source_pvc, facts.source, method=method, storage_class=facts.source_class)
    if found is None and facts.source is not None and method != CopyMethod.DIRECT:
        found = check_copyable(facts, facts.source, spec)
    if found is None and method == CopyMethod.SNAPSHOT:
        found = _check_snapshots(facts, spec)
    return found or check_secret(spec, facts.secret)


def check_copyable(facts: Facts, source: PersistentVolumeClaim, spec: DataMoverSpec) -> Obstacle | None:
    """Return why no driver can copy the source, or not yet. Where PersistentVolumes may not be read, only the class is judged."""
    volume = facts.source_volume
    if volume is Unread.NOT_SYNCED:
        name = source.spec.volume_name if source.spec else ""
        return Obstacle(
            reasons.SOURCE_NOT_BOUND,
            f"PersistentVolumeClaim {source.metadata.name} is bound to PersistentVolume {name}, which the operator has not seen yet; the "
            "run begins when it has",
            waits=True,
        )
    return check_class(
        source,
        wanted=spec.storage_class_name,
        storage_class=facts.clone_class,
        volume=None if isinstance(volume, Unread) else volume,
    )


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


def _check_snapshots(facts: Facts, spec: DataMoverSpec) -> Obstacle | None:
    if facts.snapshot_classes is None:
        return Obstacle(
            reasons.SNAPSHOTS_NOT_SUPPORTED,
            "this cluster has no snapshot.storage.k8s.io/v1 API: install the snapshot controller and its CRDs, or set copyMethod: Clone",
            waits=True,
        )
    chosen = choose_snapshot_class(facts.snapshot_classes, wanted=spec.volume_snapshot_class_name, driver=facts.driver)
    return chosen if isinstance(chosen, Obstacle) else None
