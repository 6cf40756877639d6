"""When a ReplicationSource copies: at a copy trigger, again and again, after a pause, and once, whatever becomes of the operator."""

import hashlib
from typing import Any

import pytest

from datamover.api.volsync.names import PRIME_PREFIX
from support.cluster import PATIENCE, wait_for
from support.leftovers import demand_no_children
from support.place import Place
from support.pods import restricted_pod
from support.replicas import (
    DESTINATION,
    NEW_VOLUME,
    SOURCE,
    claim_from,
    create,
    create_authority,
    create_claim,
    create_secret,
    demand_no_temporaries,
    get,
    rclone_secret,
    restic_secret,
    trigger,
    wait_synchronized,
)
from support.trees import IDENTITY, read_tree

_DATABASE = """
import hashlib, os, time
def write(name, line):
    with open(f"/data/{name}", "a") as file:
        file.write(line + "\\n")
        file.flush()
        os.fsync(file.fileno())
chain, number = "", 0
while True:
    number += 1
    chain = hashlib.sha256(f"{chain} {number}".encode()).hexdigest()
    write("journal", f"{number} {chain}")
    while not os.path.exists("/control/freeze"):  # between its two writes, unless it is told to hold still
        time.sleep(0.05)
    write("commits", chain)
    open("/control/frozen", "w").close()
    while os.path.exists("/control/freeze"):
        time.sleep(0.05)
    os.remove("/control/frozen")
"""
"""Like a database, it writes to two files that belong together, and it is nearly always between the two writes."""

_FREEZE = """
import os, time
open("/control/freeze", "w").close()
while not os.path.exists("/control/frozen"):
    time.sleep(0.05)
"""
_THAW = """
import os, time
os.remove("/control/freeze")
while os.path.exists("/control/frozen"):
    time.sleep(0.05)
"""
_QUIESCE = """
reached() {
  kubectl -n "$SPACE" wait pvc/app-data --timeout=90s \\
    --for=jsonpath='{.metadata.annotations.volsync\\.backube/latest-copy-status}'="$1" >/dev/null
}
reached WaitingForTrigger
kubectl -n "$SPACE" exec database -- python3 -c "$FREEZE"
kubectl -n "$SPACE" annotate pvc app-data --overwrite volsync.backube/copy-trigger="$MOMENT" >/dev/null
reached Completed
kubectl -n "$SPACE" exec database -- python3 -c "$THAW"
kubectl -n "$SPACE" get pvc app-data -o 'jsonpath={.metadata.annotations.volsync\\.backube/latest-copy-trigger}'
"""
"""What a user's script does who knows nothing but the annotations of the claim."""


def is_whole(place: Place, folder: str) -> bool:
    """Tell whether the copy in the store is of a moment at which both files said the same; the chain itself is never broken."""
    journal, commits = (
        place.store.rclone("cat", f"s3:{place.bucket}/{folder}/{name}").decode().splitlines()
        for name in ("journal", "commits")
    )
    chain = ""
    for number, line in enumerate(journal, start=1):
        chain = hashlib.sha256(f"{chain} {number}".encode()).hexdigest()
        assert line == f"{number} {chain}"
    assert [line.split()[1] for line in journal][: len(commits)] == commits
    return len(journal) == len(commits)


