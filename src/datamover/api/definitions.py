"""Every CustomResourceDefinition of the project. Pure."""

from datamover.api.v1alpha1.definition import data_mover_crd
from datamover.api.volsync.definition import replication_destination_crd, replication_source_crd
from kubekit.words.meta import Manifest


def crds() -> tuple[Manifest, ...]:
    """Return the definitions of our own kinds."""
    return (data_mover_crd(),)


def replication_crds() -> tuple[Manifest, ...]:
    """Return the definitions of group volsync.backube. A cluster that has another project's keeps those: nothing of ours is needed in them."""
    return (replication_source_crd(), replication_destination_crd())
