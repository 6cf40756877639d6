import json

import pytest

from kubekit.client import errors
from kubekit.client.errors import ApiError, KubeError, api_error


def status(**fields):
    return json.dumps({"kind": "Status", **fields}).encode()


@pytest.mark.parametrize(
    ("code", "reason", "name"),
    [
        (400, "BadRequest", "BadRequest"),
        (401, "Unauthorized", "Unauthorized"),
        (403, "Forbidden", "Forbidden"),
        (404, "NotFound", "NotFound"),
        (409, "AlreadyExists", "AlreadyExists"),
        (409, "Conflict", "Conflict"),
        (409, "", "Conflict"),
        (410, "Expired", "Gone"),
        (410, "Gone", "Gone"),
        (415, "UnsupportedMediaType", "ApiError"),
        (422, "Invalid", "Invalid"),
        (429, "TooManyRequests", "TooManyRequests"),
        (500, "InternalError", "ServerError"),
        (504, "Timeout", "ServerError"),
        (302, "", "ApiError"),
    ],
)
def test_each_status_has_its_error(code, reason, name):
    error = api_error(code, status(reason=reason, message="why", details={"name": "x"}), {})
    assert type(error).__name__ == name
    assert (str(error), error.status, error.reason, error.details) == ("why", code, reason, {"name": "x"})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "HTTP 502"),
        (b"<html>bad gateway</html>", "<html>bad gateway</html>"),
        (b"x" * 5000, "x" * 200),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"[1]", "[1]"),
        (b"null", "null"),
        (status(message=None), "HTTP 502"),
    ],
)
def test_a_body_that_is_no_status_is_quoted_and_cut(body, message):
    assert str(api_error(502, body, {})) == message


@pytest.mark.parametrize(
    ("headers", "details", "seconds"),
    [
        ({"retry-after": "3"}, None, 3.0),
        ({"retry-after": "3"}, {"retryAfterSeconds": 9}, 3.0),
        ({}, {"retryAfterSeconds": 9}, 9.0),
        ({"retry-after": "-1"}, None, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None, None),
        ({}, {"retryAfterSeconds": []}, None),
        ({}, None, None),
    ],
)
def test_how_long_to_wait_is_read_from_either_place(headers, details, seconds):
    assert api_error(429, status(details=details), headers).retry_after == seconds


def test_the_tree_in_the_docstring_is_the_tree():
    drawn = [line.lstrip("│├└─ ").split()[0] for line in (errors.__doc__ or "").splitlines() if "─" in line]
    real = [
        name
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, KubeError) and thing is not KubeError
    ]
    assert sorted(drawn) == sorted(real)
    assert issubclass(ApiError, KubeError)


@pytest.mark.parametrize(
    "body",
    [
        b'{"message":"\xff"}',
        b'{"x":' + b"[" * 100_000,
        b'{"code":' + b"9" * 5_000 + b"}",
        b'{"message":"\\ud800"}',
        b"<html>Bad gateway</html>",
    ],
)
def test_whatever_a_proxy_answers_becomes_the_error_of_its_status(body: bytes) -> None:
    error = api_error(502, body, {})
    assert isinstance(error, errors.ServerError)
    assert len(str(error)) <= 200


@pytest.mark.parametrize(
    ("given", "seconds"), [("5", 5.0), ("inf", 600.0), ("1e300", 600.0), ("-1", 0.0), ("nan", 0.0), ("tomorrow", None)]
)
def test_no_server_makes_us_wait_for_ever(given: str, seconds: float | None) -> None:
    assert api_error(429, b"", {"retry-after": given}).retry_after == seconds


@pytest.mark.parametrize("long", [False, True])
def test_what_a_server_says_moves_no_cursor_writes_no_second_line_and_has_an_end(long: bool) -> None:
    said = "denied\x1b[2J\n2026-01-01 ERROR forged \u202e" + ("x" * 1_000_000 if long else "")
    for body in (status(reason="Forbidden", message=said), said.encode()):
        told = str(api_error(403, body, {}))
        assert told.startswith("denied\\x1b[2J 2026-01-01 ERROR forged \\u202e")
        assert told.isprintable()
        assert len(told) <= 4200
