"""Puts the actions of this program together."""

from datamover.velero.cluster import Cluster
from datamover.velero.dispatch import Dispatch
from datamover.velero.hosted_control_plane import BackUpHostedControlPlane
from datamover.velero.logs import Log
from datamover.velero.restoring import RestoreHostedControlPlane
from datamover.velero.rhcos import SkipRhcosVolumes
from datamover.velero.settings import Settings


def assemble(settings: Settings, log: Log) -> Dispatch:
    """Return the actions, of which none has asked the API server anything yet."""
    control_planes = BackUpHostedControlPlane(Cluster.of(settings), log, namespace=settings.namespace)
    return Dispatch((control_planes, SkipRhcosVolumes(log)), (RestoreHostedControlPlane(log),), log=log)
