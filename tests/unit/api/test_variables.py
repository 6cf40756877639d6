"""Which variables give a secret away where they are written down as they stand (law L8)."""

import pytest

from datamover.api.variables import carries_secret

SECRET = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
    "RCLONE_CONFIG_PASS": "half-$(REST)",
    "RCLONE_S3_SSE_CUSTOMER_KEY": "$$(NOT_A_REFERENCE)",
    "HTTPS_PROXY": "http://somebody:hunter22@proxy.example.com:3128",
    "RCLONE_HEADER_UPLOAD": "X-Whatever: 0123456789",
    "RCLONE_COPY_DEST": ':s3,secret_access_key="wJalr":bucket',
    "NOTE": "https://only-a-token@example.com/",
    "COMMENT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
}
PLAIN = {
    "CUSTOM_PATH_PREFIX": "shop",
    "RCLONE_S3_ENV_AUTH": "true",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
    "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/backup",
    "RCLONE_TRANSFERS": "8",
    "DB_PASSWORD": "$(OTHER)",
    "https_proxy": "http://$(WHO):$(WORD)@proxy.example.com:3128",
    "AWS_SESSION_TOKEN": "",
}


@pytest.mark.parametrize("name", SECRET)
def test_a_literal_credential_is_one(name: str) -> None:
    assert carries_secret(name, SECRET[name])


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_no_credential_may_be_written_down(name: str) -> None:
    assert not carries_secret(name, PLAIN[name])
