"""The document's seven diagrams, walked edge by edge: a row an edge, named by the nodes that it joins.

The flags of the diagrams are read from the cluster: "started" is that something is there, "finished" that all of it is done. "Wait" is a verdict that
waits, for whoever asks again; "Return Error" one that has failed.
"""

from typing import Any, NamedTuple

import pytest

from datamover.verdicts.platform import PLATFORMS, UNSUPPORTED, Strategy, rule_of
from datamover.verdicts.verdict import Flags, Kind, State, Verdict
from support.control_planes import (
    COLLECTED,
    at,
    backup,
    content,
    hcp,
    judge,
    pod_volume_backup,
    snapshot,
    upload,
)

STANDARD = ["AWS", "IBMCloud", "KubeVirt", "OpenStack", "Agent", "None"]


class Edge(NamedTuple):
    """Objects in the cluster, and what follows. `first` is the kind that is waited for, `log` the document's lines."""

    name: str
    objects: tuple[Any, ...]
    state: State
    first: str = ""
    log: tuple[str, ...] = ()
    minutes: float = 2
    move: bool = True
    error: str = ""
    flags: Flags | None = None


def walk(edge: Edge, *, platform: str = "AWS", fs: bool | None = False) -> Verdict:
    found = judge(*edge.objects, of=backup(COLLECTED, move=edge.move, fs=fs), plane=hcp(platform), now=at(edge.minutes))
    assert found.state is edge.state
    assert found.log[: len(edge.log)] == edge.log
    assert edge.error in found.error
    assert bool(edge.error) is bool(found.error)
    if edge.first:
        assert found.waits[0].kind == edge.first
    if edge.flags is not None:
        assert found.flags == edge.flags
    return found


def named(edges: list[Edge]) -> Any:
    return pytest.mark.parametrize("edge", edges, ids=[edge.name for edge in edges])


BEGIN = "Reconciling standard data mover for HCP"
BEGIN_AZURE = "Reconciling Azure data mover for HCP"
VSC, VS, DU = "VolumeSnapshotContent is done", "VolumeSnapshot is done", "DataUpload is done"
DEADLINE = "context deadline exceeded"
SNAPPED = (snapshot(), content())

# --- 1: main backup flow -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fs", [False, None], ids=["B false C", "B unset C"])
def test_1_volumes_are_not_copied_from_pods_so_the_data_mover_is_validated(fs: bool | None) -> None:
    walk(Edge("", (upload(phase="InProgress"),), State.WAITING, Kind.UPLOAD, (BEGIN, VSC, VS)), fs=fs)


def test_1_b_true_d_volumes_are_copied_from_pods() -> None:
    walk(Edge("", (pod_volume_backup(phase="InProgress"),), State.WAITING, Kind.POD_VOLUME_BACKUP), fs=True)


@pytest.mark.parametrize("platform", [*STANDARD, "Azure"])
def test_1_e_to_f_up_to_k_each_platform_has_its_logic(platform: str) -> None:
    found = walk(Edge("", (upload(phase="New"),), State.WAITING), platform=platform)
    assert found.log[0] == (BEGIN_AZURE if platform == "Azure" else BEGIN)


@pytest.mark.parametrize("platform", [*UNSUPPORTED, "Unsupported"])
def test_1_e_to_l_an_unsupported_platform_is_an_error(platform: str) -> None:
    found = judge(upload(), plane=hcp(platform))
    assert (found.state, found.error) == (State.UNSUPPORTED, f"unsupported platform type {platform}")


@pytest.mark.parametrize("platform", STANDARD)
def test_1_m_o_p_q_r_yes_both_finished_is_success(platform: str) -> None:
    walk(Edge("", (upload(),), State.MOVED, log=(BEGIN, VSC, VS, DU)), platform=platform)


def test_1_n_yes_pv_finished_is_success_on_azure() -> None:
    walk(Edge("", SNAPPED, State.MOVED, log=(BEGIN_AZURE, VSC, VS), move=False), platform="Azure")


