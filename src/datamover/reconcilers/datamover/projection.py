"""What the cache keeps of a DataMover."""

from msgspec.structs import replace

from datamover.api.v1alpha1.datamover import DataMover, DataMoverStatus
from datamover.reconcilers.projection import project_conditions, project_meta, share


def project_mover(mover: DataMover) -> DataMover:
    """Return a DataMover as it is cached."""
    return replace(mover, metadata=project_meta(mover.metadata), status=mover.status and _project_status(mover.status))


def _project_status(status: DataMoverStatus) -> DataMoverStatus:
    return replace(status, phase=share(status.phase), conditions=project_conditions(status.conditions))
