"""Puts the actions of this program together."""

from datamover.velero.dispatch import Dispatch
from datamover.velero.logs import Log
from datamover.velero.restoring import RestoreHostedControlPlane
from datamover.velero.rhcos import SkipRhcosVolumes


def assemble(log: Log) -> Dispatch:
    """Return the actions, of which none has asked the API server anything yet."""
    return Dispatch((SkipRhcosVolumes(log),), (RestoreHostedControlPlane(log),), log=log)
