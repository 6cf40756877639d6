"""What `datamover run` makes of a DataVolume: how far it is, what it waits for, what was collected, and what waits for it."""

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DataVolume
from datamover.api.names import Phase
from datamover.cli import fillings
from datamover.cli.applying import Wanted
from datamover.cli.display import LineDisplay, print_summary, progress_table
from datamover.cli.exits import Exit
from datamover.cli.manifests import ManifestError, Source, read_manifests
from datamover.cli.outcome import exit_code, explain, show, to_json
from datamover.cli.patience import PERSON_PATIENCE, Patience
from datamover.cli.request import check_request
from datamover.cli.resuming import GoOn, Kept, copied_at, decide
from datamover.cli.runnables import Name, name_of
from datamover.cli.sequence import find_waits
from datamover.cli.volumes import Volume
from datamover.cli.watched import Watched
from datamover.volumes.collection_time import Lifetime
from datamover.volumes.handover import build_patch, record_of
from kubekit.runtime.store import Key
from kubekit.words.core import PersistentVolumeClaim
from kubekit.words.timestamps import parse

SPEC = {"source": {"blank": {}}, "storage": {"resources": {"requests": {"storage": "1Gi"}}}}
ASKS = {names.DELETE_AFTER_COMPLETION: "true"}
SOON = Lifetime(0, "the test")
NEVER = Lifetime(None, "the test")


def volume(
    phase: str | None = None, *, version: int = 5, annotations: Any = None, spec: Any = SPEC, **status: Any
) -> DataVolume:
    meta = {
        "name": "disk",
        "namespace": "default",
        "uid": "u",
        "resourceVersion": str(version),
        "annotations": annotations or {},
    }
    told = {"phase": phase, **status} if phase is not None else None
    return msgspec.convert({"metadata": meta, "spec": spec, "status": told}, DataVolume)


def ready(status: str, reason: str, message: str = "words") -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": status, "reason": reason, "message": message}]}


def stays(reason: str, **more: str) -> DataVolume:
    said = {names.COLLECTION: f"{reason}: because", **ASKS, **more}
    return fillings.await_collection(volume("Succeeded", annotations=said), SOON)


@pytest.mark.parametrize(
    ("obj", "phase", "code"),
    [
        (volume(), "Pending", Exit.BLOCKED),
        (volume("ImportInProgress"), "ImportInProgress", Exit.BLOCKED),
        (volume("Succeeded"), Phase.COMPLETED, Exit.COMPLETED),
        (volume("Failed"), Phase.FAILED, Exit.FAILED),
        (fillings.await_collection(volume("Succeeded", annotations=ASKS), SOON), fillings.COLLECTING, Exit.BLOCKED),
        (fillings.await_collection(volume("Succeeded", annotations=ASKS), NEVER), Phase.COMPLETED, Exit.COMPLETED),
        (fillings.await_collection(volume("Succeeded"), SOON), Phase.COMPLETED, Exit.COMPLETED),
        (fillings.collect(fillings.await_collection(volume("Succeeded", annotations=ASKS), SOON)), Phase.COMPLETED, Exit.COMPLETED),
    ],
)  # fmt: skip
def test_it_is_completed_when_it_is_filled_and_collected_where_that_was_asked_for(
    obj: DataVolume, phase: str, code: Exit
) -> None:
    assert show(obj).phase == phase
    assert exit_code((obj,)) == code


@pytest.mark.parametrize(
    ("obj", "seconds"),
    [
        (volume("ImportInProgress", **ready("False", "TransferRunning")), None),
        (stays("TTL"), None),
        (stays("GitOpsManaged"), PERSON_PATIENCE),
        (stays("DryRun"), PERSON_PATIENCE),
        (volume("Succeeded"), 0.0),
    ],
)
def test_when_nobody_waits_for_it_any_more(obj: DataVolume, seconds: float | None) -> None:
    patience = Patience(limit=100.0)
    moments = (0.0, 4.9, PERSON_PATIENCE, 99.9, 100.0, 1e6)
    assert next((now for now in moments if patience.is_over({name_of(obj): obj}, now=now)), None) == seconds


