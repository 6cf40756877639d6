"""Who asks for the collection of a DataVolume, or refuses it; and the stamp by which new ones ask where a lifetime is set. Pure.

The stamp bears a mark, so that it is never taken for the user's own word. It is set when a DataVolume is created (the webhook does it), or soon
after (the controller does, where there is no webhook), and never a second time: who takes it away has refused.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum

from datamover.api.cdi import names
from datamover.volumes.collection_time import Lifetime
from kubekit.words.meta import ObjectMeta
from kubekit.words.timestamps import parse


class Asked(Enum):
    """What a DataVolume's annotations say."""

    NO = "nobody asks for it"
    REFUSED = "its user refuses it"
    STAMPED = "our stamp asks for it"
    BY_USER = "its user asks for it"


def who_asks(annotations: Mapping[str, str]) -> Asked:
    """Return what is said under the two keys: `false` under either wins, and nothing but exactly `true` asks."""
    said = [annotations.get(key) for key in names.ASKING_KEYS]
    if "false" in said:
        return Asked.REFUSED
    if "true" not in said:
        return Asked.NO
    return Asked.STAMPED if names.STAMPED in annotations else Asked.BY_USER


def stamp_new(annotations: Mapping[str, str], lifetime: Lifetime) -> dict[str, str]:
    """Return what is to be added to the annotations of a DataVolume that is being created; nothing where it is not to be stamped.

    Who refuses, and who asks by himself, has spoken. Anything else under the keys (empty, `yes`) counts as nothing said.
    """
    if lifetime.seconds is None or who_asks(annotations) is not Asked.NO:
        return {}
    return {names.DELETE_AFTER_COMPLETION: "true", names.STAMPED: "true"}


def stamp_late(meta: ObjectMeta, lifetime: Lifetime, *, since: datetime | None) -> dict[str, str]:
    """Return the same for a DataVolume that is there already. `since` is since when such a lifetime holds for it; None where nobody knows.

    Only what was created since then: who made one before had been told nothing of collection. And only where nothing is said under
    the keys, nor was: somebody may have taken the stamp away.
    """
    said = meta.annotations or {}
    touched = names.STAMPED in said or any(key in said for key in names.ASKING_KEYS)
    if touched or meta.terminating or since is None or not _is_created_since(meta, since):
        return {}
    return stamp_new(said, lifetime)


def _is_created_since(meta: ObjectMeta, since: datetime) -> bool:
    try:
        return parse(meta.creation_timestamp or "") >= since
    except (ValueError, OverflowError):
        return False


MARKERS = (
    "argocd.argoproj.io/tracking-id",
    "argocd.argoproj.io/instance",
    "kustomize.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/name",
    "meta.helm.sh/release-name",
)


def find_manager(meta: ObjectMeta) -> str:
    """Return by which mark another program says that the object is its own and would make it again; empty without one."""
    for marker in MARKERS:
        if meta.annotation(marker) is not None or meta.label(marker) is not None:
            return marker
    managed_by = "app.kubernetes.io/managed-by"
    return f"{managed_by}: Helm" if meta.label(managed_by) == "Helm" else ""
