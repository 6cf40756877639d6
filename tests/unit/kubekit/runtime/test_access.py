"""Who may read the metrics: what the API server is asked, what comes of its answers, and what is never kept or said."""

import asyncio
import json
import logging

import pytest

from kubekit.client.client import Client
from kubekit.client.errors import TransportError
from kubekit.runtime import access
from kubekit.runtime.access import Gatekeeper, Verdict, read_bearer
from support.clock import VirtualClock, settle
from support.scripted_transport import HANG, ScriptedTransport, answer, failure

TOKEN = "eyJ-canary-token"
BEARER = f"Bearer {TOKEN}"
USER = {"username": "system:serviceaccount:monitoring:prometheus", "uid": "u-1", "groups": ["system:authenticated"]}


def token_review(**status):
    return answer(201, {"kind": "TokenReview", "spec": {"token": TOKEN}, "status": status})


def access_review(allowed):
    return answer(201, {"kind": "SubjectAccessReview", "status": {"allowed": allowed}})


KNOWN = token_review(authenticated=True, user=USER)
UNKNOWN = token_review(error="invalid bearer token")


def gatekeeper(*script, clock=None):
    transport = ScriptedTransport(*script)
    clock = clock or VirtualClock()
    client = Client(transport, clock=NoSleep(), jitter=lambda: 0.0)
    return Gatekeeper(client, clock=clock), transport, clock


class NoSleep:
    async def sleep(self, seconds: float) -> None:
        del seconds


async def test_whoever_may_get_the_url_is_let_in():
    keeper, transport, _ = gatekeeper(KNOWN, access_review(True))
    assert await keeper.judge(BEARER) is Verdict.ALLOWED
    first, second = transport.requests
    assert (first.method, first.path) == ("POST", "/apis/authentication.k8s.io/v1/tokenreviews")
    assert json.loads(first.body)["spec"] == {"token": TOKEN}
    assert (second.method, second.path) == ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews")
    assert json.loads(second.body)["spec"] == {
        "user": USER["username"],
        "uid": "u-1",
        "groups": ["system:authenticated"],
        "extra": {},
        "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
    }
    assert TOKEN.encode() not in second.body


async def test_what_else_is_known_of_a_user_is_passed_on():
    extra = {"authentication.kubernetes.io/pod-name": ["prometheus-0"]}
    keeper, transport, _ = gatekeeper(
        token_review(authenticated=True, user={**USER, "extra": extra}), access_review(True)
    )
    await keeper.judge(BEARER)
    assert json.loads(transport.requests[1].body)["spec"]["extra"] == extra


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer a b", "Bearer a\x00", "Bearer ä"]
)
async def test_without_a_token_nobody_is_asked(header):
    keeper, transport, _ = gatekeeper()
    assert await keeper.judge(header) is Verdict.UNAUTHENTICATED
    assert transport.requests == []


def test_a_token_is_read_however_the_scheme_is_spelt():
    assert read_bearer("bearer x") == read_bearer("BEARER  x ") == "x"
    assert read_bearer("Bearer " + "x" * (access.MAX_TOKEN + 1)) is None


@pytest.mark.parametrize(
    "review",
    [
        UNKNOWN,
        token_review(authenticated=False, user=USER),
        token_review(authenticated=True),
        answer(201, {"kind": "TokenReview"}),
    ],
)
async def test_a_token_that_the_server_does_not_know_is_refused_without_a_second_question(review):
    keeper, transport, _ = gatekeeper(review)
    assert await keeper.judge(BEARER) is Verdict.UNAUTHENTICATED
    assert len(transport.requests) == 1


@pytest.mark.parametrize("review", [access_review(False), answer(201, {"kind": "SubjectAccessReview"})])
async def test_a_user_without_the_right_is_forbidden(review):
    keeper, _, _ = gatekeeper(KNOWN, review)
    assert await keeper.judge(BEARER) is Verdict.FORBIDDEN


async def test_a_right_is_kept_for_a_minute_and_then_asked_for_again():
    keeper, transport, clock = gatekeeper(KNOWN, access_review(True), KNOWN, access_review(False))
    await keeper.judge(BEARER)
    await clock.advance(access.ALLOWED_SECONDS - 1)
    assert await keeper.judge(BEARER) is Verdict.ALLOWED
    assert len(transport.requests) == 2
    await clock.advance(2)
    assert await keeper.judge(BEARER) is Verdict.FORBIDDEN


async def test_a_refusal_is_kept_for_a_shorter_time():
    keeper, transport, clock = gatekeeper(UNKNOWN, KNOWN, access_review(True))
    assert await keeper.judge(BEARER) is await keeper.judge(BEARER) is Verdict.UNAUTHENTICATED
    assert len(transport.requests) == 1
    await clock.advance(access.REFUSED_SECONDS + 1)
    assert await keeper.judge(BEARER) is Verdict.ALLOWED


async def test_one_token_says_nothing_of_another():
    keeper, _, _ = gatekeeper(KNOWN, access_review(True), UNKNOWN)
    assert await keeper.judge(BEARER) is Verdict.ALLOWED
    assert await keeper.judge(BEARER + "x") is Verdict.UNAUTHENTICATED


async def test_the_number_of_kept_decisions_is_bounded_and_no_token_is_among_them():
    keeper, _, _ = gatekeeper(*[UNKNOWN] * (access.MAX_DECISIONS + 50))
    for number in range(access.MAX_DECISIONS + 50):
        await keeper.judge(f"{BEARER}{number}")
    assert len(keeper._decisions) == access.MAX_DECISIONS
    assert TOKEN not in repr(vars(keeper))


@pytest.mark.parametrize(
    "trouble", [failure(403, "Forbidden", "no"), failure(500, "", TOKEN), TransportError("refused")]
)
async def test_when_the_server_cannot_be_asked_nobody_is_let_in_and_the_next_request_asks_again(trouble):
    keeper, _, _ = gatekeeper(trouble, KNOWN, access_review(True))
    assert await keeper.judge(BEARER) is Verdict.UNKNOWN
    assert await keeper.judge(BEARER) is Verdict.ALLOWED


async def test_trouble_is_logged_once_a_minute_and_never_in_words_that_may_quote_the_token(caplog):
    keeper, _, clock = gatekeeper(*[failure(403, "Forbidden", f"cannot create {TOKEN}")] * 3)
    with caplog.at_level(logging.DEBUG):
        await keeper.judge(BEARER)
        await keeper.judge(BEARER)
        assert len(caplog.records) == 1
        await clock.advance(61)
        await keeper.judge(BEARER)
    assert len(caplog.records) == 2
    assert "allow the operator to create tokenreviews" in caplog.text
    assert TOKEN not in caplog.text


async def test_no_more_than_a_few_tokens_are_asked_about_at_a_time():
    keeper, transport, _ = gatekeeper(*[HANG] * access.MAX_REVIEWS)
    waiting = [asyncio.create_task(keeper.judge(f"{BEARER}{number}")) for number in range(access.MAX_REVIEWS)]
    await settle()
    assert await keeper.judge("Bearer other") is Verdict.UNKNOWN
    assert len(transport.requests) == access.MAX_REVIEWS
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    transport.script += [KNOWN, access_review(True)]
    assert await keeper.judge("Bearer other") is Verdict.ALLOWED
