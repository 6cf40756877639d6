"""What holds for every step of every plan for a DataMover, whatever it was decided on."""

from datamover.api import names
from datamover.plans.steps import Create, Delete, Patch, WriteStatus
from datamover.reconcilers.datamover.facts import Facts
from datamover.reconcilers.datamover.plan import Step
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS


def check_laws(step: Step, facts: Facts) -> None:
    """Assert what holds for every step of every plan."""
    sources = {facts.mover.spec.source_pvc if facts.mover.spec else None}
    status = facts.mover.status
    run = status.run if status else None
    sources |= {run.source} if run and run.source else set()
    match step:
        case Delete():
            assert step.target.uid, "a delete carries the UID (L2)"
            assert step.target.owned_by(facts.mover.metadata.uid), "only what is owned by UID is deleted (L2)"
            assert step.target.label(names.CREATED_BY_LABEL) == names.CREATED_BY_VALUE, "only what is labelled (L2)"
            assert not (step.resource is PERSISTENT_VOLUME_CLAIMS and step.target.name in sources), (
                "not the source (L1)"
            )
        case Create():
            assert run is not None, "the run is recorded before its first effect (L6)"
            meta = step.manifest["metadata"]
            assert meta["name"] not in sources or step.resource is not PERSISTENT_VOLUME_CLAIMS, "not the source (L1)"
            again = status.verification
            recorded = {status.restored_pvc_name, run.job_name, run.snapshot_name, again and again.job_name}
            assert meta["name"] in recorded, "a recorded name (L6)"
            assert meta["ownerReferences"][0]["uid"] == facts.mover.metadata.uid, "collected with its owner (L5)"
            assert meta["labels"][names.CREATED_BY_LABEL] == names.CREATED_BY_VALUE
        case Patch():
            assert step.target.owned_by(facts.mover.metadata.uid), "only our own Job is suspended (L2)"
        case WriteStatus():
            assert len(step.status.message or "") <= 1024
            assert all(len(condition.message) <= 1024 for condition in step.status.conditions or ())
        case _:
            pass
