"""Narrow view of populator.storage.k8s.io/v1beta1: which kinds a claim may name as the source of its data."""

from kubekit.words.meta import Model, ObjectMeta, Resource


class SourceKind(Model, frozen=True):
    """A kind by group and name."""

    group: str = ""
    kind: str = ""


class VolumePopulator(Model, frozen=True):
    """Says that somebody fills claims from objects of a kind."""

    metadata: ObjectMeta = ObjectMeta()
    source_kind: SourceKind | None = None


VOLUME_POPULATORS = Resource(
    "populator.storage.k8s.io", "v1beta1", "volumepopulators", "VolumePopulator", VolumePopulator, namespaced=False
)
