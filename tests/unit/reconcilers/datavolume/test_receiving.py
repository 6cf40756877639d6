"""DataVolumes that wait for an upload: what is made for it, when it is ready, and what is left of it."""

import re
from datetime import timedelta
from typing import Any

import pytest

from datamover.api import upload
from datamover.api.transfer import Outcome
from datamover.cli.upload_keys import make_keys
from datamover.plans.steps import Create
from datamover.reconcilers.datavolume.facts import Settings
from kubekit.words.core import SECRET_METAS
from support.clones import KEYS, Cloner, Clones
from support.disks import WHOLE, settle

UPLOAD: dict[str, Any] = {"upload": {}}


def waiting(**options: Any) -> tuple[Clones, Cloner]:
    """A DataVolume whose receiver waits."""
    server = Clones(**options)
    operator = Cloner(server)
    server.make(source=UPLOAD)
    settle(server, operator, worker=False)
    return server, operator


def name_of(server: Clones) -> str:
    made = server.get("DataVolume", "disk")
    assert made is not None
    return upload.name_of(made["metadata"]["uid"])


def test_g8_a_receiver_waits_behind_a_service_and_is_ready_when_it_runs() -> None:
    server, operator = waiting()
    assert server.status()["phase"] == "UploadReady"
    assert "UploadScheduled" in [each["phase"] for each in operator.statuses]
    name, job = name_of(server), server.job()
    service = server.get("Service", name)
    assert server.get("Secret", name) is not None
    assert service is not None
    assert job is not None
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert service["spec"]["ports"][0] == {"name": "https", "port": 443, "targetPort": 8443, "protocol": "TCP"}
    environment = server.environment()
    assert (environment["SOURCE"], f"upload-{environment[upload.UID]}") == ("upload", name)


def test_g8_when_the_upload_was_taken_nothing_is_left_of_it_but_the_disk() -> None:
    server, operator = waiting()
    settle(server, operator)
    claim = server.claim()
    assert claim is not None
    assert server.status()["phase"] == "Succeeded"
    assert server.storage[claim["spec"]["volumeName"]] == WHOLE
    assert not server.leftovers()


def test_the_worker_sees_of_the_secret_what_it_needs_and_each_part_in_its_place() -> None:
    server, _ = waiting()
    job = server.job()
    assert job is not None
    volumes = {each["name"]: each for each in job["spec"]["template"]["spec"]["volumes"]}
    shown = {name: [item["key"] for item in volumes[name]["secret"]["items"]] for name in ("tls", "token")}
    assert shown == {"tls": ["tls.crt", "tls.key"], "token": ["key"]}


def test_a_receiver_whose_temporary_claim_is_deleted_ends_and_is_not_called_ready() -> None:
    server, operator = waiting()
    prime = next(each for name, each in server.objects.items() if name[1].startswith("prime-"))
    prime["metadata"]["deletionTimestamp"] = "2026-11-30T00:00:00Z"
    server.touch(prime)
    operator.sync()
    operator.work()
    assert (server.status()["phase"], server.condition("Ready")["reason"]) == ("UploadScheduled", "ClaimTerminating")
    job = server.job()
    assert job is None or job["metadata"].get("deletionTimestamp")


def test_no_deadline_counts_while_nobody_sends() -> None:
    server = Clones()
    operator = Cloner(server)
    operator.settings = Settings(mover_image="example.com/mover:1", deadline=60)
    server.make(source=UPLOAD)
    settle(server, operator, worker=False)
    job = server.job()
    assert job is not None
    assert "activeDeadlineSeconds" not in job["spec"]
    assert server.environment()["DATAMOVER_DEADLINE"] == "0"


def test_keys_are_made_once_whatever_becomes_of_the_worker() -> None:
    server, operator = waiting()
    failed = Outcome(reason="NoSpaceLeft", message="full", failure_class="no_space", retryable=False)
    server.end(failed)
    for _ in range(30):
        operator.restart()
        operator.work()
        server.collect()
        server.now += timedelta(seconds=20)
    settle(server, operator, worker=False)
    assert server.status()["phase"] == "UploadReady"
    assert server.secrets_made == 1


def test_a_service_or_a_secret_that_somebody_deletes_before_it_is_used_is_made_again() -> None:
    server, operator = waiting()
    del server.objects["Service", name_of(server)]
    settle(server, operator, worker=False)
    assert server.get("Service", name_of(server)) is not None


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_whoever_dies_after_any_step_goes_on_where_it_was(steps: int) -> None:
    server = Clones()
    operator = Cloner(server)
    server.make(source=UPLOAD)
    for _ in range(10):
        operator.restart()
        operator.work(steps=steps)
        server.provision()
        server.bind()
        server.schedule()
    settle(server, operator)
    assert server.status()["phase"] == "Succeeded"
    assert server.secrets_made == 1
    assert not server.leftovers()


def test_no_plan_shows_a_key() -> None:
    server = Clones()
    operator = Cloner(server)
    server.make(source=UPLOAD)
    for _ in range(3):
        operator.sync()
        steps = operator.work()
        made = [each for each in steps if isinstance(each, Create) and each.resource is SECRET_METAS]
        if made:
            break
    assert made
    assert not re.search("kkkk|private", f"{made}{made[0].manifest}")
    assert made[0].secret is not None
    assert made[0].secret() == KEYS


def test_what_is_made_for_a_receiver_is_a_certificate_for_its_service_and_a_key_that_signs() -> None:
    hosts = upload.hosts_of("uid", "machines")
    first, second = make_keys(hosts), make_keys(hosts)
    assert set(first) == {"tls.crt", "tls.key", "ca.crt", "key"}
    assert first["key"] != second["key"]
    upload.check(upload.sign(first["key"], uid="uid", now=1.0), key=first["key"], uid="uid", now=1.0)
    assert hosts[0] == "upload-uid.machines.svc"
