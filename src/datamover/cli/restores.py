"""Putting together, for the operator, what is told of claims that are filled by DataMoverRestores, and to the cluster that they are."""

from typing import Any, Final

from datamover.api.names import CREATED_BY_VALUE, GROUP, OPERATOR_DEFECT, RESTORE_POPULATOR_NAME
from datamover.api.v1alpha1.restore import DATA_MOVER_RESTORES
from datamover.cli.population import MakePopulation
from datamover.cli.surroundings import Surroundings
from datamover.plans.kind import Kind
from datamover.reconcilers.cluster import View
from datamover.reconcilers.registration import Registration, RegistrationKind
from datamover.reconcilers.restore.claims import ClaimKind
from kubekit.runtime.gate import Gate
from kubekit.words.populator import SourceKind

REGISTRATION: Final = Registration(
    RESTORE_POPULATOR_NAME,
    SourceKind(group=GROUP, kind=DATA_MOVER_RESTORES.kind),
    reason=OPERATOR_DEFECT,
    controller="restore-populator",
)
"""How the cluster is told that claims are filled from DataMoverRestores."""

_CREATED_BY: Final = (CREATED_BY_VALUE,)


def restore_population_kinds() -> tuple[MakePopulation, ...]:
    """Return the makers of what looks at such claims, beside the restores themselves: of what tells at a claim what becomes of it, and of what tells the cluster who fills it."""

    def behind(around: Surroundings) -> tuple[Gate, ...]:
        return (around.definitions.gate(DATA_MOVER_RESTORES),)

    def tell(around: Surroundings) -> Kind[Any, Any, Any]:
        return ClaimKind(around.client, view=View(around.cluster))

    def register(around: Surroundings) -> Kind[Any, Any, Any]:
        return RegistrationKind(
            around.client,
            registration=REGISTRATION,
            view=View(around.cluster),
            clock=around.clock,
            created_by=_CREATED_BY,
        )

    return tuple(MakePopulation(each, behind, _CREATED_BY) for each in (tell, register))
