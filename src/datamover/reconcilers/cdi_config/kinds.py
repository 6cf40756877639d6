"""The kinds of the configuration: what the reconciler of any kind needs of them. The only writers of the statuses of CDI and CDIConfig."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from datamover.api.cdi.definition import cdi_config_crd, cdi_crd
from datamover.api.cdi.names import CONFIG_NAME
from datamover.plans.kind import Kind
from datamover.plans.known import Known
from datamover.plans.steps import Emit, Plan, Step
from datamover.reconcilers.cdi_config import config, existence, installation
from datamover.reconcilers.cdi_config.objects import CONFIGS, INSTALLATIONS, Stored, Tree
from datamover.reconcilers.cluster import Cluster
from kubekit.client.client import Client
from kubekit.runtime.clock import Clock
from kubekit.runtime.controller import Controller
from kubekit.runtime.informer import Informer
from kubekit.runtime.part import Part
from kubekit.runtime.store import Key
from kubekit.words.apiextensions import CUSTOM_RESOURCE_DEFINITIONS, CustomResourceDefinition
from kubekit.words.meta import HasMeta

_BROKEN: Final = "InternalError"
_CONFIG: Final = Key("", CONFIG_NAME)


class ConfigKind(Kind[Stored, Tree, config.Facts]):
    """Keeps the CDIConfig named `config`."""

    resource = CONFIGS
    optional = True

    def __init__(self, client: Client, *, cluster: Cluster) -> None:
        self.objects = Part(client, cluster.whole(CONFIGS), select=lambda _: True)
        self.definition = cdi_config_crd()
        self._cluster, self._installations = cluster, cluster.whole(INSTALLATIONS)

    def gather(self, obj: Stored, *, known: Known, now: datetime) -> config.Facts:
        """Return what there is to know about a CDIConfig."""
        del now
        return config.Facts(obj, self._installations.store.list(), self._cluster.classes.store.list(), known)

    def decide(self, facts: config.Facts) -> Plan[Tree]:
        """Return what to do next."""
        return config.decide(facts)

    def broken(self, obj: Stored, message: str, *, now: datetime) -> tuple[Step[Tree], ...]:
        """Return the event that tells of a defect of ours: the status has no words for it."""
        del obj, now
        return (Emit("Warning", _BROKEN, message, config.ACTION),)

    def connect(self, controller: Controller) -> None:
        """Look at it again when a CDI object or a class changes."""
        controller.watch(self._installations, lambda _old, _new: (_CONFIG,))
        controller.watch(self._cluster.classes, lambda _old, _new: (_CONFIG,))


class InstallationKind(Kind[Stored, Tree, installation.Facts]):
    """Says in each CDI object whether its configuration counts."""

    resource = INSTALLATIONS
    optional = True

    def __init__(self, client: Client, *, cluster: Cluster) -> None:
        self.objects = Part(client, cluster.whole(INSTALLATIONS), select=lambda _: True)
        self.definition = cdi_crd()

    def gather(self, obj: Stored, *, known: Known, now: datetime) -> installation.Facts:
        """Return what there is to know about a CDI object."""
        return installation.Facts(now, obj, self.objects.store.list(), known)

    def decide(self, facts: installation.Facts) -> Plan[Tree]:
        """Return what to do next."""
        return installation.decide(facts)

    def broken(self, obj: Stored, message: str, *, now: datetime) -> tuple[Step[Tree], ...]:
        """Return the event that tells of a defect of ours."""
        del obj, now
        return (Emit("Warning", _BROKEN, message, config.ACTION),)

    def connect(self, controller: Controller) -> None:
        """Look at all of them when one comes or goes."""
        controller.watch(self.objects, self._others)

    def _others(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        return tuple(self.objects.store.keys()) if old is None or new is None else ()


class ConfigExistenceKind(Kind[CustomResourceDefinition, Any, existence.Facts]):
    """Looks at the definition of CDIConfig."""

    resource = CUSTOM_RESOURCE_DEFINITIONS
    name = "cdi-config"
    speaks_by_events = True

    def __init__(self, client: Client, *, cluster: Cluster, clock: Clock) -> None:
        self.objects = Informer(
            client,
            CUSTOM_RESOURCE_DEFINITIONS,
            field_selector=f"metadata.name={CONFIGS.group_resource}",
            optional=True,
            clock=clock,
        )
        self._configs = cluster.whole(CONFIGS)

    def gather(self, obj: CustomResourceDefinition, *, known: Known, now: datetime) -> existence.Facts:
        """Return whether the configuration is there."""
        del now
        return existence.Facts(obj, _CONFIG in self._configs.store, known)

    def decide(self, facts: existence.Facts) -> Plan[Any]:
        """Return what to do next."""
        return existence.decide(facts)

    def broken(self, obj: CustomResourceDefinition, message: str, *, now: datetime) -> tuple[Step[Any], ...]:
        """Return the event that tells of a defect of ours."""
        del obj, now
        return (Emit("Warning", existence.REASON, message, existence.ACTION),)

    def connect(self, controller: Controller) -> None:
        """Look again when the configuration goes."""
        definition = Key("", CONFIGS.group_resource)
        controller.watch(self._configs, lambda _old, new: () if new else (definition,))
