"""How a DataVolume stands to the claim of its name: is it there, is it its own, may it be taken over, or is it anybody's. Pure.

A claim that was not made for this very DataVolume (its UID is on the claim) is never written into: it may be the only copy of somebody's data.
"""

from enum import Enum

from datamover.api.cdi import names
from datamover.api.cdi.config import CDIConfig
from datamover.api.cdi.data_volume import DataVolume
from datamover.reconcilers.datavolume.facts import Facts
from datamover.volumes.handover import describe_source, digest_source, read_record
from kubekit.words.core import PersistentVolumeClaim


class Standing(Enum):
    """What the claim of its name is to a DataVolume."""

    NONE = "there is none"
    GOING = "it is being deleted"
    OWN = "it was made for this DataVolume, which fills it"
    ADOPTED = "it was there before, and is the DataVolume's as it is"
    PRE_POPULATED = "it says that it was filled for a DataVolume of this name"
    COLLECTED = "it was filled for a DataVolume like this one, which was collected"
    HANDED_OVER = "this DataVolume is being collected"
    FOREIGN = "it is somebody else's"


def stand_of(facts: Facts) -> Standing:
    """Return how a DataVolume stands to the claim of its name."""
    volume, claim = facts.volume, facts.claim
    if claim is None:
        return Standing.NONE
    meta, uid = claim.metadata, volume.metadata.uid
    record = read_record(meta)
    if record is not None and record.uid == uid:
        return Standing.HANDED_OVER
    if meta.terminating:
        return Standing.GOING
    if meta.owned_by(uid):
        return _judge_own(volume, claim)
    if any(each.controller for each in meta.owner_references or ()):
        return Standing.COLLECTED if _is_collected(volume, claim) else Standing.FOREIGN
    if meta.annotation(names.POPULATED_FOR) == volume.metadata.name:
        return Standing.PRE_POPULATED
    # A claim with our own UID was made for us, and somebody has taken it away: that is what keeps a handover safe.
    if meta.annotation(names.CREATED_FOR) != uid and may_adopt(volume, facts.config):
        return Standing.ADOPTED
    return Standing.COLLECTED if _is_collected(volume, claim) else Standing.FOREIGN


def may_adopt(volume: DataVolume, config: CDIConfig | None) -> bool:
    """Tell whether a DataVolume may take over a claim of its name: its own word counts, then the cluster's."""
    said = volume.metadata.annotation(names.ALLOW_ADOPTION)
    if said is not None:
        return said == "true"
    gates = config.spec.feature_gates if config is not None and config.spec is not None else None
    return names.CLAIM_ADOPTION_GATE in (gates or ())


def _judge_own(volume: DataVolume, claim: PersistentVolumeClaim) -> Standing:
    """Its own: made for it, or taken over. What says neither is not written into, whatever its status says."""
    meta, uid = claim.metadata, volume.metadata.uid
    if meta.annotation(names.ADOPTED) == uid:
        filled = meta.annotation(names.POPULATED_FOR) == volume.metadata.name
        return Standing.PRE_POPULATED if filled else Standing.ADOPTED
    if meta.annotation(names.CREATED_FOR) == uid:
        return Standing.OWN
    done = volume.status is not None and volume.status.phase == names.Phase.SUCCEEDED
    if meta.annotation(names.POPULATED_FOR) == volume.metadata.name:
        return Standing.PRE_POPULATED
    return Standing.OWN if done else Standing.FOREIGN


def _is_collected(volume: DataVolume, claim: PersistentVolumeClaim) -> bool:
    """Tell whether the claim was filled for a DataVolume that asked for the same, and was collected: it is not filled again."""
    record = read_record(claim.metadata)
    return (
        record is not None
        and claim.metadata.annotation(names.GARBAGE_COLLECTED) == "true"
        and record.name == volume.metadata.name
        and record.source == describe_source(volume.spec)
        # records of before have no digest
        and record.digest in ("", digest_source(volume.spec, record.uid))
    )
