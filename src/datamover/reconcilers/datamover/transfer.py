"""From a DataMover and its run to what the builders of children take. Pure."""

from datamover.api import names
from datamover.api.ownership import Owner, labels_of
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover, Guards, Run
from datamover.movers.rclone import RcloneSync


def owner_of(mover: DataMover, run: Run) -> Owner:
    """Return whose the children of a run are."""
    return Owner(DATA_MOVERS, mover.metadata, labels_of(mover.metadata, run_id=run.id))


def sync_of(mover: DataMover, run: Run, *, cluster: str) -> RcloneSync:
    """Return what rclone is asked to do. What the run has recorded counts, not what the spec says now (law L6)."""
    spec = mover.spec
    if spec is None:
        raise ValueError("a DataMover without a spec has no mover")
    guards = spec.guards or Guards()
    metadata = mover.metadata
    return RcloneSync(
        run_id=run.id,
        timestamp=run.timestamp,
        cluster=cluster,
        namespace=metadata.namespace or "",
        source=run.source or spec.source_pvc,
        object_name=metadata.name,
        secret_name=spec.secret_name,
        copy_method=run.copy_method or spec.copy_method,
        copied_at=run.copied,
        environment=spec.additional_env or (),
        add_timestamp_prefix=spec.add_timestamp_prefix,
        adopt_destination=guards.adopt_destination or metadata.annotation(names.ADOPT_ANNOTATION) == "true",
        allow_empty_source=guards.allow_empty_source or metadata.annotation(names.ALLOW_EMPTY_ANNOTATION) == "true",
        max_delete_percent=guards.max_delete_percent,
        deadline_seconds=spec.deadline_seconds,
        image=spec.image,
        mover=spec.mover,
    )
