"""A ReplicationSource or ReplicationDestination on a stage: decisions are carried out on objects in memory, and the test plays storage, Jobs and users.

No I/O and no time but the one that the test sets. Manifests are decoded as the product's caches see them.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from datamover.api.transfer import Outcome, encode_outcome
from datamover.api.volsync.common import CommonStatus
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.plans.known import UNKNOWN, Diagnosis, Known, Placement
from datamover.plans.steps import Annotate, Create, Delete, Emit, Inquire, Locate, Patch, Plan, WriteStatus
from datamover.reconcilers.replication.ask import Ask, Replication, ask_of
from datamover.reconcilers.replication.decide import decide
from datamover.reconcilers.replication.facts import Settings
from datamover.reconcilers.replication.gather import gather
from datamover.reconcilers.replication.needs import KeyMakers
from datamover.runs.facts import PATIENT, Unread
from kubekit.words.batch import JOBS, Job
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, SERVICES, Pod
from kubekit.words.meta import Resource
from kubekit.words.timestamps import seconds
from support.caches import Caches

NAMESPACE = "golden"
SETTINGS = Settings(mover_image="example.com/mover:1")
UID = "3b159496-b012-4149-888f-713aa3f66211"
KINDS = {"ReplicationSource": REPLICATION_SOURCES, "ReplicationDestination": REPLICATION_DESTINATIONS}


async def _read(namespace: str, name: str) -> Mapping[str, bytes]:
    raise AssertionError(f"{namespace}/{name} is read")


KEYS = KeyMakers(psk=dict, ssh=dict, read=_read)


OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "restic": {"repository": "restic-secret"},
    "rclone": {"rcloneConfig": "rclone-secret", "rcloneConfigSection": "remote", "rcloneDestPath": "bucket/x"},
    "rsyncTLS": {"keySecret": "tls-psk", "address": "peer.example"},
    "rsync": {"sshKeys": "ssh-keys", "address": "peer.example"},
}
"""What each method needs at least, as a source."""
SECRETS: Final = {
    "restic-secret": ("RESTIC_REPOSITORY", "RESTIC_PASSWORD"),
    "rclone-secret": ("rclone.conf",),
    "tls-psk": ("psk.txt",),
    "ssh-keys": ("source", "source.pub", "destination", "destination.pub"),
}
METHODS: Final = tuple(OPTIONS)


class Theatre:
    """One object, what was made for it, and everything around."""

    def __init__(
        self,
        kind: str,
        name: str,
        spec: dict[str, Any],
        *,
        uid: str = UID,
        namespace: str = NAMESPACE,
        settings: Settings = SETTINGS,
        beside: "Theatre | None" = None,
    ) -> None:
        self.resource: Resource[Any] = KINDS[kind]
        self.settings = settings
        self.namespace = namespace
        self.now = datetime(2026, 11, 29, 11, 12, 51, tzinfo=UTC)
        self.manifest: dict[str, Any] = {
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "uid": uid,
                "resourceVersion": "1",
                "creationTimestamp": seconds(self.now),
            },
            "spec": spec,
        }
        self.objects: dict[tuple[str, str], dict[str, Any]] = {} if beside is None else beside.objects
        self.peers: list[Theatre] = [] if beside is None else beside.peers
        self.peers.append(self)
        self.restorers: dict[str, tuple[str, ...]] = {}
        self.secrets: dict[str, tuple[str, ...]] = {}
        self.statuses: list[dict[str, Any]] = []
        self.writes: list[tuple[Replication, CommonStatus]] = []
        self.events: list[Emit] = []
        self.annotated: list[Mapping[str, str | None]] = []
        self.created: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.known: Known = UNKNOWN
        self.namespace_unread: Unread | None = None
        self.namespace_annotations: dict[str, str] = {}
        self.namespace_labels: dict[str, str] = {}
        self.pods: list[Pod] = []
        self.config_maps: dict[str, tuple[str, ...]] = {}
        self.placement: Placement | None = None
        self.running = 0
        self.binds_on_use = False
        self.expands = True
        self.snapshot_classes: tuple[str, ...] = ("snapc",)
        self.keys = KEYS
        self.slow: set[str] = set()
        self.complaints: dict[str, str] = {}
        self._serials: Iterator[int] = itertools.count(1) if beside is None else beside._serials

    @classmethod
    def source(
        cls,
        method: str = "restic",
        copy: str | None = "Clone",
        *,
        name: str = "db",
        trigger: dict[str, Any] | None = None,
        settings: Settings = SETTINGS,
        paused: bool = False,
        claim: dict[str, str] | None = None,
        beside: "Theatre | None" = None,
        **options: Any,
    ) -> "Theatre":
        """A source that lacks nothing; its claim is `data`, with the annotations that are given as `claim`, or the one of `beside`."""
        chosen = {**OPTIONS[method], **({"copyMethod": copy} if copy else {}), **options}
        spec: dict[str, Any] = {"sourcePVC": "data", method: chosen, "trigger": trigger or {"manual": "t1"}}
        if paused:
            spec["paused"] = True
        uid = UID if beside is None else f"{len(beside.peers):08d}{UID[8:]}"
        theatre = cls("ReplicationSource", name, spec, uid=uid, settings=settings, beside=beside)
        theatre.secrets.update(SECRETS)
        if beside is None:
            theatre.claim("data", **(claim or {}))
        return theatre

    @classmethod
    def destination(
        cls,
        method: str = "restic",
        copy: str | None = "Snapshot",
        *,
        name: str = "back",
        trigger: dict[str, Any] | None = None,
        settings: Settings = SETTINGS,
        beside: "Theatre | None" = None,
        **options: Any,
    ) -> "Theatre":
        """A destination that lacks nothing and makes its own volume, unless `destinationPVC` names one."""
        needed = OPTIONS[method] if method in ("restic", "rclone") else {}
        made = {} if "destinationPVC" in options else {"capacity": "2Gi", "accessModes": ["ReadWriteOnce"]}
        chosen = {**needed, **made, **({"copyMethod": copy} if copy else {}), **options}
        spec = {method: chosen, "trigger": trigger or {"manual": "t1"}}
        uid = UID if beside is None else f"{len(beside.peers):08d}{UID[8:]}"
        theatre = cls("ReplicationDestination", name, spec, uid=uid, settings=settings, beside=beside)
        theatre.secrets.update(SECRETS)
        return theatre

    # What a user does.

    def change(self, **spec: Any) -> None:
        """Change the object's spec; None takes a field away."""
        _merge(self.manifest["spec"], spec)

    def trigger(self, **trigger: Any) -> None:
        """Give another trigger."""
        self.manifest["spec"]["trigger"] = trigger

    def delete(self, kind: str, name: str) -> None:
        """Delete a child; it is gone at once."""
        self.objects.pop((kind, name))
        if kind == "Job":
            self.pods = []

    def claim(
        self,
        name: str,
        *,
        size: str = "2Gi",
        storage_class: str = "fast",
        modes: Iterable[str] = ("ReadWriteOnce",),
        phase: str = "Bound",
        **annotations: str,
    ) -> None:
        """Provide a claim, with annotations by their names without prefix, with _ for -."""
        annotations = {f"volsync.backube/{key.replace('_', '-')}": value for key, value in annotations.items()}
        spec = {
            "accessModes": list(modes),
            "resources": {"requests": {"storage": size}},
            "storageClassName": storage_class,
            "volumeMode": "Filesystem",
        }
        self._add(
            PERSISTENT_VOLUME_CLAIMS,
            {
                "metadata": {"name": name, "annotations": annotations},
                "spec": spec,
                "status": {"phase": phase, "capacity": {"storage": size}},
            },
        )

    def annotate(self, kind: str, name: str, **annotations: str | None) -> None:
        """Set annotations of an object, or take them away; their names without prefix, with _ for -."""
        found = self.objects[kind, name]["metadata"].setdefault("annotations", {})
        for key, value in annotations.items():
            whole = f"volsync.backube/{key.replace('_', '-')}"
            found.pop(whole, None) if value is None else found.update({whole: value})

    def annotations(self, name: str) -> dict[str, str]:
        """Return a claim's annotations of copy triggers, without the prefix."""
        found = self.objects["PersistentVolumeClaim", name]["metadata"].get("annotations") or {}
        return {key.removeprefix("volsync.backube/"): value for key, value in found.items()}

    # What the cluster does.

    def bind(self, name: str) -> None:
        """Bind a claim."""
        self.objects["PersistentVolumeClaim", name]["status"] = {"phase": "Bound"}

    def ready(self, name: str, *, size: str = "3Gi", **status: Any) -> None:
        """Let a snapshot be ready."""
        self.objects["VolumeSnapshot", name]["status"] = {
            "boundVolumeSnapshotContentName": f"content-{name}",
            "readyToUse": True,
            "restoreSize": size,
            **status,
        }

    def succeed(self, log: str = "", **outcome: Any) -> None:
        """Let the Job succeed, with the mover's last words."""
        self._end("Complete", "Succeeded", Outcome(succeeded=True, reason="Succeeded", log=log, **outcome))

    def fail(
        self, reason: str = "ServerUnreachable", message: str = "the server does not answer", log: str = ""
    ) -> None:
        """Let the Job fail, with the mover's last words."""
        self._end("Failed", "Failed", Outcome(failure_class="unreachable", reason=reason, message=message, log=log))

    def fail_late(self) -> None:
        """Let the Job reach its deadline."""
        self.job["status"] = {
            "failed": 1,
            "conditions": [
                {
                    "type": "Failed",
                    "status": "True",
                    "reason": "DeadlineExceeded",
                    "lastTransitionTime": seconds(self.now),
                }
            ],
        }

    def run(self) -> None:
        """Let the mover run."""
        self.job["status"] = {"active": 1}
        self.pods = [self._make_pod("Running", {"running": {"startedAt": seconds(self.now)}})]

    def _end(self, condition: str, phase: str, outcome: Outcome) -> None:
        job = self.job
        counted = "succeeded" if condition == "Complete" else "failed"
        job["status"] = {
            counted: 1,
            "completionTime": seconds(self.now),
            "conditions": [{"type": condition, "status": "True", "lastTransitionTime": seconds(self.now)}],
        }
        self.pods = [
            self._make_pod(phase, {"terminated": {"exitCode": 0, "message": encode_outcome(outcome).decode()}})
        ]

    def _make_pod(self, phase: str, state: dict[str, Any]) -> Pod:
        job = self.job
        container = job["spec"]["template"]["spec"]["containers"][0]["name"]
        owner = {"kind": "Job", "uid": job["metadata"]["uid"], "name": "x", "apiVersion": "batch/v1"}
        metadata = {
            "name": f"{job['metadata']['name']}-x",
            "namespace": self.namespace,
            "uid": f"pod-{next(self._serials)}",
            "labels": job["spec"]["template"]["metadata"]["labels"],
            "ownerReferences": [owner],
        }
        status = {"phase": phase, "containerStatuses": [{"name": container, "state": state}]}
        return msgspec.convert({"metadata": metadata, "status": status}, Pod)

    def later(self, amount: float) -> None:
        """Let time pass, in seconds."""
        self.now += timedelta(seconds=amount)

    def bind_all(self) -> None:
        """Let storage do all that it has to: snapshots are ready and claims bound."""
        for kind, name in tuple(self.objects):
            if kind == "VolumeSnapshot":
                self.ready(name)
            if kind == "PersistentVolumeClaim":
                self.bind(name)

    def start(self) -> "Theatre":
        """Go on until the mover's Job is there."""
        self.act()
        for _ in range(2):  # a snapshot, then a claim of it
            self.bind_all()
            self.act()
        assert self.job
        return self

    def finish(self, log: str = "") -> "Theatre":
        """Start a synchronisation and let all of it succeed."""
        self.start()
        self.later(5)
        self.succeed(log)
        self.act()
        self.bind_all()
        self.act()
        return self

    def restart(self) -> None:
        """Forget all that the operator knows but is written nowhere."""
        self.known = UNKNOWN

    def get_job(self) -> Job:
        """Return the Job as it is cached."""
        return self.get(JOBS, self.job["metadata"]["name"])

    def there(self, kind: str) -> set[str]:
        """Return the names of what there is of a kind."""
        return {name for found, name in self.objects if found == kind}

    def said(self, *reasons: str) -> list[tuple[str, str]]:
        """Return type and reason of the events, or the notes of those with these reasons."""
        if reasons:
            return [(each.reason, each.message) for each in self.events if each.reason in reasons]
        return [(each.type, each.reason) for each in self.events]

    @property
    def container(self) -> dict[str, Any]:
        """The mover's container."""
        return self.pod["containers"][0]

    @property
    def pod(self) -> dict[str, Any]:
        """The spec of the mover's Pod."""
        return self.job["spec"]["template"]["spec"]

    @property
    def environment(self) -> dict[str, str]:
        """The mover's plain variables."""
        return {each["name"]: each.get("value", "") for each in self.container["env"] if "valueFrom" not in each}

    @property
    def synced(self) -> bool:
        """Whether the status says that nothing is under way, and the last one was successful."""
        result = (self.status.get("latestMoverStatus") or {}).get("result")
        return "lastSyncStartTime" not in self.status and result == "Successful"

    @property
    def job(self) -> dict[str, Any]:
        """The one Job."""
        uid = self.manifest["metadata"]["uid"]
        found = [each for (kind, _), each in self.objects.items() if kind == "Job" and _is_owned(each, uid)]
        assert len(found) == 1, found
        return found[0]

    # What the operator does.

    @property
    def uid(self) -> str:
        """The object's."""
        return self.manifest["metadata"]["uid"]

    @property
    def obj(self) -> Replication:
        """The object as it is cached."""
        return msgspec.convert(self.manifest, self.resource.type)

    @property
    def status(self) -> dict[str, Any]:
        """The status as users see it."""
        return self.manifest.get("status") or {}

    def condition(self, type_: str = "Synchronizing") -> tuple[str, str, str]:
        """Return status, reason and message of a condition."""
        found = next(each for each in self.status.get("conditions") or () if each["type"] == type_)
        return found["status"], found["reason"], found.get("message", "")

    def plan(self) -> Plan[Any]:
        """Return what would be done now."""
        view = Caches(self)
        facts = gather(
            self.obj,
            view=view,
            known=self.known,
            now=self.now,
            patience=PATIENT,
            running=self.running,
            writers=view.writers(),
        )
        return decide(facts, settings=self.settings, keys=self.keys)

    def act_once(self) -> None:
        """Carry out one decision."""
        for step in self.plan().steps:
            self._carry_out(step)

    def act(self, most: int = 30) -> Plan[Any]:
        """Carry out decisions until nothing is left to do; return the last one."""
        for _ in range(most):
            plan = self.plan()
            if not plan.steps:
                return plan
            for step in plan.steps:
                self._carry_out(step)
        raise AssertionError(f"no rest after {most} decisions: {plan}")

    def _carry_out(self, step: Any) -> None:
        match step:
            case WriteStatus(status):
                written = msgspec.json.decode(msgspec.json.encode(status))
                assert written != self.manifest.get("status"), "a write that changes nothing"
                _check(written)
                before = self.obj
                self.manifest["status"] = written
                self.writes.append((before, status))
                self.statuses.append(self.manifest["status"])
            case Create(resource, manifest):
                key = resource.kind, manifest["metadata"]["name"]
                assert key not in self.objects, f"{key} is made twice"
                self.created.append(manifest)
                self._add(resource, manifest)
            case Delete(resource, target):
                self.deleted.append(f"{resource.kind}/{target.name}")
                found = self.objects.get((resource.kind, target.name))
                assert found is not None, f"{resource.kind}/{target.name} is deleted twice"
                assert found["metadata"]["uid"] == target.uid, "another object of this name"
                if target.name in self.slow:
                    found["metadata"]["deletionTimestamp"] = seconds(self.now)
                    return
                self.objects.pop((resource.kind, target.name), None)
                if resource is JOBS:
                    self.pods = []
            case Patch(resource, target, patch):
                _merge(self.objects[resource.kind, target.name], patch)
            case Annotate(resource, target, annotations):
                found = self.objects[resource.kind, target.name]
                assert found["metadata"]["resourceVersion"] == target.resource_version, "a stale decision"
                _merge(found, {"metadata": {"annotations": dict(annotations)}})
                found["metadata"]["resourceVersion"] = str(next(self._serials))
                self.annotated.append(annotations)
            case Locate(claim):
                self.known = dataclasses.replace(self.known, placement=self.placement or Placement(claim.uid))
            case Inquire():
                said = self.complaints.get(step.target.name)
                self.known = dataclasses.replace(self.known, diagnosis=Diagnosis(step.topic, said))
            case Emit():
                assert step.action, f"an event without an action never arrives: {step}"
                self.events.append(step)
            case _:
                pass

    def _add(self, resource: Resource[Any], manifest: dict[str, Any]) -> None:
        serial = next(self._serials)
        made = msgspec.json.decode(msgspec.json.encode(manifest))
        made["metadata"] |= {
            "namespace": self.namespace,
            "uid": f"uid-{serial}",
            "resourceVersion": str(serial),
            "creationTimestamp": seconds(self.now),
        }
        if resource is SERVICES:
            made["spec"]["clusterIP"] = f"10.0.0.{serial}"
        if resource is PERSISTENT_VOLUME_CLAIMS:
            made.setdefault("status", {"phase": "Pending"})
            made["spec"].setdefault("storageClassName", "fast")  # the default, as a server fills it in
        self.objects[resource.kind, made["metadata"]["name"]] = made

    def get(self, resource: Resource[Any], name: str) -> Any:
        """Return an object as it is cached."""
        found = self.objects.get((resource.kind, name))
        return None if found is None else msgspec.convert(found, resource.type)

    @property
    def ask(self) -> Ask | str:
        """What the object asks for."""
        return ask_of(self.obj)


def settle(*theatres: Theatre, most: int = 12) -> None:
    """Let several objects act in turn until none has anything to do."""
    for _ in range(most):
        busy = [theatre for theatre in theatres if theatre.plan().steps]
        if not busy:
            return
        for theatre in busy:
            theatre.act()
    raise AssertionError(f"no rest: {[theatre.plan() for theatre in theatres]}")


def _is_owned(child: Mapping[str, Any], uid: str) -> bool:
    return any(each["uid"] == uid for each in child["metadata"].get("ownerReferences") or ())


def _check(status: Mapping[str, Any]) -> None:
    """Hold a status to what VolSync's own definitions ask of conditions: all fields, and none of them empty."""
    for condition in status["conditions"]:
        for field in ("type", "status", "reason", "message", "lastTransitionTime"):
            assert condition.get(field), f"{field} of {condition}"
        assert re.fullmatch(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", condition["reason"])


def _merge(target: dict[str, Any], patch: Mapping[str, Any]) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, Mapping):
            if not isinstance(target.get(key), dict):
                target[key] = {}
            _merge(target[key], value)
        else:
            target[key] = value
