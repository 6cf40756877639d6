"""The engine's environment."""

from datetime import UTC, datetime

import pytest

from datamover.agent.rclone.options import Options, engine_options, file_lists
from datamover.agent.rclone.profile import Shape, defaults
from datamover.agent.rclone.settings import read_settings

SECRET = {
    "AWS_ACCESS_KEY_ID": "the-key",
    "AWS_SECRET_ACCESS_KEY": "the-secret",
    "BUCKET_HOST": "minio",
    "BUCKET_NAME": "backups",
    "BUCKET_PORT": "9000",
    "TLS_HOST": "false",
}


def options(**changes: str) -> Options:
    environ = SECRET | {"DATAMOVER_OWNER_PVC": "app-data"} | changes
    settings = read_settings(environ, now=datetime(2024, 8, 6, tzinfo=UTC), token="abc")
    return engine_options(
        environ,
        settings,
        config_file="/config/rclone.conf",
        temporary="/config/scratch",
        authorities_file="/config/authorities.pem",
        now=datetime(2024, 8, 6, tzinfo=UTC),
    )


def test_the_remote_is_configured_by_variables_alone() -> None:
    data = options().data
    assert data["RCLONE_CONFIG_S3GENERIC_TYPE"] == "s3"
    assert data["RCLONE_CONFIG_S3GENERIC_PROVIDER"] == "Other"
    assert data["RCLONE_CONFIG_S3GENERIC_ENV_AUTH"] == "true"
    assert data["RCLONE_CONFIG_S3GENERIC_ENDPOINT"] == "http://minio:9000"
    assert data["RCLONE_CONFIG_S3GENERIC_REGION"] == "us-east-1"
    assert data["AWS_SECRET_ACCESS_KEY"] == "the-secret"
    assert data["HOME"] == "/config"
    assert not any("the-secret" in value for name, value in data.items() if name != "AWS_SECRET_ACCESS_KEY")


def test_a_bucket_is_never_made() -> None:
    assert options().data["RCLONE_S3_NO_CHECK_BUCKET"] == "true"
    assert options().records["RCLONE_S3_NO_CHECK_BUCKET"] == "true"


def test_without_keys_the_engine_looks_where_the_environment_says_and_never_at_its_node_unless_that_is_said() -> None:
    role = {"AWS_WEB_IDENTITY_TOKEN_FILE": "/var/token", "AWS_ROLE_ARN": "arn:aws:iam::1:role/mover"}
    data = options(**role, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY=" ", AWS_SESSION_TOKEN="left over").data
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} & set(data)
    assert role.items() <= data.items()
    assert data["AWS_EC2_METADATA_DISABLED"] == "true"
    assert data["AWS_REGION"] == "us-east-1"
    said = options(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", AWS_EC2_METADATA_DISABLED="false")
    assert said.data["AWS_EC2_METADATA_DISABLED"] == said.records["AWS_EC2_METADATA_DISABLED"] == "false"


@pytest.mark.parametrize("name", ["RCLONE_CONFIG_S3GENERIC_ENDPOINT", "RCLONE_S3_ENDPOINT"])
def test_either_way_to_set_an_option_of_the_remote_wins(name: str) -> None:
    data = options(**{name: "https://elsewhere"}).data
    assert data[name] == "https://elsewhere"
    assert data.get("RCLONE_CONFIG_S3GENERIC_ENDPOINT", "https://elsewhere") == "https://elsewhere"


def test_the_documents_bandwidth_word_is_an_alias_that_the_real_one_beats() -> None:
    assert options(RCLONE_BW_LIMIT="10M").data["RCLONE_BWLIMIT"] == "10M"
    assert options(RCLONE_BW_LIMIT="10M", RCLONE_BWLIMIT="1M").data["RCLONE_BWLIMIT"] == "1M"


def test_variables_of_the_user_pass_to_the_data_and_beat_the_profile() -> None:
    given = options(RCLONE_TRANSFERS="8", RCLONE_MULTI_THREAD_CUTOFF="50M", RCLONE_EXCLUDE="*.tmp")
    environment = defaults(Shape(objects=5000, bytes=5000, large=0), user=given.data) | given.data
    assert environment["RCLONE_TRANSFERS"] == "8"
    assert environment["RCLONE_CHECKERS"] == "32"
    assert environment["RCLONE_MULTI_THREAD_CUTOFF"] == "50M"
    assert environment["RCLONE_EXCLUDE"] == "*.tmp"


def test_records_are_read_and_written_without_the_users_filters_and_limits() -> None:
    records = options(
        RCLONE_EXCLUDE="*.json",
        RCLONE_MAX_TRANSFER="1M",
        RCLONE_CA_CERT="/ca.pem",
        RCLONE_S3_SERVER_SIDE_ENCRYPTION="AES256",
        HTTPS_PROXY="http://proxy",
    ).records
    assert not {"RCLONE_EXCLUDE", "RCLONE_MAX_TRANSFER"} & set(records)
    assert records["RCLONE_CA_CERT"] == "/ca.pem"
    assert records["RCLONE_S3_SERVER_SIDE_ENCRYPTION"] == "AES256"
    assert records["HTTPS_PROXY"] == "http://proxy"


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, "NOTICE"),
        ({"RCLONE_VERBOSE": "0"}, "NOTICE"),
        ({"RCLONE_VERBOSE": "1"}, "INFO"),
        ({"RCLONE_VERBOSE": "2", "RCLONE_LOG_LEVEL": "DEBUG"}, "DEBUG"),
        ({"RCLONE_LOG_LEVEL": "error"}, "ERROR"),
        ({"RCLONE_LOG_LEVEL": "NOTICE", "RCLONE_VERBOSE": "2"}, "DEBUG"),
        ({"RCLONE_QUIET": "true"}, "ERROR"),
        ({"RCLONE_LOG_LEVEL": "nonsense"}, "NOTICE"),
    ],
)
def test_people_see_the_level_that_they_asked_for(changes: dict[str, str], level: str) -> None:
    given = options(**changes)
    assert given.level == level
    assert "RCLONE_VERBOSE" not in given.data
    assert "RCLONE_QUIET" not in given.data
    assert given.data["RCLONE_LOG_LEVEL"] == ("DEBUG" if level == "DEBUG" else "INFO")


