"""No secret leaves, however it is written (law L8)."""

import base64
import json
import os
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from datamover.agent.redaction import REDACTED, Redactor
from datamover.api.variables import find_secrets

KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCY=EXAMPLEKEY"
ENVIRON = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": f"{SECRET}\n",
    "RCLONE_CONFIG_S3GENERIC_SSE_CUSTOMER_KEY": "sse-key-0123456789",
    "DB_PASSWORD": "correct horse",
    "SHORT_TOKEN": "abc",
    "KEY_FLAG": "true",
    "BUCKET_NAME": "backups",
}


@pytest.mark.parametrize(
    "text",
    [
        f"key {KEY} and secret {SECRET}",
        f"https://user:wJalrXUtnFEMI%2FK7MDENG%2BbPxRfiCY%3DEXAMPLEKEY@host/?AWSAccessKeyId={KEY}",
        f"Authorization: AWS4-HMAC-SHA256 Credential={KEY}/20240806/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0123abcd",
        "authorization: Bearer something-else-entirely",
        "X-Amz-Security-Token: FwoGZXIvYXdzEJr",
        '"X-Amz-Signature=fedcba9876543210&X-Amz-Date=1"',
        "password is correct horse!",
        "sse-key-0123456789",
    ],
)
def test_secrets_and_signatures_are_taken_out(text: str) -> None:
    clean = Redactor(ENVIRON)(text)
    for secret in (
        KEY,
        SECRET,
        "wJalrXUtnFEMI",
        "0123abcd",
        "something-else",
        "FwoGZ",
        "fedcba98",
        "correct horse",
        "sse-key",
    ):
        assert secret not in clean
    assert "[redacted]" in clean


def test_ordinary_text_is_left_as_it_is() -> None:
    text = "true: backups/abc.txt: Copied (new) https://host:443/backups?prefix=key"
    assert Redactor(ENVIRON)(text) == text


VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "RCLONE_S3_SSE_CUSTOMER_KEY",
    "RCLONE_CONFIG_S3GENERIC_SSE_CUSTOMER_KEY_BASE64",
    "RCLONE_CONFIG_PASS",
    "RCLONE_RC_PASS",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "RCLONE_S3_AUTH",
    "DB_PASSWORD",
    "SESSION_COOKIE",
    "RCLONE_CONFIG_STORJ_ACCESS_GRANT",
    "RCLONE_CONFIG_INTERNXT_MNEMONIC",
    "RCLONE_CONFIG_MEGA_SESSION_ID",
    "RCLONE_CONFIG_AZ_CONNECTION_STRING",
)
EMBEDDED = {
    "HTTPS_PROXY": "http://somebody:{}@proxy.example.com:3128",
    "http_proxy": "somebody:{}@proxy.example.com:3128",
    "RCLONE_HTTP_PROXY": "http://{}@proxy.example.com",
    "BUCKET_HOST": "https://somebody:{}@minio.example.com",
    "RCLONE_S3_ENDPOINT": "https://somebody:{}@minio.example.com/",
    "RCLONE_HEADER": "X-Something: {}",
    "RCLONE_HEADER_UPLOAD": '"X-Other: 1","Authorization: Bearer {}"',
    "RCLONE_HEADER_DOWNLOAD": "Authorization: Basic {}",
    "SOME_URL": "https://host/object?X-Amz-Signature={}&X-Amz-Date=1",
    "OTHER_URL": "https://host/object?access_token={}",
    "RESTIC_REPOSITORY": 'rclone::s3,access_key_id=me,secret_access_key="{}",endpoint="http://h":bucket',
    "RCLONE_CONFIG_X_REMOTE": ':sftp,host=h,pass="{}":x',
    "RCLONE_CONFIG_X_TOKEN": '{{"access_token":"{}","expiry":"2026"}}',
    "RCLONE_CONFIG_X_HEADERS": "Authorization,Bearer {}",
    "RCLONE_CONFIG_Y_HEADERS": "Cookie,session={}",
}
WAYS = {
    "as it is": str,
    "percent": lambda text: quote(text, safe=""),
    "percent, with slashes": quote,
    "form": quote_plus,
    "percent, small": lambda text: "".join(
        part.lower() if part[:1] == "%" else part for part in _percent_pieces(quote(text, safe=""))
    ),
    "base64": lambda text: _base64(text.encode()),
    "basic auth": lambda text: _base64(f"user:{text}".encode()),
    "basic auth of a longer name": lambda text: _base64(f"user-4:{text}".encode()),
    "basic auth, safe in addresses": lambda text: base64.urlsafe_b64encode(f"u:{text}".encode()).decode().strip("="),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON with all letters": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "Go's JSON": lambda text: (
        json.dumps(text, ensure_ascii=False)[1:-1]
        .replace("&", "\\u0026")
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
    ),
    "Python": lambda text: repr(text)[1:-1],
    "CSV": lambda text: text.replace('"', '""'),
    "XML": lambda text: text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
}
PLAIN = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="\x7f", exclude_categories=["C", "Z"]),
    min_size=8,
    max_size=40,
)
INNER = st.text(st.sampled_from("abcXYZ019-._~!$'*+=%"), min_size=8, max_size=40)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode().rstrip("=")


