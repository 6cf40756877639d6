"""Single decisions, as a table of sentences; and what holds for each of them."""

from dataclasses import replace as replace_facts
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from datamover.api import names
from datamover.api.names import RestorePhase as Phase
from datamover.api.pods import EnvVar, EnvVarSource, KeySelector
from datamover.api.restore import Loss, Restored
from datamover.api.v1alpha1.restore import Bucket, RestoreSource, RestoreTarget
from datamover.plans.known import Diagnosis, Refusal
from datamover.plans.steps import (
    Create,
    Delete,
    Emit,
    Inquire,
    Patch,
    Plan,
    ProveGone,
    ProvePods,
    ProveStatus,
    SampleLog,
    WriteStatus,
)
from datamover.reconcilers.restore import decide as deciding
from datamover.reconcilers.restore.facts import Facts
from datamover.runs.facts import Unread
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import OwnerReference
from support import builders
from support.builders import CREATED, MOVER_UID, NOW, OTHER_UID
from support.restores import (
    CLAIM,
    FROM_MOVER,
    JOB,
    NEW,
    SETTINGS,
    claim,
    facts,
    job,
    outcome,
    pod,
    restore,
    run,
    status,
    unused,
)

RETRY = {names.RETRY_ANNOTATION: "1"}
RECORDED = run(claim_uid=f"uid-of-{CLAIM}")


def decide(known: Facts) -> Plan[Any]:
    return deciding.decide(known, settings=SETTINGS)


def at(phase: str, *, said: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, **known: Any) -> Facts:
    obj = restore(
        status=status(phase, **{"run": RECORDED if phase != Phase.PREPARING else run(), **(said or {})}), **(spec or {})
    )
    return facts(obj, **known)


def describe(plan: Plan[Any]) -> list[str]:
    """The plan in words: what a reviewer would read."""
    words: list[str] = []
    for step in plan.steps:
        match step:
            case WriteStatus():
                ready = step.status.condition("Ready")
                words.append(f"status {step.status.phase or '-'} {ready.reason if ready else '-'}")
            case Create():
                words.append(f"create {step.resource.kind} {step.manifest['metadata']['name']}")
            case Delete():
                words.append(f"delete {step.resource.kind} {step.target.name}")
            case Patch():
                words.append(f"{'suspend' if step.patch['spec']['suspend'] else 'resume'} {step.target.name}")
            case Inquire():
                words.append(f"ask who writes {step.target.name}" if step.writers else f"ask about {step.target.name}")
            case SampleLog():
                words.append(f"sample {step.pod.name}")
            case ProveGone():
                words.append(f"confirm {step.resource.kind} {step.name}")
            case ProvePods():
                words.append("recount")
            case ProveStatus():
                words.append("fence")
            case Emit():
                words.append(f"event {step.type} {step.reason}")
            case _:
                words.append(type(step).__name__)
    return words


def waits(reason: str, phase: str = "-") -> list[str]:
    return [f"status {phase} {reason}", f"event Warning {reason}"]


RUNNING = job(active=1)
COMPLETE = job(condition="Complete", succeeded=1)
FAILED = job(condition="Failed", reason="PodFailurePolicy", failed=1)
MADE = claim(made_by=MOVER_UID)
PENDING = claim(phase="Pending")
ON_USE = builders.storage_class(volume_binding_mode="WaitForFirstConsumer")
DENIED = Refusal("PermissionMissing", "no right", target=("PersistentVolumeClaim", CLAIM))
HUNTER = EnvVar(name="RCLONE_CRYPT_PASSWORD", value="hunter22")
REFERRED = replace(HUNTER, value=None, value_from=EnvVarSource(secret_key_ref=KeySelector(name="other", key="word")))
BEGUN = ["status Preparing Preparing"]
STARTED = ["status Restoring JobCreated", f"create Job {JOB}", "event Normal JobCreated"]
LOST = ["status Failed TargetLost", "event Warning TargetLost"]
KEPT = Refusal("PermissionMissing", "no right to delete it", target=("Job", JOB), verb="delete")
CLEANED = ["status CleaningUp CleaningUp", f"delete Job {JOB}"]

