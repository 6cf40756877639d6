"""A volume that cannot be made where it was to be: letting the scheduler choose another node. Pure."""

from datamover.plans.steps import Annotate, Delete, Effect
from datamover.volumes.population import node_of
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, SELECTED_NODE, PersistentVolumeClaim


def give_node_back(claim: PersistentVolumeClaim, prime: PersistentVolumeClaim) -> tuple[Effect, ...]:
    """Return the steps after a driver has taken the node away from a temporary claim, for it can make no volume there.

    The scheduler chooses for the user's claim, where a Pod waits: so that one loses its node too, and the temporary claim is made anew.
    """
    again = Delete(PERSISTENT_VOLUME_CLAIMS, prime.metadata)
    if node_of(claim) is None:
        return (again,)
    return (Annotate(PERSISTENT_VOLUME_CLAIMS, claim.metadata, {SELECTED_NODE: None}), again)
