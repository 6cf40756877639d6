"""Every CustomResourceDefinition of the project. Pure."""

from datamover.api.v1alpha1.definition import data_mover_crd
from kubekit.words.meta import Manifest


def crds() -> tuple[Manifest, ...]:
    """Return the definitions of all kinds."""
    return (data_mover_crd(),)
