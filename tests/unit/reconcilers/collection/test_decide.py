"""What is done for a DataVolume, as one table. Numbers are those of the table of cases in the docs."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace as changed

from datamover.api.cdi import names
from datamover.api.cdi.config import CDIConfig, CDIConfigSpec
from datamover.api.cdi.data_volume import (
    DATA_VOLUMES,
    DataVolume,
    DataVolumeCondition,
    DataVolumeSpec,
    DataVolumeStatus,
    HTTPSource,
    Source,
)
from datamover.plans.known import Known, OwnerFound, OwnersFound, Refusal
from datamover.plans.steps import REST, Annotate, AskOwners, Delete, Emit, Patch, Plan, ProveGone, ProveSame
from datamover.reconcilers.collection.decide import COLLECTED, GIVEN_BACK, decide
from datamover.reconcilers.collection.facts import Facts, Machines, Settings
from datamover.reconcilers.collection.obstacles import Reason
from datamover.reconcilers.projection import project_claim
from datamover.runs.facts import Unread
from datamover.volumes.handover import ANNOTATIONS_ROOM, build_patch, build_return, is_detached, read_record, record_of
from kubekit.words.core import (
    PERSISTENT_VOLUME_CLAIMS,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
)
from kubekit.words.meta import ObjectMeta, OwnerReference, PartialObject, Reference

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
    record = record_of(of, collected="2026-11-30T10:00:00Z")
    heirs = of.metadata.owner_references or ()
    patch = build_patch(before, of, heirs=heirs, record=record, demoted=frozenset())["metadata"]
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
    events = [step for step in plan.steps if isinstance(step, Emit)]
    assert len(events) == len([each for each in said if each and not each.startswith("TTL:")])
    return (said[0] or "").partition(":")[0] if said else ""


def detached_again(plan: Plan[Any]) -> Any:
    """The patch of the handover, which is sent only when the DataVolume is seen to be of the version that it names."""
    proof, step = plan.steps
    assert isinstance(proof, ProveSame)
    assert proof.resource is DATA_VOLUMES
    return step


# the handover


def test_the_finalizer_comes_before_everything() -> None:
    [step] = decide(facts(volume(), claim(SELF))).steps
    said = {names.HANDING_OVER: "pvc 9"}
    wanted = {"metadata": {"finalizers": [names.FINALIZER], "annotations": said}}
    assert step == Patch(DATA_VOLUMES, volume().metadata, wanted)


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize(("size", "fits"), [(250_000, True), (261_000, False), (262_144, False)])
def test_a_claim_whose_annotations_leave_no_room_for_the_record_stays_as_it_is(
    size: int, *, fits: bool, held: bool
) -> None:
    """An API server takes 262,144 bytes of annotations, and would refuse the patch when the finalizer is set."""
    of = volume(finalizers=(names.FINALIZER,) if held else ())
    full = project_claim(claim(SELF, annotations={"x": "y" * (size - 1)}))
    plan = decide(facts(of, full))
    patches = [each for each in plan.steps if isinstance(each, Patch)]
    if fits:
        assert patches[0].resource is (PERSISTENT_VOLUME_CLAIMS if held else DATA_VOLUMES)
    elif held:
        assert [each.patch["metadata"]["finalizers"] for each in patches] == [[]]
    else:
        assert patches == []
        assert told(plan) == Reason.CLAIM_FULL


def test_what_a_handover_writes_fits_into_the_room_that_is_kept_for_it() -> None:
    source = Source(http=HTTPSource(url="https://example.com/" + "\U0001f4be" * 900))
    of = changed(volume(), spec=DataVolumeSpec(source=source))
    held = handed_over(changed(of, metadata=changed(of.metadata, name="d" * 253)))
    written = sum(len(each.encode()) for item in (held.metadata.annotations or {}).items() for each in item)
    assert written < ANNOTATIONS_ROOM


def test_with_the_finalizer_the_claim_is_detached_in_one_patch() -> None:
    held = volume(finalizers=(names.FINALIZER,))
    proof, step = decide(facts(held, claim(SELF))).steps
    assert proof == ProveSame(DATA_VOLUMES, held.metadata)
    assert isinstance(step, Patch)
    assert (step.resource, step.target) == (PERSISTENT_VOLUME_CLAIMS, claim(SELF).metadata)
    assert step.patch["metadata"]["ownerReferences"] == ()
    annotations = step.patch["metadata"]["annotations"]
    assert is_detached(ObjectMeta(annotations=annotations), uid="dv")


def test_a_detached_claim_lets_the_volume_be_deleted_as_it_was_seen() -> None:
    held = volume(finalizers=(names.FINALIZER,))
    [step] = decide(facts(held, handed_over(held))).steps
    assert step == Delete(DATA_VOLUMES, held.metadata, as_seen=True)


def test_n5_a_claim_that_was_handed_over_for_an_older_version_is_handed_over_again_before_the_deletion() -> None:
    held = volume(finalizers=(names.FINALIZER,))
    newer = changed(held, metadata=changed(held.metadata, resource_version="8"))
    step = detached_again(decide(facts(newer, handed_over(held))))
    assert isinstance(step, Patch)
    assert '"version":"8"' in step.patch["metadata"]["annotations"][names.RECORD]


def test_a_finalizer_that_somebody_has_taken_away_comes_back_before_the_deletion() -> None:
    [step] = decide(facts(volume(), handed_over(volume()))).steps
    assert isinstance(step, Patch)
    assert step.patch["metadata"]["finalizers"] == [names.FINALIZER]


def test_n19_an_owner_that_comes_back_is_taken_away_again_before_and_after_the_deletion() -> None:
    for meta in ({}, {"deletion_timestamp": "2026-11-30T10:00:00Z"}):
        held = volume(finalizers=(names.FINALIZER,), **meta)
        step = detached_again(decide(facts(held, handed_over(held, SELF))))
        assert isinstance(step, Patch)
        assert step.resource is PERSISTENT_VOLUME_CLAIMS
        assert step.patch["metadata"]["ownerReferences"] == ()


def test_the_finalizer_goes_when_the_server_shows_the_claim_detached() -> None:
    going = volume(finalizers=("other", names.FINALIZER), deletion_timestamp="2026-11-30T10:00:00Z")
    its = handed_over(going)
    proof, release, of_claim, event = decide(facts(going, its, known=Known(deleted=True))).steps
    assert proof == ProveSame(PERSISTENT_VOLUME_CLAIMS, its.metadata)
    assert release == Patch(DATA_VOLUMES, going.metadata, {"metadata": {"finalizers": ["other"]}})
    assert isinstance(event, Emit)
    assert isinstance(of_claim, Emit)
    assert [(each.type, each.reason) for each in (of_claim, event)] == [("Normal", COLLECTED)] * 2
    assert of_claim.about == event.related == Reference(PERSISTENT_VOLUME_CLAIMS, its.metadata)


def test_a_claim_is_handed_over_once_more_when_it_is_not_certain_that_we_deleted_its_volume() -> None:
    # Its user may have refused, and deleted it then: the patch that was to give the claim back may still be on its way.
    held = volume(finalizers=(names.FINALIZER,))
    meta = changed(held.metadata, resource_version="8", deletion_timestamp="2026-11-30T10:00:00Z")
    going = changed(held, metadata=meta)
    step = detached_again(decide(facts(going, handed_over(held))))
    assert isinstance(step, Patch)
    assert step.resource is PERSISTENT_VOLUME_CLAIMS
    assert '"going":true' in step.patch["metadata"]["annotations"][names.RECORD]
    later = changed(going, metadata=changed(meta, resource_version="9"))
    after = claim(annotations=step.patch["metadata"]["annotations"])
    assert isinstance(decide(facts(later, after)).steps[0], ProveSame)


BEGUN = {**ASKED, names.HANDING_OVER: "pvc 9"}


@pytest.mark.parametrize("its", [claim(SELF), claim(), None], ids=["not detached", "not ours", "gone"])
def test_what_somebody_else_has_deleted_goes_when_the_server_says_the_same(its: PersistentVolumeClaim | None) -> None:
    going = volume(finalizers=(names.FINALIZER,), deletion_timestamp="2026-11-30T10:00:00Z", annotations=BEGUN)
    proof, release = decide(facts(going, its)).steps
    assert isinstance(proof, ProveSame if its is not None else ProveGone)
    wanted = {"metadata": {"finalizers": [], "annotations": {names.HANDING_OVER: None}}}
    assert release == Patch(DATA_VOLUMES, going.metadata, wanted)


def erase(its: PersistentVolumeClaim, *keys: str) -> PersistentVolumeClaim:
    """The claim in a later version, without these annotations."""
    kept = {key: value for key, value in (its.metadata.annotations or {}).items() if key not in keys}
    return changed(its, metadata=changed(its.metadata, annotations=kept, resource_version="10"))


def own(its: PersistentVolumeClaim) -> PersistentVolumeClaim:
    owners = (*(its.metadata.owner_references or ()), SELF)
    return changed(its, metadata=changed(its.metadata, owner_references=owners, resource_version="10"))


def name_otherwise(its: PersistentVolumeClaim) -> PersistentVolumeClaim:
    return changed(its, metadata=changed(its.metadata, uid="another"))


WRITTEN = (names.RECORD, names.CREATED_FOR, names.POPULATED_FOR, names.GARBAGE_COLLECTED, names.DELETE_AFTER_COMPLETION)
EDITS: dict[str, Callable[[PersistentVolumeClaim], PersistentVolumeClaim]] = {
    "its record is erased, and it is owned again": lambda its: own(erase(its, names.RECORD)),
    "all is put back": lambda its: own(erase(its, *WRITTEN)),
    "all is put back into a claim that is another one": lambda its: name_otherwise(own(erase(its, *WRITTEN))),
    "record and guard are erased": lambda its: erase(its, *WRITTEN),
    "its record is another one's": lambda its: own(
        changed(its, metadata=changed(its.metadata, annotations={names.RECORD: '{"uid":"x","name":"disk"}'}))
    ),
}
LATER = {"finalizers": (names.FINALIZER,), "deletion_timestamp": "2026-11-30T10:00:00Z", "annotations": BEGUN}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize(
    "meta", [LATER, {**LATER, "annotations": ASKED}], ids=["it says what is handed over", "it says nothing any more"]
)
def test_n19_whoever_undoes_what_was_written_on_a_claim_does_not_have_it_go_with_a_volume_that_we_have_deleted(
    edit: str, meta: dict[str, Any]
) -> None:
    given = volume(finalizers=(names.FINALIZER,), annotations=BEGUN)
    going, its = volume(**meta), EDITS[edit](handed_over(given))
    if not its.metadata.owned_by("dv") and meta["annotations"] is ASKED:
        return  # it is not the volume's, and nobody can tell that it ever was
    step = detached_again(decide(facts(going, its)))
    assert isinstance(step, Patch)
    assert step.resource is PERSISTENT_VOLUME_CLAIMS
    assert "dv" not in [each["uid"] for each in step.patch["metadata"]["ownerReferences"]]
    after = changed(its, metadata=changed(its.metadata, owner_references=(), annotations=step.patch["metadata"]["annotations"]))  # fmt: skip
    assert is_detached(after.metadata, uid="dv")
    proof, release, *_ = decide(facts(going, after)).steps
    assert isinstance(proof, ProveSame)
    assert isinstance(release, Patch)
    assert release.patch["metadata"]["finalizers"] == []


def test_n19_nobody_forges_on_a_volume_that_we_have_deleted_that_its_claim_is_untouched() -> None:
    its = claim(SELF)
    step = detached_again(decide(facts(volume(**LATER), its, known=Known(deleted=True))))
    assert isinstance(step, Patch)
    assert step.resource is PERSISTENT_VOLUME_CLAIMS


@pytest.mark.parametrize(
    "its",
    [
        erase(claim(annotations={names.CREATED_FOR: "dv", names.POPULATED_FOR: ""})),
        erase(claim(MACHINE)),
        name_otherwise(claim()),
        claim(SELF, deletion_timestamp="2026-11-30T10:00:00Z"),
    ],
    ids=["guarded", "somebody else's", "another claim", "going itself"],
)
def test_a_claim_that_cannot_go_with_its_volume_is_left_as_somebody_has_made_it(its: PersistentVolumeClaim) -> None:
    proof, release = decide(facts(volume(**LATER), its)).steps
    assert isinstance(proof, ProveSame)
    assert isinstance(release, Patch)
    assert release.resource is DATA_VOLUMES


def test_a_volume_that_is_being_deleted_without_us_is_left_alone() -> None:
    assert decide(facts(volume(deletion_timestamp="2026-11-30T10:00:00Z"), claim(SELF))) == REST


def test_n5_one_that_is_refused_in_the_last_moment_gets_its_claim_back() -> None:
    refused = {names.DELETE_AFTER_COMPLETION: "false"}
    held = volume(finalizers=(names.FINALIZER,), annotations=refused)
    proof, back, event = decide(facts(held, handed_over(held))).steps
    assert proof == ProveSame(DATA_VOLUMES, held.metadata)
    assert isinstance(event, Emit)
    assert (event.type, event.reason) == ("Normal", GIVEN_BACK)
    assert isinstance(back, Patch)
    assert [each["uid"] for each in back.patch["metadata"]["ownerReferences"]] == ["dv"]
    annotations = back.patch["metadata"]["annotations"]
    returned = claim(SELF, annotations={key: value for key, value in annotations.items() if value is not None})
    proof, release = decide(facts(held, returned)).steps
    assert proof == ProveSame(PERSISTENT_VOLUME_CLAIMS, returned.metadata)
    assert release == Patch(DATA_VOLUMES, held.metadata, {"metadata": {"finalizers": []}}, unhurried=True)
    # Another replica may have had it deleted meanwhile: then the disk stays.
    going = volume(finalizers=(names.FINALIZER,), annotations=refused, deletion_timestamp="2026-11-30T10:00:00Z")
    step = detached_again(decide(facts(going, returned)))
    assert isinstance(step, Patch)
    assert step.patch["metadata"]["ownerReferences"] == ()


def test_one_that_nobody_asks_for_any_more_in_the_last_moment_gets_its_claim_back() -> None:
    held = volume(finalizers=(names.FINALIZER,), annotations={})
    proof, back, _ = decide(facts(held, handed_over(held))).steps
    assert isinstance(proof, ProveSame)
    assert isinstance(back, Patch)
    assert [each["uid"] for each in back.patch["metadata"]["ownerReferences"]] == ["dv"]


def test_one_that_was_given_back_can_be_collected_later_and_is_owned_by_its_volume_until_then() -> None:
    first = handed_over(volume())
    back = build_return(first, volume())["metadata"]["annotations"]
    returned = {key: value for key, value in back.items() if value is not None}
    [step] = decide(facts(volume(), claim(SELF, annotations=returned))).steps
    assert isinstance(step, Patch)
    assert step.resource is DATA_VOLUMES
    assert told(decide(facts(volume(), claim(annotations=returned)))) == "ClaimNotOurs"
    _, detach = decide(facts(volume(finalizers=(names.FINALIZER,)), claim(SELF, annotations=returned))).steps
    assert isinstance(detach, Patch)
    record = read_record(ObjectMeta(annotations=detach.patch["metadata"]["annotations"]))
    assert record is not None
    assert not record.returned


# records that somebody else has written


RECORD_OF_OURS = {names.RECORD: '{"uid":"dv","name":"disk","version":"7"}'}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (volume(annotations={}), ""),
        (volume(annotations={names.DELETE_AFTER_COMPLETION: "false"}), "Refused"),
        (volume(phase="ImportInProgress"), ""),
        (volume(annotations={**ASKED, names.STAMPED: "", "meta.helm.sh/release-name": "a"}), "GitOpsManaged"),
        (volume(MACHINE), "VirtualMachineOwned"),
    ],
    ids=["not asked", "refused", "not completed", "GitOps", "machine"],
)
@pytest.mark.parametrize("its", [claim(SELF, annotations=RECORD_OF_OURS), handed_over(volume())], ids=["record", "all"])
def test_a_record_that_anybody_may_have_written_lets_no_volume_go(
    given: DataVolume, reason: str, its: PersistentVolumeClaim
) -> None:
    plan = decide(facts(given, its))
    assert told(plan) == reason
    assert all(isinstance(step, Annotate | Emit) for step in plan.steps)


def test_a_record_makes_nobody_elses_claim_ours() -> None:
    for its in (claim(annotations=RECORD_OF_OURS), claim(MACHINE, annotations=RECORD_OF_OURS)):
        assert told(decide(facts(volume(), its))) == "ClaimNotOurs"


@pytest.mark.parametrize(
    "said", ['{"x":' + "[" * 100_000, '{"uid":"dv","name":"\ud800"}', '{"uid":"dv","name":"' + "x" * 100_000 + '"}']
)
def test_a_record_that_cannot_be_read_counts_as_none(said: str) -> None:
    assert isinstance(decide(facts(volume(), claim(SELF, annotations={names.RECORD: said}))).steps[0], Patch)


# owners


def other(name: str = "a", **more: Any) -> OwnerReference:
    return OwnerReference(api_version="v1", kind="ConfigMap", name=name, uid=f"uid-{name}", **more)


@pytest.mark.parametrize("going", [{}, {"deletion_timestamp": "2026-11-30T10:00:00Z"}], ids=["there", "going"])
def test_an_owner_that_came_after_the_handover_is_not_given_to_the_claim(going: dict[str, Any]) -> None:
    # It was not asked for. Where it is gone already, Kubernetes would delete the claim as its child.
    before = handed_over(volume(finalizers=(names.FINALIZER,)))
    edited = volume(other(), finalizers=(names.FINALIZER,), **going)
    newer = changed(edited, metadata=changed(edited.metadata, resource_version="8"))
    step = detached_again(decide(facts(newer, before)))
    assert isinstance(step, Patch)
    assert step.patch["metadata"]["ownerReferences"] == ()


@pytest.mark.parametrize(
    ("found", "reason"),
    [(OwnerFound(False), "OwnerGone"), (OwnerFound(None, problem="no such kind"), "OwnerUnknown")],
)
def test_the_other_owners_of_a_claim_have_to_be_alive_as_well(found: OwnerFound, reason: str) -> None:
    # What is left with owners that are gone is deleted by Kubernetes; as long as the DataVolume is one of them it is not.
    its = claim(SELF, other(block_owner_deletion=True))
    assert decide(facts(volume(), its)).steps == (AskOwners((other(),)),)
    known = {"uid-a": found}
    plan = decide(facts(volume(), its, owners=known, known=Known(owners=OwnersFound(known))))
    assert told(plan) == reason
    alive = {"uid-a": OwnerFound(True)}
    plan = decide(facts(volume(), its, owners=alive, known=Known(owners=OwnersFound(alive))))
    assert isinstance(plan.steps[0], Patch)


def test_more_owners_than_anybody_needs_are_not_asked_for() -> None:
    same, many = (other(),) * 10_000, tuple(other(f"a{number}") for number in range(65))
    assert decide(facts(volume(*same), claim(SELF))).steps == (AskOwners((other(),)),)
    for of, its in ((volume(*many), claim(SELF)), (volume(), claim(SELF, *many))):
        plan = decide(facts(of, its))
        assert (told(plan), plan.wake_after) == ("OwnerUnknown", None)


def test_a_claim_never_becomes_its_own_owner() -> None:
    itself = OwnerReference(api_version="v1", kind="PersistentVolumeClaim", name="disk", uid="pvc")
    alive = {"pvc": OwnerFound(True)}
    held = volume(itself, finalizers=(names.FINALIZER,))
    _, step = decide(facts(held, claim(SELF), owners=alive, known=Known(owners=OwnersFound(alive)))).steps
    assert isinstance(step, Patch)
    assert step.patch["metadata"]["ownerReferences"] == ()


def owned(found: dict[str, OwnerFound] | None, age: float = 0.0, **more: Any) -> Facts:
    known = Known(owners=None if found is None else OwnersFound(found, age))
    return facts(volume(MACHINE), claim(SELF), owners=found, known=known, kubevirt="v1.3.0", **more)


def test_owners_are_asked_for_before_the_first_step_and_again_when_that_is_long_ago() -> None:
    assert decide(owned(None)).steps == (AskOwners((MACHINE,)),)
    assert decide(owned({"vm": OwnerFound(True)}, age=31)).steps == (AskOwners((MACHINE,)),)
    [step] = decide(owned({"vm": OwnerFound(True)})).steps
    assert isinstance(step, Patch)


def test_right_before_the_claim_becomes_theirs_owners_are_asked_for_once_more() -> None:
    held = volume(MACHINE, finalizers=(names.FINALIZER,))
    found = {"vm": OwnerFound(True)}
    for age, first in ((5.0, AskOwners), (0.0, ProveSame)):
        known = Known(owners=OwnersFound(found, age))
        plan = decide(facts(held, claim(SELF), owners=found, known=known, kubevirt="v1.3.0"))
        assert isinstance(plan.steps[0], first)


def test_g10_where_no_kubevirt_is_a_machine_is_an_owner_like_any_other() -> None:
    found = {"vm": OwnerFound(True)}
    held = volume(MACHINE, finalizers=(names.FINALIZER,))
    more = {"owners": found, "known": Known(owners=OwnersFound(found)), "kubevirt": Unread.MISSING}
    settings = Settings(ttl=0, machines=Machines.COLLECT)
    _, step = decide(facts(held, claim(SELF), settings=settings, **more)).steps
    assert isinstance(step, Patch)
    [owner] = step.patch["metadata"]["ownerReferences"]
    assert owner["controller"] is True
    assert step.patch["metadata"]["annotations"][names.GARBAGE_COLLECTED] == "true"
    assert told(decide(facts(volume(MACHINE), claim(SELF), **more))) == "VirtualMachineOwned"


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (OwnerFound(False), "OwnerGone"),
        (OwnerFound(False, problem="being deleted"), "OwnerGone"),
        (OwnerFound(None, problem="no such kind"), "OwnerUnknown"),
        (OwnerFound(True, may_block=False), "FinalizerForbidden"),
    ],
)
def test_n6_n7_in_doubt_about_an_owner_it_stays(found: OwnerFound, reason: str) -> None:
    assert told(decide(owned({"vm": found}))) == reason


@pytest.mark.parametrize("found", [OwnerFound(None, problem="a moment of bad luck"), OwnerFound(True, may_block=False)])
def test_n6_n7_what_nothing_tells_of_an_owner_is_asked_again_later(found: OwnerFound) -> None:
    soon, late = decide(owned({"vm": found}, age=299)), decide(owned({"vm": found}, age=300))
    assert soon.wake_after is not None
    assert late.steps == (AskOwners((MACHINE,)),)


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
    _, step = decide(allowed).steps
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
        ("never", 0, 0, 99, False),
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


@pytest.mark.parametrize("said", ["", "1h", "1.5", "9999999999", "٣", "-", "--1", "10\n", "Never"])
def test_a_label_that_is_no_number_switches_off_and_says_so(said: str) -> None:
    space = PartialObject(metadata=ObjectMeta(name="vms", labels={names.TTL_LABEL: said}))
    assert told(decide(facts(volume(), claim(SELF), namespace=space))) == "InvalidTTL"


def test_what_is_not_known_yet_is_waited_for() -> None:
    for more in ({"namespace": Unread.NOT_SYNCED}, {"config": Unread.NOT_SYNCED}):
        plan = decide(facts(volume(), claim(SELF), **more))
        assert plan == REST, "its own watch brings it"
    assert isinstance(decide(facts(volume(), claim(SELF), config=Unread.MISSING)).steps[0], Patch)


def test_a_setting_that_may_not_be_read_counts_as_never_and_says_which_right_is_missing() -> None:
    assert told(decide(facts(volume(), claim(SELF), namespace=Unread.FORBIDDEN))) == "TTLUnknown"
    assert told(decide(facts(volume(), claim(SELF), ttl=None, config=Unread.FORBIDDEN))) == "TTLUnknown"
    own = decide(facts(volume(), claim(SELF), ttl=0, config=Unread.FORBIDDEN))
    assert isinstance(own.steps[0], Patch), "our own setting comes before CDIConfig's"


def test_g2_where_nothing_sets_a_time_nothing_is_told_either() -> None:
    refused = volume(annotations={names.DELETE_AFTER_COMPLETION: "false"})
    for of in (volume(), volume(phase="Failed"), volume(ready=None), refused):
        assert decide(facts(of, claim(), ttl=-1)) == REST


def test_n2_a_time_that_is_taken_back_takes_back_what_was_told() -> None:
    of = volume(annotations={**ASKED, names.COLLECTION: "TTL: ..."})
    [step] = decide(facts(of, claim(SELF), ttl=-1)).steps
    assert step == Annotate(DATA_VOLUMES, of.metadata, {names.COLLECTION: None}, remark=True)


# the stamp


def new(**more: Any) -> DataVolume:
    return volume(annotations={}, creation_timestamp="2026-11-30T09:59:00Z", **more)


def test_g1_a_volume_that_was_made_while_a_time_was_set_is_stamped_in_any_phase() -> None:
    for of in (new(), new(phase="ImportInProgress")):
        [step] = decide(facts(of, claim(SELF), since=NOW - timedelta(minutes=1))).steps
        assert step == Annotate(DATA_VOLUMES, of.metadata, {**ASKED, names.STAMPED: "true"})


@pytest.mark.parametrize(
    ("ttl", "since", "settings"),
    [
        (0, NOW - timedelta(seconds=59), {}),
        (0, None, {}),
        (-1, NOW - timedelta(hours=1), {}),
        (0, NOW - timedelta(hours=1), {"stamp": False}),
    ],
    ids=["older", "nobody knows", "never", "not wanted"],
)
def test_g4_g12_what_is_older_or_not_to_be_stamped_is_left_alone(
    ttl: int, since: datetime | None, settings: dict[str, Any]
) -> None:
    assert decide(facts(new(), claim(SELF), since=since, settings=Settings(ttl=ttl, **settings))) == REST


def test_a_dry_run_stamps_nothing_and_says_what_would_be_collected() -> None:
    of = facts(new(), claim(SELF), since=NOW - timedelta(hours=1), settings=Settings(ttl=0, dry_run=True))
    assert told(decide(of)) == "DryRun"


def test_a_dry_run_asks_for_owners_before_it_says_anything() -> None:
    settings = Settings(ttl=0, dry_run=True)
    assert decide(owned(None, settings=settings)).steps == (AskOwners((MACHINE,)),)
    assert told(decide(owned({"vm": OwnerFound(False)}, settings=settings))) == "OwnerGone"
    assert told(decide(owned({"vm": OwnerFound(True)}, settings=settings))) == "DryRun"


# refusals


def refused(target: tuple[str, str], **more: Any) -> Known:
    refusal = Refusal("PermissionMissing", "the API server refuses to patch it", retry_after=8.0, target=target)
    return Known(refusal=refusal, **more)


def test_n6_a_step_that_the_server_refuses_is_told_once_and_waited_out() -> None:
    held = volume(finalizers=(names.FINALIZER,))
    known = refused(("PersistentVolumeClaim", "disk"))
    plan = decide(facts(held, claim(SELF), known=known))
    assert (told(plan), plan.wake_after) == ("RequestRefused", 8.0)
    again = volume(finalizers=(names.FINALIZER,), annotations={**ASKED, names.COLLECTION: "RequestRefused: ..."})
    assert decide(facts(again, claim(SELF), known=known)) == Plan((), 8.0)


def test_what_cannot_be_written_on_the_volume_itself_is_told_by_one_event() -> None:
    going = {"deletion_timestamp": "2026-11-30T10:00:00Z", "finalizers": (names.FINALIZER,)}
    for of, target in ((volume(), "DataVolume"), (volume(**going), "PersistentVolumeClaim")):
        plan = decide(facts(of, claim(SELF), known=refused((target, "disk"))))
        [event] = plan.steps
        assert isinstance(event, Emit)
        assert (event.type, event.reason, plan.wake_after) == ("Warning", "RequestRefused", 8.0)
        assert decide(facts(of, claim(SELF), known=refused((target, "disk"), told=event))) == Plan((), 8.0)


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
        "AlreadyCollectedOnce",
        lambda: facts(volume(), claim(SELF, annotations={names.GARBAGE_COLLECTED: "true"})),
    ),
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
    assert step == Annotate(DATA_VOLUMES, of.metadata, {names.COLLECTION: None}, remark=True)


def test_what_speaks_against_it_after_the_finalizer_takes_that_away_and_nothing_else() -> None:
    """The claim may only look so in a cache that is late, and another replica go on: the server is asked, and two that differ are not quick about it."""
    for given in (claim(SELF, phase="Lost"), claim(MACHINE), None):
        held = volume(finalizers=(names.FINALIZER,))
        proof, release = decide(facts(held, given)).steps
        assert release == Patch(DATA_VOLUMES, held.metadata, {"metadata": {"finalizers": []}}, unhurried=True)
        if given is None:
            assert proof == ProveGone(PERSISTENT_VOLUME_CLAIMS, held.metadata.name, certain=True)
        else:
            assert proof == ProveSame(PERSISTENT_VOLUME_CLAIMS, given.metadata)
