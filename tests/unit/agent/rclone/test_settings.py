"""Reading the container's environment."""

from datetime import UTC, datetime

import pytest

from datamover.agent.environment import read_timestamp, write_timestamp
from datamover.agent.errors import Failure, Misconfigured
from datamover.agent.rclone.settings import Settings, read_settings, read_store
from datamover.api import transfer

NOW = datetime(2024, 8, 6, 14, 30, 52, tzinfo=UTC)
SECRET = {
    "AWS_ACCESS_KEY_ID": "minio-access-key",
    "AWS_SECRET_ACCESS_KEY": "minio-secret-key",
    "BUCKET_HOST": "minio.example.com",
    "BUCKET_NAME": "backups",
}


def read(**changes: str | None) -> Settings:
    given = {**SECRET, "DATAMOVER_OWNER_PVC": "app-data", **changes}
    environ = {name: value for name, value in given.items() if value is not None}
    return read_settings(environ, now=NOW, token="abc123")


def test_the_documents_defaults_hold() -> None:
    settings = read()
    assert settings.region == "us-east-1"
    assert settings.endpoint == "https://minio.example.com:443"
    assert not settings.add_timestamp
    assert settings.verification == transfer.Verification()
    assert settings.root == "backups"
    assert settings.max_delete_percent == 50
    assert (settings.data, settings.config, settings.termination) == ("/data", "/config", "/dev/termination-log")


@pytest.mark.parametrize(
    ("chosen", "variable", "method"),
    [
        ("", "", ""),
        ("", "true", "checksums"),
        ("none", "", ""),
        ("none", "false", ""),
        ("size", "", "size"),
        ("checksums", "true", "checksums"),
        ("download", "", "download"),
        ("sample:5%", "sample:5%", "sample:5%"),
    ],
)
def test_the_spec_decides_what_is_verified_and_without_it_the_variable(chosen: str, variable: str, method: str) -> None:
    assert str(read(DATAMOVER_VERIFY=chosen, VERIFY_BACKUP=variable).verification) == method


@pytest.mark.parametrize(
    ("chosen", "variable"), [("none", "true"), ("size", "false"), ("download", "true"), ("sample:6%", "sample:5%")]
)
def test_a_variable_of_the_secret_that_says_another_method_than_the_spec_is_no_method(
    chosen: str, variable: str
) -> None:
    with pytest.raises(Failure) as told:
        read(DATAMOVER_VERIFY=chosen, VERIFY_BACKUP=variable)
    assert (told.value.failure_class, told.value.reason) == (transfer.CONFIG, "InvalidSpec")
    assert "remove VERIFY_BACKUP from spec.additionalEnv and from the Secret" in told.value.message


def test_the_documents_minio_example_is_read() -> None:
    settings = read(AWS_REGION="us-east-1", BUCKET_PORT="9000", TLS_HOST="false")
    assert settings.endpoint == "http://minio.example.com:9000"


ROLE = {"AWS_WEB_IDENTITY_TOKEN_FILE": "/var/token", "AWS_ROLE_ARN": "arn:aws:iam::1:role/mover"}


def test_no_keys_are_needed_where_something_else_brings_credentials() -> None:
    settings = read(AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY="", **ROLE)
    assert (settings.access_key, settings.secret_key) == ("", "")
    assert read(AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None, AWS_EC2_METADATA_DISABLED="false")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"AWS_ACCESS_KEY_ID": None, **ROLE}, ("AWS_ACCESS_KEY_ID is not set",)),
        ({"AWS_SECRET_ACCESS_KEY": " ", **ROLE}, ("AWS_SECRET_ACCESS_KEY is empty",)),
        (
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
            ("AWS_ACCESS_KEY_ID is not set", "AWS_SECRET_ACCESS_KEY is not set", "spec.mover.serviceAccountName"),
        ),
        (
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "AWS_EC2_METADATA_DISABLED": "true"},
            ("AWS_ACCESS_KEY_ID is not set",),
        ),
        (
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "AWS_ROLE_ARN": "arn:aws:iam::1:role/mover"},
            ("AWS_WEB_IDENTITY_TOKEN_FILE is missing",),
        ),
    ],
    ids=["one of two", "the other of two", "nothing", "metadata that nobody asks for", "half of a role"],
)
def test_keys_that_are_missing_are_told_with_what_else_would_do(
    changes: dict[str, str | None], words: tuple[str, ...]
) -> None:
    with pytest.raises(Misconfigured) as told:
        read(**changes)
    for word in words:
        assert word in told.value.message


def test_a_run_alone_has_an_identity_from_its_start() -> None:
    settings = read()
    assert settings.timestamp == "2024-08-06-143052"
    assert settings.run_id == "2024-08-06-143052-abc123"


