"""Backups of a hosted control plane by a real Velero: its node-agent and kopia move snapshots of the rig's volumes to the S3 server, and the verdict follows.

It is asked for in all three ways: by the plugin in Velero, by `explain`, and from the operator that its chart has installed. One long scenario, because
Velero is put up once: nothing of it is played.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.cluster import wait_for
from support.explaining import Follower, rows
from support.hosting import HYPERSHIFT
from support.leftovers import demand_no_secret
from support.place import Place
from support.pods import restricted_pod
from support.velero_node import LONG, NodeVelero, velero_on_node
from support.watched import Watched

MEMBERS = ("data-etcd-0", "data-etcd-1", "data-etcd-2")
UNTAKEN = "data-broken"
SIZE = 16 << 20
"""Bytes that nothing makes smaller, in each volume."""
ZEROS = 16 << 30
"""Bytes that take no room and nothing but time to read: some seconds."""
ACTION = "datamover.a-cup-of.coffee/hosted-control-plane"
OF_CONTROL_PLANE = "hypershift.openshift.io/hosted-control-plane"

_WRITE = f"""
import hashlib, os, sys, time
os.makedirs("/data/member/snap", exist_ok=True)
os.makedirs("/data/member/wal", exist_ok=True)
with open("/data/member/snap/db", "wb") as file:
    file.write(hashlib.shake_256(sys.argv[1].encode()).digest({SIZE}))
os.chmod("/data/member/snap/db", 0o600)
open("/data/member/wal/0.wal", "wb").close()
os.symlink("snap/db", "/data/member/latest")
with open("/data/member/a name with spaces & \u00fcml\u00e4ut", "w") as file:
    file.write(sys.argv[1])
os.truncate("/data/member/wal/0.wal", 64 << 20)
os.sync()
print("written", flush=True)
time.sleep(3600)
"""
_READ = """
import hashlib, json, os, stat, sys
found = {}
for volume in sys.argv[1:]:
    for folder, folders, files in os.walk(volume):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            about = os.lstat(path)
            said = [stat.filemode(about.st_mode), about.st_uid, about.st_gid]
            if stat.S_ISLNK(about.st_mode):
                said.append(os.readlink(path))
            elif stat.S_ISREG(about.st_mode):
                said += [about.st_size, int(about.st_mtime), hashlib.file_digest(open(path, "rb"), "sha256").hexdigest()]
            found[f"{os.path.basename(volume)}/{os.path.relpath(path, volume)}"] = said
