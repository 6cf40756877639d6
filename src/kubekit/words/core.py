"""Narrow views of the core group: the fields that controllers read, nothing else."""

from typing import Any

import msgspec

from kubekit.words.meta import Model, ObjectMeta, PartialObject, Resource


class TypedLocalReference(Model, frozen=True):
    """A reference to an object in the same namespace."""

    name: str = ""
    kind: str = ""
    api_group: str | None = None


class TypedReference(Model, frozen=True):
    """A reference to an object of any kind, in the same namespace unless it says otherwise."""

    name: str = ""
    kind: str = ""
    api_group: str | None = None
    namespace: str | None = None


class VolumeResources(Model, frozen=True):
    """Storage requested, as quantities."""

    requests: dict[str, str | int | float] | None = None
    limits: dict[str, str | int | float] | None = None


class PersistentVolumeClaimSpec(Model, frozen=True):
    """What a claim asks for. `volume_mode` unset means Filesystem; `storage_class_name` may be the empty string."""

    access_modes: tuple[str, ...] | None = None
    resources: VolumeResources | None = None
    storage_class_name: str | None = None
    volume_mode: str | None = None
    volume_name: str | None = None
    data_source: TypedLocalReference | None = None
    data_source_ref: TypedReference | None = None
    volume_attributes_class_name: str | None = None


class PersistentVolumeClaimStatus(Model, frozen=True):
    """What a claim has got."""

    phase: str | None = None
    capacity: dict[str, str | int | float] | None = None


class PersistentVolumeClaim(Model, frozen=True):
    """A request for a volume."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PersistentVolumeClaimSpec | None = None
    status: PersistentVolumeClaimStatus | None = None


class ObjectReference(Model, frozen=True):
    """A reference to any object."""

    kind: str | None = None
    namespace: str | None = None
    name: str | None = None
    uid: str | None = None
    api_version: str | None = None


class DriverVolumeSource(Model, frozen=True):
    """The driver of a volume, for PVs of type `csi` and `flexVolume`."""

    driver: str = ""


class PersistentVolumeSpec(Model, frozen=True):
    """A volume of the cluster."""

    capacity: dict[str, str | int | float] | None = None
    access_modes: tuple[str, ...] | None = None
    claim_ref: ObjectReference | None = None
    persistent_volume_reclaim_policy: str | None = None
    storage_class_name: str | None = None
    volume_mode: str | None = None
    csi: DriverVolumeSource | None = None
    flex_volume: DriverVolumeSource | None = None


class PersistentVolumeStatus(Model, frozen=True):
    """Available, Bound, Released or Failed."""

    phase: str | None = None


class PersistentVolume(Model, frozen=True):
    """A volume."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PersistentVolumeSpec | None = None
    status: PersistentVolumeStatus | None = None


class ContainerStateWaiting(Model, frozen=True):
    """Why a container does not run yet, such as ErrImagePull or CreateContainerConfigError."""

    reason: str | None = None
    message: str | None = None


class ContainerStateRunning(Model, frozen=True):
    """A container that runs."""

    started_at: str | None = None


class ContainerStateTerminated(Model, frozen=True):
    """How a container ended. `message` is its termination message."""

    exit_code: int = 0
    signal: int | None = None
    reason: str | None = None
    message: str | None = None
    started_at: str | None = None
    finished_at: str | None = None


class ContainerState(Model, frozen=True):
    """Exactly one of the three is set."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(Model, frozen=True):
    """A container as its node reports it."""

    name: str = ""
    state: ContainerState | None = None
    last_state: ContainerState | None = None
    restart_count: int | None = None


class PodCondition(Model, frozen=True):
    """PodScheduled, Ready, DisruptionTarget and so on."""

    type: str = ""
    status: str = ""
    reason: str | None = None
    message: str | None = None
    last_transition_time: str | None = None


class PodStatus(Model, frozen=True):
    """Where a Pod is."""

    phase: str | None = None
    reason: str | None = None
    message: str | None = None
    start_time: str | None = None
    conditions: tuple[PodCondition, ...] | None = None
    container_statuses: tuple[ContainerStatus, ...] | None = None


class PodSpec(Model, frozen=True):
    """Only where the Pod runs."""

    node_name: str | None = None


class Pod(Model, frozen=True):
    """A Pod."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec | None = None
    status: PodStatus | None = None


