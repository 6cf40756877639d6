"""The CDIConfig named `config` is made where it is missing. The object that is looked at is the definition of the kind: with it comes the need."""

from dataclasses import dataclass
from typing import Any, Final

from datamover.api import names as ours
from datamover.api.cdi.names import CONFIG_NAME
from datamover.plans.known import UNKNOWN, Known
from datamover.plans.steps import REST, Create, Emit, Plan
from datamover.reconcilers.cdi_config.objects import CONFIGS
from kubekit.words.apiextensions import CustomResourceDefinition
from kubekit.words.meta import Manifest

REASON: Final = "ConfigNotCreated"
ACTION: Final = "Configure"


@dataclass(frozen=True, slots=True)
class Facts:
    """The definition, and whether `config` is there; None where nobody knows yet."""

    definition: CustomResourceDefinition
    exists: bool
    known: Known = UNKNOWN


def decide(facts: Facts) -> Plan[Any]:
    """Make `config` unless it is there."""
    status, refusal = facts.definition.status, facts.known.refusal
    served = status is None or any(
        each.type == "Established" and each.status == "True" for each in status.conditions or ()
    )
    if facts.exists or facts.definition.metadata.terminating or not served:
        return REST
    if refusal is not None and refusal.fresh:
        event = Emit("Warning", REASON, refusal.message, ACTION)
        return Plan(() if facts.known.told == event else (event,), refusal.retry_after)
    return Plan((Create(CONFIGS, build()),))


def build() -> Manifest:
    """Return an empty configuration."""
    return {
        "apiVersion": CONFIGS.api_version,
        "kind": CONFIGS.kind,
        "metadata": {
            "name": CONFIG_NAME,
            "labels": {ours.MANAGED_BY_LABEL: ours.CREATED_BY_VALUE, ours.PART_OF_LABEL: ours.PART_OF_VALUE},
        },
        "spec": {},
    }
