"""Carrying out plans, and what is remembered between two reconciles, with a client that keeps no server."""

import json
import logging
from dataclasses import dataclass, field
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from datamover.api import copy_trigger, reasons
from datamover.api.names import Phase
from datamover.api.transfer import REASON_INTERNAL_ERROR, REQUIRED_VARIABLES, Progress
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMoverStatus
from datamover.metrics.datamover import DataMoverMetrics
from datamover.metrics.exposition import expose
from datamover.plans.reconciler import Reconciler
from datamover.reconcilers.cluster import Cluster
from datamover.reconcilers.datamover.caches import Caches
from datamover.reconcilers.datamover.kind import DataMoverKind
from kubekit.client.client import Client
from kubekit.client.errors import AlreadyExists, ApiError, Conflict, Forbidden, NotFound, ServerError
from kubekit.client.transport import Request, Response
from kubekit.runtime.controller import DONE, After
from kubekit.runtime.named import MISSING, UNKNOWN
from kubekit.runtime.store import Key
from kubekit.words.batch import JOBS
from kubekit.words.core import EVENTS, PERSISTENT_VOLUME_CLAIMS, PODS, Event, PodMounts, Secret
from kubekit.words.meta import ObjectMeta
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from kubekit.words.timestamps import seconds
from support import builders
from support.builders import CLONE, JOB
from support.clock import VirtualClock
from support.scripted_transport import ScriptedTransport, answer, failure

KEY = Key("default", "nightly")
INSTALLED = (Path(__file__).resolve().parents[4] / "deploy" / "install.yaml").read_text(encoding="utf-8")


SOURCE = builders.persistent_volume_claim()
TRIGGERED = replace(
    SOURCE,
    metadata=replace(
        SOURCE.metadata,
        annotations={copy_trigger.USE_ANNOTATION: "", copy_trigger.TRIGGER_ANNOTATION: "go1"},
    ),
)
KINDS = {each.plural: each for each in (DATA_MOVERS, PERSISTENT_VOLUME_CLAIMS, JOBS, VOLUME_SNAPSHOTS, EVENTS, PODS)}


class Server(ScriptedTransport):
    """Answers what reconciles ask, under a real client. `answers` are errors (or None) by verb and kind; all else succeeds."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self.clock = clock
        self.calls: list[str] = []
        self.version = 100
        self.answers: dict[str, list[ApiError | None]] = {}
        self.found: dict[str, Any] = {}
        self.events: list[Event] = []
        self.pods: tuple[PodMounts, ...] = ()
        self.log = b""
        self.sent: list[Any] = []

    async def request(self, request: Request, *, timeout: float | None = None) -> Response:
        parts = request.path.split("/")[parts_before(request.path) :]
        resource, name, sub = KINDS[parts[0]], *(*parts[1:], "", "")[:2]
        verb = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(request.method)
        query = dict(request.query)
        if verb is None:
            verb = "logs" if sub == "log" else "get" if name else "list"
        body = json.loads(request.body or b"null")
        shown = query.get("fieldSelector", query.get("labelSelector")) if verb == "list" else name
        self.calls.append(f"{verb} {resource.kind} {body['metadata']['name'] if verb == 'create' else shown}")
        planned = self.answers.get(f"{verb} {resource.kind}")
        if planned and (error := planned.pop(0)) is not None:
            return failure(error.status, type(error).__name__, error.message)
        self.version += 1
        return getattr(self, f"_{verb}")(resource, name, body)

    def _get(self, resource, name, body):
        found = self.found.get(name)
        return failure(404, "NotFound", "no such object") if found is None else answer(body=msgspec.to_builtins(found))

    def _create(self, resource, name, body):
        self.sent.append(body)
        given = {"uid": f"uid-{self.version}", "resourceVersion": str(self.version)}
        body["metadata"] |= {**given, "creationTimestamp": seconds(self.clock.now())}
        return answer(201, body)

    def _update(self, resource, name, body):
        assert resource is DATA_MOVERS
        assert body.keys() == {"apiVersion", "kind", "metadata", "status"}
        status = msgspec.convert(body["status"], DataMoverStatus)
        meta = replace(self.mover.metadata, resource_version=str(self.version))
        self.mover = replace(self.mover, metadata=meta, status=status)
        return answer(body=msgspec.to_builtins(self.mover))

    def _patch(self, resource, name, body):
        self.sent.append(body)
        if resource is PERSISTENT_VOLUME_CLAIMS:
            changed = {key: value for key, value in body["metadata"]["annotations"].items() if value is not None}
            meta = replace(TRIGGERED.metadata, annotations={**TRIGGERED.metadata.annotations, **changed})
            meta = replace(meta, resource_version=str(self.version))
            return answer(body=msgspec.to_builtins(replace(TRIGGERED, metadata=meta)))
        suspended = builders.job(suspend=body["spec"]["suspend"], resource_version=str(self.version))
        return answer(body=msgspec.to_builtins(suspended))

    def _delete(self, resource, name, body):
        assert body["preconditions"]["uid"], "a delete carries the UID (L2)"
        assert body["propagationPolicy"] == "Background"
        return answer(body={"kind": "Status", "status": "Success"})

    def _list(self, resource, name, body):
        found = {EVENTS: self.events, PODS: self.pods}[resource]
        if self.calls[-1] != "list Pod None" and resource is PODS:
            found = ()
        items = [{"metadata": {"name": "one"}, **msgspec.to_builtins(each)} for each in found]
        return answer(body={"metadata": {"resourceVersion": "1"}, "items": items})

    def _logs(self, resource, name, body):
        return Response(200, {}, self.log)


def parts_before(path: str) -> int:
    """Return how many parts of a path come before the plural of the kind."""
    return (3 if path.startswith("/api/") else 4) + (2 if "/namespaces/" in path else 0)


class Impatient:
    """The client's pauses between two tries, without their time."""

    async def sleep(self, seconds: float) -> None:
        return None


class Secrets:
    """Fits `NamedInformers` as far as reconciles go."""

    def __init__(self) -> None:
        self.wanted: dict[Key, tuple[Key, ...]] = {}
        data = {key: msgspec.Raw(b'"hidden"') for key in REQUIRED_VARIABLES}
        self.present: Any = Secret(metadata=ObjectMeta(name="storage-credentials"), data=data)

    def want(self, owner, keys) -> None:
        self.wanted[owner] = tuple(keys)

    def get(self, key):
        return self.present


class Recorder:
    def __init__(self) -> None:
        self.recorded: list[tuple[str, str]] = []
        self.messages: list[str] = []

    def record(self, regarding, resource, type_, reason, message, action, *, related=None) -> None:
        assert resource is DATA_MOVERS
        self.recorded.append((type_, reason))
        self.messages.append(message)


