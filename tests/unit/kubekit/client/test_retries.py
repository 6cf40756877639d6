import pytest

from kubekit.client.errors import (
    ApiError,
    BadRequest,
    ConfigError,
    Conflict,
    DecodeError,
    NotFound,
    ServerError,
    TooManyRequests,
    TransportError,
    TransportTimeout,
)
from kubekit.client.retries import pause, repeatable, too_large


@pytest.mark.parametrize(
    ("error", "idempotent", "other"),
    [
        (TooManyRequests("busy"), True, True),
        (ServerError("x", status=503, retry_after=1.0), True, True),
        (ServerError("x", status=503), True, False),
        (ServerError("x", status=500, retry_after=1.0), True, False),
        (ServerError("x", status=501), False, False),
        (ServerError("Too large resource version: 9, current: 5", status=504), False, False),
        (TransportError("reset"), True, False),
        (TransportTimeout("slow"), False, False),
        (NotFound("x"), False, False),
        (Conflict("x"), False, False),
        (DecodeError("x"), False, False),
        (ConfigError("x"), False, False),
    ],
    ids=str,
)
def test_what_may_be_sent_again(error, idempotent, other):
    assert repeatable(error, idempotent=True) is idempotent
    assert repeatable(error, idempotent=False) is other


@pytest.mark.parametrize(
    ("attempt", "error", "jitter", "seconds"),
    [
        (1, TransportError("x"), 0.0, 0.2),
        (3, TransportError("x"), 0.0, 0.8),
        (1, TransportError("x"), 1.0, 0.3),
        (3, TooManyRequests("x", retry_after=7.0), 0.0, 7.0),
        (1, TooManyRequests("x", retry_after=0.0), 0.0, 0.0),
        (1, TooManyRequests("x", retry_after=3600.0), 1.0, 45.0),
        (20, TransportError("x"), 0.0, 30.0),
    ],
)
def test_the_server_says_how_long_or_it_doubles(attempt, error, jitter, seconds):
    assert pause(attempt, error, jitter) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ServerError("x", status=504, details={"causes": [{"reason": "ResourceVersionTooLarge"}]}), True),
        (BadRequest("Too large resource version: 9, current: 5"), True),
        (ServerError("x", status=504, details={"causes": None}), False),
        (ServerError("x", status=504), False),
        (ApiError("Too large resource version"), False),
        (TransportError("Too large resource version"), False),
    ],
)
def test_a_version_that_the_server_has_not_reached_is_recognised(error, verdict):
    assert too_large(error) is verdict
