"""The mover's Pod of an upload, and what keeps it from running. Pure."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from datamover.api.outside import clean
from datamover.api.signed import redact_signed
from datamover.api.velero import names
from kubekit.words.core import Pod
from kubekit.words.meta import ObjectMeta

_SHOWN: Final = 300
_MARKS: Final = (names.DATA_UPLOAD_LABEL, names.POD_VOLUME_BACKUP_LABEL)


class Mover(NamedTuple):
    """A mover's Pod: its name, and a sentence on what is wrong with it; empty where nothing is."""

    name: str
    trouble: str


class Movers:
    """Pods by the upload that they work for. A Pod says so by its label, or is called the same."""

    def __init__(self, pods: Iterable[Pod]) -> None:
        self._pods: dict[tuple[str | None, str], Pod] = {}
        for pod in pods:
            meta = pod.metadata
            for name in {meta.name, *(value for mark in _MARKS if (value := meta.label(mark)))}:
                self._pods.setdefault((meta.namespace, name), pod)

    def of(self, upload: ObjectMeta) -> Mover | None:
        """Return the Pod of an upload; None where there is none, or none that is known."""
        pod = self._pods.get((upload.namespace, upload.name))
        return Mover(pod.metadata.name, trouble_of(pod)) if pod is not None else None


def trouble_of(pod: Pod) -> str:
    """Return what keeps a Pod from running: no node takes it, its container cannot start, or it has failed. Empty where nothing does."""
    status = pod.status
    if status is None:
        return ""
    for condition in status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False":
            return _said(condition.reason, condition.message) or "no node takes it"
    for container in status.container_statuses or ():
        waiting = container.state.waiting if container.state is not None else None
        if waiting is not None and waiting.reason not in (None, "", "ContainerCreating", "PodInitializing"):
            return _said(waiting.reason, waiting.message)
    if status.phase == "Failed":
        return _said(status.reason, status.message) or "it has failed"
    return ""


def _said(reason: str | None, message: str | None) -> str:
    return clean(redact_signed(": ".join(part for part in (reason, message) if part)), limit=_SHOWN)
