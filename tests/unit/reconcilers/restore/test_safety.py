"""A restore in place, decision by decision: the copy is recorded, taken, used, and deleted only when it is proved that nobody needs it."""

from typing import Any

import pytest
from msgspec.structs import replace

from datamover.api import names
from datamover.api.names import RestorePhase as Phase
from datamover.api.restore import Loss, Restored
from datamover.api.v1alpha1.restore import SafetyCopy
from datamover.plans.known import Refusal
from datamover.plans.steps import Create, Delete, Plan, WriteStatus
from datamover.reconcilers.restore import decide as deciding
from datamover.reconcilers.restore.facts import Facts
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from support import builders
from support.builders import CREATED, MOVER_UID, OTHER_UID
from support.restores import CLAIM, JOB, NEW, SETTINGS, claim, facts, job, outcome, pod, restore, run, status, unused

COPY = f"safety-{CLAIM}-20240806143052-5f0c1b7e2a4d"
BY_CLONE = SafetyCopy(claim_name=COPY, method="Clone")
BY_SNAPSHOT = SafetyCopy(claim_name=COPY, method="Snapshot", snapshot_name=COPY)
USED = replace(BY_CLONE, uid=f"uid-of-{COPY}")
KEPT = replace(USED, kept=True)
RETRY = {names.RETRY_ANNOTATION: "1"}
CLASSES = (builders.volume_snapshot_class(),)
ON_USE = builders.storage_class(volume_binding_mode="WaitForFirstConsumer")
LOCAL = builders.storage_class(provisioner="rancher.io/local-path")
RUNNING = job(active=1)
COMPLETE = job(condition="Complete", succeeded=1)
FAILED = job(condition="Failed", reason="PodFailurePolicy", failed=1)
TWICE = job(condition="Failed", reason="BackoffLimitExceeded", failed=2)


def copy(**fields: Any) -> Any:
    return builders.clone(MOVER_UID, **{"name": COPY, **fields})


def decide(known: Facts) -> Plan[Any]:
    return deciding.decide(known, settings=SETTINGS)


def in_place(phase: str | None = None, *, safety: SafetyCopy = BY_CLONE, spec: Any = None, **known: Any) -> Facts:
    """Facts of a restore in place; `copy` is what there is of the copy's claim, `said` what is recorded besides."""
    said = known.pop("said", {})
    started = {"claim_uid": f"uid-of-{CLAIM}"} if phase not in (None, Phase.PREPARING) else {}
    recorded = run(safety=safety, **started, **said)
    obj = restore(in_place=True, status=status(phase, run=recorded) if phase else None, **(spec or {}))
    made = known.pop("copy", None)
    target = known.pop("claim", claim())
    seen = builders.Seen(
        frozenset({("Job", JOB), ("PersistentVolumeClaim", COPY), ("VolumeSnapshot", COPY)}), volume="pv-9"
    )
    given = {"diagnosis": unused(), "claim_class": builders.storage_class(), "seen": seen, **known}
    found = facts(obj, **given)
    object.__setattr__(found.run, "source", target)
    object.__setattr__(found.run, "claim", made)
    return found


def describe(plan: Plan[Any]) -> list[str]:
    words: list[str] = []
    for step in plan.steps:
        match step:
            case WriteStatus():
                ready = step.status.condition("Ready")
                words.append(f"{step.status.phase or '-'} {ready.reason if ready else '-'}")
            case Create():
                words.append(f"create {step.resource.kind} {step.manifest['metadata']['name']}")
            case Delete():
                words.append(f"delete {step.resource.kind} {step.target.name}")
            case _:
                pass
    return words


def written(known: Facts) -> Any:
    return next(step.status for step in decide(known).steps if isinstance(step, WriteStatus))


def said(target: str, **fields: Any) -> Any:
    """What a mover leaves that has failed."""
    return outcome(failure_class="verify", reason="RestoredOtherwise", restored=Restored(target=target, **fields))


def attempt(owner: Any, number: int = 1, *, told: Any = None, exit_code: int | None = None) -> Any:
    return pod(
        owner,
        name=f"mover-{number}",
        phase="Failed",
        outcome=told,
        exit_code=None if told is not None else exit_code or 137,
        creation_timestamp=f"2024-08-06T14:3{number}:00Z",
    )