class ClaimSource(Model, frozen=True):
    """A claim, as a Pod's volume names it."""

    claim_name: str | None = None
    read_only: bool | None = None


class PodVolume(Model, frozen=True):
    """A volume of a Pod; `persistent_volume_claim` is None when it is of another kind."""

    persistent_volume_claim: ClaimSource | None = None


class MountsSpec(Model, frozen=True):
    """Where a Pod runs and which volumes it wants."""

    node_name: str | None = None
    volumes: tuple[PodVolume, ...] | None = None
    tolerations: tuple[dict[str, Any], ...] | None = None


class PodMounts(Model, frozen=True):
    """A Pod and the claims that it uses. Read when needed, never cached."""

    metadata: ObjectMeta = ObjectMeta()
    spec: MountsSpec | None = None
    status: PodStatus | None = None

    def uses(self, claim: str) -> bool:
        """Tell whether the Pod is on a node and has a volume of this claim: such a Pod protects the claim, ended or not."""
        if self.spec is None or not self.spec.node_name:
            return False
        return any(source.claim_name == claim for source in self._claims())

    def mounts(self, claim: str) -> bool:
        """Tell whether the Pod has a volume of this claim, wherever it runs or will run."""
        return any(source.claim_name == claim for source in self._claims())

    def writes(self, claim: str) -> bool:
        """Tell whether the Pod has a volume of this claim that it may write, wherever it runs or will run."""
        return any(source.claim_name == claim and not source.read_only for source in self._claims())

    def _claims(self) -> tuple[ClaimSource, ...]:
        volumes = (self.spec.volumes if self.spec is not None else None) or ()
        return tuple(each.persistent_volume_claim for each in volumes if each.persistent_volume_claim is not None)


class Secret(Model, frozen=True):
    """A Secret of which only the keys matter: values stay undecoded and go no further than `without_values` (law L8)."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, msgspec.Raw] | None = None


class ConfigMap(Model, frozen=True):
    """A ConfigMap with its values; those of `binary_data` are base64."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] | None = None
    binary_data: dict[str, str] | None = None


class ServicePort(Model, frozen=True):
    """A port of a Service. `target_port` is a number or a name."""

    name: str | None = None
    port: int = 0
    target_port: int | str | None = None
    node_port: int | None = None


class ServiceSpec(Model, frozen=True):
    """How a Service is reached. `cluster_ip` is the text None where it has no address of its own."""

    type: str | None = None
    cluster_ip: str | None = msgspec.field(default=None, name="clusterIP")
    ports: tuple[ServicePort, ...] | None = None
    selector: dict[str, str] | None = None


class LoadBalancerIngress(Model, frozen=True):
    """A place where a load balancer takes connections: an address or a name."""

    ip: str | None = None
    hostname: str | None = None


class LoadBalancerStatus(Model, frozen=True):
    """Where the load balancer of a Service is, once there is one."""

    ingress: tuple[LoadBalancerIngress, ...] | None = None


class ServiceStatus(Model, frozen=True):
    """What a Service has got."""

    load_balancer: LoadBalancerStatus | None = None