CANCEL = {"cancel": True}
CANCELLED = {"reason": "Cancelled", "conditions": {"Restored": "False"}}

DECISIONS: dict[str, tuple[Facts, list[str]]] = {
    "cancelled before it began": (facts(restore(**CANCEL)), ["status Failed Cancelled", "event Normal Cancelled"]),
    "cancelled while the mover runs: recorded first": (
        at(Phase.RESTORING, spec=CANCEL, job=RUNNING),
        ["status Restoring Cancelling"],
    ),
    "recorded: the mover is stopped, whatever is wished now": (
        at(Phase.RESTORING, said=CANCELLED, job=RUNNING),
        [f"suspend {JOB}"],
    ),
    "the mover has ended: its Job goes": (
        at(Phase.RESTORING, said=CANCELLED, job=job(suspend=True)),
        ["recount", "status Restoring Cancelling", f"delete Job {JOB}"],
    ),
    "nothing is left of one that is cancelled": (
        at(Phase.RESTORING, said=CANCELLED),
        ["status Failed Cancelled", "event Normal Cancelled"],
    ),
    "cancelled when the mover has completed: a success": (
        at(Phase.RESTORING, spec=CANCEL, job=COMPLETE, pods=(pod(COMPLETE, phase="Succeeded", outcome=outcome()),)),
        CLEANED,
    ),
    "a retry of one that was cancelled": (
        at(Phase.FAILED, said=CANCELLED, spec={"annotations": RETRY}),
        ["status Preparing Retrying", "event Normal Retrying"],
    ),
    "a retry while it is not wanted": (
        at(Phase.FAILED, said=CANCELLED, spec={"annotations": RETRY, **CANCEL}),
        ["status Failed Cancelled"],
    ),
    "what comes late of one that was cancelled is collected": (
        at(Phase.FAILED, said=CANCELLED, job=RUNNING),
        [f"delete Job {JOB}"],
    ),
    "one that was cancelled before it began": (at(Phase.FAILED, said={**CANCELLED, "run": None}), []),
    "a retry of one that was cancelled before it began": (
        at(Phase.FAILED, said={**CANCELLED, "run": None}, spec={"annotations": RETRY}),
        BEGUN,
    ),
    "a retry of that one while it is not wanted": (
        at(Phase.FAILED, said={**CANCELLED, "run": None}, spec={"annotations": RETRY, **CANCEL}),
        ["status Failed Cancelled"],
    ),
    "a terminating object: nothing new is begun": (facts(restore(deletion_timestamp=CREATED)), []),
    "nothing recorded: the restore is recorded before anything else": (facts(), BEGUN),
    "no claim, and none is to be made": (facts(claim=None), waits("TargetNotFound")),
    "no claim, and one is to be made": (facts(restore(target=NEW), claim=None), BEGUN),
    "a claim is to be made, and there is one": (facts(restore(target=NEW)), waits("TargetExists")),
    "the claim is going": (facts(claim=claim(deletion_timestamp=CREATED)), waits("TargetTerminating")),
    "the claim has lost its volume": (facts(claim=claim(phase="Lost")), waits("TargetLost")),
    "the claim is a Block volume": (facts(claim=claim(volume_mode="Block")), waits("BlockVolumeNotSupported")),
    "the claim can only be read": (facts(claim=claim(access_modes=("ReadOnlyMany",))), waits("TargetNotWritable")),
    "the DataMover is not there": (facts(restore(source=FROM_MOVER), mover=Unread.MISSING), waits("DataMoverNotFound")),
    "the DataMover may not be read": (
        facts(restore(source=FROM_MOVER), mover=Unread.FORBIDDEN),
        waits("DataMoverNotFound"),
    ),
    "the DataMover is not read yet": (facts(restore(source=FROM_MOVER), mover=Unread.NOT_SYNCED), []),
    "the DataMover is there": (facts(restore(source=FROM_MOVER), mover=builders.data_mover()), BEGUN),
    "the DataMover has a credential as a plain value": (
        facts(restore(source=FROM_MOVER), mover=builders.data_mover(additional_env=(HUNTER,))),
        waits("InvalidEnvironment"),
    ),
    "the DataMover takes its credential from a Secret": (
        facts(restore(source=FROM_MOVER), mover=builders.data_mover(additional_env=(REFERRED,))),
        BEGUN,
    ),
    "a credential of the restore's own is recorded nowhere": (facts(restore(additional_env=(HUNTER,))), BEGUN),
    "the Secret is missing": (facts(secret=Unread.MISSING), waits("SecretNotFound")),
    "the Secret lacks a key": (facts(secret=builders.secret_keys(keys=("BUCKET_NAME",))), waits("SecretKeyMissing")),
    "the Secret is not read yet": (facts(secret=Unread.NOT_SYNCED), []),
    "the Secret may not be read: the mover will say": (facts(secret=Unread.FORBIDDEN), BEGUN),
    "a bad spec": (facts(restore(point="as-of:yesterday")), waits("InvalidSpec")),
    "suspended before it began": (facts(restore(suspend=True)), ["status - Suspended", "event Normal Suspended"]),
    "the claim is made, once": (
        at(Phase.PREPARING, spec={"target": NEW}, claim=None),
        [f"create PersistentVolumeClaim {CLAIM}"],
    ),
    "making the claim is refused": (
        at(Phase.PREPARING, spec={"target": NEW}, claim=None, refusal=DENIED),
        waits("PermissionMissing", "Preparing"),
    ),
    "making the claim is refused by a quota": (
        at(Phase.PREPARING, spec={"target": NEW}, claim=None, refusal=replace_facts(DENIED, reason="CloneForbidden")),
        waits("TargetRefused", "Preparing"),
    ),
    "the claim that was made is asked about": (
        at(Phase.PREPARING, spec={"target": NEW}, claim=MADE),
        [f"ask who writes {CLAIM}"],
    ),
    "recorded, and the claim is gone": (at(Phase.PREPARING, claim=None), waits("TargetNotFound", "Preparing")),
    "the claim gets its volume: wait": (at(Phase.PREPARING, claim=PENDING), []),
    "the claim gets no volume, and the driver says why": (
        at(Phase.PREPARING, claim=PENDING, diagnosis=Diagnosis(f"uid-of-{CLAIM}", "no room")),
        waits("TargetNotBound", "Preparing"),
    ),
    "the claim binds when the mover comes": (
        at(Phase.PREPARING, claim=PENDING, source_class=ON_USE, diagnosis=unused(PENDING)),
        STARTED,
    ),
    "it is asked who uses the claim": (at(Phase.PREPARING), [f"ask who writes {CLAIM}"]),
    "what was learnt of that is old": (at(Phase.PREPARING, diagnosis=unused(age=6.0)), [f"ask who writes {CLAIM}"]),
    "the claim is in use": (at(Phase.PREPARING, diagnosis=unused(text="Pod web-0")), waits("TargetInUse", "Preparing")),
    "the claim is being copied": (
        at(Phase.PREPARING, copies=("PersistentVolumeClaim copy",), diagnosis=unused()),
        waits("TargetInUse", "Preparing"),
    ),
    "nobody may see who uses the claim": (
        at(Phase.PREPARING, diagnosis=unused(text=None)),
        waits("TargetInUse", "Preparing"),
    ),
    "another restore comes first": (
        at(Phase.PREPARING, before=("other",), diagnosis=unused()),
        waits("TargetBeingRestored", "Preparing"),
    ),
    "the Job is another restore's": (
        at(Phase.PREPARING, job=job(OTHER_UID), diagnosis=unused()),
        waits("TargetBeingRestored", "Preparing"),
    ),
    "nobody uses it: the mover is started": (at(Phase.PREPARING, diagnosis=unused()), STARTED),
    "a retried one makes sure that no mover is alive": (
        at(Phase.PREPARING, said={"run": run(retry="1")}, diagnosis=unused()),
        ["recount", *STARTED],
    ),
    "a Pod of an earlier mover is alive": (
        at(Phase.PREPARING, strays=(pod(RUNNING),)),
        ["status Preparing JobLost", "event Warning JobLost"],
    ),
    "we died before the Job was recorded": (
        at(Phase.PREPARING, job=RUNNING),
        ["status Restoring JobCreated"],
    ),
    "suspended while the mover runs": (
        at(Phase.RESTORING, spec={"suspend": True}, job=RUNNING),
        [f"suspend {JOB}", "status Restoring Suspended", "event Normal Suspended"],
    ),
    "the mover runs: its log is read in time": (
        at(
            Phase.RESTORING,
            said={"reason": "JobCreated"},
            job=RUNNING,
            pods=(pod(RUNNING, start_time="2024-08-06T14:30:00Z"),),
        ),
        ["sample mover-1"],
    ),
    "an attempt failed, and its Job waits to try again": (
        at(
            Phase.RESTORING,
            said={"reason": "Restoring"},
            job=job(failed=1),
            pods=(pod(job(failed=1), phase="Failed", outcome=outcome(failure_class="network", reason="TLSUntrusted")),),
        ),
        ["status Restoring AttemptFailed", "event Warning AttemptFailed"],
    ),
    "the Job is gone: another one, when no Pod is left": (
        at(
            Phase.RESTORING,
            said={"reason": "Restoring", "run": replace(RECORDED, attempts=1)},
            diagnosis=unused(),
        ),
        ["recount", "status Restoring JobCreated", f"create Job {JOB}", "event Warning JobLost"],
    ),
    "the Job is gone: it is asked once more who uses the claim": (
        at(Phase.RESTORING, said={"run": replace(RECORDED, attempts=1)}),
        [f"ask who writes {CLAIM}"],
    ),
    "the Job is gone, and somebody has come to the claim": (
        at(Phase.RESTORING, said={"run": replace(RECORDED, attempts=1)}, diagnosis=unused(text="Pod web-0")),
        waits("TargetInUse", "Restoring"),
    ),
    "the Job is gone, and the claim is being copied": (
        at(Phase.RESTORING, copies=("PersistentVolumeClaim copy",), diagnosis=unused()),
        waits("TargetInUse", "Restoring"),
    ),
    "the Job is gone, and another restore has its name": (
        at(Phase.RESTORING, job=job(OTHER_UID), diagnosis=unused()),
        waits("TargetBeingRestored", "Restoring"),
    ),
    "it is to go on: it is asked once more who uses the claim": (
        at(Phase.RESTORING, job=job(suspend=True)),
        [f"ask who writes {CLAIM}"],
    ),
    "it is to go on, and somebody has come to the claim": (
        at(Phase.RESTORING, job=job(suspend=True), diagnosis=unused(text="Pod web-0")),
        waits("TargetInUse", "Restoring"),
    ),
    "it is to go on, and nobody uses the claim": (
        at(Phase.RESTORING, said={"reason": "Suspended"}, job=job(suspend=True), diagnosis=unused()),
        [f"resume {JOB}", "status Restoring JobCreated"],
    ),
    "it is to go on before its own Pod has ended": (
        at(Phase.RESTORING, said={"reason": "Suspended"}, job=job(suspend=True), pods=(pod(RUNNING),)),
        [f"resume {JOB}", "status Restoring JobCreated"],
    ),
    "the claim is gone while it is restored into": (
        at(Phase.RESTORING, claim=None, job=RUNNING),
        [f"confirm PersistentVolumeClaim {CLAIM}", f"delete Job {JOB}", *LOST],
    ),
    "the claim is another one by now": (
        at(Phase.RESTORING, claim=claim(uid="another"), job=COMPLETE),
        [f"confirm PersistentVolumeClaim {CLAIM}", *LOST],
    ),
    "the claim is another one by now, and the mover still runs": (
        at(Phase.RESTORING, claim=claim(uid="another"), job=RUNNING),
        [f"confirm PersistentVolumeClaim {CLAIM}", f"delete Job {JOB}", *LOST],
    ),
    "the claim is another one by now, and the mover is going": (
        at(Phase.RESTORING, claim=claim(uid="another"), job=job(active=1, deletion_timestamp=CREATED)),
        [f"confirm PersistentVolumeClaim {CLAIM}", *LOST],
    ),
    "the claim is another one by now, and the mover may not be deleted": (
        at(Phase.RESTORING, claim=claim(uid="another"), job=RUNNING, refusal=KEPT),
        [f"confirm PersistentVolumeClaim {CLAIM}", *LOST],
    ),
    "the claim was replaced before the mover was made": (
        at(Phase.RESTORING, claim=claim(uid="another")),
        [f"confirm PersistentVolumeClaim {CLAIM}", f"confirm Job {JOB}", "recount", *LOST],
    ),
    "the claim was replaced, and another restore has the Job of that name": (
        at(Phase.RESTORING, claim=claim(uid="another"), job=job(OTHER_UID, active=1)),
        [f"confirm PersistentVolumeClaim {CLAIM}", f"confirm Job {JOB}", "recount", *LOST],
    ),
    "the claim is going, and there is no mover": (
        at(Phase.RESTORING, claim=claim(deletion_timestamp=CREATED)),
        [f"confirm Job {JOB}", "recount", *LOST],
    ),
    "the claim is going, and the mover is to go on": (
        at(Phase.RESTORING, claim=claim(deletion_timestamp=CREATED), job=job(suspend=True)),
        [f"delete Job {JOB}", *LOST],
    ),
    "the claim is going, and the mover still runs": (
        at(Phase.RESTORING, claim=claim(deletion_timestamp=CREATED), job=RUNNING),
        [],
    ),
    "the claim is going, and the mover has ended": (
        at(Phase.RESTORING, claim=claim(deletion_timestamp=CREATED), job=COMPLETE),
        LOST,
    ),
    "the mover is done: the Job goes": (
        at(Phase.RESTORING, job=COMPLETE, pods=(pod(COMPLETE, phase="Succeeded", outcome=outcome()),)),
        CLEANED,
    ),
    "the mover says that it failed": (
        at(
            Phase.RESTORING,
            job=FAILED,
            pods=(pod(FAILED, phase="Failed", outcome=outcome(failure_class="guard", reason="TargetNotEmpty")),),
        ),
        ["status Failed TargetNotEmpty", "event Warning TargetNotEmpty"],
    ),
    "the Job is being removed": (
        at(Phase.CLEANING_UP, job=job(condition="Complete", deletion_timestamp=CREATED)),
        [],
    ),
    "the Job is gone: complete": (
        at(Phase.CLEANING_UP),
        ["status Completed Completed", "event Normal Completed"],
    ),
    "the Job is not seen, and never was: the server is asked": (
        at(Phase.CLEANING_UP, seen=builders.Seen()),
        [f"confirm Job {JOB}", "status Completed Completed", "event Normal Completed"],
    ),
    "the claim may go once the restore is over": (
        at(Phase.CLEANING_UP, claim=None),
        ["status Completed Completed", "event Normal Completed"],
    ),
    "complete: it stays so": (at(Phase.COMPLETED), []),
    "complete, and a Job comes late": (at(Phase.COMPLETED, job=RUNNING), [f"delete Job {JOB}"]),
    "failed: nothing happens by itself": (at(Phase.FAILED, job=FAILED), []),
    "failed, and a retry is asked for: the old Job goes first": (
        at(Phase.FAILED, spec={"annotations": RETRY}, job=FAILED),
        [f"delete Job {JOB}"],
    ),
    "failed, and the old Job is gone": (
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
    known, _ = DECISIONS[case]
    recorded = known.restore.status.run if known.restore.status is not None else None
    for step in decide(known).steps:
        if isinstance(step, Create):
            meta = step.manifest["metadata"]
            assert recorded is not None, "recorded before the first effect (L6)"
            assert meta["name"] in {recorded.claim, recorded.job_name}
            if step.resource is PERSISTENT_VOLUME_CLAIMS:
                assert "ownerReferences" not in meta, "the claim is its user's"
                assert names.CREATED_BY_LABEL not in meta["labels"], "nobody clears it away with what is temporary"
            else:
                assert meta["ownerReferences"][0]["uid"] == known.restore.metadata.uid
        if isinstance(step, Delete):
            assert step.resource is not PERSISTENT_VOLUME_CLAIMS, "nothing of the user's is deleted (L2)"
            assert step.target.owned_by(known.restore.metadata.uid)


TELLING = [case for case, (_, expected) in DECISIONS.items() if any(words.startswith("status ") for words in expected)]


@pytest.mark.parametrize("case", TELLING)
def test_what_was_told_is_not_told_again(case: str) -> None:
    known, _ = DECISIONS[case]
    written = told(known)
    again = replace_facts(known, restore=replace(known.restore, status=written))
    assert written not in [step.status for step in decide(again).steps if isinstance(step, WriteStatus)]


@pytest.mark.parametrize("case", [case for case in DECISIONS if case not in TELLING])
def test_what_is_no_news_is_not_told(case: str) -> None:
    known, _ = DECISIONS[case]
    assert not [step for step in decide(known).steps if isinstance(step, WriteStatus | Emit)]


def test_a_restore_records_what_it_takes_from_a_data_mover() -> None:
    prefix = EnvVar(name="CUSTOM_PATH_PREFIX", value="shop")
    known = facts(restore(source=FROM_MOVER, path="etc"), mover=builders.data_mover(additional_env=(prefix,)))
    (step,) = decide(known).steps
    assert isinstance(step, WriteStatus)
    assert step.status.run == run(source="default/app-data", path="etc", environment=(prefix,))


def test_no_credential_is_written_down() -> None:
    named = decide(facts(restore(source=FROM_MOVER), mover=builders.data_mover(additional_env=(HUNTER,))))
    own = decide(facts(restore(additional_env=(HUNTER,))))
    assert "RCLONE_CRYPT_PASSWORD" in repr(named), "which one it is"
    assert "hunter22" not in repr(named)
    assert "hunter22" not in repr(own)


def test_an_age_becomes_a_moment_when_it_is_recorded() -> None:
    (step,) = decide(facts(restore(point="as-of:2h"))).steps
    assert isinstance(step, WriteStatus)
    assert step.status.run.wanted == f"as-of:{NOW - timedelta(hours=2):%Y-%m-%d-%H%M%S}"


def test_the_mover_is_told_what_was_recorded() -> None:
    source = RestoreSource(bucket=Bucket(secret_name="other", prefix="a$(B)", source="shop/db"))
    (begun,) = decide(facts(restore(source=source, path="etc", overwrite=True))).steps
    assert isinstance(begun, WriteStatus)
    changed: dict[str, Any] = {"overwrite": False, "on_missing": "Empty", "privileges": True, "special": True}
    obj = restore(source=source, path="elsewhere", status=begun.status, **changed)
    create = next(step for step in decide(facts(obj, diagnosis=unused())).steps if isinstance(step, Create))
    pod_spec = create.manifest["spec"]["template"]["spec"]
    (container,) = pod_spec["containers"]
    told = {each["name"]: each["value"] for each in container["env"]}
    assert container["envFrom"] == [{"secretRef": {"name": "other"}}]
    assert told["CUSTOM_PATH_PREFIX"] == "a$$(B)", "a prefix is meant as it is written"
    assert (told["DATAMOVER_POINT"], told["DATAMOVER_POINT_SOURCE"], told["DATAMOVER_POINT_PATH"]) == (
        "latest",
        "shop/db",
        "etc",
    )
    assert (told["DATAMOVER_OVERWRITE"], told["DATAMOVER_ON_MISSING"]) == ("true", "Fail")
    assert {told[f"DATAMOVER_{each}"] for each in ("DISTURBED", "PRIVILEGES", "SPECIAL")} == {"false"}
    assert pod_spec["volumes"][0]["persistentVolumeClaim"] == {"claimName": CLAIM}


def test_a_retry_takes_what_the_failure_may_have_been_about_from_the_spec_and_nothing_else() -> None:
    corrected: dict[str, Any] = {"overwrite": True, "disturbed": True, "point": "2024-08-05-020000", "path": "etc"}
    again = told(at(Phase.FAILED, spec={"annotations": RETRY, **corrected})).run
    assert (again.overwrite, again.disturbed) == (True, True)
    assert (again.wanted, again.path, again.id) == (RECORDED.wanted, None, RECORDED.id)


def test_what_a_version_before_has_not_recorded_is_the_specs() -> None:
    known = at(
        Phase.PREPARING, spec={"overwrite": True}, said={"run": replace(run(), overwrite=None)}, diagnosis=unused()
    )
    create = next(step for step in decide(known).steps if isinstance(step, Create))
    (container,) = create.manifest["spec"]["template"]["spec"]["containers"]
    assert {"name": "DATAMOVER_OVERWRITE", "value": "true"} in container["env"]


def test_a_claim_is_made_as_it_was_asked_for() -> None:
    (step,) = decide(at(Phase.PREPARING, spec={"target": NEW}, claim=None)).steps
    assert isinstance(step, Create)
    assert step.manifest["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "10Gi"}},
        "volumeMode": "Filesystem",
    }
    assert step.manifest["metadata"]["annotations"] == {names.RESTORED_BY_ANNOTATION: MOVER_UID}


def told(known: Facts) -> Any:
    return next(step.status for step in decide(known).steps if isinstance(step, WriteStatus))


def ended(found: Restored) -> Any:
    last = pod(COMPLETE, phase="Succeeded", outcome=outcome(restored=found))
    return told(at(Phase.RESTORING, job=COMPLETE, pods=(last,)))


JUDGED = {
    "every file compared by its checksum": (
        Restored(target="whole", by_checksum=3),
        ("True", "Restored"),
        ("True", "Verified"),
    ),
    "some compared by their size alone": (
        Restored(target="whole", by_checksum=2, by_size=1),
        ("True", "Restored"),
        ("False", "SizesCompared"),
    ),
    "no file": (Restored(target="whole"), ("True", "Restored"), ("False", "NothingVerified")),
    "with losses": (
        Restored(target="whole", by_checksum=3, losses=(Loss("owner", 2, "a"),)),
        ("True", "RestoredWithLosses"),
        ("True", "Verified"),
    ),
    "nothing to restore": (Restored(empty=True), ("True", "NothingToRestore"), ("False", "NothingVerified")),
}


@pytest.mark.parametrize("case", JUDGED)
def test_no_more_is_claimed_than_the_mover_says(case: str) -> None:
    found, restored, verified = JUDGED[case]
    status = ended(found)
    for type_, expected in (("Restored", restored), ("Verified", verified)):
        condition = status.condition(type_)
        assert (condition.status, condition.reason) == expected


def test_the_point_that_was_chosen_is_told() -> None:
    last = pod(COMPLETE, phase="Succeeded", outcome=outcome())
    status = told(at(Phase.RESTORING, job=COMPLETE, pods=(last,)))
    assert (status.run.point, status.run.copied, status.run.target) == (
        "20240805020000-aa",
        "2024-08-05-020000",
        "whole",
    )
    assert (status.run.files, status.run.bytes) == (3, 1024)


def test_without_an_outcome_nothing_is_claimed() -> None:
    last = pod(COMPLETE, phase="Succeeded", exit_code=0)
    condition = told(at(Phase.RESTORING, job=COMPLETE, pods=(last,))).condition("Verified")
    assert (condition.status, condition.reason) == ("Unknown", "OutcomeMissing")


def test_a_failure_says_how_to_try_again() -> None:
    last = pod(FAILED, phase="Failed", outcome=outcome(failure_class="guard", reason="TargetNotEmpty"))
    status = told(at(Phase.RESTORING, job=FAILED, pods=(last,)))
    assert 'annotate datamoverrestore back datamover.a-cup-of.coffee/retry="$(date +%s)"' in status.message
    assert status.condition("Restored").status == "False"


LOSSES = {
    "while the mover runs": ({"job": RUNNING}, RECORDED, "deleted while it was restored into"),
    "after an attempt": ({}, replace(RECORDED, attempts=1), "deleted while it was restored into"),
    "while a Pod is alive": ({"strays": (pod(RUNNING),)}, RECORDED, "deleted while it was restored into"),
    "before the Job was made": ({}, RECORDED, "deleted before the mover was made that was to restore into it."),
    "and the Job stays": ({"job": RUNNING, "refusal": KEPT}, RECORDED, "Its Job is still there: no right to delete it"),
}


@pytest.mark.parametrize("case", LOSSES)
def test_of_a_claim_that_is_lost_nothing_is_told_that_did_not_happen(case: str) -> None:
    known, recorded, words = LOSSES[case]
    status = told(at(Phase.RESTORING, said={"run": recorded}, claim=claim(uid="another"), **known))
    assert words in status.message


def test_the_claim_of_a_started_mover_is_recorded() -> None:
    assert told(at(Phase.PREPARING, diagnosis=unused())).run.claim_uid == f"uid-of-{CLAIM}"


def test_a_refusal_counts_no_more_when_the_claim_was_made_after_all() -> None:
    known = at(Phase.PREPARING, spec={"target": NEW}, claim=MADE, diagnosis=unused(MADE))
    assert describe(decide(known)) == STARTED


def test_who_holds_the_claim_is_named() -> None:
    held = job(OTHER_UID)
    owner = OwnerReference(api_version=f"{names.GROUP}/v1alpha1", kind="DataMoverRestore", name="other", uid=OTHER_UID)
    held = replace(held, metadata=replace(held.metadata, owner_references=(owner,)))
    message = told(at(Phase.PREPARING, job=held)).message
    assert "DataMoverRestore other" in message


def test_what_is_in_use_is_named() -> None:
    known = at(Phase.PREPARING, diagnosis=unused(text="Pod web-0 (Running, on node a)"))
    assert "used by Pod web-0 (Running, on node a)" in told(known).message


LEFT = {
    "none was started": (Phase.PREPARING, None, f"{CLAIM} is as it was"),
    "untouched": (Phase.RESTORING, "untouched", f"{CLAIM} is as it was"),
    "marked": (Phase.RESTORING, "marked", f"{CLAIM} is neither what it was nor whole, and marked so"),
    "marked by an attempt before": (Phase.PREPARING, "marked", f"{CLAIM} is neither what it was nor whole"),
    "no word": (Phase.RESTORING, None, f"what has come back into PersistentVolumeClaim {CLAIM} is not known"),
}


@pytest.mark.parametrize("case", LEFT)
def test_what_the_claim_is_after_a_cancellation_is_said(case: str) -> None:
    phase, target, expected = LEFT[case]
    steps = decide(at(phase, said={**CANCELLED, "run": replace(RECORDED, target=target)})).steps
    (ended,) = [step.status for step in steps if isinstance(step, WriteStatus)]
    assert (ended.phase, ended.run.finished is not None) == (Phase.FAILED, True)
    assert expected in ended.message
    assert "To try again: set spec.cancel to false, then kubectl" in ended.message
    assert decide(facts(restore(status=ended, cancel=True))).steps == ()


def test_what_a_mover_that_was_stopped_says_of_the_claim_is_recorded() -> None:
    stopped = job(suspend=True)
    said = outcome(failure_class="interrupted", reason="Interrupted", restored=Restored(target="marked"))
    steps = decide(
        at(Phase.RESTORING, said=CANCELLED, job=stopped, pods=(pod(stopped, phase="Failed", outcome=said),))
    ).steps
    (written,) = [step.status for step in steps if isinstance(step, WriteStatus)]
    assert written.run.target == "marked"


def test_a_change_after_the_end_is_seen_and_has_no_effect() -> None:
    known = at(Phase.COMPLETED, spec={"generation": 2, "target": RestoreTarget(claim_name="another")})
    status = told(known)
    assert status.observed_generation == 2
    assert "create another DataMoverRestore" in status.message


def test_the_name_of_a_job_has_room_for_a_label() -> None:
    long = "c" * 253
    obj = restore(target=RestoreTarget(claim_name=long))
    assert len(told(facts(obj, claim=claim(name=long))).run.job_name) <= 63
