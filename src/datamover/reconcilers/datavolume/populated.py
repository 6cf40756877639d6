"""Whether the claim of a DataVolume is filled, and whose work that is. Pure."""

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.reconcilers.datavolume.facts import Facts, Origin
from datamover.volumes.binding import is_bound
from datamover.volumes.rebinding import holder_of
from kubekit.words.core import PersistentVolume, PersistentVolumeClaim
from kubekit.words.meta import HasMeta


def names_volume(claim: PersistentVolumeClaim) -> bool:
    """Tell whether a claim says that a DataVolume fills it, so that no driver makes a volume for it."""
    source = claim.spec.data_source_ref if claim.spec is not None else None
    return source is not None and (source.api_group, source.kind) == (names.GROUP, DATA_VOLUMES.kind)


def is_filled_elsewhere(claim: PersistentVolumeClaim) -> bool:
    """Tell whether a claim says that somebody else fills it: its driver, from another volume, or a populator."""
    source = (claim.spec.data_source_ref or claim.spec.data_source) if claim.spec is not None else None
    return source is not None and not names_volume(claim)


def is_populated(facts: Facts, claim: PersistentVolumeClaim) -> bool:
    """Tell whether the data are proved to be there: by our mark on the claim, or on the volume that it is bound to."""
    if claim.metadata.annotation(names.POPULATED) == facts.volume.metadata.uid:
        return True
    volume = facts.claim_volume
    return is_bound(claim) and isinstance(volume, PersistentVolume) and _is_marked(volume, claim)


def _is_marked(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    return volume.metadata.annotation(names.POPULATED) == claim.metadata.uid and holder_of(volume) == claim.metadata.uid


def is_replaced(facts: Facts, copy: HasMeta) -> bool:
    """Tell whether the source is another one of the same name than what says of itself that it was begun as the copy of one: a claim, or a worker's Job."""
    said, origin = copy.metadata.annotation(names.COPIED_FROM), facts.origin
    return said is not None and isinstance(origin, Origin) and origin.metadata.uid != said
