"""Who asks for the collection of a DataVolume, or refuses it. Pure."""

from collections.abc import Mapping
from enum import Enum

from datamover.api.cdi import names
from kubekit.words.meta import ObjectMeta


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


_MARKERS = (
    "argocd.argoproj.io/tracking-id",
    "argocd.argoproj.io/instance",
    "kustomize.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/name",
    "meta.helm.sh/release-name",
)


def find_manager(meta: ObjectMeta) -> str:
    """Return by which mark another program says that the object is its own and would make it again; empty without one."""
    for marker in _MARKERS:
        if meta.annotation(marker) is not None or meta.label(marker) is not None:
            return marker
    managed_by = "app.kubernetes.io/managed-by"
    return f"{managed_by}: Helm" if meta.label(managed_by) == "Helm" else ""