def test_why_it_is_not_collected_is_told() -> None:
    assert (explain(stays("GitOpsManaged")) or "").startswith("because")
    assert explain(volume("Succeeded")) is None


def test_a_next_command_goes_on_with_what_is_there() -> None:
    for each in (volume("Succeeded"), volume("ImportInProgress"), volume("Failed")):
        assert (
            decide(Kept(before=each, now=each), now=parse("2026-01-31T00:00:00Z"), max_copy_age=timedelta(days=1))
            == GoOn()
        )
        assert copied_at(each) is None


def test_one_that_goes_while_it_is_waited_for_was_collected() -> None:
    watched = Watched({name_of(volume()): Wanted("u", 5)}, lifetimes={"default": SOON})
    name = name_of(volume())
    done = volume("Succeeded", version=6, annotations=ASKS)
    assert watched.find(name, None) is None, "not in the cache yet"
    seen = watched.find(name, done)
    assert seen is not None
    assert show(seen).phase == fillings.COLLECTING
    gone = watched.miss(done)
    assert gone is not None
    assert show(gone).phase == Phase.COMPLETED
    assert watched.find(name, None) is gone
    assert watched.is_filled(name)


def test_one_that_goes_before_it_is_waited_for_was_collected_as_well() -> None:
    watched = Watched(lifetimes={"default": SOON})
    assert watched.miss(volume("Succeeded", annotations=ASKS)) is None
    watched.want({name_of(volume()): Wanted("u", 5)})
    found = watched.find(name_of(volume()), None)
    assert found is not None
    assert show(found).phase == Phase.COMPLETED


def test_one_of_another_uid_or_without_a_disk_was_not() -> None:
    watched = Watched({name_of(volume()): Wanted("another", 5)}, lifetimes={"default": SOON})
    assert watched.miss(volume("Succeeded", annotations=ASKS)) is None
    assert watched.miss(volume("ImportInProgress")) is None
    assert not watched.is_filled(name_of(volume()))


def collected_claim() -> PersistentVolumeClaim:
    done = volume("Succeeded")
    claim = msgspec.convert({"metadata": {"name": "disk", "namespace": "default", "uid": "c"}}, PersistentVolumeClaim)
    record = record_of(done, collected="2026-01-31T00:00:00Z")
    patch = build_patch(claim, done, heirs=(), record=record, demoted=frozenset())
    return msgspec.convert(msgspec.to_builtins(claim) | {"metadata": {"name": "disk", **patch["metadata"]}}, PersistentVolumeClaim)  # fmt: skip


def test_one_that_was_collected_in_an_earlier_run_is_remembered_by_its_claim() -> None:
    manifest = {"metadata": {"name": "disk", "namespace": "default"}, "spec": SPEC}
    claim = collected_claim()
    recalled = fillings.recall(manifest, claim)
    assert recalled is not None
    assert (recalled.metadata.uid, show(recalled).phase) == ("u", Phase.COMPLETED)
    told = fillings.tell_recalled(claim)
    assert "it was filled from blank and collected at 2026-01-31T00:00:00Z" in told
    assert "datamover state --free DataVolume/disk" in told
    watched = Watched()
    watched.want({name_of(recalled): Wanted("u", 0, recalled=recalled)})
    assert watched.find(name_of(recalled), None) is recalled
    assert fillings.recall({"metadata": {"name": "other"}}, claim) is None


