"""Narrow view of batch/v1."""

from kubekit.words.meta import Model, ObjectMeta, Resource


class JobCondition(Model, frozen=True):
    """Complete, Failed, FailureTarget, SuccessCriteriaMet or Suspended."""

    type: str = ""
    status: str = ""
    reason: str | None = None
    message: str | None = None
    last_transition_time: str | None = None


class JobSpec(Model, frozen=True):
    """Only what tells how many attempts there are."""

    backoff_limit: int | None = None
    suspend: bool | None = None
    parallelism: int | None = None


class JobStatus(Model, frozen=True):
    """How far a Job is. `failed` counts Pods; only the conditions tell that a Job has failed."""

    active: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    start_time: str | None = None
    completion_time: str | None = None
    conditions: tuple[JobCondition, ...] | None = None


class Job(Model, frozen=True):
    """A Job."""

    metadata: ObjectMeta = ObjectMeta()
    spec: JobSpec | None = None
    status: JobStatus | None = None

    @property
    def ended(self) -> bool:
        """Whether it has succeeded or failed."""
        return self.condition("Complete") is not None or self.condition("Failed") is not None

    def condition(self, type_: str) -> JobCondition | None:
        """Return the condition when it is True, else None."""
        for condition in (self.status and self.status.conditions) or ():
            if condition.type == type_ and condition.status == "True":
                return condition
        return None


JOBS = Resource("batch", "v1", "jobs", "Job", Job)
