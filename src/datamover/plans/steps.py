"""What a decision asks for, as data: the same plan can be shown, tested as a table, simulated, and acted upon."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar

from kubekit.words.batch import JOBS
from kubekit.words.meta import Manifest, ObjectMeta, OwnerReference, PartialObject, Reference, Resource

S = TypeVar("S")
"""The status of the kind that a plan is for."""

Secrets = Mapping[str, bytes]
"""What a Secret holds: values by key."""

MakeSecrets = Callable[[], Secrets | Awaitable[Secrets]]
"""Makes what a Secret is to hold. What takes long is awaitable and does its work in a thread."""


def writers_of(uid: str) -> str:
    """Return the topic of the question who may write the claim with this UID."""
    return f"{uid}/writers"


def users_of(uid: str) -> str:
    """Return the topic of the question who uses the claim with this UID."""
    return f"{uid}/users"


# No slots, as with Plan.
@dataclass(frozen=True)
class WriteStatus(Generic[S]):
    """Write the object's status. Carries the version it was decided on: a stale decision is refused by the server.

    `cause` is the reason of the attempt that failed, when that is what the status tells.
    """

    status: S
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Create:
    """Create a child. A child of ours that is already there counts as created; anybody else's is never touched.

    `secret` makes what a Secret is to hold, when the step is carried out and not before: no plan, no memory and no log has it (law L8). Its
    resource is one that reads metadata only (`SECRET_METAS`), so that not even the server's answer is kept. What is there is never replaced.

    `once`: a child of ours that is there already ends the plan, and the decision is made anew. For what goes with the creation and is told once:
    another replica has told it, or it was told before the caches lost sight of it (law L7).
    """

    resource: Resource[Any]
    manifest: Manifest
    secret: MakeSecrets | None = field(default=None, repr=False, compare=False)
    once: bool = False

    def __post_init__(self) -> None:
        if self.secret is not None and self.resource.type is not PartialObject:
            raise ValueError(f"a {self.resource.kind} with a secret is created as SECRET_METAS, which reads no value")


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete one of our children by name and UID, with what belongs to it (law L2).

    `as_seen`: only as it was decided upon. Where it is what the child says that lets it go (it has no volume yet, nobody has marked it to be
    kept), a cache that is late must not be believed: the server refuses the version, and the decision is made anew (law L7).
    """

    resource: Resource[Any]
    target: ObjectMeta
    as_seen: bool = False


@dataclass(frozen=True, slots=True)
class Patch:
    """Change something of ours by a merge patch, under the version that the decision was made on (law L7).

    `unhurried`: another replica whose caches differ would take it back at once, and so on without end. It is done no faster than remarks are made.
    """

    resource: Resource[Any]
    target: ObjectMeta
    patch: Manifest
    unhurried: bool = False


def suspend(job: ObjectMeta, *, yes: bool) -> Patch:
    """Return the step that stops a Job's Pods, or lets them go on."""
    return Patch(JOBS, job, {"spec": {"suspend": yes}})


@dataclass(frozen=True, slots=True)
class Annotate:
    """Change annotations of an object that is not ours, and nothing else of it; None takes one away.

    Carries the UID and the version that was decided on: who decided on an older one is refused, also when nothing would change.
    `remark`: they tell people how a wait goes, and nothing else. Two replicas whose caches differ would write them in turns without end.
    """

    resource: Resource[Any]
    target: ObjectMeta
    annotations: Mapping[str, str | None]
    remark: bool = False


@dataclass(frozen=True, slots=True)
class Rebind:
    """Hand a volume over to another claim: from then on it is that claim's, and goes with nobody else.

    The volume is the storage's, not ours. It is changed under the UID and the version that were decided on, in its claimRef and in these
    annotations, and in nothing else. The claim is named by its UID, so that no successor of its name ever gets the data.
    """

    volume: ObjectMeta
    claim: ObjectMeta
    annotations: Mapping[str, str]

    @property
    def patch(self) -> Manifest:
        """The change of the volume."""
        claim = self.claim
        reference = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": claim.namespace,
            "name": claim.name,
            "uid": claim.uid,
            "resourceVersion": claim.resource_version,
        }
        return {"metadata": {"annotations": dict(self.annotations)}, "spec": {"claimRef": reference}}