@pytest.mark.parametrize(
    ("obj", "before", "words"),
    [
        (volume(), None, None),
        (volume(), volume("Succeeded"), None),
        (volume(spec={"source": {"upload": {}}}), volume(), "that of a DataVolume cannot be changed"),
        (volume(spec={"source": {"blank": {}}, "pvc": {"volumeMode": "Block"}}), None, "has no Block volumes"),
    ],
)
def test_what_cannot_be_filled_here(obj: DataVolume, before: DataVolume | None, words: str | None) -> None:
    found = fillings.find_fault(obj, before=before)
    assert (found is None) if words is None else words in (found or "")


def test_lines_tables_and_json_show_it() -> None:
    console = Console(file=io.StringIO(), width=200)
    works = volume("ImportInProgress", progress="12.34%", **ready("False", "TransferRunning", "half of it is there"))
    LineDisplay(console, now=lambda: parse("2026-01-31T00:00:00Z")).update((works,))
    console.print(progress_table((works,)))
    print_summary(console, (fillings.collect(volume("Succeeded", progress="100.0%")), volume("Succeeded")))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "DataVolume default/disk  ImportInProgress  12.34%  half of it is there" in text
    assert "disk  DataVolume  Collected  blank  100.0%" in text
    assert "disk  DataVolume  Completed  blank" in text
    document = json.loads(to_json((works,), code=Exit.BLOCKED, state="s"))
    (entry,) = document["dataVolumes"]
    assert (entry["result"], entry["status"]["progress"]) == ("ImportInProgress", "12.34%")


FILE = """
apiVersion: cdi.kubevirt.io/v1beta1
kind: DataVolume
metadata: {name: disk}
spec: {source: {blank: {}}, storage: {resources: {requests: {storage: 1Gi}}}}
---
apiVersion: datamover.a-cup-of.coffee/v1alpha1
kind: DataMover
metadata: {name: backup}
spec: {sourcePvc: disk, secretName: s}
---
apiVersion: volsync.backube/v1alpha1
kind: ReplicationSource
metadata: {name: copy}
spec: {sourcePVC: disk, rclone: {}}
---
apiVersion: volsync.backube/v1alpha1
kind: ReplicationDestination
metadata: {name: back}
spec: {rclone: {destinationPVC: disk}}
---
apiVersion: datamover.a-cup-of.coffee/v1alpha1
kind: DataMover
metadata: {name: other, namespace: elsewhere}
spec: {sourcePvc: disk, secretName: s}
"""


def sources(text: str = FILE) -> tuple[Source, ...]:
    return read_manifests(("-",), stdin=io.StringIO(text), namespace="default")


def named(kind: str, name: str, namespace: str = "default") -> Name:
    return Name(kind, Key(namespace, name))


def test_who_copies_its_claim_waits_for_it() -> None:
    manifests = {
        named(each.manifest["kind"], each.manifest["metadata"]["name"], each.manifest["metadata"]["namespace"]): each.manifest
        for each in sources()
    }  # fmt: skip
    disk = named("DataVolume", "disk")
    assert find_waits(manifests) == {
        named("DataMover", "backup"): disk,
        named("ReplicationSource", "copy"): disk,
        named("ReplicationDestination", "back"): disk,
    }


@pytest.mark.parametrize("spec", [None, [], {"sourcePvc": 7}, {"sourcePvc": "other"}])
def test_what_names_no_such_claim_waits_for_nothing(spec: Any) -> None:
    assert find_waits({named("DataMover", "m"): {"spec": spec}, named("DataVolume", "disk"): {}}) == {}


def test_a_directory_of_the_users_is_not_filled(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is a directory of yours"):
        check_request(sources(), (Volume("disk", tmp_path / "mine"),), state=tmp_path / "state")


def test_what_imports_again_and_again_is_refused(tmp_path: Path) -> None:
    cron = "{apiVersion: cdi.kubevirt.io/v1beta1, kind: DataImportCron, metadata: {name: nightly}, spec: {}}"
    with pytest.raises(ManifestError, match="DataImportCron nightly imports again and again"):
        check_request(sources(f"{FILE}---\n{cron}"), (), state=tmp_path / "state")
