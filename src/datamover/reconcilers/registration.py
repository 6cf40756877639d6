"""Saying to the cluster that claims are filled from objects of a kind: a VolumePopulator, where the cluster knows that word.

Who validates claims' data sources warns of claims whose kind nobody has registered. The object that is looked at is the definition of
VolumePopulator: with it comes the need, and without it nothing is done.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

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

_ACTION: Final = "Register"


@dataclass(frozen=True, slots=True)
class Registration:
    """What is registered: under which `name`, the kind that claims are filled from, and the `reason` of events about it. `controller` is what is
    said of whoever does it in logs and metrics.
    """

    name: str
    source: SourceKind
    reason: str
    controller: str


@dataclass(frozen=True, slots=True)
class Registered:
    """The definition, what is to be registered, and what is registered under that name."""

    definition: CustomResourceDefinition
    wanted: Registration
    populator: VolumePopulator | Unread
    known: Known = UNKNOWN


def decide(facts: Registered) -> Plan[CustomResourceDefinitionStatus]:
    """Register, unless it is done."""
    found, wanted, status = facts.populator, facts.wanted, facts.definition.status
    served = status is None or any(
        each.type == "Established" and each.status == "True" for each in status.conditions or ()
    )
    if facts.definition.metadata.terminating or not served:
        return REST
    refusal = facts.known.refusal
    if refusal is not None and refusal.fresh:
        return Plan(_tell(facts, refusal.message), refusal.retry_after)
    if found is Unread.MISSING:
        return Plan((Create(VOLUME_POPULATORS, build_populator(wanted)),))
    if isinstance(found, VolumePopulator) and found.source_kind != wanted.source:
        return Plan(
            _tell(facts, f"VolumePopulator {wanted.name} is of another kind than {wanted.source.kind}: delete it")
        )
    return REST


def build_populator(wanted: Registration) -> Manifest:
    """Return the VolumePopulator."""
    return {
        "apiVersion": VOLUME_POPULATORS.api_version,
        "kind": VOLUME_POPULATORS.kind,
        "metadata": {"name": wanted.name},
        "sourceKind": {"group": wanted.source.group, "kind": wanted.source.kind},
    }


def _tell(facts: Registered, message: str) -> tuple[Emit, ...]:
    return facts.known.untold(Emit("Warning", facts.wanted.reason, message, _ACTION))


class RegistrationKind(Kind[CustomResourceDefinition, CustomResourceDefinitionStatus, Registered]):
    """Looks at one definition."""

    resource = CUSTOM_RESOURCE_DEFINITIONS
    speaks_by_events = True

    def __init__(
        self, client: Client, *, registration: Registration, view: View, clock: Clock, created_by: Collection[str]
    ) -> None:
        self.name = registration.controller
        self.created_by = created_by
        self.objects = Informer(
            client,
            CUSTOM_RESOURCE_DEFINITIONS,
            field_selector=f"metadata.name={VOLUME_POPULATORS.group_resource}",
            optional=True,
            clock=clock,
        )
        self._wanted = registration
        self._view = view
        self._populators = view.cluster.by_name(VOLUME_POPULATORS)

    def gather(self, obj: CustomResourceDefinition, *, known: Known, now: datetime) -> Registered:
        """Return what is registered."""
        del now
        found = self._view.named(VOLUME_POPULATORS, "", self._wanted.name)
        return Registered(obj, self._wanted, found, known)

    def decide(self, facts: Registered) -> Plan[CustomResourceDefinitionStatus]:
        """Return what to do next."""
        return decide(facts)

    def broken(
        self, obj: CustomResourceDefinition, message: str, *, now: datetime
    ) -> tuple[Step[CustomResourceDefinitionStatus], ...]:
        """Return the event that tells of a defect of ours."""
        del obj, now
        return (Emit("Warning", self._wanted.reason, message, _ACTION),)

    def connect(self, controller: Controller) -> None:
        """Look again when what is registered changes."""
        key = Key("", VOLUME_POPULATORS.group_resource)
        self._populators.add_handler(lambda _: controller.queue.add(key))

    def notice(self, key: Key, obj: CustomResourceDefinition) -> None:
        """Watch what is registered while its kind is served."""
        wanted = () if obj.metadata.terminating else (Key("", self._wanted.name),)
        self._populators.want((self.name, key), wanted)

    def forget(self, key: Key) -> None:
        """End the watch."""
        self._populators.want((self.name, key), ())
