"""The Job of restic's mover as users know it, with each difference and its reason."""

from typing import Any

import pytest

from datamover.agent.restic.settings import read_settings
from datamover.api import restic, transfer
from datamover.api.ownership import Owner
from datamover.api.volsync import names as words
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.movers import replication
from datamover.movers.replication import Movement
from datamover.movers.restic import Authority, ResticWork, Retention, build_job
from kubekit.words.meta import ObjectMeta

KEYS = frozenset({"RESTIC_REPOSITORY", "RESTIC_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "README"})


def movement(role: str, **changes: Any) -> Movement:
    resource = REPLICATION_SOURCES if role == words.SOURCE else REPLICATION_DESTINATIONS
    metadata = ObjectMeta(name="nightly", namespace="apps", uid="uid-of-nightly")
    return Movement(
        owner=Owner(resource, metadata, replication.temporary_labels("uid-of-nightly", run_id="r1")),
        role=role,
        run_id="r1",
        job=words.job_name(words.Method.RESTIC, role, "nightly"),
        claim="data",
        claim_uid="uid-of-data",
        account=words.account_name(role, "nightly"),
        image="example.com/mover:1",
        **changes,
    )


def work(**changes: Any) -> ResticWork:
    return ResticWork(**{"secret": "restic-secret", "keys": KEYS, "cache_claim": "nightly-cache", **changes})


def container_of(job: Any) -> Any:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return container


def documented(job: Any) -> list[dict[str, Any]]:
    """The variables without ours, and without empty values, which the API server leaves out."""
    return [
        {key: value for key, value in each.items() if value}
        for each in container_of(job)["env"]
        if not each["name"].startswith("DATAMOVER_")
    ]


def from_secret(name: str, *, optional: bool) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"key": name, "name": "restic-secret", "optional": optional}}}


def environment(forget: str) -> list[dict[str, Any]]:
    return [
        {"name": "FORGET_OPTIONS", "value": forget},
        {"name": "DATA_DIR", "value": "/data"},
        {"name": "RESTIC_CACHE_DIR", "value": "/cache"},
        {"name": "RESTORE_AS_OF"},
        {"name": "SELECT_PREVIOUS", "value": "0"},
        {"name": "RESTORE_OPTIONS"},
        from_secret("RESTIC_REPOSITORY", optional=False),
        from_secret("RESTIC_PASSWORD", optional=False),
        from_secret("AWS_ACCESS_KEY_ID", optional=True),
        from_secret("AWS_SECRET_ACCESS_KEY", optional=True),
        {"name": "PRIVILEGED_MOVER", "value": "0"},
    ]


@pytest.mark.parametrize(
    ("role", "retention", "forget", "arguments"),
    [
        (words.SOURCE, Retention(daily=3), " --keep-daily 3", ["restic", "backup"]),
        (words.DESTINATION, Retention(), "--keep-last 1", ["restic", "restore"]),
    ],
)
def test_the_job_is_the_documented_one(role: str, retention: Retention, forget: str, arguments: list[str]) -> None:
    job = build_job(movement(role), work(retention=retention))
    assert job["metadata"]["name"] == f"volsync-{role}-nightly"
    assert job["metadata"]["labels"]["app.kubernetes.io/created-by"] == "volsync"
    assert job["metadata"]["labels"]["volsync.backube/cleanup"] == "uid-of-nightly"
    assert (job["spec"]["backoffLimit"], job["spec"]["parallelism"]) == (8, 1)
    container = container_of(job)
    assert container["name"] == "restic"
    assert "command" not in container  # theirs is a script of theirs
    assert container["args"] == arguments  # the first word is ours, and says which mover this is
    assert documented(job) == environment(forget)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
    }
    mounts = {mount["name"]: (mount["mountPath"], mount.get("readOnly", False)) for mount in container["volumeMounts"]}
    # ours alone: a source is not mounted for writing (law L1)
    assert mounts == {"data": ("/data", role == words.SOURCE), "cache": ("/cache", False), "tempdir": ("/tmp", False)}
    volumes = {volume.pop("name"): volume for volume in job["spec"]["template"]["spec"]["volumes"]}
    assert volumes == {
        "data": {"persistentVolumeClaim": {"claimName": "data"}},
        "cache": {"persistentVolumeClaim": {"claimName": "nightly-cache"}},
        "tempdir": {"emptyDir": {"medium": "Memory"}},
    }


def test_a_privileged_mover_is_root_with_three_capabilities() -> None:
    job = build_job(movement(words.SOURCE, privileged=True), work())
    context = container_of(job)["securityContext"]
    assert (context["runAsUser"], context["capabilities"]["add"]) == (0, ["DAC_OVERRIDE", "CHOWN", "FOWNER"])
    assert {"name": "PRIVILEGED_MOVER", "value": "1"} in documented(job)