MAKE_CLONE = [f"create PersistentVolumeClaim {COPY}"]
STARTED = ["Restoring JobCreated", f"create Job {JOB}"]
PREPARED: dict[str, tuple[Facts, list[str]]] = {
    "nobody uses the claim: it is cloned": (in_place(Phase.PREPARING), MAKE_CLONE),
    "somebody uses it: it is not cloned yet": (
        in_place(Phase.PREPARING, diagnosis=unused(text="Pod web-0")),
        ["Preparing TargetInUse"],
    ),
    "the clone is being made": (in_place(Phase.PREPARING, copy=copy(phase="Pending")), []),
    "the clone is there: the mover starts": (in_place(Phase.PREPARING, copy=copy()), STARTED),
    "the clone is there, and somebody has begun to use the claim": (
        in_place(Phase.PREPARING, copy=copy(), diagnosis=unused(text="Pod web-0")),
        ["Preparing TargetInUse"],
    ),
    "the clone binds when the mover comes": (
        in_place(Phase.PREPARING, copy=copy(phase="Pending"), claim_class=ON_USE),
        STARTED,
    ),
    "the clone is going": (in_place(Phase.PREPARING, copy=copy(deletion_timestamp=CREATED)), []),
    "its name is somebody else's": (
        in_place(Phase.PREPARING, copy=builders.clone(OTHER_UID, name=COPY)),
        ["Preparing NameTaken"],
    ),
    "by a snapshot, that comes first": (
        in_place(Phase.PREPARING, safety=BY_SNAPSHOT, snapshot_classes=CLASSES),
        [f"create VolumeSnapshot {COPY}"],
    ),
    "the snapshot is ready": (
        in_place(
            Phase.PREPARING,
            safety=BY_SNAPSHOT,
            snapshot_classes=CLASSES,
            snapshot=builders.volume_snapshot(name=COPY, owner=MOVER_UID),
        ),
        MAKE_CLONE,
    ),
    "a retry with the copy that was kept": (
        in_place(Phase.PREPARING, safety=KEPT, copy=copy(), said={"retry": "1"}),
        STARTED,
    ),
    "a retry, and the copy that was kept is gone: no other is taken of half a restore": (
        in_place(Phase.PREPARING, safety=KEPT, said={"retry": "1"}),
        ["Failed SafetyCopyLost"],
    ),
    "a retry, and the copy that was kept is another one": (
        in_place(Phase.PREPARING, safety=KEPT, copy=copy(uid="another"), said={"retry": "1"}),
        ["Failed SafetyCopyLost"],
    ),
    "the mover runs, and the copy is gone: no other is taken": (
        in_place(Phase.RESTORING, safety=USED),
        ["Failed CloneLost"],
    ),
    "whole: Job and copy go": (
        in_place(
            Phase.RESTORING,
            safety=USED,
            copy=copy(),
            job=COMPLETE,
            pods=(pod(COMPLETE, phase="Succeeded", outcome=outcome()),),
        ),
        ["CleaningUp CleaningUp", f"delete Job {JOB}", f"delete PersistentVolumeClaim {COPY}"],
    ),
    "the copy is gone: complete": (in_place(Phase.CLEANING_UP, safety=USED), ["Completed Completed"]),
    "the copy is still there: not complete": (
        in_place(Phase.CLEANING_UP, safety=USED, copy=copy(deletion_timestamp=CREATED)),
        [],
    ),
    "failed, and the claim is as it was: the copy goes, and the Job whose Pods would keep it": (
        in_place(Phase.FAILED, safety=USED, copy=copy(), job=FAILED),
        [f"delete Job {FAILED.metadata.name}", f"delete PersistentVolumeClaim {COPY}"],
    ),
    "failed, and the copy is needed": (in_place(Phase.FAILED, safety=KEPT, copy=copy(), job=FAILED), []),
    "failed, and the copy is no longer ours": (
        in_place(Phase.FAILED, safety=USED, copy=builders.clone(OTHER_UID, name=COPY), job=FAILED),
        [],
    ),
    "a retry: the old copy goes first": (
        in_place(Phase.FAILED, safety=USED, copy=copy(), spec={"annotations": RETRY}),
        [f"delete PersistentVolumeClaim {COPY}"],
    ),
    "a retry: the old copy is still there": (
        in_place(Phase.FAILED, safety=USED, copy=copy(deletion_timestamp=CREATED), spec={"annotations": RETRY}),
        [],
    ),
    "a retry: the old copy is gone": (
        in_place(Phase.FAILED, safety=USED, spec={"annotations": RETRY}),
        ["Preparing Retrying"],
    ),
    "a retry keeps the copy that is needed": (
        in_place(Phase.FAILED, safety=KEPT, copy=copy(), spec={"annotations": RETRY}),
        ["Preparing Retrying"],
    ),
}


