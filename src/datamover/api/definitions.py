"""Every CustomResourceDefinition of the project. Pure."""

from datamover.api.cdi.definition import (
    cdi_config_crd,
    cdi_crd,
    data_import_cron_crd,
    data_source_crd,
    data_volume_crd,
    storage_profile_crd,
)
from datamover.api.v1alpha1.definition import data_mover_crd, data_mover_restore_crd
from datamover.api.volsync.definition import replication_destination_crd, replication_source_crd
from kubekit.words.meta import Manifest


def crds() -> tuple[Manifest, ...]:
    """Return the definitions of our own kinds."""
    return (data_mover_crd(), data_mover_restore_crd())


def replication_crds() -> tuple[Manifest, ...]:
    """Return the definitions of group volsync.backube. A cluster that has another project's keeps those: nothing of ours is needed in them."""
    return (replication_source_crd(), replication_destination_crd())


def data_volume_crds() -> tuple[Manifest, ...]:
    """Return the definitions of group cdi.kubevirt.io. They are for clusters without a CDI: one that has it keeps its own."""
    return (
        data_volume_crd(),
        data_source_crd(),
        data_import_cron_crd(),
        storage_profile_crd(),
        cdi_config_crd(),
        cdi_crd(),
    )