class World:
    def __init__(self, mover) -> None:
        self.clock = VirtualClock(builders.NOW)
        self.server = Server(self.clock)
        self.server.mover = mover
        client = Client(self.server, clock=Impatient())
        self.cluster = Cluster(client, clock=self.clock)
        self.cluster.secrets = Secrets()
        self.caches = Caches(client, cluster=self.cluster, clock=self.clock)
        self.recorder = Recorder()
        self.registry = CollectorRegistry()
        self.kind = DataMoverKind(caches=self.caches, meter=DataMoverMetrics(self.registry), settings=builders.SETTINGS)
        self.reconciler = Reconciler(
            self.kind, client=client, caches=self.cluster, recorder=self.recorder, clock=self.clock
        )
        self.caches.movers.store.put(mover)
        self.cluster.claims.store.put(builders.persistent_volume_claim())
        self.cluster.classes.store.put(
            replace(builders.storage_class(), metadata=ObjectMeta(name="fast", resource_version="1"))
        )

    def put(self, *objects) -> None:
        stores = {
            "PersistentVolumeClaim": self.cluster.claims,
            "Job": self.cluster.jobs,
            "Pod": self.cluster.pods,
            "VolumeSnapshot": self.cluster.snapshots,
        }
        for obj in objects:
            self.server.version += 1
            meta = replace(obj.metadata, resource_version=str(self.server.version))
            stores[type(obj).__name__].store.put(replace(obj, metadata=meta))

    async def reconcile(self):
        return await self.reconciler.reconcile(KEY)

    async def rest(self) -> Any:
        """Reconcile until a reconcile sends nothing."""
        for _ in range(10):
            before = len(self.server.calls)
            result = await self.reconcile()
            if len(self.server.calls) == before:
                return result
        raise AssertionError(f"no rest: {self.server.calls}")

    @property
    def status(self) -> DataMoverStatus:
        return self.server.mover.status

    def metric(self, metric: str, /, **labels: str) -> float | None:
        return self.registry.get_sample_value(metric, {"namespace": "default", **labels})


def world(phase: str | None = None, *objects, **spec) -> World:
    status = builders.status(phase) if phase is not None else None
    made = World(builders.data_mover(status=status, **spec))
    made.put(*objects)
    return made


async def test_a_run_is_recorded_then_the_clone_made_and_own_writes_are_read_at_once() -> None:
    lived = world()
    await lived.reconcile()
    assert lived.server.calls == ["update DataMover nightly"]
    await lived.reconcile()
    assert lived.server.calls[1:] == [f"create PersistentVolumeClaim {CLONE}"]
    assert await lived.rest() == After(pytest.approx(10.1)), "the created clone is known without a watch"
    assert lived.recorder.recorded == [], "the phase says it"


async def test_the_log_tells_the_story_in_the_words_that_the_documents_look_for(caplog) -> None:
    caplog.set_level(logging.INFO, "datamover.plans")
    begun = world()
    await begun.rest()
    cleaning = world(Phase.CLEANING_UP, builders.clone(), delete_pvc_after_backup=True)
    await cleaning.rest()
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith(f"default/nightly: phase {Phase.CREATING_CLONE} (CreatingClone): ")
    assert f"default/nightly: created PersistentVolumeClaim {CLONE}" in lines
    assert f"default/nightly: cleanup: deleted PersistentVolumeClaim {CLONE}" in lines


async def test_an_object_at_rest_costs_no_request() -> None:
    lived = world(Phase.COMPLETED)
    for _ in range(3):
        assert await lived.reconcile() == DONE
    assert lived.server.calls == []
    assert lived.metric("datamover_current_phase", name="nightly") == 5


async def test_the_secret_is_watched_until_the_run_is_recorded() -> None:
    lived = world()
    lived.cluster.secrets.present = UNKNOWN
    assert await lived.reconcile() == DONE
    assert lived.cluster.secrets.wanted["DataMover", KEY] == (Key("default", "storage-credentials"),)
    assert lived.server.calls == []
    lived.cluster.secrets.present = MISSING
    await lived.reconcile()
    assert lived.status.condition("Stalled").reason == reasons.SECRET_NOT_FOUND
    lived.cluster.secrets.present = Secrets().present
    await lived.reconcile()
    await lived.reconcile()
    assert lived.cluster.secrets.wanted["DataMover", KEY] == ()


