"""The mover rsync-tls as users of it know it: Job, Service and Secret, with each difference and its reason."""

import re
from typing import Any

import pytest

from datamover.api.ownership import Owner
from datamover.api.volsync import names as words
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.movers import replication, rsync_tls
from datamover.movers.replication import Movement
from kubekit.words.meta import ObjectMeta


def owner(role: str, name: str) -> Owner:
    resource = REPLICATION_SOURCES if role == words.SOURCE else REPLICATION_DESTINATIONS
    metadata = ObjectMeta(name=name, namespace="apps", uid="uid-of-nightly")
    return Owner(resource, metadata, replication.temporary_labels("uid-of-nightly", run_id="r1"))


def movement(role: str, name: str = "nightly", **changes: Any) -> Movement:
    return Movement(
        owner=owner(role, name),
        role=role,
        run_id="r1",
        job=words.job_name(words.Method.RSYNC_TLS, role, name),
        claim="data",
        claim_uid="uid-of-data",
        account=words.account_name(role, name),
        image="example.com/mover:1",
        **changes,
    )


def variables(job: Any) -> dict[str, str]:
    found = job["spec"]["template"]["spec"]["containers"][0]["env"]
    return {each["name"]: each["value"] for each in found if not each["name"].startswith("DATAMOVER_")}


@pytest.mark.parametrize("privileged", [False, True])
@pytest.mark.parametrize("role", [words.SOURCE, words.DESTINATION])
def test_the_job_is_the_documented_one(role: str, privileged: bool) -> None:
    job = rsync_tls.build_job(movement(role, privileged=privileged), keys="tls-psk", address="peer.example")
    assert job["metadata"]["name"] == f"volsync-rsync-tls-{role}-nightly"
    assert (job["spec"]["backoffLimit"], job["spec"]["parallelism"]) == (2, 1)
    pod = job["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert {key: labels[key] for key in labels if key.startswith("app.kubernetes.io/") and "managed" not in key} == {
        "app.kubernetes.io/component": "rsync-tls-mover",
        "app.kubernetes.io/created-by": "volsync",
        "app.kubernetes.io/name": f"{role}-nightly",
        "app.kubernetes.io/part-of": "volsync",
    }
    assert pod["metadata"]["name"] == job["metadata"]["name"]
    (container,) = pod["spec"]["containers"]
    assert container["name"] == "rsync-tls"
    assert "command" not in container  # theirs is a script of theirs
    assert container["args"] == ["rsync-tls"]
    capabilities = {"drop": ["ALL"], **({"add": ["DAC_OVERRIDE", "CHOWN", "FOWNER", "SETGID"]} if privileged else {})}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": capabilities,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        **({"runAsUser": 0} if privileged else {}),
    }
    # ours alone: a source is not mounted for writing (law L1)
    assert container["volumeMounts"] == [
        {"name": "data", "mountPath": "/data", **({"readOnly": True} if role == words.SOURCE else {})},
        {"name": "keys", "mountPath": "/keys"},
        {"name": "tempdir", "mountPath": "/tmp"},
    ]
    assert pod["spec"]["volumes"] == [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "keys", "secret": {"defaultMode": 0o600, "secretName": "tls-psk"}},
        {"name": "tempdir", "emptyDir": {"medium": "Memory"}},
    ]


def test_a_source_is_told_its_destination_and_a_destination_nothing_but_its_direction() -> None:
    """`DIRECTION` is ours: theirs has a script for each."""
    source = rsync_tls.build_job(movement(words.SOURCE), keys="k", address="peer.example")
    assert variables(source) == {
        "DESTINATION_ADDRESS": "peer.example",
        "DESTINATION_PORT": "8000",
        "DIRECTION": "source",
        "PRIVILEGED_MOVER": "0",
    }
    other = rsync_tls.build_job(movement(words.SOURCE, privileged=True), keys="k", address="peer.example", port=443)
    assert variables(other)["DESTINATION_PORT"] == "443"
    assert variables(other)["PRIVILEGED_MOVER"] == "1"
    destination = rsync_tls.build_job(movement(words.DESTINATION, debug=True), keys="k")
    assert variables(destination) == {"DIRECTION": "destination", "PRIVILEGED_MOVER": "0", "DEBUG_MOVER": "1"}


