"""The dashboard: what its panels ask for, and how it gets to Grafana."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from datamover.api import names
from datamover.metrics.datamover import DataMoverMetrics
from datamover.metrics.exposition import new_registry
from datamover.metrics.runtime import RuntimeMetrics

FILE = Path(__file__).resolve().parents[3] / "deploy/charts/datamover/files/dashboards/datamover.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))


def exposed() -> set[str]:
    """Return the name of every series that the operator may expose."""
    registry = new_registry()
    RuntimeMetrics(registry)
    DataMoverMetrics(registry)
    found = set()
    for family in registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [""])
        found |= {f"{family.name}{suffix}" for suffix in suffixes}
    return found


def expressions() -> list[str]:
    targets = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    return [*targets, *(each["definition"] for each in DASHBOARD["templating"]["list"] if "definition" in each)]


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
    named = set(re.findall(r"\b(?:datamover|workqueue|leader_election|process|python)_\w+", expression))
    assert named
    assert named <= exposed()
    assert expression.count("(") == expression.count(")")
    grouped = {
        word for words in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for word in re.findall(r"\w+", words)
    }
    matched = set(re.findall(r"(\w+)(?:=|!=|=~)\"", expression))
    assert grouped | matched <= {
        "namespace", "source", "status", "phase", "error_type", "le", "outcome", "name", "verb", "resource", "code",
        "state", "instance",
    }  # fmt: skip


def test_failed_and_waiting_ones_are_listed_by_name() -> None:
    tables = {
        panel["title"]: (panel["targets"][0]["expr"], panel["transformations"][0]["options"]["excludeByName"])
        for panel in DASHBOARD["panels"]
        if panel["type"] == "table"
    }
    shown = {"Failed, and nobody has dealt with it": "datamover_failed_", "Waiting": "datamover_waiting_since_"}
    for title, family in shown.items():
        expression, hidden = tables[title]
        assert family in expression
        assert {"pod", "instance", "Time"} <= set(hidden)
        assert not {"name", "namespace", "reason"} & set(hidden)


def test_the_panels_have_their_own_places_and_numbers() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_dashboard_arrives_as_it_is_written(render: Any) -> None:
    (found,) = [each for each in render("grafanaDashboard.enabled=true") if each["kind"] == "ConfigMap"]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["datamover.json"]) == DASHBOARD


def test_what_an_alert_tells_by_name_a_panel_shows() -> None:
    """A claim without any backup yet is told by the same alert as one whose last is old, so it is in the same list."""
    ages = next(panel for panel in DASHBOARD["panels"] if panel["title"] == "Age of the last backup of each claim")
    rules = yaml.safe_load((FILE.parents[1] / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    alert = next(rule for group in rules for rule in group["rules"] if rule["alert"] == "DataMoverNoRecentSuccess")
    families = set(re.findall(r"datamover_\w+", alert["expr"]))
    assert families == set(re.findall(r"datamover_\w+", ages["targets"][0]["expr"]))
