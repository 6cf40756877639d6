"""What a plan for a DataMover is. Pure."""

from datamover.api.v1alpha1.datamover import DataMoverStatus
from datamover.plans import steps

Step = steps.Step[DataMoverStatus]
"""One step of it."""

Plan = steps.Plan[DataMoverStatus]
"""All of it."""