UNCHOSEN = replication.complete_identity(None, restricted=False)
NOBODY = replication.complete_identity(None, restricted=True)


@pytest.mark.parametrize(
    ("role", "privileged", "identity", "expected"),
    [
        (words.DESTINATION, False, UNCHOSEN, NOBODY),  # rsync's daemon does not run as root without capabilities
        (words.DESTINATION, True, UNCHOSEN, UNCHOSEN),
        (words.DESTINATION, False, {"runAsUser": 1000, "fsGroup": 1000}, {"runAsUser": 1000, "fsGroup": 1000}),
        (words.DESTINATION, False, {"runAsUser": 0, "fsGroup": 5}, {"runAsUser": 0, "fsGroup": 5}),
        (words.SOURCE, False, UNCHOSEN, UNCHOSEN),
    ],
)
def test_a_destination_that_nobody_chose_a_user_for_is_nobody(
    role: str, privileged: bool, identity: Any, expected: Any
) -> None:
    job = rsync_tls.build_job(movement(role, privileged=privileged, identity=identity), keys="k", address="a")
    assert job["spec"]["template"]["spec"]["securityContext"] == expected


def test_a_block_volume_is_a_device() -> None:
    job = rsync_tls.build_job(movement(words.SOURCE, block=True), keys="k", address="a")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["volumeDevices"] == [{"name": "data", "devicePath": "/dev/block"}]


def test_the_service_is_the_documented_one() -> None:
    service = rsync_tls.build_service(owner(words.DESTINATION, "nightly"))
    assert service["metadata"]["name"] == "volsync-rsync-tls-dst-nightly"
    assert service["metadata"]["annotations"] == {"service.beta.kubernetes.io/aws-load-balancer-type": "nlb"}
    assert service["spec"] == {
        "type": "ClusterIP",
        "selector": {
            "app.kubernetes.io/component": "rsync-tls-mover",
            "app.kubernetes.io/name": "dst-nightly",
            "app.kubernetes.io/part-of": "volsync",
        },
        "ports": [{"name": "rsync-tls", "port": 8000, "protocol": "TCP", "targetPort": 8000}],
    }
    own = rsync_tls.build_service(
        owner(words.DESTINATION, "nightly"), port=443, kind="LoadBalancer", annotations={"a": "b"}
    )
    assert own["metadata"]["annotations"] == {"a": "b"}
    assert own["spec"]["type"] == "LoadBalancer"
    assert own["spec"]["ports"] == [{"name": "rsync-tls", "port": 443, "protocol": "TCP", "targetPort": 8000}]


def test_names_of_more_than_63_letters_are_shortened_alike_in_service_and_pod() -> None:
    name = "n" * 70
    labels = rsync_tls.build_job(movement(words.DESTINATION, name), keys="k")["spec"]["template"]["metadata"]["labels"]
    assert rsync_tls.build_service(owner(words.DESTINATION, name))["spec"]["selector"].items() <= labels.items()
    assert all(len(value) <= 63 for value in labels.values())


def test_the_key_has_the_documented_form_and_no_manifest_has_it() -> None:
    secret = rsync_tls.build_secret(owner(words.DESTINATION, "nightly"))
    assert (secret["metadata"]["name"], secret["type"]) == ("volsync-rsync-tls-nightly", "Opaque")
    assert not {"data", "stringData"} & secret.keys()
    data = rsync_tls.secret_of(bytes(range(64)))
    assert list(data) == ["psk.txt"]
    assert re.fullmatch(rb"volsync:[0-9a-f]{128}", data["psk.txt"])
    assert rsync_tls.find_missing(data) == ()
    assert rsync_tls.find_missing({"psk.txt": b""}) == rsync_tls.find_missing({}) == ("psk.txt",)
    with pytest.raises(ValueError, match="64 random bytes"):
        rsync_tls.secret_of(b"short")
