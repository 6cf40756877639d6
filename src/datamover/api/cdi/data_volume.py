"""DataVolume: a claim, and what fills it. Field by field as its users have it. Pure."""

from typing import Annotated, Any

from msgspec import field

from datamover.api.cdi import names
from datamover.api.pods import doc
from kubekit.words.meta import Model, ObjectMeta, Resource
from kubekit.words.unknown import KeepsUnknown

_Quantities = dict[str, str | int | float]


class TypedReference(Model, frozen=True):
    """An object of a kind, of this namespace unless it says another one."""

    api_group: Annotated[str | None, doc("Group of the kind; the core group when unset.")] = None
    kind: Annotated[str, doc("Kind.")] = ""
    name: Annotated[str, doc("Name.")] = ""
    namespace: Annotated[str | None, doc("Namespace, where that is allowed.")] = None


class VolumeResources(Model, frozen=True):
    """How large a volume is."""

    requests: Annotated[dict[str, str | int] | None, doc("What is asked for, `storage` above all.")] = None
    limits: Annotated[dict[str, str | int] | None, doc("What it may be at most.")] = None


class ClaimSpec(Model, frozen=True):
    """A PersistentVolumeClaim as it is made: one access mode and a size are needed."""

    access_modes: Annotated[tuple[str, ...] | None, doc("How it is mounted. Exactly one.")] = None
    resources: Annotated[VolumeResources | None, doc("Its size.")] = None
    storage_class_name: Annotated[str | None, doc("Its class; the cluster's default one when unset.")] = None
    volume_mode: Annotated[str | None, doc("Filesystem, when unset, or Block.")] = None
    volume_name: Annotated[str | None, doc("Volume that it is to be bound to.")] = None
    selector: Annotated[dict[str, Any] | None, doc("Which volumes it may be bound to.")] = None
    data_source: Annotated[TypedReference | None, doc("What fills it in the place of a source here.")] = None
    data_source_ref: Annotated[TypedReference | None, doc("What fills it in the place of a source here.")] = None
    volume_attributes_class_name: Annotated[str | None, doc("Class of the volume's attributes.")] = None


class StorageSpec(ClaimSpec, frozen=True):
    """A claim of which what is left out is completed from the class's StorageProfile, and the size grows by what the file system needs."""


class HTTPSource(Model, frozen=True):
    """A file of a web server."""

    url: Annotated[str, doc("Address of the file.")]
    secret_ref: Annotated[str | None, doc("Secret with accessKeyId and secretKey for basic authentication.")] = None
    cert_config_map: Annotated[str | None, doc("ConfigMap with certificates to trust.")] = None
    extra_headers: Annotated[tuple[str, ...] | None, doc("Further headers, as `Name: value`.")] = None
    secret_extra_headers: Annotated[tuple[str, ...] | None, doc("Secrets whose values are further headers.")] = None
    checksum: Annotated[str | None, doc("What the file must be: md5, sha1, sha256 or sha512, a colon, and the digest.")] = None  # fmt: skip
    insecure_skip_verify: Annotated[
        bool | None,
        doc("Believe any certificate: whoever is between may hand out another file. Use it with a checksum."),
    ] = None


class S3Source(Model, frozen=True):
    """An object of an S3 store."""

    url: Annotated[str, doc("Address of the object.")]
    secret_ref: Annotated[str | None, doc("Secret with accessKeyId and secretKey.")] = None
    cert_config_map: Annotated[str | None, doc("ConfigMap with certificates to trust.")] = None


class GCSSource(Model, frozen=True):
    """An object of Google Cloud Storage. Not imported by this operator: it waits with UnsupportedSource."""

    url: Annotated[str, doc("Address of the object.")]
    secret_ref: Annotated[str | None, doc("Secret with the credentials.")] = None


class RegistrySource(Model, frozen=True):
    """A disk within a container image. Not imported by this operator: it waits with UnsupportedSource."""

    url: Annotated[str | None, doc("Address of the image, as docker://...")] = None
    image_stream: Annotated[str | None, doc("Name of an image stream.")] = None
    pull_method: Annotated[str | None, doc("Who pulls the image: pod or node.")] = None
    secret_ref: Annotated[str | None, doc("Secret with the credentials.")] = None
    cert_config_map: Annotated[str | None, doc("ConfigMap with certificates to trust.")] = None
    platform: Annotated[dict[str, Any] | None, doc("Architecture of the image.")] = None


class ObjectSource(Model, frozen=True):
    """A claim or a snapshot."""

    name: Annotated[str, doc("Name.")]
    namespace: Annotated[str | None, doc("Namespace; this one when unset.")] = None


class ImageIOSource(Model, frozen=True):
    """A disk of oVirt. Not imported by this operator: it waits with UnsupportedSource."""

    url: Annotated[str, doc("Address of the API.")]
    disk_id: Annotated[str, doc("ID of the disk.")]
    secret_ref: Annotated[str | None, doc("Secret with the credentials.")] = None
    cert_config_map: Annotated[str | None, doc("ConfigMap with certificates to trust.")] = None
    insecure_skip_verify: Annotated[bool | None, doc("Believe any certificate.")] = None