MAIN = [
    Edge("W Y no AA", (snapshot(ready=None, bound=False),), State.WAITING, Kind.CONTENT, (BEGIN,)),
    Edge("Y yes BB EE no GG", (snapshot(ready=False), content()), State.WAITING, Kind.SNAPSHOT, (BEGIN, VSC)),
    Edge("EE yes HH KK no LL", (*SNAPPED, upload(phase="Prepared")), State.WAITING, Kind.UPLOAD, (BEGIN, VSC, VS)),
    Edge("KK yes MM", (*SNAPPED, upload()), State.MOVED, "", (BEGIN, VSC, VS, DU)),
]
MAIN_AZURE = [
    Edge("X Z no CC", (snapshot(ready=None, bound=False),), State.WAITING, Kind.CONTENT, (BEGIN_AZURE,), move=False),
    Edge(
        "Z yes DD FF no II",
        (snapshot(ready=False), content()),
        State.WAITING,
        Kind.SNAPSHOT,
        (BEGIN_AZURE, VSC),
        move=False,
    ),
    Edge("FF yes JJ", SNAPPED, State.MOVED, "", (BEGIN_AZURE, VSC, VS), move=False),
]
FROM_PODS = [
    # design: in the diagram the backup goes on when no pod volume backup is there, or as soon as one is; here it is moved when all are
    Edge("OO no PP TT no VV", (), State.NOTHING_TO_MOVE),
    Edge("PP TT yes UU, not yet WW", (pod_volume_backup(phase="New"),), State.WAITING, Kind.POD_VOLUME_BACKUP),
    Edge("UU WW SS", (pod_volume_backup(),), State.MOVED, "", ("PodVolumeBackup is done",)),
    Edge("OO yes QQ no RR", (pod_volume_backup(phase="InProgress"),), State.WAITING, Kind.POD_VOLUME_BACKUP),
    Edge("RR XX SS", (pod_volume_backup(),), State.MOVED, minutes=10_000),
    Edge("RR beyond the limit", (pod_volume_backup(phase="InProgress"),), State.FAILED, minutes=15, error=DEADLINE),
]


@named(MAIN)
@pytest.mark.parametrize("platform", STANDARD)
def test_1_the_standard_way(platform: str, edge: Edge) -> None:
    walk(edge, platform=platform)


@named(MAIN_AZURE)
def test_1_the_way_of_azure(edge: Edge) -> None:
    walk(edge, platform="Azure")


@named(FROM_PODS)
def test_1_the_way_of_volumes_that_are_copied_from_pods(edge: Edge) -> None:
    walk(edge, fs=True)


# --- 2, 3: standard and Azure reconciliation -----------------------------------------------------------------------


@named(
    [
        edge._replace(name=name)
        for edge, name in zip(MAIN, ["C no D", "C yes E F no G", "F yes H I no J", "I yes K"], strict=True)
    ]
)
def test_2_standard_reconciliation(edge: Edge) -> None:
    walk(edge)


@named(
    [edge._replace(name=name) for edge, name in zip(MAIN_AZURE, ["N no O", "N yes P Q no R", "Q yes S"], strict=True)]
)
def test_3_azure_reconciliation(edge: Edge) -> None:
    assert DU not in walk(edge, platform="Azure").log


# --- 4, 5, 6: contents, snapshots, uploads -------------------------------------------------------------------------

NONE = Flags()
STARTED = Flags(pv_backup_started=True)
PV_DONE = Flags(pv_backup_started=True, pv_backup_finished=True)
DU_STARTED = Flags(pv_backup_started=True, pv_backup_finished=True, du_started=True)
ALL_DONE = Flags(pv_backup_started=True, pv_backup_finished=True, du_started=True, du_finished=True)
WRAP = "error reconciling standard data mover: "

