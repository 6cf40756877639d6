"""Tokens of an upload: they open one receiver, for some minutes, and say nothing else."""

import base64
import hashlib
import hmac

import pytest

from datamover.api import upload

KEY = b"k" * upload.KEY_BYTES
UID = "6f1a3c52-0000-4000-8000-000000000001"
NOW = 1_800_000_000.0


def part(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def forge(claims: str, *, header: str = '{"alg":"HS256","typ":"JWT"}', key: bytes = KEY) -> str:
    """Sign any words, as somebody can who has the key."""
    signed = f"{part(header)}.{part(claims)}"
    seal = base64.urlsafe_b64encode(hmac.digest(key, signed.encode(), hashlib.sha256)).rstrip(b"=").decode()
    return f"{signed}.{seal}"


def test_a_token_opens_the_receiver_that_it_was_made_for() -> None:
    upload.check(upload.sign(KEY, uid=UID, now=NOW), key=KEY, uid=UID, now=NOW + 10)


@pytest.mark.parametrize("late", [-upload.SKEW, 0, upload.SECONDS, upload.SECONDS + upload.SKEW - 1])
def test_clocks_that_differ_a_little_lock_nobody_out(late: float) -> None:
    upload.check(upload.sign(KEY, uid=UID, now=NOW), key=KEY, uid=UID, now=NOW + late)


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("", "not one of this receiver"),
        ("a.b", "not one of this receiver"),
        ("a.b.c", "not one of this receiver"),
        ("ä.b.c", "not one of this receiver"),
        ("x" * 5000, "not one of this receiver"),
        (upload.sign(b"o" * upload.KEY_BYTES, uid=UID, now=NOW), "not one of this receiver"),
        (upload.sign(KEY, uid=UID, now=NOW)[:-1], "not one of this receiver"),
        (upload.sign(KEY, uid="another", now=NOW), "for another DataVolume"),
        (upload.sign(KEY, uid=UID, now=NOW - 2 * upload.SECONDS), "has expired"),
        (upload.sign(KEY, uid=UID, now=NOW + 2 * upload.SKEW), "of the future"),
        (upload.sign(KEY, uid=UID, now=NOW, seconds=upload.MOST_SECONDS + 1), "short-lived"),
        (forge(f'{{"aud":"somebody","sub":"{UID}","iat":1800000000,"exp":1800000300}}'), "for another DataVolume"),
        (forge("[]"), "not one of this receiver"),
        (forge('{"aud":"datamover-upload"}'), "not one of this receiver"),
        (forge("[" * 900), "not one of this receiver"),
    ],
    ids=lambda each: each[:24],
)
def test_any_other_token_is_refused_with_a_reason(token: str, why: str) -> None:
    with pytest.raises(upload.TokenRefused, match=why) as refused:
        upload.check(token, key=KEY, uid=UID, now=NOW)
    assert not token or len(token) < 9 or token not in str(refused.value)


def test_a_token_does_not_choose_how_it_is_proved() -> None:
    claims = f'{{"aud":"datamover-upload","sub":"{UID}","iat":1800000000,"exp":1800000300}}'
    upload.check(forge(claims), key=KEY, uid=UID, now=NOW)
    none = '{"alg":"none"}'
    for token in (f"{part(none)}.{part(claims)}.", forge(claims, header=none)):
        with pytest.raises(upload.TokenRefused):
            upload.check(token, key=KEY, uid=UID, now=NOW)


def test_a_short_key_signs_nothing_and_opens_nothing() -> None:
    with pytest.raises(ValueError, match="at least"):
        upload.sign(b"short", uid=UID, now=NOW)
    with pytest.raises(upload.TokenRefused):
        upload.check(upload.sign(KEY, uid=UID, now=NOW), key=b"", uid=UID, now=NOW)


def test_the_name_is_a_host_name_whatever_the_uid() -> None:
    assert upload.name_of(UID) == f"upload-{UID}"
    assert len(upload.name_of(UID)) <= 63


@pytest.mark.parametrize("raw", [b"", b"<html>busy</html>", b'{"bytes":-1}', b"[" * 200])
def test_an_answer_of_somebody_else_is_none_of_a_receiver(raw: bytes) -> None:
    assert upload.read_received(raw) is None


def test_words_of_an_answer_are_clean() -> None:
    found = upload.read_received(b'{"message":"a\\u001b[2Jb","reason":"x","checksum":"sha256:00","bytes":3}')
    assert found is not None
    assert (found.message, found.bytes) == ("a\\x1b[2Jb", 3)
