"""A claim that is filled by a temporary one: single decisions as a table of sentences, and what holds for each of them."""

from dataclasses import replace as replace_facts
from typing import Any

import pytest
from msgspec.structs import replace

from datamover.api import names
from datamover.api.names import RestorePhase as Phase
from datamover.api.ownership import labels_of
from datamover.api.restore import MARKED, UNTOUCHED, Restored
from datamover.plans.known import Diagnosis, Refusal
from datamover.plans.steps import Create, Delete, Emit, Plan, ProveSame, Rebind, WriteStatus
from datamover.reconcilers.restore import decide as deciding
from datamover.reconcilers.restore.facts import Facts
from datamover.runs.facts import Unread
from kubekit.words.core import (
    SELECTED_NODE,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeStatus,
    TypedReference,
)
from support import builders
from support.builders import CREATED, MOVER_UID, OTHER_UID
from support.restores import CLAIM, JOB, SETTINGS, facts, job, outcome, pod, restore, run, status
from support.restores import claim as plain_claim

PRIME = f"{names.RESTORE_PRIME_PREFIX}{MOVER_UID}"
CLAIM_UID, PRIME_UID = f"uid-of-{CLAIM}", f"uid-of-{PRIME}"
BACK = TypedReference(api_group=names.GROUP, kind="DataMoverRestore", name="back")
ON_USE = builders.storage_class(volume_binding_mode="WaitForFirstConsumer")
NODE = {SELECTED_NODE: "node-1"}
RETRY = {names.RETRY_ANNOTATION: "1"}


def annotated(found: Any, given: dict[str, str]) -> Any:
    return replace(found, metadata=replace(found.metadata, annotations=given or None))


def claim(*, source: TypedReference | None = BACK, annotations: dict[str, str] | None = None, **fields: Any) -> Any:
    """The user's claim, which waits for its volume."""
    found = plain_claim(**{"phase": "Pending", **fields})
    return annotated(replace(found, spec=replace(found.spec, data_source_ref=source)), annotations or {})


def prime(*, of: str = CLAIM_UID, owner: str = MOVER_UID, node: bool = False, **fields: Any) -> PersistentVolumeClaim:
    """The temporary claim, bound to its volume."""
    found = builders.persistent_volume_claim(**{"name": PRIME, "owner": owner, "volume_name": "pv-1", **fields})
    labels = labels_of(restore().metadata, run_id=run().id)
    found = replace(found, metadata=replace(found.metadata, labels=labels))
    return annotated(found, {names.FILLS_ANNOTATION: of, **(NODE if node else {})})


def volume(
    holder: str = PRIME_UID, *, by: str | None = None, phase: str = "Bound", name: str = "pv-1"
) -> PersistentVolume:
    """The volume, which names a claim; `by` is the restore that has handed it over."""
    found = builders.persistent_volume(name=name, claim=PRIME if holder == PRIME_UID else CLAIM)
    assert found.spec is not None
    assert found.spec.claim_ref is not None
    spec = replace(found.spec, claim_ref=replace(found.spec.claim_ref, uid=holder))
    found = replace(found, spec=spec, status=PersistentVolumeStatus(phase=phase))
    return annotated(found, {names.POPULATED_BY_ANNOTATION: by} if by else {})


GIVEN = volume(CLAIM_UID, by=MOVER_UID)
BOUND = claim(phase="Bound", volume_name="pv-1")
RECORDED = run(temporary_claim=PRIME, claim_uid=CLAIM_UID)
STARTED = replace(RECORDED, temporary_claim_uid=PRIME_UID)
WHOLE = replace(STARTED, target="whole")
RUNNING = job(active=1)
COMPLETE = job(condition="Complete", succeeded=1)


def at(phase: str, *, recorded: Any = None, spec: dict[str, Any] | None = None, **known: Any) -> Facts:
    """Facts of a restore that fills its claim. `claim` is the user's, `prime` the temporary one."""
    recorded = recorded or {Phase.PREPARING: RECORDED, Phase.RESTORING: STARTED}.get(phase, WHOLE)
    obj = restore(status=status(phase, run=recorded), **(spec or {}))
    given: dict[str, Any] = {"claim": claim(), "prime": prime(), "source_volume": volume(), **known}
    given["target"], given["source"] = given.pop("claim"), given.pop("prime")
    given.setdefault("target_class", builders.storage_class())
    return facts(obj, **given)


