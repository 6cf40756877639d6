"""Prometheus itself: it scrapes what the chart's ServiceMonitor selects, the chart's rules fire, and the dashboard's questions are answered."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from datamover.api import reasons, transfer
from support.cluster import CHART, wait_for
from support.place import Place
from support.prometheus import Prometheus, running_prometheus

MONITORED = ("metrics.serviceMonitor.enabled", "metrics.prometheusRule.enabled", "grafanaDashboard.enabled")
KINDS = "monitoring.coreos.com/v1"
GOOD_WITHOUT_ANSWER = re.compile(r'== [1-4]\)$|state!="watching"|code=~"0\||datamover_restore_')
"""The panels of phases that nothing is in, of caches that do not watch, and of requests that were refused: whether one was is chance here. And those of restores."""


@pytest.fixture
def monitoring(place: Place) -> list[dict[str, Any]]:
    """What the chart adds for those who have the Prometheus operator. The kinds are not installed here, so they are only rendered."""
    if place.cluster.rig is None:
        pytest.skip("Pods are scraped from the node")
    values = [part for name in MONITORED for part in ("--set", f"{name}=true")]
    rendered = place.cluster.run_helm("template", "datamover", str(CHART), "--api-versions", KINDS, *values)
    return [each for each in yaml.safe_load_all(rendered) if each]


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == kind]


@pytest.fixture
def prometheus(place: Place, monitoring: list[dict[str, Any]]) -> Iterator[Prometheus]:
    with running_prometheus(
        place.scratch / "prometheus",
        kubectl=place.kubectl,
        monitors=of_kind(monitoring, "ServiceMonitor"),
        rules=of_kind(monitoring, "PrometheusRule"),
    ) as server:
        yield server


def test_alerts_fire_and_panels_have_answers(
    place: Place, prometheus: Prometheus, monitoring: list[dict[str, Any]]
) -> None:
    pods = set(place.cluster.operator_pods())
    wait_for(
        lambda: [target["health"] for target in prometheus.targets()] == ["up"] * len(pods),
        what=lambda: str(prometheus.targets()),
    )
    assert {target["labels"]["pod"] for target in prometheus.targets()} == pods, "each replica once"

    place.create_volume()
    place.create_secret()
    place.create_secret("wrong", AWS_SECRET_ACCESS_KEY="not the key")
    place.create_mover("good", addTimestampPrefix=True)
    place.create_mover("refused", secret="wrong")
    place.create_mover("waiting", source="missing")
    place.wait_complete("good")
    place.wait_reason("waiting", reasons.SOURCE_NOT_FOUND)
    expected = {"DataMoverSyncFailed", "DataMoverFailed", "DataMoverObstacle"}
    wait_for(
        lambda: expected <= firing(prometheus, place.namespace),
        what=lambda: f"firing: {prometheus.alerts()}\n{place.explain()}",
    )
    named = [labels for labels in prometheus.alerts() if labels["alertname"] == "DataMoverFailed"]
    assert [(each["name"], each["reason"]) for each in named if each.get("namespace") == place.namespace] == [
        ("refused", transfer.REASON_WRONG_CREDENTIALS)
    ]
    unexpected = {"DataMoverCleanupFailing", "DataMoverNoRecentSuccess", "DataMoverSourceForgotten", "DataMoverStuck"}
    assert not firing(prometheus, place.namespace) & unexpected

    asked = questions(monitoring, namespace=place.namespace)

    def unanswered() -> list[str]:
        return [text for text in asked if not prometheus.query(text) and not GOOD_WITHOUT_ANSWER.search(text)]

    wait_for(lambda: not unanswered(), seconds=30, what=lambda: "\n".join(unanswered()))
    moved = f'sum(increase(datamover_transferred_bytes_total{{namespace="{place.namespace}"}}[24h]))'
    assert float(prometheus.query(moved)[0]["value"][1]) > 1_000_000, "the first backup of a namespace counts"
    place.run("delete", "datamover", "refused", "waiting")


def firing(prometheus: Prometheus, namespace: str) -> set[str]:
    """Return the alerts that fire for a namespace."""
    return {labels["alertname"] for labels in prometheus.alerts() if labels.get("namespace") == namespace}


def questions(monitoring: list[dict[str, Any]], *, namespace: str) -> list[str]:
    """Return what the dashboard's panels ask, with Grafana's variables filled in."""
    (text,) = (
        text for each in of_kind(monitoring, "ConfigMap") for text in each["data"].values() if '"panels"' in text
    )
    asked = [target["expr"] for panel in json.loads(text)["panels"] for target in panel.get("targets", ())]
    assert len(asked) > 20
    return [each.replace("$namespace", namespace).replace("$__rate_interval", "1m") for each in asked]
