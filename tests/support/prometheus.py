"""Prometheus itself, scraping what the chart's ServiceMonitor selects and evaluating the chart's rules.

What the Prometheus operator does with those objects is done here: `scrape_config` knows the fields that the chart sets, no more.
"""

import contextlib
import json
import os
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from prometheus import find_programs
from support.cluster import Kubectl
from support.programs import Program, Undertaker, free_ports


def find_prometheus() -> Path:
    """Return the directory of prometheus and promtool. Skips the test without them, or fails it where they are required."""
    found = find_programs(os.environ)
    if found is None:
        cure = "no Prometheus: run `make prometheus`"
        if os.environ.get("DATAMOVER_REQUIRE_PROMETHEUS") == "1":
            pytest.fail(cure, pytrace=False)
        pytest.skip(cure)
    return found


@dataclass(frozen=True)
class Prometheus:
    """A server that runs."""

    address: str

    def ask(self, path: str, **query: str) -> Any:
        """Return the data of an answer of its API."""
        asked = urllib.parse.urlencode(query)
        with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}?{asked}", timeout=30) as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        return found["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression, now."""
        return self.ask("query", query=expression)["result"]

    def targets(self) -> list[dict[str, Any]]:
        """Return what is scraped."""
        return self.ask("targets", state="active")["activeTargets"]

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that fire, by their labels."""
        return [each["labels"] for each in self.ask("alerts")["alerts"] if each["state"] == "firing"]


@contextlib.contextmanager
def running_prometheus(
    scratch: Path, *, kubectl: Kubectl, monitors: Sequence[Mapping[str, Any]], rules: Sequence[Mapping[str, Any]]
) -> Iterator[Prometheus]:
    """Run Prometheus over some ServiceMonitors and PrometheusRules, scraping and evaluating once a second."""
    programs = find_prometheus()
    scratch.mkdir()
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    groups = [group for rule in rules for group in rule["spec"]["groups"]]
    (scratch / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(scratch / "rules.yaml")],
        "scrape_configs": [
            scrape_config(monitor, endpoint, kubectl=kubectl)
            for monitor in monitors
            for endpoint in monitor["spec"]["endpoints"]
        ],
    }
    (scratch / "prometheus.yaml").write_text(yaml.safe_dump(config))
    undertaker = Undertaker(scratch / "data")
    arguments = [
        str(programs / "prometheus"),
        f"--config.file={scratch / 'prometheus.yaml'}",
        f"--storage.tsdb.path={scratch / 'data'}",
        f"--web.listen-address={address}",
    ]
    program = Program("prometheus", arguments, log=scratch / "log", undertaker=undertaker)
    try:
        program.start()
        program.wait_until(lambda: _ready(address), seconds=30)
        yield Prometheus(address)
    finally:
        program.stop()
        undertaker.close()


def scrape_config(monitor: Mapping[str, Any], endpoint: Mapping[str, Any], *, kubectl: Kubectl) -> dict[str, Any]:
    """Return what a ServiceMonitor means: the ports of one name of all Services that it selects. Debian's Prometheus looks for none itself."""
    spec = monitor["spec"]
    unknown = set(endpoint) - {"port", "path", "scheme", "interval", "honorLabels"}
    assert not unknown, f"not known here: {unknown}"
    labels = ",".join(f"{key}={value}" for key, value in spec["selector"]["matchLabels"].items())
    targets = [
        {
            "targets": [f"{address['ip']}:{port['port']}"],
            "labels": {
                "namespace": namespace,
                "service": found["metadata"]["name"],
                "pod": address["targetRef"]["name"],
            },
        }
        for namespace in spec["namespaceSelector"]["matchNames"]
        for found in kubectl.items("endpoints", "-n", namespace, "-l", labels)
        for subset in found.get("subsets", [])
        for port in subset["ports"]
        if port.get("name") == endpoint["port"]
        for address in subset.get("addresses", [])
    ]
    return {
        "job_name": f"serviceMonitor/{monitor['metadata']['name']}/{endpoint['port']}",
        "honor_labels": endpoint.get("honorLabels", False),
        "metrics_path": endpoint["path"],
        "scheme": endpoint["scheme"],
        "static_configs": targets,
    }


def _ready(address: str) -> bool:
    with urllib.request.urlopen(f"http://{address}/-/ready", timeout=5) as answer:
        return answer.status == 200