def test_the_log_always_comes_as_json_with_statistics() -> None:
    data = options(
        RCLONE_USE_JSON_LOG="false",
        RCLONE_LOG_FILE="/tmp/log",
        RCLONE_STATS="1h",
        RCLONE_PROGRESS="true",
        RCLONE_SYSLOG="true",
    ).data
    assert data["RCLONE_USE_JSON_LOG"] == "true"
    assert data["RCLONE_STATS"] == "1s"
    assert not {"RCLONE_LOG_FILE", "RCLONE_PROGRESS", "RCLONE_SYSLOG"} & set(data)


def test_it_is_known_whether_the_user_chose_files_or_comparison() -> None:
    assert not options().selects
    assert options().comparison == "checksum"
    assert options(RCLONE_FILTER_FROM="/rules").selects
    assert options(RCLONE_COPY_LINKS="true").selects
    assert options(RCLONE_SIZE_ONLY="true").comparison == "user"


def test_authorities_of_the_secret_are_trusted_by_every_command_unless_a_file_is_named() -> None:
    pem = "-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----\n"
    found = options(CA_CERT=pem)
    assert found.data["RCLONE_CA_CERT"] == found.records["RCLONE_CA_CERT"] == "/config/authorities.pem"
    assert options(CA_CERT=pem, RCLONE_CA_CERT="/mine").data["RCLONE_CA_CERT"] == "/mine"
    assert "RCLONE_CA_CERT" not in options().data


def test_an_empty_session_token_is_no_token() -> None:
    assert "AWS_SESSION_TOKEN" not in options(AWS_SESSION_TOKEN="  ").data
    assert options(AWS_SESSION_TOKEN="token").data["AWS_SESSION_TOKEN"] == "token"


def test_files_of_rules_are_found_also_several_in_one_variable() -> None:
    environ = {
        "RCLONE_EXCLUDE_FROM": '/rules/a,"/rules/b, c"',
        "RCLONE_FILES_FROM_RAW": "/rules/list",
        "RCLONE_FILTER_FROM": "",
        "RCLONE_EXCLUDE": "/not/a/file",
    }
    assert file_lists(environ) == [
        ("RCLONE_EXCLUDE_FROM", "/rules/a"),
        ("RCLONE_EXCLUDE_FROM", "/rules/b, c"),
        ("RCLONE_FILES_FROM_RAW", "/rules/list"),
    ]
    assert file_lists(environ, ("RCLONE_FILES_FROM_RAW",)) == [("RCLONE_FILES_FROM_RAW", "/rules/list")]


@pytest.mark.parametrize(
    ("changes", "lists", "follows"),
    [
        ({}, False, False),
        ({"RCLONE_FILES_FROM": "/x"}, True, False),
        ({"RCLONE_FILES_FROM_RAW": "/x"}, True, False),
        ({"RCLONE_FILES_FROM": ""}, False, False),
        ({"RCLONE_COPY_LINKS": "true"}, False, True),
        ({"RCLONE_LOCAL_COPY_LINKS": "1"}, False, True),
        ({"RCLONE_COPY_LINKS": "false"}, False, False),
    ],
)
def test_a_list_of_files_and_the_following_of_links_are_noticed(
    changes: dict[str, str], lists: bool, follows: bool
) -> None:
    given = options(**changes)
    assert (given.lists_files, given.follows) == (lists, follows)
