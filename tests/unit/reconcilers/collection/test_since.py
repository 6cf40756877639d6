"""Since when a lifetime is set: written down once, and begun anew only when that was switched off."""

from datetime import UTC, datetime, timedelta

import pytest

from datamover.reconcilers.collection.since import CLUSTER, DATA_KEY, find_since, read_record, renew, write_record
from kubekit.words.timestamps import seconds

NOW = datetime(2026, 11, 30, 10, 0, tzinfo=UTC)
BEFORE = "2026-11-29T10:00:00Z"


def test_a_moment_that_is_recorded_stays_and_one_that_was_off_begins_anew() -> None:
    first = renew({}, {CLUSTER: True}, now=NOW, latest={})
    assert first == {CLUSTER: seconds(NOW)}
    later = NOW + timedelta(hours=1)
    assert renew(first, {CLUSTER: True}, now=later, latest={}) == first
    off = renew(first, {CLUSTER: False}, now=later, latest={})
    assert off == {CLUSTER: None}
    assert renew(off, {CLUSTER: True}, now=later, latest={}) == {CLUSTER: seconds(later)}


def test_what_is_there_already_is_older_also_by_a_clock_that_is_ahead() -> None:
    ahead = NOW + timedelta(seconds=30)
    found = renew({}, {CLUSTER: True, "vms": True, "db": True}, now=NOW, latest={"vms": ahead})
    after = seconds(ahead + timedelta(seconds=1))
    assert found == {CLUSTER: after, "vms": after, "db": seconds(NOW)}


def test_g4_a_namespace_that_said_never_begins_anew_when_it_says_so_no_longer() -> None:
    record = renew({CLUSTER: BEFORE}, {CLUSTER: True, "vms": False}, now=NOW, latest={})
    assert find_since(record, "vms", labelled=True) is None
    assert find_since(record, "vms", labelled=False) is None, "until that is recorded"
    record = renew(record, {CLUSTER: True}, now=NOW, latest={})
    assert find_since(record, "vms", labelled=False) == NOW
    assert find_since(record, "db", labelled=False) == NOW - timedelta(days=1)


def test_a_label_of_its_own_has_a_moment_of_its_own() -> None:
    record = renew({CLUSTER: BEFORE}, {CLUSTER: True, "vms": True}, now=NOW, latest={})
    assert find_since(record, "vms", labelled=True) == NOW
    assert find_since({CLUSTER: BEFORE}, "vms", labelled=True) is None


def test_a_record_is_read_as_it_was_written() -> None:
    record = {CLUSTER: BEFORE, "vms": None}
    assert read_record(write_record(record)) == record


@pytest.mark.parametrize("said", ["", "no", "[]", '{"": 7}', '{"": "yesterday"}'])
def test_a_record_that_somebody_has_spoilt_stamps_nothing(said: str) -> None:
    assert find_since(read_record({DATA_KEY: said}), "vms", labelled=False) is None
    assert find_since(read_record(None), "vms", labelled=False) is None


@pytest.mark.parametrize("said", ['{"": "soon"}', '{"": 7}', "[" * 100_000, '{"": "9999-99-99T00:00:00Z"}'])
def test_what_is_no_moment_is_begun_anew(said: str) -> None:
    found = read_record({DATA_KEY: said})
    assert find_since(found, "vms", labelled=False) is None
    assert renew(found, {CLUSTER: True}, now=NOW, latest={}) == {CLUSTER: seconds(NOW)}
