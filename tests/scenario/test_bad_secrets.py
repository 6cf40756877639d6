"""Secrets that cannot serve: missing, lacking, misspelt, wrong. What can be known before the run blocks it; the rest the mover says."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from datamover.api import names, reasons, transfer
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from kubekit.words.core import CONFIG_MAPS, SECRETS
from support.identity import TOKEN, Identity
from support.scenario import TREE
from support.stage import IMPATIENT, SECRET, Act, Stage, env, run_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("bad secrets")]

CONFIG = transfer.REASON_INVALID_CONFIGURATION


@dataclass(frozen=True)
class Row:
    """What the Secret has otherwise (None: has not), the reason, and words of the sentence."""

    secret: Mapping[str, str | None]
    reason: str
    words: tuple[str, ...]
    spec: Mapping[str, Any] = field(default_factory=dict)


def row(reason: str, *words: str, image: str | None = None, **secret: str | None) -> Row:
    return Row(secret, reason, words, spec={"image": {"repository": image}} if image else {})


LACKING = {
    **{
        f"no {key}": row(reasons.SECRET_KEY_MISSING, f"lacks {key}", "add the keys", **{key: None})
        for key in transfer.REQUIRED_VARIABLES
    },
    **{
        f"an empty {key}": row(reasons.SECRET_KEY_MISSING, f"has no value for {key}", "add the keys", **{key: ""})
        for key in transfer.REQUIRED_VARIABLES
    },
    "a key in the wrong case": row(
        reasons.SECRET_KEY_MISSING,
        "lacks BUCKET_HOST",
        "it has 'bucket_host': names are exact",
        BUCKET_HOST=None,
        bucket_host="x",
    ),
    "two keys missing and one empty": row(
        reasons.SECRET_KEY_MISSING,
        "lacks AWS_ACCESS_KEY_ID, BUCKET_HOST and has no value for BUCKET_NAME",
        AWS_ACCESS_KEY_ID=None,
        BUCKET_HOST=None,
        BUCKET_NAME="",
    ),
    "a key that says what is run": row(
        reasons.SECRET_KEY_REFUSED,
        "'PATH', 'RCLONE_PASSWORD_COMMAND'",
        "Remove them there",
        PATH="/data/bin",
        RCLONE_PASSWORD_COMMAND="/data/bin/x",
    ),
    "another tool's names": row(
        reasons.SECRET_KEY_MISSING,
        "lacks AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, BUCKET_HOST, BUCKET_NAME",
        **dict.fromkeys(transfer.REQUIRED_VARIABLES),
        access_key="x",
        endpoint="x",
    ),
}

WRONG = {
    "TLS_HOST in capitals": row(CONFIG, "TLS_HOST is 'True'", 'write "true" or "false"', TLS_HOST="True"),
    "TLS_HOST yes": row(CONFIG, "TLS_HOST is 'yes'", "small letters", TLS_HOST="yes"),
    "a port beyond all ports": row(CONFIG, "BUCKET_PORT is '99999'", "from 1 to 65535", BUCKET_PORT="99999"),
    "a port of zero": row(CONFIG, "BUCKET_PORT is '0'", "from 1 to 65535", BUCKET_PORT="0"),
    "a port in words": row(CONFIG, "BUCKET_PORT is 'abc'", "write a number", BUCKET_PORT="abc"),
    "an empty port is 443": row(
        transfer.REASON_SERVER_UNREACHABLE,
        "https://127.0.0.1:443",
        "check BUCKET_HOST, BUCKET_PORT",
        image=IMPATIENT,
        BUCKET_PORT="",
        TLS_HOST="true",
    ),
    "a host with a scheme": row(
        CONFIG, "BUCKET_HOST is 'https://s3.example.com'", "only the host's name", BUCKET_HOST="https://s3.example.com"
    ),
    "a host with a port": row(
        CONFIG,
        "BUCKET_HOST is 's3.example.com:9000'",
        "the port goes into BUCKET_PORT",
        BUCKET_HOST="s3.example.com:9000",
    ),
    "a host with a path": row(
        CONFIG, "BUCKET_HOST is 's3.example.com/minio'", "only the host's name", BUCKET_HOST="s3.example.com/minio"
    ),
    "a host with a space in it": row(
        CONFIG, "BUCKET_HOST is 's3 example'", "only the host's name", BUCKET_HOST="s3 example"
    ),
    "a host of white space": row(CONFIG, "BUCKET_HOST is empty", "put it into the Secret", BUCKET_HOST=" \n"),
    "a bucket with a colon": row(
        CONFIG, "BUCKET_NAME is 'other:bucket'", "not a bucket's name", BUCKET_NAME="other:bucket"
    ),
    "a bucket with a line break in it": row(CONFIG, "BUCKET_NAME", "not a bucket's name", BUCKET_NAME="a\nb"),
    "a bucket of slashes": row(CONFIG, "BUCKET_NAME is '///'", "not a bucket's name", BUCKET_NAME="///"),
    "a bucket that leads out of itself": row(CONFIG, "BUCKET_NAME is '../other'", BUCKET_NAME="../other"),
    "a folder of the bucket that leads out of it": row(
        CONFIG, "BUCKET_NAME", "'..'", "object stores do not resolve", BUCKET_NAME="bucket/../other"
    ),
    "a bucket in capitals": row(
        transfer.REASON_BUCKET_NOT_FOUND, "no bucket 'BACKUPS'", "create it, or mend BUCKET_NAME", BUCKET_NAME="BACKUPS"
    ),
    "several things at once": row(
        CONFIG,
        "TLS_HOST is 'no'",
        "BUCKET_PORT is 'x'",
        "BUCKET_HOST is 'a/b'",
        TLS_HOST="no",
        BUCKET_PORT="x",
        BUCKET_HOST="a/b",
    ),
    "an unknown key": row(
        transfer.REASON_WRONG_CREDENTIALS,
        "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        AWS_ACCESS_KEY_ID="AKIANOBODYKNOWSIT",
    ),
    "a wrong secret": row(
        transfer.REASON_WRONG_CREDENTIALS,
        "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        AWS_SECRET_ACCESS_KEY="canary/Wr0ng+Secret",
    ),
    "a run that would only pretend": row(
        CONFIG, "RCLONE_DRY_RUN is set: nothing would be moved", "Remove it", RCLONE_DRY_RUN="true"
    ),
    "a setting of the engine that is none": row(
        CONFIG, "RCLONE_ variables", "correct or remove it", "lots", RCLONE_TRANSFERS="lots"
    ),
    "a file of rules that is missing": row(CONFIG, "/nowhere/rules", RCLONE_EXCLUDE_FROM="/nowhere/rules"),
    "a certificate authority that is missing": row(CONFIG, "/nowhere/ca.crt", RCLONE_CA_CERT="/nowhere/ca.crt"),
}

SERVING = {
    "a line break at the end of the host": {"BUCKET_HOST": "127.0.0.1\n"},
    "white space around the keys": {"AWS_ACCESS_KEY_ID": " {} ", "AWS_SECRET_ACCESS_KEY": "{}\n"},
    "an empty session token": {"AWS_SESSION_TOKEN": ""},
    "keys that mean nothing": {"a.b-c": "x", "NOTE": "\u00fcn\u00efc\u00f6de"},
    "a timestamp switch of its own": {"ADD_TIMESTAMP_PREFIX": "false"},
    "variables of the operator's own": {
        "DATAMOVER_RUN_ID": "../../x",
        "DATAMOVER_OWNER_PVC": "other",
        "DATAMOVER_COPY_METHOD": "x",
    },
}


async def prepare(act: Act, changes: Mapping[str, str | None]) -> None:
    values: dict[str, str | None] = {**act.secret(), **changes}
    await act.cluster.create_secret(SECRET, {key: value for key, value in values.items() if value is not None})


@pytest.mark.parametrize("case", LACKING)
async def test_a_secret_that_lacks_something_blocks_the_run(case: str, stage: Stage) -> None:
    found = LACKING[case]
    async with stage.act(case) as act:
        await prepare(act, found.secret)
        await act.start()
        await act.expect_blocked(found.reason, f"Secret {SECRET}", *found.words)


@pytest.mark.parametrize("case", WRONG)
async def test_a_secret_that_is_wrong_fails_the_run_and_says_what_to_mend(case: str, stage: Stage) -> None:
    found = WRONG[case]
    async with stage.act(case) as act:
        await prepare(act, found.secret)
        await act.start(**found.spec)
        await act.expect_failed(found.reason, *found.words)


@pytest.mark.parametrize("case", SERVING)
async def test_a_secret_that_only_looks_wrong_serves(case: str, stage: Stage) -> None:
    async with stage.act(case) as act:
        plain = act.secret()
        await prepare(act, {key: value.format(plain.get(key)) for key, value in SERVING[case].items()})
        await act.start()
        assert await act.copied() == TREE


async def test_a_pod_with_an_identity_needs_no_keys(stage: Stage, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    async with stage.act("an identity") as act:
        keys = act.s3.secret()
        with Identity(access_key=keys["AWS_ACCESS_KEY_ID"], secret_key=keys["AWS_SECRET_ACCESS_KEY"]) as identity:
            await prepare(act, {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None})
            await act.start(
                additionalEnv=env(
                    AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{identity.url}/v1/credentials",
                    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(token),
                ),
            )
            assert await act.copied() == TREE
        assert TOKEN not in await act._everything()


async def test_a_service_account_that_brings_nothing_is_told_by_the_mover(stage: Stage) -> None:
    async with stage.act("a service account without a role") as act:
        await prepare(act, {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None})
        await act.start(mover={"serviceAccountName": "default"})
        await act.expect_failed(CONFIG, "AWS_ACCESS_KEY_ID is not set", "webhook", "spec.mover.serviceAccountName")


WITH_PASSWORDS = {
    "in the host": {"BUCKET_HOST": "https://somebody:canary-zyxw@s3.example.com"},
    "in a proxy": {"RCLONE_HTTP_PROXY": "http://somebody:canary-zyxw %zz@proxy.invalid:3128"},
    "in a header": {"RCLONE_HEADER": '"Authorization: Bearer canary-zyxw'},
    "in a switch": {"TLS_HOST": "https://somebody:canary-zyxw@s3.example.com"},
    "in a token": {"AWS_SESSION_TOKEN": "canary-zyxw", "AWS_SECRET_ACCESS_KEY": "canary-zyxw-2"},
}


@pytest.mark.parametrize("case", WITH_PASSWORDS)
async def test_a_password_wherever_it_stands_is_read_nowhere(case: str, stage: Stage) -> None:
    """Law L8: in no status, event, metric or termination message, also where the value is what is wrong."""
    async with stage.act(f"a password {case}") as act:
        await prepare(act, WITH_PASSWORDS[case])
        await act.start(
            image={"repository": IMPATIENT}, additionalEnv=env(RCLONE_LOG_LEVEL="DEBUG", RCLONE_DUMP="headers,bodies")
        )
        await act.cluster.wait_phase("mover", "Failed")
        for part in ("canary", "-zyxw"):
            assert part not in await act._everything()


async def test_a_folder_in_the_buckets_name_is_a_prefix(stage: Stage) -> None:
    async with stage.act("bucket and folder") as act:
        await act.create_secret(BUCKET_NAME=f"{act.bucket}/folder/")
        await act.start()
        mover = await act.expect_completed()
        assert act.s3.objects(f"folder/{run_of(mover).timestamp}", bucket=act.bucket) == TREE


async def test_no_secret_at_all_and_then_half_of_it_and_then_all_of_it(stage: Stage) -> None:
    async with stage.act("a Secret that comes in pieces") as act:
        await act.start()
        await act.expect_blocked(
            reasons.SECRET_NOT_FOUND, f"Secret {SECRET} does not exist", "create it with AWS_ACCESS_KEY_ID"
        )
        await prepare(act, {"BUCKET_HOST": None})
        await act.expect_blocked(reasons.SECRET_KEY_MISSING, "lacks BUCKET_HOST")
        whole = {"stringData": act.secret()}
        await act.client.patch(SECRETS, SECRET, whole, namespace=act.namespace, field_manager="test")
        assert await act.copied() == TREE


async def test_a_wrong_key_that_is_mended_goes_on_with_a_retry(stage: Stage) -> None:
    async with stage.act("a wrong key that is mended") as act:
        await act.create_secret(AWS_SECRET_ACCESS_KEY="wrong")
        await act.start()
        failed = await act.expect_failed(transfer.REASON_WRONG_CREDENTIALS)
        whole = {"stringData": act.secret()}
        await act.client.patch(SECRETS, SECRET, whole, namespace=act.namespace, field_manager="test")
        wish = {"metadata": {"annotations": {names.RETRY_ANNOTATION: "1"}}}
        await act.client.patch(DATA_MOVERS, "mover", wish, namespace=act.namespace, field_manager="test")
        await act.cluster.wait_phase("mover", "Completed")
        done = await act.expect_completed()
        assert run_of(done).id == run_of(failed).id
        assert await act.copied() == TREE


@pytest.mark.parametrize("method", ["Clone", "Direct"])
async def test_a_value_that_no_environment_can_hold_is_told(method: str, stage: Stage) -> None:
    async with stage.act(f"a zero byte in a key {method}") as act:
        await act.create_secret()
        raw = {"data": {"AWS_SESSION_TOKEN": base64.b64encode(b"canary\0b").decode()}}
        await act.client.patch(SECRETS, SECRET, raw, namespace=act.namespace, field_manager="test")
        await act.start(copyMethod=method)
        failed = await act.expect_failed(
            reasons.BACKOFF_LIMIT_EXCEEDED, "could not be started (StartError)", "NUL byte"
        )
        assert "canary" not in str(failed.status)


async def test_a_value_too_large_for_an_environment_is_told(stage: Stage) -> None:
    async with stage.act("200 KiB in a key") as act:
        await act.create_secret(NOTE="canary" * 40_000)
        await act.start(copyMethod="Direct")
        failed = await act.expect_failed(
            reasons.BACKOFF_LIMIT_EXCEEDED, "could not be started (StartError)", "argument list too long"
        )
        assert "canary" not in str(failed.status)


async def test_what_an_object_bucket_claim_makes_serves_as_it_is(stage: Stage) -> None:
    """The Secret has the keys, the ConfigMap of the same name the bucket."""
    async with stage.act("an object bucket claim") as act:
        values = act.secret()
        keys = {key: value for key, value in values.items() if key.startswith("AWS_")}
        place = {key: value for key, value in values.items() if key.startswith("BUCKET_")}
        await act.cluster.create_secret("backup-bucket", keys)
        await act.cluster.create(CONFIG_MAPS, "backup-bucket", data=place)
        references = [
            {"name": key, "valueFrom": {"configMapKeyRef": {"name": "backup-bucket", "key": key}}} for key in place
        ]
        await act.start(secretName="backup-bucket", additionalEnv=[*references, *env(TLS_HOST="false")])
        assert await act.copied() == TREE
