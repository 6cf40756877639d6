"""podFailurePolicy: what a failed Pod means for its Job. Pure."""

from dataclasses import dataclass

from kubekit.words.core import ContainerStatus
from localkube.controllers.job.kinds import ExitCodes, FailurePolicy, Job, Pod, PolicyRule


@dataclass(frozen=True, slots=True)
class Verdict:
    """`counts`: towards backoffLimit. `fail_job`: why the whole Job fails at once, else None."""

    counts: bool = True
    fail_job: str | None = None


COUNTS = Verdict()


def judge(policy: FailurePolicy | None, pod: Pod) -> Verdict:
    """Return what the first matching rule says about a failed Pod; without a match it counts."""
    for index, rule in enumerate((policy.rules if policy else None) or ()):
        match = _match(rule, pod)
        if match is None:
            continue
        if rule.action == "Ignore":
            return Verdict(counts=False)
        if rule.action == "FailJob":
            return Verdict(fail_job=f"{match} matching {rule.action} rule at index {index}")
        return COUNTS
    return COUNTS


def fail_job_message(job: Job, pods: tuple[Pod, ...]) -> str | None:
    """Return why a failed Pod fails the whole Job, or None."""
    if job.spec.pod_failure_policy is None:
        return None
    failed = (pod for pod in pods if pod.phase == "Failed")
    return next((m for pod in failed if (m := judge(job.spec.pod_failure_policy, pod).fail_job) is not None), None)


def _match(rule: PolicyRule, pod: Pod) -> str | None:
    where = f"{pod.metadata.namespace}/{pod.metadata.name}"
    if rule.on_exit_codes is not None:
        for status in (*(pod.status.container_statuses or ()), *(pod.status.init_container_statuses or ())):
            code = _exit_code(status)
            if code and _fits(rule.on_exit_codes, status.name, code):
                return f"Container {status.name} for pod {where} failed with exit code {code}"
        return None
    for condition in pod.status.conditions or ():
        for pattern in rule.on_pod_conditions or ():
            if condition.type == pattern.type and condition.status == (pattern.status or "True"):
                return f"Pod {where} has condition {condition.type}"
    return None


def _exit_code(status: ContainerStatus) -> int:
    terminated = status.state.terminated if status.state else None
    return terminated.exit_code if terminated else 0


def _fits(wanted: ExitCodes, name: str, code: int) -> bool:
    if wanted.container_name is not None and wanted.container_name != name:
        return False
    return (code in (wanted.values or ())) == (wanted.operator == "In")
