"""Deleting a temporary claim of another namespace, and nothing that was not made for it (law L2). Pure.

Kubernetes may bind such a claim to a volume that was there and fits it. With the reclaim policy Delete that one would go with the claim, and what is in it. So it is
told to stay first: it is Released then, and its administrator gives it to whom he wants.
"""

from typing import Final

from datamover.api import reasons
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.plans.steps import Delete, Effect, Emit, Patch
from datamover.runs.facts import Unread
from datamover.volumes.binding import is_lost
from datamover.volumes.rebinding import KEEP, would_take_along
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PersistentVolume, PersistentVolumeClaim

_ACTION: Final = "Remove"


def dismiss(temporary: PersistentVolumeClaim, volume: PersistentVolume | Unread | None) -> tuple[Effect, ...]:
    """Return the steps that delete a temporary claim; without a deletion while nobody knows what would go with it. `volume` is what the claim is bound to."""
    meta = temporary.metadata
    where = f"{meta.namespace}/{meta.name}"
    named = temporary.spec.volume_name if temporary.spec is not None else None
    if not named:
        # it may be given one in this moment
        return (Delete(PERSISTENT_VOLUME_CLAIMS, meta, as_seen=True),)
    if volume is Unread.FORBIDDEN:
        message = (
            f"claim {where} is to be removed, and stays, for the operator may not read PersistentVolume {named}, which would go with it: grant it get, list, watch and "
            f"patch of them (docs/permissions.md), or delete the claim"
        )
        return (Emit("Warning", reasons.PERMISSION_MISSING, message, _ACTION),)
    if not isinstance(volume, PersistentVolume):
        return (Delete(PERSISTENT_VOLUME_CLAIMS, meta),) if is_lost(temporary) else ()  # its watch is late
    delete = Delete(PERSISTENT_VOLUME_CLAIMS, meta)
    if not would_take_along(temporary, volume):
        return (delete,)
    message = (
        f"PersistentVolume {volume.metadata.name} was not made for claim {where}, which is removed: its reclaim policy is Retain from now on, so that it stays with what "
        f"is in it. Take its claimRef away to let others have it"
    )
    return (
        Patch(PERSISTENT_VOLUMES, volume.metadata, KEEP),
        Emit("Warning", Reason.VOLUME_KEPT, message, _ACTION),
        delete,
    )