@pytest.mark.parametrize("value", ["True", "TRUE", "1", "yes", "", " true"])
def test_only_the_exact_word_enables_the_timestamp_folder(value: str) -> None:
    assert not read(ADD_TIMESTAMP_PREFIX=value).add_timestamp
    assert read(ADD_TIMESTAMP_PREFIX="true").add_timestamp


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ("", "backups"),
        ("/", "backups"),
        ("production", "backups/production"),
        ("/production/", "backups/production"),
        ("//a/b//", "backups/a/b"),
        ("a b/ü", "backups/a b/ü"),
    ],
)
def test_prefixes_are_trimmed(given: str, root: str) -> None:
    assert read(CUSTOM_PATH_PREFIX=given).root == root


def test_a_bucket_name_may_bring_a_folder_as_with_the_original() -> None:
    settings = read(BUCKET_NAME="backups/team/", CUSTOM_PATH_PREFIX="app")
    assert (settings.bucket, settings.root) == ("backups", "backups/team/app")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"AWS_ACCESS_KEY_ID": None}, ["AWS_ACCESS_KEY_ID is not set"]),
        ({"AWS_SECRET_ACCESS_KEY": " "}, ["AWS_SECRET_ACCESS_KEY is empty"]),
        ({"BUCKET_HOST": None, "BUCKET_NAME": None}, ["BUCKET_HOST is not set", "BUCKET_NAME is not set"]),
        ({"BUCKET_HOST": "https://minio"}, ["BUCKET_HOST", "only the host's name"]),
        ({"BUCKET_HOST": "minio:9000/path"}, ["BUCKET_HOST"]),
        ({"BUCKET_HOST": "mi nio"}, ["BUCKET_HOST"]),
        ({"CA_CERT": "/ca.pem"}, ["CA_CERT is no certificate", "BEGIN CERTIFICATE"]),
        ({"CA_CERT": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}, ["CA_CERT", "no keys"]),
        ({"BUCKET_PORT": "0"}, ["BUCKET_PORT is '0'", "1 to 65535"]),
        ({"BUCKET_PORT": "65536"}, ["BUCKET_PORT"]),
        ({"BUCKET_PORT": "٤٤٣"}, ["BUCKET_PORT"]),
        ({"TLS_HOST": "yes"}, ["TLS_HOST is 'yes'", '"true" or "false"']),
        ({"TLS_HOST": "False"}, ["TLS_HOST"]),
        ({"VERIFY_BACKUP": "1"}, ["VERIFY_BACKUP is '1'"]),
        ({"DATAMOVER_VERIFY": "true"}, ["DATAMOVER_VERIFY is 'true'"]),
        ({"DATAMOVER_VERIFY": "size", "VERIFY_BACKUP": "1"}, ["VERIFY_BACKUP is '1'"]),
        ({"BUCKET_NAME": "my bucket"}, ["BUCKET_NAME"]),
        ({"BUCKET_NAME": "remote:bucket"}, ["BUCKET_NAME"]),
        ({"CUSTOM_PATH_PREFIX": "a/../b"}, ["CUSTOM_PATH_PREFIX", "'..'"]),
        ({"CUSTOM_PATH_PREFIX": "a//b"}, ["CUSTOM_PATH_PREFIX", "empty segment"]),
        ({"CUSTOM_PATH_PREFIX": "a/\x07b"}, ["CUSTOM_PATH_PREFIX", "control character"]),
        ({"CUSTOM_PATH_PREFIX": ".datamover"}, ["CUSTOM_PATH_PREFIX", "records"]),
        ({"DATAMOVER_TIMESTAMP": "2024-08-06"}, ["DATAMOVER_TIMESTAMP"]),
        ({"DATAMOVER_TIMESTAMP": "2024-02-30-120000"}, ["DATAMOVER_TIMESTAMP"]),
        ({"DATAMOVER_RUN_ID": "../other"}, ["DATAMOVER_RUN_ID"]),
        ({"DATAMOVER_MAX_DELETE_PERCENT": "101"}, ["DATAMOVER_MAX_DELETE_PERCENT"]),
        ({"BUCKET_PORT": "²"}, ["BUCKET_PORT"]),
        ({"BUCKET_PORT": "9" * 5000}, ["BUCKET_PORT"]),
        ({"RCLONE_MAX_DELETE": "²"}, ["RCLONE_MAX_DELETE is set to '²'", "in digits"]),
        ({"RCLONE_MAX_DELETE": "9" * 5000}, ["RCLONE_MAX_DELETE"]),
        ({"RCLONE_MAX_DELETE": "-2"}, ["RCLONE_MAX_DELETE"]),
        ({"DATAMOVER_MAX_DELETE_PERCENT": "٥"}, ["DATAMOVER_MAX_DELETE_PERCENT"]),
        ({"DATAMOVER_DEADLINE": "1_000"}, ["DATAMOVER_DEADLINE"]),
        ({"DATAMOVER_MAX_DELETE_PERCENT": "nan"}, ["DATAMOVER_MAX_DELETE_PERCENT"]),
        ({"DATAMOVER_DEADLINE": "soon"}, ["DATAMOVER_DEADLINE"]),
        ({"DATAMOVER_COPY_METHOD": "clone"}, ["DATAMOVER_COPY_METHOD", "Clone, Snapshot or Direct"]),
        ({"RCLONE_DRY_RUN": "true"}, ["RCLONE_DRY_RUN"]),
        ({"RCLONE_INTERACTIVE": "1"}, ["RCLONE_INTERACTIVE"]),
    ],
)
def test_what_is_wrong_is_named_with_its_fix_and_without_a_secret(
    changes: dict[str, str | None], words: list[str]
) -> None:
    with pytest.raises(Misconfigured) as caught:
        read(**changes)
    assert caught.value.failure_class == transfer.CONFIG
    assert not caught.value.retryable
    for word in words:
        assert word in caught.value.message
    assert "minio-secret-key" not in caught.value.message


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(Misconfigured) as caught:
        read(BUCKET_PORT="x", TLS_HOST="x", CUSTOM_PATH_PREFIX="..")
    for name in ("BUCKET_PORT", "TLS_HOST", "CUSTOM_PATH_PREFIX"):
        assert name in caught.value.message


