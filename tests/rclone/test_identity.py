"""Credentials without keys in the Secret: roles of service accounts, a Pod's identity, profiles, and instance metadata where it is asked for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import Container, Ended
from support.identity import ROLE, SESSION_TOKEN, TOKEN, Identity
from support.s3 import S3Server

NO_KEYS = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
LOUD = {"RCLONE_DUMP": "headers,bodies", "RCLONE_LOG_LEVEL": "DEBUG"}


@pytest.fixture
def identity(s3: S3Server) -> Iterator[Identity]:
    """What hands out the keys of the S3 server."""
    with Identity(access_key=s3.access_key, secret_key=s3.secret_key) as server:
        yield server


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """The file that a cloud's webhook has projected into the Pod."""
    path = tmp_path / "token"
    path.write_text(TOKEN)
    return path


def web_identity(identity: Identity, token: Path) -> dict[str, str | None]:
    """Return what the webhook for roles of service accounts sets, and where STS is."""
    return NO_KEYS | {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ROLE_ARN": ROLE,
        "AWS_ENDPOINT_URL_STS": identity.url,
    }


def expect_arrival(ended: Ended, server: S3Server) -> None:
    assert ended.code == 0, ended.output
    assert server.objects() == {"a": b"a"}
    for secret in (server.access_key, server.secret_key, TOKEN, SESSION_TOKEN):
        assert secret not in ended.output + ended.errors + ended.message.decode()


def test_a_role_of_the_service_account_takes_the_place_of_keys(
    container: Container, s3: S3Server, identity: Identity, token: Path
) -> None:
    (container.data / "a").write_text("a")
    ended = container.run(**web_identity(identity, token), **LOUD)
    expect_arrival(ended, s3)
    assert "STS AssumeRoleWithWebIdentity" in identity.asked


def test_a_pod_identity_takes_the_place_of_keys(
    container: Container, s3: S3Server, identity: Identity, token: Path
) -> None:
    (container.data / "a").write_text("a")
    ended = container.run(
        **NO_KEYS,
        AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{identity.url}/v1/credentials",
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(token),
        **LOUD,
    )
    expect_arrival(ended, s3)


def test_a_file_of_profiles_takes_the_place_of_keys_where_the_datamover_itself_names_it(
    container: Container, s3: S3Server, tmp_path: Path
) -> None:
    (container.data / "a").write_text("a")
    (tmp_path / "profiles").write_text(
        f"[backup]\naws_access_key_id = {s3.access_key}\naws_secret_access_key = {s3.secret_key}\n"
    )
    ended = container.run(
        **NO_KEYS,
        AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "profiles"),
        AWS_PROFILE="backup",
        DATAMOVER_ALLOW_COMMANDS="AWS_SHARED_CREDENTIALS_FILE",
    )
    expect_arrival(ended, s3)


@pytest.mark.parametrize("prefix", ["RCLONE_S3_", "RCLONE_CONFIG_S3GENERIC_"])
def test_the_engines_own_options_take_the_place_of_keys(container: Container, s3: S3Server, prefix: str) -> None:
    (container.data / "a").write_text("a")
    options = {f"{prefix}ACCESS_KEY_ID": s3.access_key, f"{prefix}SECRET_ACCESS_KEY": s3.secret_key}
    expect_arrival(container.run(**NO_KEYS, **options, **LOUD), s3)


def test_a_profile_that_is_nowhere_is_told(container: Container, s3: S3Server) -> None:
    for keys in (NO_KEYS | {"AWS_EC2_METADATA_DISABLED": "false"}, {}):
        outcome = container.run(**keys, AWS_PROFILE="nowhere").outcome
        assert outcome.reason == transfer.REASON_WRONG_CREDENTIALS
        assert "AWS_PROFILE" in outcome.message
        assert not outcome.retryable


def test_keys_win_over_a_role(container: Container, s3: S3Server, token: Path) -> None:
    (container.data / "a").write_text("a")
    with Identity(access_key="AKIAOTHER", secret_key="other") as elsewhere:
        ended = container.run(**web_identity(elsewhere, token) | {name: s3.secret()[name] for name in NO_KEYS})
        assert elsewhere.asked == []
    expect_arrival(ended, s3)


def test_one_key_of_two_is_a_mistake_whatever_else_there_is(container: Container, s3: S3Server, token: Path) -> None:
    with Identity(access_key=s3.access_key, secret_key=s3.secret_key) as identity:
        for key in NO_KEYS:
            ended = container.run(**web_identity(identity, token) | {key: "only-one"})
            assert ended.outcome.reason == transfer.REASON_INVALID_CONFIGURATION
            other = next(name for name in NO_KEYS if name != key)
            assert f"{other} is not set" in ended.outcome.message
        assert identity.asked == []


def test_the_nodes_own_credentials_are_used_only_where_that_is_said(
    container: Container, s3: S3Server, identity: Identity, token: Path
) -> None:
    (container.data / "a").write_text("a")
    metadata = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": identity.url}
    unsaid = container.run(**NO_KEYS, **metadata)
    assert unsaid.outcome.reason == transfer.REASON_INVALID_CONFIGURATION
    for words in ("AWS_ACCESS_KEY_ID is not set", "AWS_SECRET_ACCESS_KEY is not set", "spec.mover.serviceAccountName"):
        assert words in unsaid.outcome.message
    token.unlink()
    refused = container.run(**web_identity(identity, token), **metadata)
    assert refused.outcome.reason == transfer.REASON_WRONG_CREDENTIALS, refused.output
    assert identity.asked == [], "the mover became its node"
    said = container.run(**NO_KEYS, **metadata, AWS_EC2_METADATA_DISABLED="false")
    expect_arrival(said, s3)


def test_a_role_that_does_not_trust_the_mover_is_told_as_that(container: Container, s3: S3Server, token: Path) -> None:
    token.write_text(TOKEN.replace("c2ln", "b3Ro"))
    with Identity(access_key=s3.access_key, secret_key=s3.secret_key) as identity:
        outcome = container.run(**web_identity(identity, token)).outcome
    assert (outcome.failure_class, outcome.reason) == (transfer.CREDENTIALS, transfer.REASON_WRONG_CREDENTIALS)
    assert "AWS_ROLE_ARN" in outcome.message
    assert "sts:AssumeRoleWithWebIdentity" in outcome.message
    assert not outcome.retryable


def test_a_service_for_credentials_that_does_not_answer_is_waited_for(container: Container, token: Path) -> None:
    with Identity(access_key="", secret_key="") as identity:
        variables = web_identity(identity, token)
    outcome = container.run(**variables, DATAMOVER_OUTAGE_LIMIT="10").outcome
    assert (outcome.failure_class, outcome.reason) == (transfer.NETWORK, transfer.REASON_SERVER_UNREACHABLE)
    assert "AWS_ENDPOINT_URL_STS" in outcome.message
    assert outcome.retryable


def test_half_of_a_role_is_told(container: Container, token: Path) -> None:
    outcome = container.run(**NO_KEYS, AWS_WEB_IDENTITY_TOKEN_FILE=str(token)).outcome
    assert outcome.reason == transfer.REASON_INVALID_CONFIGURATION
    assert "AWS_ROLE_ARN is missing" in outcome.message