def decide(known: Facts) -> Plan[Any]:
    return deciding.decide(known, settings=SETTINGS)


def describe(plan: Plan[Any]) -> list[str]:
    """The plan in words, without what is asked of the server before."""
    words: list[str] = []
    for step in plan.steps:
        match step:
            case WriteStatus():
                ready = step.status.condition("Ready")
                words.append(f"status {step.status.phase} {ready.reason if ready else '-'}")
            case Create():
                words.append(f"create {step.manifest['metadata']['name']}")
            case Delete():
                words.append(f"delete {step.target.name}")
            case Rebind():
                words.append(f"hand {step.volume.name} over to {step.claim.uid}")
            case Emit():
                words.append(f"event {step.type} {step.reason}")
            case _:
                words.append(type(step).__name__)
    return [each for each in words if not each.startswith("Prove")]


def ended(restored: Restored | None, **fields: Any) -> dict[str, Any]:
    said = {} if restored is None else {"outcome": outcome(restored=restored)}
    return {"job": COMPLETE, "pods": (pod(COMPLETE, phase="Succeeded", exit_code=0, **said),), **fields}


LOST = ["status Failed TargetLost", "event Warning TargetLost"]
DOUBT = ["status Failed OutcomeMissing", "event Warning OutcomeMissing"]
OVER = [f"hand pv-1 over to {CLAIM_UID}", "event Normal Populated"]
MAKE = ["status Preparing Preparing", f"create {PRIME}"]
FOREIGN = TypedReference(api_group=names.GROUP, kind="DataMoverRestore", name="back", namespace="elsewhere")
ANOTHER = TypedReference(api_group=names.GROUP, kind="DataMoverRestore", name="another")

CANCELLED = {"reason": "Cancelled", "conditions": {"Restored": "False"}}


def cancelled(phase: str = Phase.RESTORING, **known: Any) -> Facts:
    """Facts of one that is recorded to be cancelled."""
    found = at(phase, **known)
    told = status(phase, run=found.restore.status.run, **CANCELLED)  # type: ignore[union-attr, arg-type]
    return replace_facts(found, restore=replace(found.restore, status=told))