def test_a_copy_trigger_lets_a_database_be_copied_at_a_moment_when_it_is_whole(place: Place) -> None:
    """The same volume is copied without it, and then with it, by a snapshot and by a clone: only the copies that were triggered are whole."""
    create_claim(place, "app-data")
    create_secret(place, "rclone", rclone_secret(place))
    common = {
        "rcloneConfig": "rclone",
        "rcloneConfigSection": "store",
        "customCA": create_authority(place),
        "moverSecurityContext": IDENTITY,
    }
    pod = restricted_pod(
        "database",
        image=place.cluster.images.mover,
        command=["python3", "-c", _DATABASE],
        claim="app-data",
        mounts=[{"name": "control", "mountPath": "/control"}],
        volumes=[{"name": "control", "emptyDir": {}}],
    )
    place.kubectl.apply(pod, namespace=place.namespace)
    place.run("wait", "--for=condition=Ready", "pod/database", "--timeout=60s")
    # the first commit is there, so that there are both files
    for program in (_FREEZE, _THAW):
        place.run("exec", "database", "--", "python3", "-c", program)

    def quiesce(moment: str) -> None:
        given = {"SPACE": place.namespace, "MOMENT": moment, "FREEZE": _FREEZE, "THAW": _THAW}
        assert place.run_shell(_QUIESCE, seconds=180, **given).strip() == moment

    def copy(method: str) -> None:
        spec = {**common, "rcloneDestPath": f"{place.bucket}/{method}", "copyMethod": method}
        create(place, SOURCE, method.lower(), "rclone", source="app-data", manual="one", **spec)

    # without the trigger
    copy("Snapshot")
    wait_synchronized(place, SOURCE, "snapshot", "one")
    assert not is_whole(place, "Snapshot"), "it was between its two writes"
    # and with it
    place.run("annotate", "pvc", "app-data", "volsync.backube/use-copy-trigger=")
    trigger(place, SOURCE, "snapshot", "two")
    quiesce("moment-1")
    wait_synchronized(place, SOURCE, "snapshot", "two")
    assert is_whole(place, "Snapshot")
    copy("Clone")
    quiesce("moment-2")
    wait_synchronized(place, SOURCE, "clone", "one")
    assert is_whole(place, "Clone")
    demand_no_temporaries(place)
    place.run("delete", "pod/database", "--wait=true")
    reasons = {event.get("reason") for event in place.kubectl.items("events", "-n", place.namespace)}
    assert {
        "SrcPVCWaitingForCopyTrigger",
        "SrcPVCCopyTriggerReceived",
        "SrcPVCCopyUsingCopyTriggerCompleted",
    } <= reasons


def test_a_source_without_a_trigger_and_without_a_copy_is_synchronised_twice_in_two_minutes(place: Place) -> None:
    """Users rely on it; in a namespace that chooses nothing, the mover is nobody. It is deleted while it goes on, and nothing is left.

    A Pod has the volume all the time, which only one node may: the mover goes where it is.
    """
    place.create_volume()
    sleeps = ["python3", "-c", "import time; time.sleep(3600)"]
    user = restricted_pod("user", image=place.cluster.images.mover, command=sleeps, claim="app-data")
    place.kubectl.apply(user, namespace=place.namespace)
    place.run("wait", "--for=condition=Ready", "pod/user", "--timeout=60s")
    create_secret(place, "repository", restic_secret(place, "restic"))
    create(
        place,
        SOURCE,
        "always",
        "restic",
        source="app-data",
        repository="repository",
        copyMethod="Direct",
        customCA=create_authority(place),
    )

    def ended() -> str:
        return get(place, SOURCE, "always").get("status", {}).get("lastSyncTime", "")

    wait_for(lambda: bool(place.kubectl.get("job", "volsync-src-always", "-n", place.namespace)), what=place.explain)
    job = place.kubectl.get("job", "volsync-src-always", "-n", place.namespace)
    node = place.kubectl.get("pod", "user", "-n", place.namespace)["spec"]["nodeName"]
    labels = place.kubectl.get("node", node)["metadata"]["labels"]
    wanted = {"kubernetes.io/hostname": labels["kubernetes.io/hostname"]}
    assert job["spec"]["template"]["spec"]["nodeSelector"] == wanted
    wait_for(lambda: bool(ended()), seconds=60, what=place.explain)
    first = ended()
    wait_for(lambda: ended() != first, seconds=60, what=place.explain)
    place.run("delete", SOURCE, "always", "--wait=true")
    place.run("delete", "pod/user", "--wait=true")
    demand_no_children(place)
    assert place.claims() == {"app-data"}


def is_running(pod: dict[str, Any]) -> bool:
    return pod["status"]["phase"] == "Running"