class VDDKSource(Model, frozen=True):
    """A disk of vSphere. Not imported by this operator: it waits with UnsupportedSource."""

    url: Annotated[str | None, doc("Address of the API.")] = None
    uuid: Annotated[str | None, doc("ID of the virtual machine.")] = None
    backing_file: Annotated[str | None, doc("File of the disk.")] = None
    thumbprint: Annotated[str | None, doc("Thumbprint of the certificate.")] = None
    secret_ref: Annotated[str | None, doc("Secret with the credentials.")] = None
    init_image_url: Annotated[str | None, doc("Image with the library.")] = field(default=None, name="initImageURL")
    extra_args: Annotated[str | None, doc("ConfigMap with further arguments.")] = None


class Source(Model, frozen=True):
    """What fills the claim. One is set."""

    http: Annotated[HTTPSource | None, doc("A file of a web server.")] = None
    s3: Annotated[S3Source | None, doc("An object of an S3 store.")] = None
    gcs: Annotated[GCSSource | None, doc("An object of Google Cloud Storage.")] = None
    registry: Annotated[RegistrySource | None, doc("A disk within a container image.")] = None
    pvc: Annotated[ObjectSource | None, doc("Another claim.")] = None
    snapshot: Annotated[ObjectSource | None, doc("A VolumeSnapshot.")] = None
    upload: Annotated[dict[str, Any] | None, doc("What somebody uploads.")] = None
    blank: Annotated[dict[str, Any] | None, doc("Nothing: an empty disk.")] = None
    imageio: Annotated[ImageIOSource | None, doc("A disk of oVirt.")] = None
    vddk: Annotated[VDDKSource | None, doc("A disk of vSphere.")] = None


class SourceReference(Model, frozen=True):
    """A DataSource, which says what the source is at the moment."""

    kind: Annotated[str, doc("DataSource.")]
    name: Annotated[str, doc("Name.")]
    namespace: Annotated[str | None, doc("Namespace; this one when unset.")] = None


class Checkpoint(Model, frozen=True):
    """A step of an import in several steps."""

    previous: Annotated[str, doc("Snapshot of the step before.")]
    current: Annotated[str, doc("Snapshot of this step.")]


class DataVolumeSpec(Model, frozen=True):
    """A claim and what fills it. It cannot be changed."""

    source: Annotated[Source | None, doc("What fills the claim.")] = None
    source_ref: Annotated[SourceReference | None, doc("Where it is said what fills the claim.")] = None
    pvc: Annotated[ClaimSpec | None, doc("The claim, as it is made. Either this or storage.")] = None
    storage: Annotated[StorageSpec | None, doc("The claim, with what its class says where this says nothing.")] = None
    priority_class_name: Annotated[str | None, doc("Priority of the worker's Pod.")] = None
    service_account_name: Annotated[str | None, doc("ServiceAccount of the worker's Pod.")] = None
    content_type: Annotated[str | None, doc("kubevirt, when unset: a disk; archive: the files of a tar archive.")] = None  # fmt: skip
    preallocation: Annotated[bool | None, doc("Write out what is empty, so that the space is taken.")] = None
    checkpoints: Annotated[tuple[Checkpoint, ...] | None, doc("Steps of an import in several steps.")] = None
    final_checkpoint: Annotated[bool | None, doc("Whether the last of these steps is the last of all.")] = None


class DataVolumeCondition(Model, frozen=True):
    """One thing that is the case, is not, or is not known."""

    type: Annotated[str, doc("What this is about.")] = ""
    status: Annotated[str, doc("True, False or Unknown.")] = ""
    last_transition_time: Annotated[str | None, doc("Since when its status is what it is.")] = None
    last_heartbeat_time: Annotated[str | None, doc("When anything of it changed last.")] = None
    reason: Annotated[str | None, doc("Why, in one word that programs can rely on.")] = None
    message: Annotated[str | None, doc("The same in a sentence, with what to do.")] = None


class DataVolumeStatus(Model, frozen=True):
    """What has become of it. Beside a CDI it is that one's alone."""

    claim_name: Annotated[str | None, doc("Claim that is filled; it has the name of the DataVolume.")] = None
    phase: Annotated[str | None, doc("How far it is.")] = None
    progress: Annotated[str | None, doc("Share of the data that is there, such as 12.34%, or N/A.")] = None
    restart_count: Annotated[int | None, doc("How often the worker was started again.", format="int32")] = None
    conditions: Annotated[tuple[DataVolumeCondition, ...] | None, doc("Ready, Bound and Running.")] = None

    def condition(self, wanted: str) -> DataVolumeCondition | None:
        """Return a condition by its type."""
        return next((each for each in self.conditions or () if each.type == wanted), None)


class DataVolume(KeepsUnknown, frozen=True):
    """A claim, and what fills it. Once that is done it has no use, and is collected where that was asked for."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DataVolumeSpec | None = None
    status: DataVolumeStatus | None = None


DATA_VOLUMES = Resource(names.GROUP, names.VERSION, "datavolumes", "DataVolume", DataVolume)
