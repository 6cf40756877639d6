"""What the rclone mover is told by its environment, and what of it reaches rclone."""

import pytest

from datamover.agent.errors import Misconfigured
from datamover.agent.rclone.configuration import Configuration
from datamover.agent.rclone_conf.settings import place_of, read_settings
from datamover.agent.rclone_conf.variables import engine_variables
from datamover.agent.redaction import Redactor

GIVEN = {
    "RCLONE_CONFIG": "/rclone-config/rclone.conf",
    "RCLONE_CONFIG_SECTION": "store",
    "RCLONE_DEST_PATH": "bucket/x",
    "DIRECTION": "source",
    "MOUNT_PATH": "/data",
}


def test_paths_lie_below_the_root_that_is_given() -> None:
    settings = read_settings(GIVEN | {"DATAMOVER_ROOT": "/node/7", "CUSTOM_CA": "/customca/ca.crt"}, token="t")
    assert (settings.config, settings.mount) == ("/node/7/rclone-config/rclone.conf", "/node/7/data")
    assert (settings.authorities, settings.volume) == ("/node/7/customca/ca.crt", "/data")
    assert place_of(settings, kind="s3") == "store:bucket/x/"


@pytest.mark.parametrize(
    ("kind", "path", "place"),
    [
        ("local", "/mnt/backup", "store:/node/mnt/backup/"),
        ("s3", "/mnt/backup", "store:/mnt/backup/"),
        ("local", "/srv/backup/", "store:/srv/backup/"),
    ],
)
def test_a_further_volume_of_the_pod_is_found_below_the_root(kind: str, path: str, place: str) -> None:
    settings = read_settings(GIVEN | {"DATAMOVER_ROOT": "/node", "RCLONE_DEST_PATH": path}, token="t")
    assert place_of(settings, kind=kind) == place


@pytest.mark.parametrize(
    ("kind", "path"),
    [("local", "/tmp/x"), ("local", "/data"), ("local", "/mnt/../data"), ("local", "bucket"), ("memory", "bucket/x")],
)
def test_a_place_that_is_gone_with_the_pod_is_refused(kind: str, path: str) -> None:
    with pytest.raises(Misconfigured, match="moverVolumes"):
        place_of(read_settings(GIVEN | {"RCLONE_DEST_PATH": path}, token="t"), kind=kind)


