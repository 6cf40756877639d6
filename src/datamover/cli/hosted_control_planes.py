"""Putting together, for the operator, what follows backups of hosted control planes."""

from dataclasses import replace

from datamover.cli.options import Options
from datamover.cli.surroundings import AnyKind, MakeKind, Surroundings
from datamover.metrics.hosted_control_planes import HostedControlPlaneMetrics
from datamover.reconcilers.cluster import View
from datamover.reconcilers.hosted_control_plane.facts import PATIENT
from datamover.reconcilers.hosted_control_plane.gather import Around
from datamover.reconcilers.hosted_control_plane.kind import HostedControlPlaneKind


def follow_backups(around: Surroundings) -> AnyKind:
    """Return the kind that follows backups of hosted control planes."""
    options = around.options.hosted_control_planes
    return HostedControlPlaneKind(
        around.client,
        around=Around(View(around.cluster), velero=options.velero_namespace),
        meter=HostedControlPlaneMetrics(around.registry),
        clock=around.clock,
        pace=replace(PATIENT, stall=options.stalled_after),
        metrics=around.metrics,
    )


def hosted_control_plane_kinds(options: Options) -> tuple[MakeKind, ...]:
    """Return what an operator with these options does about hosted control planes."""
    return (follow_backups,) if options.hosted_control_planes.enabled else ()
