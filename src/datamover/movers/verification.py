"""The Job that compares a point of a bucket with its manifest. Pure.

Its Pod is the one of `restore` without a claim: all that it has is the Secret of the bucket, and nothing is written there.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from datamover.api import restore, transfer
from datamover.api import verification as words
from datamover.api.ownership import Owner
from datamover.api.pods import EnvVar, Image, Mover
from datamover.movers import job
from datamover.movers.defaults import NONE, MoverDefaults, fill
from datamover.movers.environment import literal, of_agent, of_rclone, of_verification
from datamover.movers.pod import build_pod_spec, config_mount
from datamover.movers.rclone import choose_image
from kubekit.words.meta import Manifest

CONTAINER: Final = words.CONTAINER
"""Name of the container that compares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What is asked of one comparison, and how its Pod runs.

    `run_id` is the comparison's own, the same in every attempt: it chooses a sample. `namespace` and `object_name` are those of the object that asks.
    `secret_name` is the Secret of the bucket, in the same namespace; `environment` are variables besides, such as CUSTOM_PATH_PREFIX, and win over it.

    `point` is the run that is compared, or another word for a point (`latest`, a timestamp, `as-of:TIME`); `source` the `NAMESPACE/PVC` that it must be of
    (empty: any); `method` how, None as `Checksum`. None as `deadline_seconds` means no limit, and as `image` or `mover` that nothing was chosen.
    """

    run_id: str
    namespace: str
    object_name: str
    secret_name: str
    point: str
    source: str = ""
    method: transfer.Verification | None = None
    environment: tuple[EnvVar, ...] = ()
    deadline_seconds: int | None = None
    image: Image | None = None
    mover: Mover | None = None


def build_job(
    owner: Owner,
    asked: Verification,
    *,
    name: str,
    image: str | None = None,
    pull_policy: str | None = None,
    defaults: MoverDefaults = NONE,
) -> Manifest:
    """Return the Job.

    `image` replaces the default image where `asked` names none, and `pull_policy` the default policy for it. `defaults` are the operator's for how
    movers run.
    """
    reference, policy = choose_image(asked.image, substitute=image, pull_policy=pull_policy)
    container: Manifest = {
        "name": CONTAINER,
        "image": reference,
        "imagePullPolicy": policy,
        "args": [words.CONTAINER],
        "env": _environment(asked),
        "envFrom": [{"secretRef": {"name": asked.secret_name}}],
    }
    return job.build_job(
        owner,
        name=name,
        container=CONTAINER,
        pod=build_pod_spec(container=container, mounts=(config_mount(),), mover=fill(asked.mover, defaults)),
        defaults=defaults,
        deadline_seconds=asked.deadline_seconds,
    )


def _environment(asked: Verification) -> list[Manifest]:
    """The user's variables in their order, then ours, every one of them: the last one of a name wins, also over the Secret's keys."""
    ours: dict[str, str] = {
        restore.POINT: asked.point,
        restore.SOURCE: asked.source,
        **of_verification(asked.method),
        **of_rclone(asked.environment),
        **of_agent(
            run_id=asked.run_id,
            namespace=asked.namespace,
            object_name=asked.object_name,
            deadline_seconds=asked.deadline_seconds,
        ),
    }
    return [*(msgspec.to_builtins(variable) for variable in asked.environment), *literal(ours)]