@pytest.mark.parametrize("case", PREPARED)
def test_a_decision(case: str) -> None:
    known, expected = PREPARED[case]
    assert describe(decide(known)) == expected


@pytest.mark.parametrize("case", PREPARED)
def test_only_what_is_ours_is_deleted_and_made_under_recorded_names(case: str) -> None:
    known, _ = PREPARED[case]
    for step in decide(known).steps:
        if isinstance(step, Delete):
            assert step.target.name != CLAIM
            assert step.target.owned_by(MOVER_UID)
        if isinstance(step, Create):
            meta = step.manifest["metadata"]
            assert meta["name"] in {COPY, JOB}
            assert meta["ownerReferences"][0]["uid"] == MOVER_UID
            assert names.CREATED_BY_LABEL in meta["labels"]


@pytest.mark.parametrize("case", PREPARED)
def test_what_was_told_is_not_told_again(case: str) -> None:
    known, _ = PREPARED[case]
    for step in decide(known).steps:
        if isinstance(step, WriteStatus):
            again = Facts(
                **{
                    **{f: getattr(known, f) for f in Facts.__slots__},
                    "restore": replace(known.restore, status=step.status),
                }
            )
            assert step.status not in [s.status for s in decide(again).steps if isinstance(s, WriteStatus)]


RECORDED: dict[str, tuple[dict[str, Any], SafetyCopy]] = {
    "a class for snapshots shows that the driver can": ({"snapshot_classes": CLASSES}, BY_SNAPSHOT),
    "without one it is cloned": ({"snapshot_classes": ()}, BY_CLONE),
    "without the API of snapshots it is cloned": ({"snapshot_classes": None}, BY_CLONE),
}


@pytest.mark.parametrize("case", RECORDED)
def test_how_it_is_copied_is_recorded_before_anything_is_made(case: str) -> None:
    known, expected = RECORDED[case]
    found = written(in_place(**known))
    assert (found.phase, found.run.safety) == (Phase.PREPARING, expected)


OBSTACLES: dict[str, tuple[Facts, str, str]] = {
    "a class that cannot copy": (
        in_place(source_class=LOCAL, claim_class=LOCAL),
        "StorageClassCannotClone",
        "the local-path provisioner has no cloning. Set spec.overwrite instead of spec.inPlace, which cannot be rolled back, or restore into a new claim",
    ),
    "a claim without a volume": (
        in_place(claim=claim(phase="Pending"), source_class=ON_USE),
        "TargetNotBound",
        "leave out spec.inPlace",
    ),
    "a claim that is to be made": (
        in_place(spec={"target": NEW}, claim=None),
        "InvalidSpec",
        "spec.target.create makes one: remove one of them",
    ),
}


@pytest.mark.parametrize("case", OBSTACLES)
def test_what_cannot_be_rolled_back_is_not_begun(case: str) -> None:
    known, reason, words = OBSTACLES[case]
    found = written(known)
    assert found.run is None
    ready = found.condition("Ready")
    assert ready is not None
    assert ready.reason == reason
    assert words in ready.message
    assert ": Direct" not in ready.message, "there is no such field"


def test_the_mover_writes_the_claim_and_has_the_copy_beside_it() -> None:
    create = next(s for s in decide(in_place(Phase.PREPARING, copy=copy())).steps if isinstance(s, Create))
    found = create.manifest["spec"]["template"]["spec"]
    volumes = {each["name"]: each.get("persistentVolumeClaim") for each in found["volumes"]}
    assert volumes["restored-data"] == {"claimName": CLAIM}
    assert volumes["safety-copy"] == {"claimName": COPY}
    mounts = {each["name"]: each for each in found["containers"][0]["volumeMounts"]}
    assert "readOnly" not in mounts["restored-data"]
    assert mounts["safety-copy"] == {"name": "safety-copy", "mountPath": "/safety/", "readOnly": True}
    told = {each["name"]: each["value"] for each in found["containers"][0]["env"]}
    assert told["DATAMOVER_ROLLBACK_FROM"] == "/safety"


