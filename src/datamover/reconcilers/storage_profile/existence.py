"""Each StorageClass has a StorageProfile of its name. The object that is looked at is the class: with it comes the profile, and with it it goes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from datamover.api import names as ours
from datamover.api.cdi.storage_profile import STORAGE_PROFILES
from datamover.plans.kind import Kind
from datamover.plans.known import UNKNOWN, Known
from datamover.plans.steps import REST, Create, Emit, Plan, Step
from datamover.reconcilers.cluster import Cluster
from kubekit.client.client import Client
from kubekit.runtime.clock import Clock
from kubekit.runtime.controller import Controller
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import key_of
from kubekit.words.meta import Manifest, Model, ObjectMeta, Resource, owner_reference
from kubekit.words.storage import STORAGE_CLASSES

REASON: Final = "StorageProfileNotCreated"
ACTION: Final = "Profile"


class ProfiledClass(Model, frozen=True):
    """A StorageClass as an object that is reconciled. It has no status, and needs none."""

    metadata: ObjectMeta = ObjectMeta()
    status: None = None


PROFILED_CLASSES: Final = Resource(
    STORAGE_CLASSES.group,
    STORAGE_CLASSES.version,
    STORAGE_CLASSES.plural,
    STORAGE_CLASSES.kind,
    ProfiledClass,
    namespaced=False,
)


@dataclass(frozen=True, slots=True)
class Facts:
    """A class, and whether its profile is there."""

    storage_class: ProfiledClass
    exists: bool
    known: Known = UNKNOWN


def decide(facts: Facts) -> Plan[None]:
    """Make a profile where there is none."""
    if facts.exists or facts.storage_class.metadata.terminating:
        return REST
    refusal = facts.known.refusal
    if refusal is not None and refusal.fresh:
        event = Emit("Warning", REASON, refusal.message, ACTION)
        return Plan(() if facts.known.told == event else (event,), refusal.retry_after)
    return Plan((Create(STORAGE_PROFILES, build(facts.storage_class)),))


def build(of: ProfiledClass) -> Manifest:
    """Return an empty profile: it is for its users to say something."""
    return {
        "apiVersion": STORAGE_PROFILES.api_version,
        "kind": STORAGE_PROFILES.kind,
        "metadata": {
            "name": of.metadata.name,
            "labels": {ours.MANAGED_BY_LABEL: ours.CREATED_BY_VALUE, ours.PART_OF_LABEL: ours.PART_OF_VALUE},
            "ownerReferences": [owner_reference(STORAGE_CLASSES, of.metadata)],
        },
        "spec": {},
    }


class ProfiledClassKind(Kind[ProfiledClass, None, Facts]):
    """Looks at each StorageClass."""

    resource = PROFILED_CLASSES
    name = "profiled-class"
    speaks_by_events = True

    def __init__(self, client: Client, *, cluster: Cluster, clock: Clock) -> None:
        self.objects = Informer(client, PROFILED_CLASSES, clock=clock)
        self._profiles = cluster.whole(STORAGE_PROFILES)

    def gather(self, obj: ProfiledClass, *, known: Known, now: datetime) -> Facts:
        """Return whether the profile is there."""
        del now
        return Facts(obj, key_of(obj.metadata) in self._profiles.store, known)

    def decide(self, facts: Facts) -> Plan[None]:
        """Return what to do next."""
        return decide(facts)

    def broken(self, obj: ProfiledClass, message: str, *, now: datetime) -> tuple[Step[None], ...]:
        """Return the event that tells of a defect of ours."""
        del obj, now
        return (Emit("Warning", REASON, message, ACTION),)

    def connect(self, controller: Controller) -> None:
        """Look again when a profile goes."""
        controller.watch(self._profiles, lambda old, new: (key_of(old.metadata),) if old and not new else ())
