"""The rclone mover as users of it know it: its Job, with each difference and its reason."""

from typing import Any

import pytest

from datamover.api.ownership import Owner
from datamover.api.volsync import names as words
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.movers import rclone_conf, replication
from datamover.movers.authorities import Authority
from datamover.movers.rclone_conf import RcloneWork
from datamover.movers.replication import Movement
from kubekit.words.meta import ObjectMeta


def job(role: str, *, work: dict[str, Any] | None = None, **changes: Any) -> Any:
    resource = REPLICATION_SOURCES if role == words.SOURCE else REPLICATION_DESTINATIONS
    metadata = ObjectMeta(name="nightly", namespace="apps", uid="uid-of-nightly")
    movement = Movement(
        owner=Owner(resource, metadata, replication.temporary_labels("uid-of-nightly", run_id="r1")),
        role=role,
        run_id="r1",
        job=words.job_name(words.Method.RCLONE, role, "nightly"),
        claim="data",
        claim_uid="uid-of-data",
        account=words.account_name(role, "nightly"),
        image="example.com/mover:1",
        **changes,
    )
    given = {"secret": "rclone-secret", "keys": frozenset({"rclone.conf"}), "section": "remote", "path": "bucket/x"}
    return rclone_conf.build_job(movement, RcloneWork(**(given | (work or {}))))


def variables(manifest: Any) -> list[tuple[str, Any]]:
    found = manifest["spec"]["template"]["spec"]["containers"][0]["env"]
    return [
        (each["name"], each.get("value", each.get("valueFrom")))
        for each in found
        if not each["name"].startswith("DATAMOVER_")
    ]


@pytest.mark.parametrize("privileged", [False, True])
@pytest.mark.parametrize(("role", "direction"), [(words.SOURCE, "source"), (words.DESTINATION, "destination")])
def test_the_job_is_the_documented_one(role: str, direction: str, privileged: bool) -> None:
    made = job(role, privileged=privileged)
    assert made["metadata"]["name"] == f"volsync-rclone-{role}-nightly"
    assert (made["spec"]["backoffLimit"], made["spec"]["parallelism"]) == (2, 1)
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["name"] == "rclone"
    assert "command" not in container  # theirs is a script of theirs
    assert container["args"] == ["rclone"]
    assert variables(made) == [
        ("RCLONE_CONFIG", "/rclone-config/rclone.conf"),
        ("RCLONE_DEST_PATH", "bucket/x"),
        ("DIRECTION", direction),
        ("MOUNT_PATH", "/data"),
        ("RCLONE_CONFIG_SECTION", "remote"),
        ("PRIVILEGED_MOVER", "1" if privileged else "0"),
    ]
    # ours alone: a source is not mounted for writing (law L1)
    assert container["volumeMounts"] == [
        {"name": "data", "mountPath": "/data", **({"readOnly": True} if role == words.SOURCE else {})},
        {"name": "rclone-secret", "mountPath": "/rclone-config/"},
        {"name": "tempdir", "mountPath": "/tmp"},
    ]
    assert made["spec"]["template"]["spec"]["volumes"] == [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "rclone-secret", "secret": {"defaultMode": 0o600, "secretName": "rclone-secret"}},
        {"name": "tempdir", "emptyDir": {"medium": "Memory"}},
    ]


def test_the_secrets_rclone_variables_come_first_and_take_no_other_ones_place() -> None:
    keys = frozenset(
        {"rclone.conf", "RCLONE_TRANSFERS", "RCLONE_BWLIMIT", "RCLONE_CONFIG", "RCLONE_DEST_PATH", "OTHER"}
    )
    made = job(words.SOURCE, work={"keys": keys})
    assert variables(made)[:3] == [
        ("RCLONE_BWLIMIT", {"secretKeyRef": {"name": "rclone-secret", "key": "RCLONE_BWLIMIT", "optional": True}}),
        ("RCLONE_TRANSFERS", {"secretKeyRef": {"name": "rclone-secret", "key": "RCLONE_TRANSFERS", "optional": True}}),
        ("RCLONE_CONFIG", "/rclone-config/rclone.conf"),
    ]
    names = [name for name, _ in variables(made)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("authority", "volume"),
    [
        (
            Authority(key="ca.pem", secret="authorities"),
            {
                "secret": {
                    "secretName": "authorities",
                    "defaultMode": 0o600,
                    "items": [{"key": "ca.pem", "path": "ca.crt"}],
                }
            },
        ),
        (
            Authority(key="ca.pem", config_map="authorities"),
            {"configMap": {"name": "authorities", "items": [{"key": "ca.pem", "path": "ca.crt"}]}},
        ),
    ],
)
def test_certificates_come_from_a_secret_or_a_config_map(authority: Authority, volume: dict[str, Any]) -> None:
    made = job(words.SOURCE, work={"authority": authority})
    assert ("CUSTOM_CA", "/customca/ca.crt") in variables(made)
    pod = made["spec"]["template"]["spec"]
    assert {"name": "custom-ca", **volume} in pod["volumes"]
    assert {"name": "custom-ca", "mountPath": "/customca"} in pod["containers"][0]["volumeMounts"]
