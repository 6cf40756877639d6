"""Marks of images whose claims are gone, and what the cluster is told of us."""

import dataclasses
from typing import Any

import pytest

from datamover.api.volsync.names import PopulatorReason, in_use_label
from datamover.cli.population import REGISTRATION
from datamover.plans.known import UNKNOWN, Refusal
from datamover.plans.steps import Create, Emit, Patch
from datamover.reconcilers import registration
from datamover.reconcilers.population import release
from datamover.runs.facts import Unread
from kubekit.words.apiextensions import CustomResourceDefinition, CustomResourceDefinitionStatus
from kubekit.words.meta import Condition, ObjectMeta
from kubekit.words.populator import VOLUME_POPULATORS, SourceKind, VolumePopulator
from kubekit.words.snapshot import VolumeSnapshot

OURS = SourceKind(group="volsync.backube", kind="ReplicationDestination")
SNAPSHOT = VolumeSnapshot(
    metadata=ObjectMeta(name="image", labels={in_use_label("u-1"): "data", in_use_label("u-2"): "other", "mine": "1"})
)


def test_the_claims_that_use_a_snapshot_are_read_from_its_labels() -> None:
    assert release.users_of(SNAPSHOT) == ("u-1", "u-2")
    assert release.users_of(VolumeSnapshot()) == ()


def test_marks_that_nobody_needs_are_taken_away_and_no_other_label() -> None:
    (step,) = release.decide(release.Marks(SNAPSHOT, (in_use_label("u-2"),))).steps
    assert isinstance(step, Patch)
    assert step.patch == {"metadata": {"labels": {in_use_label("u-2"): None}}}


def test_a_snapshot_that_is_needed_or_goes_is_let_be() -> None:
    going = VolumeSnapshot(metadata=ObjectMeta(name="image", deletion_timestamp="2026-11-29T12:00:00Z"))
    assert release.decide(release.Marks(SNAPSHOT, ())).steps == ()
    assert release.decide(release.Marks(going, (in_use_label("u-2"),))).steps == ()


def definition(established: str | None = "True", **meta: Any) -> CustomResourceDefinition:
    told = () if established is None else (Condition(type="Established", status=established),)
    name = VOLUME_POPULATORS.group_resource
    return CustomResourceDefinition(
        metadata=ObjectMeta(name=name, **meta), status=CustomResourceDefinitionStatus(conditions=told)
    )


def test_we_are_registered_where_nobody_is() -> None:
    (step,) = registration.decide(registration.Registered(definition(), REGISTRATION, Unread.MISSING)).steps
    assert isinstance(step, Create)
    assert step.manifest["metadata"] == {"name": "volsync-replicationdestination"}
    assert step.manifest["sourceKind"] == {"group": "volsync.backube", "kind": "ReplicationDestination"}


@pytest.mark.parametrize(
    ("found", "crd"),
    [
        (VolumePopulator(source_kind=OURS), definition()),
        (Unread.NOT_SYNCED, definition()),
        (Unread.FORBIDDEN, definition()),
        (Unread.MISSING, definition("False")),
        (Unread.MISSING, definition(None)),
        (Unread.MISSING, definition(deletion_timestamp="2026-11-29T12:00:00Z")),
    ],
)
def test_nothing_is_done_while_it_is_not_known_or_of_no_use(found: Any, crd: Any) -> None:
    assert registration.decide(registration.Registered(crd, REGISTRATION, found)).steps == ()


def test_somebody_elses_under_our_name_is_told_once_and_not_touched() -> None:
    theirs = VolumePopulator(source_kind=SourceKind(group="example.com", kind="Thing"))
    facts = registration.Registered(definition(), REGISTRATION, theirs)
    (event,) = registration.decide(facts).steps
    assert isinstance(event, Emit)
    assert event.reason == PopulatorReason.ERROR
    again = dataclasses.replace(facts, known=dataclasses.replace(UNKNOWN, told=event))
    assert registration.decide(again).steps == ()


def test_a_refusal_is_told_and_waited_out() -> None:
    known = dataclasses.replace(UNKNOWN, refusal=Refusal("PermissionMissing", "no right", retry_after=9))
    plan = registration.decide(registration.Registered(definition(), REGISTRATION, Unread.MISSING, known))
    assert plan.wake_after == 9
    (event,) = plan.steps
    assert isinstance(event, Emit)
    assert event.message == "no right"
