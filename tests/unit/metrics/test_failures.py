"""Failures that stand: named until they are dealt with, and never more than one series for an object."""

from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from prometheus_client import CollectorRegistry

from datamover.metrics.datamover import DataMoverMetrics
from datamover.metrics.exposition import expose, new_registry
from datamover.metrics.failures import Failures
from datamover.metrics.objects import ObjectName, SourceName

ONE, TWO = ObjectName("one", "shop"), ObjectName("two", "shop")
DATA = SourceName("shop", "app-data")


def standing(registry: CollectorRegistry) -> dict[str, tuple[str, float]]:
    """Return reason and moment of each failure that stands, by name; fails when an object has two."""
    samples = [s for family in registry.collect() for s in family.samples if "failed_timestamp" in s.name]
    names = [sample.labels["name"] for sample in samples]
    assert len(set(names)) == len(names)
    return {s.labels["name"]: (s.labels["reason"], s.value) for s in samples}


@pytest.fixture
def registry() -> CollectorRegistry:
    return new_registry(process=False)


def test_a_failure_stands_with_its_labels(registry: CollectorRegistry) -> None:
    Failures(registry).fail(ONE, DATA, reason="AccessDenied", at=20.0, began=10.0)
    line = (
        'datamover_failed_timestamp_seconds{name="one",namespace="shop",reason="AccessDenied",source="app-data"} 20.0'
    )
    assert line in expose(registry).decode().splitlines()


def test_a_later_run_that_completed_settles_it_whichever_is_seen_first(registry: CollectorRegistry) -> None:
    failures = Failures(registry)
    failures.fail(ONE, DATA, reason="A", at=20.0, began=10.0)
    failures.settle(TWO, DATA, began=11.0, exists=True)
    failures.fail(TWO, DATA, reason="A", at=20.0, began=10.0)
    assert standing(registry) == {}


def test_one_of_the_same_second_or_of_another_claim_settles_nothing(registry: CollectorRegistry) -> None:
    """Two backups of one claim to two places begin together: that one of them works does not mend the other."""
    failures = Failures(registry)
    failures.fail(ONE, DATA, reason="A", at=20.0, began=10.0)
    failures.settle(TWO, DATA, began=10.0, exists=True)
    failures.settle(TWO, DATA, began=5.0, exists=True)
    failures.settle(TWO, SourceName("shop", "other"), began=99.0, exists=True)
    failures.settle(TWO, SourceName("bank", "app-data"), began=99.0, exists=True)
    assert set(standing(registry)) == {"one"}


def test_a_retry_changes_nothing_until_it_has_an_end(registry: CollectorRegistry) -> None:
    failures = Failures(registry)
    failures.fail(ONE, DATA, reason="A", at=20.0, began=10.0)
    failures.retry(ONE, DATA, reason="Retrying", at=30.0, began=30.0)
    assert standing(registry) == {"one": ("A", 20.0)}
    failures.fail(ONE, DATA, reason="B", at=40.0, began=30.0)
    assert standing(registry) == {"one": ("B", 40.0)}


def test_a_retry_that_was_under_way_before_a_restart_stands_as_what_is_known_of_it(registry: CollectorRegistry) -> None:
    Failures(registry).retry(ONE, DATA, reason="Retrying", at=30.0, began=10.0)
    assert standing(registry) == {"one": ("Retrying", 30.0)}


def test_what_was_settled_stays_so_when_the_claim_goes(registry: CollectorRegistry) -> None:
    failures = Failures(registry)
    failures.fail(ONE, DATA, reason="A", at=20.0, began=10.0)
    failures.settle(TWO, DATA, began=30.0, exists=True)
    failures.forget_source(DATA)
    failures.fail(ONE, DATA, reason="A", at=20.0, began=10.0)
    assert standing(registry) == {}
    failures.fail(TWO, DATA, reason="A", at=50.0, began=40.0)
    assert set(standing(registry)) == {"two"}


def test_what_completed_of_a_claim_that_is_gone_is_known_as_long_as_the_one_that_did_it_is_there(
    registry: CollectorRegistry,
) -> None:
    """Nobody tells a second time that the claim goes: after a restart it was never there."""
    failures = Failures(registry)
    failures.settle(TWO, DATA, began=30.0, exists=False)
    failures.fail(ONE, DATA, reason="A", at=20.0, began=10.0)
    assert standing(registry) == {}
    failures.forget(TWO)
    assert standing(registry) == {}, "what is settled stays so"
    failures.forget(ONE)
    assert held(failures) == 0


def test_a_claim_that_is_gone_is_forgotten_although_there_was_another_one_of_its_name(
    registry: CollectorRegistry,
) -> None:
    failures = Failures(registry)
    failures.settle(TWO, DATA, began=1.0, exists=False)
    failures.settle(ONE, DATA, began=2.0, exists=True)
    failures.settle(TWO, DATA, began=1.0, exists=False)
    failures.forget(TWO)
    assert held(failures) == 0


def test_an_object_that_backs_up_another_claim_now_is_another_object(registry: CollectorRegistry) -> None:
    failures = Failures(registry)
    failures.fail(ONE, DATA, reason="A", at=20.0, began=10.0)
    failures.fail(ONE, SourceName("shop", "other"), reason="A", at=20.0, began=10.0)
    failures.settle(TWO, DATA, began=99.0, exists=True)
    assert set(standing(registry)) == {"one"}
    failures.forget(ONE)
    assert standing(registry) == {}


