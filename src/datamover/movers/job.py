"""The Job around every mover's Pod: how often it is tried, and when trying again is pointless. Pure."""

from typing import Final

from datamover.api import names, transfer
from datamover.api.ownership import Owner
from datamover.movers.defaults import MoverDefaults
from kubekit.words.meta import Manifest

BACKOFF_LIMIT: Final = 2  # three attempts (documents)


def build_job(
    owner: Owner,
    *,
    name: str,
    container: str,
    pod: Manifest,
    defaults: MoverDefaults,
    deadline_seconds: int | None = None,
    backoff_limit: int = BACKOFF_LIMIT,
    parallelism: int = 1,
) -> Manifest:
    """Return the Job that runs `pod` until it has succeeded once, or `backoff_limit` attempts after the first have failed.

    `container` is the name of the Pod's container that moves the data: its exit code tells whether another attempt makes sense.
    `defaults` add the operator's labels to the Job and its Pods, and annotations to the Pods. Our own labels win over theirs.
    """
    metadata = owner.child(name, component=names.COMPONENT_MOVER)
    labels = {**(defaults.labels or {}), **metadata["labels"]}
    spec: Manifest = {
        "backoffLimit": backoff_limit,
        "completions": 1,
        "parallelism": parallelism,
        # A replacement must not read and write beside a predecessor that is still going down.
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                # A Pod that a drained node ended says nothing of the data: it costs no attempt.
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {
                    "action": "FailJob",
                    "onExitCodes": {
                        "containerName": container,
                        "operator": "In",
                        "values": sorted(transfer.TERMINAL_EXIT_CODES),
                    },
                },
            ]
        },
        "template": {
            "metadata": {"labels": labels, **({"annotations": defaults.annotations} if defaults.annotations else {})},
            "spec": pod,
        },
    }
    if deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = deadline_seconds
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {**metadata, "labels": labels}, "spec": spec}
