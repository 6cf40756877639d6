"""The mover of rsync over ssh as users of it know it: Job, Service and Secrets, with each difference and its reason."""

from typing import Any

import pytest

from datamover.api import transfer
from datamover.api.ownership import Owner
from datamover.api.volsync import names as words
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.movers import replication, rsync_ssh
from datamover.movers.replication import Movement
from datamover.movers.rsync_ssh import KeyPair
from kubekit.words.meta import ObjectMeta


def owner(role: str, name: str) -> Owner:
    resource = REPLICATION_SOURCES if role == words.SOURCE else REPLICATION_DESTINATIONS
    metadata = ObjectMeta(name=name, namespace="apps", uid="uid-of-nightly")
    return Owner(resource, metadata, replication.temporary_labels("uid-of-nightly", run_id="r1"))


def movement(role: str, name: str, **changes: Any) -> Movement:
    return Movement(
        owner=owner(role, name),
        role=role,
        run_id="r1",
        job=words.job_name(words.Method.RSYNC, role, name),
        claim="data",
        claim_uid="uid-of-data",
        account=words.account_name(role, name),
        image="example.com/mover:1",
        **changes,
    )


CAPABILITIES = {
    "add": ["AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID", "SYS_CHROOT"],
    "drop": ["ALL"],
}


@pytest.mark.parametrize("privileged", [False, True])
@pytest.mark.parametrize("role", [words.SOURCE, words.DESTINATION])
def test_the_job_is_the_documented_one(role: str, privileged: bool) -> None:
    """It is root with the same capabilities whatever the namespace says."""
    job = rsync_ssh.build_job(movement(role, "nightly", privileged=privileged), keys="ssh-keys", address="peer.example")
    assert job["metadata"]["name"] == f"volsync-rsync-{role}-nightly"
    assert job["metadata"]["labels"]["app.kubernetes.io/created-by"] == "volsync"
    assert job["metadata"]["labels"]["volsync.backube/cleanup"] == "uid-of-nightly"
    assert (job["spec"]["backoffLimit"], job["spec"]["parallelism"]) == (2, 1)
    pod = job["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert {key: labels[key] for key in labels if key.startswith("app.kubernetes.io/") and "managed" not in key} == {
        "app.kubernetes.io/component": "rsync-mover",
        "app.kubernetes.io/created-by": "volsync",
        "app.kubernetes.io/name": f"{role}-nightly",
        "app.kubernetes.io/part-of": "volsync",
    }
    (container,) = pod["spec"]["containers"]
    assert container["name"] == "rsync"
    assert "command" not in container  # theirs is a script of theirs
    assert container["args"] == ["rsync"]
    context = container["securityContext"]
    assert {**context, "capabilities": None} == {
        "allowPrivilegeEscalation": False,
        "capabilities": None,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsUser": 0,
    }
    assert context["capabilities"] == CAPABILITIES
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/data", "/keys", "/root/.ssh", "/tmp"]
    # ours alone: a source is not mounted for writing (law L1)
    assert container["volumeMounts"][0].get("readOnly", False) == (role == words.SOURCE)
    volumes = {volume.pop("name"): volume for volume in pod["spec"]["volumes"]}
    assert volumes == {
        "data": {"persistentVolumeClaim": {"claimName": "data"}},
        "keys": {"secret": {"defaultMode": 0o600, "secretName": "ssh-keys"}},
        "tempsshdir": {"emptyDir": {"medium": "Memory"}},
        "tempdir": {"emptyDir": {"medium": "Memory"}},
    }


def variables(job: Any) -> dict[str, str]:
    found = job["spec"]["template"]["spec"]["containers"][0]["env"]
    return {each["name"]: each["value"] for each in found if not each["name"].startswith("DATAMOVER_")}


def test_the_environment_names_the_destination_and_the_direction() -> None:
    """`DIRECTION` is ours: theirs has a script for each. A destination of theirs has no variable at all."""
    source = rsync_ssh.build_job(movement(words.SOURCE, "n"), keys="k", address="peer.example", port=2222)
    assert variables(source) == {
        "DESTINATION_ADDRESS": "peer.example",
        "DESTINATION_PORT": "2222",
        "DIRECTION": "source",
        "PRIVILEGED_MOVER": "1",
    }
    destination = rsync_ssh.build_job(movement(words.DESTINATION, "n", debug=True), keys="k")
    assert variables(destination) == {"DIRECTION": "destination", "PRIVILEGED_MOVER": "1", "DEBUG_MOVER": "1"}