def contents(place: Place, claim: str) -> dict[str, str]:
    """Return the hash of each file of a volume."""
    return {path: said["content"] for path, said in read_tree(place, claim).items() if "content" in said}


@pytest.mark.disrupts
def test_an_operator_that_is_killed_in_each_phase_of_a_way_there_and_back_goes_each_once(place: Place) -> None:
    """A source is paused at first; then its copy is slow, and then its mover. The same of a destination, and of a claim that waits for its image."""
    place.create_volume(storage_class=place.cluster.storage_class("rig-slow"))
    create_secret(place, "repository", restic_secret(place, "restic"))
    spec = {
        "repository": "repository",
        "customCA": create_authority(place),
        "copyMethod": "Snapshot",
        "retain": {"last": "9"},
        "moverResources": {"limits": {"cpu": "60m"}},
    }
    cluster, namespace = place.cluster, place.namespace

    def items(kind: str) -> list[dict[str, Any]]:
        return place.kubectl.items(kind, "-n", namespace)

    def renew() -> None:
        cluster.delete_operator(*cluster.operator_pods())
        wait_for(lambda: bool(cluster.ready_pods()), what=cluster.describe_operator)

    create(place, SOURCE, "app", "restic", source="app-data", manual="one", paused=True, **spec)
    wait_for(lambda: bool(get(place, SOURCE, "app").get("status", {}).get("lastSyncStartTime")), what=place.explain)
    begun = get(place, SOURCE, "app")["status"]["lastSyncStartTime"]
    renew()
    wait_for(lambda: bool(items("volumesnapshots")), what=place.explain)
    renew()
    wait_for(lambda: bool(place.kubectl.get("pvc", "volsync-app-src", "-n", namespace)), what=place.explain)
    renew()
    wait_for(lambda: bool(items("jobs")), what=place.explain)
    assert items("jobs")[0]["spec"]["parallelism"] == 0
    renew()
    place.run("patch", SOURCE, "app", "--type=merge", "-p", '{"spec":{"paused":false}}')
    wait_for(lambda: any(map(is_running, items("pods"))), what=place.explain)
    renew()
    # it may have ended while the operator came back, which takes its time on a busy machine
    assert get(place, SOURCE, "app")["status"].get("lastSyncStartTime", begun) == begun, "another one has begun"
    wait_for(lambda: "lastManualSync" in get(place, SOURCE, "app")["status"], seconds=150, what=place.explain)
    slow = {"storageClassName": place.cluster.storage_class("rig-slow"), "moverResources": spec["moverResources"]}
    common = {key: spec[key] for key in ("repository", "customCA", "copyMethod")}
    create(place, DESTINATION, "back", "restic", manual="one", **NEW_VOLUME, **common, **slow)
    claim_from(place, "filled", "back", storage_class="rig-slow")
    wait_for(lambda: bool(place.kubectl.get("pvc", "volsync-back-dest", "-n", namespace)), what=place.explain)
    renew()  # while the source is cleaned up after
    wait_synchronized(place, SOURCE, "app", "one")

    def restores() -> bool:
        pods = items("pods")
        return any(pod["metadata"]["name"].startswith("volsync-dst-back") for pod in pods if is_running(pod))

    wait_for(restores, what=place.explain)
    renew()
    wait_for(lambda: any(name.startswith(PRIME_PREFIX) for name in place.claims()), seconds=150, what=place.explain)
    renew()
    wait_synchronized(place, DESTINATION, "back", "one")
    place.run("wait", "--for=jsonpath={.status.phase}=Bound", "pvc/filled", f"--timeout={PATIENCE:.0f}s")
    assert contents(place, "filled") == contents(place, "app-data")
    demand_no_temporaries(place)
    caches = {"volsync-src-app-cache", "volsync-dst-back-cache"}
    assert place.claims() - caches == {"app-data", "filled", "volsync-back-dest"}
    assert len(items("volumesnapshots")) == 1, "the latest image is one"
    snapshots = place.store.rclone("lsf", f"s3:{place.bucket}/restic/snapshots").decode().split()
    assert len(snapshots) == 1, snapshots