def test_white_space_from_encoding_a_secret_is_ignored_with_a_note() -> None:
    settings = read(AWS_SECRET_ACCESS_KEY="minio-secret-key\n")
    assert settings.secret_key == "minio-secret-key"
    assert settings.notices == ("AWS_SECRET_ACCESS_KEY has white space at its ends; it is ignored",)


@pytest.mark.parametrize(
    ("host", "endpoint"), [("fd00::1", "https://[fd00::1]:443"), ("[fd00::1]", "https://[fd00::1]:443")]
)
def test_an_ipv6_address_gets_its_brackets(host: str, endpoint: str) -> None:
    assert read(BUCKET_HOST=host).endpoint == endpoint


def test_the_embedded_node_moves_every_place() -> None:
    settings = read(DATAMOVER_ROOT="/var/pods/one/")
    assert (settings.data, settings.config, settings.termination) == (
        "/var/pods/one/data",
        "/var/pods/one/config",
        "/var/pods/one/dev/termination-log",
    )


def test_timestamps_read_back_as_they_are_written() -> None:
    assert read_timestamp(write_timestamp(NOW)) == NOW


@pytest.mark.parametrize("pvc", [None, "", "  "])
def test_a_mirror_without_a_volumes_name_is_refused_because_all_such_would_be_one_owner(pvc: str | None) -> None:
    with pytest.raises(Misconfigured, match="DATAMOVER_OWNER_PVC is not set; say whose volume this is"):
        read(DATAMOVER_OWNER_PVC=pvc, DATAMOVER_OWNER_NAMESPACE="production")
    assert read(DATAMOVER_OWNER_PVC=pvc, ADD_TIMESTAMP_PREFIX="true").owner.pvc == ""
    assert str(read().owner) == "app-data"


def test_what_the_operator_sets_to_nothing_means_the_default() -> None:
    """So that no key of a Secret takes its place."""
    names = ("ROOT", "RCLONE", "GRACE_PERIOD", "OUTAGE_LIMIT", "DEADLINE")
    assert read(**{f"DATAMOVER_{name}": "" for name in names}) == read()


@pytest.mark.parametrize("name", ["DATAMOVER_OWNER_CLUSTER", "DATAMOVER_OWNER_PVC", "DATAMOVER_OBJECT"])
def test_what_no_record_can_hold_is_told_by_its_variable(name: str) -> None:
    with pytest.raises(Misconfigured, match=f"{name} is .*that is not UTF-8"):
        read(**{name: "volume\udcff"})


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ({}, "2024-08-06-140000"),
        ({"DATAMOVER_TIMESTAMP": None}, None),
        ({"DATAMOVER_COPIED_AT": ""}, "2024-08-06-140000"),
        ({"DATAMOVER_COPIED_AT": "2024-08-05-000003"}, "2024-08-05-000003"),
        ({"DATAMOVER_COPIED_AT": "2024-08-05-000003", "DATAMOVER_COPY_METHOD": "Direct"}, None),
    ],
)
def test_the_moment_of_the_copy_is_what_is_told_or_the_runs_second_or_now(given, moment) -> None:
    found = read(**{"DATAMOVER_TIMESTAMP": "2024-08-06-140000", **given}).copied_at
    assert found == (moment or write_timestamp(NOW))


@pytest.mark.parametrize("given", ["yesterday", "2024-08-05T00:00:03Z", "2024-13-05-000003", "2024-08-05-000003x"])
def test_a_moment_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(Misconfigured, match="DATAMOVER_COPIED_AT is"):
        read(DATAMOVER_COPIED_AT=given)


def test_a_bucket_is_read_without_what_only_a_mover_has() -> None:
    store = read_store(SECRET | {"CUSTOM_PATH_PREFIX": "shop"})
    assert (store.root, store.endpoint) == ("backups/shop", "https://minio.example.com:443")
    with pytest.raises(Misconfigured, match="BUCKET_NAME is not set; put it there"):
        read_store({name: value for name, value in SECRET.items() if name != "BUCKET_NAME"}, advice="put it there")