class TestRefusals:
    quota = Forbidden("exceeded quota: storage")

    async def test_a_refused_clone_is_told_once_and_tried_again_after_the_pause_only(self) -> None:
        lived = world(Phase.CREATING_CLONE)
        lived.server.answers["create PersistentVolumeClaim"] = [self.quota] * 3
        result = await lived.reconcile()
        assert result == After(pytest.approx(2.05))
        assert lived.status.condition("Stalled").reason == reasons.CLONE_FORBIDDEN
        assert "exceeded quota: storage" in lived.status.message
        for _ in range(5):  # its own status write, and whatever else happens in the namespace
            await lived.reconcile()
        assert lived.server.calls == [f"create PersistentVolumeClaim {CLONE}", "update DataMover nightly"]
        await lived.clock.advance(2.1)
        assert await lived.reconcile() == After(pytest.approx(4.05)), "each pause is longer"
        assert lived.server.calls[2:] == [f"create PersistentVolumeClaim {CLONE}"], "told already"

    async def test_when_it_goes_through_all_is_forgotten(self) -> None:
        lived = world(Phase.CREATING_CLONE)
        lived.server.answers["create PersistentVolumeClaim"] = [self.quota, None]
        await lived.reconcile()
        await lived.clock.advance(3)
        await lived.rest()
        assert lived.reconciler.memory.known(builders.MOVER_UID).refusal is None
        assert lived.status.condition("Stalled").status == "False", "it says that it goes on"

    async def test_a_retry_whose_old_job_cannot_be_deleted_does_not_spin(self) -> None:
        failed = builders.job(condition="Failed", failed=1)
        lived = world(Phase.FAILED, failed, builders.clone(), annotations={"datamover.a-cup-of.coffee/retry": "1"})
        lived.server.answers["delete Job"] = [Forbidden("no")] * 9
        assert await lived.reconcile() == After(pytest.approx(2.05))
        await lived.rest()
        assert lived.server.calls.count(f"delete Job {JOB}") == 1
        assert lived.status.phase == Phase.FAILED
        assert "the API server refuses to delete Job" in lived.status.message

    async def test_a_clone_that_cannot_be_deleted_keeps_the_run_cleaning_up(self) -> None:
        lived = world(Phase.CLEANING_UP, builders.clone(), delete_pvc_after_backup=True)
        lived.server.answers["delete PersistentVolumeClaim"] = [Forbidden("no")]
        await lived.reconcile()
        assert (lived.status.phase, lived.status.condition("Ready").reason) == (
            Phase.CLEANING_UP,
            reasons.CLEANUP_FAILED,
        )
        assert lived.metric("datamover_cleanup_operations_total", status="failure") == 1
        await lived.clock.advance(3)
        await lived.rest()
        assert lived.server.calls.count(f"delete PersistentVolumeClaim {CLONE}") == 2
        assert lived.metric("datamover_cleanup_operations_total", status="success") == 0, "not gone yet"
        lived.cluster.claims.store.remove(replace(builders.clone().metadata, resource_version="999"))
        await lived.rest()
        assert lived.status.phase == Phase.COMPLETED
        assert lived.metric("datamover_cleanup_operations_total", status="success") == 1

    async def test_a_lasting_server_error_is_told_a_passing_one_is_not(self) -> None:
        lived = world(Phase.CREATING_CLONE)
        webhook = ServerError("failed calling webhook", status=500)
        lived.server.answers["create PersistentVolumeClaim"] = [webhook] * 4
        for _ in range(2):
            with pytest.raises(ServerError):
                await lived.reconcile()
        assert lived.status.condition("Stalled").status == "False"
        await lived.reconcile()
        assert lived.status.condition("Stalled").reason == reasons.CHILD_REFUSED
        assert "failed calling webhook" in lived.status.message

    async def test_a_kind_that_is_gone_is_told_and_asked_for_ever_less_often(self) -> None:
        begun = builders.status(Phase.CREATING_CLONE, run=builders.run(copy_method="Snapshot"))
        spec = {"copy_method": "Snapshot", "volume_snapshot_class_name": "snapshots"}
        lived = World(builders.data_mover(status=begun, **spec))
        snapshots = builders.volume_snapshot_class()
        snapshots = replace(snapshots, metadata=replace(snapshots.metadata, resource_version="1"))
        lived.cluster.snapshot_classes.store.put(snapshots)
        gone = NotFound("the server could not find the requested resource")
        lived.server.answers["create VolumeSnapshot"] = [gone] * 20
        assert await lived.reconcile() == After(pytest.approx(2.05))
        assert lived.status.condition("Stalled").reason == reasons.CHILD_REFUSED
        for words in ("could not find the requested resource", "kubectl api-resources", "volumesnapshots.snapshot"):
            assert words in lived.status.message
        pauses = []
        for _ in range(8):
            await lived.clock.advance(61)
            pauses.append((await lived.reconcile()).seconds)
        assert pauses[-1] == pytest.approx(60.05)
        assert lived.recorder.recorded == [("Warning", reasons.CHILD_REFUSED)], "told once"
        lived.server.answers.clear()
        await lived.clock.advance(61)
        await lived.rest()
        assert lived.status.condition("Stalled").status == "False"


