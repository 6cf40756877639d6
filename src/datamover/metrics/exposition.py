"""The registry as Prometheus reads it."""

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def new_registry(*, process: bool = True) -> CollectorRegistry:
    """Return an empty registry; with `process`, one that reports memory, CPU, file descriptors and garbage collection."""
    disable_created_metrics()  # else each counter is exposed twice
    registry = CollectorRegistry()
    if process:
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
    return registry


def expose(registry: CollectorRegistry) -> bytes:
    """Return all metrics as text."""
    return generate_latest(registry)
