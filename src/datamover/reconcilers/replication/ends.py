"""How a Job ended whose status somebody else than Kubernetes' own controller writes: counts without conditions. Pure.

The original goes by the counts alone, so clusters without a Job controller, such as those of tests, write nothing else. Where there are Pods
there is a controller, and its conditions come: then nothing is concluded here.
"""

from collections.abc import Collection

from msgspec.structs import replace

from kubekit.words.batch import Job, JobCondition
from kubekit.words.core import Pod

_DEFAULT_BACKOFF = 6


def conclude(job: Job | None, pods: Collection[Pod]) -> Job | None:
    """Return the Job with the condition that its counts stand for. It is as old as the Job where nothing says when it ended."""
    if job is None or job.status is None or pods or job.status.active or job.ended:
        return job
    status, spec = job.status, job.spec
    limit = spec.backoff_limit if spec is not None and spec.backoff_limit is not None else _DEFAULT_BACKOFF
    if status.succeeded:
        found, reason = "Complete", None
    elif status.failed and status.failed >= limit:
        found, reason = "Failed", "BackoffLimitExceeded"
    else:
        return job
    since = status.completion_time or status.start_time or job.metadata.creation_timestamp
    condition = JobCondition(type=found, status="True", reason=reason, last_transition_time=since)
    return replace(job, status=replace(status, conditions=(*(status.conditions or ()), condition)))
