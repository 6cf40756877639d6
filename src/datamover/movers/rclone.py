"""The Job that syncs a copy with rclone. Container, volume and variable names are the original operator's. Pure."""

from typing import Final

import msgspec

from datamover.api import names, transfer
from datamover.api.pods import Image
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover, DataMoverSpec, Guards, Run
from datamover.api.validation import image_reference
from datamover.movers.defaults import NONE, MoverDefaults, fill
from datamover.movers.pod import build_pod_spec
from kubekit.words.meta import Manifest, owner_reference

CONTAINER: Final = "rclone"  # (original operator)
BACKOFF_LIMIT: Final = 2  # three attempts (documents)


def build_job(
    owner: DataMover,
    *,
    name: str,
    run: Run,
    claim: str,
    cluster: str,
    labels: dict[str, str],
    read_only: bool = False,
    image: str | None = None,
    pull_policy: str | None = None,
    defaults: MoverDefaults = NONE,
) -> Manifest:
    """Return the Job that moves `claim` to the destination.

    `cluster` is the UID of the cluster (of its kube-system namespace): part of the identity of a mirror. `read_only`: the claim
    can only be mounted so; the user's own volume always is (law L1). `image` replaces the default
    image where the DataMover names none, and `pull_policy` the default policy for it. `defaults` are the operator's for how movers run; `labels`
    win over theirs.
    """
    spec = owner.spec
    if spec is None:
        raise ValueError("a DataMover without a spec has no mover")
    method = run.copy_method or spec.copy_method
    labels = {**(defaults.labels or {}), **labels}
    reference, policy = _image(spec.image, substitute=image, pull_policy=pull_policy)
    container: Manifest = {
        "name": CONTAINER,
        "image": reference,
        "imagePullPolicy": policy,
        "env": _environment(owner, spec, run, cluster),
        "envFrom": [{"secretRef": {"name": spec.secret_name}}],
    }
    job: Manifest = {
        "backoffLimit": BACKOFF_LIMIT,
        "completions": 1,
        "parallelism": 1,
        # A replacement must not read and write beside a predecessor that is still going down.
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {
                    "action": "FailJob",
                    "onExitCodes": {
                        "containerName": CONTAINER,
                        "operator": "In",
                        "values": sorted(transfer.TERMINAL_EXIT_CODES),
                    },
                },
            ]
        },
        "template": {
            "metadata": {"labels": labels, **({"annotations": defaults.annotations} if defaults.annotations else {})},
            "spec": build_pod_spec(
                container=container,
                claim=claim,
                mover=fill(spec.mover, defaults),
                read_only=read_only or method == transfer.DIRECT,
            ),
        },
    }
    if spec.deadline_seconds is not None:
        job["activeDeadlineSeconds"] = spec.deadline_seconds
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": owner.metadata.namespace,
            "labels": labels,
            "ownerReferences": [owner_reference(DATA_MOVERS, owner.metadata)],
        },
        "spec": job,
    }


def _image(chosen: Image | None, *, substitute: str | None, pull_policy: str | None) -> tuple[str, str]:
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


def _environment(owner: DataMover, spec: DataMoverSpec, run: Run, cluster: str) -> list[Manifest]:
    """The documented variable first, then the user's in their order, then ours: the last one of a name wins.

    Every variable of ours is set, those that only have a default as well, because the Secret's keys are environment too: one called
    DATAMOVER_ROOT or DATAMOVER_GRACE_PERIOD would otherwise be honoured.
    """
    guards = spec.guards or Guards()
    annotations = owner.metadata
    adopt = guards.adopt_destination or annotations.annotation(names.ADOPT_ANNOTATION) == "true"
    allow_empty = guards.allow_empty_source or annotations.annotation(names.ALLOW_EMPTY_ANNOTATION) == "true"
    ours: dict[str, str] = {
        transfer.RUN_ID: run.id,
        transfer.TIMESTAMP: run.timestamp,
        transfer.OWNER_CLUSTER: cluster,
        transfer.OWNER_NAMESPACE: owner.metadata.namespace or "",
        transfer.OWNER_PVC: run.source or spec.source_pvc,
        transfer.OBJECT: owner.metadata.name,
        transfer.COPY_METHOD: run.copy_method or spec.copy_method,
        transfer.COPIED_AT: run.copied or "",
        transfer.ADOPT_DESTINATION: _flag(adopt),
        transfer.ALLOW_EMPTY_SOURCE: _flag(allow_empty),
        transfer.MAX_DELETE_PERCENT: str(guards.max_delete_percent),
        transfer.DEADLINE: str(spec.deadline_seconds or 0),
        transfer.ROOT: "/",
        transfer.RCLONE: "",  # found on the image's PATH
        transfer.ALLOW_COMMANDS: ",".join(
            dict.fromkeys(each.name for each in spec.additional_env or () if transfer.runs_programs(each.name))
        ),
        transfer.GRACE_PERIOD: f"{transfer.DEFAULT_GRACE_PERIOD:g}",
        transfer.OUTAGE_LIMIT: f"{transfer.DEFAULT_OUTAGE_LIMIT:g}",
    }
    return [
        {"name": "ADD_TIMESTAMP_PREFIX", "value": _flag(spec.add_timestamp_prefix)},
        *(msgspec.to_builtins(variable) for variable in spec.additional_env or ()),
        *({"name": name, "value": value} for name, value in ours.items()),
    ]


def _flag(value: bool) -> str:
    return "true" if value else "false"
