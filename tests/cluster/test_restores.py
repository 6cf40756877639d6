"""DataMoverRestores in a real cluster: what was backed up comes back into a claim, from the DataMover and from bucket and key alone."""

from typing import Any

import yaml

from support.cluster import PATIENCE, condition, wait_for
from support.cookbook import demand_documented
from support.place import Place
from support.pods import restricted_pod
from support.trees import demand_same, read_tree, write_tree

ROOT = {"securityContext": {"runAsUser": 0}}
BUCKET = {"bucket": {"secretName": "storage-credentials"}}


def create_restore(place: Place, name: str, *, claim: str, create: str = "", **spec: Any) -> None:
    """Create a DataMoverRestore, of the bucket unless another source is given. `create`: the class of a claim that is made."""
    target: dict[str, Any] = {"claimName": claim}
    if create:
        target["create"] = {"storage": "1Gi", "storageClassName": place.cluster.storage_class(create)}
    place.kubectl.apply(
        {
            "apiVersion": "datamover.a-cup-of.coffee/v1alpha1",
            "kind": "DataMoverRestore",
            "metadata": {"name": name},
            "spec": {"source": BUCKET, "target": target, **spec},
        },
        namespace=place.namespace,
    )


def restore_of(place: Place, name: str) -> dict[str, Any]:
    return place.kubectl.get("datamoverrestore", name, "-n", place.namespace)


def wait_restored(place: Place, name: str) -> dict[str, Any]:
    """Wait as a user would, and return the DataMoverRestore."""
    output = place.run(
        "wait",
        "--for=condition=Complete",
        f"dmr/{name}",
        f"--timeout={PATIENCE:.0f}s",
        check=False,
        seconds=PATIENCE + 30,
    )
    found = restore_of(place, name)
    assert "condition met" in output, f"{output}\n{yaml.safe_dump(found.get('status'))}\n{place.explain()}"
    return found


def wait_reason(place: Place, name: str, reason: str) -> str:
    """Wait until a restore says why it waits or has failed, and return the sentence."""
    wait_for(
        lambda: condition(restore_of(place, name), "Ready").get("reason") == reason,
        what=lambda: yaml.safe_dump(restore_of(place, name).get("status")),
    )
    message = condition(restore_of(place, name), "Ready")["message"]
    demand_documented(reason, message)
    return message


def test_a_volume_comes_back_from_its_datamover_and_elsewhere_from_bucket_and_key_alone(place: Place) -> None:
    """As root to the last owner, into a claim that is bound by the mover; as nobody in another namespace, where owners are told to be lost."""
    with place.beside("plain", restricted=False) as source:
        tree = write_tree_with_volume(source)
        source.create_secret()
        source.create_mover("nightly", mover=ROOT, deletePvcAfterBackup=True)
        run = source.wait_complete("nightly")["status"]["run"]
        create_restore(
            source,
            "back",
            claim="again",
            create="rig-wait",
            source={"dataMover": "nightly"},
            mover=ROOT,
            privileges=True,
        )
        found = wait_restored(source, "back")
        demand_same(tree, read_tree(source, "again", root=True))
        status = found["status"]
        assert (status["phase"], status["run"]["point"]) == ("Completed", run["id"])
        assert status["run"]["source"] == f"{source.namespace}/app-data"
        told = {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}
        assert told["Restored"] == ("True", "Restored"), status
        assert told["Verified"] == ("True", "Verified"), status
        table = source.run("get", "dmr").splitlines()
        assert table[0].split()[:2] == ["NAME", "PHASE"]
        assert table[1].split()[:2] == ["back", "Completed"]
        # the claim is the user's
        source.run("delete", "dmr/back", "--wait=true")
        assert "ownerReferences" not in source.kubectl.get("pvc", "again", "-n", source.namespace)["metadata"]
        volume = f"{source.namespace}/app-data"
    with place.beside("elsewhere", restricted=False) as other:
        other.create_secret()
        bucket = {**BUCKET["bucket"], "source": volume}
        create_restore(other, "elsewhere", claim="app-data", create="rig", source={"bucket": bucket})
        told = condition(wait_restored(other, "elsewhere"), "Restored")
        assert (told["status"], told["reason"]) == ("True", "RestoredWithLosses")
        assert "owner" in told["message"]
        # root reads it, because the node would change modes for a group of the Pod's
        found = read_tree(other, "app-data", root=True)
        demand_same(
            {path: said for path, said in tree.items() if path != "set-user"},
            {path: said for path, said in found.items() if path != "set-user"},
            but=("owner",),
        )