@dataclass(frozen=True, slots=True)
class Inquire:
    """Ask why a child does not get on, so that the next decision can say it: its events, or the Pods that use a claim.

    `over` are reasons of events that explain nothing any more: what they tell of has passed. `writers`: of Pods, those alone that may write it.
    """

    kind: str
    target: ObjectMeta
    users: bool = False
    over: tuple[str, ...] = ()
    writers: bool = False

    @property
    def topic(self) -> str:
        """What the answer is filed under: the child's UID, with a mark when it is about its users."""
        if self.writers:
            return writers_of(self.target.uid)
        return users_of(self.target.uid) if self.users else self.target.uid


@dataclass(frozen=True, slots=True)
class Locate:
    """Ask on which node a claim is used: where it can be mounted on one node only, a mover has to go there."""

    claim: ObjectMeta


@dataclass(frozen=True, slots=True)
class AskOwners:
    """Ask whether owners are alive, by their UIDs, and whether we may keep them from going first (`OwnerFound`).

    What becomes the child of an owner that is gone is deleted by Kubernetes at once.
    """

    owners: tuple[OwnerReference, ...]


@dataclass(frozen=True, slots=True)
class SampleLog:
    """Read the end of a running mover's log for its progress."""

    pod: ObjectMeta
    container: str


@dataclass(frozen=True, slots=True)
class ProveGone:
    """Ask the server whether a child is really gone that the caches do not show: they may lag (laws L4, L7).

    When it is there after all, it goes into the caches and the decision is made anew. `claim` is the claim of the owner's namespace that a
    PersistentVolume, which has no owner, must be bound to. Without the right to read it the absence is believed; not so when it is `certain`:
    then the step is refused. In another `namespace` there is no owner to go by: there every object of that name counts, or the one with
    this `uid`.
    """

    resource: Resource[Any]
    name: str
    claim: str | None = None
    certain: bool = False
    namespace: str | None = None
    uid: str | None = None


@dataclass(frozen=True, slots=True)
class ProveSame:
    """Ask the server whether an object is still as the caches show it; another version goes into the caches, and the decision is made anew."""

    resource: Resource[Any]
    target: ObjectMeta


@dataclass(frozen=True, slots=True)
class ProvePods:
    """Read Pods from the server; when the caches did not know them so, the decision is made anew.

    Those whose label names `owner`, a UID; None for the object's own. What fills a claim belongs to the claim.
    """

    owner: str | None = None


@dataclass(frozen=True, slots=True)
class ProveListed:
    """Read all objects of a kind with these labels from the server; when the caches did not know them so, the decision is made anew.

    For what is concluded from there being no others. `resource` is the very one whose cache is meant: two caches may be of one kind.
    """

    resource: Resource[Any]
    namespace: str
    labels: str


@dataclass(frozen=True, slots=True)
class ProveStatus:
    """Write the status as it is, under its version: who decided on a stale one is refused before the next step (law L7)."""


@dataclass(frozen=True, slots=True)
class Emit:
    """Record an event. `related` is a second object that it is about; `about` is whose event it is, where it is not the plan's object's."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    action: str
    related: Reference | None = None
    about: Reference | None = None


Effect = (
    Create
    | Delete
    | Patch
    | Annotate
    | Rebind
    | Inquire
    | Locate
    | AskOwners
    | SampleLog
    | ProveGone
    | ProveSame
    | ProvePods
    | ProveListed
    | ProveStatus
    | Emit
)
"""A step that knows no kind."""

Step = WriteStatus[S] | Effect
"""A step of a plan for an object with the status `S`."""


# No slots here: a frozen class with slots cannot be called by an alias such as Plan[DataMoverStatus].
@dataclass(frozen=True)
class Plan(Generic[S]):
    """Steps in order; a step that fails stops the plan, and the next reconcile decides anew.

    `wake_after` is in seconds; None waits for a change.
    """

    steps: tuple[Step[S], ...] = ()
    wake_after: float | None = None


REST: Final[Plan[Any]] = Plan()
"""Nothing to do until something changes."""
