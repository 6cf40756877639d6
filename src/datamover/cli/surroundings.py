"""What the operator makes its kinds in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from datamover.cli.options import Options
from datamover.metrics.runtime import RuntimeMetrics
from datamover.plans.kind import Kind
from datamover.reconcilers.cluster import Cluster
from kubekit.client.client import Client
from kubekit.runtime.clock import Clock
from kubekit.runtime.definition_gate import DefinitionGate
from kubekit.runtime.gate import Gate
from kubekit.words.meta import Resource


def no_keys() -> tuple[bytes, ...]:
    """Return none: where there is no webhook, nobody has signed anything."""
    return ()


class Definitions:
    """The gates of kinds that may not be installed: one watch of each definition, whoever is behind it."""

    def __init__(self, client: Client, *, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._gates: dict[tuple[str, bool], DefinitionGate] = {}

    def gate(self, resource: Resource[Any], *, to_the_end: bool = False) -> DefinitionGate:
        """Return the gate of a kind (see `DefinitionGate`), the same one each time."""
        key = (resource.group_resource, to_the_end)
        if key not in self._gates:
            self._gates[key] = DefinitionGate(self._client, resource, to_the_end=to_the_end, clock=self._clock)
        return self._gates[key]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a kind is made in. `cluster` is what is watched for all kinds, `cluster_uid` says which cluster it is.

    `beside_volsync` are the gates (`Kind.gates`) of kinds that VolSync's own operator may be at work on: closed while it is.
    """

    client: Client
    cluster: Cluster
    cluster_uid: str
    options: Options
    registry: CollectorRegistry
    metrics: RuntimeMetrics
    clock: Clock
    definitions: Definitions
    beside_volsync: tuple[Gate, ...] = ()
    permit_keys: Callable[[], tuple[bytes, ...]] = no_keys
    """Returns what permits to copy from other namespaces are signed with (`datamover.volumes.permit`); to be asked each time."""


AnyKind = Kind[Any, Any, Any]
MakeKind = Callable[[Surroundings], AnyKind]
"""Makes a kind. What is watched for its children it says before it is made: by the attributes `created_by` and `children`, as a `Kind` has."""
