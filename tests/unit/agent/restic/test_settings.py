"""The environment of restic's mover, and what of it restic gets."""

from collections.abc import Mapping

import pytest

from datamover.agent.errors import Misconfigured
from datamover.agent.restic.settings import Settings, read_settings
from datamover.api import restic

SECRET = {"RESTIC_REPOSITORY": "s3:https://host/bucket", "RESTIC_PASSWORD": " hunter2\n"}


def read(extra: Mapping[str, str] = {}, *actions: str) -> Settings:
    return read_settings({**SECRET, **extra}, actions or ("backup",))


def test_restic_gets_what_its_stores_need_and_nothing_that_runs_programs() -> None:
    given = {name: f"value of {name}" for name in restic.BACKEND_KEYS}
    odd = {
        "RESTIC_PASSWORD_COMMAND": "cat /etc/passwd",
        "RESTIC_FEATURES": "x",
        "LD_PRELOAD": "/mnt/x.so",
        "DATAMOVER_RUN_ID": "r1",
        "RCLONE_SFTP_SSH": "sh -c evil",
        "RCLONE_CONFIG_A.B_BEARER_TOKEN_COMMAND": "sh -c evil",
        "RCLONE_CONFIG_C_GLOBAL.PASSWORD_COMMAND": "sh -c evil",
        "RCLONE_CONFIG_C_REMOTE": ':webdav,url="http://h/",bearer_token_command="sh -c evil":',
        "AWS_CONFIG_FILE": "/mnt/x",
    }
    settings = read(given | odd | {"RCLONE_CONFIG_X_TYPE": "s3", "HTTPS_PROXY": "http://proxy", "PATH": "/bin"})
    variables = settings.variables
    assert {name: variables[name] for name in given} == given
    assert not set(odd) & set(variables)
    assert (variables["RCLONE_CONFIG_X_TYPE"], variables["HTTPS_PROXY"], variables["PATH"]) == (
        "s3",
        "http://proxy",
        "/bin",
    )
    assert any("RCLONE_SFTP_SSH" in notice for notice in settings.notices)


def test_the_password_is_taken_as_it_is_and_the_address_without_its_new_line() -> None:
    settings = read({"RESTIC_REPOSITORY": "s3:https://host/bucket\n"})
    assert settings.variables["RESTIC_PASSWORD"] == " hunter2\n"
    assert settings.padded_password
    assert settings.variables["RESTIC_REPOSITORY"] == "s3:https://host/bucket"


def test_mounts_are_below_the_root_and_nothing_else_is() -> None:
    extra = {
        "DATAMOVER_ROOT": "/pods/1/",
        "RESTIC_CACHE_DIR": "/cache",
        "CUSTOM_CA": "/customca/ca.crt",
        "GOOGLE_APPLICATION_CREDENTIALS": "/credentials/gcs.json",
    }
    settings = read({**extra, "RESTIC_REPOSITORY": "/mnt/r"})
    assert (settings.data, settings.cache, settings.temporary) == ("/pods/1/data", "/pods/1/cache", "/pods/1/tmp")
    assert settings.variables["RESTIC_REPOSITORY"] == "/pods/1/mnt/r"
    assert settings.place == "/mnt/r"
    assert settings.variables["RESTIC_CACERT"] == "/pods/1/customca/ca.crt"
    assert settings.variables["GOOGLE_APPLICATION_CREDENTIALS"] == "/pods/1/credentials/gcs.json"
    assert not settings.contained
    local = {"local:/mnt/r": "local:/pods/1/mnt/r", "/home/me/r": "/home/me/r", "rclone:x:mnt/y": "rclone:x:mnt/y"}
    for written, place in local.items():
        assert read({**extra, "RESTIC_REPOSITORY": written}).variables["RESTIC_REPOSITORY"] == place
    assert read().contained
    assert read({"DATAMOVER_ROOT": "/", "RESTIC_REPOSITORY": "/mnt/r"}).variables["RESTIC_REPOSITORY"] == "/mnt/r"