def test_a_variable_says_what_a_section_is_even_where_the_file_does() -> None:
    configuration = Configuration({"my-store": {"type": "s3"}})
    assert configuration.kind("my-store", {}) == "s3"
    assert configuration.kind("my-store", {"RCLONE_CONFIG_MY_STORE_TYPE": "Memory"}) == "memory"
    assert configuration.kind("other", {}) == ""


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"RCLONE_PASSWORD_COMMAND": "touch"}, "RCLONE_PASSWORD_COMMAND is set: it runs a program"),
        ({"RCLONE_METADATA_MAPPER": "touch"}, "RCLONE_METADATA_MAPPER is set: it runs a program"),
        ({"RCLONE_SFTP_SSH": "touch"}, "RCLONE_SFTP_SSH is set: it runs a program"),
        ({"RCLONE_CONFIG_X_SSH": "touch"}, "RCLONE_CONFIG_X_SSH is set: it runs a program"),
        ({"RCLONE_CONFIG_X_GLOBAL.METADATA_MAPPER": "touch"}, "METADATA_MAPPER is set: it runs a program"),
        ({"RCLONE_WEBDAV_BEARER_TOKEN_COMMAND": "touch"}, "BEARER_TOKEN_COMMAND is set: it runs a program"),
        ({"RCLONE_CONFIG_X_REMOTE": ":sftp,host=h,ssh=touch:"}, "RCLONE_CONFIG_X_REMOTE has the parameter 'ssh'"),
        ({"RCLONE_DRY_RUN": "true"}, "RCLONE_DRY_RUN is set: nothing would be moved"),
        ({"RCLONE_RC": "true"}, "RCLONE_RC is set"),
        ({"RCLONE_RC_ADDR": ":5572"}, "RCLONE_RC_ADDR is set"),
        ({"RCLONE_DUMP": "curl"}, "RCLONE_DUMP is set"),
        ({"DIRECTION": "up"}, "DIRECTION is 'up'"),
        ({"RCLONE_CONFIG_SECTION": ""}, "spec.rclone.rcloneConfigSection"),
        ({"RCLONE_CONFIG_SECTION": ":sftp,ssh=touch"}, "not the name of a section"),
        ({"RCLONE_DEST_PATH": " "}, "spec.rclone.rcloneDestPath"),
        ({"DATAMOVER_ALLOW_EMPTY_SOURCE": "yes"}, "DATAMOVER_ALLOW_EMPTY_SOURCE is 'yes'"),
    ],
)
def test_what_is_wrong_is_told_before_anything_begins(changes: dict[str, str], told: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        read_settings(GIVEN | changes, token="t")
    assert told in caught.value.message


def test_a_switch_that_is_off_is_nothing_wrong() -> None:
    off = {"RCLONE_DRY_RUN": "false", "RCLONE_DUMP": "headers", "RCLONE_RC": "0"}
    assert read_settings(GIVEN | off, token="t").section == GIVEN["RCLONE_CONFIG_SECTION"]


def variables(**given: str) -> dict[str, str]:
    return engine_variables(GIVEN | given, config="/c", scratch="/s", authorities="/ca")


def test_defaults_give_way_to_the_secrets_variables() -> None:
    plain = variables()
    assert {name: plain[name] for name in ("RCLONE_TRANSFERS", "RCLONE_CHECKSUM", "RCLONE_CA_CERT")} == {
        "RCLONE_TRANSFERS": "10",
        "RCLONE_CHECKSUM": "true",
        "RCLONE_CA_CERT": "/ca",
    }
    chosen = variables(
        RCLONE_TRANSFERS="3", RCLONE_CHECKSUM="false", RCLONE_CA_CERT="/mine", RCLONE_TRACK_RENAMES="true"
    )
    assert (chosen["RCLONE_TRANSFERS"], chosen["RCLONE_CHECKSUM"], chosen["RCLONE_CA_CERT"]) == ("3", "false", "/mine")
    assert chosen["RCLONE_TRACK_RENAMES"] == "true"


def test_what_only_the_agent_may_set_is_not_the_secrets() -> None:
    found = variables(
        RCLONE_LOG_FILE="/x", RCLONE_USE_JSON_LOG="false", RCLONE_STATS="1m", LD_PRELOAD="/x", JOURNAL_STREAM="1"
    )
    assert "RCLONE_LOG_FILE" not in found
    assert "LD_PRELOAD" not in found
    assert (found["RCLONE_USE_JSON_LOG"], found["RCLONE_STATS"], found["RCLONE_CONFIG"]) == ("true", "1s", "/c")
    assert not {"RCLONE_CONFIG_SECTION", "RCLONE_DEST_PATH"} & set(found)


def test_what_is_left_out_joins_the_secrets_own_exclusions_but_not_a_list_of_files() -> None:
    assert variables()["RCLONE_EXCLUDE"] == "/lost+found/**,/permissions.facl,/permissions.facl/**"
    assert (
        variables(RCLONE_EXCLUDE="*.tmp")["RCLONE_EXCLUDE"]
        == "*.tmp,/lost+found/**,/permissions.facl,/permissions.facl/**"
    )
    assert "RCLONE_EXCLUDE" not in variables(RCLONE_FILES_FROM="/mnt/list/files")


@pytest.mark.parametrize(("text", "seconds"), [("", 20.0), ("1m", 60.0), ("0", float("inf")), ("odd", 20.0)])
def test_statistics_come_as_often_as_the_secret_says(text: str, seconds: float) -> None:
    assert read_settings(GIVEN | {"RCLONE_STATS": text}, token="t").interval == seconds


def test_secrets_of_the_file_are_known_those_within_a_token_too() -> None:
    section = {
        "type": "drive",
        "client_secret": "first-word",
        "token": '{"access_token":"second-word","n":1}',
        "pass": "third-word",
    }
    redact = Redactor(Configuration({"store": section}).secrets())
    text = redact("first-word second-word third-word drive")
    assert not any(word in text for word in ("first-word", "second-word", "third-word"))
    assert "drive" in text


def test_a_section_that_only_variables_describe_is_one() -> None:
    empty = Configuration({})
    empty.demand("my-store", {"RCLONE_CONFIG_MY_STORE_TYPE": "s3"})
    with pytest.raises(Misconfigured, match=r"no section \[my-store\]; there is none"):
        empty.demand("my-store", {})
