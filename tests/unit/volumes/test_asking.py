"""Who asks for a collection, and who is stamped."""

from datetime import UTC, datetime
from typing import Any

import pytest

from datamover.api.cdi.names import DELETE_AFTER_COMPLETION as KEY
from datamover.api.cdi.names import DELETE_AFTER_COMPLETION_DESIGNED as DESIGNED
from datamover.api.cdi.names import STAMPED
from datamover.volumes.asking import Asked, find_manager, stamp_late, stamp_new, who_asks
from datamover.volumes.collection_time import Lifetime
from kubekit.words.meta import ObjectMeta

HOUR = Lifetime(3600, "somebody")
NEVER = Lifetime(None, "somebody")
SINCE = datetime(2026, 11, 30, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, Asked.NO),
        ({KEY: ""}, Asked.NO),
        ({KEY: "True"}, Asked.NO),
        ({KEY: "true"}, Asked.BY_USER),
        ({DESIGNED: "true"}, Asked.BY_USER),
        ({KEY: "true", STAMPED: "true"}, Asked.STAMPED),
        ({KEY: "true", DESIGNED: "false"}, Asked.REFUSED),
        ({KEY: "false", DESIGNED: "true"}, Asked.REFUSED),
        ({KEY: "", DESIGNED: "true"}, Asked.BY_USER),
    ],
    ids=str,
)
def test_n13_false_under_either_key_wins_and_nothing_but_true_asks(
    annotations: dict[str, str], expected: Asked
) -> None:
    assert who_asks(annotations) is expected


@pytest.mark.parametrize("annotations", [{}, {KEY: ""}, {KEY: "no"}], ids=str)
def test_g11_a_new_volume_is_stamped_where_a_lifetime_is_set_and_the_stamp_is_known_again(
    annotations: dict[str, str],
) -> None:
    stamp = stamp_new(annotations, HOUR)
    assert stamp[KEY] == "true"
    assert who_asks({**annotations, **stamp}) is Asked.STAMPED


@pytest.mark.parametrize("annotations", [{KEY: "false"}, {DESIGNED: "false"}, {KEY: "true"}], ids=str)
def test_g6_a_word_of_the_user_is_not_overwritten(annotations: dict[str, str]) -> None:
    assert stamp_new(annotations, HOUR) == {}


def test_g12_nothing_is_stamped_without_a_lifetime() -> None:
    assert stamp_new({}, NEVER) == {}
    assert stamp_late(made("2026-11-30T10:00:01Z"), NEVER, since=SINCE) == {}


def made(at: str | None, **more: Any) -> ObjectMeta:
    return ObjectMeta(name="disk", creation_timestamp=at, **more)


def test_what_was_created_since_then_is_stamped_late() -> None:
    assert stamp_late(made("2026-11-30T10:00:00Z"), HOUR, since=SINCE) == stamp_new({}, HOUR)


@pytest.mark.parametrize(
    ("meta", "since"),
    [
        (made("2026-11-30T09:59:59Z"), SINCE),
        (made("2026-11-30T10:00:01Z"), None),
        (made(None), SINCE),
        (made("yesterday"), SINCE),
        (made("2026-11-30T10:00:01Z", annotations={KEY: ""}), SINCE),
        (made("2026-11-30T10:00:01Z", annotations={STAMPED: "true"}), SINCE),
        (made("2026-11-30T10:00:01Z", deletion_timestamp="2026-11-30T10:00:02Z"), SINCE),
    ],
    ids=["older", "nobody knows since when", "no time", "no such time", "something is said", "taken away", "going"],
)
def test_g4_what_is_older_or_was_spoken_of_is_never_stamped_late(meta: ObjectMeta, since: datetime | None) -> None:
    assert stamp_late(meta, HOUR, since=since) == {}


@pytest.mark.parametrize(
    "meta",
    [
        ObjectMeta(annotations={"argocd.argoproj.io/tracking-id": "x"}),
        ObjectMeta(labels={"argocd.argoproj.io/instance": "x"}),
        ObjectMeta(labels={"kustomize.toolkit.fluxcd.io/name": "x"}),
        ObjectMeta(labels={"helm.toolkit.fluxcd.io/name": "x"}),
        ObjectMeta(annotations={"meta.helm.sh/release-name": "x"}),
        ObjectMeta(labels={"app.kubernetes.io/managed-by": "Helm"}),
    ],
    ids=str,
)
def test_n17_marks_of_programs_that_would_make_it_again_are_known(meta: ObjectMeta) -> None:
    assert find_manager(meta)
    assert not find_manager(ObjectMeta(labels={"app.kubernetes.io/managed-by": "me"}))
