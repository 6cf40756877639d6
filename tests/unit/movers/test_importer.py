"""The Job that fills the disk of a DataVolume: what its Pod is, sees and is told."""

import ipaddress
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from datamover.agent.importer.settings import read_settings
from datamover.api import importer as words
from datamover.api.ownership import Owner, labels_of
from datamover.api.pods import Mover, PodSecurityContext
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.movers import importer
from datamover.movers.defaults import MoverDefaults
from datamover.movers.importer import Import
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import ObjectMeta

SIZE = 10 << 30
OWNER = Owner(REPLICATION_SOURCES, ObjectMeta(name="disk", namespace="apps", uid="uid-of-disk"), {"a": "b"})


def job(source: str = words.HTTP, *, mover: Mover | None = None, defaults: MoverDefaults | None = None, **asked: Any):
    given = {"run_id": "r1", "claim": "prime-1", "size": SIZE, "url": "https://images.example/disk.qcow2"} | asked
    return importer.build_job(
        OWNER,
        Import(source=source, **given),
        name="importer-disk",
        image="example.com/mover:1",
        mover=mover,
        defaults=defaults or MoverDefaults(),
    )


def pod(made: Any) -> Any:
    return made["spec"]["template"]["spec"]


def container(made: Any) -> Any:
    (found,) = pod(made)["containers"]
    return found


def variables(made: Any) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container(made)["env"]}


def volumes(made: Any) -> dict[str, Any]:
    return {each["name"]: {key: value for key, value in each.items() if key != "name"} for each in pod(made)["volumes"]}


def test_it_is_the_user_of_virtual_machines_and_admitted_by_restricted_pod_security_whatever_was_chosen() -> None:
    made = job(
        mover=Mover(security_context=PodSecurityContext(run_as_user=0)),
        defaults=MoverDefaults(security_context=PodSecurityContext(fs_group=5)),
    )
    assert pod(made)["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 107,
        "runAsGroup": 107,
        "fsGroup": 107,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container(made)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
    }
    assert pod(made)["automountServiceAccountToken"] is False
    assert container(made)["args"] == ["importer"]
    assert "command" not in container(made)


def test_a_filesystem_is_mounted_and_a_device_is_given() -> None:
    made = job()
    assert {each["name"]: each["mountPath"] for each in container(made)["volumeMounts"]} == {
        "target": "/data",
        "scratch": "/scratch",
    }
    assert "volumeDevices" not in container(made)
    assert volumes(made)["target"] == {"persistentVolumeClaim": {"claimName": "prime-1"}}
    made = job(block=True)
    assert container(made)["volumeDevices"] == [{"name": "target", "devicePath": "/dev/target"}]
    assert [each["name"] for each in container(made)["volumeMounts"]] == ["scratch"]
    assert variables(made)["VOLUME_MODE"] == "Block"


@pytest.mark.parametrize(
    ("source", "content", "large"),
    [("http", "kubevirt", True), ("s3", "kubevirt", True), ("http", "archive", False), ("blank", "kubevirt", False)],
)
def test_scratch_space_is_bounded_and_large_only_where_an_image_may_have_to_lie_there(
    source: str, content: str, large: bool
) -> None:
    limit = int(volumes(job(source, content_type=content))["scratch"]["emptyDir"]["sizeLimit"])
    assert (limit > SIZE) == large
    assert limit < SIZE * 1.1


def test_credentials_are_named_and_never_written_down() -> None:
    made = job(secret="keys", secret_headers=("one", "two"), certificates="ca", headers=("X-A: b",))
    env = variables(made)
    assert env["ACCESS_KEY_ID"] == {"secretKeyRef": {"name": "keys", "key": "accessKeyId", "optional": False}}
    assert env["SECRET_KEY"] == {"secretKeyRef": {"name": "keys", "key": "secretKey", "optional": False}}
    assert json.loads(env["EXTRA_HEADERS"]) == ["X-A: b"]
    places = {each["mountPath"]: each for each in container(made)["volumeMounts"]}
    assert "/secret-headers/0" in places
    assert volumes(made)["secret-headers-1"]["secret"]["secretName"] == "two"
    assert volumes(made)["certificates"] == {"configMap": {"name": "ca"}}
    assert places["/certificates"]["readOnly"] is True


