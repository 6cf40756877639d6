"""The Job that syncs a copy with rclone. Container, volume and variable names are the original operator's. Pure."""

from dataclasses import dataclass
from typing import Final

import msgspec

from datamover.api import names, transfer
from datamover.api.ownership import Owner
from datamover.api.pods import EnvVar, Image, Mover
from datamover.api.validation import image_reference
from datamover.movers import job
from datamover.movers.defaults import NONE, MoverDefaults, fill
from datamover.movers.environment import flag, literal, of_agent, of_rclone, of_verification
from datamover.movers.pod import build_pod_spec, config_mount, data_mount
from kubekit.words.meta import Manifest

CONTAINER: Final = "rclone"  # (original operator)


@dataclass(frozen=True, slots=True, kw_only=True)
class RcloneSync:
    """What rclone is asked to do in one run, and how its Pod runs.

    `cluster`, `namespace` and `source` name the volume whose mirror the destination is; `cluster` is the UID of the namespace kube-system.
    `object_name` is the object that asked for the run. `copied_at` is None where no moment of the copy is known. None as `deadline_seconds`
    means no limit, and as `verification`, `image` or `mover` that nothing was chosen.
    """

    run_id: str
    timestamp: str
    cluster: str
    namespace: str
    source: str
    object_name: str
    secret_name: str
    copy_method: str
    copied_at: str | None = None
    environment: tuple[EnvVar, ...] = ()
    add_timestamp_prefix: bool = False
    adopt_destination: bool = False
    allow_empty_source: bool = False
    max_delete_percent: int = 50
    verification: transfer.Verification | None = None
    deadline_seconds: int | None = None
    image: Image | None = None
    mover: Mover | None = None


def build_job(
    owner: Owner,
    sync: RcloneSync,
    *,
    name: str,
    claim: str,
    read_only: bool = False,
    image: str | None = None,
    pull_policy: str | None = None,
    defaults: MoverDefaults = NONE,
) -> Manifest:
    """Return the Job that moves `claim` to the destination.

    `read_only`: the claim can only be mounted so; the user's own volume always is (law L1). `image` replaces the default image
    where `sync` names none, and `pull_policy` the default policy for it. `defaults` are the operator's for how movers run.
    """
    reference, policy = choose_image(sync.image, substitute=image, pull_policy=pull_policy)
    mounted_read_only = read_only or sync.copy_method == transfer.DIRECT
    container: Manifest = {
        "name": CONTAINER,
        "image": reference,
        "imagePullPolicy": policy,
        "env": _environment(sync),
        "envFrom": [{"secretRef": {"name": sync.secret_name}}],
    }
    return job.build_job(
        owner,
        name=name,
        container=CONTAINER,
        pod=build_pod_spec(
            container=container,
            mounts=(data_mount(claim, read_only_volume=mounted_read_only), config_mount()),
            mover=fill(sync.mover, defaults),
        ),
        defaults=defaults,
        deadline_seconds=sync.deadline_seconds,
    )


def choose_image(chosen: Image | None, *, substitute: str | None, pull_policy: str | None) -> tuple[str, str]:
    """Return the image and its pull policy.

    The documented default names the original operator's image, which has no agent: an operator that brings its own image uses
    that instead, also where the API server filled the default in. The same holds of the policy.
    """
    wanted = chosen or Image()
    defaulted = (wanted.repository, wanted.tag) == (names.DEFAULT_IMAGE_REPOSITORY, names.DEFAULT_IMAGE_TAG)
    if substitute is None or not defaulted:
        return image_reference(wanted), wanted.pull_policy
    unsaid = wanted.pull_policy == names.DEFAULT_PULL_POLICY
    return substitute, (pull_policy if unsaid else None) or wanted.pull_policy


def _environment(sync: RcloneSync) -> list[Manifest]:
    """The documented variable first, then the user's in their order, then ours: the last one of a name wins.

    Every variable of ours is set, those that only have a default as well, because the Secret's keys are environment too: one called
    DATAMOVER_ROOT or DATAMOVER_GRACE_PERIOD would otherwise be honoured.
    """
    ours: dict[str, str] = {
        transfer.TIMESTAMP: sync.timestamp,
        transfer.OWNER_CLUSTER: sync.cluster,
        transfer.OWNER_PVC: sync.source,
        transfer.COPY_METHOD: sync.copy_method,
        transfer.COPIED_AT: sync.copied_at or "",
        transfer.ADOPT_DESTINATION: flag(sync.adopt_destination),
        transfer.ALLOW_EMPTY_SOURCE: flag(sync.allow_empty_source),
        transfer.MAX_DELETE_PERCENT: str(sync.max_delete_percent),
        **of_verification(sync.verification),
        **of_rclone(sync.environment),
        **of_agent(
            run_id=sync.run_id,
            namespace=sync.namespace,
            object_name=sync.object_name,
            deadline_seconds=sync.deadline_seconds,
        ),
    }
    return [
        {"name": "ADD_TIMESTAMP_PREFIX", "value": flag(sync.add_timestamp_prefix)},
        *(msgspec.to_builtins(variable) for variable in sync.environment),
        *literal(ours),
    ]
