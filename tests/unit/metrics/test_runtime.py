"""Metrics of the runtime: what somebody on call looks at."""

from datamover.metrics.exposition import expose, new_registry
from datamover.metrics.runtime import RuntimeMetrics


def test_everything_that_the_runtime_tells_is_exposed() -> None:
    registry = new_registry(process=False)
    metrics = RuntimeMetrics(registry)
    metrics.request("create", "jobs.batch", 201)
    metrics.added("datamover")
    metrics.retried("datamover")
    metrics.depth("datamover", 3)
    metrics.waited("datamover", 0.2)
    metrics.worked("datamover", 0.2)
    metrics.reconciled("datamover", "done", 0.01)
    metrics.event("pods", "ADDED")
    metrics.relisted("pods", "gone")
    metrics.restarted("pods", "timeout")
    metrics.poisoned("pods")
    metrics.objects("pods", 7)
    metrics.leading("lease", True)
    metrics.recorded("written")
    text = expose(registry).decode()
    for sample in (
        'datamover_api_requests_total{code="201",resource="jobs.batch",verb="create"} 1.0',
        'workqueue_adds_total{name="datamover"} 1.0',
        'workqueue_retries_total{name="datamover"} 1.0',
        'workqueue_depth{name="datamover"} 3.0',
        'workqueue_queue_duration_seconds_count{name="datamover"} 1.0',
        'workqueue_work_duration_seconds_count{name="datamover"} 1.0',
        'datamover_reconcile_duration_seconds_count{controller="datamover",outcome="done"} 1.0',
        'datamover_informer_events_total{resource="pods",type="ADDED"} 1.0',
        'datamover_informer_relists_total{reason="gone",resource="pods"} 1.0',
        'datamover_informer_watch_restarts_total{reason="timeout",resource="pods"} 1.0',
        'datamover_informer_unreadable_objects_total{resource="pods"} 1.0',
        'datamover_informer_objects{resource="pods"} 7.0',
        'leader_election_master_status{name="lease"} 1.0',
        'datamover_events_recorded_total{outcome="written"} 1.0',
    ):
        assert sample in text


def test_an_informer_is_in_one_state_at_a_time() -> None:
    registry = new_registry(process=False)
    metrics = RuntimeMetrics(registry)
    for state in ("listing", "watching"):
        metrics.state("pods", state)

    def shown(state: str) -> float | None:
        return registry.get_sample_value("datamover_informer_state", {"resource": "pods", "state": state})

    assert (shown("listing"), shown("watching")) == (0, 1)


def test_who_no_longer_leads_says_so() -> None:
    registry = new_registry(process=False)
    metrics = RuntimeMetrics(registry)
    metrics.leading("lease", True)
    metrics.leading("lease", False)
    assert registry.get_sample_value("leader_election_master_status", {"name": "lease"}) == 0
