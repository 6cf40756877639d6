"""Narrow view of storage.k8s.io/v1."""

from typing import Final

from kubekit.words.meta import Model, ObjectMeta, Resource


class StorageClass(Model, frozen=True):
    """A class of volumes. `volume_binding_mode` unset means Immediate."""

    metadata: ObjectMeta = ObjectMeta()
    provisioner: str = ""
    volume_binding_mode: str | None = None
    reclaim_policy: str | None = None
    parameters: dict[str, str] | None = None
    allow_volume_expansion: bool | None = None


STORAGE_CLASSES = Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", StorageClass, namespaced=False)
IS_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
