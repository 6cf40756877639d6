"""The parts of a Pod that users can set in our kinds: environment, image, resources, placement, identity.

They are Kubernetes' own fields; the API server checks their bounds. The field descriptions become those of CRDs, so they are
written for `kubectl explain`.
"""

from typing import Annotated, Any

from msgspec import Meta

from datamover.api import names
from kubekit.words.meta import Model


def doc(description: str, **schema: Any) -> Meta:
    """Describe a field for the CRD. Bounds are the API server's to enforce: an object that breaks one must still decode, so that
    the operator can say what is wrong with it.
    """
    return Meta(description=description, extra_json_schema=schema or None)


DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


class KeySelector(Model, frozen=True):
    """One key of a Secret or ConfigMap in the same namespace."""

    name: Annotated[str, doc("Name of the object.", maxLength=253)]
    key: Annotated[str, doc("Key to read.", minLength=1, maxLength=253)]
    optional: Annotated[bool | None, doc("When true, a missing object or key leaves the variable unset.")] = None


class FieldSelector(Model, frozen=True):
    """A field of the mover's Pod."""

    field_path: Annotated[str, doc("Path of the field, such as metadata.name.", minLength=1)]
    api_version: Annotated[str | None, doc("Version of the schema that the path is written in; v1 when unset.")] = None


class ResourceFieldSelector(Model, frozen=True):
    """A resource of the mover's container."""

    resource: Annotated[str, doc("Resource to read, such as limits.memory.", minLength=1)]
    container_name: Annotated[str | None, doc("Name of the container; the mover's own when unset.")] = None
    divisor: Annotated[str | int | None, doc("Unit of the value; 1 when unset.")] = None


class FileKeySelector(Model, frozen=True):
    """One key of an environment file in a volume of the mover's Pod."""

    volume_name: Annotated[str, doc("Name of the volume.", minLength=1)]
    path: Annotated[str, doc("Path of the file in the volume.", minLength=1)]
    key: Annotated[str, doc("Key to read.", minLength=1)]
    optional: Annotated[bool | None, doc("When true, a missing file or key leaves the variable unset.")] = None


class EnvVarSource(Model, frozen=True):
    """Where the value of a variable comes from. Exactly one is set."""

    config_map_key_ref: Annotated[KeySelector | None, doc("A key of a ConfigMap.")] = None
    secret_key_ref: Annotated[KeySelector | None, doc("A key of a Secret.")] = None
    field_ref: Annotated[FieldSelector | None, doc("A field of the mover's Pod.")] = None
    resource_field_ref: Annotated[ResourceFieldSelector | None, doc("A resource of the mover's container.")] = None
    file_key_ref: Annotated[FileKeySelector | None, doc("Refused: the mover's Pod has no volume for it.")] = None


class EnvVar(Model, frozen=True):
    """An environment variable of the mover."""

    name: Annotated[str, doc("Name of the variable.", minLength=1, maxLength=512)]
    value: Annotated[
        str | None, doc("Value; $(OTHER) refers to variables set earlier. Quote numbers and booleans.")
    ] = None
    value_from: Annotated[EnvVarSource | None, doc("Where the value comes from, instead of value.")] = None


class Image(Model, frozen=True):
    """The mover's image."""

    repository: Annotated[
        str,
        doc("Image without a tag, such as registry.example.com/team/mover.", minLength=1, maxLength=512),
    ] = names.DEFAULT_IMAGE_REPOSITORY
    tag: Annotated[str, doc("Tag, or a digest such as sha256:…, which pins the image.", minLength=1, maxLength=140)] = (
        names.DEFAULT_IMAGE_TAG
    )
    pull_policy: Annotated[str, doc("When the node pulls the image.", enum=["Always", "Never", "IfNotPresent"])] = (
        names.DEFAULT_PULL_POLICY
    )


class LocalObjectReference(Model, frozen=True):
    """An object in the same namespace."""

    name: Annotated[str, doc("Name of the object.", minLength=1, maxLength=253)]


class Toleration(Model, frozen=True):
    """A taint that the mover tolerates."""

    key: Annotated[str | None, doc("Taint key; empty with operator Exists matches all.")] = None
    operator: Annotated[
        str | None, doc("Relation of key and value; Equal when unset.", enum=["Exists", "Equal", "Lt", "Gt"])
    ] = None
    value: Annotated[str | None, doc("Taint value.")] = None
    effect: Annotated[
        str | None,
        doc("Effect to match; all when unset.", enum=["NoSchedule", "PreferNoSchedule", "NoExecute"]),
    ] = None
    toleration_seconds: Annotated[int | None, doc("Seconds that NoExecute is tolerated; for ever when unset.")] = None


class ResourceRequirements(Model, frozen=True):
    """Compute resources of the mover's container."""

    requests: Annotated[dict[str, str | int] | None, doc("What the scheduler sets aside, such as cpu: 200m.")] = None
    limits: Annotated[dict[str, str | int] | None, doc("What the container may use at most, such as memory: 2Gi.")] = (
        None
    )


