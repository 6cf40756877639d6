"""The Job that restores a point of a bucket into a claim. Pure.

Its Pod is the one of `rclone`, but for the engine and the claim, which is mounted for writing. By default it is nobody (restricted Pod Security):
contents, names, modes and times come back, and the outcome tells what only root can give (owners). As root, which the user may choose, it has
the capabilities that a restore needs besides.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from datamover.api import restore as words
from datamover.api import transfer
from datamover.api.ownership import Owner
from datamover.api.pods import EnvVar, Image, Mover
from datamover.movers import job
from datamover.movers.defaults import NONE, MoverDefaults, fill
from datamover.movers.environment import flag, literal, of_agent, of_rclone
from datamover.movers.pod import Mount, build_pod_spec, config_mount, data_mount
from datamover.movers.rclone import choose_image
from kubekit.words.meta import Manifest

CONTAINER: Final = words.CONTAINER
ROOTS_PRIVILEGES: Final = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID")
"""What root needs to give files to their owners: without it only what the identity may do by itself comes back."""
ATTRIBUTES_PRIVILEGE: Final = "SETFCAP"
DEVICES_PRIVILEGE: Final = "MKNOD"
SAFETY_VOLUME: Final = "safety-copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """What is asked of one restore, and how its Pod runs.

    `run_id` is the restore's own, the same in every attempt: by it an attempt knows the mark of an earlier one, and goes on with the point that
    was chosen then. `namespace` and `object_name` are those of the object that asks. `secret_name` is the Secret of the bucket, in the same
    namespace; `environment` are variables besides, such as CUSTOM_PATH_PREFIX, and win over it.

    `point` is a word for one (`latest`, a timestamp, a run's id, `as-of:TIME`), `source` the `NAMESPACE/PVC` that it must be of (empty: any), `path` what of
    it is wanted (empty: all). `overwrite`, `on_missing`, `disturbed`, `privileges` and `special` are those of `api.restore`. None as
    `deadline_seconds` means no limit, and as `image` or `mover` that nothing was chosen.
    """

    run_id: str
    namespace: str
    object_name: str
    secret_name: str
    point: str = words.LATEST
    source: str = ""
    path: str = ""
    overwrite: bool = False
    on_missing: str = words.FAIL
    disturbed: bool = False
    privileges: bool = False
    special: bool = False
    environment: tuple[EnvVar, ...] = ()
    deadline_seconds: int | None = None
    image: Image | None = None
    mover: Mover | None = None


def build_job(
    owner: Owner,
    asked: Restore,
    *,
    name: str,
    claim: str,
    safety: str | None = None,
    image: str | None = None,
    pull_policy: str | None = None,
    defaults: MoverDefaults = NONE,
) -> Manifest:
    """Return the Job that restores into `claim`. `safety` is a claim with a copy of it, from which a restore that fails is rolled back.

    `image` replaces the default image where `asked` names none, and `pull_policy` the default policy for it. `defaults` are the operator's for how
    movers run.
    """
    reference, policy = choose_image(asked.image, substitute=image, pull_policy=pull_policy)
    mover = _keep_groups(fill(asked.mover, defaults))
    container: Manifest = {
        "name": CONTAINER,
        "image": reference,
        "imagePullPolicy": policy,
        "args": [words.CONTAINER],
        "env": _environment(asked, safety=safety is not None),
        "envFrom": [{"secretRef": {"name": asked.secret_name}}],
    }
    return job.build_job(
        owner,
        name=name,
        container=CONTAINER,
        pod=build_pod_spec(
            container=container,
            mounts=(
                data_mount(claim, writable=True),
                *((_safety_mount(safety),) if safety is not None else ()),
                config_mount(),
            ),
            mover=mover,
            capabilities=_capabilities(asked, mover, safety=safety is not None),
        ),
        defaults=defaults,
        deadline_seconds=asked.deadline_seconds,
    )


def _safety_mount(claim: str) -> Mount:
    """Return the mount of the copy. A class that waits for the first consumer binds it by this Pod, and on its node: the data are copied before the mover
    begins. The node may hand its files to the mover's group, as it does with those of the target.
    """
    source = {"persistentVolumeClaim": {"claimName": claim}}
    return Mount(SAFETY_VOLUME, f"{words.SAFETY_PATH}/", source, read_only=True)


def _keep_groups(mover: Mover) -> Mover:
    """Let the node give the volume its group once. With `Always` it would do so for each Pod anew: to what has come back already, and to the mark of
    the Pod before, which is then no longer the mover's own.
    """
    chosen = mover.security_context
    if chosen is None or chosen.fs_group_change_policy is None:
        return mover
    return msgspec.structs.replace(mover, security_context=msgspec.structs.replace(chosen, fs_group_change_policy=None))


def _capabilities(asked: Restore, mover: Mover, *, safety: bool) -> tuple[str, ...]:
    """Return what root needs. Who may have to roll back needs all of it, whatever the restore is to bring: what was there may have had it."""
    if mover.security_context is None or mover.security_context.run_as_user != 0:
        return ()
    return (
        *ROOTS_PRIVILEGES,
        *((ATTRIBUTES_PRIVILEGE,) if asked.privileges or safety else ()),
        *((DEVICES_PRIVILEGE,) if asked.special or safety else ()),
    )


def _environment(asked: Restore, *, safety: bool) -> list[Manifest]:
    """The user's variables in their order, then ours, every one of them: the last one of a name wins, also over the Secret's keys."""
    ours: dict[str, str] = {
        words.POINT: asked.point,
        words.SOURCE: asked.source,
        words.PATH: asked.path,
        words.TARGET: transfer.DATA_PATH,
        words.OVERWRITE: flag(asked.overwrite),
        words.ON_MISSING: asked.on_missing,
        words.DISTURBED: flag(asked.disturbed),
        words.PRIVILEGES: flag(asked.privileges),
        words.SPECIAL: flag(asked.special),
        words.ROLL_BACK_FROM: words.SAFETY_PATH if safety else "",
        **of_rclone(asked.environment),
        **of_agent(
            run_id=asked.run_id,
            namespace=asked.namespace,
            object_name=asked.object_name,
            deadline_seconds=asked.deadline_seconds,
        ),
    }
    return [*(msgspec.to_builtins(variable) for variable in asked.environment), *literal(ours)]
