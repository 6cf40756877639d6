"""What holds of every verdict, whatever is in the cluster."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from datamover.api.velero.phases import COLLECTED, ENDED, UNSUCCESSFUL, WITH_ERRORS
from datamover.api.velero.uploads import DataUpload, PodVolumeBackup
from datamover.verdicts.configuration import Configuration
from datamover.verdicts.verdict import SHOWN_LIMIT, Kind, State, Unread, Verdict
from kubekit.words.core import PersistentVolumeClaim
from kubekit.words.snapshot import VolumeSnapshot
from support.control_planes import (
    at,
    backup,
    claim,
    content,
    hcp,
    held,
    judge,
    pod_volume_backup,
    snapshot,
    upload,
)

ORDER = ["", "New", "Accepted", "Prepared", "InProgress", "Completed"]
PHASES = st.sampled_from([None, *ORDER, "Canceling", "Canceled", "Failed", "Floating"])
CLAIMS = st.sampled_from(["data-etcd-0", "data-etcd-1", "data-etcd-2", "logs"])
BACKUP_PHASES = st.sampled_from([None, "", "New", "InProgress", *sorted(COLLECTED), "Failed"])
AMOUNTS = st.none() | st.integers(-10, 2**65) | st.floats()
MINUTES = st.sampled_from([0, 2, 9, 11, 16, 300])

UPLOADS = st.builds(
    lambda claim, phase, done, total: upload(claim, phase, done=done, total=total), CLAIMS, PHASES, AMOUNTS, AMOUNTS
)
READY = st.sampled_from([None, True, False])
ERRORS = st.sampled_from([None, "", "rpc"])
SNAPSHOTS = st.builds(
    lambda claim, ready, error, bound, status: snapshot(claim, ready=ready, error=error, bound=bound, status=status),
    CLAIMS, READY, ERRORS, st.booleans(), st.booleans(),
)  # fmt: skip
CONTENTS = st.builds(lambda claim, ready, error, status: content(claim, ready=ready, error=error, status=status), CLAIMS, READY, ERRORS, st.booleans())  # fmt: skip
POD_BACKUPS = st.builds(
    lambda pod, phase: pod_volume_backup(pod, phase, of=backup()), st.sampled_from(["etcd-0", "etcd-1"]), PHASES
)
KEPT = st.one_of(
    st.builds(held, CLAIMS),
    st.builds(lambda name: held(name, labels={"velero.io/exclude-from-backup": "true"}), CLAIMS),
    st.builds(lambda name: claim(name, created=at(1), phase="Bound"), CLAIMS),
)
OBJECTS = st.lists(st.one_of(UPLOADS, SNAPSHOTS, CONTENTS, POD_BACKUPS, KEPT), max_size=8)
OTHER = backup(name="test-backup-2", uid="another")
FOREIGN = st.lists(
    st.one_of(
        st.builds(lambda claim, phase: upload(claim, phase, of=OTHER), CLAIMS, PHASES),
        st.builds(
            lambda claim, phase: upload(claim, phase, namespace="clusters-other", name="x-" + claim), CLAIMS, PHASES
        ),
        st.builds(lambda claim, ready: snapshot(claim + "-y", ready=ready, of=OTHER), CLAIMS, READY),
        st.builds(lambda claim, ready: snapshot(claim, ready=ready, namespace="clusters-other"), CLAIMS, READY),
        st.builds(lambda claim, ready: content(claim, ready=ready, namespace="clusters-other"), CLAIMS, READY),
        st.builds(lambda phase: pod_volume_backup("etcd-9", phase, of=OTHER), PHASES),
        st.builds(lambda name: held(name, namespace="clusters-other"), CLAIMS),
        st.builds(lambda phase: pod_volume_backup("etcd-9", phase, of=backup(), namespace="other"), PHASES),
    ),
    max_size=6,
)
CASES = st.fixed_dictionaries(
    {
        "phase": BACKUP_PHASES,
        "move": st.sampled_from([None, True, False]),
        "fs": st.sampled_from([None, True, False]),
        "platform": st.sampled_from(["AWS", "Azure", "Agent"]),
        "ha": st.booleans(),
        "minutes": MINUTES,
        "limit": st.booleans(),
        "errors": st.sampled_from([{}, {"errors": 2}, {"errors": 2, "backup_item_operations_failed": 2}]),
        "unread": st.lists(
            st.sampled_from([Kind.UPLOAD, Kind.SNAPSHOT, Kind.CONTENT, Kind.POD_VOLUME_BACKUP]), max_size=2
        ),
    }
)


def verdict(objects: list[Any], case: dict[str, Any]) -> Verdict:
    return judge(
        *objects,
        of=backup(case["phase"], move=case["move"], fs=case["fs"], status=case["errors"]),
        plane=hcp(case["platform"], ha=case["ha"]),
        now=at(case["minutes"]),
        configuration=Configuration.read({"dataUploadTimeout": "15"} if case["limit"] else {}),
        unread=tuple(Unread(kind, "forbidden") for kind in case["unread"]),
    )


def last(objects: list[Any]) -> list[Any]:
    """Return each object once: the last of its kind and name, as in a list of the API server."""
    return list({(type(each), each.metadata.name): each for each in objects}.values())


def moves(objects: list[Any]) -> list[Any]:
    return [each for each in last(objects) if hasattr(each, "phase")]


@given(OBJECTS, CASES)
def test_nothing_is_moved_while_something_of_it_is_not(objects: list[Any], case: dict[str, Any]) -> None:
    found = verdict(objects, case)
    if found.state is State.MOVED:
        assert all(each.phase == "Completed" for each in moves(objects))
        assert case["phase"] in COLLECTED
        assert found.completed == found.total > 0
        assert found.waits == ()
    if any(each.phase not in ENDED for each in moves(objects)):
        assert found.state in (State.WAITING, State.FAILED)


@given(OBJECTS, CASES)
def test_what_failed_is_never_anything_else(objects: list[Any], case: dict[str, Any]) -> None:
    found = verdict(objects, case)
    if any(each.phase in UNSUCCESSFUL for each in moves(objects)):
        assert found.state is State.FAILED
    assert bool(found.error) is (found.state is State.FAILED)
    assert not found.timed_out or found.state is State.FAILED


@given(OBJECTS, FOREIGN, CASES)
def test_objects_of_other_backups_and_namespaces_change_nothing(
    objects: list[Any], foreign: list[Any], case: dict[str, Any]
) -> None:
    assert verdict([*objects, *foreign], case) == verdict(objects, case)
    assert verdict([*foreign, *objects], case) == verdict(objects, case)


@given(OBJECTS, CASES, st.randoms(use_true_random=False))
def test_the_order_in_which_they_are_listed_changes_nothing(
    objects: list[Any], case: dict[str, Any], random: Any
) -> None:
    once = last(objects)
    mixed = list(once)
    random.shuffle(mixed)
    assert verdict(mixed, case) == verdict(once, case)


@given(OBJECTS, CASES)
def test_what_is_shown_is_bounded_and_counts_make_sense(objects: list[Any], case: dict[str, Any]) -> None:
    found = verdict(objects, case)
    assert 0 <= found.completed <= found.total
    assert 0 <= found.bytes_done <= found.bytes_total < 2**63
    assert 0 < len(found.description) <= 1_024
    assert len(found.waits) <= SHOWN_LIMIT
    assert found.state is not State.WAITING or found.waits
    assert found.state is not State.UNKNOWN or case["unread"] or (case["phase"] in WITH_ERRORS and not case["move"])
    assert all(row.bytes_done <= row.bytes_total for row in found.rows)
    assert sum(row.finished for row in found.rows) == found.completed
    if found.started is not None and found.updated is not None:
        assert found.started <= found.updated <= at(case["minutes"])


@given(OBJECTS, CASES)
def test_flags_follow_each_other(objects: list[Any], case: dict[str, Any]) -> None:
    found = verdict(objects, case)
    flags = found.flags
    assert flags.pv_backup_started or not flags.pv_backup_finished
    if found.state is State.MOVED:
        assert flags.pv_backup_finished
        assert flags.du_finished


@given(
    st.lists(
        st.tuples(CLAIMS, st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=4, unique_by=lambda each: each[0]
    ),
    CASES,
)
def test_uploads_that_go_on_never_take_anything_back(steps: list[tuple[str, int, int]], case: dict[str, Any]) -> None:
    case = {**case, "minutes": 2, "unread": []}
    before = verdict([upload(claim, ORDER[min(one, other)]) for claim, one, other in steps], case)
    after = verdict([upload(claim, ORDER[max(one, other)]) for claim, one, other in steps], case)
    assert after.completed >= before.completed
    assert after.total == before.total
    if before.state is State.MOVED:
        assert after.state is State.MOVED


@given(OBJECTS, CASES, MINUTES, MINUTES)
def test_time_alone_only_fails(objects: list[Any], case: dict[str, Any], one: int, other: int) -> None:
    early, late = sorted((one, other))
    before, after = verdict(objects, {**case, "minutes": early}), verdict(objects, {**case, "minutes": late})
    assert after.completed == before.completed
    if before.state is not after.state:
        assert (before.state, after.state) == (State.WAITING, State.FAILED)


@given(OBJECTS, CASES)
def test_uploads_that_cannot_be_read_are_never_taken_for_none(objects: list[Any], case: dict[str, Any]) -> None:
    # a kind that cannot be read brings no objects
    seen = [each for each in objects if not isinstance(each, DataUpload)]
    found = verdict(seen, {**case, "unread": [Kind.UPLOAD]})
    if case["move"]:
        assert found.state not in (State.MOVED, State.NOTHING_TO_MOVE)
    if found.state is State.FAILED:
        assert verdict(seen, {**case, "unread": []}).state is State.FAILED


def lost(objects: list[Any], case: dict[str, Any]) -> set[str]:
    """Return the claims that had a volume when a backup with errors began, and of which it has nothing."""
    if case["phase"] not in WITH_ERRORS or case["errors"].get("backup_item_operations_failed"):
        return set()
    once = last(objects)
    kept = {each.metadata.name for each in once if isinstance(each, PersistentVolumeClaim) and held(each.metadata.name) == each}  # fmt: skip
    moved = {each.spec.source_claim for each in once if isinstance(each, DataUpload)}
    taken = {each.spec.source.persistent_volume_claim_name for each in once if isinstance(each, VolumeSnapshot)}
    return kept - moved - taken


@given(OBJECTS, CASES)
def test_no_claim_is_missing_in_a_backup_with_errors_that_is_moved(objects: list[Any], case: dict[str, Any]) -> None:
    found = verdict(objects, case)
    missing = lost(objects, case)
    if missing:
        assert found.state not in (State.MOVED, State.NOTHING_TO_MOVE)
    named = {wait.claim for wait in found.waits if wait.kind == Kind.CLAIM}
    assert named <= missing
    if not case["unread"] and case["move"]:
        assert named == missing


def left_by_velero(objects: list[Any], case: dict[str, Any]) -> list[Any]:
    """Return what Velero may have left, of all that can be thought of.

    Nobody makes an upload that was not asked for. Once all is collected each pod volume backup has ended, and each snapshot that is moved has its upload; else
    Velero had errors.
    """
    if case["phase"] not in COLLECTED:
        return [each for each in objects if case["move"] or not isinstance(each, DataUpload)]
    errors = case["phase"] in WITH_ERRORS and not case["errors"].get("backup_item_operations_failed")
    moved = {each.spec.source_claim for each in objects if isinstance(each, DataUpload)}
    found: list[Any] = []
    for each in objects:
        if isinstance(each, DataUpload):
            there = case["move"]
        elif isinstance(each, PodVolumeBackup):
            there = each.phase == "Completed" or (each.phase in UNSUCCESSFUL and errors)
        elif isinstance(each, VolumeSnapshot):
            there = errors or not case["move"] or each.spec.source.persistent_volume_claim_name in moved
        else:
            there = True
        found += [each] if there else []
    return found


READS = {Kind.UPLOAD: DataUpload, Kind.POD_VOLUME_BACKUP: PodVolumeBackup, Kind.SNAPSHOT: VolumeSnapshot, Kind.CLAIM: PersistentVolumeClaim}  # fmt: skip


@given(OBJECTS, CASES, st.sampled_from(sorted(READS)))
def test_what_cannot_be_read_decides_nothing_that_it_would_not_decide(
    objects: list[Any], case: dict[str, Any], kind: str
) -> None:
    """Neither a failure nor a success comes of it."""
    objects = left_by_velero(objects, case)
    whole = verdict(objects, {**case, "unread": []})
    blind = verdict([each for each in objects if not isinstance(each, READS[kind])], {**case, "unread": [kind]})
    if blind.state is State.FAILED:
        assert whole.state is State.FAILED
    if blind.state in (State.MOVED, State.NOTHING_TO_MOVE):
        assert whole.state not in (State.WAITING, State.FAILED)