@pytest.mark.parametrize("block", [False, True])
def test_what_is_copied_from_is_read_only_for_the_node_too(block: bool) -> None:
    made = job(words.COPY, source_claim="golden", source_block=block)
    assert volumes(made)["source"] == {"persistentVolumeClaim": {"claimName": "golden", "readOnly": True}}
    if block:
        assert {"name": "source", "devicePath": "/dev/source"} in container(made)["volumeDevices"]
    else:
        (place,) = [each for each in container(made)["volumeMounts"] if each["name"] == "source"]
        assert place == {"name": "source", "mountPath": "/source", "readOnly": True}


def test_what_the_operator_says_is_what_the_importer_reads() -> None:
    made = job(
        url="https://x.example/$(SECRET_KEY)?a=$$", checksum="md5:" + "0" * 32, any_certificate=True, preallocation=True
    )
    env = {name: value.replace("$$", "$") for name, value in variables(made).items() if isinstance(value, str)}
    settings = read_settings(env, token="t")
    assert settings.address is not None
    assert settings.address.target == "/$(SECRET_KEY)?a=$$"
    assert (settings.size, settings.any_certificate, settings.preallocate, settings.root) == (SIZE, True, True, "")
    assert variables(made)["URL"] == "https://x.example/$$(SECRET_KEY)?a=$$$$"


def test_every_variable_is_set_so_that_no_other_source_is_heard() -> None:
    names = {
        value
        for name, value in vars(words).items()
        if name.isupper() and isinstance(value, str) and value.isupper() and name == value
    }
    assert names <= set(variables(job()))
    assert "DATAMOVER_QEMU_IMG" in variables(job())


def test_account_and_priority_are_those_of_the_object() -> None:
    made = job(account="runner", priority_class="high", labels=(("app", "containerized-data-importer"),))
    assert (pod(made)["serviceAccountName"], pod(made)["priorityClassName"]) == ("runner", "high")
    assert made["spec"]["template"]["metadata"]["labels"]["app"] == "containerized-data-importer"


def test_the_documented_network_policy_holds_for_an_importer_and_keeps_it_from_the_node_and_the_cluster() -> None:
    text = (Path(__file__).parents[3] / "docs" / "datavolumes.md").read_text(encoding="utf-8")
    (policy,) = [
        found
        for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        if (found := yaml.safe_load(block))["kind"] == "NetworkPolicy"
    ]
    owner = Owner(PERSISTENT_VOLUME_CLAIMS, OWNER.metadata, labels_of(OWNER.metadata, run_id="1"))
    made = importer.build_job(
        owner, Import(source=words.UPLOAD, run_id="r", claim="prime", size=SIZE), name="importer", image="mover:1"
    )
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    ((port,),) = [rule["ports"] for rule in policy["spec"]["ingress"]]
    assert port["port"] == words.UPLOAD_PORT
    names, servers = policy["spec"]["egress"]
    assert {each["port"] for each in names["ports"]} == {53}
    ((block,),) = [[each["ipBlock"] for each in servers["to"]]]
    whole, kept = ipaddress.ip_network(block["cidr"]), [ipaddress.ip_network(each) for each in block["except"]]
    for address in ("169.254.169.254", "127.0.0.1", "10.96.0.1", "172.20.0.1", "192.168.1.1"):
        assert any(ipaddress.ip_address(address) in each for each in kept), address
    assert all(each.subnet_of(whole) for each in kept)
    assert not any(ipaddress.ip_address("203.0.113.7") in each for each in kept)
