"""Names of what a run creates."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from datamover.volumes.naming import clone_name, job_name, shorten

CREATED = datetime(2024, 8, 6, 14, 30, 52, tzinfo=UTC)
UID = "5f0c1b7e-2a4d-4c39-9d55-0a1b2c3d4e5f"
DNS = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
NAMES = st.from_regex(re.compile(DNS.pattern), fullmatch=True).filter(lambda name: len(name) <= 253)
LONG = st.integers(1, 253).flatmap(
    lambda size: st.text(alphabet="abz09-.", min_size=size, max_size=size).filter(lambda name: DNS.fullmatch(name))
)


def test_the_documented_names() -> None:
    clone = clone_name("app-data", created=CREATED)
    assert clone == "restored-app-data-20240806143052"
    assert job_name(clone) == "verify-restored-app-data-20240806143052"


def test_the_time_is_in_utc() -> None:
    from datetime import timezone

    elsewhere = CREATED.astimezone(timezone(timedelta(hours=9)))
    assert clone_name("app-data", created=elsewhere) == "restored-app-data-20240806143052"


@pytest.mark.parametrize(("length", "shortened"), [(32, False), (33, True)])
def test_a_source_name_of_32_letters_needs_no_shortening(length: int, shortened: bool) -> None:
    clone = clone_name("a" * length, created=CREATED)
    job = job_name(clone)
    assert len(job) <= 63
    assert (job == f"verify-{clone}") is not shortened


def test_a_shortened_name_keeps_its_beginning_and_ends_with_a_hash() -> None:
    job = job_name(clone_name("a" * 60, created=CREATED))
    assert len(job) == 63
    assert re.fullmatch(r"verify-restored-a+-[0-9a-f]{8}", job)


@pytest.mark.parametrize("length", [228, 229, 230, 253])
def test_the_longest_source_has_a_clone(length: int) -> None:
    name = clone_name("a" * length, created=CREATED)
    assert len(name) <= 253
    assert (name == f"restored-{'a' * length}-20240806143052") is (length <= 229)


def test_a_name_that_is_taken_gets_five_digits_of_the_uid() -> None:
    assert clone_name("app-data", created=CREATED, taken_for=UID) == "restored-app-data-20240806143052-5f0c1"
    assert len(clone_name("a" * 253, created=CREATED, taken_for=UID)) <= 253
    assert clone_name("a" * 253, created=CREATED, taken_for=UID).endswith("-5f0c1")


@given(NAMES | LONG)
def test_every_name_is_one_that_the_api_server_takes(source: str) -> None:
    for clone in (clone_name(source, created=CREATED), clone_name(source, created=CREATED, taken_for=UID)):
        assert DNS.fullmatch(clone)
        assert len(clone) <= 253
        job = job_name(clone)
        assert DNS.fullmatch(job)
        assert len(job) <= 63, "it becomes a label value and a host name"


@given(NAMES, NAMES)
def test_two_sources_never_share_a_name(first: str, second: str) -> None:
    assume(first != second)
    clones = [clone_name(name, created=CREATED) for name in (first, second)]
    assert clones[0] != clones[1]
    assert job_name(clones[0]) != job_name(clones[1])


@given(st.text(alphabet="abc", min_size=80, max_size=90), st.integers(1, 10**6))
def test_two_moments_never_share_a_name_even_when_it_is_shortened(source: str, seconds: int) -> None:
    moments = (CREATED, CREATED + timedelta(seconds=seconds))
    jobs = {job_name(clone_name(source, created=moment)) for moment in moments}
    assert len(jobs) == 2


@pytest.mark.parametrize("cut", ["aaaa.-.-", "aaaa----", "aaaa...."])
def test_what_is_cut_never_ends_in_a_dash_or_dot_before_the_hash(cut: str) -> None:
    name = shorten(cut + "b" * 20, 17)
    assert re.fullmatch(r"a+-[0-9a-f]{8}", name)
