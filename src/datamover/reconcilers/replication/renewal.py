"""A Job whose mover does not run while its object asks for something else by now: it is made anew. Pure.

A Job's Pod cannot be changed. One that Pod Security refuses, or that no node takes, would otherwise wait for ever, whatever is mended in the
spec. A mover that runs is left alone: it ends, and the next one is as asked for. But one that listens ends when somebody has come, and with a key of yesterday
nobody comes.
"""

from dataclasses import replace

from datamover.api import reasons
from datamover.api.volsync import names
from datamover.movers.outcomes import is_running
from datamover.plans.steps import Delete
from datamover.reconcilers.replication.ask import Ask
from datamover.reconcilers.replication.facts import Facts, Settings
from datamover.reconcilers.replication.jobs import digest_of
from datamover.reconcilers.replication.needs import serves
from datamover.reconcilers.replication.order import ANOTHER_MOVER
from datamover.runs.facts import Unread
from datamover.runs.order import Order
from datamover.runs.verdict import Answer, Facet, refused, working
from kubekit.words.batch import JOBS, Job
from kubekit.words.meta import HasMeta


def renew(order: Order, facts: Facts, ask: Ask, job: Job, *, settings: Settings) -> Answer | None:
    """Return how a Job is replaced that was asked for otherwise and whose mover does not run; None where it stays."""
    if not order.owner.owns(job) or not asks_otherwise(job, facts, settings=settings):
        return None
    if not serves(ask) and any(is_running(pod, order.transfer.container) for pod in facts.run.pods):
        return None
    refusal = facts.run.refused()
    if refusal is not None:
        return refused(refusal, action="Synchronize")
    message = f"Job {job.metadata.name} is made anew: something else was asked for before its mover had started"
    return replace(
        working(reasons.JOB_CREATED, message),
        facets={Facet.COPY: ("True", reasons.JOB_CREATED, ANOTHER_MOVER)},
        after=(Delete(JOBS, job.metadata),),
    )


def asks_otherwise(job: HasMeta, facts: Facts, *, settings: Settings) -> bool:
    """Tell whether a Job was made for something else than what is asked for now."""
    said = job.metadata.annotation(names.ASKED_ANNOTATION)
    if said is None or facts.namespace is Unread.NOT_SYNCED or isinstance(facts.ask, str):
        return False  # of a version, or a project, that does not say it; or its namespace's part in it is not known yet
    return said != digest_of(facts.ask, facts, settings)
