"""Saying to the cluster that claims are filled from ReplicationDestinations: a VolumePopulator, where the cluster knows that kind.

Who validates claims' data sources warns of claims whose kind nobody has registered. The object that is looked at is the definition of
VolumePopulator: with it comes the need, and without it nothing is done.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from datamover.api.volsync.names import CREATED_BY_VALUE, GROUP, POPULATOR_NAME, PopulatorReason
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.plans.kind import Kind
from datamover.plans.known import UNKNOWN, Known
from datamover.plans.steps import REST, Create, Emit, Plan, Step
from datamover.reconcilers.cluster import View
from datamover.runs.facts import Unread
from kubekit.client.client import Client
from kubekit.runtime.clock import Clock
from kubekit.runtime.controller import Controller
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key
from kubekit.words.apiextensions import (
    CUSTOM_RESOURCE_DEFINITIONS,
    CustomResourceDefinition,
    CustomResourceDefinitionStatus,
)
from kubekit.words.meta import Manifest
from kubekit.words.populator import VOLUME_POPULATORS, SourceKind, VolumePopulator

_SOURCE: Final = SourceKind(group=GROUP, kind=REPLICATION_DESTINATIONS.kind)
_ACTION: Final = "Register"


@dataclass(frozen=True, slots=True)
class Registered:
    """The definition, and what is registered under our name."""

    definition: CustomResourceDefinition
    populator: VolumePopulator | Unread
    known: Known = UNKNOWN


def decide(facts: Registered) -> Plan[CustomResourceDefinitionStatus]:
    """Register, unless it is done."""
    found, status = facts.populator, facts.definition.status
    served = status is None or any(
        each.type == "Established" and each.status == "True" for each in status.conditions or ()
    )
    if facts.definition.metadata.terminating or not served:
        return REST
    refusal = facts.known.refusal
    if refusal is not None and refusal.fresh:
        return Plan(_tell(facts, refusal.message), refusal.retry_after)
    if found is Unread.MISSING:
        return Plan((Create(VOLUME_POPULATORS, build_populator()),))
    if isinstance(found, VolumePopulator) and found.source_kind != _SOURCE:
        return Plan(_tell(facts, f"VolumePopulator {POPULATOR_NAME} is of another kind than {_SOURCE.kind}: delete it"))
    return REST


def build_populator() -> Manifest:
    """Return the VolumePopulator."""
    return {
        "apiVersion": VOLUME_POPULATORS.api_version,
        "kind": VOLUME_POPULATORS.kind,
        "metadata": {"name": POPULATOR_NAME},
        "sourceKind": {"group": _SOURCE.group, "kind": _SOURCE.kind},
    }


def _tell(facts: Registered, message: str) -> tuple[Emit, ...]:
    event = Emit("Warning", PopulatorReason.ERROR, message, _ACTION)
    return () if facts.known.told == event else (event,)


class RegistrationKind(Kind[CustomResourceDefinition, CustomResourceDefinitionStatus, Registered]):
    """Looks at one definition."""

    resource = CUSTOM_RESOURCE_DEFINITIONS
    created_by = (CREATED_BY_VALUE,)
    name = "volume-populator"
    speaks_by_events = True

    def __init__(self, client: Client, *, view: View, clock: Clock) -> None:
        self.objects = Informer(
            client,
            CUSTOM_RESOURCE_DEFINITIONS,
            field_selector=f"metadata.name={VOLUME_POPULATORS.group_resource}",
            optional=True,
            clock=clock,
        )
        self._view = view
        self._populators = view.cluster.by_name(VOLUME_POPULATORS)

    def gather(self, obj: CustomResourceDefinition, *, known: Known, now: datetime) -> Registered:
        """Return what is registered."""
        del now
        found = self._view.named(VOLUME_POPULATORS, "", POPULATOR_NAME)
        return Registered(obj, found, known)

    def decide(self, facts: Registered) -> Plan[CustomResourceDefinitionStatus]:
        """Return what to do next."""
        return decide(facts)

    def broken(
        self, obj: CustomResourceDefinition, message: str, *, now: datetime
    ) -> tuple[Step[CustomResourceDefinitionStatus], ...]:
        """Return the event that tells of a defect of ours."""
        del obj, now
        return (Emit("Warning", PopulatorReason.ERROR, message, _ACTION),)

    def connect(self, controller: Controller) -> None:
        """Look again when what is registered changes."""
        key = Key("", VOLUME_POPULATORS.group_resource)
        self._populators.add_handler(lambda _: controller.queue.add(key))

    def notice(self, key: Key, obj: CustomResourceDefinition) -> None:
        """Watch what is registered while its kind is served."""
        wanted = () if obj.metadata.terminating else (Key("", POPULATOR_NAME),)
        self._populators.want((RegistrationKind, key), wanted)

    def forget(self, key: Key) -> None:
        """End the watch."""
        self._populators.want((RegistrationKind, key), ())
