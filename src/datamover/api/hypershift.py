"""What is read of HyperShift's own objects, and the names that its plugin for Velero has always had. Pure."""

from typing import Final

from kubekit.words.meta import Model, ObjectMeta, Resource

GROUP: Final = "hypershift.openshift.io"


class Platform:
    """`spec.platform.type`, in HyperShift's spelling."""

    AWS: Final = "AWS"
    AZURE: Final = "Azure"
    IBM_CLOUD: Final = "IBMCloud"
    KUBEVIRT: Final = "KubeVirt"
    OPENSTACK: Final = "OpenStack"
    AGENT: Final = "Agent"
    NONE: Final = "None"
    POWER_VS: Final = "PowerVS"
    GCP: Final = "GCP"


PLATFORM_TYPES: Final = frozenset(value for name, value in vars(Platform).items() if name.isupper())
"""All of them."""

HIGHLY_AVAILABLE: Final = "HighlyAvailable"


class HostedPlatform(Model, frozen=True):
    """Where the hosted cluster's nodes are."""

    type: str | None = None


class HostedControlPlaneSpec(Model, frozen=True):
    """What kind of control plane it is."""

    platform: HostedPlatform | None = None
    controller_availability_policy: str | None = None


class HostedControlPlane(Model, frozen=True):
    """A control plane in a namespace of its own, `<namespace>-<name>` of its HostedCluster."""

    metadata: ObjectMeta = ObjectMeta()
    spec: HostedControlPlaneSpec | None = None

    @property
    def platform(self) -> str:
        """The platform's type; empty where none is said."""
        platform = self.spec.platform if self.spec is not None else None
        return (platform.type if platform is not None else None) or ""

    @property
    def highly_available(self) -> bool:
        """Tell whether its controllers, and so its etcd, run three times."""
        return self.spec is not None and self.spec.controller_availability_policy == HIGHLY_AVAILABLE


HOSTED_CONTROL_PLANES: Final = Resource(
    GROUP, "v1beta1", "hostedcontrolplanes", "HostedControlPlane", HostedControlPlane
)

CONFIG_MAP: Final = "hypershift-oadp-plugin-config"
"""The plugin's ConfigMap, in Velero's namespace."""


class Key:
    """Keys of that ConfigMap (document)."""

    DATA_UPLOAD_TIMEOUT: Final = "dataUploadTimeout"
    DATA_UPLOAD_CHECK_PACE: Final = "dataUploadCheckPace"
    MIGRATION: Final = "migration"
    READOPT_NODES: Final = "readoptNodes"
    MANAGED_SERVICES: Final = "managedServices"
    BLOCKING: Final = "blocking"
    """Of our own: wait while the item is backed up, as the document draws it, and not only afterwards."""


RHCOS_LABEL: Final = "hypershift.openshift.io/is-kubevirt-rhcos"
