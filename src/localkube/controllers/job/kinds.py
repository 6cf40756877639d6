"""Jobs and their Pods as the Job controller reads them."""

from typing import Any

from kubekit.words.batch import JobCondition
from kubekit.words.core import ContainerStatus, PodCondition
from kubekit.words.meta import Model, ObjectMeta, Resource
from localkube.node.pod_kinds import PodMeta

TRACKING_FINALIZER = "batch.kubernetes.io/job-tracking"
"""On every Pod of a Job until its end is counted, so that each end counts exactly once."""
CONTROLLER_UID_LABEL = "batch.kubernetes.io/controller-uid"
JOB_NAME_LABEL = "batch.kubernetes.io/job-name"
LEGACY_CONTROLLER_UID_LABEL = "controller-uid"
LEGACY_JOB_NAME_LABEL = "job-name"


class ExitCodes(Model, frozen=True):
    """Which exit codes a rule is for. 0 never matches."""

    container_name: str | None = None
    operator: str = "In"
    values: tuple[int, ...] | None = None


class ConditionPattern(Model, frozen=True):
    """Which Pod conditions a rule is for."""

    type: str = ""
    status: str | None = None


class PolicyRule(Model, frozen=True):
    """What is done about a failed Pod that matches."""

    action: str = ""
    on_exit_codes: ExitCodes | None = None
    on_pod_conditions: tuple[ConditionPattern, ...] | None = None


class FailurePolicy(Model, frozen=True):
    """Rules; the first that matches decides."""

    rules: tuple[PolicyRule, ...] | None = None


class JobSpec(Model, frozen=True):
    """What a Job asks for. `template` is passed on as it is."""

    parallelism: int | None = None
    completions: int | None = None
    completion_mode: str | None = None
    backoff_limit: int | None = None
    backoff_limit_per_index: int | None = None
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None
    suspend: bool | None = None
    pod_failure_policy: FailurePolicy | None = None
    pod_replacement_policy: str | None = None
    managed_by: str | None = None
    template: dict[str, Any] | None = None


class Uncounted(Model, frozen=True):
    """UIDs of Pods whose end is noted but whose finalizer may not be gone yet."""

    succeeded: tuple[str, ...] | None = None
    failed: tuple[str, ...] | None = None


class JobStatus(Model, frozen=True):
    """How far a Job is."""

    active: int | None = None
    ready: int | None = None
    terminating: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    start_time: str | None = None
    completion_time: str | None = None
    conditions: tuple[JobCondition, ...] | None = None
    uncounted_terminated_pods: Uncounted | None = None


class Job(Model, frozen=True):
    """A Job."""

    metadata: ObjectMeta = ObjectMeta()
    spec: JobSpec = JobSpec()
    status: JobStatus | None = None

    def condition(self, type_: str) -> JobCondition | None:
        """Return the condition when it is True, else None."""
        conditions = (self.status.conditions if self.status else None) or ()
        return next((c for c in conditions if c.type == type_ and c.status == "True"), None)

    @property
    def finished(self) -> bool:
        """Tell whether it is Complete or Failed."""
        return self.condition("Complete") is not None or self.condition("Failed") is not None


class PodStatus(Model, frozen=True):
    """How far a Pod is."""

    phase: str | None = None
    conditions: tuple[PodCondition, ...] | None = None
    container_statuses: tuple[ContainerStatus, ...] | None = None
    init_container_statuses: tuple[ContainerStatus, ...] | None = None


class Pod(Model, frozen=True):
    """A Pod of a Job."""

    metadata: PodMeta = PodMeta()
    status: PodStatus = PodStatus()

    @property
    def phase(self) -> str:
        """Pending, Running, Succeeded or Failed."""
        return self.status.phase or "Pending"

    @property
    def finished(self) -> bool:
        """Tell whether it has ended."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def tracked(self) -> bool:
        """Tell whether its end is still to be counted."""
        return TRACKING_FINALIZER in (self.metadata.finalizers or ())

    @property
    def ready(self) -> bool:
        """Tell whether it is Ready."""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions or ())


JOBS = Resource("batch", "v1", "jobs", "Job", Job)
PODS = Resource("", "v1", "pods", "Pod", Pod)
