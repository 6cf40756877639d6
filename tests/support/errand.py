"""A kind that the project does not have, whole: an Errand takes a copy of a claim, moves it to a store once, and says so in one condition.

It is what a new kind costs: its types, what it asks of a run, what it decides, what its status says, and what the reconciler needs of it. It
joins the operator as `kinds=(*KINDS, ErrandKind)`.
"""

from datetime import datetime

from msgspec.structs import replace

from datamover.api.crd import crd
from datamover.api.fields import Fields
from datamover.api.names import CLONE_PREFIX, CopyMethod
from datamover.api.ownership import Owner, labels_of
from datamover.cli.surroundings import Surroundings
from datamover.movers.rclone import CONTAINER, RcloneSync, build_job
from datamover.plans.conditions import State, merge
from datamover.plans.kind import Kind
from datamover.plans.known import Known, Seen
from datamover.plans.steps import REST, Plan, ProveStatus, Step, WriteStatus
from datamover.reconcilers.cluster import View
from datamover.runs.advance import advance
from datamover.runs.cleanup import collect
from datamover.runs.facts import RunFacts
from datamover.runs.gather import gather_run
from datamover.runs.order import Copy, Order, Readable, Transfer
from datamover.runs.preflight import find_obstacle
from datamover.runs.record import Record, Stage
from datamover.runs.verdict import Answer, News, Rest, Verdict, blocked
from kubekit.runtime.controller import Controller
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import key_of
from kubekit.words.meta import Condition, Manifest, Model, ObjectMeta, Resource
from kubekit.words.timestamps import compact, folder, parse, seconds
from kubekit.words.unknown import KeepsUnknown


class ErrandSpec(Model, frozen=True):
    """What to move, and whose credentials to take."""

    source: str
    secret: str


class ErrandStatus(Model, frozen=True):
    """How far it is. `began` is the moment of the run, which all its names follow from."""

    stage: str = ""
    began: str = ""
    copied: str | None = None
    attempts: int = 0
    conditions: tuple[Condition, ...] = ()