def test_which_copy_the_mover_is_started_with_is_recorded() -> None:
    assert written(in_place(Phase.PREPARING, copy=copy())).run.safety == USED
    unrecorded = in_place(Phase.PREPARING, copy=copy(), job=RUNNING)
    assert written(unrecorded).run.safety == USED, "also when we died before the Job was recorded"


ROLLED_BACK = said("rolled-back")
JUDGED: dict[str, tuple[Facts, str | None, bool]] = {
    "rolled back": (
        in_place(Phase.RESTORING, safety=USED, copy=copy(), job=FAILED, pods=(attempt(FAILED, told=ROLLED_BACK),)),
        "rolled-back",
        False,
    ),
    "rolled back, but for some owners": (
        in_place(
            Phase.RESTORING,
            safety=USED,
            copy=copy(),
            job=FAILED,
            pods=(attempt(FAILED, told=said("rolled-back", losses=(Loss("owner", 2, "a"),))),),
        ),
        None,
        True,
    ),
    "never touched": (
        in_place(
            Phase.RESTORING, safety=USED, copy=copy(), job=FAILED, pods=(attempt(FAILED, told=said("untouched")),)
        ),
        "untouched",
        False,
    ),
    "left half": (
        in_place(Phase.RESTORING, safety=USED, copy=copy(), job=FAILED, pods=(attempt(FAILED, told=said("marked")),)),
        "marked",
        True,
    ),
    "killed without a word": (
        in_place(Phase.RESTORING, safety=USED, copy=copy(), job=FAILED, pods=(attempt(FAILED),)),
        None,
        True,
    ),
    "rolled back once, and killed in the attempt after that": (
        in_place(
            Phase.RESTORING,
            safety=USED,
            copy=copy(),
            job=TWICE,
            pods=(attempt(TWICE, 1, told=ROLLED_BACK), attempt(TWICE, 2)),
        ),
        None,
        True,
    ),
    "killed, and rolled back by the attempt after that": (
        in_place(
            Phase.RESTORING,
            safety=USED,
            copy=copy(),
            job=TWICE,
            pods=(attempt(TWICE, 1), attempt(TWICE, 2, told=ROLLED_BACK)),
        ),
        "rolled-back",
        False,
    ),
    "killed, perhaps after it was whole, and untouched by the attempt after that": (
        in_place(
            Phase.RESTORING,
            safety=USED,
            copy=copy(),
            job=TWICE,
            pods=(attempt(TWICE, 1), attempt(TWICE, 2, told=said("untouched"))),
        ),
        None,
        True,
    ),
    "untouched by a retry, after an end that nobody knows": (
        in_place(
            Phase.RESTORING, safety=KEPT, copy=copy(), job=FAILED, pods=(attempt(FAILED, told=said("untouched")),)
        ),
        None,
        True,
    ),
    "rolled back by a retry": (
        in_place(Phase.RESTORING, safety=KEPT, copy=copy(), job=FAILED, pods=(attempt(FAILED, told=ROLLED_BACK),)),
        "rolled-back",
        False,
    ),
    "an attempt that is counted and was not seen": (
        in_place(Phase.RESTORING, safety=USED, copy=copy(), job=TWICE, pods=(attempt(TWICE, told=ROLLED_BACK),)),
        None,
        True,
    ),
    "rolled back in a claim that is another one by now": (
        in_place(
            Phase.RESTORING,
            safety=USED,
            copy=copy(),
            claim=claim(uid="another"),
            job=FAILED,
            pods=(attempt(FAILED, told=ROLLED_BACK),),
        ),
        None,
        True,
    ),
}


