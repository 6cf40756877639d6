"""Whole backups in a real cluster: the documents' manifests as printed, every way to copy, every way to bind."""

import re
from pathlib import Path

import pytest
import yaml

from support.cluster import condition, wait_for
from support.documents import data_movers
from support.place import TREE, Place, digests_of
from support.pods import restricted_pod

TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}-\d{6}")


def below_timestamp(found: dict[str, str]) -> tuple[set[str], dict[str, str]]:
    """Return the folders of a bucket, and its files without them."""
    return {key.split("/", 1)[0] for key in found}, {key.split("/", 1)[1]: digest for key, digest in found.items()}


@pytest.mark.parametrize("path", data_movers(), ids=lambda path: path.stem)
def test_a_manifest_of_the_documents_does_what_it_says(place: Place, path: Path) -> None:
    manifest = yaml.safe_load(path.read_text())
    spec, name = manifest["spec"], manifest["metadata"]["name"]
    place.create_volume(spec["sourcePvc"])
    place.create_secret(spec["secretName"])
    place.run("apply", "-f", str(path))
    found = place.wait_complete(name)
    status, run = found["status"], found["status"]["run"]
    objects = place.store.digests(place.bucket)
    prefix = next((each["value"] for each in spec.get("additionalEnv", []) if each["name"] == "CUSTOM_PATH_PREFIX"), "")
    if prefix:
        assert all(key.startswith(f"{prefix}/") for key in objects)
        objects = {key.removeprefix(f"{prefix}/"): digest for key, digest in objects.items()}
    if spec.get("addTimestampPrefix"):
        folders, objects = below_timestamp(objects)
        assert folders == {run["timestamp"]}
        assert TIMESTAMP.fullmatch(run["timestamp"])
    assert objects == digests_of(TREE)
    assert status["phase"] == "Completed"
    clone = status["restoredPvcName"]
    claims = place.claims()
    if spec.get("deletePvcAfterBackup"):
        assert claims == {spec["sourcePvc"]}
        volumes = place.kubectl.items("pv")
        claims_of_volumes = {
            (volume["spec"]["claimRef"]["namespace"], volume["spec"]["claimRef"]["name"]) for volume in volumes
        }
        assert (place.namespace, clone) not in claims_of_volumes, "the storage is not freed"
    else:
        assert claims == {spec["sourcePvc"], clone}
    verify = {"name": "VERIFY_BACKUP", "value": "true"} in spec.get("additionalEnv", [])
    assert (condition(found, "Verified").get("status") == "True") == verify


@pytest.mark.parametrize("storage_class", ["rig", "rig-wait"])
def test_every_way_to_copy_with_every_way_to_bind(place: Place, storage_class: str) -> None:
    """Side by side, each into a bucket of its own."""
    methods = {method.lower(): method for method in ("Clone", "Snapshot", "Direct")}
    place.create_volume(storage_class=storage_class)
    place.create_buckets(*methods)
    for name, method in methods.items():
        place.create_mover(name, secret=name, copyMethod=method, deletePvcAfterBackup=method != "Direct")
    for name in methods:
        place.wait_complete(name)
        assert place.store.digests(place.bucket_of(name)) == digests_of(TREE), name
    assert place.claims() == {"app-data"}
    assert place.kubectl.items("volumesnapshots", "-n", place.namespace) == []


_WRITER = """
import itertools, os
for number in itertools.count(1):
    for name in ("first", "second"):
        with open(f"/data/{name}.new", "w") as file:
            file.write(str(number))
            file.flush()
        os.rename(f"/data/{name}.new", f"/data/{name}")
"""


@pytest.mark.parametrize("method", ["Clone", "Snapshot"])
def test_a_copy_of_a_volume_in_use_is_of_one_moment(place: Place, method: str) -> None:
    """A Pod writes the same number into two files, the first one first. In a copy of one moment they are never further apart."""
    place.create_volume(tree={"first": b"0", "second": b"0"})  # a Pod is ready before its program writes
    place.create_secret()
    writer = restricted_pod(
        "writer", image=place.cluster.images.mover, command=["python3", "-c", _WRITER], claim="app-data"
    )
    place.kubectl.apply(writer, namespace=place.namespace)
    place.run("wait", "--for=condition=Ready", "pod/writer", "--timeout=60s")
    first = 0
    for number in range(3):
        name = f"backup-{number}"
        place.create_mover(name, copyMethod=method, deletePvcAfterBackup=True, addTimestampPrefix=True)
        run = place.wait_complete(name)["status"]["run"]
        first, second = (
            int(place.store.rclone("cat", f"s3:{place.bucket}/{run['timestamp']}/{file}"))
            for file in ("first", "second")
        )
        assert first - second in {0, 1}, (first, second)
    assert first > 0, "nothing was written all the time"
    place.run("delete", "pod/writer", "--wait=true")


def test_what_kubectl_shows_reads_well(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    place.create_mover("nightly", deletePvcAfterBackup=True)
    place.wait_complete("nightly")
    table = place.run("get", "datamover").splitlines()
    assert table[0].split()[:2] == ["NAME", "PHASE"]
    assert table[1].split()[:2] == ["nightly", "Completed"]
    described = place.run("describe", "datamover/nightly")
    for words in ("Completed", "Normal", "Phase:"):
        assert words in described, described
    assert "sourcePvc" in place.run("explain", "datamover.spec")


def test_the_second_run_of_a_mirror_moves_what_changed_and_deletes_what_is_gone(place: Place) -> None:
    place.create_volume(tree={"stays": b"1", "changes": b"old", "goes": b"x"})
    place.create_secret()
    place.create_mover("first", deletePvcAfterBackup=True)
    place.wait_complete("first")
    place.kubectl.apply(
        restricted_pod(
            "change",
            image=place.cluster.images.mover,
            command=["python3", "-c", "import os; os.remove('/data/goes'); open('/data/changes', 'w').write('newer')"],
            claim="app-data",
        ),
        namespace=place.namespace,
    )
    place.run("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/change", "--timeout=60s")
    place.run("delete", "pod/change", "--wait=true")
    place.create_mover("second", deletePvcAfterBackup=True)
    run = place.wait_complete("second")["status"]["run"]
    assert place.store.digests(place.bucket) == digests_of({"stays": b"1", "changes": b"newer"})
    assert run.get("files") == 2 or run.get("transferredFiles") == 1, run


@pytest.mark.disrupts
def test_thirty_at_once_all_complete(place: Place) -> None:
    place.create_volume(tree={"hello": b"hello"})
    place.create_secret()
    names = [f"backup-{number:02}" for number in range(30)]
    for name in names:
        place.create_mover(name, deletePvcAfterBackup=True, addTimestampPrefix=True)
    place.run("wait", "--for=condition=Complete", "datamover", "--all", "--timeout=240s", seconds=260)
    folders, _ = below_timestamp(place.store.digests(place.bucket))
    assert len(folders) == len(names), "two runs shared a folder"
    wait_for(lambda: place.claims() == {"app-data"}, seconds=10)