DECISIONS: dict[str, tuple[Facts, list[str]]] = {
    "it is cancelled, and its Job is gone: the temporary claim goes": (
        cancelled(),
        [f"delete {PRIME}"],
    ),
    "it is cancelled, and the temporary claim is going": (
        cancelled(prime=prime(deletion_timestamp="2024-08-06T14:30:52Z")),
        [],
    ),
    "it is cancelled, and nothing temporary is left": (
        cancelled(prime=None),
        ["status Failed Cancelled", "event Normal Cancelled"],
    ),
    "it is cancelled when the mover had done all": (
        cancelled(job=COMPLETE, pods=(pod(COMPLETE, phase="Succeeded", outcome=outcome()),)),
        ["status CleaningUp CleaningUp", f"delete {JOB}"],
    ),
    "a temporary claim that comes late after it was cancelled": (
        cancelled(Phase.FAILED, recorded=STARTED),
        [f"delete {PRIME}"],
    ),
    "it is recorded before anything is made": (facts(claim=claim()), ["status Preparing Preparing"]),
    "the operator fills no claims": (
        replace_facts(facts(claim=claim()), population=False),
        ["status None TargetNotBound", "event Warning TargetNotBound"],
    ),
    "the operator fills no claims by now, and this one was begun": (
        replace_facts(at(Phase.PREPARING, prime=None), population=False),
        ["status Preparing TargetNotBound", "event Warning TargetNotBound"],
    ),
    "the claim names another restore": (
        facts(claim=claim(source=ANOTHER)),
        ["status None TargetBeingRestored", "event Warning TargetBeingRestored"],
    ),
    "the claim names a restore of another namespace": (
        facts(claim=claim(source=FOREIGN)),
        ["status None TargetNotBound", "event Warning TargetNotBound"],
    ),
    "the claim has no class": (
        facts(claim=claim(storage_class_name=None), source_class=None),
        ["status None StorageClassNotFound", "event Warning StorageClassNotFound"],
    ),
    "the claim is a Block volume": (
        facts(claim=claim(volume_mode="Block")),
        ["status None BlockVolumeNotSupported", "event Warning BlockVolumeNotSupported"],
    ),
    "the temporary claim is made": (at(Phase.PREPARING, prime=None), MAKE),
    "no Pod uses the claim yet": (
        at(Phase.PREPARING, prime=None, target_class=ON_USE),
        ["status Preparing WaitForFirstConsumer"],
    ),
    "a Pod uses the claim": (
        at(Phase.PREPARING, prime=None, target_class=ON_USE, claim=claim(annotations=NODE)),
        MAKE,
    ),
    "making it is refused": (
        at(Phase.PREPARING, prime=None, refusal=Refusal("CloneForbidden", "quota")),
        ["status Preparing TargetRefused", "event Warning TargetRefused"],
    ),
    "somebody else has its name": (
        at(Phase.PREPARING, prime=prime(owner=OTHER_UID)),
        ["status Preparing NameTaken", "event Warning NameTaken"],
    ),
    "it was made for the claim before": (at(Phase.PREPARING, prime=prime(of="before")), [f"delete {PRIME}"]),
    "it has lost its volume": (at(Phase.PREPARING, prime=prime(phase="Lost")), [f"delete {PRIME}"]),
    "it gets its volume": (at(Phase.PREPARING, prime=prime(phase="Pending")), []),
    "it gets no volume, and the driver says why": (
        at(Phase.PREPARING, prime=prime(phase="Pending"), diagnosis=Diagnosis(PRIME_UID, "no room")),
        ["status Preparing TargetNotBound", "event Warning TargetNotBound"],
    ),
    "the driver has taken its node away: the scheduler chooses another": (
        at(Phase.PREPARING, prime=prime(phase="Pending"), target_class=ON_USE, claim=claim(annotations=NODE)),
        ["Annotate", f"delete {PRIME}"],
    ),
    "it has its volume: the mover writes it": (
        at(Phase.PREPARING),
        ["status Restoring JobCreated", f"create {JOB}", "event Normal JobCreated"],
    ),
    "the claim is gone before the mover was started": (at(Phase.PREPARING, claim=None), [f"delete {PRIME}"]),
    "so is what was made for it": (
        at(Phase.PREPARING, claim=None, prime=None),
        ["status Preparing TargetNotFound", "event Warning TargetNotFound"],
    ),
    "the claim is another one: what was made for the one before goes": (
        at(Phase.PREPARING, claim=claim(uid="another")),
        [f"delete {PRIME}"],
    ),
    "the claim is another one: that is recorded": (
        at(Phase.PREPARING, claim=claim(uid="another"), prime=None),
        ["status Preparing Preparing"],
    ),
    "somebody has bound the claim before the mover was started": (
        at(Phase.PREPARING, claim=BOUND),
        [f"delete {PRIME}"],
    ),
    "the claim is deleted while it is filled: the mover ends": (
        at(Phase.RESTORING, claim=None, job=RUNNING),
        [f"delete {JOB}", *LOST],
    ),
    "the claim is another one while it is filled": (
        at(Phase.RESTORING, claim=claim(uid="another"), job=RUNNING),
        [f"delete {JOB}", *LOST],
    ),
    "the temporary claim is another one": (at(Phase.RESTORING, prime=prime(uid="another"), job=COMPLETE), LOST),
    "all is there: the Job goes first": (
        at(Phase.RESTORING, **ended(Restored(target="whole", by_checksum=3))),
        ["status CleaningUp CleaningUp", f"delete {JOB}"],
    ),
    "there was nothing, and that was allowed": (
        at(Phase.RESTORING, **ended(Restored(empty=True))),
        ["status CleaningUp CleaningUp", f"delete {JOB}"],
    ),
    "the mover left no last words": (at(Phase.RESTORING, **ended(None)), DOUBT),
    "the mover says that it is not whole": (at(Phase.RESTORING, **ended(Restored(target=MARKED))), DOUBT),
    "the mover says that it has done nothing": (at(Phase.RESTORING, **ended(Restored(target=UNTOUCHED))), DOUBT),
    "the Job is being removed": (at(Phase.CLEANING_UP, job=job(condition="Complete", deletion_timestamp=CREATED)), []),
    "the Job is gone: the volume is handed over": (at(Phase.CLEANING_UP), OVER),
    "the Job is gone, and a Pod of it is alive": (
        at(Phase.CLEANING_UP, strays=(pod(RUNNING),)),
        ["status CleaningUp CleaningUp"],
    ),
    "it is not recorded that all is there": (at(Phase.CLEANING_UP, recorded=STARTED), DOUBT),
    "the claim is going": (
        at(Phase.CLEANING_UP, claim=claim(deletion_timestamp=CREATED)),
        ["status CleaningUp TargetTerminating", "event Warning TargetTerminating"],
    ),
    "the claim is gone before it was handed over": (at(Phase.CLEANING_UP, claim=None), LOST),
    "the claim is another one before it was handed over": (at(Phase.CLEANING_UP, claim=claim(uid="another")), LOST),
    "the temporary claim is gone before it was handed over": (at(Phase.CLEANING_UP, prime=None), LOST),
    "a temporary claim of the same name, and empty": (at(Phase.CLEANING_UP, prime=prime(uid="another")), LOST),
    "the volume is lost": (at(Phase.CLEANING_UP, source_volume=volume(phase="Released")), LOST),
    "the volume is somebody else's": (at(Phase.CLEANING_UP, source_volume=volume("another")), LOST),
    "the volume is not seen yet": (at(Phase.CLEANING_UP, source_volume=Unread.NOT_SYNCED), []),
    "no volume may be read": (
        at(Phase.CLEANING_UP, source_volume=Unread.FORBIDDEN),
        ["status CleaningUp PermissionMissing", "event Warning PermissionMissing"],
    ),
    "handing it over is refused": (
        at(Phase.CLEANING_UP, refusal=Refusal("PermissionMissing", "no right", verb="patch")),
        ["status CleaningUp PermissionMissing", "event Warning PermissionMissing"],
    ),
    "somebody has bound the claim to another volume": (
        at(
            Phase.CLEANING_UP,
            claim=claim(phase="Bound", volume_name="pv-2"),
            target_volume=volume(CLAIM_UID, name="pv-2"),
        ),
        LOST,
    ),
    "the claim is bound, and its volume is not seen yet": (
        at(Phase.CLEANING_UP, claim=BOUND, target_volume=Unread.NOT_SYNCED),
        [],
    ),
    "it is handed over, and the temporary claim goes": (
        at(Phase.CLEANING_UP, claim=BOUND, source_volume=GIVEN, target_volume=GIVEN),
        [f"delete {PRIME}"],
    ),
    "the caches contradict each other: nothing goes": (
        at(Phase.CLEANING_UP, claim=BOUND, source_volume=volume(), target_volume=volume()),
        [],
    ),
    "it is handed over, and the temporary claim is gone": (
        at(Phase.CLEANING_UP, claim=BOUND, prime=None, target_volume=GIVEN),
        ["status Completed Completed", "event Normal Completed"],
    ),
    "complete, and a temporary claim comes late": (
        at(Phase.COMPLETED, claim=BOUND, source_volume=GIVEN, target_volume=GIVEN),
        [f"delete {PRIME}"],
    ),
    "failed: what has come back stays for the retry": (at(Phase.FAILED), []),
    "failed, and the claim is gone: it goes as well": (at(Phase.FAILED, claim=None), [f"delete {PRIME}"]),
    "failed, and the claim is another one": (at(Phase.FAILED, claim=claim(uid="another")), [f"delete {PRIME}"]),
    "failed, and a retry is asked for": (
        at(Phase.FAILED, spec={"annotations": RETRY}),
        ["status Preparing Retrying", "event Normal Retrying"],
    ),
}