class SeccompProfile(Model, frozen=True):
    """A seccomp profile."""

    type: Annotated[str, doc("Kind of profile.", enum=["RuntimeDefault", "Localhost", "Unconfined"])]
    localhost_profile: Annotated[str | None, doc("File on the node, with type Localhost.")] = None


class SELinuxOptions(Model, frozen=True):
    """An SELinux label."""

    level: Annotated[str | None, doc("SELinux level that the mover runs with.")] = None
    role: Annotated[str | None, doc("SELinux role that the mover runs with.")] = None
    type: Annotated[str | None, doc("SELinux type that the mover runs with.")] = None
    user: Annotated[str | None, doc("SELinux user that the mover runs with.")] = None


class PodSecurityContext(Model, frozen=True):
    """Identity of the mover. What is unset keeps the default: uid, gid and fsGroup 65534, non-root, RuntimeDefault."""

    run_as_user: Annotated[int | None, doc("Numeric user that reads the volume.", minimum=0)] = None
    run_as_group: Annotated[int | None, doc("Numeric primary group.", minimum=0)] = None
    run_as_non_root: Annotated[
        bool | None, doc("Refuse to start as user 0; true when unset, unless runAsUser is 0.")
    ] = None
    fs_group: Annotated[
        int | None, doc("Group that the copy is made accessible to; 65534 when unset, none for user 0.", minimum=0)
    ] = None
    fs_group_change_policy: Annotated[
        str | None,
        doc("When ownership of the volume is changed; OnRootMismatch when unset.", enum=["OnRootMismatch", "Always"]),
    ] = None
    supplemental_groups: Annotated[tuple[int, ...] | None, doc("Further groups, to read files of theirs.")] = None
    seccomp_profile: Annotated[SeccompProfile | None, doc("Seccomp profile; RuntimeDefault when unset.")] = None
    se_linux_options: Annotated[SELinuxOptions | None, doc("SELinux label.")] = None


class Mover(Model, frozen=True):
    """How the mover's Pod runs."""

    resources: Annotated[ResourceRequirements | None, doc("Compute resources of the mover.")] = None
    node_selector: Annotated[dict[str, str] | None, doc("Labels of nodes that the mover may run on.")] = None
    tolerations: Annotated[tuple[Toleration, ...] | None, doc("Taints that the mover tolerates.")] = None
    affinity: Annotated[dict[str, Any] | None, doc("Affinity of the mover's Pod, as in a Pod.")] = None
    priority_class_name: Annotated[str | None, doc("Priority class of the mover's Pod.")] = None
    service_account_name: Annotated[
        str | None,
        doc(
            "Service account of the mover. One with a role at the cloud (workload identity) takes the place of keys in the Secret. "
            "No token for the API server is mounted."
        ),
    ] = None
    image_pull_secrets: Annotated[tuple[LocalObjectReference, ...] | None, doc("Secrets for pulling the image.")] = None
    security_context: Annotated[PodSecurityContext | None, doc("Identity of the mover.")] = None


RULES: dict[type, tuple[tuple[str, str], ...]] = {
    EnvVar: (
        (
            "!(has(self.value) && self.value != '' && has(self.valueFrom))",
            "a variable has either value or valueFrom: remove one of them",
        ),
        (
            "!self.name.startsWith('DATAMOVER_')",
            "variables that begin with DATAMOVER_ belong to the operator: choose another name",
        ),
        ("!self.name.contains('=')", "the name of a variable cannot contain '=': put what follows it into value"),
    ),
    EnvVarSource: (
        (
            (
                "[has(self.configMapKeyRef), has(self.secretKeyRef), has(self.fieldRef), has(self.resourceFieldRef), "
                "has(self.fileKeyRef)].filter(x, x).size() == 1"
            ),
            "valueFrom names exactly one source: configMapKeyRef, secretKeyRef, fieldRef or resourceFieldRef",
        ),
        (
            "!has(self.fileKeyRef)",
            "fileKeyRef needs a volume that the mover's Pod does not have: put the value into a Secret or ConfigMap and use its key",
        ),
    ),
    Image: (
        (
            "!self.repository.contains('@') && !self.repository.matches('^[^/]*//') && !self.repository.matches('[[:space:]]')",
            (
                "image.repository is an image name without scheme, spaces or digest, such as registry.example.com/team/mover: "
                "put a digest into image.tag"
            ),
        ),
        (
            "self.tag.matches('^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$') || self.tag.matches('^sha256:[0-9a-f]{64}$')",
            "image.tag is a tag such as v1.2.3 or a digest such as sha256: with 64 hex digits",
        ),
    ),
}
"""CEL rules of these types, for every definition that uses them: (rule, message). Each message says the fix."""
