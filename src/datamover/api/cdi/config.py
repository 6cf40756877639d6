"""CDI and CDIConfig: what we read of a cluster's configuration, and serve where nobody else does. Pure."""

from typing import Annotated, Any

from msgspec import field

from datamover.api.cdi import names
from datamover.api.pods import doc
from kubekit.words.meta import Model, ObjectMeta, Resource
from kubekit.words.unknown import KeepsUnknown


class CDIConfigSpec(Model, frozen=True):
    """Configuration of everything that fills claims."""

    data_volume_ttl_seconds: Annotated[
        int | None,
        doc(
            "Seconds after its completion when a DataVolume is collected that asks for it; negative or unset is never.",
            format="int32",
        ),
    ] = field(default=None, name="dataVolumeTTLSeconds")
    feature_gates: Annotated[tuple[str, ...] | None, doc("Names of features that are switched on.")] = None
    filesystem_overhead: Annotated[dict[str, Any] | None, doc("Share of a volume that its file system takes.")] = None
    scratch_space_storage_class: Annotated[str | None, doc("Class of temporary claims.")] = None
    import_proxy: Annotated[dict[str, Any] | None, doc("Proxy of the workers.")] = None
    pod_resource_requirements: Annotated[dict[str, Any] | None, doc("Compute resources of the workers.")] = None
    preallocation: Annotated[bool | None, doc("Write out what is empty, unless a DataVolume says otherwise.")] = None
    insecure_registries: Annotated[tuple[str, ...] | None, doc("Registries without TLS.")] = None
    image_pull_secrets: Annotated[tuple[dict[str, Any], ...] | None, doc("Secrets to pull the workers' image.")] = None
    upload_proxy_url_override: Annotated[str | None, doc("Address that uploads go to.")] = field(
        default=None, name="uploadProxyURLOverride"
    )
    log_verbosity: Annotated[int | None, doc("How much the workers log.", format="int32")] = None
    tls_security_profile: Annotated[dict[str, Any] | None, doc("Versions and ciphers of TLS.")] = None


class CDIConfig(KeepsUnknown, frozen=True):
    """The configuration of a cluster. There is one, named `config`."""

    metadata: ObjectMeta = ObjectMeta()
    spec: CDIConfigSpec | None = None
    status: Annotated[dict[str, Any] | None, doc("What counts where the configuration says nothing.")] = None


class CDISpec(Model, frozen=True):
    """What is installed, and how. Of this, `config` alone is read here."""

    config: Annotated[CDIConfigSpec | None, doc("Goes into CDIConfig.")] = None


class CDI(KeepsUnknown, frozen=True):
    """An installation of CDI. Its users change the configuration here."""

    metadata: ObjectMeta = ObjectMeta()
    spec: CDISpec | None = None
    status: Annotated[dict[str, Any] | None, doc("Whether its configuration counts.")] = None


CDI_CONFIGS = Resource(names.GROUP, names.VERSION, "cdiconfigs", "CDIConfig", CDIConfig, namespaced=False)
CDIS = Resource(names.GROUP, names.VERSION, "cdis", "CDI", CDI, namespaced=False)