class Service(Model, frozen=True):
    """A Service."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceSpec | None = None
    status: ServiceStatus | None = None


class NamespaceStatus(Model, frozen=True):
    """Active or Terminating."""

    phase: str | None = None


class Namespace(Model, frozen=True):
    """A namespace."""

    metadata: ObjectMeta = ObjectMeta()
    status: NamespaceStatus | None = None


class Node(Model, frozen=True):
    """A node, metadata only."""

    metadata: ObjectMeta = ObjectMeta()


class Event(Model, frozen=True):
    """A core/v1 event, as far as it explains a stuck object."""

    metadata: ObjectMeta = ObjectMeta()
    involved_object: ObjectReference | None = None
    reason: str | None = None
    message: str | None = None
    type: str | None = None
    last_timestamp: str | None = None
    event_time: str | None = None


class SecretKeys(Model, frozen=True):
    """The names of the keys of a Secret or a ConfigMap, and which of them are empty. Never a value."""

    metadata: ObjectMeta = ObjectMeta()
    keys: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()


_EMPTY = msgspec.Raw(b'""')
_HIDDEN = msgspec.Raw(b'"hidden"')


def without_values(secret: Secret) -> Secret:
    """Return the Secret with each value replaced: what caches keep tells only which keys there are and which are empty (law L8)."""
    data = {key: _EMPTY if bytes(value) in (b'""', b"null") else _HIDDEN for key, value in (secret.data or {}).items()}
    return Secret(
        metadata=ObjectMeta(
            name=secret.metadata.name,
            namespace=secret.metadata.namespace,
            uid=secret.metadata.uid,
            resource_version=secret.metadata.resource_version,
        ),
        data=data,
    )


def secret_keys(secret: Secret) -> SecretKeys:
    """Return the key names of a Secret, and which of them are empty."""
    data = secret.data or {}
    return SecretKeys(
        metadata=secret.metadata,
        keys=tuple(sorted(data)),
        empty=tuple(sorted(key for key, value in data.items() if bytes(value) in (b'""', b"null"))),
    )


def without_texts(config_map: ConfigMap) -> ConfigMap:
    """Return the ConfigMap with each value replaced: what caches keep tells only which keys there are and which are empty."""
    given = {**(config_map.binary_data or {}), **(config_map.data or {})}
    return ConfigMap(
        metadata=ObjectMeta(
            name=config_map.metadata.name,
            namespace=config_map.metadata.namespace,
            uid=config_map.metadata.uid,
            resource_version=config_map.metadata.resource_version,
        ),
        data={key: "hidden" if value else "" for key, value in given.items()},
    )


def config_map_keys(config_map: ConfigMap) -> SecretKeys:
    """Return the key names of a ConfigMap, and which of them are empty."""
    data = {**(config_map.binary_data or {}), **(config_map.data or {})}
    return SecretKeys(
        metadata=config_map.metadata,
        keys=tuple(sorted(data)),
        empty=tuple(sorted(key for key, value in data.items() if not value)),
    )


PERSISTENT_VOLUME_CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", PersistentVolumeClaim)
PERSISTENT_VOLUMES = Resource("", "v1", "persistentvolumes", "PersistentVolume", PersistentVolume, namespaced=False)
PODS = Resource("", "v1", "pods", "Pod", Pod)
POD_MOUNTS = Resource("", "v1", "pods", "Pod", PodMounts)
SECRETS = Resource("", "v1", "secrets", "Secret", Secret)
SECRET_METAS = Resource("", "v1", "secrets", "Secret", PartialObject)
"""Secrets of which not even the keys are asked for: the server sends no value (law L8)."""
SERVICES = Resource("", "v1", "services", "Service", Service)
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", PartialObject)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", ConfigMap)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", Namespace, namespaced=False)
NAMESPACE_METAS = Resource("", "v1", "namespaces", "Namespace", PartialObject, namespaced=False)
NODES = Resource("", "v1", "nodes", "Node", Node, namespaced=False)
EVENTS = Resource("", "v1", "events", "Event", Event)

PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
"""Annotation of a PersistentVolume: who has made it for its claim. One that was made by hand has none."""
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
"""Annotation of a PersistentVolume: Kubernetes has found that it fits its claim, and nobody had reserved it for that one. Provisioners of CSI reserve what they make."""
SELECTED_NODE = "volume.kubernetes.io/selected-node"
"""Annotation of a claim: the node that its first Pod is to run on, as the scheduler has found it."""
