"""A Pod as the node that runs it reads it: wider than what the operator needs, still only what is read or refused."""

from typing import Any

import msgspec

from kubekit.words.meta import Model, ObjectMeta, Resource
from localkube.node.kinds import NodeSelector, Quantities

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


class KeyRef(Model, frozen=True):
    """One key of a Secret or ConfigMap, or the whole of it when `key` is empty."""

    name: str = ""
    key: str = ""
    optional: bool | None = None


class FieldRef(Model, frozen=True):
    """A field of the Pod."""

    field_path: str = ""


class ResourceFieldRef(Model, frozen=True):
    """A resource of a container."""

    resource: str = ""
    container_name: str | None = None
    divisor: str | int | float | None = None


class EnvVarSource(Model, frozen=True):
    """Where a variable's value comes from."""

    config_map_key_ref: KeyRef | None = None
    secret_key_ref: KeyRef | None = None
    field_ref: FieldRef | None = None
    resource_field_ref: ResourceFieldRef | None = None
    file_key_ref: Any = None


class EnvVar(Model, frozen=True):
    """A variable of a container."""

    name: str = ""
    value: str | None = None
    value_from: EnvVarSource | None = None


class EnvFromSource(Model, frozen=True):
    """All keys of a Secret or ConfigMap as variables."""

    prefix: str | None = None
    config_map_ref: KeyRef | None = None
    secret_ref: KeyRef | None = None


class VolumeMount(Model, frozen=True):
    """Where a volume appears in a container."""

    name: str = ""
    mount_path: str = ""
    read_only: bool | None = None
    sub_path: str | None = None
    sub_path_expr: str | None = None


class Resources(Model, frozen=True):
    """Compute resources of a container."""

    requests: Quantities | None = None
    limits: Quantities | None = None


class ContainerSecurityContext(Model, frozen=True):
    """Only what the node refuses."""

    privileged: bool | None = None


class Container(Model, frozen=True):
    """A container of a Pod."""

    name: str = ""
    image: str | None = None
    image_pull_policy: str | None = None
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    working_dir: str | None = None
    env: tuple[EnvVar, ...] | None = None
    env_from: tuple[EnvFromSource, ...] | None = None
    resources: Resources | None = None
    volume_mounts: tuple[VolumeMount, ...] | None = None
    volume_devices: tuple[Any, ...] | None = None
    restart_policy: str | None = None
    security_context: ContainerSecurityContext | None = None
    termination_message_path: str | None = None
    termination_message_policy: str | None = None
    liveness_probe: Any = None
    readiness_probe: Any = None
    startup_probe: Any = None
    lifecycle: Any = None
    stdin: bool | None = None
    tty: bool | None = None


class KeyToPath(Model, frozen=True):
    """One key of a Secret or ConfigMap as a file."""

    key: str = ""
    path: str = ""
    mode: int | None = None


class SecretVolume(Model, frozen=True):
    """A Secret as files."""

    secret_name: str = ""
    items: tuple[KeyToPath, ...] | None = None
    default_mode: int | None = None
    optional: bool | None = None


class ConfigMapVolume(Model, frozen=True):
    """A ConfigMap as files."""

    name: str = ""
    items: tuple[KeyToPath, ...] | None = None
    default_mode: int | None = None
    optional: bool | None = None


class EmptyDir(Model, frozen=True):
    """A directory that lives as long as the Pod."""

    medium: str | None = None


class ClaimVolume(Model, frozen=True):
    """A volume by its claim."""

    claim_name: str = ""
    read_only: bool | None = None


class DownwardFile(Model, frozen=True):
    """One field of the Pod as a file."""

    path: str = ""
    field_ref: FieldRef | None = None
    resource_field_ref: ResourceFieldRef | None = None
    mode: int | None = None


class DownwardVolume(Model, frozen=True):
    """Fields of the Pod as files."""

    items: tuple[DownwardFile, ...] | None = None
    default_mode: int | None = None


