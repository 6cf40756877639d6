"""A claim that its driver makes from another one is called populated only when its volume was seen, and was made for it."""

from typing import Any

import pytest

from datamover.runs.facts import Unread
from support.clones import Cloner, Clones
from support.disks import WHOLE, settle

PVC = {"pvc": {"name": "golden"}}


def until_bound() -> tuple[Clones, Cloner, dict[str, Any]]:
    server = Clones(strategy="csi-clone")
    operator = Cloner(server)
    server.hold()
    server.make(source=PVC, storage={})
    while server.claim() is None:
        operator.sync()
        operator.work()
    server.provision()
    volume = server.get("PersistentVolume", "pv-disk")
    assert volume is not None
    return server, operator, volume


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"csi": {"driver": "other.example.com"}}},
        {"spec": {"csi": None}},
        {"metadata": {"creationTimestamp": "2026-11-01T12:00:00Z"}},
    ],
    ids=["of another driver", "of none", "older than its claim"],
)
def test_l4_a_volume_that_was_not_made_for_the_claim_is_no_copy(change: dict[str, dict[str, Any]]) -> None:
    server, operator, volume = until_bound()
    for part, fields in change.items():
        volume[part].update(fields)
    server.touch(volume)
    settle(server, operator)
    ready = server.condition("Ready")
    assert ready["reason"] == "StorageClassCannotClone"
    assert "no copy" in ready["message"]
    assert server.status()["phase"] != "Succeeded"
    assert server.get("PersistentVolume", "pv-disk") is volume, "what is somebody's is not deleted"


def test_l4_a_volume_that_names_another_claim_is_waited_for() -> None:
    server, operator, volume = until_bound()
    uid = volume["spec"]["claimRef"]["uid"]
    volume["spec"]["claimRef"]["uid"] = "another"
    server.touch(volume)
    operator.sync()
    plan = operator.plan()
    assert plan is not None
    assert plan.steps == ()
    volume["spec"]["claimRef"]["uid"] = uid
    server.touch(volume)
    settle(server, operator)
    assert server.status()["phase"] == "Succeeded"
    assert server.storage["pv-disk"] == WHOLE


def test_l10_who_may_not_see_volumes_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    server, operator, _ = until_bound()
    monkeypatch.setattr(operator, "volume", lambda name: Unread.FORBIDDEN)
    operator.sync()
    operator.work()
    ready = server.condition("Ready")
    assert ready["reason"] == "PermissionMissing"
    assert "PersistentVolumes" in ready["message"]
    monkeypatch.undo()
    settle(server, operator)
    assert server.status()["phase"] == "Succeeded"
