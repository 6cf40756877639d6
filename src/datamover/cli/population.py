"""Putting together, for the operator, what fills claims from ReplicationDestinations."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

from datamover.api.volsync.names import CREATED_BY_VALUE, GROUP, POPULATOR_NAME, PopulatorReason
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.cli.surroundings import Surroundings
from datamover.plans.kind import Kind
from datamover.reconcilers.cluster import Cluster, View
from datamover.reconcilers.population.kind import PopulationKind
from datamover.reconcilers.population.release import ReleaseKind
from datamover.reconcilers.registration import Registration, RegistrationKind
from kubekit.runtime.definition_gate import DefinitionGate
from kubekit.runtime.gate import Gate
from kubekit.words.meta import Resource
from kubekit.words.populator import SourceKind

AnyKind = Kind[Any, Any, Any]

REGISTRATION: Final = Registration(
    POPULATOR_NAME,
    SourceKind(group=GROUP, kind=REPLICATION_DESTINATIONS.kind),
    reason=PopulatorReason.ERROR,
    controller="volume-populator",
)
"""How the cluster is told that claims are filled from ReplicationDestinations."""


@dataclass(frozen=True, slots=True)
class Gates:
    """One watch of the definition of what claims are filled from, for all kinds of an operator: without such objects there is nothing to fill from."""

    resource: Resource[Any]
    made: WeakKeyDictionary[Cluster, Gate] = field(default_factory=WeakKeyDictionary[Cluster, Gate])

    def before(self, around: Surroundings) -> tuple[Gate, ...]:
        """Return what these kinds are behind."""
        if around.cluster not in self.made:
            self.made[around.cluster] = DefinitionGate(around.client, self.resource, clock=around.clock)
        beside = around.beside_volsync if self.resource is REPLICATION_DESTINATIONS else ()
        return (self.made[around.cluster], *beside)


@dataclass(frozen=True, slots=True)
class MakePopulation:
    """Makes one of the kinds."""

    make: Callable[[Surroundings], AnyKind]
    gates: Gates
    created_by: Collection[str] = (CREATED_BY_VALUE,)

    def __call__(self, around: Surroundings) -> AnyKind:
        """Return the kind."""
        kind = self.make(around)
        kind.gates = self.gates.before(around)
        return kind


def population_kinds() -> tuple[MakePopulation, ...]:
    """Return the makers of what fills claims."""
    gates = Gates(REPLICATION_DESTINATIONS)

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
            created_by=(CREATED_BY_VALUE,),
        )

    return tuple(MakePopulation(each, gates) for each in (fill, release, register))