class Errand(KeepsUnknown, frozen=True):
    """Moves a copy of a claim to a store."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ErrandSpec | None = None
    status: ErrandStatus | None = None


ERRANDS = Resource("example.com", "v1", "errands", "Errand", Errand)
UNUSED = [
    "storage_class",
    "snapshot_class",
    "method",
    "image",
    "pull_secrets",
    "memory",
    "deadline",
    "suspend",
    "keeps",
    "verify",
]
FIELDS = Fields(kind="Errand", source="spec.source", **dict.fromkeys(UNUSED, "nothing"))
FAILED = "FAILED"
Facts = tuple[Errand, RunFacts]


# What it asks for.


def copy_of(errand: Errand, spec: ErrandSpec) -> Copy:
    return Copy(CopyMethod.CLONE, spec.source, f"{CLONE_PREFIX}{errand.metadata.name}")


def order_of(errand: Errand, spec: ErrandSpec, status: ErrandStatus) -> Order:
    meta, begun, told = errand.metadata, parse(status.began), condition_of(status)
    run_id = f"{compact(begun)}-errand"
    owner = Owner(ERRANDS, meta, labels_of(meta, run_id=run_id))

    def build(readable: Readable) -> Manifest:
        sync = RcloneSync(
            run_id=run_id,
            timestamp=folder(begun),
            cluster="errands",
            namespace=meta.namespace or "",
            source=spec.source,
            object_name=meta.name,
            secret_name=spec.secret,
            copy_method=CopyMethod.CLONE,
            copied_at=readable.copied,
        )
        return build_job(owner, sync, name=f"errand-{meta.name}", claim=readable.claim, read_only=readable.read_only)

    stage = Stage[status.stage] if status.stage in Stage.__members__ else Stage.DONE
    record = Record(stage, folder(begun), status.copied, reason=told.reason if told else "", attempts=status.attempts)
    return Order(owner, copy_of(errand, spec), (Transfer(f"errand-{meta.name}", CONTAINER, build),), record, FIELDS)


# What it decides, and what its status says.


def decide(facts: Facts) -> Plan[ErrandStatus]:
    errand, run = facts
    spec, status = errand.spec, errand.status
    if spec is None or errand.metadata.terminating or (status is not None and status.stage == FAILED):
        return REST
    if status is None or not status.began:
        obstacle = find_obstacle(copy_of(errand, spec), FIELDS, run)
        if obstacle is not None:
            return tell(errand, blocked(obstacle.reason, obstacle.message, action="Preflight"), now=run.now)
        begun = replace(status or ErrandStatus(), stage=Stage.COPYING.name, began=seconds(run.now))
        return Plan((WriteStatus(begun),))
    order = order_of(errand, spec, status)
    answer = collect(order, run) if status.stage == Stage.DONE.name else advance(order, run)
    return tell(errand, answer, now=run.now)


def tell(errand: Errand, answer: Answer, *, now: datetime) -> Plan[ErrandStatus]:
    if isinstance(answer, Rest):
        return Plan(answer.steps, answer.wake_after)
    current = errand.status or ErrandStatus()
    status = compose(errand, current, answer, now=now)
    before, after = condition_of(current), condition_of(status)
    same = before and after and (before.status, before.reason) == (after.status, after.reason)
    known = status == current or (same and answer.news is not News.CHANGED)
    written: tuple[Step[ErrandStatus], ...] = () if known else (WriteStatus(status, answer.cause),)
    if answer.after and (answer.fenced or not written):
        return Plan((*answer.before, ProveStatus(), *answer.after, *written), answer.wake_after)
    return Plan((*answer.before, *written, *answer.after), answer.wake_after)


def compose(errand: Errand, current: ErrandStatus, answer: Verdict, *, now: datetime) -> ErrandStatus:
    said = {"Done": ("True" if answer.state is State.DONE else "False", answer.reason, answer.message)}
    attempts, generation = answer.tally and answer.tally.attempts, errand.metadata.generation
    return replace(
        current,
        stage=FAILED if answer.state is State.FAILED else answer.stage.name if answer.stage else current.stage,
        copied=answer.copied or current.copied,
        attempts=current.attempts if attempts is None else attempts,
        conditions=merge(current.conditions, said, order=("Done",), now=now, generation=generation),
    )


def condition_of(status: ErrandStatus | None) -> Condition | None:
    return next((each for each in (status.conditions if status else ()) if each.type == "Done"), None)


# What the reconciler needs of it.


class ErrandKind(Kind[Errand, ErrandStatus, Facts]):
    """The kind."""

    resource = ERRANDS
    definition = crd(ERRANDS, rules={})

    def __init__(self, around: Surroundings) -> None:
        self.objects = Informer(around.client, ERRANDS, namespace=around.options.namespace, clock=around.clock)
        self.view = View(around.cluster)

    def gather(self, obj: Errand, *, known: Known, now: datetime) -> Facts:
        if obj.spec is None:
            return obj, RunFacts(now, known=known)
        copy, job = copy_of(obj, obj.spec), f"errand-{obj.metadata.name}"
        return obj, gather_run(obj.metadata, copy, job, view=self.view, known=known, now=now)

    def decide(self, facts: Facts) -> Plan[ErrandStatus]:
        return decide(facts)

    def broken(self, obj: Errand, message: str, *, now: datetime) -> tuple[Step[ErrandStatus], ...]:
        return tell(obj, blocked("InternalError", message, action="Reconcile"), now=now).steps

    def seen(self, facts: Facts) -> Seen:
        return facts[1].known.seen

    def is_over(self, obj: Errand) -> bool:
        return self.stage(obj.status) in (FAILED, Stage.DONE.name)

    def stage(self, status: ErrandStatus | None) -> str:
        return status.stage if status is not None else ""

    def connect(self, controller: Controller) -> None:
        for shared in self.view.cluster.informers():
            controller.watch(shared, lambda _old, _new: [key_of(each.metadata) for each in self.objects.store.list()])