def test_a_block_volume_is_a_device() -> None:
    job = rsync_ssh.build_job(movement(words.SOURCE, "n", block=True), keys="k", address="a")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["volumeDevices"] == [{"name": "data", "devicePath": "/dev/block"}]
    assert "/data" not in [mount["mountPath"] for mount in container["volumeMounts"]]


def test_the_service_is_the_documented_one() -> None:
    service = rsync_ssh.build_service(owner(words.DESTINATION, "nightly"), role=words.DESTINATION)
    assert service["metadata"]["name"] == "volsync-rsync-dst-nightly"
    assert service["metadata"]["annotations"] == {"service.beta.kubernetes.io/aws-load-balancer-type": "nlb"}
    assert service["spec"] == {
        "type": "ClusterIP",
        "selector": {
            "app.kubernetes.io/component": "rsync-mover",
            "app.kubernetes.io/name": "dst-nightly",
            "app.kubernetes.io/part-of": "volsync",
        },
        "ports": [{"name": "ssh", "port": 22, "protocol": "TCP", "targetPort": 8022}],
    }
    own = rsync_ssh.build_service(
        owner(words.DESTINATION, "nightly"), role=words.DESTINATION, kind="LoadBalancer", annotations={"a": "b"}
    )
    assert (own["metadata"]["annotations"], own["spec"]["type"]) == ({"a": "b"}, "LoadBalancer")


def test_names_of_more_than_63_letters_are_shortened_alike_in_service_and_pod() -> None:
    name = "n" * 70
    service = rsync_ssh.build_service(owner(words.DESTINATION, name), role=words.DESTINATION)
    job = rsync_ssh.build_job(movement(words.DESTINATION, name), keys="k")
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert all(len(value) <= 63 for value in labels.values())


PAIRS = {
    "source": KeyPair(private=b"source-private", public=b"source-public"),
    "destination": KeyPair(private=b"destination-private", public=b"destination-public"),
}


@pytest.mark.parametrize(
    ("part", "keys"),
    [
        ("main", {"destination", "destination.pub", "source", "source.pub"}),
        ("src", {"destination.pub", "source", "source.pub"}),
        ("dest", {"destination", "destination.pub", "source.pub"}),
    ],
)
def test_each_secret_has_its_keys_and_no_manifest_has_any(part: str, keys: set[str]) -> None:
    main = rsync_ssh.secrets_of(**PAIRS)
    assert set(rsync_ssh.select_secrets(part, main)) == keys
    secret = rsync_ssh.build_secret(owner(words.DESTINATION, "n"), role=words.DESTINATION, part=part)
    assert secret["metadata"]["name"] == f"volsync-rsync-dst-{part}-n"
    assert secret["type"] == "Opaque"
    assert "data" not in secret


def test_neither_side_gets_the_private_key_of_the_other() -> None:
    main = rsync_ssh.secrets_of(**PAIRS)
    assert b"destination-private" not in rsync_ssh.select_secrets(rsync_ssh.FOR_SOURCE, main).values()
    assert b"source-private" not in rsync_ssh.select_secrets(rsync_ssh.FOR_DESTINATION, main).values()


def test_what_is_published_is_for_the_other_side() -> None:
    assert rsync_ssh.published_secret(words.DESTINATION, "n") == "volsync-rsync-dst-src-n"
    assert rsync_ssh.own_secret(words.DESTINATION, "n") == "volsync-rsync-dst-dest-n"
    assert rsync_ssh.published_secret(words.SOURCE, "n") == "volsync-rsync-src-dest-n"
    assert rsync_ssh.own_secret(words.SOURCE, "n") == "volsync-rsync-src-src-n"


def test_half_a_secret_is_named_so() -> None:
    main = rsync_ssh.secrets_of(**PAIRS)
    assert rsync_ssh.find_missing(rsync_ssh.MAIN, main) == ()
    del main["source"]
    main["destination.pub"] = b""
    assert rsync_ssh.find_missing(rsync_ssh.MAIN, main) == ("destination.pub", "source")
    with pytest.raises(ValueError, match=r"no destination\.pub and no source"):
        rsync_ssh.select_secrets(rsync_ssh.FOR_SOURCE, main)


def test_a_pair_shows_nothing_of_its_private_key() -> None:
    assert "private" not in repr(PAIRS["source"]) + str(PAIRS)
    assert transfer.SSH_SOURCE == "source"
