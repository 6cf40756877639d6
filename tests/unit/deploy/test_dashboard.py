"""The dashboard: what its panels ask for, and how it gets to Grafana."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from datamover.api import names
from datamover.metrics.datamover import DataMoverMetrics
from datamover.metrics.datavolumes import CollectionMetrics
from datamover.metrics.exposition import new_registry
from datamover.metrics.images import CronName, ImageMetrics
from datamover.metrics.population import DiskWait, PopulationMetrics
from datamover.metrics.replication import ReplicaFailure, ReplicaName, ReplicationMetrics, ReplicaWait
from datamover.metrics.restores import HalfRestored, RestoreFailure, RestoreMetrics, RestoreWait
from datamover.metrics.runtime import RuntimeMetrics
from support.parsing import read_yaml

FILES = Path(__file__).resolve().parents[3] / "deploy/charts/datamover/files"
DASHBOARD: dict[str, Any] = json.loads((FILES / "dashboards/datamover.json").read_text(encoding="utf-8"))
REPLICATION: dict[str, Any] = json.loads((FILES / "dashboards/replication.json").read_text(encoding="utf-8"))
DATA_VOLUMES: dict[str, Any] = json.loads((FILES / "dashboards/datavolumes.json").read_text(encoding="utf-8"))
DASHBOARDS = [DASHBOARD, REPLICATION, DATA_VOLUMES]
each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda each: each["uid"])


def exposed() -> set[str]:
    """Return the name of every series that the operator may expose."""
    registry = new_registry()
    RuntimeMetrics(registry)
    DataMoverMetrics(registry)
    RestoreMetrics(registry)
    ReplicationMetrics(registry, now=lambda: 0.0)
    CollectionMetrics(registry)
    PopulationMetrics(registry)
    ImageMetrics(registry)
    found = set()
    for family in registry.collect():
        suffixes = {
            "counter": ["_total"],
            "histogram": ["_bucket", "_count", "_sum"],
            "summary": ["", "_count", "_sum"],
        }.get(family.type, [""])
        found |= {f"{family.name}{suffix}" for suffix in suffixes}
    return found


def expressions() -> list[str]:
    found = []
    for dashboard in DASHBOARDS:
        found += [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
        found += [each["definition"] for each in dashboard["templating"]["list"] if "definition" in each]
    return found


@pytest.mark.parametrize(
    "expression", [each for each in expressions() if re.search("workqueue_|leader_election_", each)]
)
def test_a_panel_leaves_other_operators_out(expression: str) -> None:
    """These names are every operator's: the label `name` tells whose."""
    bare = re.findall(r"\b(?:workqueue|leader_election)_\w+(?!\w)(\{[^}]*\})?", expression)
    ours = {'{name="datamover"}', f'{{name="{names.LEASE_NAME}"}}'}
    assert bare
    assert set(bare) <= ours


@pytest.mark.parametrize("expression", expressions())
def test_a_panel_shows_metrics_that_exist(expression: str) -> None:
    named = set(re.findall(r"\b(?:datamover|volsync|workqueue|leader_election|process|python)_\w+", expression))
    assert named
    assert named <= exposed()
    assert expression.count("(") == expression.count(")")
    grouped = {
        word for words in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for word in re.findall(r"\w+", words)
    }
    matched = set(re.findall(r"(\w+)(?:=|!=|=~)\"", expression))
    assert grouped | matched <= {
        "namespace", "source", "status", "phase", "error_type", "le", "outcome", "name", "verb", "resource", "code",
        "state", "instance", "obj_name", "obj_namespace", "role", "method", "reason", "quantile",
        "severity", "result",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("dashboard", "title", "family", "labels"),
    [
        (DASHBOARD, "Failed, and nobody has dealt with it", "datamover_failed_", {"name", "namespace", "reason"}),
        (DASHBOARD, "Waiting", "datamover_waiting_since_", {"name", "namespace", "reason"}),
        (DASHBOARD, "Restores that failed", "datamover_restore_failed_", set(RestoreFailure._fields)),
        (DASHBOARD, "Restores that wait", "datamover_restore_waiting_since_", set(RestoreWait._fields)),
        (DASHBOARD, "Claims that may be half restored", "datamover_restore_half_restored_", set(HalfRestored._fields)),
        (DATA_VOLUMES, "Waiting, by name", "datamover_datavolume_waiting_since_", set(DiskWait._fields)),
        (DATA_VOLUMES, "Images out of date, by name", "datamover_image_up_to_date", set(CronName._fields)),
        (DATA_VOLUMES, "Images, age of the last import", "datamover_image_last_import_", set(CronName._fields)),
        (REPLICATION, "Out of sync, by name", "volsync_volume_out_of_sync", set(ReplicaName._fields)),
        (REPLICATION, "Failing, by name", "datamover_replication_consecutive_", set(ReplicaFailure._fields)),
        (REPLICATION, "Waiting, by name", "datamover_replication_waiting_since_", set(ReplicaWait._fields)),
        (REPLICATION, "Waiting for a copy trigger, by name", "_copy_trigger_waiting_", set(ReplicaName._fields)),
    ],
)
def test_failed_and_waiting_ones_are_listed_by_name(
    dashboard: dict[str, Any], title: str, family: str, labels: set[str]
) -> None:
    (table,) = [each for each in dashboard["panels"] if each["type"] == "table" and each["title"] == title]
    hidden = set(table["transformations"][0]["options"]["excludeByName"])
    assert family in table["targets"][0]["expr"]
    assert {"pod", "instance", "Time"} <= hidden
    assert not labels & hidden


@each_dashboard
def test_the_panels_have_their_own_places_and_numbers(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_dashboard_arrives_as_it_is_written(render: Any) -> None:
    objects = render("grafanaDashboard.enabled=true", "replication.enabled=true", "dataVolumes.population.enabled=true")
    (found,) = [each for each in objects if each["kind"] == "ConfigMap"]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {name: json.loads(text) for name, text in found["data"].items()} == {
        "datamover.json": DASHBOARD,
        "datamover-replication.json": REPLICATION,
        "datamover-datavolumes.json": DATA_VOLUMES,
    }


@pytest.mark.parametrize(
    ("dashboard", "title", "named"),
    [
        (DASHBOARD, "Age of the last backup of each claim", "DataMoverNoRecentSuccess"),
        (DATA_VOLUMES, "Images out of date, by name", "DataMoverImageOutOfDate"),
    ],
)
def test_what_an_alert_tells_by_name_a_panel_shows(dashboard: dict[str, Any], title: str, named: str) -> None:
    """A claim without any backup yet is told by the same alert as one whose last is old, so it is in the same list."""
    ages = next(panel for panel in dashboard["panels"] if panel["title"] == title)
    rules = read_yaml((FILES / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    alert = next(rule for group in rules for rule in group["rules"] if rule["alert"] == named)
    families = set(re.findall(r"datamover_\w+", alert["expr"]))
    assert families == set(re.findall(r"datamover_\w+", ages["targets"][0]["expr"]))