@pytest.mark.parametrize(
    "path",
    ["/tmp/r", "/cache", "local:/data/r", "/mnt/../data/r", "//tmp/r", "local:///tmp/r", "/dev/shm/r", "/srv/r", "/mnt", "/proc/self/cwd/r"],
)  # fmt: skip
def test_a_repository_that_would_be_gone_with_the_pod_is_refused(path: str) -> None:
    with pytest.raises(Misconfigured, match="moverVolumes"):
        read({"RESTIC_REPOSITORY": path})


@pytest.mark.parametrize(
    ("repository", "told"),
    [
        ("relative/r", "within the volume itself"),
        ("r", "within the volume itself"),
        ("local:r", "within the volume itself"),
        ("/mnt/r\n/x", "one line"),
        ("s3:https://h/b\x1b[2J", "one line"),
        ("sftp:-oProxyCommand=touch x:/r", "ssh would take as an option"),
        ("sftp://-oProxyCommand=touch@h/r", "ssh would take as an option"),
        ("sftp:me@-F/mnt/x:/r", "ssh would take as an option"),
        ("sftp://[-oProxyCommand=id]/r", "ssh would take as an option"),
        ("sftp://me@[-oProxyCommand=id]:22/r", "ssh would take as an option"),
        ("sftp:a/@-oProxyCommand=id:/r", "ssh would take as an option"),
        ("sftp:@-oX:/r", "ssh would take as an option"),
        ("rclone:--cpuprofile=/data/x", "rclone would take as an option"),
    ],
)
def test_a_repository_that_is_no_address_is_refused(repository: str, told: str) -> None:
    with pytest.raises(Misconfigured, match=told):
        read({"RESTIC_REPOSITORY": repository})


@pytest.mark.parametrize(
    "repository",
    [
        "sftp:me@h:/r",
        "sftp://me@h//r-",
        "sftp:me@h:-r/x@-y",
        "sftp://me@[fe80::1]:22/r@-x",
        "local:/mnt/x",
        "/mnt//x",
        "b2:bucket:path",
        "swift:c:/",
        "gs:b:/",
        "rest:https://h/x",
    ],
)
def test_addresses_of_all_kinds_of_stores_are_taken(repository: str) -> None:
    assert read({"RESTIC_REPOSITORY": repository}).variables["RESTIC_REPOSITORY"] == repository


@pytest.mark.parametrize(
    "remote", ['rclone::sftp,host=h,ssh="touch x":y', "rclone:store,global.password-command=touch:y"]
)
def test_a_repository_that_would_run_a_program_is_refused(remote: str) -> None:
    with pytest.raises(Misconfigured, match="runs a program"):
        read({"RESTIC_REPOSITORY": remote})
    read({"RESTIC_REPOSITORY": 'rclone::sftp,host=h,user="x":y'})


def test_everything_that_is_wrong_is_told_at_once_without_the_secret() -> None:
    bad = {
        "RESTIC_REPOSITORY": "",
        "FORGET_OPTIONS": "--prune",
        "RESTORE_OPTIONS": "--target /",
        "RESTORE_AS_OF": "yesterday",
        "SELECT_PREVIOUS": "many",
        "DATAMOVER_REMOVE_STALE_LOCKS": "yes",
    }
    with pytest.raises(Misconfigured) as found:
        read(bad, "backup", "check")
    for name in (*bad, "'check'"):
        assert name in found.value.message
    assert "hunter2" not in found.value.message


@pytest.mark.parametrize("actions", [(), ("check",), ("restore", "backup"), ("restore", "prune")])
def test_actions_that_make_no_sense_are_refused(actions: tuple[str, ...]) -> None:
    with pytest.raises(Misconfigured):
        read_settings(SECRET, actions)


def test_the_first_look_is_bounded_whatever_an_outage_may_last() -> None:
    assert read().probe_limit == 60
    assert read({"DATAMOVER_OUTAGE_LIMIT": "2"}).probe_limit == 2
    assert read({"DATAMOVER_OUTAGE_LIMIT": "900"}).probe_limit == 60
