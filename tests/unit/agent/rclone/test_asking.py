"""Which objects the engine asks for one by one."""

import pytest

from datamover.agent.rclone import asking

REQUEST = "HEAD {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: rclone\r\n\r\n"


@pytest.mark.parametrize(
    ("path", "host", "key"),
    [
        ("/backups/pre/a", "127.0.0.1:9000", b"a"),
        ("/backups/pre/d%20%C3%A9/big%20%2B%25", "127.0.0.1:9000", "d é/big +%".encode()),
        ("/backups/pre/a?versionId=1", "s3", b"a"),
        ("/pre/a", "backups.s3.example.com", b"a"),
        ("/pre/a%0Ab", "BACKUPS.s3.example.com", "a␊b".encode()),
        ("/backups/pre", "s3", None),
        ("/backups/pre/", "s3", None),
        ("/backups/other/a", "s3", None),
    ],
)
def test_a_request_for_an_object_names_its_key(path: str, host: str, key: bytes | None) -> None:
    assert asking.key_of(REQUEST.format(path=path, host=host), target="s3generic:backups/pre/") == key


def test_a_request_at_the_top_of_a_bucket_names_its_key_too() -> None:
    request = REQUEST.format(path="/backups/sub/a", host="s3")
    assert asking.key_of(request, target="s3generic:backups/") == b"sub/a"


def test_only_a_request_for_an_object_is_one() -> None:
    assert asking.is_asking(REQUEST.format(path="/backups/a", host="s3"))
    assert not asking.is_asking(REQUEST.format(path="/backups/a", host="s3").replace("HEAD", "PUT"))
