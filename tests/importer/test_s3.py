"""An image from a real S3 server, whose signatures that server proves; and what AWS answers, played."""

import pytest

from support.image_server import ImageServer, Plain, Request, Says
from support.importing import MIB, Volume, noise, refused, succeeded
from support.s3 import BUCKET, S3Server

IMAGE = noise(2 * MIB + 99)


def keys(server: S3Server) -> dict[str, str]:
    return {"SOURCE": "s3", "ACCESS_KEY_ID": server.access_key, "SECRET_KEY": server.secret_key}


def url(server: S3Server, key: str) -> str:
    return f"http://127.0.0.1:{server.port}/{BUCKET}/{key}"


@pytest.mark.parametrize(
    ("key", "asked"),
    [
        ("disk.img", "disk.img"),
        ("folder/ä b+c~(1).img", "folder/%C3%A4%20b+c~(1).img"),
        ("folder/ä b+c~(1).img", "folder/ä%20b%2Bc~%281%29.img"),
    ],
)
def test_an_object_is_read_with_a_signature_that_the_server_accepts(
    volume: Volume, any_s3: S3Server, key: str, asked: str
) -> None:
    any_s3.put({key: IMAGE})
    outcome = succeeded(volume.run(URL=url(any_s3, asked), **keys(any_s3)))
    assert volume.disk.read_bytes().startswith(IMAGE)
    assert outcome.transferred_bytes == len(IMAGE)


def test_wrong_keys_a_missing_object_and_a_missing_bucket_are_told_apart(volume: Volume, s3: S3Server) -> None:
    s3.put({"disk.img": IMAGE})
    wrong = keys(s3) | {"SECRET_KEY": "not-the-right-one"}
    refused(volume.run(URL=url(s3, "disk.img"), **wrong), "WrongCredentials")
    refused(volume.run(URL=url(s3, "other.img"), **keys(s3)), "SourceNotFound")
    there = f"http://127.0.0.1:{s3.port}/nobodys-bucket/x"
    assert volume.run(URL=there, **keys(s3)).outcome.reason in {"BucketNotFound", "SourceNotFound"}
    assert volume.left() == []


def test_without_keys_nothing_is_signed(volume: Volume, server: ImageServer) -> None:
    server.objects["/bucket/disk.img"] = Plain(IMAGE)
    succeeded(volume.run(SOURCE="s3", URL=server.url("/bucket/disk.img")))
    assert "authorization" not in server.requests[0].headers


def test_the_rest_after_a_cut_is_signed_anew_and_another_region_is_learned_once(
    volume: Volume, server: ImageServer
) -> None:
    def answer(request: Request, send) -> None:
        if "/eu-central-1/s3/" not in request.headers["authorization"]:
            Says(400, {"x-amz-bucket-region": "eu-central-1"}, b"<Code>AuthorizationHeaderMalformed</Code>").answer(
                request, send
            )
        else:
            image.answer(request, send)

    image = Plain(IMAGE, cut_after=700_000)
    server.objects["/bucket/disk.img"] = answer
    given = {"SOURCE": "s3", "ACCESS_KEY_ID": "key", "SECRET_KEY": "secret-of-it"}
    succeeded(volume.run(URL=server.url("/bucket/disk.img"), **given))
    assert volume.disk.read_bytes().startswith(IMAGE)
    assert [request.first for request in server.requests] == [0, 0, 700_000]
    server.objects["/bucket/disk.img"] = Says(400, {"x-amz-bucket-region": "us-west-2"})
    refused(volume.run(URL=server.url("/bucket/disk.img"), **given), "ServerError")


def test_an_error_of_the_server_is_named_by_its_code(volume: Volume, server: ImageServer) -> None:
    for code, reason in {"NoSuchBucket": "BucketNotFound", "NoSuchKey": "SourceNotFound"}.items():
        server.objects["/bucket/x"] = Says(404, body=f"<Error><Code>{code}</Code></Error>".encode())
        assert code in refused(volume.run(SOURCE="s3", URL=server.url("/bucket/x")), reason).message
