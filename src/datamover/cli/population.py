"""Putting together, for the operator, what fills claims from ReplicationDestinations."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from datamover.api.volsync.names import CREATED_BY_VALUE, GROUP, POPULATOR_NAME, PopulatorReason
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.cli.surroundings import Surroundings
from datamover.plans.kind import Kind
from datamover.reconcilers.cluster import View
from datamover.reconcilers.population.kind import PopulationKind
from datamover.reconcilers.population.release import ReleaseKind
from datamover.reconcilers.registration import Registration, RegistrationKind
from kubekit.runtime.gate import Gate
from kubekit.words.populator import SourceKind

AnyKind = Kind[Any, Any, Any]

REGISTRATION: Final = Registration(
    POPULATOR_NAME,
    SourceKind(group=GROUP, kind=REPLICATION_DESTINATIONS.kind),
    reason=PopulatorReason.ERROR,
    controller="volume-populator",
)
"""How the cluster is told that claims are filled from ReplicationDestinations."""

_CREATED_BY: Final = (CREATED_BY_VALUE,)


@dataclass(frozen=True, slots=True)
class MakePopulation:
    """Makes one of the kinds. `behind` says which gates it is behind: without such objects there is nothing to fill from."""

    make: Callable[[Surroundings], AnyKind]
    behind: Callable[[Surroundings], tuple[Gate, ...]]
    created_by: Collection[str]

    def __call__(self, around: Surroundings) -> AnyKind:
        """Return the kind."""
        kind = self.make(around)
        kind.gates = self.behind(around)
        return kind


def population_kinds() -> tuple[MakePopulation, ...]:
    """Return the makers of what fills claims."""

    def behind(around: Surroundings) -> tuple[Gate, ...]:
        return (around.definitions.gate(REPLICATION_DESTINATIONS), *around.beside_volsync)

    def fill(around: Surroundings) -> AnyKind:
        return PopulationKind(around.client, view=View(around.cluster))

    def release(around: Surroundings) -> AnyKind:
        return ReleaseKind(around.client, view=View(around.cluster))

    def register(around: Surroundings) -> AnyKind:
        return RegistrationKind(
            around.client,
            registration=REGISTRATION,
            view=View(around.cluster),
            clock=around.clock,
            created_by=_CREATED_BY,
        )

    return tuple(MakePopulation(each, behind, _CREATED_BY) for each in (fill, release, register))
