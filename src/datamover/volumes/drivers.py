"""What is known of storage drivers by their names: how claims of theirs are best made for a virtual machine's disk. Pure.

The first way is the best one: a disk that several nodes may use at a time lets a machine move, and a device has no file system in between. A
driver that is not here is not guessed at: whoever knows it says so in the StorageProfile.
"""

from typing import Final, NamedTuple


class Way(NamedTuple):
    """An access mode and a volume mode."""

    access_mode: str
    volume_mode: str


_SHARED_BLOCK: Final = Way("ReadWriteMany", "Block")
_BLOCK: Final = Way("ReadWriteOnce", "Block")
_FILES: Final = Way("ReadWriteOnce", "Filesystem")
_SHARED_FILES: Final = Way("ReadWriteMany", "Filesystem")

_NETWORK_DISK: Final = (_SHARED_BLOCK, _BLOCK, _FILES)
_CLOUD_DISK: Final = (_BLOCK, _FILES)
_FILE_SERVER: Final = (_SHARED_FILES,)
_ONE_NODE: Final = (_FILES,)

_DRIVERS: Final = {
    "rbd.csi.ceph.com": _NETWORK_DISK,
    "driver.longhorn.io": _NETWORK_DISK,
    "csi.trident.netapp.io": (_SHARED_BLOCK, _SHARED_FILES, _BLOCK, _FILES),
    "pxd.portworx.com": (_SHARED_FILES, _FILES),
    "linstor.csi.linbit.com": _CLOUD_DISK,
    "ebs.csi.aws.com": _CLOUD_DISK,
    "pd.csi.storage.gke.io": _CLOUD_DISK,
    "disk.csi.azure.com": _CLOUD_DISK,
    "cinder.csi.openstack.org": _CLOUD_DISK,
    "csi.vsphere.vmware.com": _CLOUD_DISK,
    "topolvm.io": _CLOUD_DISK,
    "cephfs.csi.ceph.com": _FILE_SERVER,
    "nfs.csi.k8s.io": _FILE_SERVER,
    "file.csi.azure.com": _FILE_SERVER,
    "efs.csi.aws.com": _FILE_SERVER,
    "hostpath.csi.k8s.io": _CLOUD_DISK,
    "local.datamover.a-cup-of.coffee": _ONE_NODE,
    "kubevirt.io.hostpath-provisioner": _ONE_NODE,
    "rancher.io/local-path": _ONE_NODE,
}
_PREFIXED: Final = ("rbd.csi.ceph.com", "cephfs.csi.ceph.com")
"""Drivers that are installed under a name of their own before this: `openshift-storage.rbd.csi.ceph.com`."""


def ways_of(driver: str) -> tuple[Way, ...]:
    """Return how claims of a driver are best made; nothing where it is not known."""
    ending = next((each for each in _PREFIXED if driver.endswith(f".{each}")), driver)
    return _DRIVERS.get(ending, ())