def test_unlock_comes_before_the_backup_and_prune_after_it() -> None:
    for unlock, prune, expected in (
        (True, True, ["restic", "unlock", "backup", "prune"]),
        (True, False, ["restic", "unlock", "backup"]),
        (False, True, ["restic", "backup", "prune"]),
    ):
        job = build_job(movement(words.SOURCE), work(unlock=unlock, prune=prune))
        assert container_of(job)["args"] == expected
    assert container_of(build_job(movement(words.DESTINATION), work(unlock=True, prune=True)))["args"][1:] == [
        "restore"
    ]


@pytest.mark.parametrize(
    ("retention", "options"),
    [
        (Retention(), "--keep-last 1"),
        (Retention(last="5"), " --keep-last 5"),
        (
            Retention(last="5", within="3d", yearly=1, monthly=2, weekly=3, daily=4, hourly=6),
            " --keep-hourly 6 --keep-daily 4 --keep-weekly 3 --keep-monthly 2 --keep-yearly 1 --keep-within 3d --keep-last 5",
        ),
        (Retention(daily=0), " --keep-daily 0"),
    ],
)
def test_what_stays_is_written_in_the_documented_order(retention: Retention, options: str) -> None:
    assert retention.options() == options


def test_a_restore_says_up_to_when_how_many_before_and_whether_files_go() -> None:
    asked = work(as_of="2026-11-29T12:00:00Z", previous=2, delete_extra_files=True)
    values = {each["name"]: each.get("value") for each in documented(build_job(movement(words.DESTINATION), asked))}
    assert (values["RESTORE_AS_OF"], values["SELECT_PREVIOUS"]) == ("2026-11-29T12:00:00Z", "2")
    assert values["RESTORE_OPTIONS"] == "--delete"


def test_of_the_secret_only_keys_that_stores_know_become_variables() -> None:
    odd = {"PATH", "LD_PRELOAD", "RESTIC_PASSWORD_COMMAND", "DATAMOVER_RESTIC", "README"}
    keys = frozenset({*restic.BACKEND_KEYS, "RCLONE_CONFIG_B_TYPE", "RCLONE_CONFIG_A_TYPE", *odd})
    names = [each["name"] for each in container_of(build_job(movement(words.SOURCE), work(keys=keys)))["env"]]
    taken = [
        "RESTIC_REPOSITORY",
        "RESTIC_PASSWORD",
        *restic.BACKEND_KEYS,
        "RCLONE_CONFIG_A_TYPE",
        "RCLONE_CONFIG_B_TYPE",
    ]
    start = names.index("RESTIC_REPOSITORY")
    assert names[start : start + len(taken)] == taken
    assert len(names) == len(set(names))
    assert not set(names) & (odd - {"DATAMOVER_RESTIC"})


def test_a_key_file_of_google_and_certificates_are_mounted() -> None:
    keys = KEYS | {"GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_PROJECT_ID"}
    for authority, source in (
        (Authority(key="tls.crt", secret="ca"), "secret"),
        (Authority(key="tls.crt", config_map="ca"), "configMap"),
    ):
        job = build_job(movement(words.SOURCE), work(keys=keys, authority=authority))
        values = {each["name"]: each.get("value") for each in documented(job)}
        assert values["CUSTOM_CA"] == "/customca/ca.crt"
        assert values["GOOGLE_APPLICATION_CREDENTIALS"] == "/credentials/gcs.json"
        volumes = {volume.pop("name"): volume for volume in job["spec"]["template"]["spec"]["volumes"]}
        assert volumes["custom-ca"][source]["items"] == [{"key": "tls.crt", "path": "ca.crt"}]
        assert volumes["gcs-credentials"]["secret"]["items"] == [
            {"key": "GOOGLE_APPLICATION_CREDENTIALS", "path": "gcs.json"}
        ]


def test_the_agent_understands_what_the_job_says() -> None:
    """Operator and agent meet here: the environment of a Job is one that the mover takes, with the actions of its arguments."""
    secret = {"RESTIC_REPOSITORY": "s3:http://store/bucket", "AWS_ACCESS_KEY_ID": "of the Secret"}
    asked = work(retention=Retention(daily=3, within="3d"), prune=True, unlock=True, remove_stale_locks=True)
    container = container_of(build_job(movement(words.SOURCE), asked))
    environ = {each["name"]: each.get("value", secret.get(each["name"], "x")) for each in container["env"]}
    settings = read_settings(environ, container["args"][1:])
    assert settings.actions == ("unlock", "backup", "prune")
    assert settings.policy == ("--keep-daily", "3", "--keep-within", "3d", "--keep-last", "1")
    assert settings.remove_stale_locks
    assert (settings.data, settings.cache, settings.run_id) == ("/data", "/cache", "r1")
    assert settings.variables["AWS_ACCESS_KEY_ID"] == "of the Secret"
    destination = work(as_of="2026-11-29T12:00:00Z", delete_extra_files=True)
    container = container_of(build_job(movement(words.DESTINATION), destination))
    environ = {each["name"]: each.get("value", secret.get(each["name"], "x")) for each in container["env"]}
    settings = read_settings(environ, container["args"][1:])
    assert (settings.restore_options, settings.previous) == (("--delete",), 0)
    assert settings.as_of is not None
    assert environ[transfer.REMOVE_STALE_LOCKS] == "false"
