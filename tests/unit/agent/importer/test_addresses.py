import pytest

from datamover.agent.importer import addresses
from datamover.agent.importer.addresses import AddressError

GOOD = {
    "http://a.example": ("http", "a.example", 80, "/", "http://a.example/"),
    "HTTPS://A.example:8443/x/y.img?token=t": ("https", "a.example", 8443, "/x/y.img?token=t", "https://a.example:8443/x/y.img?…"),
    "https://[::1]/x": ("https", "::1", 443, "/x", "https://[::1]/x"),
    "http://a.example/ä%20b": ("http", "a.example", 80, "/%C3%A4%20b", "http://a.example/%C3%A4%20b"),
    "http://user:p%40ss@a.example/x": ("http", "a.example", 80, "/x", "http://a.example/x"),
}  # fmt: skip


@pytest.mark.parametrize("url", GOOD)
def test_an_address_has_its_parts_and_tells_people_no_secret(url: str) -> None:
    found = addresses.parse(url)
    assert (found.scheme, found.host, found.port, found.target, str(found)) == GOOD[url]


def test_user_and_password_of_an_address_are_decoded() -> None:
    found = addresses.parse("http://us%65r:p%40ss@a.example/x")
    assert (found.user, found.password) == ("user", "p@ss")


@pytest.mark.parametrize(
    "url",
    [
        "", "a.example/x", "ftp://a.example/x", "file:///etc/passwd", "http://", "http:///x", "http://a b/x", "http://a.example/a b",
        "http://a.example:99999/", "http://a.example:x/", "http://a.example/\nHost: b", "http://[::1/x", "http://ä.example/", "http://a.example/" + "x" * 9000,
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_web_server_is_refused(url: str) -> None:
    with pytest.raises(AddressError):
        addresses.parse(url)


HERE = "https://a.example/folder/image?x=1"
REDIRECTS = {
    "/other": "https://a.example/other",
    "other": "https://a.example/folder/other",
    "//b.example/x": "https://b.example/x",
    "https://b.example/y": "https://b.example/y",
    "?y=2": "https://a.example/folder/image?…",
}


@pytest.mark.parametrize("location", REDIRECTS)
def test_a_redirection_is_resolved(location: str) -> None:
    assert str(addresses.follow(addresses.parse(HERE), location, secret=True, proved=False)) == REDIRECTS[location]


@pytest.mark.parametrize(
    ("secret", "proved", "allowed"), [(True, True, False), (False, False, False), (False, True, True)]
)
def test_from_https_to_http_it_goes_only_with_proof_and_without_a_secret(
    secret: bool, proved: bool, allowed: bool
) -> None:
    here = addresses.parse(HERE)
    if allowed:
        assert addresses.follow(here, "http://b.example/", secret=secret, proved=proved).scheme == "http"
    else:
        with pytest.raises(AddressError):
            addresses.follow(here, "http://b.example/", secret=secret, proved=proved)


OBJECTS = {
    ("s3://bucket/a/b.img", ""): ("https://bucket.s3.us-east-1.amazonaws.com/a/b.img", "us-east-1"),
    ("s3://bucket/a", "eu-west-1"): ("https://bucket.s3.eu-west-1.amazonaws.com/a", "eu-west-1"),
    ("s3://my.bucket/a", ""): ("https://s3.us-east-1.amazonaws.com/my.bucket/a", "us-east-1"),
    ("https://bucket.s3.eu-central-1.amazonaws.com/a", ""): ("https://bucket.s3.eu-central-1.amazonaws.com/a", "eu-central-1"),
    ("https://s3-eu-west-2.amazonaws.com/bucket/a", ""): ("https://s3-eu-west-2.amazonaws.com/bucket/a", "eu-west-2"),
    ("https://bucket.s3.amazonaws.com/a", ""): ("https://bucket.s3.amazonaws.com/a", "us-east-1"),
    ("http://minio.example:9000/bucket/a", ""): ("http://minio.example:9000/bucket/a", "us-east-1"),
}  # fmt: skip


@pytest.mark.parametrize("asked", OBJECTS)
def test_an_object_has_an_address_and_a_region(asked: tuple[str, str]) -> None:
    url, region = asked
    address, found = addresses.parse_object(url, region=region)
    assert (str(address), found) == OBJECTS[asked]


@pytest.mark.parametrize(("url", "region"), [("s3://bucket", ""), ("s3://B_/x", ""), ("s3://bucket/x", "a/b")])
def test_what_is_no_object_is_refused(url: str, region: str) -> None:
    with pytest.raises(AddressError):
        addresses.parse_object(url, region=region)


def test_another_region_is_another_host_at_aws_only() -> None:
    address, _ = addresses.parse_object("s3://bucket/a", region="")
    assert addresses.in_region(address, "eu-west-3").host == "bucket.s3.eu-west-3.amazonaws.com"
    other = addresses.parse("http://minio.example/bucket/a")
    assert addresses.in_region(other, "eu-west-3") == other
    assert addresses.in_region(address, "x.evil.example") == address
