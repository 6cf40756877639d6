"""Keeping images of a node's operating system out of backups: volumes that a KubeVirt platform fills anew anyway.

An action cannot skip an item by answering with none: the host then takes the item as it was. The annotation that it looks for is what works.
"""

from datamover.api.hypershift import RHCOS_LABEL
from datamover.api.velero.names import SKIP_ANNOTATION
from datamover.velero.actions import Call, Executed, Selector
from datamover.velero.items import annotated
from datamover.velero.logs import Log

NAME = "datamover.a-cup-of.coffee/kubevirt-rhcos"


class SkipRhcosVolumes:
    """Of kind BackupItemActionV2, for claims and DataVolumes with the label, whatever its value. The host matches the label before it asks."""

    name = NAME
    operations = None
    selector = Selector(resources=("persistentvolumeclaims", "datavolumes.cdi.kubevirt.io"), labels=RHCOS_LABEL)

    def __init__(self, log: Log) -> None:
        self._log = log

    def execute(self, item: bytes, _backup: bytes, _call: Call, /) -> Executed:
        """Return the item with the annotation by which the host leaves it out."""
        skipped = annotated(item, SKIP_ANNOTATION, "true")
        self._log.debug("An image of a node's operating system is left out of the backup")
        return Executed(item=skipped)
