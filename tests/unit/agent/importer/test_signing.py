from datetime import UTC, datetime

from datamover.agent.importer import signing


def test_a_request_says_who_signed_what_and_when() -> None:
    found = signing.sign(
        "GET",
        authority="bucket.s3.us-east-1.amazonaws.com",
        target="/folder/a%20b.img?versionId=3",
        key="AKIDEXAMPLE",
        secret="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        region="us-east-1",
        moment=datetime(2026, 11, 30, 1, 2, 3, tzinfo=UTC),
    )
    assert found["x-amz-date"] == "20261130T010203Z"
    assert found["Authorization"].startswith(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261130/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature="
    )
    assert len(found["Authorization"].rpartition("=")[2]) == 64


def test_what_is_signed_is_what_is_sent() -> None:
    assert signing.canonical("/a%2Bb(1)~ä/c+d?b=2&a=x%20y") == "/a%2Bb%281%29~%C3%A4/c%2Bd?a=x%20y&b=2"