def _percent_pieces(text: str) -> list[str]:
    pieces: list[str] = []
    while text:
        size = 3 if text[0] == "%" else 1
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def leaves(secret: str, written: str, clean: str) -> bool:
    """Tell whether the secret is in what is left; the words of ours that stand in its place are not it."""
    rest = clean.replace(REDACTED, "\0")
    return secret in rest or (len(written) > 5 and written[1:-1] in rest)


@given(st.sampled_from(VARIABLES), PLAIN, st.sampled_from(sorted(WAYS)))
@example("AWS_SECRET_ACCESS_KEY", 'wJa"l<r>X&U/n+', "Go's JSON")
@example("AWS_SECRET_ACCESS_KEY", 'it\'s"both"', "Python")
def test_a_value_of_a_variable_that_looks_like_a_secret_never_leaves(name: str, secret: str, way: str) -> None:
    assume(secret.lower() not in {"true", "false", "none", "null", "auto"})
    written = WAYS[way](secret)
    assert not leaves(secret, written, Redactor({name: secret})(f"2026/11/21 said <{written}> of it"))


@given(st.sampled_from(sorted(EMBEDDED)), INNER, st.sampled_from(sorted(WAYS)))
def test_what_is_secret_in_a_value_never_leaves(name: str, secret: str, way: str) -> None:
    written = WAYS[way](secret)
    environ = {name: EMBEDDED[name].format(secret)}
    redact = Redactor(environ)
    assert not leaves(secret, written, redact(f"dial {written} refused"))
    assert secret not in redact(
        f"Setting --some-option {environ[name]!r} from environment variable {name}={environ[name]!r}"
    )


@given(st.text(min_size=4, max_size=30), st.text(), st.text())
def test_no_secret_of_any_shape_gets_through(secret: str, before: str, after: str) -> None:
    secret = secret.strip()
    assume(len(secret) >= 4)
    assume(secret.lower() not in {"true", "false", "none", "null", "auto"})
    clean = Redactor({"MY_SECRET": secret})(f"{before}{secret}{after}")
    assert secret not in clean.replace(REDACTED, "") or secret in (before + after)


@given(st.lists(INNER, min_size=40, max_size=60), st.sampled_from(sorted(WAYS)), st.integers(0, 39))
@settings(max_examples=30)
def test_no_line_of_a_file_of_keys_leaves(lines: list[str], way: str, number: int) -> None:
    redact = Redactor({"TLS_KEY": "\n".join(lines), "OTHER_TOKEN": lines[0]})
    written = WAYS[way](lines[number])
    assert not leaves(lines[number], written, redact(f"2026/11/21 said <{written}> of it"))
    assert lines[number] not in redact("\n".join(lines))


@given(st.dictionaries(st.sampled_from([*VARIABLES, *EMBEDDED]), st.binary(max_size=60)), st.text())
def test_whatever_an_environment_holds_is_read(raw: dict[str, bytes], text: str) -> None:
    environ = {name: os.fsdecode(value) for name, value in raw.items()}
    redact = Redactor(environ)
    for value in (text, *environ.values()):
        assert isinstance(redact(value), str)


@pytest.mark.parametrize(
    "proxy", ["http://user:hun ter%22@proxy:3128", "user:p@ss/word@proxy:3128", "http://tokenonly@proxy"]
)
def test_a_password_in_an_address_that_cannot_be_read_is_one_as_well(proxy: str) -> None:
    said = f'failed to set --http-proxy from "{proxy}": parse "{proxy}": net/url: invalid userinfo'
    clean = Redactor({"RCLONE_HTTP_PROXY": proxy})(said)
    for part in ("hun", "ter%22", "p@ss", "word", "tokenonly"):
        assert part not in clean
    assert "proxy" in clean


@pytest.mark.parametrize(
    "said",
    [
        "<Credentials><AccessKeyId>ASIAFRESH</AccessKeyId><SecretAccessKey>hand/ed+out</SecretAccessKey><SessionToken>FwoG+z</SessionToken>",
        '{"AccessKeyId":"ASIAFRESH","SecretAccessKey":"hand/ed+out","Token":"FwoG+z","Expiration":"2026"}',
        "Action=AssumeRoleWithWebIdentity&WebIdentityToken=hand/ed+out&RoleArn=r",
        "Authorization: Bearer hand/ed+out",
        "X-Aws-Ec2-Metadata-Token: hand/ed+out",
        "token is eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtb3ZlciJ9.hand_ed-out",
        "parse https://user:hand+ed+out@somewhere.example.com: no",
    ],
)
def test_what_is_handed_out_meanwhile_does_not_leave_either(said: str) -> None:
    clean = Redactor({})(said)
    for part in ("ASIAFRESH", "hand", "ed+out", "FwoG"):
        assert part not in clean
    assert REDACTED in clean


@pytest.mark.parametrize(
    "environ",
    [
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"},
        {"RCLONE_S3_ENV_AUTH": "true", "KEY_FLAG": "false"},
        {"HTTPS_PROXY": "http://proxy.example.com:3128", "NO_PROXY": "localhost,.svc"},
        {"BUCKET_HOST": "minio.example.com", "BUCKET_NAME": "backups", "MAIL": "somebody@example.com"},
    ],
)
def test_what_only_says_where_a_secret_is_stays_readable(environ: dict[str, str]) -> None:
    assert find_secrets(environ) == set()
    text = " ".join(environ.values())
    assert Redactor(environ)(text) == text