def write_tree_with_volume(place: Place) -> Any:
    place.create_volume(tree={"first": b"1"})
    return write_tree(place, "app-data", root=True)


def test_a_claim_in_use_waits_one_with_files_is_refused_and_a_killed_mover_is_taken_up_again(place: Place) -> None:
    files = {"a": b"1", "b/c": b"2", "large": b""}
    place.create_volume(tree=files)
    place.create_secret()
    place.create_mover("nightly", deletePvcAfterBackup=True)
    place.wait_complete("nightly")
    user = restricted_pod(
        "shop",
        image=place.cluster.images.mover,
        command=["python3", "-c", "import time; open('/data/new', 'w').close(); time.sleep(3600)"],
        claim="app-data",
    )
    place.kubectl.apply(user, namespace=place.namespace)
    place.run("wait", "--for=condition=Ready", "pod/shop", f"--timeout={PATIENCE:.0f}s")
    create_restore(place, "back", claim="app-data", additionalEnv=[{"name": "RCLONE_BWLIMIT", "value": "1M"}])
    assert "shop" in wait_reason(place, "back", "TargetInUse")
    place.run("delete", "pod/shop", "--wait=true", "--grace-period=1")
    wait_reason(place, "back", "TargetNotEmpty")
    assert restore_of(place, "back")["status"]["run"]["target"] == "untouched"
    # half a minute for the large file: the mover is at work when it is killed
    slow = [{"name": "RCLONE_BWLIMIT", "value": "256k"}]
    create_restore(place, "other", claim="new", create="rig", additionalEnv=slow)
    place.wait_running()
    (mover,) = place.mover_pods()
    place.run("delete", f"pod/{mover}", "--wait=false", "--grace-period=0", "--force")
    found = wait_restored(place, "other")
    assert found["status"]["run"]["attempts"] >= 2
    there = {path: said["size"] for path, said in read_tree(place, "new").items() if said["kind"] == "file"}
    assert there == {"a": 1, "b/c": 1, "large": 8 << 20}


def test_in_place_a_claim_is_as_it_was_when_the_restore_fails_and_whole_when_it_does_not(place: Place) -> None:
    """In a class that waits for the first consumer: the mover binds the copy beside the claim, and rolls back from it."""
    with place.beside("inplace", restricted=False) as here:
        here.create_volume(tree={"first": b"1", "second": b"2"}, storage_class="rig-wait")
        here.create_secret()
        here.create_mover("nightly", mover=ROOT, deletePvcAfterBackup=True)
        here.wait_complete("nightly")
        here.fill_volume("app-data", {"first": b"changed since", "second": b"changed too", "mine": b"mine"})
        before = read_tree(here, "app-data", root=True)
        claims = here.claims()
        here.store.rclone("deletefile", f"s3:{here.bucket}/second")
        into: dict[str, Any] = {"claim": "app-data", "source": {"dataMover": "nightly"}, "mover": ROOT, "inPlace": True}
        create_restore(here, "broken", **into)
        wait_for(
            lambda: restore_of(here, "broken").get("status", {}).get("phase") == "Failed",
            what=lambda: yaml.safe_dump(restore_of(here, "broken").get("status")),
        )
        status = restore_of(here, "broken")["status"]
        assert status["run"]["target"] == "rolled-back", status
        assert not status["run"]["safety"].get("kept"), status
        assert condition({"status": status}, "Restored")["reason"] == "RestoredOtherwise"
        # the cluster keeps it as long as the Job's Pods are there, and those go when the failure is recorded
        wait_for(lambda: here.claims() == claims, what=lambda: here.run("get", "pvc,pods,jobs", "-o", "yaml"))
        demand_same(before, read_tree(here, "app-data", root=True))
        create_restore(here, "part", path="first", **into)
        assert wait_restored(here, "part")["status"]["run"]["target"] == "whole"
        assert here.claims() == claims
        found = read_tree(here, "app-data", root=True)
        assert (found["first"]["size"], found["mine"]["size"]) == (1, 4)