CONTENTS = [
    Edge("B yes C finished", (upload(),), State.MOVED, flags=ALL_DONE),
    Edge("B no D no E I no K not found", (), State.NOTHING_TO_MOVE, flags=NONE),
    Edge(
        "E I no K found, not ready",
        (snapshot(ready=False), content(ready=False)),
        State.WAITING,
        Kind.CONTENT,
        flags=STARTED,
    ),
    Edge("E I yes J L M found and ready", (*SNAPPED, upload()), State.MOVED, log=(BEGIN, VSC), flags=ALL_DONE),
    Edge(
        "D yes F no G N no P wait",
        (snapshot(ready=False), content(ready=False)),
        State.WAITING,
        Kind.CONTENT,
        move=False,
        minutes=14.9,
    ),
    Edge(
        "P R no N yes O Q ready in time", (snapshot(ready=False), content()), State.WAITING, Kind.SNAPSHOT, (BEGIN, VSC)
    ),
    Edge(
        "R yes S timeout",
        (snapshot(ready=False), content(ready=False)),
        State.FAILED,
        Kind.CONTENT,
        minutes=15,
        error=f"{WRAP}error reconciling volume snapshot content: giving up, volumeSnapshotContent was not finished in the expected timeout. Err: {DEADLINE}",
    ),
    Edge("D yes F yes H finished", (upload(phase="InProgress"),), State.WAITING, log=(BEGIN, VSC), flags=DU_STARTED),
]
SNAPSHOTS = [
    Edge("B yes C finished", (upload(),), State.MOVED, flags=ALL_DONE),
    Edge("B no D no E I no K not found", (), State.NOTHING_TO_MOVE, flags=NONE),
    Edge("E I no K found, not ready", (snapshot(ready=False), content()), State.WAITING, Kind.SNAPSHOT, flags=STARTED),
    Edge("E I yes J L M found and ready", SNAPPED, State.WAITING, Kind.UPLOAD, (BEGIN, VSC, VS), flags=PV_DONE),
    Edge(
        "D yes F no G N no P wait",
        (snapshot(ready=False), content()),
        State.WAITING,
        Kind.SNAPSHOT,
        minutes=14.9,
        move=False,
    ),
    Edge(
        "P R no N yes O Q ready in time", (*SNAPPED, upload(phase="New")), State.WAITING, Kind.UPLOAD, (BEGIN, VSC, VS)
    ),
    Edge(
        "R yes S timeout",
        (snapshot(ready=False), content()),
        State.FAILED,
        Kind.SNAPSHOT,
        minutes=15,
        move=False,
        error=f"{WRAP}error reconciling volume snapshots: giving up, VolumeSnapshot was not finished in the expected timeout. Err: {DEADLINE}",
    ),
    Edge(
        "D yes F yes H finished", (upload(phase="InProgress"),), State.WAITING, log=(BEGIN, VSC, VS), flags=DU_STARTED
    ),
]
UPLOADS = [
    Edge("B yes C finished", (upload(),), State.MOVED, log=(BEGIN, VSC, VS, DU), flags=ALL_DONE),
    Edge("B no D no E I no K not found", (), State.NOTHING_TO_MOVE, flags=NONE),
    Edge("E I no K found, not completed", (upload(phase="Accepted"),), State.WAITING, Kind.UPLOAD, flags=DU_STARTED),
    Edge("E I yes J L M found and completed", (upload(),), State.MOVED, flags=ALL_DONE),
    Edge("D yes F no G N no P wait", (upload(phase="InProgress"),), State.WAITING, Kind.UPLOAD, minutes=14.9),
    Edge("P R no N yes O Q completed in time", (upload(),), State.MOVED, minutes=14.9),
    Edge(
        "R yes S timeout",
        (upload(phase="InProgress"),),
        State.FAILED,
        Kind.UPLOAD,
        minutes=15,
        error=f"{WRAP}error reconciling data upload: giving up, dataUpload was not finished in the expected timeout. Err: {DEADLINE}",
        flags=DU_STARTED,
    ),
    Edge("D yes F yes H finished", (upload(),), State.MOVED, minutes=10_000, flags=ALL_DONE),
]


@named(CONTENTS)
def test_4_volume_snapshot_contents(edge: Edge) -> None:
    walk(edge)


@named(SNAPSHOTS)
def test_5_volume_snapshots(edge: Edge) -> None:
    walk(edge)


@named(UPLOADS)
def test_6_data_uploads(edge: Edge) -> None:
    walk(edge)


# --- 7: platform-specific logic ------------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", STANDARD)
def test_7_b_to_c_e_f_g_h_both_are_required(platform: str) -> None:
    rule = rule_of(platform)
    assert rule is not None
    assert (rule.pv_required, rule.du_required, rule.strategy) == (True, True, Strategy.STANDARD)


def test_7_b_to_d_on_azure_only_snapshots_are_required() -> None:
    rule = rule_of("Azure")
    assert rule is not None
    assert (rule.pv_required, rule.du_required, rule.strategy) == (True, False, Strategy.AZURE)


def test_7_the_table_has_these_seven_and_no_others() -> None:
    assert sorted(PLATFORMS) == sorted([*STANDARD, "Azure"])
    assert not set(UNSUPPORTED) & set(PLATFORMS)


BOTH = [
    Edge("I K L M N both true", (upload(),), State.MOVED, log=(BEGIN,)),
    Edge("I K L M N pv true, du false", (upload(phase="InProgress"),), State.WAITING, log=(BEGIN, VSC, VS)),
    Edge("I K L M N both false", (snapshot(ready=False), content(ready=False)), State.WAITING, log=(BEGIN,)),
]


@named(BOTH)
@pytest.mark.parametrize("platform", STANDARD)
def test_7_both_or_reconcile_standard(platform: str, edge: Edge) -> None:
    walk(edge, platform=platform)


@named(
    [
        Edge("J true Q", SNAPPED, State.MOVED, log=(BEGIN_AZURE, VSC, VS), move=False),
        Edge("J false R", (snapshot(ready=False), content()), State.WAITING, log=(BEGIN_AZURE, VSC), move=False),
    ]
)
def test_7_snapshots_or_reconcile_azure(edge: Edge) -> None:
    walk(edge, platform="Azure")
