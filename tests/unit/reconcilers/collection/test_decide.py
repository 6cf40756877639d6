"""What is done for a DataVolume, as one table. Numbers are those of the table of cases in the docs."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace as changed

from datamover.api.cdi import names
from datamover.api.cdi.config import CDIConfig, CDIConfigSpec
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume, DataVolumeCondition, DataVolumeStatus
from datamover.plans.known import Known, OwnerFound, OwnersFound
from datamover.plans.steps import REST, Annotate, AskOwners, Delete, Emit, Patch, Plan, ProveGone, ProveSame
from datamover.reconcilers.collection.decide import COLLECTED, decide
from datamover.reconcilers.collection.facts import Facts, Machines, Settings
from datamover.runs.facts import Unread
from datamover.volumes.handover import build_patch, is_detached, record_of
from kubekit.words.core import (
    PERSISTENT_VOLUME_CLAIMS,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
)
from kubekit.words.meta import ObjectMeta, OwnerReference, PartialObject

NOW = datetime(2026, 11, 30, 10, 0, tzinfo=UTC)
MACHINE = OwnerReference(
    api_version="kubevirt.io/v1", kind="VirtualMachine", name="vm", uid="vm", controller=True, block_owner_deletion=True
)
SELF = OwnerReference(
    api_version="cdi.kubevirt.io/v1beta1",
    kind="DataVolume",
    name="disk",
    uid="dv",
    controller=True,
    block_owner_deletion=True,
)
ASKED = {names.DELETE_AFTER_COMPLETION: "true"}


def volume(
    *owners: OwnerReference, age: int = 0, phase: str = "Succeeded", ready: str | None = "True", **meta: Any
) -> DataVolume:
    """A DataVolume that has been Ready for so many seconds and asks for its collection."""
    since = (NOW - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = (DataVolumeCondition(type="Ready", status=ready, last_transition_time=since),) if ready else ()
    given = {"annotations": ASKED, "owner_references": owners or None, **meta}
    return DataVolume(
        metadata=ObjectMeta(name="disk", namespace="vms", uid="dv", resource_version="7", **given),
        status=DataVolumeStatus(claim_name="disk", phase=phase, conditions=conditions),
    )


def claim(*owners: OwnerReference, phase: str = "Bound", **meta: Any) -> PersistentVolumeClaim:
    return PersistentVolumeClaim(
        metadata=ObjectMeta(
            name="disk", namespace="vms", uid="pvc", resource_version="9", owner_references=owners, **meta
        ),
        spec=PersistentVolumeClaimSpec(volume_name="pv-1"),
        status=PersistentVolumeClaimStatus(phase=phase),
    )


def handed_over(of: DataVolume, *back: OwnerReference) -> PersistentVolumeClaim:
    """The claim after the patch of the handover; `back` are owners that somebody has added since."""
    before = claim(SELF)
    patch = build_patch(before, of, record=record_of(of, collected="2026-11-30T10:00:00Z"), demoted=frozenset())[
        "metadata"
    ]
    owners = tuple(
        OwnerReference(**{_snake(key): value for key, value in each.items()}) for each in patch["ownerReferences"]
    )
    return claim(*owners, *back, annotations=patch["annotations"])


def _snake(key: str) -> str:
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in key)


def facts(of: DataVolume, its: PersistentVolumeClaim | None, *, ttl: int | None = 0, **more: Any) -> Facts:
    settings = more.pop("settings", Settings(ttl=ttl))
    base = {"namespace": PartialObject(metadata=ObjectMeta(name="vms")), "config": CDIConfig(), **more}
    return Facts(now=NOW, volume=of, claim=its, settings=settings, **base)


def told(plan: Plan[Any]) -> str:
    """The reason that is written on the DataVolume, empty when none is."""
    said = [step.annotations[names.COLLECTION] for step in plan.steps if isinstance(step, Annotate)]
    assert len([step for step in plan.steps if isinstance(step, Emit)]) == len([each for each in said if each])
    return (said[0] or "").partition(":")[0] if said else ""


# the handover


def test_the_finalizer_comes_before_everything() -> None:
    [step] = decide(facts(volume(), claim(SELF))).steps
    assert step == Patch(DATA_VOLUMES, volume().metadata, {"metadata": {"finalizers": [names.FINALIZER]}})


def test_with_the_finalizer_the_claim_is_detached_in_one_patch() -> None:
    held = volume(finalizers=(names.FINALIZER,))
    [step] = decide(facts(held, claim(SELF))).steps
    assert isinstance(step, Patch)
    assert (step.resource, step.target) == (PERSISTENT_VOLUME_CLAIMS, claim(SELF).metadata)
    assert step.patch["metadata"]["ownerReferences"] == ()
    annotations = step.patch["metadata"]["annotations"]
    assert is_detached(ObjectMeta(annotations=annotations), uid="dv")


def test_a_detached_claim_lets_the_volume_be_deleted_as_it_was_seen() -> None:
    held = volume(finalizers=(names.FINALIZER,))
    [step] = decide(facts(held, handed_over(held))).steps
    assert step == Delete(DATA_VOLUMES, held.metadata, as_seen=True)


def test_a_finalizer_that_somebody_has_taken_away_comes_back_before_the_deletion() -> None:
    [step] = decide(facts(volume(), handed_over(volume()))).steps
    assert isinstance(step, Patch)
    assert step.patch == {"metadata": {"finalizers": [names.FINALIZER]}}


def test_n19_an_owner_that_comes_back_is_taken_away_again_before_and_after_the_deletion() -> None:
    for meta in ({}, {"deletion_timestamp": "2026-11-30T10:00:00Z"}):
        held = volume(finalizers=(names.FINALIZER,), **meta)
        [step] = decide(facts(held, handed_over(held, SELF))).steps
        assert isinstance(step, Patch)
        assert step.resource is PERSISTENT_VOLUME_CLAIMS
        assert step.patch["metadata"]["ownerReferences"] == ()


def test_the_finalizer_goes_when_the_server_shows_the_claim_detached() -> None:
    going = volume(finalizers=("other", names.FINALIZER), deletion_timestamp="2026-11-30T10:00:00Z")
    its = handed_over(going)
    proof, release, event = decide(facts(going, its)).steps
    assert proof == ProveSame(PERSISTENT_VOLUME_CLAIMS, its.metadata)
    assert release == Patch(DATA_VOLUMES, going.metadata, {"metadata": {"finalizers": ["other"]}})
    assert isinstance(event, Emit)
    assert (event.type, event.reason) == ("Normal", COLLECTED)


@pytest.mark.parametrize("its", [claim(SELF), claim(), None], ids=["not detached", "not ours", "gone"])
def test_what_somebody_else_has_deleted_goes_when_the_server_says_the_same(its: PersistentVolumeClaim | None) -> None:
    going = volume(finalizers=(names.FINALIZER,), deletion_timestamp="2026-11-30T10:00:00Z")
    proof, release = decide(facts(going, its)).steps
    assert isinstance(proof, ProveSame if its is not None else ProveGone)
    assert release == Patch(DATA_VOLUMES, going.metadata, {"metadata": {"finalizers": []}})


def test_a_volume_that_is_being_deleted_without_us_is_left_alone() -> None:
    assert decide(facts(volume(deletion_timestamp="2026-11-30T10:00:00Z"), claim(SELF))) == REST


def test_n5_one_that_is_refused_in_the_last_moment_gets_its_claim_back() -> None:
    refused = {names.DELETE_AFTER_COMPLETION: "false"}
    held = volume(finalizers=(names.FINALIZER,), annotations=refused)
    [back] = decide(facts(held, handed_over(held))).steps
    assert isinstance(back, Patch)
    assert [each["uid"] for each in back.patch["metadata"]["ownerReferences"]] == ["dv"]
    [release] = decide(facts(held, claim(SELF))).steps
    assert release == Patch(DATA_VOLUMES, held.metadata, {"metadata": {"finalizers": []}})


# owners


def owned(found: dict[str, OwnerFound] | None, age: float = 0.0, **more: Any) -> Facts:
    known = Known(owners=None if found is None else OwnersFound(found, age))
    return facts(volume(MACHINE), claim(SELF), owners=found, known=known, kubevirt="v1.3.0", **more)


def test_owners_are_asked_for_before_the_first_step_and_again_when_that_is_long_ago() -> None:
    assert decide(owned(None)).steps == (AskOwners((MACHINE,)),)
    assert decide(owned({"vm": OwnerFound(True)}, age=31)).steps == (AskOwners((MACHINE,)),)
    [step] = decide(owned({"vm": OwnerFound(True)})).steps
    assert isinstance(step, Patch)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (OwnerFound(False), "OwnerGone"),
        (OwnerFound(None, problem="no such kind"), "OwnerUnknown"),
        (OwnerFound(True, may_block=False), "FinalizerForbidden"),
    ],
)
def test_n6_n7_in_doubt_about_an_owner_it_stays(found: OwnerFound, reason: str) -> None:
    assert told(decide(owned({"vm": found}))) == reason


@pytest.mark.parametrize(
    ("version", "collected"),
    [("v0.56.1", False), ("0.57.0", True), ("v1.4.9-rc.1", True), ("v1.5.0", False), ("", False), ("nonsense", False)],
)
def test_n18_a_machine_keeps_its_volume_unless_its_kubevirt_does_without(version: str, collected: bool) -> None:
    found = {"vm": OwnerFound(True)}
    known = Known(owners=OwnersFound(found))
    of = facts(volume(MACHINE), claim(SELF), owners=found, known=known, kubevirt=version)
    assert told(decide(of)) == ("" if collected else "VirtualMachineOwned")
    allowed = facts(
        volume(MACHINE, finalizers=(names.FINALIZER,)),
        claim(SELF),
        owners=found,
        known=known,
        kubevirt=version,
        settings=Settings(ttl=0, machines=Machines.COLLECT),
    )
    [step] = decide(allowed).steps
    assert isinstance(step, Patch)
    [owner] = step.patch["metadata"]["ownerReferences"]
    assert owner["controller"] is collected, "a KubeVirt that makes it again lets it adopt the claim"


# time


@pytest.mark.parametrize(
    ("label", "own", "config", "age", "due"),
    [
        (None, None, None, 999, False),
        (None, None, -1, 999, False),
        (None, None, 0, 0, True),
        (None, None, 10, 5, False),
        (None, None, 10, 10, True),
        (None, -1, 10, 99, False),
        (None, 0, 999, 0, True),
        ("0", -1, -1, 0, True),
        ("-1", 0, 0, 99, False),
        ("100", 0, 0, 99, False),
    ],
)
def test_n1_n2_n4_the_namespace_then_our_setting_then_cdi_say_how_long_it_stays(
    label: str | None,
    own: int | None,
    config: int | None,
    age: int,
    due: bool,
) -> None:
    labels = None if label is None else {names.TTL_LABEL: label}
    plan = decide(
        facts(
            volume(age=age),
            claim(SELF),
            ttl=own,
            namespace=PartialObject(metadata=ObjectMeta(name="vms", labels=labels)),
            config=CDIConfig(spec=CDIConfigSpec(data_volume_ttl_seconds=config)),
        )
    )
    assert [isinstance(step, Patch) for step in plan.steps] == ([True] if due else [])


def test_g3_it_wakes_when_its_time_comes_and_tells_a_wait_that_is_long() -> None:
    soon = decide(facts(volume(age=5), claim(SELF), ttl=30))
    assert soon.steps == ()
    assert soon.wake_after == pytest.approx(25, abs=1)
    late = decide(facts(volume(age=5), claim(SELF), ttl=3600))
    assert told(late) == "TTL"
    again = volume(age=5, annotations={**ASKED, names.COLLECTION: "TTL: as before"})
    assert decide(facts(again, claim(SELF), ttl=3600)).steps == ()


@pytest.mark.parametrize("said", ["", "1h", "1.5", "9999999999", "٣", "-", "--1", "10\n"])
def test_a_label_that_is_no_number_switches_off_and_says_so(said: str) -> None:
    space = PartialObject(metadata=ObjectMeta(name="vms", labels={names.TTL_LABEL: said}))
    assert told(decide(facts(volume(), claim(SELF), namespace=space))) == "InvalidTTL"


def test_what_is_not_known_yet_is_waited_for() -> None:
    for more in ({"namespace": Unread.NOT_SYNCED}, {"config": Unread.NOT_SYNCED}):
        plan = decide(facts(volume(), claim(SELF), **more))
        assert plan.steps == ()
        assert plan.wake_after is not None
    for more in ({"namespace": Unread.FORBIDDEN}, {"config": Unread.MISSING}):
        assert decide(facts(volume(), claim(SELF), **more)).steps


# what speaks against it


def marked_by_another(of: PersistentVolumeClaim) -> PersistentVolumeClaim:
    annotations = handed_over(changed(volume(), metadata=changed(volume().metadata, uid="before"))).metadata.annotations
    return changed(of, metadata=changed(of.metadata, annotations=annotations))


AGAINST: list[tuple[str, Callable[[], Facts]]] = [
    ("", lambda: facts(volume(annotations={}), claim(SELF))),
    ("", lambda: facts(volume(annotations={names.DELETE_AFTER_COMPLETION: ""}), claim(SELF))),
    ("", lambda: facts(volume(annotations={names.DELETE_AFTER_COMPLETION: "True"}), claim(SELF))),
    ("Refused", lambda: facts(volume(annotations={names.DELETE_AFTER_COMPLETION: "false"}), claim(SELF))),
    (
        "Refused",
        lambda: facts(volume(annotations={**ASKED, names.DELETE_AFTER_COMPLETION_DESIGNED: "false"}), claim(SELF)),
    ),
    ("", lambda: facts(volume(phase="ImportInProgress"), claim(SELF))),
    ("NotSucceeded", lambda: facts(volume(phase="Failed"), claim(SELF))),
    ("Paused", lambda: facts(volume(phase="Paused"), claim(SELF))),
    ("NotReady", lambda: facts(volume(ready=None), claim(SELF))),
    ("NotReady", lambda: facts(volume(ready="False"), claim(SELF))),
    ("ClaimNotFound", lambda: facts(volume(), None)),
    ("ClaimNotBound", lambda: facts(volume(), claim(SELF, phase="Pending"))),
    ("ClaimNotBound", lambda: facts(volume(), claim(SELF, phase="Lost"))),
    ("ClaimNotBound", lambda: facts(volume(), claim(SELF, deletion_timestamp="2026-11-30T10:00:00Z"))),
    ("ClaimNotOurs", lambda: facts(volume(), claim())),
    ("ClaimNotOurs", lambda: facts(volume(), claim(MACHINE))),
    ("AlreadyCollectedOnce", lambda: facts(volume(), marked_by_another(claim(SELF)))),
    (
        "GitOpsManaged",
        lambda: facts(volume(annotations={**ASKED, names.STAMPED: "", "meta.helm.sh/release-name": "a"}), claim(SELF)),
    ),
    ("ForeignFinalizer", lambda: facts(volume(finalizers=("example.com/wait",)), claim(SELF))),
    ("OldCDICollects", lambda: facts(volume(), claim(SELF), collector="CDI v1.58.0")),
    ("DryRun", lambda: facts(volume(), claim(SELF), settings=Settings(ttl=0, dry_run=True))),
]


@pytest.mark.parametrize(
    ("reason", "given"), AGAINST, ids=[f"{number}-{reason}" for number, (reason, _) in enumerate(AGAINST)]
)
def test_it_stays_untouched_and_says_why(reason: str, given: Callable[[], Facts]) -> None:
    plan = decide(given())
    assert told(plan) == reason
    assert all(isinstance(step, Annotate | Emit) for step in plan.steps)


def test_g4_what_the_user_asks_for_counts_also_where_a_program_keeps_the_object() -> None:
    of = volume(annotations={**ASKED, "argocd.argoproj.io/tracking-id": "apps:x"})
    assert isinstance(decide(facts(of, claim(SELF))).steps[0], Patch)


def test_a_reason_that_holds_no_longer_is_taken_away() -> None:
    of = volume(annotations={**ASKED, names.COLLECTION: "Paused: ..."}, phase="ImportInProgress")
    [step] = decide(facts(of, claim(SELF))).steps
    assert step == Annotate(DATA_VOLUMES, of.metadata, {names.COLLECTION: None})


def test_what_speaks_against_it_after_the_finalizer_takes_that_away_and_nothing_else() -> None:
    for given in (claim(SELF, phase="Lost"), claim(MACHINE), None):
        held = volume(finalizers=(names.FINALIZER,))
        assert decide(facts(held, given)).steps == (
            Patch(DATA_VOLUMES, held.metadata, {"metadata": {"finalizers": []}}),
        )