@pytest.mark.parametrize("case", DECISIONS)
def test_a_decision(case: str) -> None:
    known, expected = DECISIONS[case]
    assert describe(decide(known)) == expected


@pytest.mark.parametrize("case", DECISIONS)
def test_laws_hold(case: str) -> None:
    """Nothing is made that is not recorded, nothing deleted but ours, and the server is asked for the claim before its volume is handed over."""
    known, _ = DECISIONS[case]
    recorded = known.restore.status.run if known.restore.status is not None else None
    steps = decide(known).steps
    for step in steps:
        if isinstance(step, Create):
            meta = step.manifest["metadata"]
            assert recorded is not None
            assert meta["name"] in {recorded.temporary_claim, recorded.job_name}
            assert meta["ownerReferences"][0]["uid"] == MOVER_UID
            assert meta["labels"][names.CREATED_BY_LABEL] == names.CREATED_BY_VALUE
        if isinstance(step, Delete):
            assert step.target.name in {PRIME, JOB}
            assert step.target.owned_by(MOVER_UID)
        if isinstance(step, Rebind):
            asked = [each.target.uid for each in steps[: steps.index(step)] if isinstance(each, ProveSame)]
            assert asked == [CLAIM_UID]
            assert step.annotations == {names.POPULATED_BY_ANNOTATION: MOVER_UID}


