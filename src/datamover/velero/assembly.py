"""Puts the actions of this program together."""

from typing import TYPE_CHECKING

from datamover.velero.deferred import Deferred
from datamover.velero.dispatch import Dispatch
from datamover.velero.logs import Log
from datamover.velero.restoring import RestoreHostedControlPlane
from datamover.velero.rhcos import SkipRhcosVolumes
from datamover.velero.settings import Settings

if TYPE_CHECKING:
    from datamover.velero.hosted_control_plane import BackUpHostedControlPlane


def assemble(settings: Settings, log: Log) -> Dispatch:
    """Return the actions, of which none has asked the API server anything yet."""

    def load() -> "BackUpHostedControlPlane":
        from datamover.velero.cluster import Cluster
        from datamover.velero.hosted_control_plane import BackUpHostedControlPlane

        return BackUpHostedControlPlane(Cluster.of(settings), log, namespace=settings.namespace)

    return Dispatch((Deferred(load), SkipRhcosVolumes(log)), (RestoreHostedControlPlane(log),), log=log)
