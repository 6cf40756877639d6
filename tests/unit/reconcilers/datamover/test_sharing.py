"""What DataMovers of one claim know of each other, and what the caches keep of a claim for it."""

from typing import Any

import pytest
from msgspec.structs import replace

from datamover.api import copy_trigger, reasons
from datamover.api.copy_trigger import CONSUMED_ANNOTATION, TRIGGER_ANNOTATION, USE_ANNOTATION
from datamover.api.names import CopyMethod, Phase
from datamover.reconcilers.cluster import Cluster
from datamover.reconcilers.datamover.caches import Caches
from datamover.reconcilers.datamover.sharing import sharer_of
from datamover.reconcilers.projection import project_claim
from datamover.volumes.copy_trigger import Made, Sharer, Told
from kubekit.words.meta import Condition
from support import builders
from support.clock import VirtualClock


def mover(
    phase: str = Phase.CREATING_CLONE, *, told: str | None = None, stalled: str | None = None, **fields: Any
) -> Any:
    status = builders.status(phase, run=builders.run(copy_method=fields.pop("method", CopyMethod.CLONE)))
    conditions = [each for each in status.conditions or () if each.type != "Stalled" or stalled is None]
    if stalled is not None:
        conditions.append(Condition(type="Stalled", status="True", reason=stalled))
    if told is not None:
        conditions.append(Condition(type="CopyTriggered", status="False", reason=told))
    return builders.data_mover(status=replace(status, conditions=tuple(conditions)), **fields)


def clone(**fields: Any) -> Any:
    made = builders.clone(**fields)
    return replace(made, metadata=replace(made.metadata, annotations={CONSUMED_ANNOTATION: "go1"}))


SHARERS: dict[str, tuple[Any, Any, Sharer | None]] = {
    "it has just begun": (mover(), None, Sharer(Told.NOTHING)),
    "it waits": (
        mover(told=reasons.COPY_TRIGGER_WAITING, stalled=reasons.COPY_TRIGGER_WAITING),
        None,
        Sharer(Told.WAITING),
    ),
    "it is stopped by something else": (mover(stalled=reasons.PERMISSION_MISSING), None, None),
    "it is suspended": (mover(suspend=True), None, None),
    "its copy is there": (
        mover(Phase.CREATING_POD, told=reasons.COPY_TRIGGER_COMPLETED),
        clone(),
        Sharer(Told.COMPLETED, Made("go1", ready=True, at=builders.CREATED)),
    ),
    "its copy is in the making": (
        mover(told=reasons.COPY_TRIGGER_RECEIVED),
        clone(phase="Pending"),
        Sharer(Told.RECEIVED, Made("go1", ready=False, at=builders.CREATED)),
    ),
    "the copy of its name is somebody else's": (mover(Phase.CREATING_POD), clone(owner=builders.OTHER_UID), None),
    "its copy is gone, and it will not take another": (mover(Phase.CREATING_POD), None, None),
    "it has ended": (mover(Phase.COMPLETED), clone(), None),
    "it has failed": (mover(Phase.FAILED), clone(), None),
    "it is being deleted": (mover(deletion_timestamp=builders.CREATED), None, None),
    "it takes no copy": (mover(Phase.CREATING_POD, method=CopyMethod.DIRECT), None, None),
    "it has not begun": (builders.data_mover(), None, None),
}


@pytest.mark.parametrize("case", SHARERS)
def test_what_a_data_mover_tells_the_others(case: str) -> None:
    found, claim, told = SHARERS[case]
    assert sharer_of(found, claim=claim, snapshot=None) == told


def test_the_others_are_found_by_the_source_and_only_where_its_user_wants_triggers() -> None:
    cluster = Cluster(None, clock=VirtualClock())  # type: ignore[arg-type]
    caches = Caches(None, cluster=cluster, clock=VirtualClock())  # type: ignore[arg-type]
    for number, each in enumerate((mover(name="one", uid="u-1"), mover(name="two", uid="u-2")), start=1):
        caches.movers.store.put(replace(each, metadata=replace(each.metadata, resource_version=str(number))))
    source = builders.persistent_volume_claim()
    wanted = replace(source, metadata=replace(source.metadata, annotations={USE_ANNOTATION: ""}))
    assert caches.sharers(wanted, "u-1") == (Sharer(Told.NOTHING),)
    assert len(caches.sharers(wanted, "u-3")) == 2
    assert caches.sharers(source, "u-1") == (), "nobody looks where nobody wants it"
    assert caches.sharers(None, "u-1") == ()


def test_the_caches_keep_the_annotations_of_triggers_and_no_others_of_that_group() -> None:
    claim = builders.persistent_volume_claim()
    other = {"volsync.backube/snapname": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    kept = dict.fromkeys(copy_trigger.ALL, "x")
    cached = project_claim(replace(claim, metadata=replace(claim.metadata, annotations={**kept, **other})))
    assert cached.metadata.annotations == kept
    assert TRIGGER_ANNOTATION in kept
    assert project_claim(cached) == cached