OWNERS = st.sampled_from([ONE, TWO, ObjectName("one", "bank")])
SOURCES = st.sampled_from([DATA, SourceName("shop", "other"), SourceName("bank", "app-data")])
MOMENTS = st.integers(0, 20).map(float)


class FailuresMachine(RuleBasedStateMachine):
    """Against a model that looks at everything each time: what stands is the same, and nothing is kept of what is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = CollectorRegistry()
        self.failures = Failures(self.registry)
        self.known: dict[ObjectName, tuple[SourceName, float, bool]] = {}
        self.completed: dict[SourceName, float] = {}
        self.witnesses: dict[ObjectName, SourceName] = {}
        self.gone: set[SourceName] = set()

    @rule(owner=OWNERS, source=SOURCES, began=MOMENTS)
    def fail(self, owner: ObjectName, source: SourceName, began: float) -> None:
        self.failures.fail(owner, source, reason="A", at=began, began=began)
        before = self.known.get(owner)
        if before is None or before[:2] != (source, began):
            self.witnesses.pop(owner, None)
            self.prune(spared=source if before is not None and before[0] == source else None)
        if before is not None and before[0] != source:
            del self.known[owner]
            self.prune()
        self.known[owner] = (source, began, began < self.completed.get(source, -1.0))

    @rule(owner=OWNERS, source=SOURCES, began=MOMENTS, exists=st.booleans())
    def settle(self, owner: ObjectName, source: SourceName, began: float, *, exists: bool) -> None:
        self.failures.recover(owner)  # it has completed
        self.known.pop(owner, None)
        self.prune()
        self.failures.settle(owner, source, began=began, exists=exists)
        self.gone.discard(source) if exists else self.gone.add(source)
        self.witnesses.pop(owner, None)
        self.prune(spared=source)
        if not exists:
            self.witnesses[owner] = source
        self.completed[source] = max(began, self.completed.get(source, began))
        for other, (of, at, settled) in self.known.items():
            self.known[other] = (of, at, settled or (of == source and at < self.completed[source]))

    @rule(owner=OWNERS)
    def forget(self, owner: ObjectName) -> None:
        self.failures.forget(owner)
        self.known.pop(owner, None)
        self.witnesses.pop(owner, None)
        self.prune()

    def prune(self, spared: SourceName | None = None) -> None:
        """Of a claim that is gone nothing is known any more without a DataMover that needs it."""
        needed = {source for source, _, _ in self.known.values()} | set(self.witnesses.values()) | {spared}
        for source in self.gone - needed:
            self.gone.discard(source)
            self.completed.pop(source, None)

    @invariant()
    def stands_what_is_not_settled(self) -> None:
        expected = {owner for owner, (_, _, settled) in self.known.items() if not settled}
        assert self.standing() == expected

    def standing(self) -> set[ObjectName]:
        samples = [sample for family in self.registry.collect() for sample in family.samples]
        found = [ObjectName(sample.labels["name"], sample.labels["namespace"]) for sample in samples]
        assert len(found) == len(set(found))
        return set(found)

    def teardown(self) -> None:
        for owner in (ONE, TWO, ObjectName("one", "bank")):
            self.failures.forget(owner)
        for source in tuple(self.completed):
            self.failures.forget_source(source)
        assert held(self.failures) == 0


def held(failures: Failures) -> int:
    """Return how many entries are kept in all."""
    kept: Iterable[object] = (value for value in vars(failures).values() if isinstance(value, dict | set))
    return sum(len(value) for value in kept if isinstance(value, dict | set))


TestFailures = FailuresMachine.TestCase
TestFailures.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_wait_is_one_series_whatever_it_waits_for(registry: CollectorRegistry) -> None:
    metrics = DataMoverMetrics(registry)
    wait = {"name": "one", "namespace": "shop", "since": 5.0}
    metrics.waits(**wait, reason="SecretNotFound", safe=False, severity="warning")
    metrics.waits(**wait, reason="WaitingForCloneRemoval", safe=True, severity="info")
    lines = [line for line in expose(registry).decode().splitlines() if line.startswith("datamover_waiting_since")]
    labels = 'data_safe="true",name="one",namespace="shop",reason="WaitingForCloneRemoval",severity="info"'
    assert lines == [f"datamover_waiting_since_timestamp_seconds{{{labels}}} 5.0"]
    metrics.goes_on(name="one", namespace="shop")
    metrics.goes_on(name="one", namespace="shop")
    assert "\ndatamover_waiting_since" not in expose(registry).decode()


def test_the_first_try_counts_until_a_backup_has_completed_or_the_claim_is_gone(registry: CollectorRegistry) -> None:
    metrics = DataMoverMetrics(registry)
    source = {"namespace": "shop", "source": "app-data"}

    def since() -> float | None:
        return registry.get_sample_value("datamover_source_first_attempt_timestamp_seconds", source)

    metrics.tried(**source, at=7.0)
    metrics.tried(**source, at=5.0)
    metrics.tried(**source, at=9.0)
    metrics.forget(name="one", namespace="shop")
    assert since() == 5.0, "it outlives the DataMovers, which may be made and deleted each night"
    metrics.source_succeeded(**source, at=10.0)
    metrics.tried(**source, at=11.0)
    assert since() is None
    metrics.forget_source(**source)
    metrics.tried(**source, at=12.0)
    assert since() == 12.0
    metrics.forget_source(**source)
    assert since() is None
