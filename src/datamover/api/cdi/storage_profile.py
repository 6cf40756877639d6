"""StorageProfile: what claims of a StorageClass are best made like. Pure."""

from typing import Annotated

from datamover.api.cdi import names
from datamover.api.pods import doc
from kubekit.words.meta import Model, ObjectMeta, Resource
from kubekit.words.unknown import KeepsUnknown


class ClaimProperties(Model, frozen=True):
    """A way to make a claim."""

    access_modes: Annotated[tuple[str, ...] | None, doc("Access modes.")] = None
    volume_mode: Annotated[str | None, doc("Filesystem or Block.")] = None


class StorageProfileSpec(Model, frozen=True):
    """What its users say of the class."""

    claim_property_sets: Annotated[tuple[ClaimProperties, ...] | None, doc("Ways to make a claim, the best first.")] = None  # fmt: skip
    clone_strategy: Annotated[str | None, doc("copy, snapshot or csi-clone.")] = None
    data_import_cron_source_format: Annotated[str | None, doc("pvc or snapshot.")] = None
    snapshot_class: Annotated[str | None, doc("Class of snapshots.")] = None


class StorageProfileStatus(StorageProfileSpec, frozen=True):
    """What is known of the class."""

    provisioner: Annotated[str | None, doc("Its provisioner.")] = None
    storage_class: Annotated[str | None, doc("Its name.")] = None


class StorageProfile(KeepsUnknown, frozen=True):
    """What claims of the StorageClass of this name are best made like."""

    metadata: ObjectMeta = ObjectMeta()
    spec: StorageProfileSpec | None = None
    status: StorageProfileStatus | None = None


STORAGE_PROFILES = Resource(
    names.GROUP, names.VERSION, "storageprofiles", "StorageProfile", StorageProfile, namespaced=False
)
