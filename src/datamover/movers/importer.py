"""The Job that fills the disk of a DataVolume. Pure.

Its Pod is admitted by restricted Pod Security, has no API token and nothing of the object but what its source needs. It is the user and the group that
a virtual machine's disks belong to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from datamover.api import importer as words
from datamover.api.ownership import Owner
from datamover.api.pods import Mover, PodSecurityContext
from datamover.movers import job
from datamover.movers.defaults import NONE, MoverDefaults, fill
from datamover.movers.environment import flag, literal, of_agent
from datamover.movers.pod import Mount, RawDevice, build_pod_spec
from datamover.movers.replication import secret_mount, secret_variable
from kubekit.words.meta import Manifest

IDENTITY: Final = PodSecurityContext(
    run_as_user=words.USER, run_as_group=words.USER, fs_group=words.USER, run_as_non_root=True
)
_TARGET: Final = "target"
_SOURCE: Final = "source"
_FETCHED: Final = (words.HTTP, words.S3, words.UPLOAD)
_SMALL_SCRATCH: Final = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """What is asked of an importer. Fields that a source does not have stay as they are.

    `claim` is filled; `source_claim` is what a copy reads. `size`: bytes of the disk. `secret` has the credentials, `certificates` is a ConfigMap,
    `secret_headers` are Secrets. `environment` are variables of the operator's, such as its proxies'. `mounts` are what a source needs besides.
    None as `deadline_seconds` means no limit. `poll`: nothing is filled, and no claim mounted.
    """

    source: str
    run_id: str
    claim: str
    size: int
    block: bool = False
    content_type: str = words.KUBEVIRT
    preallocation: bool = False
    url: str = ""
    region: str = ""
    secret: str = ""
    certificates: str = ""
    headers: Sequence[str] = ()
    secret_headers: Sequence[str] = ()
    checksum: str = ""
    any_certificate: bool = False
    source_claim: str = ""
    source_block: bool = False
    account: str = ""
    priority_class: str = ""
    environment: Sequence[Manifest] = ()
    mounts: Sequence[Mount] = ()
    labels: Sequence[tuple[str, str]] = ()
    deadline_seconds: int | None = None
    backoff_limit: int = job.BACKOFF_LIMIT
    poll: bool = False


def build_job(
    owner: Owner,
    asked: Import,
    *,
    name: str,
    image: str,
    pull_policy: str | None = None,
    mover: Mover | None = None,
    defaults: MoverDefaults = NONE,
) -> Manifest:
    """Return the Job. `mover` is how its Pod runs, where somebody has chosen that; `defaults` are the operator's."""
    container: Manifest = {
        "name": words.CONTAINER,
        "image": image,
        **({"imagePullPolicy": pull_policy} if pull_policy else {}),
        "args": [words.CONTAINER],
        "env": _environment(owner, asked),
        **({"ports": [{"name": "upload", "containerPort": words.UPLOAD_PORT}]} if asked.source == words.UPLOAD else {}),
    }
    mounts, devices = _volumes(asked)
    made = job.build_job(
        owner,
        name=name,
        container=words.CONTAINER,
        pod=build_pod_spec(container=container, mounts=mounts, devices=devices, mover=_run_as(asked, mover, defaults)),
        defaults=defaults,
        deadline_seconds=asked.deadline_seconds,
        backoff_limit=asked.backoff_limit,
    )
    template = made["spec"]["template"]["metadata"]
    # the caller's first: one of ours that was taken would hide the Pod from us
    template["labels"] = {**dict(asked.labels), **template["labels"]}
    return made


def _run_as(asked: Import, mover: Mover | None, defaults: MoverDefaults) -> Mover:
    """Return how the Pod runs. Who it is nobody chooses: a machine could not open a disk of somebody else's."""
    chosen = fill(mover, defaults)
    return msgspec.structs.replace(
        chosen,
        security_context=IDENTITY,
        service_account_name=asked.account or chosen.service_account_name,
        priority_class_name=asked.priority_class or chosen.priority_class_name,
    )


def _environment(owner: Owner, asked: Import) -> list[Manifest]:
    """The operator's variables first, then ours, every one of them."""
    credentials = (
        [
            secret_variable(words.ACCESS_KEY_ID, asked.secret, key=words.SECRET_KEY_ID),
            secret_variable(words.SECRET_KEY, asked.secret, key=words.SECRET_KEY_SECRET),
        ]
        if asked.secret
        else [{"name": name, "value": ""} for name in (words.ACCESS_KEY_ID, words.SECRET_KEY)]
    )
    ours = {
        words.SOURCE: asked.source,
        words.URL: asked.url,
        words.REGION: asked.region,
        words.EXTRA_HEADERS: msgspec.json.encode(list(asked.headers)).decode() if asked.headers else "",
        words.INSECURE_SKIP_VERIFY: flag(asked.any_certificate),
        words.CHECKSUM: asked.checksum,
        words.CONTENT_TYPE: asked.content_type,
        words.VOLUME_MODE: _mode(asked.block),
        words.SOURCE_VOLUME_MODE: _mode(asked.source_block),
        words.TARGET_SIZE: str(asked.size),
        words.PREALLOCATION: flag(asked.preallocation),
        words.POLL: flag(asked.poll),
        words.QEMU_IMG: "",  # found on the image's PATH
        **of_agent(
            run_id=asked.run_id,
            namespace=owner.metadata.namespace or "",
            object_name=owner.metadata.name,
            deadline_seconds=asked.deadline_seconds,
        ),
    }
    return [*asked.environment, *credentials, *literal(ours)]


def _volumes(asked: Import) -> tuple[list[Mount], list[RawDevice]]:
    """Return what the Pod mounts, and the devices that it sees. What is read is never mounted for writing (law L1)."""
    mounts: list[Mount] = []
    devices: list[RawDevice] = []
    target: Manifest = {"persistentVolumeClaim": {"claimName": asked.claim}}
    if asked.poll:
        pass
    elif asked.block:
        devices.append(RawDevice(_TARGET, words.TARGET_DEVICE, target))
    else:
        mounts.append(Mount(_TARGET, words.TARGET_PATH, target))
    if asked.source == words.COPY:
        # read-only for the node as well: it then leaves owners and groups of the source's files alone
        source: Manifest = {"persistentVolumeClaim": {"claimName": asked.source_claim, "readOnly": True}}
        if asked.source_block:
            devices.append(RawDevice(_SOURCE, words.SOURCE_DEVICE, source))
        else:
            mounts.append(Mount(_SOURCE, words.SOURCE_PATH, source, read_only=True))
    if asked.certificates:
        mounts.append(
            Mount("certificates", words.CERTIFICATES_PATH, {"configMap": {"name": asked.certificates}}, read_only=True)
        )
    mounts += [
        secret_mount(f"secret-headers-{number}", f"{words.SECRET_HEADERS_PATH}/{number}", secret)
        for number, secret in enumerate(asked.secret_headers)
    ]
    large = asked.source in _FETCHED and not asked.poll and asked.content_type == words.KUBEVIRT
    limit = words.largest_image(asked.size) + _SMALL_SCRATCH if large else _SMALL_SCRATCH
    mounts.append(Mount("scratch", words.SCRATCH_PATH, {"emptyDir": {"sizeLimit": str(limit)}}))
    return [*mounts, *asked.mounts], devices


def _mode(block: bool) -> str:
    return words.BLOCK if block else words.FILESYSTEM