def test_the_temporary_claim_is_like_the_claim_and_says_which_one_it_is_for() -> None:
    wanted = claim(annotations=NODE, storage="3Gi", access_modes=("ReadWriteMany",))
    known = at(Phase.PREPARING, prime=None, claim=wanted, target_class=ON_USE)
    (made,) = [step.manifest for step in decide(known).steps if isinstance(step, Create)]
    assert made["metadata"]["annotations"] == {names.FILLS_ANNOTATION: CLAIM_UID, **NODE}
    assert made["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "3Gi"}},
        "storageClassName": "fast",
        "volumeMode": "Filesystem",
    }


def test_the_mover_writes_the_temporary_claim_and_both_claims_are_recorded() -> None:
    steps = decide(at(Phase.PREPARING)).steps
    (made,) = [step.manifest for step in steps if isinstance(step, Create)]
    (written,) = [step.status for step in steps if isinstance(step, WriteStatus)]
    assert made["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": PRIME}
    assert (written.run.claim, written.run.claim_uid) == (CLAIM, CLAIM_UID)
    assert (written.run.temporary_claim, written.run.temporary_claim_uid) == (PRIME, PRIME_UID)


def recorded_by(known: Facts) -> tuple[str | None, str | None]:
    (written,) = [step.status for step in decide(known).steps if isinstance(step, WriteStatus)]
    return written.run.temporary_claim, written.run.claim_uid


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (claim(), (PRIME, CLAIM_UID)),
        (claim(phase="Bound"), (None, None)),
        (claim(volume_name="chosen"), (None, None)),
        (claim(source=None), (None, None)),
        (claim(source=TypedReference(api_group="example.com", kind="DataMoverRestore", name="back")), (None, None)),
    ],
    ids=["it names the restore", "it has a volume", "its user has chosen one", "it names nothing", "another group"],
)
def test_a_claim_is_filled_by_a_temporary_one_only_where_it_waits_for_this_restore(
    found: Any, expected: tuple[str | None, str | None]
) -> None:
    assert recorded_by(facts(claim=found)) == expected


def test_a_claim_that_was_replaced_before_the_mover_was_started_is_filled_in_its_place() -> None:
    assert recorded_by(at(Phase.PREPARING, claim=claim(uid="another"), prime=None)) == (PRIME, "another")


def test_a_retry_follows_the_claim_of_now_and_forgets_which_temporary_claim_was_written() -> None:
    known = at(Phase.FAILED, spec={"annotations": RETRY}, claim=claim(uid="another"), prime=None)
    assert recorded_by(known) == (PRIME, "another")
    (written,) = [
        step.status
        for step in decide(at(Phase.FAILED, spec={"annotations": RETRY})).steps
        if isinstance(step, WriteStatus)
    ]
    assert (written.run.claim_uid, written.run.temporary_claim_uid) == (CLAIM_UID, None)
