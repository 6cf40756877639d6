"""What a backup takes in: namespaces, and claims. As far as it says so itself, or the claim does; policies of Velero lie elsewhere. Pure."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

from datamover.api.velero import names
from datamover.api.velero.backup import Backup, BackupSpec
from kubekit.words.core import PersistentVolumeClaim
from kubekit.words.selectors import selects

_PATTERN_LIMIT: Final = 253
_BOUND: Final = "Bound"
_CLAIMS: Final = frozenset({"persistentvolumeclaims", "persistentvolumeclaim", "pvc", "*"})
"""How a list of resources may name them, in small letters."""


def includes(backup: Backup, namespace: str) -> bool:
    """Tell whether a backup has this namespace in it: no list and `*` mean all, what is excluded is not."""
    spec = backup.spec
    included = (spec.included_namespaces if spec is not None else None) or (names.ALL_NAMESPACES,)
    excluded = (spec.excluded_namespaces if spec is not None else None) or ()
    return _matches(included, namespace) and not _matches(excluded, namespace)


def _matches(patterns: Iterable[str], namespace: str) -> bool:
    return any(
        pattern == namespace or (len(pattern) <= _PATTERN_LIMIT and fnmatchcase(namespace, pattern))
        for pattern in patterns
    )


def is_taken(backup: Backup, claim: PersistentVolumeClaim) -> bool:
    """Tell whether a claim has a volume, and nothing that can be seen of it or of the backup leaves it out."""
    bound = claim.status is not None and claim.status.phase == _BOUND
    return bound and not claim.metadata.terminating and not is_left_out(backup, claim)


def is_left_out(backup: Backup, claim: PersistentVolumeClaim) -> bool:
    """Tell whether something that can be seen of a claim or of the backup leaves it out."""
    meta, spec = claim.metadata, backup.spec or BackupSpec()
    if meta.label(names.EXCLUDE_LABEL) == "true" or meta.annotation(names.SKIP_ANNOTATION) is not None:
        return True
    labels = meta.labels or {}
    chosen = (spec.label_selector, *(spec.or_label_selectors or ()))
    selectors = [each for each in chosen if each is not None]
    if selectors and not any(selects(each, labels) for each in selectors):
        return True
    return not (_has_claims(spec) and includes(backup, meta.namespace or ""))


def _has_claims(spec: BackupSpec) -> bool:
    """Tell whether a backup has claims, and moves or snapshots their volumes. A word that is not known here may well leave them out."""
    included = (spec.included_resources, spec.included_namespace_scoped_resources)
    excluded = (spec.excluded_resources, spec.excluded_namespace_scoped_resources)
    if any(each and not _names_claims(each) for each in included) or any(
        _names_claims(each or ()) for each in excluded
    ):
        return False
    return spec.snapshot_volumes is not False or spec.default_volumes_to_fs_backup is True


def _names_claims(resources: Iterable[str]) -> bool:
    return any(each.lower() in _CLAIMS for each in resources)