class TestDefects:
    """What the operator itself does wrong at one object is told there, and nobody else suffers."""

    def broken(self, lived: World, monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
        left = [ZeroDivisionError("hunter2")] * times
        explain = lived.reconciler.explain

        def fail(key):
            if left:
                raise left.pop()
            return explain(key)

        monkeypatch.setattr(lived.reconciler, "explain", fail)

    async def crash(self, lived: World) -> None:
        with pytest.raises(ZeroDivisionError):
            await lived.reconcile()

    async def test_three_in_a_row_are_told_once_without_the_error_s_words(self, monkeypatch) -> None:
        lived = world(Phase.CREATING_CLONE)
        self.broken(lived, monkeypatch, times=5)
        for _ in range(2):
            await self.crash(lived)
        assert lived.server.calls == []
        for _ in range(3):
            await self.crash(lived)
        assert lived.server.calls == ["update DataMover nightly"]
        stalled = lived.status.condition("Stalled")
        assert (stalled.status, stalled.reason) == ("True", REASON_INTERNAL_ERROR)
        assert "ZeroDivisionError" in stalled.message
        assert "default/nightly" in stalled.message
        assert "hunter2" not in stalled.message
        assert lived.recorder.recorded == [("Warning", REASON_INTERNAL_ERROR)]
        assert lived.metric("datamover_errors_total", error_type=REASON_INTERNAL_ERROR, phase=Phase.CREATING_CLONE) == 1

    async def test_it_heals_with_the_first_decision_that_succeeds(self, monkeypatch) -> None:
        lived = world(Phase.CREATING_CLONE, builders.clone(phase="Pending"))
        self.broken(lived, monkeypatch, times=3)
        for _ in range(3):
            await self.crash(lived)
        await lived.reconcile()
        assert lived.status.condition("Stalled").status == "False"
        assert lived.status.condition("Ready").reason == reasons.CLONING

    async def test_a_run_that_is_over_keeps_its_verdict(self, monkeypatch) -> None:
        lived = world(Phase.COMPLETED)
        self.broken(lived, monkeypatch, times=5)
        for _ in range(5):
            await self.crash(lived)
        assert lived.server.calls == []
        assert lived.recorder.recorded == [("Warning", REASON_INTERNAL_ERROR)]

    async def test_a_status_that_cannot_be_written_hides_no_defect(self, monkeypatch) -> None:
        lived = world(Phase.CREATING_CLONE)
        self.broken(lived, monkeypatch, times=3)
        lived.server.answers["update DataMover"] = [ServerError("down", status=500)]
        for _ in range(3):
            await self.crash(lived)


class TestSources:
    """When a claim was last backed up is known until the claim goes, whatever becomes of its DataMovers."""

    last = "datamover_source_last_success_timestamp_seconds"

    def completed(self) -> World:
        done = builders.status(Phase.COMPLETED, run=builders.run(finished=builders.CREATED))
        return World(builders.data_mover(status=done))

    async def test_it_is_rebuilt_from_what_is_completed_and_outlives_it(self) -> None:
        lived = self.completed()
        await lived.reconcile()
        assert lived.metric(self.last, source="app-data") == builders.NOW.timestamp()
        lived.caches.movers.store.remove(replace(builders.data_mover().metadata, resource_version="9"))
        await lived.reconcile()
        assert lived.metric("datamover_last_success_timestamp_seconds", name="nightly") is None
        assert lived.metric(self.last, source="app-data") == builders.NOW.timestamp()

    async def test_it_goes_with_the_claim_and_does_not_come_back(self) -> None:
        lived = self.completed()
        await lived.reconcile()
        claim = builders.persistent_volume_claim()
        lived.cluster.claims.store.remove(replace(claim.metadata, resource_version="999"))
        assert list(lived.kind._of_claim(claim, None)) == [KEY]
        await lived.reconcile()
        assert lived.metric(self.last, source="app-data") is None

    async def test_a_failure_that_a_later_run_has_settled_is_not_told_again_after_a_restart(self) -> None:
        """Whichever of them is looked at first: the series would stay in alerts for minutes."""
        lived = World(builders.data_mover(status=builders.status("Failed", reason="WrongCredentials")))
        finished = builders.run(started="2024-08-06T15:00:00Z", finished="2024-08-06T15:01:00Z")
        later = builders.data_mover(name="later", uid="u-2", status=builders.status(Phase.COMPLETED, run=finished))
        lived.caches.movers.store.put(replace(later, metadata=replace(later.metadata, resource_version="2")))
        await lived.reconcile()
        assert lived.metric(self.last, source="app-data") is not None
        text = expose(lived.registry).decode()
        for family in ("datamover_failed_timestamp_seconds", "datamover_source_first_attempt_timestamp_seconds"):
            assert f"{family}{{" not in text

    async def test_nothing_is_kept_of_a_claim_that_is_gone_with_its_datamovers(self) -> None:
        lived = self.completed()
        claim = builders.persistent_volume_claim()
        lived.cluster.claims.store.remove(replace(claim.metadata, resource_version="999"))
        await lived.reconcile()
        failures = lived.kind._meter._failures
        assert failures._completed, "the run is known"
        lived.caches.movers.store.remove(replace(builders.data_mover().metadata, resource_version="9"))
        await lived.reconcile()
        assert not failures._completed


RETRY = {"annotations": {"datamover.a-cup-of.coffee/retry": "1"}}
SNAPSHOT = {"copy_method": "Snapshot"}
LOST = builders.clone(phase="Lost")
RUNNING = builders.job(active=1)


@dataclass(frozen=True)
class Right:
    """A right that the operator lacks, where it needs it, and what the DataMover says then."""

    verb: str
    kind: str
    resource: str
    phase: str
    reason: str
    has: tuple[Any, ...] = ()
    spec: dict[str, Any] = field(default_factory=dict)

    @property
    def forbidden(self) -> Forbidden:
        """The words of the API server's own authorizer."""
        plural, _, group = self.resource.partition(" of ")
        return Forbidden(
            f'{plural} is forbidden: User "system:serviceaccount:o:m" cannot {self.verb} resource "{plural}" in API group '
            f'"{group}" in the namespace "default"'
        )


MISSING_RIGHT = reasons.PERMISSION_MISSING
RIGHTS = {
    "to make a clone": Right(
        "create", "PersistentVolumeClaim", "persistentvolumeclaims", Phase.CREATING_CLONE, reasons.CLONE_FORBIDDEN
    ),
    "to take a snapshot": Right(
        "create",
        "VolumeSnapshot",
        "volumesnapshots of snapshot.storage.k8s.io",
        Phase.CREATING_CLONE,
        MISSING_RIGHT,
        spec=SNAPSHOT,
    ),
    "to make a Job": Right("create", "Job", "jobs of batch", Phase.CLONE_READY, MISSING_RIGHT, has=(builders.clone(),)),
    "to suspend a Job": Right(
        "patch",
        "Job",
        "jobs of batch",
        Phase.CREATING_POD,
        MISSING_RIGHT,
        has=(builders.clone(), RUNNING),
        spec={"suspend": True},
    ),
    "to let a Job go on": Right(
        "patch",
        "Job",
        "jobs of batch",
        Phase.CREATING_POD,
        MISSING_RIGHT,
        has=(builders.clone(), builders.job(suspend=True)),
    ),
    "to say that a copy is taken for a trigger": Right(
        "patch",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        Phase.CREATING_CLONE,
        MISSING_RIGHT,
        has=(TRIGGERED,),
    ),
    "to delete a Job in clean-up": Right(
        "delete",
        "Job",
        "jobs of batch",
        Phase.CLEANING_UP,
        reasons.CLEANUP_FAILED,
        has=(builders.job(condition="Complete", succeeded=1),),
        spec={"delete_pvc_after_backup": True},
    ),
    "to delete a clone in clean-up": Right(
        "delete",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        Phase.CLEANING_UP,
        reasons.CLEANUP_FAILED,
        has=(builders.clone(),),
        spec={"delete_pvc_after_backup": True},
    ),
    "to delete a snapshot in clean-up": Right(
        "delete",
        "VolumeSnapshot",
        "volumesnapshots of snapshot.storage.k8s.io",
        Phase.CLEANING_UP,
        reasons.CLEANUP_FAILED,
        has=(builders.volume_snapshot(owner=builders.MOVER_UID),),
        spec=SNAPSHOT,
    ),
    "to delete an old Job for a retry": Right(
        "delete",
        "Job",
        "jobs of batch",
        Phase.FAILED,
        MISSING_RIGHT,
        has=(builders.clone(), builders.job(condition="Failed", failed=1)),
        spec=RETRY,
    ),
    "to delete a clone without a volume for a retry": Right(
        "delete",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        Phase.FAILED,
        MISSING_RIGHT,
        has=(LOST,),
        spec=RETRY,
    ),
    "to count the Pods before another Job": Right(
        "list", "Pod", "pods", Phase.CREATING_POD, MISSING_RIGHT, has=(builders.clone(),)
    ),
}


class TestMissingRights:
    """Whatever the operator may not do is said by the DataMover, with verb, resource and namespace; and heals (law L10)."""

    def lived(self, right: Right) -> World:
        status = builders.status(right.phase, run=builders.run(copy_method=right.spec.get("copy_method", "Clone")))
        lived = World(builders.data_mover(status=status, **right.spec))
        snapshots = replace(builders.volume_snapshot_class(), metadata=ObjectMeta(name="s", resource_version="1"))
        lived.cluster.snapshot_classes.store.put(snapshots)
        lived.put(*right.has)
        return lived

    @pytest.mark.parametrize("case", RIGHTS)
    async def test_it_is_told_once_and_heals_when_it_is_granted(self, case: str) -> None:
        right = RIGHTS[case]
        lived = self.lived(right)
        call = f"{right.verb} {right.kind}"
        lived.server.answers[call] = [right.forbidden] * 2
        await lived.rest()
        stalled = lived.status.condition("Stalled")
        assert (stalled.status, stalled.reason) == ("True", right.reason)
        words = f"grant its service account {right.verb} on {right.resource} in namespace default"
        assert words in lived.status.message
        assert ("Warning", right.reason) in lived.recorder.recorded
        assert lived.metric("datamover_errors_total", error_type=right.reason, phase=lived.status.phase) == 1
        assert self.count(lived, call) == 1, "not again before the pause is over"
        told = len(lived.recorder.recorded)
        await lived.clock.advance(2.1)
        await lived.rest()
        assert self.count(lived, call) == 2
        assert len(lived.recorder.recorded) == told, "told once (L9)"
        await lived.clock.advance(4.1)
        await lived.rest()
        assert self.count(lived, call) >= 3, "the right was granted: no restart is needed"
        assert lived.reconciler.memory.known(builders.MOVER_UID).refusal is None
        if right.verb != "delete":
            assert lived.status.condition("Stalled").status == "False"

    @pytest.mark.parametrize("case", RIGHTS)
    async def test_a_quota_or_a_policy_is_not_called_a_missing_right(self, case: str) -> None:
        right = RIGHTS[case]
        lived = self.lived(right)
        lived.server.answers[f"{right.verb} {right.kind}"] = [Forbidden("admission webhook denied the request")]
        await lived.rest()
        assert lived.status.condition("Stalled").reason != MISSING_RIGHT
        assert "admission webhook denied the request" in lived.status.message
        assert f"({right.verb} on {right.resource} in namespace default)" in lived.status.message

    def count(self, lived: World, call: str) -> int:
        return sum(each.startswith(call) for each in lived.server.calls)

    def test_every_write_is_in_the_table(self) -> None:
        """The install manifest grants all that the operator writes, and nothing else, beside the status and the events."""
        (role,) = (
            each
            for each in yaml.safe_load_all(INSTALLED)
            if each and (each["kind"], each["metadata"]["name"]) == ("ClusterRole", "datamover-operator")
        )
        written = {
            (verb, f"{resource} of {group}" if group else resource)
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in {*rule["verbs"]} & {"create", "patch", "update", "delete"}
        }
        elsewhere = {
            ("update", "datamovers/status of datamover.a-cup-of.coffee"),
            ("update", "datamoverrestores/status of datamover.a-cup-of.coffee"),
            ("create", "events of events.k8s.io"),
            ("patch", "events of events.k8s.io"),
            # what hands a volume over to a claim that a restore fills, and says to the cluster that there is such a thing
            ("patch", "persistentvolumes"),
            ("create", "volumepopulators of populator.storage.k8s.io"),
        }
        assert {(right.verb, right.resource) for right in RIGHTS.values()} - {("list", "pods")} == written - elsewhere

    async def test_whose_a_child_is_that_may_not_be_read_is_told(self) -> None:
        lived = world(Phase.CREATING_CLONE)
        lived.server.answers["create PersistentVolumeClaim"] = [AlreadyExists("exists")]
        right = RIGHTS["to make a clone"]
        lived.server.answers["get PersistentVolumeClaim"] = [with_fields(right, verb="get").forbidden]
        await lived.rest()
        assert "get on persistentvolumeclaims in namespace default" in lived.status.message
        await lived.clock.advance(3)
        await lived.rest()
        assert lived.status.condition("Stalled").status == "False"

    async def test_a_status_that_may_not_be_written_is_told_by_an_event_and_a_metric(self) -> None:
        lived = world()
        lived.server.answers["update DataMover"] = [Forbidden("datamovers.datamover... is forbidden")] * 2
        for number in (1, 2):
            with pytest.raises(Forbidden):
                await lived.reconcile()
            assert lived.recorder.recorded == [("Warning", reasons.STATUS_FORBIDDEN)] * number, "one series"
        assert len(set(lived.recorder.messages)) == 1
        assert (
            "update on datamovers/status of datamover.a-cup-of.coffee in namespace default"
            in lived.recorder.messages[0]
        )
        assert lived.metric("datamover_errors_total", error_type=reasons.STATUS_FORBIDDEN, phase=Phase.NONE) == 2
        await lived.rest()
        assert lived.status.phase == Phase.CREATING_CLONE

    async def test_a_status_whose_arrival_may_not_be_read_is_decided_anew(self) -> None:
        lived = world()
        lived.server.answers["update DataMover"] = [Conflict("changed")]
        lived.server.answers["get DataMover"] = [Forbidden("no")]
        assert isinstance(await lived.reconcile(), After)

    async def test_what_comes_after_the_clean_up_and_may_not_be_deleted_neither_spins_nor_is_silent(self) -> None:
        lived = world(Phase.CLEANING_UP, delete_pvc_after_backup=True)
        lived.server.answers["get Job"] = lived.server.answers["get PersistentVolumeClaim"] = []
        await lived.rest()
        assert lived.status.phase == Phase.COMPLETED
        said = lived.status.message
        lived.put(builders.clone())
        lived.server.answers["delete PersistentVolumeClaim"] = [RIGHTS["to delete a clone in clean-up"].forbidden]
        await lived.rest()
        assert self.count(lived, "delete PersistentVolumeClaim") == 1
        assert lived.status.condition("Stalled").reason == reasons.CLEANUP_FAILED
        assert lived.status.condition("Complete").status == "True", "the backup is none the worse for it"
        assert "delete on persistentvolumeclaims in namespace default" in lived.status.message
        await lived.clock.advance(3)
        await lived.rest()
        assert self.count(lived, "delete PersistentVolumeClaim") == 2
        lived.cluster.claims.store.remove(replace(builders.clone().metadata, resource_version="999"))
        await lived.rest()
        assert lived.status.condition("Stalled").status == "False"
        assert lived.status.message == said


class TestUsersOfAClone:
    """An old clone that is held by a Pod: the Pod is named, by asking for all Pods of the namespace at most once a minute."""

    old = builders.clone(deletion_timestamp=builders.CREATED, finalizers=("kubernetes.io/pvc-protection",))

    def user(self, name: str, claim: str = CLONE, node: str | None = "node-1") -> PodMounts:
        spec = {"nodeName": node, "volumes": [{"emptyDir": {}}, {"persistentVolumeClaim": {"claimName": claim}}]}
        pod = {"metadata": {"name": name}, "spec": spec, "status": {"phase": "Running"}}
        return msgspec.convert(pod, PodMounts)

    async def told(self, *pods: PodMounts) -> tuple[World, str]:
        lived = world(Phase.CREATING_CLONE, self.old)
        lived.server.pods = pods
        await lived.clock.advance(31)
        await lived.rest()
        return lived, lived.status.message

    async def test_the_pods_that_use_it_are_named(self) -> None:
        others = (self.user("other", claim="app-data"), self.user("unscheduled", node=None))
        lived, message = await self.told(*others, *(self.user(f"shell-{number}") for number in range(5)))
        assert "Pod shell-0 (Running, on node node-1)" in message
        assert "shell-2" in message
        assert "and 2 more uses it" in message
        assert "shell-4" not in message
        assert "other" not in message.replace("Another", "")
        assert "unscheduled" not in message
        assert lived.server.calls.count("list Pod None") == 1

    async def test_that_nobody_uses_it_is_told_too(self) -> None:
        _, message = await self.told()
        assert "no Pod uses it any more" in message

    async def test_pods_that_may_not_be_listed_do_not_keep_the_rest_from_being_told(self) -> None:
        lived = world(Phase.CREATING_CLONE, self.old)
        lived.server.answers["list Pod"] = [Forbidden("no")]
        await lived.clock.advance(31)
        await lived.rest()
        assert lived.status.condition("Stalled").reason == reasons.CLEANUP_WAITING
        assert "kubernetes.io/pvc-protection" in lived.status.message


class TestTakenNames:
    async def test_our_own_child_that_the_cache_has_not_seen_counts_as_created(self) -> None:
        lived = world(Phase.CREATING_CLONE)
        lived.server.answers["create PersistentVolumeClaim"] = [AlreadyExists("exists")]
        lived.server.found[CLONE] = builders.clone(resource_version="200")
        await lived.rest()
        assert lived.status.phase == Phase.CREATING_POD

    async def test_somebody_elses_claim_is_not_touched_and_another_name_taken(self) -> None:
        lived = world(Phase.CREATING_CLONE)
        lived.server.answers["create PersistentVolumeClaim"] = [AlreadyExists("exists")]
        lived.server.found[CLONE] = builders.clone(builders.OTHER_UID, resource_version="200")
        assert isinstance(await lived.reconcile(), After)
        assert lived.recorder.recorded == [], "nothing was created"
        await lived.rest()
        assert lived.status.restored_pvc_name == f"{CLONE}-5f0c1"
        assert f"create PersistentVolumeClaim {CLONE}-5f0c1" in lived.server.calls
        assert not any(call.startswith("delete") for call in lived.server.calls)

    @pytest.mark.parametrize("owner", [None, builders.OTHER_UID, builders.MOVER_UID])
    async def test_a_job_without_our_label_never_enters_the_cache_that_would_keep_it(self, owner) -> None:
        lived = world(Phase.CLONE_READY, builders.clone())
        lived.server.answers["create Job"] = [AlreadyExists("exists")]
        lived.server.found[JOB] = builders.job(owner, labels={}, resource_version="200")
        assert await lived.reconcile() == After(pytest.approx(60.05))
        assert lived.cluster.jobs.store.get(Key("default", JOB)) is None
        assert lived.status.condition("Stalled").reason == reasons.NAME_TAKEN
        await lived.clock.advance(61)
        await lived.rest()
        assert lived.status.phase == Phase.CREATING_POD, "it is gone: healed"

    async def test_somebody_elses_snapshot_makes_the_run_take_another_name(self) -> None:
        status = builders.status(Phase.CREATING_CLONE, run=builders.run(copy_method="Snapshot"))
        lived = World(builders.data_mover(copy_method="Snapshot", status=status))
        lived.cluster.snapshot_classes.store.put(
            replace(builders.volume_snapshot_class(), metadata=ObjectMeta(name="s", resource_version="1"))
        )
        lived.server.answers["create VolumeSnapshot"] = [AlreadyExists("exists")]
        lived.server.found[CLONE] = builders.volume_snapshot(owner=builders.OTHER_UID, resource_version="200")
        await lived.rest()
        assert lived.status.run.snapshot_name == f"{CLONE}-5f0c1"
        assert lived.server.calls[-1] == f"create {VOLUME_SNAPSHOTS.kind} {CLONE}-5f0c1"


async def test_a_delete_that_was_agreed_to_is_not_sent_again_while_the_watch_is_late() -> None:
    done = builders.job(condition="Complete", succeeded=1)
    pod = builders.pod(done, phase="Succeeded", exit_code=0)
    lived = world(Phase.CREATING_POD, builders.clone(), done, pod, delete_pvc_after_backup=True)
    await lived.rest()
    await lived.rest()
    assert lived.server.calls == [
        "update DataMover nightly",
        f"delete Job {JOB}",
        f"delete PersistentVolumeClaim {CLONE}",
    ]


@pytest.mark.parametrize("answer", [NotFound("gone"), Conflict("another UID")])
async def test_a_clone_that_is_gone_already_is_no_failure(answer) -> None:
    lived = world(Phase.CLEANING_UP, builders.clone(), delete_pvc_after_backup=True)
    lived.server.answers["delete PersistentVolumeClaim"] = [answer]
    await lived.reconcile()
    assert lived.metric("datamover_cleanup_operations_total", status="failure") == 0
    assert lived.status.condition("Stalled").status == "False"


async def test_a_stale_decision_is_dropped_and_made_anew_soon() -> None:
    lived = world()
    lived.server.answers["update DataMover"] = [Conflict("the object has been modified")]
    assert await lived.reconcile() == After(0.05)
    assert lived.server.calls == ["update DataMover nightly", "get DataMover nightly"]


async def test_a_write_whose_answer_was_lost_counts_and_is_told() -> None:
    """The repeated write meets its own first try, and its second may already be younger: only the times may differ."""
    lived = world(delete_pvc_after_backup=True)
    lived.cluster.claims.store.replace((), version=1, reset=True)
    blocked = decided(lived)
    early = tuple(replace(c, last_transition_time="2024-08-06T14:00:00Z") for c in blocked.conditions)
    lived.server.mover = replace(
        lived.server.mover,
        metadata=replace(lived.server.mover.metadata, resource_version="150"),
        status=replace(blocked, conditions=early),
    )
    lived.server.found["nightly"] = lived.server.mover
    lived.server.answers["update DataMover"] = [Conflict("the object has been modified")]
    await lived.reconcile()
    assert lived.recorder.recorded == [("Warning", reasons.SOURCE_NOT_FOUND)]
    assert lived.metric("datamover_errors_total", error_type=reasons.SOURCE_NOT_FOUND, phase="") == 1


def decided(lived: World) -> DataMoverStatus:
    """The status that the next reconcile will write."""
    explained = lived.reconciler.explain(KEY)
    assert explained is not None
    return explained[1].steps[0].status


async def test_what_was_written_before_our_own_failure_is_counted(monkeypatch) -> None:
    lived = world()
    lived.cluster.claims.store.replace((), version=1, reset=True)

    def fail(*_: Any, **__: Any) -> None:
        raise TypeError("a defect")

    monkeypatch.setattr(lived.recorder, "record", fail)
    with pytest.raises(TypeError, match="a defect"):
        await lived.reconcile()
    assert lived.status.condition("Ready").reason == reasons.SOURCE_NOT_FOUND
    assert lived.metric("datamover_errors_total", error_type=reasons.SOURCE_NOT_FOUND, phase="") == 1


async def test_a_status_that_is_written_as_it_is_proves_nothing_when_only_the_rest_has_changed() -> None:
    """No Job is made for a DataMover that was suspended a moment before, although nobody has touched its status."""
    lived = world(Phase.CLONE_READY, builders.clone())
    await lived.reconcile()
    lost = lived.cluster.jobs.store.list()[0]
    lived.cluster.jobs.store.remove(replace(lost.metadata, resource_version="900"))
    held = replace(lived.server.mover, spec=replace(lived.server.mover.spec, suspend=True))
    lived.server.found["nightly"] = replace(held, metadata=replace(held.metadata, resource_version="901"))
    lived.server.answers["update DataMover"] = [Conflict("the object has been modified")]
    lived.server.calls.clear()
    assert await lived.reconcile() == After(0.05)
    assert lived.server.calls[-2:] == ["update DataMover nightly", "get DataMover nightly"]
    explained = lived.reconciler.explain(KEY)
    assert explained is not None
    assert explained[0].mover.spec.suspend, "what the answer showed is known now"


async def test_somebody_elses_status_is_decided_upon_at_once_when_the_watch_is_late() -> None:
    lived = world()
    taken = builders.data_mover(status=builders.status(Phase.CREATING_CLONE))
    lived.server.found["nightly"] = replace(taken, metadata=replace(taken.metadata, resource_version="150"))
    lived.server.answers["update DataMover"] = [Conflict("the object has been modified")]
    await lived.reconcile()
    await lived.reconcile()
    assert lived.server.calls[-1] == f"create PersistentVolumeClaim {CLONE}"


async def test_stale_decisions_are_made_anew_more_and_more_slowly() -> None:
    lived = world()
    lived.server.answers["update DataMover"] = [Conflict("the object has been modified")] * 12
    pauses = [(await lived.reconcile()).seconds for _ in range(12)]
    assert pauses[:3] == [0.05, 0.1, 0.2]
    assert pauses[-1] == 5.0


async def test_remarks_are_made_no_faster_than_people_read() -> None:
    """Two replicas that see different children would otherwise correct each other's status without end."""
    lived = world(Phase.CREATING_CLONE, source_pvc="app-data")
    for turn in range(50):
        lived.cluster.claims.store.replace((), version=200 + turn, reset=True)
        if turn % 2:
            lived.put(builders.persistent_volume_claim(phase="Lost"))
        await lived.reconcile()
    assert len(lived.server.calls) == 10
    await lived.clock.advance(5)
    lived.cluster.claims.store.replace((), version=300, reset=True)
    await lived.reconcile()
    assert len(lived.server.calls) == 11


async def test_a_deletion_that_was_asked_for_before_does_not_make_a_remark_an_act() -> None:
    lived = world(Phase.CLEANING_UP, builders.job(condition="Complete", succeeded=1), delete_pvc_after_backup=True)
    await lived.reconcile()
    await lived.clock.advance(60)
    lived.server.calls.clear()
    for turn in range(50):
        lived.cluster.claims.store.replace((), version=200 + turn, reset=True)
        if turn % 2:
            lived.put(builders.clone(deletion_timestamp=builders.CREATED, resource_version=str(300 + turn)))
        await lived.reconcile()
    assert {call.split()[0] for call in lived.server.calls} <= {"update", "delete"}
    assert lived.server.calls.count("update DataMover nightly") == 10


async def test_a_clone_that_only_the_server_knows_is_not_lost() -> None:
    lived = world(Phase.CREATING_POD)
    lived.server.found[CLONE] = builders.clone(resource_version="200")
    await lived.rest()
    assert lived.status.phase == Phase.CREATING_POD
    assert lived.server.calls[0] == f"get PersistentVolumeClaim {CLONE}"


async def test_what_the_events_of_a_stuck_clone_say_is_told_at_once() -> None:
    lived = world(Phase.CREATING_CLONE, builders.clone(phase="Pending"))
    lived.server.events = [
        Event(reason="Old", message="old", last_timestamp="2024-08-06T14:00:00Z"),
        Event(reason="ProvisioningFailed", message="no clones here", last_timestamp="2024-08-06T14:31:00Z"),
    ]
    await lived.clock.advance(11)
    assert await lived.reconcile() == After(pytest.approx(60.05))
    assert lived.server.calls == [
        f"list Event involvedObject.uid=uid-of-{CLONE},type=Warning",
        "update DataMover nightly",
    ]
    assert "ProvisioningFailed: no clones here" in lived.status.message
    for _ in range(3):
        await lived.reconcile()
    assert len(lived.server.calls) == 2, "neither asked nor told again"
    await lived.clock.advance(61)
    await lived.reconcile()
    assert len(lived.server.calls) == 3, "asked again, the same answer, not told again"


async def test_the_progress_of_a_running_mover_is_sampled_and_told_once_an_interval() -> None:
    lived = world(Phase.CREATING_POD, builders.clone(), builders.job(active=1), builders.pod(builders.job()))
    progress = Progress(run_id="r", phase="syncing", bytes=1, total_bytes=4, files=1, total_files=2)
    lived.server.log = b"noise\n" + msgspec.json.encode(progress) + b"\nnoise"
    await lived.clock.advance(11)
    assert await lived.reconcile() == After(pytest.approx(10.05))
    assert lived.server.calls == ["logs Pod mover-1", "update DataMover nightly"]
    assert lived.status.run.progress == "49%"
    await lived.reconcile()
    assert len(lived.server.calls) == 2
    await lived.clock.advance(10.1)
    await lived.reconcile()
    assert lived.server.calls[2:] == ["logs Pod mover-1"], "the same progress is no news"


async def test_another_attempt_counts_the_cause_and_what_goes_wrong_is_logged_as_a_warning(caplog) -> None:
    caplog.set_level(logging.INFO, "datamover.plans")
    job = builders.job(active=1, failed=1)
    failed = builders.outcome(failure_class="network", reason="TLSUntrusted", message="not trusted")
    lived = world(
        Phase.CREATING_POD,
        builders.clone(),
        job,
        builders.pod(job, name="first", phase="Failed", outcome=failed),
        builders.pod(job, name="second", creation_timestamp="2024-08-06T14:31:52Z"),
    )
    await lived.reconcile()
    assert lived.metric("datamover_errors_total", error_type="TLSUntrusted", phase=Phase.CREATING_POD) == 1
    assert lived.metric("datamover_errors_total", error_type="Retrying", phase=Phase.CREATING_POD) is None
    (line,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert line.getMessage() == "default/nightly: Retrying: attempt 2: not trusted"


async def test_a_job_that_somebody_deleted_is_told_logged_and_counted(caplog) -> None:
    caplog.set_level(logging.INFO, "datamover.plans")
    lived = world(Phase.CREATING_POD, builders.clone())
    status = lived.status
    seen = replace(status, run=replace(status.run, attempts=1))
    lived.caches.movers.store.observe(
        replace(
            builders.data_mover(status=seen), metadata=replace(builders.data_mover().metadata, resource_version="2")
        )
    )
    await lived.reconcile()
    assert ("Warning", reasons.JOB_LOST) in lived.recorder.recorded
    assert lived.metric("datamover_errors_total", error_type=reasons.JOB_LOST, phase=Phase.CREATING_POD) == 1
    assert any(record.levelno == logging.WARNING and "JobLost: Job" in record.getMessage() for record in caplog.records)


async def test_a_failure_is_logged_once_as_a_warning(caplog) -> None:
    caplog.set_level(logging.INFO, "datamover.plans")
    job = builders.job(condition="Failed", failed=1)
    pod = builders.pod(job, phase="Failed", outcome=builders.outcome(failure_class="credentials"))
    lived = world(Phase.CREATING_POD, builders.clone(), job, pod)
    await lived.reconcile()
    (line,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "default/nightly: phase Failed (WrongCredentials): " in line.getMessage()


async def test_a_mover_that_gets_no_further_and_a_log_that_cannot_be_read_are_told() -> None:
    lived = world(Phase.CREATING_POD, builders.clone(), builders.job(active=1), builders.pod(builders.job()))
    lived.server.log = msgspec.json.encode(Progress(run_id="r", phase="syncing", bytes=1, files=1, total_files=2))
    for _ in range(62):
        await lived.clock.advance(10.1)
        await lived.reconcile()
    assert lived.status.condition("Stalled").reason == reasons.NO_PROGRESS
    lived.server.log = msgspec.json.encode(Progress(run_id="r", phase="syncing", bytes=2, files=1, total_files=2))
    await lived.clock.advance(10.1)
    await lived.reconcile()
    assert lived.status.condition("Stalled").status == "False"
    lived.server.answers["logs Pod"] = [Forbidden("no logs for you")] * 100
    for _ in range(20):
        await lived.clock.advance(10.1)
        await lived.reconcile()
    assert lived.status.condition("Ready").reason == reasons.PROGRESS_UNKNOWN
    assert "no logs for you" in lived.status.message
    assert lived.recorder.recorded == [("Warning", reasons.NO_PROGRESS), ("Warning", reasons.PROGRESS_UNKNOWN)]
    for reason in (reasons.NO_PROGRESS, reasons.PROGRESS_UNKNOWN):
        assert lived.metric("datamover_errors_total", error_type=reason, phase=Phase.CREATING_POD) == 1
    assert lived.server.calls.count("update DataMover nightly") == 5, "nothing is told twice"


async def test_suspending_patches_the_job_on_the_version_that_was_seen() -> None:
    lived = world(Phase.CREATING_POD, builders.clone(), builders.job(active=1), suspend=True)
    await lived.rest()
    assert lived.server.calls == [f"patch Job {JOB}", "update DataMover nightly"]
    patch = lived.server.sent[0]
    assert patch["spec"] == {"suspend": True}
    assert patch["metadata"]["uid"] == f"uid-of-{JOB}"
    assert patch["metadata"]["resourceVersion"]


async def test_an_object_that_is_gone_leaves_no_series() -> None:
    lived = world(Phase.COMPLETED)
    await lived.reconcile()
    lived.caches.movers.store.remove(replace(builders.data_mover().metadata, resource_version="9"))
    assert await lived.reconcile() == DONE
    assert lived.metric("datamover_current_phase", name="nightly") is None
    assert lived.cluster.secrets.wanted["DataMover", KEY] == ()


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.CREATING_POD])
async def test_what_stands_of_an_object_goes_with_it(phase: str) -> None:
    lived = World(builders.data_mover(status=builders.status(phase, conditions={"Stalled": "True"})))
    lived.put()
    await lived.reconcile()
    family = b"datamover_failed" if phase == Phase.FAILED else b"datamover_waiting_since"
    assert family + b"_timestamp_seconds{" in expose(lived.registry)
    lived.caches.movers.store.remove(replace(builders.data_mover().metadata, resource_version="9999"))
    await lived.reconcile()
    assert b'name="nightly"' not in expose(lived.registry)


class TestWakeUps:
    """Whatever a decision waits for wakes the object that waits."""

    def woken(self, lived: World, method: str, old, new) -> list[Key]:
        return list(getattr(lived.kind, method)(old, new))

    def test_the_source_and_the_clone(self) -> None:
        lived = world(Phase.CREATING_CLONE)
        assert self.woken(lived, "_of_claim", None, builders.persistent_volume_claim()) == [KEY]
        assert self.woken(lived, "_of_claim", builders.clone(builders.OTHER_UID), None) == [KEY], "whoever owns it"
        assert self.woken(lived, "_of_claim", None, builders.persistent_volume_claim(name="unrelated")) == []

    def test_the_recorded_source_of_a_run_whose_spec_has_changed_since(self) -> None:
        lived = world(Phase.CREATING_CLONE, source_pvc="renamed")
        assert self.woken(lived, "_of_claim", None, builders.persistent_volume_claim()) == [KEY]

    def test_the_volume_of_the_clone_when_it_goes_or_is_kept(self) -> None:
        lived = world(Phase.CLEANING_UP)
        volume = builders.persistent_volume()
        retained = builders.persistent_volume(persistent_volume_reclaim_policy="Retain")
        assert self.woken(lived, "_of_volume", volume, None) == [KEY]
        assert self.woken(lived, "_of_volume", volume, retained) == [KEY]
        assert self.woken(lived, "_of_volume", volume, volume) == []

    def test_the_volume_of_the_source_when_it_is_seen(self) -> None:
        assert self.woken(world(), "_of_volume", None, builders.persistent_volume(claim="app-data")) == [KEY]
        assert self.woken(world(), "_of_volume", None, builders.persistent_volume(claim="another")) == []

    def test_jobs_snapshots_and_pods(self) -> None:
        lived = world(Phase.CREATING_POD)
        assert self.woken(lived, "_of_child", None, builders.job()) == [KEY]
        assert self.woken(lived, "_of_child", builders.volume_snapshot(owner=builders.MOVER_UID), None) == [KEY]
        assert self.woken(lived, "_of_child", None, builders.pod(builders.job())) == [KEY], "by the label"
        assert self.woken(lived, "_of_child", None, builders.pod(builders.job(), mover_uid=builders.OTHER_UID)) == []

    def test_no_child_of_a_kind_of_the_same_name_in_another_group(self) -> None:
        (owner,) = builders.job().metadata.owner_references
        foreign = replace(owner, api_version="movers.example.com/v1")
        job = builders.job()
        job = replace(job, metadata=replace(job.metadata, owner_references=(foreign,), labels=None))
        assert self.woken(world(Phase.CREATING_POD), "_of_child", None, job) == []

    def test_a_class_wakes_those_that_are_not_at_their_end(self) -> None:
        assert self.woken(world(), "_of_class", None, builders.storage_class()) == [KEY]
        assert self.woken(world(Phase.COMPLETED), "_of_class", None, builders.storage_class()) == []


def test_what_would_be_done_next_can_be_shown_without_doing_it() -> None:
    lived = world()
    facts, plan = lived.reconciler.explain(KEY)
    assert facts.mover.metadata.name == "nightly"
    assert len(plan.steps) == 1
    assert lived.server.calls == []
    assert lived.reconciler.explain(Key("default", "nobody")) is None