print(json.dumps(found))
"""


@pytest.mark.timeout(1500)
@pytest.mark.xdist_group("rig-failing")
def test_the_verdict_follows_what_velero_moves(place: Place) -> None:
    """Three volumes of a highly available control plane: moved and restored; with the node-agent taken away; cancelled by a user; with a fourth that has no snapshot."""
    if place.cluster.rig is None:
        pytest.skip("needs a node that is this machine: movers are stopped and let go on")
    with velero_on_node(place) as velero:
        watched = Watched(velero)
        make_control_plane(place)
        moved_from_the_first_snapshot_to_the_last_upload(place, velero, watched)
        restored_bit_for_bit(place, velero)
        moved_although_the_node_agent_ends(place, velero, watched)
        cancelled_by_a_user(place, velero, watched)
        without_a_snapshot_of_one(place, velero, watched)
        counted_as_told(watched)
        asked_only_for_what_is_granted(watched)
        demand_no_secret(velero.home)
        # before the namespaces go, which would take it along: what Velero made on the way
        wait_for(lambda: not left_by_movers(velero), what=lambda: str(left_by_movers(velero)))


def left_by_movers(velero: NodeVelero) -> list[str]:
    found = velero.home.kubectl.items("pods,pvc,volumesnapshots", "-n", velero.home.namespace)
    of_installation = {"component": "velero"}.items()
    return [
        each["metadata"]["name"] for each in found if not of_installation <= each["metadata"].get("labels", {}).items()
    ]


def make_control_plane(place: Place) -> None:
    """Make the HostedControlPlane, and for each member a Pod that has written its volume and keeps it."""
    plane = {"platform": {"type": "AWS"}, "controllerAvailabilityPolicy": "HighlyAvailable"}
    manifests = [
        {"apiVersion": HYPERSHIFT, "kind": "HostedControlPlane", "metadata": {"name": "hosted"}, "spec": plane}
    ]
    for claim in MEMBERS:
        pod = restricted_pod(
            claim.removeprefix("data-"),
            image=place.cluster.images.mover,
            command=["python3", "-c", _WRITE, claim],
            claim=claim,
        )
        pod["metadata"]["labels"] |= {OF_CONTROL_PLANE: place.namespace}
        manifests += [claim_of(claim, storage_class="rig"), pod]
    place.kubectl.apply(*manifests, namespace=place.namespace)
    for claim in MEMBERS:
        pod = claim.removeprefix("data-")
        place.run("wait", "--for=condition=Ready", f"pod/{pod}", f"--timeout={LONG:.0f}s", seconds=LONG + 30)
        wait_for(lambda pod=pod: "written" in place.run("logs", pod, check=False), what=place.explain)


def claim_of(name: str, *, storage_class: str) -> dict[str, object]:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def moved_from_the_first_snapshot_to_the_last_upload(place: Place, velero: NodeVelero, watched: Watched) -> None:
    with backed_up(velero, watched, "nightly", place.namespace) as follower:
        movers = velero.hold("nightly", MEMBERS)
        held = follower.until(lambda look: len(in_phase(look, "InProgress")) == 1)
        assert (held["state"], held["completed"], held["total"]) == ("WAITING", 0, 3)
        assert (held["flags"]["DUStarted"], held["flags"]["DUFinished"]) == (True, False)
        uploads = velero.uploads("nightly")
        for claim, row in rows(held).items():
            assert (row["kind"], row["name"]) == ("DataUpload", uploads[claim]["metadata"]["name"])
            assert row["phase"] in ("Accepted", "Prepared", "InProgress")
        wait_for(lambda: velero.phase("nightly") == "WaitingForPluginOperations", what=velero.explain)
        written = watched.wait_phases("nightly")
        assert (written.state, written.completed, written.total, written.final) == ("WAITING", 0, 3, False)
        assert watched.reasons("nightly") == []
        assert watched.standing("nightly") == {"volumes_moved": 0, "volumes_expected": 3, "volumes_stalled": 0}
        movers.let_go()
        last = follower.until(lambda look: look["state"] == "MOVED")
        assert (last["completed"], last["total"], last["error"]) == (3, 3, "")
        assert last["bytesDone"] == last["bytesTotal"] > 3 * SIZE
        assert last["flags"]["DUFinished"]
        status = velero.wait_end("nightly")
    follower.demand_order()
    watched.demand_same("nightly", follower.looks[-1])
    assert watched.reasons("nightly") == ["Moved"]
    assert watched.standing("nightly") == {}
    assert {look["completed"] for look in follower.looks} >= {0, 3}
    assert status["phase"] == "Completed", status
    assert (status["backupItemOperationsAttempted"], status["backupItemOperationsCompleted"]) == (4, 4)
    told = velero.operation("nightly", ACTION)["status"]
    assert told["description"] == last["description"]
    assert (told["phase"], told["nCompleted"], told["nTotal"], told["operationUnits"]) == ("Completed", 3, 3, "volumes")
    assert velero.stored_bytes() > 3 * SIZE


def restored_bit_for_bit(place: Place, velero: NodeVelero) -> None:
    before = {name: said for claim in MEMBERS for name, said in read_in(place, claim).items()}
    with place.beside("restored", restricted=False) as other:
        velero.restore("back", "nightly", into={place.namespace: other.namespace})
        (plane,) = place.kubectl.items("hostedcontrolplanes", "-n", other.namespace)
        assert plane["spec"]["controllerAvailabilityPolicy"] == "HighlyAvailable"
        assert place.kubectl.items("pods", "-n", other.namespace) == [], "Pods of a control plane are not restored"
        reader = restricted_pod(
            "reader",
            image=place.cluster.images.mover,
            command=["python3", "-c", "import time; time.sleep(3600)"],
            mounts=[{"name": claim, "mountPath": f"/{claim}"} for claim in MEMBERS],
            volumes=[{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in MEMBERS],
        )
        del reader["spec"]["securityContext"]["fsGroup"]  # the kubelet would change what is compared
        place.kubectl.apply(reader, namespace=other.namespace)
        other.run("wait", "--for=condition=Ready", "pod/reader", f"--timeout={LONG:.0f}s", seconds=LONG + 30)
        after = json.loads(other.run("exec", "reader", "--", "python3", "-c", _READ, *(f"/{c}" for c in MEMBERS)))
    assert after == before
    assert len(before) == len(MEMBERS) * 7


def read_in(place: Place, claim: str) -> dict[str, list[object]]:
    """Return what is in the volume of a member, under the name of its claim."""
    found = json.loads(run_in(place, claim, _READ, "/data"))
    return {name.replace("data/", f"{claim}/", 1): said for name, said in found.items()}


def run_in(place: Place, claim: str, program: str, *arguments: str) -> str:
    """Run Python in the Pod of a member."""
    return place.run("exec", claim.removeprefix("data-"), "--", "python3", "-c", program, *arguments)


def moved_although_the_node_agent_ends(place: Place, velero: NodeVelero, watched: Watched) -> None:
    with backed_up(velero, watched, "interrupted", place.namespace) as follower:
        movers = velero.hold("interrupted", MEMBERS)
        follower.until(lambda look: len(in_phase(look, "InProgress")) == 1)
        velero.end_agent()
        assert follower.looks[-1]["state"] == "WAITING", "an agent that is away is no failure"
        movers.let_go()
        last = follower.until(lambda look: look["state"] != "WAITING")
        status = velero.wait_end("interrupted")
        assert (last["state"], status["phase"]) == ("MOVED", "Completed"), follower.tell()
    follower.demand_order()
    watched.demand_same("interrupted", follower.looks[-1])
    assert watched.reasons("interrupted") == ["Moved"]


def cancelled_by_a_user(place: Place, velero: NodeVelero, watched: Watched) -> None:
    *others, victim = MEMBERS
    run_in(place, victim, f"open('/data/zeros', 'wb').truncate({ZEROS})")
    with backed_up(velero, watched, "cancelled", place.namespace) as follower:
        movers = velero.hold("cancelled", [victim], reading=True)
        held = follower.until(lambda look: victim in in_phase(look, "InProgress"))
        assert held["state"] == "WAITING"
        upload = velero.uploads("cancelled")[victim]["metadata"]["name"]
        velero.cancel(upload)
        asked = follower.until(lambda look: victim in in_phase(look, "Canceling"))
        assert asked["state"] == "WAITING", "it may still be at work"
        movers.let_go()
        last = follower.until(lambda look: look["state"] != "WAITING")
        assert last["state"] == "FAILED"
        assert f"dataUpload failed. Name: {upload} Status: Canceled" in last["error"]
        status = velero.wait_end("cancelled")
    assert status["phase"] == "PartiallyFailed"
    assert velero.phases("cancelled") == {**dict.fromkeys(others, "Completed"), victim: "Canceled"}
    told = velero.operation("cancelled", ACTION)["status"]
    assert told["phase"] == "Failed"
    assert upload in told["error"]
    watched.demand_same("cancelled", follower.looks[-1])
    assert watched.reasons("cancelled") == ["Failed"]
    run_in(place, victim, "import os; os.remove('/data/zeros')")


def without_a_snapshot_of_one(place: Place, velero: NodeVelero, watched: Watched) -> None:
    """The storage driver refuses it: it is borne and quoted as long as Velero waits, and then Velero itself says that the backup lacks it."""
    place.kubectl.apply(claim_of(UNTAKEN, storage_class="rig-failing"), namespace=place.namespace)
    place.run("wait", "--for=jsonpath={.status.phase}=Bound", f"pvc/{UNTAKEN}", f"--timeout={LONG:.0f}s")
    words = "the array takes no snapshots"
    with (
        place.cluster.failing("snapshot", words=f"Internal: {words}"),
        backed_up(velero, watched, "untaken", place.namespace, csiSnapshotTimeout="20s") as follower,
    ):
        quoted = follower.until(lambda look: words in rows(look).get(UNTAKEN, {}).get("sentence", ""))
        assert quoted["state"] in ("WAITING", "FAILED")
        assert rows(quoted)[UNTAKEN]["kind"] in ("VolumeSnapshotContent", "VolumeSnapshot")
        status = velero.wait_end("untaken")
        follower.until(lambda look: rows(look)[UNTAKEN]["phase"] == "NotSeen")
    assert status["phase"] == "PartiallyFailed"
    assert status["errors"] >= 1
    assert velero.phases("untaken") == dict.fromkeys(MEMBERS, "Completed")
    assert not rows(follower.looks[-1])[UNTAKEN]["finished"]
    told, last = velero.operation("untaken", ACTION)["status"], follower.looks[-1]
    assert (told["phase"], last["state"]) == ("Failed", "FAILED"), "others were moved, and this one was not"
    given_up = (
        "giving up, VolumeSnapshot was not finished in the expected timeout",
        f"nothing of claim {UNTAKEN};",
        "velero backup describe untaken --details",
    )
    for sentence in (last["error"], last["description"]):
        assert [each for each in given_up if each not in sentence] == [], sentence
    # Velero asks once it has collected everything; whether it has removed the failed snapshot by then is chance, and the driver's words go with that.
    quoting = "untaken" in told["error"] and words in told["error"]
    assert quoting or all(each in told["error"] for each in given_up), told["error"]
    assert (last["completed"], last["total"]) == (3, 4)
    assert set(watched.reasons("untaken")) == {"Failed"}
    watched.demand_same("untaken", follower.looks[-1])


def counted_as_told(watched: Watched) -> None:
    """Of the four backups: each of the first three has three uploads, one of which a user has cancelled; the fourth has three, and a volume without one."""
    ended = "reconciliation_duration_seconds_count"
    assert watched.counted(ended, platform="AWS", result="MOVED") == 2
    assert watched.counted(ended, platform="AWS", result="FAILED") == 2
    assert watched.counted("errors_total", platform="AWS", reason="Failed") == 2
    assert watched.counted("resources_total", platform="AWS", kind="DataUpload", result="completed") == 11
    assert watched.counted("resources_total", platform="AWS", kind="DataUpload", result="failed") == 1
    assert watched.counted("timeouts_total", platform="AWS") == 0


def asked_only_for_what_is_granted(watched: Watched) -> None:
    entries = watched.asked()
    assert [each for each in entries if each.code == 403] == []
    assert {each.verb for each in entries if each.group == "velero.io"} <= {"list", "watch"}, "Velero's are not written"
    assert {each.resource for each in entries if each.verb not in ("get", "list", "watch")} == {"configmaps", "events"}


@contextmanager
def backed_up(velero: NodeVelero, watched: Watched, name: str, namespace: str, **spec: object) -> Iterator[Follower]:
    """Begin a backup, and follow it until the block ends."""
    velero.back_up(name, namespace, **spec)
    with Follower(velero, watched, name) as follower:
        yield follower


def in_phase(look: dict[str, object], phase: str) -> list[str]:
    """Return the claims whose rows are in a phase."""
    return [claim for claim, row in rows(look).items() if row["phase"] == phase]
