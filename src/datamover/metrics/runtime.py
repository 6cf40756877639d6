"""Metrics of the runtime: work queues, controllers, informers, leadership, events, API requests."""

from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from datamover.metrics.buckets import QUEUE_BUCKETS, RECONCILE_BUCKETS

M = TypeVar("M", Counter, Gauge, Histogram)


class _Family(Generic[M]):
    """A family that remembers its labelled children: the library takes longer to look one up than to count."""

    def __init__(self, family: M) -> None:
        self._family = family
        self._children: dict[tuple[str, ...], M] = {}

    def labels(self, *values: str) -> M:
        """Return the child with these labels."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._family.labels(*values)
        return child


class RuntimeMetrics:
    """Implements the instruments of `kubekit.runtime.instruments`, and the request observer of `kubekit.client.client`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = _Family(
            Counter(
                "datamover_api_requests",
                "Requests to the API server by verb, kind and status code (0: no answer).",
                ("verb", "resource", "code"),
                registry=registry,
            )
        )
        self._adds = _Family(Counter("workqueue_adds", "Keys added.", ("name",), registry=registry))
        self._retries = _Family(
            Counter("workqueue_retries", "Keys added after a failure.", ("name",), registry=registry)
        )
        self._depth = _Family(Gauge("workqueue_depth", "Keys that are ready.", ("name",), registry=registry))
        self._wait = _Family(
            Histogram(
                "workqueue_queue_duration_seconds",
                "From ready to taken.",
                ("name",),
                buckets=QUEUE_BUCKETS,
                registry=registry,
            )
        )
        self._work = _Family(
            Histogram(
                "workqueue_work_duration_seconds",
                "From taken to done.",
                ("name",),
                buckets=RECONCILE_BUCKETS,
                registry=registry,
            )
        )
        self._reconciles = _Family(
            Histogram(
                "datamover_reconcile_duration_seconds",
                "Reconciles by outcome: done, after, error, terminal.",
                ("controller", "outcome"),
                buckets=RECONCILE_BUCKETS,
                registry=registry,
            )
        )
        self._asleep = _Family(
            Gauge(
                "datamover_controller_asleep",
                "1 while a controller does nothing, by what is missing.",
                ("controller", "gate"),
                registry=registry,
            )
        )
        self._state = _Family(
            Gauge(
                "datamover_informer_state",
                "1 for the state that an informer is in.",
                ("resource", "state"),
                registry=registry,
            )
        )
        self._events = _Family(
            Counter("datamover_informer_events", "Watch events.", ("resource", "type"), registry=registry)
        )
        self._relists = _Family(
            Counter("datamover_informer_relists", "Full lists, by reason.", ("resource", "reason"), registry=registry)
        )
        self._restarts = _Family(
            Counter("datamover_informer_watch_restarts", "Watches resumed.", ("resource", "reason"), registry=registry)
        )
        self._poisoned = _Family(
            Counter(
                "datamover_informer_unreadable_objects",
                "Objects that could not be read.",
                ("resource",),
                registry=registry,
            )
        )
        self._objects = _Family(
            Gauge("datamover_informer_objects", "Objects cached.", ("resource",), registry=registry)
        )
        self._leader = _Family(
            Gauge("leader_election_master_status", "1 while this replica leads.", ("name",), registry=registry)
        )
        self._recorded = _Family(
            Counter(
                "datamover_events_recorded",
                "Kubernetes events by what became of them.",
                ("outcome",),
                registry=registry,
            )
        )
        self._states: dict[str, str] = {}

    def request(self, verb: str, resource: str, code: int) -> None:
        """Count one request."""
        self._requests.labels(verb, resource, str(code)).inc()

    def added(self, queue: str, /) -> None:
        """A key was added."""
        self._adds.labels(queue).inc()
        self._retries.labels(queue)  # begins at 0, so that the first one shows as an increase

    def retried(self, queue: str, /) -> None:
        """A key was added after a failure."""
        self._retries.labels(queue).inc()

    def depth(self, queue: str, ready: int, /) -> None:
        """Report how many keys are ready."""
        self._depth.labels(queue).set(ready)

    def waited(self, queue: str, seconds: float, /) -> None:
        """A key was taken."""
        self._wait.labels(queue).observe(seconds)

    def worked(self, queue: str, seconds: float, /) -> None:
        """A key was given back."""
        self._work.labels(queue).observe(seconds)

    def reconciled(self, controller: str, outcome: str, seconds: float, /) -> None:
        """One reconcile ended."""
        self._reconciles.labels(controller, outcome).observe(seconds)

    def asleep(self, controller: str, gate: str, yes: bool, /) -> None:
        """A gate that a controller is behind is closed, or open."""
        self._asleep.labels(controller, gate).set(1 if yes else 0)

    def state(self, resource: str, state: str, /) -> None:
        """An informer entered a state."""
        before = self._states.get(resource)
        if before is not None:
            self._state.labels(resource, before).set(0)
        self._states[resource] = state
        self._state.labels(resource, state).set(1)

    def event(self, resource: str, type_: str, /) -> None:
        """A watch event arrived."""
        self._events.labels(resource, type_).inc()

    def relisted(self, resource: str, reason: str, /) -> None:
        """A kind was listed."""
        self._relists.labels(resource, reason).inc()

    def restarted(self, resource: str, reason: str, /) -> None:
        """A watch was resumed."""
        self._restarts.labels(resource, reason).inc()

    def poisoned(self, resource: str, /) -> None:
        """An object could not be read."""
        self._poisoned.labels(resource).inc()

    def objects(self, resource: str, count: int, /) -> None:
        """Report how many objects are cached."""
        self._objects.labels(resource).set(count)

    def leading(self, lease: str, yes: bool, /) -> None:
        """Report whether this replica leads."""
        self._leader.labels(lease).set(1 if yes else 0)

    def recorded(self, outcome: str, /) -> None:
        """An Event was written, merged, dropped, or failed."""
        self._recorded.labels(outcome).inc()
