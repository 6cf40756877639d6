"""The table of answers: each row can be met, and each way out works."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.agent.rclone import answers, engine_options
from datamover.agent.rclone.causes import CAUSES, UNKNOWN, Cause
from datamover.api import transfer

CODES = [(code, cause) for cause in CAUSES if not cause.narrowed for code in cause.codes]
SAID = "Failed to copy: operation error S3: PutObject, https response error StatusCode: {}, RequestID: 7F2A, HostID: abc=, {}"


@pytest.mark.parametrize(("code", "cause"), CODES, ids=[code for code, _ in CODES])
def test_each_code_leads_to_its_row_whatever_the_status_and_however_the_vendor_spells_it(
    code: str, cause: Cause
) -> None:
    plain = code.removesuffix("*")
    for status in (400, 403, 404, 409, 500, 503):
        for spelling in (
            plain,
            f"XMinio{plain}" if plain[0].isupper() else plain,
            plain if plain.endswith((".", "Error")) else f"{plain}Error",
        ):
            assert answers.find(SAID.format(status, f"api error {spelling}: Whatever.")) is cause, spelling


def test_no_code_is_in_two_rows() -> None:
    codes = [code for code, _ in CODES]
    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize(
    "cause", [cause for cause in CAUSES if cause.statuses], ids=lambda cause: str(cause.statuses[0])
)
def test_each_status_leads_to_the_first_row_that_has_it(cause: Cause) -> None:
    for status in cause.statuses:
        first = next(other for other in CAUSES if status in other.statuses)
        page = SAID.format(
            status, "error while deserializing xml error response : XML syntax error on line 3: unexpected EOF"
        )
        assert answers.find(page) is first
        assert answers.find(SAID.format(status, "api error UnknownError: UnknownError")) is first


@pytest.mark.parametrize("cause", [*CAUSES, UNKNOWN], ids=lambda cause: cause.sentence[:40])
def test_each_sentence_can_be_told_and_names_only_settings_that_reach_the_engine(cause: Cause) -> None:
    told = cause.sentence.format(place="s3generic:b/", bucket="b", endpoint="http://s3")
    assert told[-1] in ".)?"
    assert cause.failure_class in transfer.FAILURE_CLASSES
    for variable in re.findall(r"RCLONE_[A-Z0-9_]*[A-Z0-9]\b(?!_)", told):
        rule = engine_options.find_rule(engine_options.option_of(variable) or "")
        assert rule is not None, f"{variable} is unknown to the engine"
        assert rule.treatment in {engine_options.ALLOWED, engine_options.COUNTED}, (
            f"{variable} does not reach the engine"
        )


@given(st.text(), st.integers(100, 999))
def test_whatever_is_said_is_read(text: str, status: int) -> None:
    for said in (
        text,
        SAID.format(status, text),
        SAID.format(status, f"api error {text}"),
        f"the server answers {text}",
    ):
        cause = answers.find(said)
        assert cause is None or cause is UNKNOWN or cause in CAUSES


@given(
    st.sampled_from(["AccessDenied", "InvalidRequest", "NoSuchBucket", "SlowDown"]),
    st.text(st.characters(exclude_characters="'\"")),
)
def test_names_that_a_server_quotes_say_nothing(code: str, name: str) -> None:
    plain = answers.find(SAID.format(403, f"api error {code}: The object is refused."))
    for quoted in (f"'{name}'", f'"{name}"'):
        assert answers.find(SAID.format(403, f"api error {code}: The object {quoted} is refused.")) is plain


@pytest.mark.parametrize("words", ["WORM protected", "a retention policy", "kms:Decrypt", "quota exceeded"])
def test_words_count_beside_a_code_that_says_little_only(words: str) -> None:
    telling = answers.find(SAID.format(403, f"api error AccessDenied: {words}"))
    assert telling is not answers.find(SAID.format(403, "api error AccessDenied: Access Denied"))
    named = answers.find(SAID.format(404, "api error NoSuchBucket: No such bucket"))
    assert answers.find(SAID.format(404, f"api error NoSuchBucket: {words}")) is named
