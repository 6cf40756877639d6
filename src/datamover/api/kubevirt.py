"""What is read of KubeVirt's own objects: which version of it a cluster has. Pure."""

from typing import Final

from kubekit.words.meta import Model, ObjectMeta, Resource

GROUP: Final = "kubevirt.io"


class KubeVirtStatus(Model, frozen=True):
    """Which version is at work, and which one is being installed."""

    observed_kube_virt_version: str | None = None
    target_kube_virt_version: str | None = None


class KubeVirt(Model, frozen=True):
    """An installation of KubeVirt."""

    metadata: ObjectMeta = ObjectMeta()
    status: KubeVirtStatus | None = None


KUBEVIRTS: Final = Resource(GROUP, "v1", "kubevirts", "KubeVirt", KubeVirt)