@pytest.mark.parametrize("case", JUDGED)
def test_the_copy_goes_only_when_it_is_proved_that_the_claim_is_as_it_was(case: str) -> None:
    known, target, kept = JUDGED[case]
    if not kept:
        assert describe(decide(known)) == [f"delete PersistentVolumeClaim {COPY}"], "it goes first"
        object.__setattr__(known.run, "claim", None)
    found = written(known)
    assert found.phase == Phase.FAILED
    assert (found.run.safety.kept, found.run.target) == (kept, target)
    assert (f"is kept in PersistentVolumeClaim {COPY}" in found.message) is kept
    after = in_place(Phase.FAILED, safety=found.run.safety, copy=copy(), job=known.run.job)
    job = [f"delete Job {known.run.job.metadata.name}"] if known.run.job is not None else []
    assert describe(decide(after)) == ([] if kept else [*job, f"delete PersistentVolumeClaim {COPY}"])


def test_a_failure_waits_for_the_copy_to_go_but_not_for_ever() -> None:
    def going(since: str) -> Facts:
        return in_place(
            Phase.RESTORING,
            safety=USED,
            copy=copy(deletion_timestamp=since),
            job=FAILED,
            pods=(attempt(FAILED, told=ROLLED_BACK),),
        )

    plan = decide(going(builders.CREATED))
    assert describe(plan) == []
    assert plan.wake_after is not None
    assert describe(decide(going("2024-08-06T14:29:00Z"))) == ["Failed RestoredOtherwise"]


def test_a_job_whose_pods_keep_the_copy_from_going_goes_after_the_failure_is_recorded() -> None:
    going = in_place(Phase.FAILED, safety=USED, copy=copy(deletion_timestamp=builders.CREATED), job=FAILED)
    assert describe(decide(going)) == [f"delete Job {FAILED.metadata.name}"]
    gone = in_place(Phase.FAILED, safety=USED, job=FAILED)
    assert describe(decide(gone)) == [], "else it stays, for its log"


def test_a_retry_takes_a_new_copy_unless_the_old_one_is_needed() -> None:
    again = written(in_place(Phase.FAILED, safety=USED, spec={"annotations": RETRY}, said={"target": "rolled-back"}))
    assert again.run.safety == BY_CLONE
    again = written(in_place(Phase.FAILED, safety=KEPT, copy=copy(), spec={"annotations": RETRY}))
    assert again.run.safety == KEPT


def test_a_copy_that_cannot_be_deleted_is_told() -> None:
    refusal = Refusal("PermissionMissing", "no right to delete", target=("PersistentVolumeClaim", COPY), fresh=True)
    found = written(in_place(Phase.FAILED, safety=USED, copy=copy(), job=FAILED, refusal=refusal))
    stalled = found.condition("Stalled")
    assert (found.phase, stalled.reason) == (Phase.FAILED, "CleanupFailed")


def test_a_snapshot_goes_with_the_copy() -> None:
    known = in_place(
        Phase.FAILED,
        safety=replace(BY_SNAPSHOT, uid=USED.uid),
        copy=copy(),
        snapshot=builders.volume_snapshot(name=COPY, owner=MOVER_UID),
        job=FAILED,
    )
    deleted = [step.resource for step in decide(known).steps if isinstance(step, Delete)]
    assert deleted == [JOBS, PERSISTENT_VOLUME_CLAIMS, VOLUME_SNAPSHOTS]


CANCEL = {"cancel": True}


def test_a_cancelled_restore_keeps_the_copy_of_a_claim_that_may_be_half_restored() -> None:
    """What is cleared away then is what nobody needs; the copy is the last good version of what was there."""
    stopped = in_place(Phase.RESTORING, safety=USED, copy=copy(), job=job(suspend=True), spec=CANCEL)
    ended = replace(stopped.restore.status, conditions=written(stopped).conditions)
    known = in_place(Phase.RESTORING, safety=USED, copy=copy(), job=None, spec=CANCEL)
    again = Facts(**{f: getattr(known, f) for f in Facts.__slots__})
    object.__setattr__(again, "restore", replace(known.restore, status=ended))
    found = decide(again)
    assert not [step for step in found.steps if isinstance(step, Delete)]
    status = written(again)
    assert (status.phase, status.run.safety.kept) == (Phase.FAILED, True)
    assert COPY in status.message
    object.__setattr__(again, "restore", replace(known.restore, status=status))
    assert not [step for step in decide(again).steps if isinstance(step, Delete)]
