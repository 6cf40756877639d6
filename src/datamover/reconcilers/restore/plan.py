"""What a plan for a DataMoverRestore is. Pure."""

from datamover.api.v1alpha1.restore import DataMoverRestoreStatus
from datamover.plans import steps

Step = steps.Step[DataMoverRestoreStatus]
"""One step of it."""

Plan = steps.Plan[DataMoverRestoreStatus]
"""All of it."""
