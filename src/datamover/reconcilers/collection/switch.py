"""The kind that writes down since when a lifetime of completed DataVolumes is set: one ConfigMap in the operator's own namespace.

Its one object is that namespace, for that is always there. What is decided is `since.renew`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from datamover.api.cdi import names
from datamover.api.cdi.config import CDIConfig
from datamover.api.cdi.data_volume import DataVolume
from datamover.api.names import OPERATOR_DEFECT
from datamover.plans.kind import Kind
from datamover.plans.known import UNKNOWN, Known
from datamover.plans.steps import REST, Create, Emit, Patch, Plan, Step
from datamover.reconcilers.collection.gather import CONFIG, SINCE_NAME, Around
from datamover.reconcilers.collection.since import CLUSTER, read_record, renew, write_record
from datamover.runs.facts import Unread
from datamover.volumes.collection_time import find_lifetime
from kubekit.client.client import Client
from kubekit.runtime.clock import Clock
from kubekit.runtime.controller import Controller
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key
from kubekit.words.core import CONFIG_MAPS, NAMESPACE_METAS, ConfigMap, Namespace
from kubekit.words.meta import PartialObject, Resource, owner_reference
from kubekit.words.timestamps import parse

ACTION: Final = "Record"
_SWITCH: Final = "switch"
_HOMES: Final = Resource("", "v1", "namespaces", "Namespace", Namespace, namespaced=False)


@dataclass(frozen=True, slots=True)
class Facts:
    """What sets lifetimes, and what is recorded of it. `volumes` is None while not all are known."""

    now: datetime
    home: Namespace
    own: int | None
    spaces: tuple[PartialObject, ...] | Unread
    config: CDIConfig | Unread
    record: ConfigMap | Unread
    volumes: tuple[DataVolume, ...] | None
    known: Known = UNKNOWN


def decide(facts: Facts) -> Plan[Any]:
    """Return what to write."""
    if facts.known.refusal is not None and facts.known.refusal.fresh:
        told = Emit("Warning", facts.known.refusal.reason, facts.known.refusal.message, ACTION)
        return Plan(() if facts.known.told == told else (told,), facts.known.refusal.retry_after)
    lifetimes = _lifetimes(facts)
    if lifetimes is None or facts.volumes is None or facts.record in (Unread.NOT_SYNCED, Unread.FORBIDDEN):
        return REST  # its own watch brings it; where it may not be read nothing is stamped
    there = facts.record if isinstance(facts.record, ConfigMap) else None
    before = read_record(there.data if there is not None else None)
    record = renew(before, lifetimes, now=facts.now, latest=_latest(facts.volumes))
    if record == before and (there is not None or not any(record.values())):
        return REST
    data = write_record(record)
    if there is not None:
        return Plan((Patch(CONFIG_MAPS, there.metadata, {"data": data}),))
    home = facts.home.metadata
    manifest = {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": {
            "name": SINCE_NAME,
            "namespace": home.name,
            "ownerReferences": [owner_reference(NAMESPACE_METAS, home)],
        },
        "data": data,
    }
    return Plan((Create(CONFIG_MAPS, manifest),))


def _lifetimes(facts: Facts) -> Mapping[str, bool] | None:
    """Return for the cluster and each namespace with a label whether a lifetime is set; None while that is not known."""
    if isinstance(facts.spaces, Unread):
        return None
    if facts.own is None and facts.config in (Unread.NOT_SYNCED, Unread.FORBIDDEN):
        return None
    config = facts.config if isinstance(facts.config, CDIConfig) else None
    found = {CLUSTER: find_lifetime(label=None, own=facts.own, config=config).seconds is not None}
    for space in facts.spaces:
        label = space.metadata.label(names.TTL_LABEL)
        if label is not None:
            found[space.metadata.name] = find_lifetime(label=label, own=None, config=None).seconds is not None
    return found


def _latest(volumes: tuple[DataVolume, ...]) -> Mapping[str, datetime]:
    found: dict[str, datetime] = {}
    for each in volumes:
        namespace = each.metadata.namespace or ""
        try:
            made = parse(each.metadata.creation_timestamp or "")
        except (ValueError, OverflowError):
            continue
        found[namespace] = max(made, found.get(namespace, made))
    return found


class SwitchKind(Kind[Namespace, Any, Facts]):
    """Keeps the record."""

    resource = _HOMES
    name = "datavolume-lifetime"
    speaks_by_events = True

    def __init__(
        self, client: Client, *, around: Around, volumes: Informer[DataVolume], own: int | None, clock: Clock
    ) -> None:
        self._home = Key("", around.since_key.namespace)
        self.objects = Informer(
            client, _HOMES, field_selector=f"metadata.name={self._home.name}", optional=True, clock=clock
        )
        self._around = around
        self._volumes = volumes
        self._own = own

    def gather(self, obj: Namespace, *, known: Known, now: datetime) -> Facts:
        """Return what sets lifetimes."""
        around = self._around
        spaces = around.namespace("")
        return Facts(
            now,
            obj,
            self._own,
            spaces=spaces if isinstance(spaces, Unread) else around.spaces.store.list(),
            config=around.config(),
            record=around.record(),
            volumes=self._volumes.store.list() if self._volumes.synced.is_set() else None,
            known=known,
        )

    def decide(self, facts: Facts) -> Plan[Any]:
        """Return what to write."""
        return decide(facts)

    def broken(self, obj: Namespace, message: str, *, now: datetime) -> tuple[Step[Any], ...]:
        """Return the event that tells of a defect of ours."""
        del obj, now
        return (Emit("Warning", OPERATOR_DEFECT, message, ACTION),)

    def connect(self, controller: Controller) -> None:
        """Look again when a lifetime is set, changed or taken back, and when somebody changes the record."""
        around = self._around
        controller.watch(around.spaces, lambda _old, _new: (self._home,))
        around.configs.add_handler(lambda key: controller.queue.add(self._home) if key == CONFIG else None)
        around.records.add_handler(lambda key: controller.queue.add(self._home) if key == around.since_key else None)

    def survey(self) -> None:
        """Begin to watch what is watched by name."""
        self._around.configs.want(_SWITCH, (CONFIG,))
        self._around.records.want(_SWITCH, (self._around.since_key,))