class TokenProjection(Model, frozen=True):
    """A service account token as a file."""

    path: str = ""
    audience: str | None = None
    expiration_seconds: int | None = None


class Projection(Model, frozen=True):
    """One source of a projected volume."""

    secret: ConfigMapVolume | None = None
    config_map: ConfigMapVolume | None = None
    downward_api: DownwardVolume | None = msgspec.field(default=None, name="downwardAPI")
    service_account_token: TokenProjection | None = None
    cluster_trust_bundle: Any = None
    pod_certificate: Any = None


class ProjectedVolume(Model, frozen=True):
    """Several sources in one directory."""

    sources: tuple[Projection, ...] | None = None
    default_mode: int | None = None


class Volume(Model, frozen=True):
    """A volume of a Pod. A volume with none of these set is of a kind that this node does not know."""

    name: str = ""
    empty_dir: EmptyDir | None = None
    secret: SecretVolume | None = None
    config_map: ConfigMapVolume | None = None
    persistent_volume_claim: ClaimVolume | None = None
    downward_api: DownwardVolume | None = msgspec.field(default=None, name="downwardAPI")
    projected: ProjectedVolume | None = None
    ephemeral: Any = None


class NodeAffinity(Model, frozen=True):
    """The nodes that a Pod may run on."""

    required: NodeSelector | None = msgspec.field(default=None, name=_REQUIRED)


class PodAffinity(Model, frozen=True):
    """The Pods that a Pod must run beside: refused by this scheduler."""

    required: tuple[Any, ...] | None = msgspec.field(default=None, name=_REQUIRED)


class Affinity(Model, frozen=True):
    """Where a Pod may run."""

    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None


class PodSpec(Model, frozen=True):
    """What a Pod asks for."""

    node_name: str | None = None
    scheduler_name: str | None = None
    scheduling_gates: tuple[Any, ...] | None = None
    service_account_name: str | None = None
    hostname: str | None = None
    restart_policy: str | None = None
    termination_grace_period_seconds: int | None = None
    active_deadline_seconds: int | None = None
    containers: tuple[Container, ...] | None = None
    init_containers: tuple[Container, ...] | None = None
    volumes: tuple[Volume, ...] | None = None
    node_selector: dict[str, str] | None = None
    affinity: Affinity | None = None


class PodStatus(Model, frozen=True):
    """What the node has written. Lists stay plain JSON: they are compared with what is to be written, and nothing else."""

    phase: str | None = None
    reason: str | None = None
    message: str | None = None
    start_time: str | None = None
    conditions: tuple[dict[str, Any], ...] | None = None
    container_statuses: tuple[dict[str, Any], ...] | None = None
    init_container_statuses: tuple[dict[str, Any], ...] | None = None
    host_ip: str | None = msgspec.field(default=None, name="hostIP")
    pod_ip: str | None = msgspec.field(default=None, name="podIP")


class PodMeta(ObjectMeta, frozen=True):
    """Metadata with the grace period that a deletion was asked with."""

    deletion_grace_period_seconds: int | None = None


class Pod(Model, frozen=True):
    """A Pod as its node sees it."""

    metadata: PodMeta = PodMeta()
    spec: PodSpec | None = None
    status: PodStatus | None = None

    @property
    def finished(self) -> bool:
        """Tell whether no container of it will run again."""
        return self.status is not None and self.status.phase in ("Succeeded", "Failed")

    @property
    def node(self) -> str:
        """Name of the node that it is bound to; empty while unscheduled."""
        return (self.spec.node_name if self.spec else None) or ""

    @property
    def claims(self) -> tuple[str, ...]:
        """Names of the claims that it mounts."""
        volumes = (self.spec.volumes if self.spec else None) or ()
        return tuple(v.persistent_volume_claim.claim_name for v in volumes if v.persistent_volume_claim is not None)


PODS = Resource("", "v1", "pods", "Pod", Pod)
